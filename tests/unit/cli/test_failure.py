"""Every exception becomes problems and an exit code; none becomes a traceback on the screen."""

import errno
import json
import subprocess
import sys
from pathlib import Path

import click
import pytest

from prestow.cli import main
from prestow.cli.failure import problems_of, report
from prestow.errors import Exit, PlanRefusedError, Problem, StoreError


def test_a_problem_gives_its_own_exit_code(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(PlanRefusedError(Problem("PST-P002", "3 inputs are missing")), ["plan"]) is Exit.REFUSED
    assert "error[PST-P002]" in capsys.readouterr().err


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device", "/x/y"),
        OSError(errno.EDQUOT, "Disk quota exceeded", "/x/y"),
        RuntimeError("database or disk is full"),
    ],
)
def test_a_full_disk_is_one_clear_error_wherever_it_comes_from(error: Exception) -> None:
    wrapped = StoreError(Problem("PST-R001", "cannot write"))
    wrapped.__cause__ = error
    for found in (error, wrapped):
        assert [p.code for p in problems_of(found)] == ["PST-R002"]
        assert report(found, ["-q"]) is Exit.ENVIRONMENT


def test_a_refused_file_operation_names_the_file() -> None:
    (problem,) = problems_of(PermissionError(errno.EACCES, "Permission denied", "/x/y"))
    assert (problem.code, problem.where) == ("PST-R009", "/x/y")


def test_an_interrupt_is_exit_6(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(KeyboardInterrupt(), ["run"]) is Exit.STOPPED
    assert report(click.Abort(), ["run"]) is Exit.STOPPED


def test_a_bug_asks_for_a_report_and_names_a_file_with_the_traceback(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    try:
        {}["no such thing"]
    except KeyError as error:
        assert report(error, ["plan"]) is Exit.INTERNAL
    err = capsys.readouterr().err
    (file,) = tmp_path.iterdir()
    assert "KeyError" in err
    assert "report" in err
    assert str(file) in err
    assert "Traceback" not in err
    assert "Traceback" in file.read_text()


def test_a_bug_shows_its_traceback_when_asked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    try:
        {}["no such thing"]
    except KeyError as error:
        report(error, ["plan", "-v"])
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["plan", "--no-such-option"], ["no-such-command"], ["completion", "tcsh"]])
def test_a_command_line_that_cannot_be_understood_is_exit_2(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    assert "error[PST-G005]" in capsys.readouterr().err


def test_usage_errors_are_json_when_asked(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", "--json", "--no-such-option"]) == 2
    answer = json.loads(capsys.readouterr().out)
    assert answer["schema"] == "prestow.error/1"
    assert answer["problems"][0]["code"] == "PST-G005"


def test_help_and_version_are_exit_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    assert main(["plan", "--help"]) == 0
    assert main(["--version"]) == 0


def test_no_command_shows_the_help_and_is_exit_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 2
    err = capsys.readouterr().err
    assert err.startswith("Usage: prestow")
    assert "error[" not in err


def test_a_command_ends_as_programs_do_and_leaves_nothing_unsaid() -> None:
    code = (
        "import atexit, sys, threading\n"
        "from prestow.cli import command\n"
        "atexit.register(sys.stdout.write, 'exit function')\n"
        "until_the_end = threading.main_thread().join\n"
        "threading.Thread(target=lambda: (until_the_end(), sys.stdout.write('thread '))).start()\n"
        "sys.argv = ['prestow', '--version']\n"
        "command()\n"
        "sys.stdout.write('never')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("prestow ")
    assert done.stdout.endswith("thread exit function")
