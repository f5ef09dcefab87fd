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
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from prestow.errors import PrestowError, Problem

JOURNAL = "journal.jsonl"
LOCK = "run.lock"

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
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
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
