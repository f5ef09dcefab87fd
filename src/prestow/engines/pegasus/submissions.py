"""What of a plan was handed to Pegasus: a number, a directory and a record for each time, beside the plan."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from prestow.errors import Problem, ProjectError

SCHEMA = "prestow.submission/1"
DIRECTORY = "submissions"

EMITTED, PLANNED, SUBMITTED, GIVEN_UP = "emitted", "planned", "submitted", "given up"
STEPS = (EMITTED, PLANNED, SUBMITTED, GIVEN_UP)
"""How far a submission came. What is only emitted or planned has run nothing."""

_RECORD = re.compile(r"([1-9][0-9]*)\.json")
_TAKEN = re.compile(r"([1-9][0-9]*)")


@dataclass(frozen=True, slots=True)
class Record:
    """One submission of a plan.

    Parameters
    ----------
    number : int
        From 1 on.
    plan, run, site : str
        Whose, and the name of the site.
    step : str
        One of `STEPS`.
    at : float
        When it was begun, in seconds since 1970.
    jobs, quanta : int
        How many were handed over.
    products : str
        ``store`` or ``landing``: where jobs leave products.
    emission : str
        Where the workflow was written, seen from the directory of the plan if it is in there.
    submit : str
        Pegasus's submit directory, likewise; empty while there is none.
    versions : mapping
        Of prestow and Pegasus.
    site_file : str
        Where the site file was.
    over : bool or None
        False while later parts of the workflow may read what has landed, so that nothing of it may be moved.
    """

    number: int
    plan: str
    run: str
    site: str
    step: str
    at: float
    jobs: int = 0
    quanta: int = 0
    products: str = "store"
    emission: str = ""
    submit: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    site_file: str = ""
    over: bool | None = None

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}

    def submit_directory(self, plan: Path) -> Path | None:
        """Give Pegasus's submit directory, if there is one; ``plan`` is the directory of the plan."""
        return plan / self.submit if self.submit else None


def directory_of(plan: Path, number: int) -> Path:
    """Give where the workflow of a submission is written."""
    return plan / DIRECTORY / str(number)


def begin(plan: Path) -> tuple[int, Path]:
    """Take the next number and make its directory; nobody else gets the same.

    Raises
    ------
    ProjectError
        PST-E079 if it cannot be made.
    """
    top = plan / DIRECTORY
    try:
        top.mkdir(exist_ok=True)
        numbers = [int(m[1]) for p in top.iterdir() if (m := _TAKEN.match(p.name))]
        number = max(numbers, default=0) + 1
        while True:
            try:
                directory_of(plan, number).mkdir()
            except FileExistsError:
                number += 1
            else:
                return number, directory_of(plan, number)
    except OSError as error:
        what = f"a directory for the submission cannot be made: {error.strerror}"
        raise ProjectError(
            Problem("PST-E079", what, str(top), "see who owns it, and whether the disk is full")
        ) from error


def write_record(plan: Path, record: Record) -> None:
    """Write a record, whole or not at all."""
    path = plan / DIRECTORY / f"{record.number}.json"
    beside = path.with_name(f".{path.name}-{os.getpid()}")
    try:
        beside.write_text(
            json.dumps({"schema": SCHEMA, **record.as_dict()}, indent=1) + "\n", encoding="utf-8"
        )
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def seen_from(plan: Path, path: Path) -> str:
    """Give a path as a record has it."""
    return str(path.relative_to(plan)) if path.is_relative_to(plan) else str(path)


def read_records(plan: Path | None) -> tuple[Record, ...]:
    """Give all submissions of a plan, the oldest first; none is fine.

    Raises
    ------
    ProjectError
        PST-E079 if a record is not what was written.
    """
    if plan is None or not (plan / DIRECTORY).is_dir():
        return ()
    found = {int(m[1]): p for p in (plan / DIRECTORY).iterdir() if (m := _RECORD.fullmatch(p.name))}
    return tuple(_read(found[number]) for number in sorted(found))


def _read(path: Path) -> Record:
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        if said.pop("schema") != SCHEMA or said["step"] not in STEPS:
            raise ValueError("another schema")  # noqa: TRY301 - one place says what is wrong
        return Record(**said)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        fix = "put it back from a copy; what jobs made is in the store, and no record is needed for that"
        raise ProjectError(
            Problem("PST-E079", "this is not what 'prestow submit' wrote", str(path), fix)
        ) from error


def give_up(plan: Path, record: Record) -> Record:
    """Note that a submission was cut off before anything ran."""
    record = replace(record, step=GIVEN_UP)
    write_record(plan, record)
    return record
