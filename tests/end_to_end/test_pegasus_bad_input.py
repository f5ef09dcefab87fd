"""What stands against handing a plan to Pegasus: one clear answer each, exit 7 or 3, and nothing is half written."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

spec = importlib.util.spec_from_file_location(
    "pegasus_stand_in", Path(__file__).parents[1] / "pegasus_stand_in.py"
)
assert spec is not None
assert spec.loader is not None
stand_in = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stand_in)

ENVIRONMENT, CONFIGURATION = 7, 3
BOTH = ("emit", "submit")

Site = dict[str, Any]  # Any: YAML values


@pytest.fixture
def root(planned_campaign: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A planned project, with Pegasus's stand-in on the path."""
    monkeypatch.delenv("PEGASUS_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{stand_in.install(tmp_path / 'bin')}:/usr/bin:/bin")
    return Path(shutil.copytree(planned_campaign, tmp_path / "c"))


def site_of(root: Path) -> Site:
    return {
        "schema": "prestow.site/1",
        "name": "pool",
        "engine": "pegasus",
        "stores": {"archive": f"file://{root}/store"},
        "pegasus": {"python": sys.executable, "work": "/work"},
    }


def without_a_scratch(root: Path, site: Site) -> None:
    site["pegasus"]["staging"] = "prestow"


def with_a_store_that_nodes_do_not_see(root: Path, site: Site) -> None:
    site["stores"] = {"archive": {"quota": "1 TB"}}
    site["pegasus"]["products"] = "store"


def with_a_misspelt_store(root: Path, site: Site) -> None:
    site["stores"] = {"archives": site["stores"]["archive"]}


def with_a_store_of_no_project(root: Path, site: Site) -> None:
    site["stores"]["elsewhere"] = "file:///elsewhere"


def with_inputs_in_a_store_that_nodes_do_not_see(root: Path, site: Site) -> None:
    site["stores"] = {"archive": {"inodes": 1000}}
    site["scratch"] = "/local/prestow"
    site["pegasus"] |= {"products": "landing", "staging": "prestow"}


def with_a_store_that_is_not_there(root: Path, site: Site) -> None:
    site["stores"]["archive"] = f"file://{root}/not-mounted"


def whose_plan_is_older_than_its_inputs(root: Path, site: Site) -> None:
    raw = root / "store/raw/toy/raw-1.json"
    raw.write_bytes(raw.read_bytes().replace(b"1", b"7"))


def whose_plan_has_lost_an_input(root: Path, site: Site) -> None:
    (root / "store/raw/toy/raw-1.json").unlink()


def with_another_content_in_the_directory(root: Path, site: Site) -> None:
    (root / "out").mkdir()
    (root / "out/thesis.txt").write_text("mine")


def that_is_of_another_engine(root: Path, site: Site) -> None:
    site["engine"] = "dask"
    del site["pegasus"]


def that_is_the_project_file(root: Path, site: Site) -> None:
    site.clear()
    site |= {"schema": "prestow.project/1", "registry": "sqlite:///registry.db"}


def without_pegasus(root: Path, site: Site) -> None:
    shutil.rmtree(root.parent / "bin")


def with_an_old_pegasus(root: Path, site: Site) -> None:
    stand_in.install(root.parent / "bin", version="4.9.3")


Wrong = Callable[[Path, Site], None]

BAD: list[tuple[Wrong, tuple[str, ...], str, int, str]] = [
    (without_a_scratch, BOTH, "PST-C012", CONFIGURATION, "key 'scratch' is missing"),
    (with_a_store_that_nodes_do_not_see, BOTH, "PST-C080", CONFIGURATION, "see the output store 'archive'"),
    (with_a_misspelt_store, BOTH, "PST-C080", CONFIGURATION, "no store 'archives'"),
    (with_a_store_of_no_project, BOTH, "PST-C080", CONFIGURATION, "the output store is 'archive'"),
    (with_inputs_in_a_store_that_nodes_do_not_see, BOTH, "PST-C080", CONFIGURATION, "store 'archive'"),
    (that_is_of_another_engine, BOTH, "PST-E002", CONFIGURATION, "a site for 'dask', and not for 'pegasus'"),
    (that_is_the_project_file, BOTH, "PST-C014", CONFIGURATION, "no site file, but 'prestow.project/1'"),
    (with_a_store_that_is_not_there, ("submit",), "PST-E076", ENVIRONMENT, "'archive' is not there"),
    (whose_plan_is_older_than_its_inputs, BOTH, "PST-E078", ENVIRONMENT, "archive: raw/toy/raw-1.json"),
    (whose_plan_has_lost_an_input, BOTH, "PST-E078", ENVIRONMENT, "archive: raw/toy/raw-1.json"),
    (with_another_content_in_the_directory, ("emit",), "PST-E001", ENVIRONMENT, "something else is there"),
    (without_pegasus, ("submit",), "PST-E070", ENVIRONMENT, "there is no pegasus-plan"),
    (with_an_old_pegasus, ("submit",), "PST-E070", ENVIRONMENT, "this is Pegasus 4.9.3"),
]
CASES = [
    pytest.param(word, wrong, *rest, id=f"{word} {wrong.__name__.replace('_', ' ')}")
    for wrong, words, *rest in BAD
    for word in words
]


def directories(root: Path) -> list[Path]:
    """Give those that a person would look at."""
    return sorted(p for p in root.rglob("*") if p.is_dir() and not p.name.startswith("_"))


@pytest.mark.parametrize(("word", "wrong", "code", "exits", "says"), CASES)
def test_it_is_refused_with_one_clear_answer(
    word: str, wrong: Wrong, code: str, exits: int, says: str, root: Path, inside: Any, tree: Any
) -> None:
    site = site_of(root)
    wrong(root, site)
    (root / "pool.yaml").write_text(json.dumps(site))
    words = ("emit", "pegasus", "--into", "out") if word == "emit" else ("submit",)
    before = tree(root), directories(root)
    answer = inside(*words, "--site", "pool.yaml", cwd=root, ok=False)
    assert (answer.code, answer.out) == (exits, "")
    assert answer.err.count(f"error[{code}]") == answer.err.count("error[") == 1
    assert says in answer.err
    assert "pool.yaml:1:" in answer.err or exits == ENVIRONMENT
    assert (tree(root), directories(root)) == before


@pytest.mark.parametrize(
    "words",
    [("run",), ("plan", "-n"), ("stage", "double-1", "--into", "out"), ("check",)],
    ids=lambda w: w[0],
)
def test_whoever_reads_a_site_file_says_which_store_there_is_not(
    words: tuple[str, ...], root: Path, inside: Any, tree: Any
) -> None:
    (root / "site.yaml").write_text(
        "schema: prestow.site/1\nname: here\nstores:\n  archives: {quota: 1 TB}\n"
    )
    before = tree(root)
    answer = inside(*words, "--site", "site.yaml", cwd=root, ok=False)
    assert (answer.code, answer.out) == (CONFIGURATION, "")
    assert (
        "error[PST-C080]: stores.archives: this project has no store 'archives'\n  --> site.yaml:4:3"
        in answer.err
    )
    assert "did you mean 'archive'?" in answer.err
    assert tree(root) == before


@pytest.mark.parametrize(
    "words", [("emit", "pegasus", "--into", "out"), ("submit", "-n"), ("check",)], ids=lambda w: w[0]
)
def test_that_products_land_because_no_store_is_named_is_said(
    words: tuple[str, ...], root: Path, inside: Any
) -> None:
    site = site_of(root)
    del site["stores"]
    told = []
    for said in ({}, {"products": "landing"}):
        (root / "pool.yaml").write_text(json.dumps({**site, "pegasus": site["pegasus"] | said}))
        told.append(inside(*words, "--site", "pool.yaml", cwd=root).out)
        shutil.rmtree(root / "out", ignore_errors=True)
    why = "products come home to a landing folder, since the site file names no output store ('archive')"
    assert [why in out for out in told] == [True, False]


def test_all_that_a_submit_host_lacks_is_told_at_once(root: Path, inside: Any) -> None:
    site = site_of(root)
    with_a_store_that_is_not_there(root, site)
    without_pegasus(root, site)
    (root / "pool.yaml").write_text(json.dumps(site))
    answer = inside("submit", "--site", "pool.yaml", "--json", cwd=root, ok=False)
    assert (answer.code, answer.codes) == (ENVIRONMENT, ["PST-E070", "PST-E076"])


def test_what_is_wrong_is_put_right_and_goes(root: Path, inside: Any) -> None:
    (root / "pool.yaml").write_text(json.dumps(site_of(root)))
    assert (
        inside("emit", "pegasus", "--into", "out", "--site", "pool.yaml", "--json", cwd=root).json["jobs"]
        == 3
    )
