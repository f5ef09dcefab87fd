"""Which failures may be sealed as lost: the decision, without any store.

A failed quantum whose tries are spent and whose task tolerates it is a *candidate*. Candidates are
looked at together, as if all were lost. What lies downstream then either cannot run (a connection
cannot reach its minimum), or is a *keeper*: it can do without, and everything else it reads is
settled or itself gone. Only what lies above a keeper is sealed. A candidate that nothing in the
plan reads is sealed too, for nothing has to do without it. All else stays failed, and can be tried
again by the same command.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

NO_LOSS = ("PST-N006", "PST-P005")
"""Failures that are never tolerated: an input that was changed, and a plan that does not fit."""


class Standing(Enum):
    """What one planned input is, as far as is known."""

    OPEN = 0  # not settled
    PRESENT = 1
    ABSENT = 2  # settled, and there is nothing


@dataclass(frozen=True, slots=True)
class Need:
    """One input connection of a quantum.

    ``needed`` of ``existing`` plus ``planned`` datasets must be there; ``planned`` are (row of the
    producing quantum, row of the dataset).
    """

    needed: int
    existing: int
    planned: Sequence[tuple[int, int]]


def to_seal(
    candidates: Collection[int],
    *,
    needs: Callable[[int], Iterable[Need]],
    consumers: Callable[[int], Iterable[int]],
    standing: Callable[[int, int], Standing],
) -> list[int]:
    """Give the candidates to seal as lost now, in order.

    Parameters
    ----------
    candidates : collection of int
        Rows of quanta: unsettled, tries spent, tolerated. Rows are in topological order.
    needs : callable
        The input connections of a quantum.
    consumers : callable
        The unsettled quanta that read what a quantum makes.
    standing : callable
        What the input (producer's row, dataset's row) is.
    """
    gone = set(candidates)
    whole = set(candidates)  # those gone of which every input is settled or gone
    above: dict[int, list[int]] = {}
    keepers: list[int] = []
    queue: list[int] = []
    seen: set[int] = set()

    def look_below(row: int) -> None:
        for consumer in consumers(row):
            if consumer not in seen and consumer not in gone:
                seen.add(consumer)
                heapq.heappush(queue, consumer)

    for row in candidates:
        look_below(row)
    while queue:
        row = heapq.heappop(queue)
        runs, closed, parents = _foresee(needs(row), gone, whole, standing)
        above[row] = parents
        if not runs:
            gone.add(row)
            if closed:
                whole.add(row)
            look_below(row)
        elif closed:
            keepers.append(row)
    wanted = {row for row in candidates if not any(True for _ in consumers(row))}
    climb, visited = list(keepers), set(keepers)
    while climb:
        for parent in above.get(climb.pop(), ()):
            if parent not in visited:
                visited.add(parent)
                climb.append(parent)
    return sorted(wanted | (visited & set(candidates)))


def _foresee(
    needs: Iterable[Need], gone: set[int], whole: set[int], standing: Callable[[int, int], Standing]
) -> tuple[bool, bool, list[int]]:
    """Tell whether it could run without what is gone, whether all it reads is known, and what is gone."""
    runs = closed = True
    parents: list[int] = []
    for need in needs:
        possible = need.existing
        for producer, dataset in need.planned:
            if producer in gone:
                parents.append(producer)
                closed = closed and producer in whole
                continue
            state = standing(producer, dataset)
            possible += state is not Standing.ABSENT
            closed = closed and state is not Standing.OPEN
        runs = runs and possible >= need.needed
    return runs, closed, parents
