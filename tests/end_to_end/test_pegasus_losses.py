"""What fails under Pegasus, by a shim: tolerated or not, tried again, and what goes on below it."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from prestow.engines import open_engine
from prestow.engines.pegasus import Emission, emit
from prestow.errors import PlanRefusedError
from prestow.ingest import ingest_outputs
from prestow.plan import Plan
from prestow.plan.reuse import reusable
from prestow.plan.settled import read_settled
from prestow.site import PegasusSettings, Site
from prestow.stores import open_store
from prestow.testing.campaigns import Campaign
from prestow.testing.pegasus_shim import Shim


def emitted(campaign: Campaign, plan: Plan, into: Path, *, reuse: Any = None, **settings: Any) -> Emission:
    assert plan.code is not None
    open_store(campaign.stores["archive"]).put_if_absent(plan.code.path, plan.code.data)
    site = Site(
        "pool",
        "pegasus",
        stores=campaign.stores,
        pegasus=PegasusSettings(sys.executable, "/work", **settings),
    )
    return emit(plan, site, into, reuse=reuse)


def states(campaign: Campaign, plan: Plan) -> dict[str, list[str]]:
    """Give the states of the quanta of each task, in order; None where there is no receipt."""
    settled = read_settled(plan, open_store(campaign.stores["archive"])).states
    result: dict[str, list[str]] = {}
    for row, task in enumerate(plan.tables["quanta"]["task"]):
        result.setdefault(task, []).append(str(settled.get(row)))
    return result


def products(campaign: Campaign) -> dict[str, bytes]:
    top = campaign.directory / "store" / "toy"
    return {str(p.relative_to(top)): p.read_bytes() for p in sorted(top.rglob("*.json"))}


FAILS = {2: {"double": {"what": "fail"}}}


def test_a_tolerated_failure_is_a_loss_and_the_gather_goes_on_as_by_the_engine_local(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path / "c", do=FAILS, double="tolerate", minimum=2, tries=2)
    plan = campaign.plan()
    emitted(campaign, plan, tmp_path / "out", retries=0)
    shim = Shim(tmp_path / "out", tmp_path / "work")
    assert shim.run(), shim.logs
    assert states(campaign, plan) == {
        "double": ["made", "lost", "made"], "shift": ["made", "blocked", "made"], "gather": ["made"],
    }  # fmt: skip
    assert campaign.product("total")["visits"] == [1, 3]
    local = Campaign(tmp_path / "local", do=FAILS, double="tolerate", minimum=2, tries=2)
    local.run(open_engine("local"))
    assert len(products(campaign)) == 5
    assert products(campaign) == products(local)


def test_a_failure_that_is_not_tolerated_stops_what_needs_it_and_nothing_else(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path / "c", do=FAILS, minimum=2)
    plan = campaign.plan()
    emitted(campaign, plan, tmp_path / "out", retries=0)
    shim = Shim(tmp_path / "out", tmp_path / "work")
    assert not shim.run()
    assert len(shim.failed) == 1
    assert "no stars above 5 sigma" in shim.logs[shim.failed[0]]
    assert states(campaign, plan) == {
        "double": ["made", "None", "made"], "shift": ["made", "None", "made"], "gather": ["None"],
    }  # fmt: skip


def test_what_pegasus_starts_again_goes_on_where_it_was(tmp_path: Path) -> None:
    once = {2: {"shift": {"what": "fail", "times": 1, "count": str(tmp_path / "count")}}}
    campaign = Campaign(tmp_path / "c", do=once, clustered=True)
    plan = campaign.plan()
    emitted(campaign, plan, tmp_path / "out", retries=1)
    shim = Shim(tmp_path / "out", tmp_path / "work")
    assert shim.run(), shim.logs
    assert max(p.name[-2:] for p in (tmp_path / "work/jobs").iterdir() if "2-" in p.name) == "-1"
    assert states(campaign, plan)["shift"] == ["made"] * 3
    jobs = json.loads((tmp_path / "out/workflow.yml").read_text())["jobs"]
    assert len([u for u in jobs[0]["uses"] if u["type"] == "output"]) == 2  # a receipt for each quantum


def test_profiles_are_always_there_and_follow_the_tasks(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path / "c", tries=4, shift="tolerate")
    text = (campaign.directory / "pipeline.yaml").read_text()
    more = "resources: {memory: 3 GB, cores: 2, walltime: 10 min}, hints: {cpu_seconds: 100, output_bytes: 2.0e+9}, inputs: {doubled"
    (campaign.directory / "pipeline.yaml").write_text(text.replace("inputs: {doubled", more))
    emitted(campaign, campaign.plan(), tmp_path / "out", cluster=2)
    jobs = {j["nodeLabel"]: j for j in json.loads((tmp_path / "out/workflow.yml").read_text())["jobs"]}
    assert jobs["double-1"]["profiles"] == {
        "dagman": {"PRIORITY": 102, "RETRY": 3},  # a second for want of a hint, then 100 and one more
        "pegasus": {"cores": 1, "diskspace": 1024, "label": "double-0-0", "memory": 2048},
    }
    shift = jobs["shift-3"]
    # nodes are lost, too; the task's tries are in the job
    assert shift["profiles"]["dagman"] == {"PRIORITY": 101, "RETRY": 1}
    assert shift["arguments"][-3:] == ["--tries", "4", "--final"]
    assert shift["profiles"]["pegasus"] == {
        "cores": 2, "diskspace": 6000, "label": "shift-1-1", "memory": 2862, "runtime": 2700,
    }  # fmt: skip
    # Pegasus ends a job five minutes before its runtime is over; four tries of ten minutes each are in there


def test_a_changed_input_is_found_before_the_task_starts(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path / "c")
    emitted(campaign, campaign.plan(), tmp_path / "out")
    raw = campaign.directory / "store/raw/toy/raw-2.json"
    raw.write_bytes(raw.read_bytes().replace(b"2", b"3"))
    with pytest.raises(ValueError, match="Expected checksum"):
        Shim(tmp_path / "out", tmp_path / "work").run()


def test_a_child_run_hands_over_what_is_to_be_made_again(tmp_path: Path) -> None:
    flag = tmp_path / "clouds"
    flag.touch()
    campaign = Campaign(
        tmp_path / "c", do={2: {"double": {"what": "fail", "while": str(flag)}}}, double="tolerate", minimum=2
    )
    plan = campaign.plan()
    emitted(campaign, plan, tmp_path / "out", retries=0)
    assert Shim(tmp_path / "out", tmp_path / "work").run()
    flag.unlink()
    with campaign.registry() as registry:
        ingest_outputs(registry, open_store(campaign.stores["archive"]), runs=["toy"])
    child = campaign.plan("toy+1", child_of="toy")
    with campaign.registry() as registry:
        reuse = reusable(child, registry)
    done = emitted(campaign, child, tmp_path / "again", reuse=reuse)
    assert done.jobs == 3
    assert Shim(tmp_path / "again", tmp_path / "work2").run()
    assert campaign.product("total", "toy+1")["visits"] == [1, 2, 3]


def test_where_all_is_taken_from_the_parent_there_is_nothing_to_hand_over(tmp_path: Path) -> None:
    campaign = Campaign(tmp_path / "c")
    campaign.run(open_engine("local"))
    with campaign.registry() as registry:
        ingest_outputs(registry, open_store(campaign.stores["archive"]), runs=["toy"])
    child = campaign.plan("toy+1", child_of="toy")
    with campaign.registry() as registry:
        reuse = reusable(child, registry)
    with pytest.raises(PlanRefusedError, match="PST-E009"):
        emitted(campaign, child, tmp_path / "out", reuse=reuse)
    assert not (tmp_path / "out").exists()
