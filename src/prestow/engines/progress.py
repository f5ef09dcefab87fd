"""Progress on stderr: bars for a person at a terminal, time-stamped lines for a file."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

BARS = 12
LINE_SECONDS = 10.0
LINES = 20
"""Lines without a terminal: one for each five percent."""
REDRAW_SECONDS = 0.25
SETTLED = ("made", "declined", "lost", "blocked", "reused", "unneeded")


@dataclass(frozen=True, slots=True)
class Event:
    """Where a run stands.

    Parameters
    ----------
    kind : str
        ``begin``, ``progress``, ``failed`` (``message`` says what), ``note`` or ``end``.
    tasks : mapping of task to mapping of state to count
        In the order of the pipeline; states ``made``, ``declined``, ``lost``, ``blocked``,
        ``failed``, ``pending``, ``reused``, ``unneeded``; they sum to the plan.
    running, ready : int
        Jobs with the engine; jobs that could start.
    seconds : float
        Since the run began.
    """

    kind: str
    tasks: Mapping[str, Mapping[str, int]]
    running: int = 0
    ready: int = 0
    seconds: float = 0.0
    message: str = ""

    @property
    def total(self) -> int:
        """All quanta of the plan."""
        return sum(sum(counts.values()) for counts in self.tasks.values())

    @property
    def settled(self) -> int:
        """Those that are settled, taken from elsewhere, or not needed."""
        return sum(counts.get(state, 0) for counts in self.tasks.values() for state in SETTLED)

    def count(self, state: str) -> int:
        """Quanta in one state."""
        return sum(counts.get(state, 0) for counts in self.tasks.values())


def show_progress(stream: IO[str] | None = None) -> Callable[[Event], None]:
    """Give what `run_plan` can call with its events: bars on a terminal, else lines."""
    stream = stream or sys.stderr
    return _Bars(stream) if stream.isatty() and find_spec("rich") else _Lines(stream)


class _Lines:
    """One line every ten seconds or five percent, and at once for begin, end and failures."""

    def __init__(self, stream: IO[str]) -> None:
        self._stream = stream
        self._seconds = 0.0
        self._step = 0

    def __call__(self, event: Event) -> None:
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S")
        if event.message:
            self._stream.write(f"{stamp} {event.message}\n")
        step = event.settled * LINES // (event.total or 1)
        due = event.seconds - self._seconds >= LINE_SECONDS or step != self._step
        if event.kind == "end" or (event.kind == "progress" and due):
            self._seconds, self._step = event.seconds, step
            self._stream.write(f"{stamp} {summary(event)}\n")
        self._stream.flush()


def summary(event: Event) -> str:
    """Give one line: what is settled, what else there is, and how long it may take."""
    parts = [f"{event.settled} of {event.total} settled"]
    parts += [
        f"{event.count(state)} {state}"
        for state in ("declined", "lost", "blocked", "failed", "pending")
        if event.count(state)
    ]
    if event.running:
        parts.append(f"{event.running} jobs under way")
    return ", ".join(parts)


@dataclass(slots=True)
class _Bars:
    """One bar a task, at most twelve, redrawn four times a second."""

    stream: IO[str]
    bars: dict[str, Any] = field(default_factory=dict)  # Any: rich's task ids
    drawn: float = -1.0
    display: Any = None  # rich is imported for a terminal only

    def __call__(self, event: Event) -> None:
        if self.display is None:
            self._open(event)
        if event.message:
            self.display.console.print(event.message, markup=False, highlight=False)
        if event.kind != "end" and event.seconds - self.drawn < REDRAW_SECONDS:
            return
        self.drawn = event.seconds
        for task, counts in self._rows(event):
            done = sum(counts.get(state, 0) for state in SETTLED)
            words = "  ".join(
                f"{counts[s]} {s}" for s in ("declined", "lost", "blocked", "failed") if counts.get(s)
            )
            self.display.update(self.bars[task], completed=done, words=words)
        self.display.refresh()
        if event.kind == "end":
            self.display.stop()

    def _open(self, event: Event) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

        self.display = Progress(
            TextColumn("  {task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[words]}"),
            console=Console(file=self.stream),
            auto_refresh=False,
        )
        self.display.start()
        for task, counts in self._rows(event):
            self.bars[task] = self.display.add_task(task, total=sum(counts.values()), words="")

    @staticmethod
    def _rows(event: Event) -> Iterator[tuple[str, Mapping[str, int]]]:
        names = list(event.tasks)
        shown = names if len(names) <= BARS else names[: BARS - 1]
        for task in shown:
            yield task, event.tasks[task]
        if len(shown) < len(names):
            rest: dict[str, int] = {}
            for task in names[len(shown) :]:
                for state, n in event.tasks[task].items():
                    rest[state] = rest.get(state, 0) + n
            yield f"and {len(names) - len(shown)} more", rest
