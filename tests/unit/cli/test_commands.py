"""The table of commands, and the small commands that need no plan."""

import importlib
import json
from pathlib import Path

import pytest

from prestow.cli import main
from prestow.cli.group import ALIASES, COMMANDS
from prestow.errors import CODES, Exit


@pytest.mark.parametrize("name", COMMANDS)
def test_the_help_of_the_list_is_that_of_the_command(name: str) -> None:
    target, text = COMMANDS[name]
    module, _, attribute = target.partition(":")
    command = getattr(importlib.import_module(module), attribute)
    assert command.name == name
    assert command.short_help == text
    assert {"json_", "quiet", "verbose", "no_color", "directory"} <= {p.name for p in command.params}


def test_aliases_mean_commands() -> None:
    assert set(ALIASES.values()) <= set(COMMANDS)


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_prints_a_script_for_the_shell(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    assert "_PRESTOW_COMPLETE" in capsys.readouterr().out


def test_doctor_lists_every_exit_code_and_every_problem(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--list-exit-codes"]) == 0
    out = capsys.readouterr().out
    assert all(code in out for code in CODES)
    assert main(["doctor", "--list-exit-codes", "--json"]) == 0
    listed = json.loads(capsys.readouterr().out)["exit_codes"]
    assert [row["exit_code"] for row in listed] == [int(code) for code in Exit]


def test_options_may_stand_before_or_after_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for words in (["--json", "-C", str(tmp_path), "plan"], ["plan", "--json", "-C", str(tmp_path)]):
        assert main(words) == 2
        (problem,) = json.loads(capsys.readouterr().out)["problems"]
        assert (problem["code"], problem["where"]) == ("PST-G001", str(tmp_path))


def test_init_makes_an_example_and_overwrites_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = tmp_path / "demo"
    assert main(["init", str(root)]) == 0
    assert "next: cd" in capsys.readouterr().out
    before = {p: p.read_bytes() for p in root.rglob("*") if p.is_file()}
    assert len(before) >= 25
    (root / "pipeline.yaml").write_text("mine")
    (root / "tasks" / "isr.py").unlink()
    assert main(["init", str(root)]) == 2
    assert "error[PST-G004]" in capsys.readouterr().err
    assert (root / "pipeline.yaml").read_text() == "mine"
    assert not (root / "tasks" / "isr.py").exists()


def test_init_says_what_it_would_make_and_makes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["init", str(tmp_path / "demo"), "--dry-run"]) == 0
    assert "would create" in capsys.readouterr().out
    assert not list(tmp_path.iterdir())
