"""A developer's part of a production: whole, its own, and the production not touched by a byte."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prestow.project import Project


@pytest.fixture(scope="module")
def production(tmp_path_factory: pytest.TempPathFactory, inside: Callable[..., Any], small: Any) -> Path:
    base = tmp_path_factory.mktemp("production")
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


def everything(root: Path) -> dict[str, tuple[bytes, int]]:
    """Give bytes and times of all files; what SQLite keeps beside an open database is its own."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in sorted(root.rglob("*"))
        if path.is_file() and not path.name.endswith(("-shm", "-wal")) and "__pycache__" not in path.parts
    }


def test_a_part_is_a_project_and_the_whole_is_untouched(
    production: Path, tmp_path: Path, inside: Any
) -> None:
    before = everything(production)
    wal = production / "registry.db-wal"
    words = (
        "subset",
        "--collection",
        "demo",
        "--collection",
        "raw-simcam",
        "--into",
        tmp_path / "dev",
        "--json",
    )
    chosen = ("--where", "band = 'g'")
    would = inside(*words, *chosen, "-n", cwd=production).json
    assert not (tmp_path / "dev").exists()
    made = inside(*words, *chosen, cwd=production).json
    assert (made["types"], made["taken"], made["conflicts"]) == (would["types"], would["taken"], [])
    assert made["types"]["raw"] == made["types"]["isr"] == 2
    dev = tmp_path / "dev"
    assert inside("fsck", "--sums", "full", "--json", cwd=dev).json["faults"] == []
    inside("plan", "--run", "dev", "--input", "demo", cwd=dev)
    inside("run", "--engine", "local", cwd=dev)
    inside("ingest", cwd=dev)
    with Project.open(dev) as project:
        assert project.registry.chain_members("dev.first") == ("dev", "demo", "raw-simcam")
        found = project.find("isr", runs=["dev.first"], first=True, only="made").frame
        assert set(found["run"]) == {"dev"}
        one = project.store.local_path(found["path"][0])
        assert one.is_file()
    inside("rebuild", "-n", "--compare", "registry.db", cwd=dev)
    again = inside(*words, *chosen, cwd=production).json
    assert again["taken"] == {}
    assert everything(production) == before
    assert not wal.exists() or wal.stat().st_size == 0


def test_read_only_files_are_linked_and_others_copied(production: Path, tmp_path: Path, inside: Any) -> None:
    words = ("subset", "--collection", "demo", "--type", "coadd", "--json")
    for into, link in (("linked", "--link"), ("copied", "--copy")):
        inside(*words, "--into", tmp_path / into, link, cwd=production)
        for path in (tmp_path / into / "store" / "demo").rglob("*.fits"):
            source = production / path.relative_to(tmp_path / into)
            writable = os.stat(source).st_mode & 0o222
            assert path.samefile(source) == (link == "--link" and not writable)
            assert path.read_bytes() == source.read_bytes()


@pytest.mark.parametrize(
    "words",
    [
        ("--collection", "nobody", "--into", "x"),
        ("--collection", "demo", "--into", "."),
        ("--collection", "demo", "--into", "raw"),
        ("--collection", "demo", "--where", "visit = 77", "--into", "x"),
        ("--collection", "demo", "--where", "nonsense = 1", "--into", "x"),
    ],
)
def test_what_cannot_be_a_part_is_refused(production: Path, inside: Any, words: tuple[str, ...]) -> None:
    before = everything(production)
    answer = inside("subset", *words, "--json", cwd=production, ok=False)
    assert answer.code in (2, 3), answer.out
    assert answer.codes
    assert everything(production) == before
