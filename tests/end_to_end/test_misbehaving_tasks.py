"""Tasks that do what they must not: the quantum fails with a clear error, all else goes on."""

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prestow as face

CODES = {
    1: ("PST-N001", "flat"),  # gets what it did not declare
    2: ("PST-N002", "extra"),  # puts what was not planned
    3: ("PST-N003", "isr"),  # leaves out a required output
    4: ("PST-N004", "stray.txt"),  # drops a stray file
    5: ("PST-N005", "raw"),  # appends to its input
}

TASK = '''
from prestow.tasks import NothingToDo, Quantum


def run(quantum: Quantum) -> None:
    """Behave by the number of the visit."""
    number = quantum.data_id["visit"] % 100
    pixels = quantum.get("raw", "array")
    if number == 1:
        quantum.get("flat")
    elif number == 2:
        quantum.put("extra", pixels)
    elif number == 3:
        return
    elif number == 4:
        open("stray.txt", "w").close()
    elif number == 5:
        path = quantum.path("raw")
        path.chmod(0o644)
        with open(path, "ab") as out:
            out.write(b"more")
    elif number == 6:
        raise NothingToDo("nothing_there")
    quantum.put("isr", pixels)
'''

PIPELINE = """
schema: prestow.pipeline/1
name: demo
code: [tasks]
dataset_types:
  raw: {dimensions: [exposure, detector], format: fits}
  isr: {dimensions: [visit, detector], format: fits}
tasks:
  isr:
    dimensions: [visit, detector]
    run: tasks.misbehave:run
    inputs: {raw: raw}
    outputs: {isr: isr}
"""


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, prestow: Any, inside: Any) -> dict[str, Any]:
    base = tmp_path_factory.mktemp("misbehaving")
    inside("init", "demo", cwd=base)
    root = base / "demo"
    (root / "pipeline.yaml").write_text(PIPELINE)
    (root / "tasks" / "misbehave.py").write_text(textwrap.dedent(TASK))
    for path in (root / "raw").iterdir():
        number, detector = path.stem.split("-")[2:]
        if int(number) > 8 or detector != "0":
            path.unlink()
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    before = {p: p.read_bytes() for p in (root / "store" / "raw").rglob("*.fits")}
    inside("plan", cwd=root)
    run = prestow("run", "--engine", "local", "--json", cwd=root, ok=False)
    return {"root": root, "run": run, "before": before}


def test_each_fault_is_one_clear_error_and_the_rest_runs(ran: dict[str, Any]) -> None:
    assert ran["run"].code == 5
    answer = ran["run"].json
    failures = {int(f["data_id"].rpartition("visit=")[2]) % 100: f for f in answer["failures"]}
    assert set(failures) == set(CODES)
    for number, (code, word) in CODES.items():
        text = f"{failures[number]['code']} {failures[number]['message']}"
        assert code in text, text
        assert word in text, text
    assert answer["counts"] == {"made": 2, "declined": 1, "failed": 5}


def test_the_archive_is_not_changed_by_a_task_that_writes_to_its_input(ran: dict[str, Any]) -> None:
    assert {p: p.read_bytes() for p in ran["before"]} == ran["before"]


def test_only_what_was_made_is_taken_in_and_the_states_sum(
    ran: dict[str, Any], inside: Callable[..., Any]
) -> None:
    root: Path = ran["root"]
    inside("ingest", cwd=root)
    with face.open(root) as project:
        rows = project.registry.datasets(["isr"], ["demo"]).to_pylist()
    assert sorted(row["visit"] % 100 for row in rows) == [7, 8]
    status = inside("status", "--json", cwd=root).json
    counts = status["counts"]
    assert sum(counts.values()) == status["total"] == 8
    assert (counts["made"], counts["declined"], counts["failed"]) == (2, 1, 5)
