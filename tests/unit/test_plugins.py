"""Plug-ins of other packages, by entry point: found in every group, and used."""

from pathlib import Path

import pytest

from prestow import plugins
from prestow.engines import open_engine
from prestow.errors import ConfigurationError, Exit
from prestow.site import read_site
from prestow.testing.campaigns import Campaign

MODULE = '''
from prestow.engines.local import LocalEngine


class Engine(LocalEngine):
    """An engine that says how much it carried."""

    carried = 0

    def submit(self, spec, parents):
        type(self).carried += 1
        return super().submit(spec, parents)


class Other:
    pass
'''


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A package with a plug-in called ``mine`` in every group, as an installer leaves it."""
    root = tmp_path / "packages"
    facts = root / "a_strangers_plugins-1.dist-info"
    facts.mkdir(parents=True)
    (root / "a_strangers_plugins.py").write_text(MODULE)
    (facts / "METADATA").write_text("Metadata-Version: 2.1\nName: a-strangers-plugins\nVersion: 1\n")
    points = {
        group: "a_strangers_plugins:" + ("Engine" if group == "engines" else "Other")
        for group in plugins.TABLE
    }
    (facts / "entry_points.txt").write_text(
        "".join(f"[prestow.{group}]\nmine = {target}\n" for group, target in points.items())
    )
    monkeypatch.syspath_prepend(str(root))


@pytest.mark.parametrize("group", plugins.TABLE)
def test_an_entry_point_of_each_group_is_found(package: None, group: str) -> None:
    assert plugins.names(group)[-1] == "mine"
    assert plugins.load(group, "mine").__module__ == "a_strangers_plugins"


@pytest.mark.parametrize("group", plugins.TABLE)
def test_an_unknown_name_lists_those_there_are(package: None, group: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        plugins.load(group, "nobodys")
    (problem,) = caught.value.problems
    assert problem.what == f"unknown {group[:-1]} 'nobodys'"
    assert problem.fix == f"known: {', '.join(plugins.names(group))}"
    assert "mine" in problem.fix


def test_an_engine_of_a_package_runs_a_plan(package: None, tmp_path: Path) -> None:
    engine = open_engine("mine")
    result = Campaign(tmp_path / "campaign").run(engine)
    assert (result.counts, result.exit_code) == ({"made": 7}, Exit.OK)
    assert engine.carried == 7
    (tmp_path / "site.yaml").write_text("schema: prestow.site/1\nname: there\nengine: mine\n")
    assert read_site(tmp_path / "site.yaml").engine == "mine"
