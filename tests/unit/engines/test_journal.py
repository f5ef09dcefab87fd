"""The journal takes what a crash leaves, and the lock keeps a second run out."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from prestow.engines.journal import Journal, read_journal, run_lock
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
