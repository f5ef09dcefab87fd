"""Registry and disk made to disagree in every way, told, and mended from the files."""

import shutil
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prestow.project import Project


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, inside: Callable[..., Any], small: Any) -> Path:
    base = tmp_path_factory.mktemp("fsck")
    inside("init", "demo", cwd=base)
    root = small(base / "demo")
    for words in (
        ("ingest", "--raw", "raw", "--instrument", "simcam"),
        ("plan",),
        ("run", "--engine", "local"),
        ("ingest",),
    ):
        inside(*words, cwd=root)
    return root


@pytest.fixture
def root(made: Path, tmp_path: Path) -> Path:
    return shutil.copytree(made, tmp_path / "demo", symlinks=True)


@pytest.fixture
def fsck(root: Path, inside: Callable[..., Any]) -> Callable[..., Any]:
    def call(*words: object) -> Any:
        return inside("fsck", "--json", *words, cwd=root, ok=False)

    return call


def products(root: Path, kind: str) -> list[Path]:
    return sorted((root / "store" / "demo" / kind).rglob("*.*"))


def dump(root: Path) -> dict[str, Any]:
    with Project.open(root) as project:
        return project.registry.dump()


def bytes_of(root: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in sorted((root / "store").rglob("*")) if p.is_file()}


def test_what_agrees_is_said_to_agree(fsck: Any) -> None:
    found = fsck("--sums", "full")
    assert (found.code, found.json["faults"], found.json["uncommitted"]) == (0, [], 0)
    assert found.json["summed"] == found.json["registered"] > 0
    sample = fsck("--sums", "sample:10%").json
    assert 0 < sample["summed"] < sample["registered"]
    assert fsck("--sums", "5").codes == ["PST-G005"]


def test_every_disagreement_is_told_and_mended_from_the_files(root: Path, fsck: Any, inside: Any) -> None:
    gone, longer, moved, other = products(root, "isr")[:4]
    gone.unlink()
    longer.chmod(0o644)
    longer.write_bytes(longer.read_bytes() + b" ")
    moved.rename(root / "store" / "demo" / "elsewhere.fits")
    data = bytearray(other.read_bytes())
    data[-1] ^= 1
    other.chmod(0o644)
    other.write_bytes(data)
    (root / "store" / "demo" / "stray.txt").write_text("nobody planned this")
    with Project.open(root) as project:
        db = project.registry._db
        ids = project.registry.datasets(["summary"], ["demo"])["id"].to_pylist()
        raws = project.registry.datasets(["raw"], ["raw-simcam"])["id"].to_pylist()
        quantum = db.rows("SELECT quantum FROM dataset WHERE id = $1", ids[0])[0][0]
        for table, column in (("metric", "dataset"), ("artifact", "dataset"), ("dataset", "id")):
            outputs = (
                [key for (key,) in db.rows("SELECT id FROM dataset WHERE quantum = $1", quantum)]
                if table != "x"
                else []
            )
            for key in (*outputs, raws[0]):
                db.execute(f"DELETE FROM {table} WHERE {column} = $1", key)
        db.execute("DELETE FROM quantum_input WHERE quantum = $1", quantum)
        db.execute("DELETE FROM quantum WHERE id = $1", quantum)
        db.execute("DELETE FROM artifact WHERE dataset = $1", ids[1])
    disk, before = bytes_of(root), dump(root)
    told = fsck("--sums", "full")
    counts = {
        "absent": 1, "other size": 1, "other bytes": 1, "moved": 1,
        "unregistered": 3, "returned": 1,  # both products of a quantum and a raw frame; a summary without place
    }  # fmt: skip
    assert (told.code, told.json["counts"], told.json["uncommitted"]) == (9, counts, 1)
    by_kind = {fault["kind"]: fault for fault in told.json["faults"]}
    assert by_kind["moved"]["found"] == "demo/elsewhere.fits"
    assert by_kind["absent"]["path"] == str(gone.relative_to(root / "store"))
    would = fsck("--sums", "full", "--fix", "-n")
    assert (would.code, would.json["fixed"]) == (9, [])
    assert dump(root) == before
    mended = fsck("--sums", "full", "--fix")
    assert (mended.code, len(mended.json["fixed"])) == (0, 8), mended.out
    again = fsck("--sums", "full")
    assert (again.code, again.json["faults"], again.json["gone"]) == (0, [], 3), again.out
    assert bytes_of(root) == disk
    after = dump(root)
    assert {row[2] for row in after["artifact"]} >= {"demo/elsewhere.fits"}
    assert str(uuid.UUID(by_kind["absent"]["id"])).replace("-", "") in {row[0] for row in dump_ids(root)}


def dump_ids(root: Path) -> list[tuple[str]]:
    """Give the id of every dataset that is known, wherever it lies."""
    with Project.open(root) as project:
        return [(key.hex(),) for (key,) in project.registry._db.rows("SELECT id FROM dataset")]


def test_a_rebuilt_registry_mended_by_the_files_is_the_mended_one(root: Path, fsck: Any, inside: Any) -> None:
    for path in (*products(root, "isr")[:2], *products(root, "coadd")[:1]):
        path.unlink()
    products(root, "calexp")[0].rename(root / "store" / "demo" / "x.fits")
    assert fsck("--fix").code == 0
    before = dump(root)
    (root / "registry.db").unlink()
    inside("rebuild", cwd=root)
    assert dump(root) != before
    assert fsck("--fix").code == 0
    assert dump(root) == before


def test_what_only_a_person_can_mend_stays_wrong(root: Path, fsck: Any) -> None:
    receipt = next((root / "store/_receipts/demo/coadd").rglob("*.json"))
    receipt.unlink()
    record = next((root / "store/_records/registered").rglob("*.json"))
    record.unlink()
    found = fsck("--fix")
    assert (found.code, found.json["counts"], found.json["fixed"]) == (9, {"paper gone": 2}, [])


def test_a_store_that_has_moved_is_told_once(made: Path, tmp_path: Path, inside: Any) -> None:
    root = tmp_path / "place"
    inside("init", "place", cwd=tmp_path)
    inside("ingest", "--raw", "raw", "--instrument", "simcam", "--transfer", "in-place", cwd=root)
    (root / "raw").rename(tmp_path / "moved")
    found = inside("fsck", "--json", cwd=root, ok=False)
    assert (found.code, found.json["counts"]) == (9, {"store gone": 1})
