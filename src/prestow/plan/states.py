"""States and sets of rows of a plan: a byte a row, behaving like a mapping and a set of numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableMapping
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np
import numpy.typing as npt
import polars as pl

from prestow.model import State

if TYPE_CHECKING:
    from prestow.plan import Plan

SETTLED = (None, State.MADE, State.DECLINED, State.LOST, State.BLOCKED)
"""Settled states by code; 0 is open."""

CODES = {state: code for code, state in enumerate(SETTLED) if state is not None}

WORDS = ("pending", *(str(state) for state in CODES), "reused", "failed", "unneeded", "held", "preempted")
"""What is said of a quantum, by code: the settled states have theirs. Only a queue of jobs holds and preempts."""

WAITING = ("held", "preempted")
"""Of those: what waits in a queue for a person, a rule or another machine."""

Rows = npt.NDArray[np.integer]


class States(MutableMapping[int, State]):
    """The settled states of a plan's quanta, by row; a row without one is open.

    Examples
    --------
    >>> states = States(3)
    >>> states[1] = State.MADE
    >>> 0 in states, states.get(1), len(states), dict(states)
    (False, <State.MADE: 'made'>, 1, {1: <State.MADE: 'made'>})
    """

    def __init__(self, height: int, codes: npt.NDArray[np.uint8] | None = None) -> None:
        self.codes = np.zeros(height, np.uint8) if codes is None else codes

    def copy(self) -> States:
        """Give another one with these states."""
        return States(len(self.codes), self.codes.copy())

    def __contains__(self, row: object) -> bool:
        return bool(self.codes[row])  # type: ignore[call-overload]  # whoever asks has a row

    def __getitem__(self, row: int) -> State:
        state = SETTLED[self.codes[row]]
        if state is None:
            raise KeyError(row)
        return state

    def __setitem__(self, row: int, state: State) -> None:
        self.codes[row] = CODES[state]

    def __delitem__(self, row: int) -> None:
        if not self.codes[row]:
            raise KeyError(row)
        self.codes[row] = 0

    def __iter__(self) -> Iterator[int]:
        return iter(np.flatnonzero(self.codes).tolist())

    def __len__(self) -> int:
        return int(np.count_nonzero(self.codes))


class RowSet(AbstractSet[int]):
    """Some rows of a table, a byte a row of it.

    Examples
    --------
    >>> some = RowSet.of([2, 0], 3)
    >>> sorted(some), 1 in some, len(some)
    ([0, 2], False, 2)
    """

    def __init__(self, mask: npt.NDArray[np.bool_]) -> None:
        self.mask = mask

    @classmethod
    def of(cls, rows: Iterable[int] | Rows, height: int) -> Self:
        """Make one of these rows of a table of that height."""
        mask = np.zeros(height, np.bool_)
        mask[rows if isinstance(rows, np.ndarray) else np.fromiter(rows, np.int64)] = True
        return cls(mask)

    @classmethod
    def _from_iterable(cls, rows: Iterable[int]) -> frozenset[int]:  # type: ignore[override]  # of no height
        return frozenset(rows)

    def __contains__(self, row: object) -> bool:
        return bool(self.mask[row])  # type: ignore[call-overload]  # whoever asks has a row

    def __iter__(self) -> Iterator[int]:
        return iter(np.flatnonzero(self.mask).tolist())

    def __len__(self) -> int:
        return int(np.count_nonzero(self.mask))


@dataclass(frozen=True, slots=True, eq=False)
class Words:
    """One of a few words for each row: its number, and the words by number."""

    names: tuple[str, ...]
    numbers: npt.NDArray[np.unsignedinteger]

    def __getitem__(self, row: int) -> str:
        return self.names[int(self.numbers[row])]


def tasks_of(plan: Plan) -> Words:
    """Give the task of each quantum of a plan."""
    names = tuple(task.label for task in plan.definition.tasks)
    number = pl.col("task").cast(pl.Enum(names)).to_physical()
    return Words(names, plan.tables.scan("quanta").select(number).collect()["task"].to_numpy())


def count_states(tasks: Words, codes: npt.NDArray[np.uint8]) -> dict[str, dict[str, int]]:
    """Count quanta by task and word, all of `WORDS`; tasks in their order."""
    width = len(WORDS)
    pairs = tasks.numbers.astype(np.int64) * width + codes
    counts = np.bincount(pairs, minlength=len(tasks.names) * width).reshape(-1, width)
    return {
        name: dict(zip(WORDS, row, strict=True))
        for name, row in zip(tasks.names, counts.tolist(), strict=True)
    }
