"""Every engine of the table runs the same plan to the same end."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prestow import plugins
from prestow.engines import Engine, open_engine
from prestow.engines.journal import read_journal
from prestow.engines.progress import Event
from prestow.errors import Exit, PlanRefusedError, ProjectError
from prestow.plan.reuse import reusable
from prestow.results.status import status
from prestow.stores import open_store
from prestow.testing.campaigns import Campaign


@pytest.fixture(scope="module", params=plugins.names("engines"))
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param != "dask":
        yield open_engine(request.param)
        return
    pytest.importorskip("distributed")
    with open_engine("dask", workers=2) as engine:  # type: ignore[attr-defined]
        yield engine


class Refusing:
    """An engine that must not be started."""

    name = "refusing"
    window = 1

    def start(self) -> None:
        raise AssertionError("nothing is left to do")


def fail(flag: Path | None = None) -> dict[str, Any]:
    return {"what": "fail", **({"while": str(flag)} if flag else {})}


def receipts(campaign: Campaign) -> list[dict[str, Any]]:
    return [json.loads(p.read_bytes()) for p in (campaign.directory / "store/_receipts").rglob("*.json")]


def test_all_is_made_and_a_second_run_starts_nothing(engine: Engine, tmp_path: Path) -> None:
    campaign = Campaign(tmp_path)
    first = campaign.run(engine)
    assert (first.counts, first.exit_code, first.jobs) == ({"made": 7}, Exit.OK, 7)
    assert campaign.product("total")["visits"] == [1, 2, 3]
    again = campaign.run(Refusing())  # type: ignore[arg-type]
    assert (again.counts, again.exit_code, again.jobs) == ({"made": 7}, Exit.OK, 0)
    assert again.plan == first.plan


def test_engines_give_the_same_bytes(engine: Engine, tmp_path: Path) -> None:
    do = {2: {"shift": {"decline": "cloudy"}}, 3: {"double": fail()}}
    campaigns = [Campaign(tmp_path / n, do=do, double="tolerate", minimum=1) for n in ("one", "two")]
    campaigns[0].run(engine)
    campaigns[1].run(open_engine("local"))
    assert campaigns[0].products() == campaigns[1].products()
    assert len(campaigns[0].products()) == 3 + 2 + 1 + 1


def test_a_failure_is_named_by_data_id_with_its_log_and_the_rest_is_unharmed(
    engine: Engine, tmp_path: Path
) -> None:
    flag = tmp_path / "broken"
    flag.touch()
    campaign = Campaign(tmp_path / "c", do={2: {"shift": fail(flag)}})
    result = campaign.run(engine)
    assert result.exit_code is Exit.FAILED
    assert result.counts == {"made": 5, "failed": 1, "pending": 1}
    (failure,) = result.failures
    assert failure.data_id == "instrument=toy,visit=2"
    assert "looking for stars" in failure.log_tail
    assert "no stars above 5 sigma" in failure.message
    now = status(campaign.plan(), open_store(campaign.stores["archive"]))
    assert (now.counts["failed"], now.counts["pending"], now.total) == (1, 1, 7)
    assert now.failures[0].data_id == "instrument=toy,visit=2"
    flag.unlink()
    again = campaign.run(engine)
    assert (again.counts, again.exit_code, again.jobs) == ({"made": 7}, Exit.OK, 2)
    assert again.plan == result.plan


@pytest.mark.parametrize("clustered", [False, True], ids=["apart", "clustered"])
def test_a_tolerated_loss_is_sealed_and_the_gather_says_so(
    engine: Engine, tmp_path: Path, clustered: bool
) -> None:
    campaign = Campaign(
        tmp_path, do={2: {"double": fail()}}, double="tolerate", minimum=2, clustered=clustered
    )
    result = campaign.run(engine)
    assert result.counts == {"made": 5, "lost": 1, "blocked": 1}
    assert (result.exit_code, result.losses, result.failures) == (Exit.LOSSES, 2, ())
    total = campaign.product("total")
    assert (total["visits"], total["absent"]) == ([1, 3], [[2, "blocked", "blocked"]]) or total["absent"][0][
        :2
    ] == [2, "blocked"]
    (lost,) = [r for r in receipts(campaign) if r["state"] == "lost"]
    assert (lost["sealer"], lost["attempt"], lost["data_id"]["visit"]) == ("engine", None, 2)
    assert "no stars above 5 sigma" in lost["reason"]
    assert campaign.run(Refusing()).exit_code is Exit.LOSSES  # type: ignore[arg-type]


def test_nothing_is_sealed_when_the_minimum_would_not_hold(engine: Engine, tmp_path: Path) -> None:
    campaign = Campaign(
        tmp_path, do={1: {"double": fail()}, 2: {"double": fail()}}, double="tolerate", minimum=2
    )
    result = campaign.run(engine)
    assert result.exit_code is Exit.FAILED
    assert result.counts == {"made": 2, "failed": 2, "pending": 3}


def test_a_failure_under_another_policy_holds_the_seal_back(engine: Engine, tmp_path: Path) -> None:
    campaign = Campaign(
        tmp_path, do={1: {"double": fail()}, 2: {"shift": fail()}}, double="tolerate", minimum=1
    )
    result = campaign.run(engine)
    assert result.exit_code is Exit.FAILED
    assert result.counts == {"made": 3, "failed": 2, "pending": 2}


def test_tries_are_made_and_counted(engine: Engine, tmp_path: Path) -> None:
    once = {"what": "fail", "times": 1, "count": str(tmp_path / "n")}
    campaign = Campaign(tmp_path / "c", do={1: {"double": once}}, tries=2, clustered=True)
    result = campaign.run(engine)
    assert (result.counts, result.exit_code, result.jobs) == (
        {"made": 7},
        Exit.OK,
        5 if result.jobs == 5 else 6,
    )
    assert len([r for r in receipts(campaign) if r["task"] == "double"]) == 3


def test_a_decline_is_no_failure(engine: Engine, tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, do={1: {"double": {"decline": "cloudy"}}}, minimum=2)
    result = campaign.run(engine)
    assert (result.counts, result.exit_code) == ({"made": 5, "declined": 2}, Exit.OK)
    assert campaign.product("total")["absent"] == [[1, "declined", "cloudy"]]


def test_only_a_task_and_what_it_needs_is_run(engine: Engine, tmp_path: Path) -> None:
    campaign = Campaign(tmp_path)
    result = campaign.run(engine, only="double")
    assert (result.counts, result.exit_code) == ({"made": 3, "pending": 4}, Exit.OK)
    assert (result.settled, dict(result.unasked)) == (False, {"shift": 3, "gather": 1})
    assert campaign.run(engine, only=("shift", "double")).unasked == {"gather": 1}
    last = campaign.run(engine, only="gather")
    assert (last.exit_code, last.settled, dict(last.unasked)) == (Exit.OK, True, {})


def test_only_a_task_that_fails_is_a_failure(engine: Engine, tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, do={2: {"double": {"what": "fail"}}})
    result = campaign.run(engine, only="double")
    assert (result.counts, result.exit_code) == ({"made": 2, "failed": 1, "pending": 4}, Exit.FAILED)
    assert dict(result.unasked) == {"shift": 3, "gather": 1}


def test_only_names_that_are_no_tasks_are_all_told(engine: Engine, tmp_path: Path) -> None:
    campaign = Campaign(tmp_path)
    with pytest.raises(ProjectError) as error:
        campaign.run(engine, only=("doubel", "x"))
    assert [p.fix for p in error.value.problems] == ["did you mean 'double'?", "tasks: double, shift, gather"]


def test_draining_ends_what_runs_and_the_next_run_goes_on(engine: Engine, tmp_path: Path) -> None:
    campaign = Campaign(tmp_path, visits=8, do={n: {"double": {"sleep": 0.2}} for n in range(1, 9)})
    stop = threading.Event()

    def heard(event: Event) -> None:
        if event.settled:
            stop.set()

    result = campaign.run(engine, stop=stop, on_event=heard)
    assert (result.exit_code, result.stopped, result.failures) == (Exit.STOPPED, True, ())
    assert 0 < result.counts["made"] < 17
    assert sum(result.counts.values()) == 17
    assert campaign.run(engine).counts == {"made": 17}


def test_a_receipt_of_another_recipe_is_refused(engine: Engine, tmp_path: Path) -> None:
    campaign = Campaign(tmp_path)
    campaign.run(engine)
    path = next((tmp_path / "store/_receipts/toy/gather").rglob("*.json"))
    text = json.loads(path.read_bytes())
    wanted, text["planned_recipe"] = text["planned_recipe"], "0" * 32
    path.chmod(0o644)
    path.write_text(json.dumps(text))
    with pytest.raises(PlanRefusedError) as caught:
        campaign.run(engine)
    (problem,) = caught.value.problems
    assert problem.code == "PST-P005"
    assert wanted in problem.what
    assert "0" * 32 in problem.what


def test_what_is_committed_and_not_promoted_is_promoted(engine: Engine, tmp_path: Path) -> None:
    campaign = Campaign(tmp_path)
    campaign.run(engine)
    receipt = next(r for r in receipts(campaign) if r["task"] == "gather")
    (output,) = receipt["outputs"]
    store = open_store(campaign.stores["archive"])
    store.move(output["path"], output["aside"])
    before = campaign.products()
    campaign.run(Refusing())  # type: ignore[arg-type]
    assert campaign.products().keys() - before.keys() == {output["path"]}


def test_the_journal_and_the_events_tell_the_run(engine: Engine, tmp_path: Path) -> None:
    campaign = Campaign(tmp_path)
    events: list[Event] = []
    plan = campaign.plan()
    campaign.run(engine, plan, on_event=events.append)
    assert (events[0].kind, events[-1].kind) == ("begin", "end")
    assert all(event.total == 7 for event in events)
    assert events[-1].settled == 7
    assert plan.directory is not None
    lines = list(read_journal(plan.directory / "journal.jsonl"))
    assert sorted(line["job"] for line in lines if line["event"] == "ended") == sorted(
        plan.tables["jobs"]["name"]
    )


def test_a_child_run_makes_exactly_what_the_loss_touched(engine: Engine, tmp_path: Path) -> None:
    from prestow.ingest import ingest_outputs

    flag = tmp_path / "broken"
    flag.touch()
    campaign = Campaign(
        tmp_path / "c",
        do={2: {"double": fail(flag)}, 3: {"double": {"decline": "cloudy"}}},
        visits=4,
        double="tolerate",
        minimum=2,
    )
    assert campaign.run(engine).counts == {"made": 5, "declined": 2, "lost": 1, "blocked": 1}
    assert campaign.product("total")["visits"] == [1, 4]
    flag.unlink()
    store = open_store(campaign.stores["archive"])
    with campaign.registry() as registry:
        ingest_outputs(registry, store, runs=["toy"])
        child = campaign.plan("toy+1", child_of="toy")
        reuse = reusable(child, registry)
    result = campaign.run(engine, child, reuse=reuse)
    assert (result.counts, result.exit_code) == ({"made": 3, "reused": 6}, Exit.OK)
    made = {(r["task"], r["data_id"].get("visit")) for r in receipts(campaign) if r["run"] == "toy+1"}
    assert made == {("double", 2), ("shift", 2), ("gather", None)}
    assert campaign.product("total", "toy+1")["visits"] == [1, 2, 4]
    assert campaign.product("total", "toy+1")["absent"] == [[3, "declined", "cloudy"]]
    assert status(child, store, reuse=reuse).counts["reused"] == 6
