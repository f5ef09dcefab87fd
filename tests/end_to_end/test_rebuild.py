"""The registry taken away, and made again from files, records and receipts: it is what it was."""

import random
import shutil
import subprocess
import sys
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prestow.ingest.rebuilding_records import LOADERS
from prestow.project import Project
from prestow.project.opened import STORE
from prestow.registry.records import KINDS, put_record

FAILING = """\
    import os

    if os.path.exists({flag!r}) and quantum.data_id["visit"] % 100 == 1:
        raise RuntimeError("the shutter was closed")
"""
FLAT = "  flat:    {dimensions: [detector, day_obs], format: fits, calibration: true}\n"

Tree = Callable[[Path], dict[str, bytes]]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, inside: Callable[..., Any]) -> Path:
    """Make a project with all that a registry may know: losses, a repair, calibrations, a removed run, marks."""
    base = tmp_path_factory.mktemp("rebuild")
    inside("init", "demo", cwd=base)
    root = base / "demo"
    for path in (root / "raw").iterdir():
        number, detector = path.stem.split("-")[2:]
        if int(number) not in (1, 3, 5) or detector != "0":
            path.unlink()
    flag = base / "flag"
    flag.touch()
    task, head = root / "tasks" / "calibrate.py", "    pixels = np.asarray(quantum.get("
    text = task.read_text()
    assert text.count(head) == 1
    text = text.replace('"summary", {"sky"', '"summary", {"by": "us", "metrics": {"sky"').replace(
        "3)})", "3)}})", 1
    )
    task.write_text(text.replace(head, FAILING.format(flag=str(flag)) + head))
    pipeline = root / "pipeline.yaml"
    reduction = pipeline.read_text()
    pipeline.write_text(reduction.replace("dataset_types:\n", f"dataset_types:\n{FLAT}", 1))

    def do(*words: object, code: int = 0) -> Any:
        answer = inside(*words, cwd=root, ok=False)
        assert answer.code == code, (words, answer.out, answer.err)
        return answer

    do("ingest", "--raw", "raw", "--instrument", "simcam")
    for night in ("20261001", "20261010"):
        shutil.copy(root / "raw" / "simcam-20261101-0001-0.fits", root / f"flat-{night}.fits")
        do("ingest", "--as", "flat", f"flat-{night}.fits", "ccd=0", "instrument=simcam", f"night={night}")
    valid = ("--begin", "2026-10-01", "--end", "2027-01-01")
    do("calib", "certify", "calib", "flat", "night=20261001", *valid, "--known-from", "2026-10-01")
    do("calib", "tag", "calib", "first")
    do("calib", "certify", "calib", "flat", "night=20261010", *valid)
    pipeline.write_text(reduction)
    for run in ("demo", "gone"):
        do("plan", "--run", run)
        do("run", "--engine", "local", code=10)
        do("ingest")
    flag.unlink()
    for child in ("one", "two"):
        do("plan", "--child-of", "demo", "--run", child)
        do("run", "--engine", "local")
        do("ingest")
    do("plan", "--child-of", "demo", "--run", "one")
    do("remove", "--run", "gone", "--yes", "--even-so")
    with Project.open(root) as project:
        mark(project)
    return root


def mark(project: Project) -> None:
    """Taint, take back, freeze and find: records, and the rows that they come to."""
    store, restoring = project.store, project.registry.restoring
    ids = sorted(project.registry.datasets(["isr"], ["demo"])["id"].to_pylist())[:2]
    for n, tainted, because in ((1, True, "clouds"), (2, False, "it was the moon"), (3, True, "a plane")):
        for ident in ids[: 1 if n == 3 else 2]:
            facts = {"dataset": str(uuid.UUID(bytes=ident)), "tainted": tainted, "because": because}
            put_record(store, "taint", f"{facts['dataset']}.{n}", facts)
    restoring.taint({ids[0]: "a plane"})
    put_record(store, "frozen", "demo", {"collection": "demo"})
    restoring.freeze(["demo"])
    facts = {"kind": "irreproducible", "quantum": "q", "attempts": ["a", "b"]}
    put_record(store, "finding", "irreproducible.0123456789abcdef", facts)
    restoring.find([("irreproducible", "irreproducible.0123456789abcdef", facts)])


@pytest.fixture
def root(whole: Path, tmp_path: Path) -> Path:
    """Give a copy of it of one's own, where the project was: its stores are known by their places."""
    return shutil.copytree(whole, tmp_path / "demo", symlinks=True)


def dump(root: Path) -> dict[str, Any]:
    with Project.open(root) as project:
        return project.registry.dump()


def test_every_kind_of_record_has_one_loader() -> None:
    assert set(LOADERS) == set(KINDS)


def test_without_its_registry_a_project_loses_nothing(
    root: Path, inside: Callable[..., Any], tree: Tree
) -> None:
    before = dump(root)
    files = tree(root)
    assert all(
        before[table] for table in ("tainted", "frozen", "finding", "calibration", "deleted", "metric")
    )
    assert all(before[table] for table in ("run_parent", "collection_chain", "binding"))
    (root / "registry.db").rename(root / "old.db")
    (root / "registry.db-wal").write_bytes(b"what is left of another database" * 100)
    counted = inside("rebuild", "-n", "--json", cwd=root).json
    assert counted["sources"]["receipts"] > 0
    assert not (root / "registry.db").exists()
    made = inside("rebuild", "--compare", "old.db", "--json", cwd=root).json
    assert (made["differences"], made["rebuilt"]["problems"]) == ([], [])
    assert made["sources"] == counted["sources"]
    assert dump(root) == before
    there = {name: data for name, data in tree(root).items() if not name.startswith("old.db")}
    assert there == files


def test_files_that_are_gone_make_no_difference(root: Path, inside: Callable[..., Any]) -> None:
    before = dump(root)
    products = [p for p in (root / "store").rglob("*") if p.is_file() and not p.parts[-2].startswith("_")]
    products = [p for p in products if not p.relative_to(root / "store").parts[0].startswith("_")]
    assert len(products) > 10
    for path in random.Random(7).sample(products, len(products) // 2):
        path.unlink()
    (root / "registry.db").unlink()
    inside("rebuild", cwd=root)
    assert dump(root) == before


def test_a_registry_in_use_is_not_touched(root: Path, inside: Callable[..., Any]) -> None:
    bytes_of = (root / "registry.db").read_bytes()
    refused = inside("rebuild", "--json", cwd=root, ok=False)
    assert (refused.code, refused.codes) == (2, ["PST-B001"])
    (root / "text.db").write_text("not a database")
    refused = inside("rebuild", "--into", "text.db", "--json", cwd=root, ok=False)
    assert (refused.code, refused.codes) == (2, ["PST-B001"])
    assert (root / "registry.db").read_bytes() == bytes_of
    assert (root / "text.db").read_text() == "not a database"
    assert not list(root.glob("*.rebuilding*"))


def test_what_differs_is_named_and_resume_adds_what_is_lacking(
    root: Path, inside: Callable[..., Any]
) -> None:
    before = dump(root)
    with Project.open(root) as project:
        project.registry.register_run("only-here")
        ids = project.registry.datasets(["summary"], ["demo"])["id"].to_pylist()
        project.registry._db.execute("DELETE FROM metric")
        project.registry._db.execute("DELETE FROM artifact WHERE dataset = $1", ids[0])
    answer = inside("rebuild", "-n", "--compare", "registry.db", cwd=root, ok=False)
    assert answer.code == 11
    assert "artifact: 1 row only here, 0 rows only there" in answer.out
    assert "collection: 0 rows only here, 1 row only there" in answer.out
    assert "only-here, run" in answer.out
    same = inside("rebuild", "--compare", "registry.db", "--json", cwd=root, ok=False)
    assert same.codes == ["PST-B001"]
    inside("rebuild", "--resume", cwd=root)
    after = dump(root)
    assert after["artifact"] == before["artifact"]
    assert after["metric"] == before["metric"]


def test_what_was_killed_half_way_begins_anew(root: Path, prestow: Callable[..., Any]) -> None:
    before = dump(root)
    (root / "registry.db").unlink()
    killed = (
        "import os, sys; from prestow.registry import Registry; from prestow.cli import main; n = 0\n"
        "insert = Registry.insert_datasets\n"
        "def die(*words): insert(*words); os.kill(os.getpid(), 9)\n"
        "Registry.insert_datasets = die\n"
        "main(['rebuild'])"
    )
    done = subprocess.run([sys.executable, "-c", killed], cwd=root, capture_output=True, timeout=120)
    assert done.returncode == -9
    assert not (root / "registry.db").exists()
    assert (root / "registry.db.rebuilding").exists()
    prestow("rebuild", cwd=root)
    assert dump(root) == before
    assert not list(root.glob("*.rebuilding*"))


def test_records_that_are_none_are_told_and_the_rest_goes_in(root: Path, inside: Callable[..., Any]) -> None:
    before = dump(root)
    (root / "registry.db").unlink()
    bad = {
        "_records/run/aa/torn.json": "{",
        "_records/bound/aa/x.json": '{"schema": "prestow.record/1", "kind": "bound", "key": "x", "facts": {}}',
        "_records/whatever/aa/x.json": "{}",
        "_receipts/demo/isr/00/00000000-0000-0000-0000-000000000000.json": "[]",
    }
    for name, text in bad.items():
        (root / "store" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "store" / name).write_text(text)
    answer = inside("rebuild", "--json", cwd=root, ok=False)
    assert answer.code == 9
    problems = answer.json["rebuilt"]["problems"]
    assert {p["where"] for p in problems} == set(bad)
    assert {p["code"] for p in problems} == {"PST-B003", "PST-I006"}
    assert dump(root) == before
    assert STORE in {row[0] for row in before["store"]}
