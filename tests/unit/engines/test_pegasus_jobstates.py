"""States of Pegasus's jobs, from logs and a database that are written here."""

from __future__ import annotations

import importlib.util
import sqlite3
from pathlib import Path

import polars as pl
import pytest

from prestow.engines.pegasus.harvest import cause_of
from prestow.engines.pegasus.jobstates import (
    read_jobs,
    read_reasons,
    read_tries,
    standing,
    workflow_directories,
)

spec = importlib.util.spec_from_file_location(
    "pegasus_stand_in", Path(__file__).parents[2] / "pegasus_stand_in.py"
)
assert spec is not None
assert spec.loader is not None
stand_in = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stand_in)

STARTED = "10 INTERNAL *** DAGMAN_STARTED 7.0 ***"
FINISHED = "99 INTERNAL *** DAGMAN_FINISHED 1 ***"


def write(directory: Path, *lines: str) -> Path:
    directory.mkdir(parents=True, exist_ok=True)
    (directory / "jobstate.log").write_text("\n".join((STARTED, *lines)) + "\n")
    return directory


def states(directory: Path) -> dict[str, tuple[str, int]]:
    return {
        node: (state, tries)
        for node, state, tries in read_jobs(directory).select("node", "state", "tries").iter_rows()
    }


def events(node: str, *words: str, seq: int = 1, at: int = 20) -> list[str]:
    return [f"{at + i} {node} {word} 5.0 pool - {seq}" for i, word in enumerate(words)]


@pytest.mark.parametrize(
    ("words", "state"),
    [
        (("SUBMIT",), "queued"),
        (("SUBMIT", "EXECUTE"), "running"),
        (("SUBMIT", "EXECUTE", "IMAGE_SIZE"), "running"),
        (("SUBMIT", "EXECUTE", "JOB_EVICTED"), "preempted"),
        (("SUBMIT", "EXECUTE", "SHADOW_EXCEPTION"), "preempted"),
        (("SUBMIT", "EXECUTE", "JOB_EVICTED", "EXECUTE"), "running"),
        (("SUBMIT", "EXECUTE", "JOB_HELD", "JOB_HELD_REASON"), "held"),
        (("SUBMIT", "JOB_HELD", "JOB_RELEASED"), "queued"),
        (("SUBMIT", "JOB_HELD", "JOB_ABORTED"), "failed"),
        (("SUBMIT", "EXECUTE", "JOB_TERMINATED", "JOB_SUCCESS", "POST_SCRIPT_STARTED"), "running"),
        (("SUBMIT", "EXECUTE", "JOB_TERMINATED", "JOB_SUCCESS", "POST_SCRIPT_SUCCESS"), "done"),
        (("SUBMIT", "EXECUTE", "JOB_TERMINATED", "JOB_FAILURE", "POST_SCRIPT_FAILURE"), "failed"),
    ],
)
def test_what_a_job_does_is_what_its_last_event_says(
    tmp_path: Path, words: tuple[str, ...], state: str
) -> None:
    assert states(write(tmp_path, *events("node_a", *words))) == {"node_a": (state, 1)}


def test_a_job_that_is_tried_again_is_what_its_last_try_is(tmp_path: Path) -> None:
    first = events("node_a", "SUBMIT", "EXECUTE", "JOB_FAILURE", "POST_SCRIPT_FAILURE")
    write(tmp_path, *first, *events("node_a", "SUBMIT", seq=2, at=30))
    assert states(tmp_path) == {"node_a": ("queued", 2)}
    tries = read_tries(tmp_path)
    assert tries.select("try", "state", "closed").rows() == [(1, "failed", True), (2, "queued", False)]


def test_what_the_workflow_left_when_it_ended_is_nothing_that_runs(tmp_path: Path) -> None:
    write(
        tmp_path,
        *events("node_a", "SUBMIT", "EXECUTE"),
        *events("b", "SUBMIT", "JOB_SUCCESS", seq=2),
        FINISHED,
    )
    assert states(tmp_path) == {"node_a": ("failed", 1), "b": ("done", 1)}
    reasons = dict(read_jobs(tmp_path).select("node", "reason").iter_rows())
    assert reasons["node_a"] == "the workflow ended while it was running"
    found = standing(tmp_path)
    assert (found.began, found.ended, found.status, found.cluster, found.over) == (10.0, 99.0, 1, "7", True)


def test_an_end_that_nobody_watched_is_in_dagmans_own_log(tmp_path: Path) -> None:
    assert not standing(tmp_path).over
    write(tmp_path)
    (tmp_path / "w-0.dag.dagman.out").write_text(
        "01/01/26 00:00:00 ** condor_scheduniv_exec.7.0 (CONDOR_DAGMAN) STARTING UP\n"
    )
    assert not standing(tmp_path).over
    with (tmp_path / "w-0.dag.dagman.out").open("a") as stream:
        stream.write(
            "01/01/26 00:00:09 **** condor_scheduniv_exec.7.0 (condor_DAGMAN) pid 9 EXITING WITH STATUS 2\n"
        )
    assert (standing(tmp_path).over, standing(tmp_path).status) == (True, 2)


def test_a_torn_last_line_and_lines_of_another_kind_are_no_matter(tmp_path: Path) -> None:
    write(tmp_path, "nonsense", "", *events("node_a", "SUBMIT", "EXECUTE"))
    with (tmp_path / "jobstate.log").open("a") as stream:
        stream.write("25 node_a JOB_TERM")
    assert states(tmp_path) == {"node_a": ("running", 1)}


def test_jobs_that_never_began_are_known_with_and_without_a_database(tmp_path: Path) -> None:
    stand_in.leave(tmp_path / "s", ["a", "b"], {"a": 0}, {"a": ""})
    with_database = read_jobs(tmp_path / "s").drop("kind", "host")
    assert with_database.select("task", "state").rows() == [("a", "done"), ("b", "unready")]
    assert read_jobs(tmp_path / "s")["host"].to_list() == ["192.0.2.7", None]
    (tmp_path / "s/w-0.stampede.db").unlink()
    assert read_jobs(tmp_path / "s").drop("kind", "host").equals(with_database)


def test_a_database_that_is_being_written_is_not_waited_for(tmp_path: Path) -> None:
    stand_in.leave(tmp_path, ["a"], {"a": 0}, {"a": ""})
    writer = sqlite3.connect(tmp_path / "w-0.stampede.db", isolation_level=None)
    writer.execute("BEGIN EXCLUSIVE")
    try:
        assert states(tmp_path) == {"node_a": ("done", 1)}
    finally:
        writer.rollback()
        writer.close()


def test_jobs_that_run_as_one_are_told_apart_by_the_database(tmp_path: Path) -> None:
    stand_in.leave(tmp_path, ["a"], {"a": 0}, {"a": ""})
    with sqlite3.connect(tmp_path / "w-0.stampede.db") as database:
        database.execute("INSERT INTO task VALUES (9, 1, 1, 'b')")
    database.close()
    assert read_jobs(tmp_path).select("node", "task").rows() == [("node_a", "a"), ("node_a", "b")]


def test_workflows_in_workflows_are_found(tmp_path: Path) -> None:
    write(tmp_path)
    write(tmp_path / "00" / "00" / "part-1", *events("node_a", "SUBMIT"))
    assert workflow_directories(tmp_path) == [tmp_path, tmp_path / "00" / "00" / "part-1"]


def test_htcondor_says_why(tmp_path: Path) -> None:
    (tmp_path / "w-0.dag.nodes.log").write_text(
        "012 (005.000.000) 2026-01-01 00:00:00 Job was held.\n\tthe disk is full\n\tCode 12 Subcode 2\n...\n"
        "009 (005.000.000) 2026-01-01 00:01:00 Job was aborted.\n\tPeriodicRemove is true\n...\n"
        "004 (006.000.000) 2026-01-01 00:00:00 Job was evicted.\n\t(0) Job was not checkpointed.\n\t\tUsr 0 00:00:00, Sys\n...\n"
        "005 (007.000.000) 2026-01-01 00:00:00 Job terminated.\n\t(0) Abnormal termination (signal 9)\n...\n"
    )
    assert read_reasons(tmp_path) == {"5.0": "the disk is full", "6.0": "", "7.0": "killed by signal 9"}
    write(tmp_path, *events("node_a", "SUBMIT", "JOB_HELD"))
    assert read_jobs(tmp_path)["reason"].to_list() == ["the disk is full"]


@pytest.mark.parametrize(
    ("facts", "reason", "out", "code", "words"),
    [
        ({"held": True, "aborted": True}, "the disk is full", "", "PST-E075", "the disk is full"),
        ({"aborted": True}, "via condor_rm", "", "PST-E073", "removed from the queue: via condor_rm"),
        ({"exit_code": 137}, "", "", "PST-E073", "killed by signal 9"),
        ({"exit_code": 1}, "", stand_in.kickstart("", -9), "PST-E073", "killed by signal 9"),
        ({"exit_code": None}, "killed by signal 15", "", "PST-E073", "killed by signal 15"),
        ({"evicted": 1}, "machine gone", "", "PST-E073", "put off its machine: machine gone"),
        ({"exit_code": 127}, "", "", "PST-E077", "it ended with 127"),
    ],
)
def test_a_try_without_a_report_has_a_cause(
    facts: dict[str, object], reason: str, out: str, code: str, words: str
) -> None:
    row = {"exit_code": None, "held": False, "aborted": False, "evicted": 0, **facts}
    found = cause_of(row, reason, out, "")
    assert found[0] == code
    assert words in found[1]


def test_columns_are_those_that_are_promised(tmp_path: Path) -> None:
    empty = read_jobs(tmp_path)
    assert empty.height == 0
    assert empty.schema["tries"] == pl.UInt32
