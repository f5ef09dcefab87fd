"""The journal of a plan directory, and the lock that keeps a second run of one plan out.

The journal is append-only JSON lines for people and reports; truth is receipts. It is flushed, not
synced: what a crash takes from it is missed by nobody.
"""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from prestow.errors import PrestowError, Problem

JOURNAL = "journal.jsonl"
LOCK = "run.lock"
MINUTE = 60.0

_encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


class Journal:
    """Appends lines ``{"at": seconds since 1970, "event": …, …}``."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=1 << 16)
        if self._file.tell() and not _ends_whole(path):
            self._file.write(b"\n")  # a torn line stays one line

    def write(self, event: str, **facts: Any) -> None:
        """Append one line."""
        line = {"at": round(time.time(), 3), "event": event, **facts}
        self._file.write(_encode(line).encode() + b"\n")

    def flush(self) -> None:
        """Hand what was written to the system."""
        self._file.flush()

    def close(self) -> None:
        """Flush and close."""
        self._file.close()


def _ends_whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, os.SEEK_END)
        return file.read(1) == b"\n"


@dataclass(frozen=True, slots=True)
class UnderWay:
    """What the newest run of a plan is doing, by its journal.

    Parameters
    ----------
    submission : str
        Which run it is.
    alive : bool
        Whether it goes on: its lock is held.
    since, last : float
        When it began, and when it last wrote a line; seconds since 1970.
    jobs, ended : int
        Jobs it began with, and those of them that ended and are not tried again; each once.
    sent : frozenset of str
        Names of the jobs that the engine has: they run, or are next.
    rate : float
        Tries that ended each second, over the last minute of it.
    """

    submission: str
    alive: bool
    since: float
    last: float
    jobs: int
    ended: int
    sent: frozenset[str]
    rate: float

    @property
    def left(self) -> float:
        """Seconds it may still take, or infinity."""
        return max(self.jobs - self.ended, 0) / self.rate if self.rate else float("inf")

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "submission": self.submission, "alive": self.alive, "since": self.since, "last": self.last, "jobs": self.jobs,
            "ended": self.ended, "with_engine": len(self.sent), "waiting": max(self.jobs - self.ended - len(self.sent), 0),
            "jobs_per_second": round(self.rate, 3),
        }  # fmt: skip


def under_way(directory: Path) -> UnderWay | None:
    """Tell what the newest run of a plan directory is doing, or did; None if none was begun.

    It can be asked from any process, at any time.
    """
    alive = is_locked(directory)  # first: a run that ends meanwhile has written its last line
    begin: dict[str, Any] | None = None  # Any: JSON values
    sent: set[str] = set()
    over: set[str] = set()
    ends: list[float] = []  # of every try
    last = 0.0
    for line in read_journal(directory / JOURNAL):
        event, last = line.get("event"), line.get("at", last)
        if event == "begin":
            begin, sent, over, ends = line, set(), set(), []
        elif event == "sent":
            sent.update(line["jobs"])
            over.difference_update(line["jobs"])
        elif event in ("ended", "lost", "error", "returned"):
            sent.discard(line["job"])
            if event in ("ended", "error"):
                over.add(line["job"])
                ends.append(last)
    if begin is None:
        return None
    recent = [at for at in ends if at >= last - MINUTE]
    span = max(last - max(begin["at"], last - MINUTE), 1e-3)
    return UnderWay(
        begin["submission"], alive, begin["at"], last, begin["jobs"], len(over),
        frozenset(sent) if alive else frozenset(), len(recent) / span,
    )  # fmt: skip


def read_journal(path: Path) -> Iterator[dict[str, Any]]:  # Any: JSON values
    """Give the lines of a journal, oldest first; torn ones are left out, none if there is no file."""
    if not path.exists():
        return
    with path.open("rb") as file:
        for line in file:
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict):
                yield entry


@contextmanager
def run_lock(directory: Path) -> Iterator[None]:
    """Hold the lock of a plan directory; the system releases it when the process dies.

    Two runs of one plan would do no harm (the commit protocol sees to it), but do work twice.

    Raises
    ------
    PrestowError
        If another run holds it (PST-R005).
    """
    with (directory / LOCK).open("ab") as file:
        try:
            _lock(file)
        except BlockingIOError as error:
            raise PrestowError(
                Problem(
                    "PST-R005",
                    "another run of this plan is under way",
                    str(directory),
                    "wait for it, or stop it with Ctrl-C",
                )
            ) from error
        yield


def _lock(file: IO[bytes]) -> None:
    """Take the lock; somebody who only asks whether it is held holds it for an instant."""
    for wait in (0.02, 0.05, 0.1):
        with suppress(BlockingIOError):
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        time.sleep(wait)
    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


def is_locked(directory: Path) -> bool:
    """Tell whether a run of this plan is under way."""
    try:
        with (directory / LOCK).open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        return False
    return False
