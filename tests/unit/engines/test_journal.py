"""The journal takes what a crash leaves, and the lock keeps a second run out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prestow.engines.journal import Journal, is_locked, read_journal, run_lock, under_way
from prestow.errors import Exit, PrestowError


def test_a_torn_last_line_is_ignored_and_what_follows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(path)
    journal.write("ended", job="a")
    journal.write("ended", job="b")
    journal.close()
    path.write_bytes(path.read_bytes()[:-9])
    assert [line["job"] for line in read_journal(path)] == ["a"]
    journal = Journal(path)
    journal.write("ended", job="c")
    journal.close()
    assert [line["job"] for line in read_journal(path)] == ["a", "c"]


def test_no_journal_is_an_empty_one(tmp_path: Path) -> None:
    assert list(read_journal(tmp_path / "journal.jsonl")) == []


def test_a_second_run_of_one_plan_is_told_so(tmp_path: Path) -> None:
    with run_lock(tmp_path), pytest.raises(PrestowError) as caught, run_lock(tmp_path):
        pass
    assert caught.value.problems[0].code == "PST-R005"
    assert caught.value.exit_code is Exit.ENVIRONMENT
    with run_lock(tmp_path):
        pass


def test_the_lock_of_a_killed_run_is_free(tmp_path: Path) -> None:
    script = "import os, sys; from pathlib import Path; from prestow.engines.journal import run_lock\nwith run_lock(Path(sys.argv[1])): os.kill(os.getpid(), 9)"
    assert subprocess.run([sys.executable, "-c", script, str(tmp_path)], check=False).returncode == -9
    with run_lock(tmp_path):
        pass


def test_what_is_under_way_is_told_from_the_journal_and_the_lock(tmp_path: Path) -> None:
    assert under_way(tmp_path) is None
    journal = Journal(tmp_path / "journal.jsonl")
    for run in ("older", "newer"):
        journal.write("begin", submission=run, jobs=5)
        journal.write("sent", jobs=["a", "b", "c"])
        journal.write("ended", job="a")
    journal.write("lost", job="b", why="it vanished")
    journal.write("returned", job="c")
    journal.write("sent", jobs=["b"])
    journal.close()
    with run_lock(tmp_path):
        assert is_locked(tmp_path)
        found = under_way(tmp_path)
        assert found is not None
        assert (found.submission, found.alive, found.ended, found.sent) == ("newer", True, 1, frozenset("b"))
        assert found.as_dict()["waiting"] == 3
    found = under_way(tmp_path)
    assert found is not None
    assert (found.alive, found.sent) == (False, frozenset())


def test_a_job_that_is_tried_again_counts_once(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "journal.jsonl")
    journal.write("begin", submission="one", jobs=2)
    journal.write("sent", jobs=["a", "b"])
    journal.write("ended", job="a")
    journal.write("sent", jobs=["a"])
    journal.flush()
    with run_lock(tmp_path):
        now = under_way(tmp_path)
        assert now is not None
        assert (now.ended, now.sent, now.as_dict()["waiting"]) == (0, frozenset("ab"), 0)
    journal.write("ended", job="a")
    journal.write("error", job="b", error="it broke")
    journal.close()
    now = under_way(tmp_path)
    assert now is not None
    assert (now.ended, now.sent) == (2, frozenset())


def test_asking_again_and_again_keeps_no_run_out(tmp_path: Path) -> None:
    (tmp_path / "run.lock").touch()
    script = "import sys; from pathlib import Path; from prestow.engines.journal import is_locked\nwhile True: is_locked(Path(sys.argv[1]))"
    asking = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)])
    try:
        for _ in range(50):
            with run_lock(tmp_path):
                pass
    finally:
        asking.kill()
        asking.wait()
