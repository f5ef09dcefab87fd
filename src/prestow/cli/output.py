"""What a command says: answers on standard output, progress and diagnostics on standard error.

Every command has one answer, as text for people or as one JSON object with its schema; text ends
with the next command to type.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import click

from prestow.errors import Problem


@dataclass(frozen=True, slots=True)
class Output:
    """How this invocation speaks.

    Parameters
    ----------
    json : bool
        One JSON object instead of text.
    verbosity : int
        -1 says nothing but answers and errors, 0 progress, 1 also what is only of use when
        something is wrong.
    color : bool
        Whether colour is allowed where the stream is a terminal.
    """

    json: bool = False
    verbosity: int = 0
    color: bool = True

    def answer(self, command: str, facts: Mapping[str, object], text: str, *, following: str = "") -> None:
        """Print the answer of a command; ``following`` is the next command to type."""
        if self.json:
            write(
                sys.stdout,
                json.dumps({"schema": f"prestow.{command}/1", **facts}, ensure_ascii=False, default=str),
            )
            return
        write(sys.stdout, text)
        if following:
            write(sys.stdout, f"next: {following}")

    def note(self, text: str) -> None:
        """Print a line about what is going on."""
        if self.verbosity >= 0:
            write(sys.stderr, text)

    def detail(self, text: str) -> None:
        """Print what only ``-v`` shows."""
        if self.verbosity > 0:
            write(sys.stderr, text)

    def problems(self, problems: Sequence[Problem]) -> None:
        """Print every problem: in text on standard error, as JSON on standard output."""
        if self.json:
            facts = {"schema": "prestow.error/1", "problems": [problem.as_dict() for problem in problems]}
            write(sys.stdout, json.dumps(facts, ensure_ascii=False))
            return
        for problem in problems:
            write(sys.stderr, self._painted(problem))

    def _painted(self, problem: Problem) -> str:
        text = str(problem)
        if not (self.color and is_terminal(sys.stderr)):
            return text
        head, newline, rest = text.partition("\n")
        label, colon, what = head.partition(": ")
        return click.style(label, fg="red", bold=True) + colon + click.style(what, bold=True) + newline + rest


def colour_wanted(asked: bool) -> bool:
    """Say whether colour is allowed: not with ``--no-color``, nor where ``NO_COLOR`` is set."""
    return asked and not os.environ.get("NO_COLOR")


def is_terminal(stream: IO[Any]) -> bool:
    """Say whether somebody looks at the stream."""
    try:
        return stream.isatty()
    except ValueError:  # closed
        return False


class Doing:
    """One line that says what goes on now, in place, and is gone at the end.

    Parameters
    ----------
    stream : text stream or None
        A terminal; None says nothing.

    Examples
    --------
    >>> import io
    >>> stream = io.StringIO()
    >>> doing = Doing(stream)
    >>> doing.tell("match")
    >>> doing.end()
    >>> stream.getvalue().split()
    ['match', '…', '0', 's']
    """

    def __init__(self, stream: IO[str] | None) -> None:
        self._stream, self._began, self._shown = stream, time.monotonic(), False

    def tell(self, text: str) -> None:
        """Say what begins now, and how long all of it has taken."""
        if self._stream is not None:
            self._shown = True
            write(self._stream, f"\r{text} … {time.monotonic() - self._began:.0f} s".ljust(60), end="")

    def end(self) -> None:
        """Take the line away."""
        if self._stream is not None and self._shown:
            self._shown = False
            write(self._stream, "\r" + " " * 60 + "\r", end="")


def write(stream: IO[str], text: str, *, end: str = "\n") -> None:
    """Write a line, and be quiet from then on when nobody reads it any more.

    The command goes on: its exit code tells what it did, not whether ``head`` had enough.
    """
    try:
        stream.write(text + end)
        stream.flush()
    except BrokenPipeError:
        silence(stream)


def silence(stream: IO[str]) -> None:
    """Send what is still written to a stream nowhere."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)


def table(
    header: Sequence[str],
    rows: Iterable[Sequence[object]],
    *,
    indent: str = "  ",
    total: bool = False,
    words: int = 1,
) -> str:
    """Lay out a table: columns of words to the left, others, of numbers, to the right.

    Parameters
    ----------
    header : sequence of str
        Names of the columns.
    rows : iterable of sequences
        None is shown as nothing.
    indent : str
        Put before each line.
    total : bool
        Whether the last row is a sum, set off by a line.
    words : int
        How many columns, from the first, hold words.
    """
    cells = [[*map(str, header)], *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(header))]
    lines = [
        indent
        + "  ".join(
            c.ljust(w) if i < words else c.rjust(w) for i, (c, w) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in cells
    ]
    if total:
        lines.insert(-1, indent + "-" * (sum(widths) + 2 * (len(widths) - 1)))
    return "\n".join(lines)


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.6g}"
    return "" if value is None else str(value)


def size_text(size: float) -> str:
    """Give a number of bytes as people read it.

    Examples
    --------
    >>> size_text(812), size_text(2_100_000_000)
    ('812 B', '2.1 GB')
    """
    if size < 1000:  # noqa: PLR2004 - below a kilobyte
        return f"{size:.0f} B"
    for unit in ("kB", "MB", "GB", "TB"):
        size /= 1000
        if size < 1000:  # noqa: PLR2004 - the next unit begins
            return f"{size:.1f} {unit}"
    return f"{size / 1000:.1f} PB"


def duration_text(seconds: float) -> str:
    """Give a duration as people read it.

    Examples
    --------
    >>> duration_text(0.21), duration_text(75), duration_text(2520)
    ('0.21 s', '1:15 min', '0.7 h')
    """
    if seconds < 60:  # noqa: PLR2004 - a minute
        return f"{seconds:.2f} s"
    if seconds < 1800:  # noqa: PLR2004 - half an hour
        return f"{int(seconds) // 60}:{int(seconds) % 60:02d} min"
    return f"{seconds / 3600:.1f} h"


def count_text(count: int, noun: str, plural: str = "") -> str:
    """Give a count with its noun.

    Examples
    --------
    >>> count_text(1, "file"), count_text(1200, "quantum", "quanta")
    ('1 file', '1,200 quanta')
    """
    return f"{count:,} {noun if count == 1 else plural or noun + 's'}"
