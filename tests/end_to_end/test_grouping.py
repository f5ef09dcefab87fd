"""Quanta in jobs as an operator groups them: the same products, each quantum for itself."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

GROUPED = {
    "visit and detector": "frames: {tasks: [isr, calibrate], dimensions: [visit, detector]}",
    "visit": "frames: {tasks: [isr, calibrate], dimensions: [visit]}",
    "three at a time": "frames: {tasks: [isr, calibrate], dimensions: [visit, detector], maximum: 3}",
}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory, inside: Any) -> Path:
    base = tmp_path_factory.mktemp("grouping")
    inside("init", "alone", cwd=base)
    two_visits(base / "alone")
    finish(base / "alone", inside)
    return base / "alone"


def two_visits(root: Path) -> None:
    """Leave two visits in one filter, of two detectors each."""
    for path in (root / "raw").iterdir():
        if int(path.stem.split("-")[2]) not in (1, 3):
            path.unlink()


def finish(root: Path, inside: Any) -> dict[str, Any]:
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    plan: dict[str, Any] = inside("plan", "--json", cwd=root).json
    inside("run", "--engine", "local", cwd=root)
    return plan


def products(root: Path) -> dict[str, bytes]:
    """Give all that is in the store but attempts, with receipts without attempt and job."""
    found = {}
    for path in sorted((root / "store").rglob("*")):
        name = str(path.relative_to(root / "store"))
        if not path.is_file() or name.startswith(("_attempts", "_aside", "_reservations")):
            continue
        found[name] = path.read_bytes()
        if name.startswith("_receipts"):
            receipt = json.loads(found[name])
            for key in ("attempt", "job"):
                del receipt[key]
            for output in receipt["outputs"]:
                output["aside"] = None
            found[name] = json.dumps(receipt).encode()
    return found


@pytest.mark.parametrize("how", GROUPED)
def test_grouped_or_not_the_products_are_the_same(how: str, alone: Path, tmp_path: Path, inside: Any) -> None:
    inside("init", "demo", cwd=tmp_path)
    root = tmp_path / "demo"
    two_visits(root)
    pipeline = root / "pipeline.yaml"
    pipeline.write_text(f"{pipeline.read_text()}\nclusters:\n  {GROUPED[how]}\n")
    plan = finish(root, inside)
    jobs = {"visit and detector": 4, "visit": 2, "three at a time": 2}[how]
    assert (plan["total"]["quanta"], plan["total"]["jobs"]) == (10, jobs + 2)
    assert products(root) == products(alone)


def test_a_run_may_be_grouped_otherwise_and_goes_on(alone: Path, tmp_path: Path, inside: Any) -> None:
    pipeline = alone / "pipeline.yaml"
    text = pipeline.read_text()
    try:
        pipeline.write_text(f"{text}\nclusters:\n  {GROUPED['three at a time']}\n")
        inside("plan", cwd=alone)
        assert inside("run", "--engine", "local", "--json", cwd=alone).json["jobs"] == 0
    finally:
        pipeline.write_text(text)


def test_a_quantum_that_fails_stops_no_other_of_its_job(
    tmp_path: Path, inside: Any, small: Callable[[Path], Path]
) -> None:
    inside("init", "demo", cwd=tmp_path)
    root = small(tmp_path / "demo")
    isr = root / "tasks" / "isr.py"
    isr.write_text(
        isr.read_text().replace(
            "    counts =",
            "    if quantum.data_id['visit'] % 10 == 2:\n        raise ValueError('cloud')\n    counts =",
        )
    )
    pipeline = root / "pipeline.yaml"
    pipeline.write_text(
        f"{pipeline.read_text()}\nclusters:\n  many: {{tasks: [isr, calibrate], dimensions: [visit], maximum: 9}}\n"
    )
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", cwd=root)
    ran = inside("run", "--engine", "local", "--json", cwd=root, ok=False)
    assert ran.code == 5
    assert ran.json["tasks"]["isr"] == {"made": 3, "failed": 1}
    assert ran.json["tasks"]["calibrate"]["made"] == 3
    [failure] = ran.json["failures"]
    assert "cloud" in json.dumps(failure)
