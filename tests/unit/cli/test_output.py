"""What commands print: answers, problems, tables."""

import json

import pytest

from prestow.cli.output import Output, colour_wanted, duration_text, size_text, table
from prestow.errors import Problem

PROBLEM = Problem("PST-C010", "unknown key 'comand'", "pipeline.yaml:9:5", "did you mean 'command'?")


def test_an_answer_ends_with_the_next_command(capsys: pytest.CaptureFixture[str]) -> None:
    Output().answer("plan", {"id": "7f"}, "plan 7f", following="prestow run")
    assert capsys.readouterr().out == "plan 7f\nnext: prestow run\n"


def test_a_json_answer_is_one_object_with_its_schema(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json=True).answer("plan", {"id": "7f"}, "plan 7f", following="prestow run")
    assert json.loads(capsys.readouterr().out) == {"schema": "prestow.plan/1", "id": "7f"}


def test_problems_go_to_standard_error_as_text(capsys: pytest.CaptureFixture[str]) -> None:
    Output().problems([PROBLEM])
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == [
        "error[PST-C010]: unknown key 'comand'",
        "  --> pipeline.yaml:9:5",
        "  = help: did you mean 'command'?",
    ]


def test_problems_go_to_standard_output_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    Output(json=True).problems([PROBLEM, PROBLEM])
    out, err = capsys.readouterr()
    assert err == ""
    assert [p["code"] for p in json.loads(out)["problems"]] == ["PST-C010", "PST-C010"]


def test_quiet_keeps_answers_and_drops_notes(capsys: pytest.CaptureFixture[str]) -> None:
    output = Output(verbosity=-1)
    output.note("working")
    output.answer("check", {}, "ok")
    assert capsys.readouterr() == ("ok\n", "")


def test_no_color_in_the_environment_is_heeded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert colour_wanted(True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not colour_wanted(True)


def test_a_table_lines_up_and_sets_its_sum_off() -> None:
    text = table(("task", "jobs"), [("isr", 40), ("calibrate", 4), ("total", 44)], total=True)
    assert text.splitlines() == [
        "  task       jobs",
        "  isr          40",
        "  calibrate     4",
        "  ---------------",
        "  total        44",
    ]


@pytest.mark.parametrize(
    ("size", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1.0 kB"), (2.1e9, "2.1 GB"), (3e18, "3000.0 PB")]
)
def test_sizes_read_well(size: float, text: str) -> None:
    assert size_text(size) == text


@pytest.mark.parametrize(("seconds", "text"), [(0.21, "0.21 s"), (75, "1:15 min"), (2520, "0.7 h")])
def test_durations_read_well(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text
