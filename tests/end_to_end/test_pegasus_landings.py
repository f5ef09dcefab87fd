"""Nodes that do not see the store, from the command to the archive, in each layout: also what failed and is handed over again.

The workflow is the one that the command writes, proved against the plan; its jobs run from it alone, by a shim of Pegasus.
"""

from __future__ import annotations

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from prestow.engines import open_engine
from prestow.node.reporting import reports_in
from prestow.plan.plan import PlanCode
from prestow.stores import open_store
from prestow.testing.campaigns import Campaign
from prestow.testing.pegasus_shim import Shim
from prestow.tombstone import read_tombstone

spec = importlib.util.spec_from_file_location(
    "pegasus_stand_in", Path(__file__).parents[1] / "pegasus_stand_in.py"
)
assert spec is not None
assert spec.loader is not None
stand_in = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stand_in)

WAYS: dict[str, tuple[str, dict[str, Any]]] = {
    "tree": ("tree", {}),
    "flat, in parts": ("flat", {"workflow_jobs": 2}),
    "tar": ("tar", {"data": "nonsharedfs"}),
}


def campaign_of(directory: Path, clouds: Path) -> Campaign:
    """Visit 1 is lost, as its task tolerates; visit 2 fails while there are clouds, which its task does not."""
    return Campaign(
        directory,
        visits=2,
        do={
            1: {"double": {"what": "fail"}},
            2: {"shift": {"what": "fail", "while": str(clouds)}},
        },
        double="tolerate",
        minimum=1,
    )


def made(campaign: Campaign) -> dict[str, bytes]:
    return {name: data for name, data in campaign.products().items() if name.startswith("toy/")}


def planned(directory: Path, clouds: Path) -> tuple[Campaign, PlanCode]:
    """Give the campaign with its plan made, and its code, which is in the store; there are no clouds."""
    clouds.unlink(missing_ok=True)
    campaign = campaign_of(directory, clouds)
    code = campaign.plan().code
    assert code is not None
    open_store(campaign.stores["archive"]).put_if_absent(code.path, code.data)
    return campaign, code


def emitted(campaign: Campaign, inside: Any, pegasus: dict[str, Any], **more: Any) -> None:
    """Write the plan for a pool that is said so."""
    site = {
        "schema": "prestow.site/1", "name": "pool", "engine": "pegasus", **more,
        "pegasus": {"python": sys.executable, "work": "/work", "retries": 0, **pegasus},
    }  # fmt: skip
    (campaign.directory / "pool.yaml").write_text(json.dumps(site))
    inside("emit", "pegasus", "--site", "pool.yaml", "--into", "out", cwd=campaign.directory)


@pytest.fixture(scope="module")
def clouds(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("sky") / "clouds"


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory, clouds: Path) -> dict[str, bytes]:
    """Give the products of the same campaign by the engine that sees the store."""
    campaign = campaign_of(tmp_path_factory.mktemp("local"), clouds)
    campaign.run(open_engine("local"))
    return made(campaign)


@pytest.mark.parametrize("way", WAYS)
def test_what_landed_and_what_remained_is_in_the_end_what_the_engine_local_makes(
    way: str,
    tmp_path: Path,
    clouds: Path,
    local: dict[str, bytes],
    inside: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("PEGASUS_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{stand_in.install(tmp_path / 'bin')}:/usr/bin:/bin")
    layout, more = WAYS[way]
    campaign = campaign_of(tmp_path / "c", clouds)
    campaign.plan()
    root, store = campaign.directory, campaign.directory / "store"
    site = {
        "schema": "prestow.site/1", "name": "pool", "engine": "pegasus", "layout": layout,
        "pegasus": {"python": sys.executable, "work": "/work", "retries": 0, **more},
    }  # fmt: skip
    (root / "pool.yaml").write_text(json.dumps(site))

    def submitted() -> dict[str, Any]:
        done: dict[str, Any] = inside("submit", "--site", "pool.yaml", "--json", cwd=root).json
        inside("verify", Path(done["directory"]).parents[1], done["directory"], cwd=root)
        return done

    clouds.touch()
    first = submitted()
    assert (first["number"], first["jobs"], first["settled"]) == (1, 5, 0)
    landed = [p for p in (store / "_landing").rglob("*") if p.is_file()]
    stones = [stone for p in landed if (stone := read_tombstone(p.read_bytes()))]
    assert sorted((stone.type, stone.state) for stone in stones) == [
        ("doubled", "lost"),
        ("shifted", "blocked"),
    ]
    assert not made(campaign)

    clouds.unlink()
    second = submitted()
    assert (second["number"], second["jobs"], second["settled"]) == (2, 2, 3)
    told = json.loads((Path(second["directory"]) / "submission.json").read_text())
    assert (told["products"], told["layout"]) == ("landing", layout)

    done = inside("ingest", "--json", cwd=root).json
    assert [one["committed"] for one in done["landed"]] == [{"made": 2}]
    assert made(campaign) == local
    assert campaign.product("total")["visits"] == [2]
    account = inside("account", "--json", cwd=root, ok=False).json
    assert (account["closes"], account["classes"]["unexpected"]) == (True, 0)
    assert not [p for p in (store / "_landing").rglob("*") if p.is_file()]


def test_a_node_that_fetches_its_inputs_itself_makes_the_same(
    tmp_path: Path, clouds: Path, local: dict[str, bytes], inside: Any
) -> None:
    campaign, code = planned(tmp_path / "c", clouds)
    emitted(campaign, inside, {"staging": "prestow"}, stores=campaign.stores, scratch=str(tmp_path / "local"))
    shim = Shim(campaign.directory / "out", tmp_path / "work")
    assert shim.run(), shim.logs
    raw = json.loads((shim.emission / "replicas.yml").read_text())["replicas"]
    assert [entry["lfn"] for entry in raw] == [code.path]  # no input
    assert made(campaign) == local


def test_a_changed_replica_is_found_before_the_task_where_pegasus_verifies_nothing(
    tmp_path: Path, clouds: Path, inside: Any
) -> None:
    campaign, _ = planned(tmp_path / "c", clouds)
    emitted(campaign, inside, {"products": "landing"})
    raw = campaign.directory / "store/raw/toy/raw-2.json"
    raw.write_bytes(raw.read_bytes().replace(b"2", b"3"))
    shim = Shim(campaign.directory / "out", tmp_path / "work")
    shim.run()
    said = {job: list(reports_in(log)) for job, log in shim.logs.items()}
    found = [
        failure
        for reports in said.values()
        for report in reports
        for quantum in report["quanta"]
        for failure in quantum["failures"]
        if "PST-N006" in json.dumps(failure)
    ]
    assert len(found) == 1, said
    assert "raw-2.json" in json.dumps(found)
