"""What the report says, in plain values: sections that a page, a text and JSON are made of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from prestow.plan.states import WORDS

SCHEMA = "prestow.run-report/1"

MANY = 10_000
"""Jobs up to which the data has a row for each."""

SEVERITY = (
    "made",
    "reused",
    "unneeded",
    "declined",
    "pending",
    "preempted",
    "held",
    "blocked",
    "lost",
    "failed",
)
"""States of a quantum from what nobody looks at to what everybody does; a cell of a map shows the last of its own."""

SYMBOLS = {
    "made": "·", "reused": "r", "unneeded": "u", "declined": "d", "pending": "?", "preempted": "P", "held": "H", "blocked": "B", "lost": "L", "failed": "F",
}  # fmt: skip
"""What stands for a state where there is room for one character."""

GOOD = ("made", "reused", "unneeded")
"""States of which nothing is left to do or to know."""

assert set(SEVERITY) == set(SYMBOLS) == set(WORDS)

Facts = dict[str, Any]  # Any: JSON values


@dataclass(frozen=True, slots=True)
class Cause:
    """A group of failures, as `prestow.results.failures` gives them, and what became of its quanta.

    Parameters
    ----------
    now : mapping of state to int
        The states that its quanta are in: made, if a later try went well.
    commands : tuple of str
        What to type next.
    """

    kind: str
    title: str
    cause: str
    exception: str
    message: str
    count: int
    quanta: int
    jobs: int
    messages: int
    tried: int
    tasks: Mapping[str, int]
    hosts: Mapping[str, int]
    first: tuple[str, ...]
    log_tail: tuple[str, ...]
    now: Mapping[str, int]
    commands: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class StateMap:
    """The worst state of every pair of values of two dimensions.

    Parameters
    ----------
    rows, columns : str
        The dimensions; ``columns`` is ``task`` where only one dimension tells anything.
    row_names, column_names : tuple of str
        Their values, or from where to where, if several are one row or column.
    cells : tuple of str
        A row each, of characters of `SYMBOLS`; a blank where nothing was planned.
    tasks : tuple of str
        Whose quanta are on it.
    together : tuple of (int, int)
        How many values are one row, and one column.
    counts : mapping of state to int
        Pairs of values by their worst state.
    """

    rows: str
    columns: str
    row_names: tuple[str, ...]
    column_names: tuple[str, ...]
    cells: tuple[str, ...]
    tasks: tuple[str, ...]
    together: tuple[int, int]
    counts: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Lane:
    """What ran in one place.

    Parameters
    ----------
    name : str
        The host and the process, or the host.
    workers : int
        Processes in it.
    bars : tuple of (begin, seconds, state, job)
        One try each, seconds from the beginning; empty where binned.
    busy : tuple of float
        Where binned: the share of each bin that was worked, at most 1.
    failed : tuple of int
        Where binned: failures that ended in each bin.
    """

    name: str
    workers: int
    bars: tuple[tuple[float, float, str, str], ...] = ()
    busy: tuple[float, ...] = ()
    failed: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Timeline:
    """What ran where and when; ``deaths`` are seconds from the beginning, job, and why."""

    begin: float
    seconds: float
    lanes: tuple[Lane, ...]
    deaths: tuple[tuple[float, str, str], ...] = ()
    tries: int = 0
    more: int = 0

    @property
    def binned(self) -> bool:
        """Whether tries are added up in bins."""
        return any(lane.busy for lane in self.lanes)


@dataclass(frozen=True, slots=True)
class TaskTimes:
    """Time and memory of the tries of one task that made something, against what was asked.

    Parameters
    ----------
    seconds, cpu_seconds, memory : tuple of float
        Minimum, quartiles, maximum; empty if nothing is known. Memory is that of the process, in bytes.
    asked_memory, asked_seconds, expected_cpu : float or None
        The most that any job of it asked; the CPU that the plan foresaw for one quantum, on average.
    """

    task: str
    tries: int
    seconds: tuple[float, ...] = ()
    cpu_seconds: tuple[float, ...] = ()
    memory: tuple[float, ...] = ()
    asked_memory: float | None = None
    asked_seconds: float | None = None
    expected_cpu: float | None = None
    total_cpu: float = 0.0


@dataclass(frozen=True, slots=True)
class JobTime:
    """A job that stands out: how long its last try took, and where."""

    job: str
    label: str
    state: str
    seconds: float
    host: str
    tries: int


@dataclass(frozen=True, slots=True)
class Unmade:
    """A quantum that is not made, and its first cause."""

    task: str
    data_id: str
    state: str
    job: str
    cause: str


@dataclass(frozen=True, slots=True)
class Picture:
    """A quick look at a product: a PNG."""

    title: str
    notes: tuple[str, ...]
    png: bytes


@dataclass(frozen=True, slots=True)
class Report:
    """All that the report says.

    Parameters
    ----------
    verdict : str
        One sentence.
    mood : str
        ``good``, ``losses``, ``bad`` or ``busy``.
    counts : mapping of state to int
        Quanta; they sum to the plan.
    tasks : mapping of task to mapping of state to int
    facts : mapping of str to object
        The head: run, plan, times, versions, commands.
    unmade : tuple of Unmade
        The first of the quanta that are not made; ``unmade_count`` are all.
    account, difference : mapping or None
        The files, and what differs from the plan before; None if it was not looked at.
    jobs : mapping of str to list, or None
        Columns of all jobs; None above `MANY`.
    notes : tuple of str
        What could not be known, and why.
    """

    verdict: str
    mood: str
    counts: Mapping[str, int]
    tasks: Mapping[str, Mapping[str, int]]
    facts: Mapping[str, Any]  # Any: JSON values
    causes: tuple[Cause, ...] = ()
    failures: int = 0
    unmade: tuple[Unmade, ...] = ()
    unmade_count: int = 0
    maps: tuple[StateMap, ...] = ()
    timeline: Timeline | None = None
    times: tuple[TaskTimes, ...] = ()
    slowest: tuple[JobTime, ...] = ()
    critical: tuple[JobTime, ...] = ()
    account: Mapping[str, Any] | None = None
    difference: Mapping[str, Any] | None = None
    pictures: tuple[Picture, ...] = ()
    jobs: Mapping[str, list[Any]] | None = None
    notes: tuple[str, ...] = field(default=())

    @property
    def total(self) -> int:
        """All quanta of the plan."""
        return sum(self.counts.values())

    def as_dict(self) -> Facts:
        """Give the report as plain values; of pictures their titles."""
        facts = asdict(self)
        facts["pictures"] = [{"title": one.title, "notes": list(one.notes)} for one in self.pictures]
        return {"schema": SCHEMA, "total": self.total, **facts}
