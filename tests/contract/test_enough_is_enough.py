"""One cause that fails too much stops its task; one host that does is left; what is put back has its say."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from prestow import plugins
from prestow.engines import Engine, open_engine
from prestow.engines.breaker import Breaker
from prestow.engines.journal import read_journal
from prestow.errors import Exit, PrestowError
from prestow.plan.retrying import Change, Retries, read_held, write_held, write_retries
from prestow.testing.campaigns import Campaign


@pytest.fixture(scope="module", params=plugins.names("engines"))
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    if request.param != "dask":
        yield open_engine(request.param)
        return
    pytest.importorskip("distributed")
    with open_engine("dask", workers=2) as engine:  # type: ignore[attr-defined]
        yield engine


def failing(visits: range, flag: Path, **more: Any) -> dict[int, Any]:
    return {visit: {"shift": {"what": "fail", "while": str(flag), **more}} for visit in visits}


def test_a_cause_above_the_share_stops_its_task_and_nothing_else(engine: Engine, tmp_path: Path) -> None:
    flag = tmp_path / "broken"
    flag.touch()
    campaign = Campaign(
        tmp_path / "c", visits=30, do=failing(range(1, 31), flag, sleep=0.1), shift="tolerate", minimum=1
    )
    plan = campaign.plan()
    result = campaign.run(engine, plan, breaker=Breaker(least=8))
    assert result.tasks["double"] == {"made": 30}
    (tripped,) = result.tripped
    assert (tripped.label, tripped.failed >= 8, tripped.cause) == (
        "shift", True, "[PST-N007] ValueError: no stars above <n> sigma (toytasks.py:<n>)",
    )  # fmt: skip
    assert result.exit_code is Exit.FAILED
    shift = result.tasks["shift"]
    assert shift["failed"] < 28, "most of it never began"
    assert shift["failed"] + shift["pending"] == 30, "what stops a task is not sealed as lost"
    assert result.tasks["gather"] == {"pending": 1}
    events = [line for line in read_journal(plan.directory / "journal.jsonl") if line["event"] == "breaker"]
    assert [(e["label"], e["failed"]) for e in events] == [("shift", tripped.failed)]

    again = campaign.run(engine, plan, breaker=Breaker(least=8))
    assert (again.jobs, again.exit_code, again.tripped) == (0, Exit.FAILED, (tripped,)), "nobody acted"

    flag.unlink()
    write_held(plan.directory, {})  # as 'prestow retry' does
    done = campaign.run(engine, plan, breaker=Breaker(least=8))
    assert (done.counts, done.exit_code, done.tripped) == ({"made": 61}, Exit.OK, ())


def test_without_a_breaker_all_are_tried_and_what_held_is_forgotten(engine: Engine, tmp_path: Path) -> None:
    flag = tmp_path / "broken"
    flag.touch()
    campaign = Campaign(tmp_path / "c", visits=12, do=failing(range(1, 13), flag))
    plan = campaign.plan()
    assert campaign.run(engine, plan, breaker=Breaker(least=2)).tasks["shift"].get("pending")
    assert read_held(plan.directory)
    result = campaign.run(engine, plan)
    assert (result.tasks["shift"], result.tripped) == ({"failed": 12}, ())
    assert not read_held(plan.directory)


def test_failures_below_the_share_stop_nothing_and_are_sealed_at_the_end(
    engine: Engine, tmp_path: Path
) -> None:
    flag = tmp_path / "broken"
    flag.touch()
    campaign = Campaign(tmp_path / "c", visits=24, do=failing(range(1, 5), flag), shift="tolerate", minimum=1)
    result = campaign.run(engine, breaker=Breaker(least=5))
    assert (result.tripped, result.tasks["shift"]) == ((), {"made": 20, "lost": 4})
    assert (result.exit_code, len(campaign.product("total")["visits"])) == (Exit.LOSSES, 20)


def test_what_is_put_back_is_tried_so_often_and_its_manifest_asks_for_the_memory(
    engine: Engine, tmp_path: Path
) -> None:
    once = {"what": "fail", "times": 2, "count": str(tmp_path / "n")}
    campaign = Campaign(tmp_path / "c", do={1: {"double": once}})
    plan = campaign.plan()
    (job,) = {failure.job for failure in campaign.run(engine, plan).failures}
    write_retries(plan, Retries({job: Change(1, memory=1000, tries=2)}))
    result = campaign.run(engine, plan)
    assert (result.counts, result.exit_code) == ({"made": 7}, Exit.OK)
    sent = [line for line in read_journal(plan.directory / "journal.jsonl") if line["event"] == "ended"]
    assert [line["try"] for line in sent if line["job"] == job] == [1, 1, 2]
    assert any("memory is recorded only" in note for note in result.notes) is (engine.name == "local")


def test_a_host_that_is_to_be_avoided_is_told_where_there_is_no_other(engine: Engine, tmp_path: Path) -> None:
    import os

    flag = tmp_path / "broken"
    flag.touch()
    campaign = Campaign(tmp_path / "c", do=failing(range(1, 2), flag))
    plan = campaign.plan()
    (failure,) = campaign.run(engine, plan).failures
    flag.unlink()
    write_retries(plan, Retries({failure.job: Change(1, avoid=(os.uname().nodename,))}))
    if engine.name == "local":
        result = campaign.run(engine, plan)
        assert result.counts == {"made": 7}
        assert any("is not avoided" in note for note in result.notes)
        return
    with pytest.raises(PrestowError) as error:
        campaign.run(engine, plan)
    assert [problem.code for problem in error.value.problems] == ["PST-E047"]
    write_retries(plan, Retries({failure.job: Change(2, avoid=("elsewhere",), memory=1 << 60)}))
    result = campaign.run(engine, plan)
    assert result.counts == {"made": 7}
    assert any("no worker may use" in note for note in result.notes)


@pytest.fixture(scope="module")
def two_hosts() -> Iterator[Engine]:
    """Workers that call themselves by two hosts."""
    distributed = pytest.importorskip("distributed")
    from prestow.node.execute import FIXED

    workers = {
        name: {"cls": distributed.Nanny, "options": {"nthreads": 1, "env": {**FIXED, "PRESTOW_HOST": name}}}
        for name in ("good", "bad")
    }
    scheduler = {
        "cls": distributed.Scheduler,
        "options": {"dashboard_address": "127.0.0.1:0", "host": "127.0.0.1"},
    }
    for worker in workers.values():
        worker["options"]["host"] = "127.0.0.1"
    with (
        distributed.SpecCluster(workers=workers, scheduler=scheduler) as cluster,
        open_engine("dask", address=cluster.scheduler_address) as engine,  # type: ignore[attr-defined]
    ):
        yield engine


def hosts_of(campaign: Campaign, plan: Any, task: str) -> dict[str, int]:
    import json

    hosts: dict[str, int] = {}
    for path in (campaign.directory / "store/_attempts").rglob("*.json"):
        report = json.loads(path.read_bytes())
        if any(entry["task"] == task and entry["state"] == "made" for entry in report["quanta"]):
            hosts[report["host"]] = hosts.get(report["host"], 0) + 1
    return hosts


@pytest.mark.dask
def test_a_host_that_fails_nearly_all_gets_no_more_and_its_jobs_are_made_elsewhere(
    two_hosts: Engine, tmp_path: Path
) -> None:
    do = {visit: {"double": {"what": "fail", "on": "bad", "sleep": 0.01}} for visit in range(1, 41)}
    campaign = Campaign(tmp_path, visits=40, do=do)
    plan = campaign.plan()
    result = campaign.run(two_hosts, plan, breaker=Breaker())
    assert (result.counts, result.avoided, result.tripped) == ({"made": 81}, ("bad",), ())
    assert hosts_of(campaign, plan, "double") == {"good": 40}
    (event,) = [line for line in read_journal(plan.directory / "journal.jsonl") if line["event"] == "host"]
    assert (event["host"], len(event["jobs"]) >= 5) == ("bad", True)


@pytest.mark.dask
def test_jobs_that_are_put_back_run_on_other_hosts_only(two_hosts: Engine, tmp_path: Path) -> None:
    flag = tmp_path / "broken"
    flag.touch()
    campaign = Campaign(tmp_path / "c", visits=12, do=failing(range(1, 13), flag))
    plan = campaign.plan()
    jobs = {failure.job for failure in campaign.run(two_hosts, plan).failures}
    flag.unlink()
    write_retries(plan, Retries({job: Change(1, avoid=("good",)) for job in jobs}))
    assert campaign.run(two_hosts, plan).counts == {"made": 25}
    assert hosts_of(campaign, plan, "shift") == {"bad": 12}


@pytest.mark.dask
def test_jobs_that_may_run_on_one_worker_alone_wait_for_no_dead_one(
    two_hosts: Engine, tmp_path: Path
) -> None:
    once = {"what": "kill", "times": 1, "count": str(tmp_path / "n"), "sleep": 0.1}
    do = {visit: {"double": once if visit == 1 else {"sleep": 0.1}} for visit in range(1, 7)}
    campaign = Campaign(tmp_path / "c", visits=6, do=do)
    plan = campaign.plan()
    jobs = plan.tables.scan("jobs").select("name").collect()["name"].to_list()
    write_retries(plan, Retries(dict.fromkeys(jobs, Change(1, avoid=("bad",)))))
    assert campaign.run(two_hosts, plan).counts == {"made": 13}
    assert hosts_of(campaign, plan, "double") == {"good": 6}
