"""Events into a file: a line for each committed dataset, after its commit, at least once, in order.

Lines are made from the registry, where sequence numbers are given with the commit. So one who was
killed between commit and line, or in the middle of a line, leaves nothing out: the next call goes on
after the last whole line.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import BinaryIO

from prestow.errors import Problem, ProjectError
from prestow.registry import Registry
from prestow.registry.events import SCHEMA

AT_ONCE = 2000
"""Lines that are made durable at a time."""

_TAIL = 1 << 16
_BEGIN = b'{"data_id":'


def append_events(registry: Registry, path: Path, *, after: int | None = None) -> tuple[int, int]:
    """Append what a file lacks; give how many lines, and the sequence number of its last one.

    Parameters
    ----------
    path : Path
        Made if it is not there. A torn last line is cut.
    after : int, optional
        Of a file without a line: only what was committed after this number.

    Raises
    ------
    ProjectError
        PST-I036 if the last line is no event, or not one of this registry; PST-I005 if the file cannot be
        written.
    """
    try:
        with open(path, "a+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)  # of two at once the second goes on where the first has ended
            last = _last(file, path, registry)
            if last is None:
                last = after or 0
            return _append(file, registry, last)
    except OSError as error:
        what = error.strerror or str(error)
        raise ProjectError(Problem("PST-I005", f"events cannot be written: {what}", str(path))) from error


def _append(file: BinaryIO, registry: Registry, last: int) -> tuple[int, int]:
    events, count = registry.events.after(last), 0
    while group := list(islice(events, AT_ONCE)):
        file.write("".join(f"{event.line()}\n" for event in group).encode())
        file.flush()
        os.fsync(file.fileno())
        count, last = count + len(group), group[-1].sequence
    return count, last


def _last(file: BinaryIO, path: Path, registry: Registry) -> int | None:
    """Give the number of the last whole line, and cut what stands after it."""
    line, end = _last_line(file)
    if line is None:
        if end != os.fstat(file.fileno()).st_size:
            if not _BEGIN.startswith(_head(file)):
                raise _refused("it holds something else", path)
            file.truncate(end)
        return None
    try:
        event = json.loads(line)
        number, dataset = int(event["sequence"]), str(event["id"])
        if event["schema"] != SCHEMA:
            raise ValueError  # noqa: TRY301 - one place says what is wrong
    except (ValueError, KeyError, TypeError):
        raise _refused("its last line is no event", path) from None
    here = registry.events.sequence_of(dataset)
    if here not in (number, None) or number > registry.events.last():
        raise _refused("its last line is no event of this registry: that was made again since", path)
    file.truncate(end)
    return number


def _last_line(file: BinaryIO) -> tuple[bytes | None, int]:
    """Give the last line that ends, and where it ends."""
    size = file.seek(0, os.SEEK_END)
    for tail in _tails(size):
        file.seek(size - tail)
        data = file.read(tail)
        end = data.rfind(b"\n")
        begin = data.rfind(b"\n", 0, max(end, 0))
        if end >= 0 and (begin >= 0 or tail == size):
            return data[begin + 1 : end], size - tail + end + 1
    return None, 0


def _tails(size: int) -> Iterator[int]:
    tail = min(_TAIL, size)
    while tail < size:
        yield tail
        tail = min(2 * tail, size)
    yield size


def _head(file: BinaryIO) -> bytes:
    file.seek(0)
    return file.read(len(_BEGIN))


def _refused(what: str, path: Path) -> ProjectError:
    return ProjectError(
        Problem("PST-I036", what, str(path), "give another file: it gets all events from the first")
    )
