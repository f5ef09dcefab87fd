"""By what a store says that it is a sandbox's, and the refusal to take anything in from it elsewhere."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

from prestow.errors import IngestError, Problem
from prestow.registry.records import read_records
from prestow.stores import Store, Walkable

DIRECTORY = "sandbox"
"""Where a sandbox keeps its own papers, in its root."""

PAPER = f"{DIRECTORY}/sandbox.json"
KIND = "sandbox"
"""Kind of the record by which a store says that it is a sandbox's."""

_RECORDS = Path("_records", KIND)


def mark_of(store: Store) -> tuple[str, ...]:
    """Give the ids of the sandboxes that a store says it belongs to; most often none."""
    if not isinstance(store, Walkable):
        return ()
    return tuple(key for key, _ in read_records(store, KIND))


def sandbox_problems(store: Store, root: Path | None = None) -> list[Problem]:
    """Say what is wrong with taking in from a store: that it is the store of somebody else's sandbox.

    Parameters
    ----------
    root : path, optional
        Of the project that takes in; one that is that very sandbox may.
    """
    marks = mark_of(store)
    return [] if not marks or set(marks) == _own(root) else [_problem(marks[0], store.uri)]


def refuse_sandbox(store: Store, root: Path) -> None:
    """Refuse to take in from the store of somebody else's sandbox.

    Raises
    ------
    IngestError
        PST-T005 if the store is marked, and the project is not that very sandbox.
    """
    problems = sandbox_problems(store, root)
    if problems:
        raise IngestError(*problems)


def refuse_sandbox_files(directory: Path, root: Path) -> None:
    """Refuse to take in files that lie in the store of somebody else's sandbox, or have such a store among them.

    Raises
    ------
    IngestError
        PST-T005 with each such store.
    """
    own = _own(root)
    problems = []
    for place in _stores(directory):
        marks = sorted(path.stem for path in (place / _RECORDS).rglob("*.json"))
        if marks and set(marks) != own:
            problems.append(_problem(marks[0], str(place)))
    if problems:
        raise IngestError(*problems)


def _stores(directory: Path) -> Iterator[Path]:
    """Give the directories at, above and below one that may be a sandbox's store."""
    real = directory.resolve()
    for place in (real, *real.parents):
        if (place / _RECORDS).is_dir():
            yield place
    for folder, folders, _ in os.walk(real):
        if folder != str(real) and _RECORDS.parts[0] in folders and Path(folder, _RECORDS).is_dir():
            yield Path(folder)
        folders[:] = [name for name in folders if not name.startswith("_")]


def _own(root: Path | None) -> set[str]:
    if root is None:
        return set()
    try:
        return {json.loads((root / PAPER).read_text(encoding="utf-8"))["id"]}
    except (FileNotFoundError, ValueError, KeyError):
        return set()


def _problem(mark: str, where: str) -> Problem:
    what = f"this store has files of a sandbox ({mark[:8]}): what is made in a sandbox is never taken in elsewhere"
    fix = "take the sandbox's files away, its record under _records/sandbox too; what is wanted again is made by: prestow run"
    return Problem("PST-T005", what, where, fix)
