"""Eight sessions of the person who takes outputs in after the jobs, typed line by line."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prestow.project import Project

Sit = Callable[[Path], Callable[..., Any]]
PLANNED = 14


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, sit: Sit, small: Any) -> Path:
    """A run whose jobs are over, and of which nothing is taken in."""
    base = tmp_path_factory.mktemp("ingest")
    sit(base)("prestow init demo")
    root: Path = small(base / "demo")
    at = sit(root)
    pipeline = root / "pipeline.yaml"
    pipeline.write_text(pipeline.read_text().replace("minimum: 2", "minimum: 1"))
    at("prestow ingest --raw raw --instrument simcam")
    at("prestow plan")
    at("prestow run -q --engine local")
    return root


@pytest.fixture(scope="module")
def whole(done: Path, tmp_path_factory: pytest.TempPathFactory, sit: Sit) -> Path:
    """The same, taken in undisturbed."""
    root = Path(shutil.copytree(done, tmp_path_factory.mktemp("whole") / "demo", symlinks=True))
    sit(root)("prestow ingest")
    return root


@pytest.fixture
def root(done: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(done, tmp_path / "demo", symlinks=True))


@pytest.fixture
def taken(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "demo", symlinks=True))


def registered(root: Path) -> dict[str, Any]:
    """Everything that the registry knows, but for where the store is."""
    with Project.open(root) as project:
        return {table: rows for table, rows in project.registry.dump().items() if table != "store"}


def products(root: Path, kind: str) -> list[Path]:
    return sorted(p for p in (root / "store/demo" / kind).rglob("*") if p.is_file())


def spoil(path: Path, data: bytes) -> None:
    path.chmod(0o644)
    path.write_bytes(data)


def test_1_only_files_and_receipts_no_planner(root: Path, whole: Path, sit: Sit, tmp_path: Path) -> None:
    at = sit(root)
    damaged = Path(shutil.copytree(root, tmp_path / "damaged", symlinks=True))
    shutil.rmtree(root / "plans")
    told = at("prestow ingest --run demo --level full --json").json
    assert (told["added"], told["problems"], told["unexpected"]) == (PLANNED, [], [])
    assert registered(root) == registered(whole)

    first, *_, last = products(damaged, "calexp")
    spoil(first, last.read_bytes())
    products(damaged, "coadd")[1].unlink()
    (damaged / "store/demo/core.123").write_text("dumped")
    at = sit(damaged)
    told = at("prestow ingest --level full --json", exits=8).json
    assert told["added"] == PLANNED - 2 - 1  # the summary of the spoiled frame is of its quantum
    assert told["unexpected"] == ["demo/core.123"]
    wrong = {problem["where"] for problem in told["problems"]}
    assert wrong == {f"demo/calexp/{'/'.join(first.parts[-3:])}", "demo/coadd/coadd-simcam-r-00.fits"}
    account = at("prestow account --json", exits=9).json
    assert account["classes"] == {
        "expected": 12, "missing": 1, "unexpected": 1, "misplaced": 0, "faulty": 1,
    }  # fmt: skip


def test_2_killed_and_typed_again_it_goes_on(root: Path, whole: Path, sit: Sit) -> None:
    database = root / "registry.db"
    before = database.stat().st_mtime_ns
    process = subprocess.Popen(
        [sys.executable, "-m", "prestow", "ingest"],
        cwd=root,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while process.poll() is None and database.stat().st_mtime_ns == before:
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    process.wait()
    at = sit(root)
    told = at("prestow ingest --json").json
    assert told["added"] + told["present"] == PLANNED
    assert registered(root) == registered(whole)
    assert at("prestow ingest --json").json["added"] == 0
    assert at("prestow fsck --sums full --json").json["faults"] == []


def test_3_eight_ingesters_at_once(root: Path, whole: Path, sit: Sit) -> None:
    line = [sys.executable, "-m", "prestow", "ingest", "--processes", "1", "--json", "--shard"]
    many = [
        subprocess.Popen([*line, f"{n}/8"], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for n in range(8)
    ]
    answers = [process.communicate(timeout=300) for process in many]
    assert [process.returncode for process in many] == [0] * 8, [err.decode() for _, err in answers]
    assert sum(json.loads(out)["added"] for out, _ in answers) == PLANNED
    assert registered(root) == registered(whole)
    assert sit(root)("prestow ingest --json").json["added"] == 0


def test_4_why_this_one_was_refused(root: Path, sit: Sit) -> None:
    at = sit(root)
    first, *_, last = products(root, "calexp")
    spoil(first, last.read_bytes())
    name = first.relative_to(root / "store").as_posix()
    refused = at("prestow ingest", exits=8).err
    said = """its story says data_id '{"detector":0,"instrument":"simcam","visit":202611010004}'"""
    assert f"""{said}, its receipt '{{"detector":0,"instrument":"simcam","visit":202611010001}}'""" in refused
    assert f"prestow why {name}" in refused
    told = at(f"prestow why {name}").out
    assert "its file is CHANGED: sha256" in told
    assert "prestow debug calibrate-0-202611010001 --keep" in told
    (faulty,) = at("prestow account --only faulty --json", exits=9).json["files"]
    assert (faulty["path"], faulty["why"]) == (name, "wrong name")
    assert at("prestow find calexp visit=202611010001 --made --json").json["datasets"] == []


def test_5_the_plan_and_the_receipts_are_lost_the_files_are_not(root: Path, sit: Sit, tmp_path: Path) -> None:
    landed = tmp_path / "stage-out"
    shutil.move(root / "store/demo", landed)
    shutil.rmtree(root / "plans")
    for name in ("_receipts", "_attempts", "_reservations"):
        shutil.rmtree(root / "store" / name, ignore_errors=True)
    at = sit(root)
    would = at(f"prestow ingest --from-files '{landed}' --dry-run --json").json
    assert (len(would["adopted"]), would["refused"]) == (10, [])
    assert not (root / "store/demo").exists()
    text = at(f"prestow ingest --from-files '{landed}' --dry-run").out
    assert text.splitlines()[-1] == f"next: prestow ingest --adopt --from {landed}"
    told = at(f"prestow ingest --from-files '{landed}' --json").json
    assert told["adopted"] == would["adopted"]
    assert len(at("prestow find calexp --made --json").json["datasets"]) == 4


def test_6_registry_and_disk_agree_or_the_registry_follows(taken: Path, sit: Sit) -> None:
    at = sit(taken)
    at("prestow fsck --sums sample:5%")
    gone = products(taken, "coadd")[0]
    gone.unlink()
    path = products(taken, "isr")[0]
    spoil(path, path.read_bytes()[:-1] + b"x")
    told = at("prestow fsck --sums full --json", exits=9).json
    assert told["counts"] == {"absent": 1, "other bytes": 1}
    disk = sorted(p for p in (taken / "store").rglob("*") if p.is_file())
    at("prestow fsck --sums full --fix")
    assert sorted(p for p in (taken / "store").rglob("*") if p.is_file()) == disk
    assert at("prestow fsck --sums full --json").json["faults"] == []


def test_7_everything_again_from_disk(taken: Path, sit: Sit) -> None:
    at = sit(taken)
    live = registered(taken)
    told = at("prestow rebuild --into new.db --compare registry.db").out
    assert "18 datasets, 10 quanta" in told
    assert "equal to registry.db" in told
    for path in taken.glob("registry.db*"):
        path.unlink()
    at("prestow rebuild")
    assert registered(taken) == live


def test_8_a_bad_visit_turns_up(taken: Path, sit: Sit) -> None:
    at = sit(taken)
    at("prestow freeze demo")
    disk = {p: p.stat().st_mtime_ns for p in (taken / "store/demo").rglob("*")}
    told = at("prestow taint 'raw{visit=202611010003}' --because 'the dome lamp was on' --json").json
    assert (told["contaminated"], told["released"]) == (4, 4)
    assert [(one["type"], one["count"]) for one in told["touched"]] == [
        ("isr", 1), ("calexp", 1), ("summary", 1), ("coadd", 1),
    ]  # fmt: skip
    listed = at("prestow taint --list").out
    assert "4 products made from it (4 released: cannot be changed, flagged only)" in listed
    assert "next: prestow plan --replace-tainted" in listed
    up = at("prestow trace 'coadd{band=g,detector=0}' --up").out
    assert "raw{detector=0,exposure=202611010003,instrument=simcam}" in up
    planned = at("prestow plan --replace-tainted --json").json
    assert (planned["run"], planned["total"]["jobs"], planned["reused"]) == ("demo+1", 8, 7)
    assert [(row["reason"], row["quanta"]) for row in planned["left_out_rows"]] == [("tainted", 1)]
    at("prestow run -q --engine local")
    at("prestow ingest")
    assert {p: p.stat().st_mtime_ns for p in (taken / "store/demo").rglob("*")} == disk
    up = at(f"prestow trace 'coadd{{band=g,detector=0}}' --up --run {planned['run']}").out
    assert "202611010003" not in up
    assert "202611010001" in up
