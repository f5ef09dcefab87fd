"""A plan on disk: written whole or not at all, and opened without reading its tables."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import polars as pl
import yaml

from prestow.documents import Loader
from prestow.errors import Problem, ProjectError, StoreError
from prestow.model.hashing import sha256_hex
from prestow.plan.making import make_directory
from prestow.plan.plan import SCHEMA, Plan, Tables
from prestow.plan.spool import write_table
from prestow.plan.tables import TABLES

_SAME = "# sha256 of the above and proof.json: "
_Dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def write_plan(plan: Plan, directory: Path) -> Path:
    """Write a plan to ``directory/<id>`` and give that path.

    A plan that is there already stays; only what its id does not cover is brought up to date: where
    existing inputs lie, and the hints.

    Raises
    ------
    StoreError
        PST-R002 if the disk is full, PST-R001 if it cannot be written. Nothing is left behind.
    """
    target = directory / plan.id
    if (target / "plan.yaml").is_file():
        try:
            _refresh(plan, target)
        except (OSError, pl.exceptions.ComputeError) as error:
            raise _refusal(error, target) from error
        return target
    remove: Callable[[], None] | None = None
    try:
        temporary, remove = make_directory(directory, f".{plan.id}-")
        _place(plan, temporary)
        _fill(plan, temporary)
        temporary.chmod(0o777 & ~_umask())
        try:
            temporary.rename(target)
            plan.tables.adopt(target)
        except OSError as error:
            if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                raise
            # somebody else wrote the same plan at the same time: theirs is as good
        _sync(directory)
    except (OSError, pl.exceptions.ComputeError) as error:
        raise _refusal(error, target) from error
    finally:
        if remove is not None:
            remove()
    return target


def _place(plan: Plan, fresh: Path) -> None:
    """Put the tables there that are files already: as links, if they are on that disk."""
    spool = plan.tables.spool
    for path in sorted(spool.iterdir()) if spool is not None else ():
        try:
            os.link(path, fresh / path.name)
        except OSError:
            shutil.copyfile(path, fresh / path.name)


def _fill(plan: Plan, directory: Path) -> None:
    if plan.tables.spool is None:
        for name in TABLES:
            write_table(plan.tables[name], directory / f"{name}.parquet")
    for name, table in plan.extra.items():
        write_table(table, directory / f"{name}.parquet")
    if plan.code is not None:
        (directory / "code.zip").write_bytes(plan.code.data)
    (directory / "journal.jsonl").touch()
    for name, text in _documents(plan):
        (directory / name).write_text(text, encoding="utf-8")
    for path in sorted(directory.iterdir()):
        _sync(path)
    _sync(directory)


def _documents(plan: Plan) -> tuple[tuple[str, str], ...]:
    """Give the document for programs, then for people; the second says that the first is the same."""
    document = dict(plan.document)
    proof = json.dumps(document, ensure_ascii=False, separators=(",", ":"), default=dict) + "\n"
    text = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)
    return ("proof.json", proof), ("plan.yaml", f"{text}{_SAME}{sha256_hex((text + proof).encode())}\n")


def _document(path: Path) -> Any:  # Any: what a file holds
    """Read the document: the faster of its two forms, if they are whole and the same."""
    data = (path / "plan.yaml").read_bytes()
    text, _, said = data.rpartition(_SAME.encode())
    with contextlib.suppress(OSError):
        proof = (path / "proof.json").read_bytes()
        if text and sha256_hex(text + proof).encode() == said.strip():
            return json.loads(proof)
    return yaml.load(data, Loader=Loader)  # noqa: S506 - the safe loader, in C where there is one


def _refresh(plan: Plan, directory: Path) -> None:
    """Replace what the plan's id does not cover, where it changed; each file at once or not at all."""
    for name, text in _documents(plan):
        document = directory / name
        if not document.is_file() or document.read_text(encoding="utf-8") != text:
            with _replacing(document) as beside:
                beside.write_text(text, encoding="utf-8")
    for name, table in {"locations": plan.tables["locations"], **plan.extra}.items():
        path = directory / f"{name}.parquet"
        there = pl.read_parquet(path, memory_map=False, glob=False) if path.is_file() else None
        if there is None or not there.equals(table.cast({pl.Enum: pl.String})):
            with _replacing(path) as beside:
                write_table(table, beside)


@contextmanager
def _replacing(path: Path) -> Iterator[Path]:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}-", dir=path.parent)
    os.close(handle)
    beside = Path(name)
    try:
        yield beside
        _sync(beside)
        beside.chmod(0o666 & ~_umask())
        beside.replace(path)
        _sync(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def _sync(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _refusal(error: Exception, target: Path) -> StoreError:
    full = getattr(error, "errno", None) in (errno.ENOSPC, errno.EDQUOT) or "No space left" in str(error)
    if full:
        return StoreError(
            Problem("PST-R002", "the disk is full: the plan is not written", str(target), "make room")
        )
    reason = getattr(error, "strerror", None) or str(error)
    return StoreError(
        Problem("PST-R001", f"cannot write the plan: {reason}", str(target), "check the directory")
    )


def open_plan(path: Path) -> Plan:
    """Open a plan that was written; its tables are read when they are asked for.

    Raises
    ------
    ProjectError
        PST-P008, if there is no plan of this schema.
    """
    try:
        document = _document(path)
    except OSError as error:
        raise ProjectError(
            Problem("PST-P008", "there is no plan here", str(path), "see `prestow plan --list`")
        ) from error
    except yaml.YAMLError as error:
        what, fix = "the plan is damaged: this is no YAML", f"remove {path}, then: prestow plan"
        raise ProjectError(Problem("PST-P008", what, str(path / "plan.yaml"), fix)) from error
    if not isinstance(document, dict) or document.get("schema") != SCHEMA:
        raise ProjectError(
            Problem("PST-P008", f"this is not a plan of schema {SCHEMA}", str(path), "plan again")
        )
    return Plan.from_document(document, Tables({}, path), directory=path)
