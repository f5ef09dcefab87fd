"""How the measures of one dataset stand among those of its siblings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prestow.results.lineage import Point
from prestow.results.measured import measures_of
from prestow.results.outliers import Standing, standings
from prestow.results.tracing import marks_of, own_roots, siblings

if TYPE_CHECKING:
    from prestow.results.recorded import Recorded

MOST = 200
"""Quanta of a task that are compared where nothing reads them together."""


@dataclass(frozen=True, slots=True)
class Beside:
    """What stands beside a dataset, and how it stands among it.

    Parameters
    ----------
    standings : tuple of Standing
        Of each of its measures, the furthest first; none where fewer than four can be compared.
    count : int
        How many siblings there are.
    who : str
        What they are, in words.
    roots : tuple of Point
        Raw data that it goes back to and no sibling does.
    """

    standings: tuple[Standing, ...] = ()
    count: int = 0
    who: str = ""
    roots: tuple[Point, ...] = ()


def look(recorded: Recorded, point: Point) -> Beside:
    """Compare a made dataset with what is read beside it, or else with its task's other quanta."""
    outputs = recorded.outputs_of(point)
    uses, told = recorded.uses(outputs)
    readers = recorded.points({s.reader for s in uses}, told)
    steps, more = recorded.reads(readers.values())
    used = {(s.reader, s.connection) for s in uses}
    steps = [s for s in steps if (s.reader, s.connection) in used]
    points = {**readers, **recorded.points({s.input for s in steps}, more)}
    marks = marks_of(recorded, points, steps)
    mine = [key for key in outputs if key in marks]
    if mine:
        best = max(mine, key=lambda key: marks[key][0].sigmas)
        others = siblings(steps)[best]
        return Beside(marks[best], len(others), "read beside it", own_roots(recorded, point, others, points))
    same = recorded.same_task(point, MOST)
    if not same:
        return Beside()
    found = standings(measures_of(recorded, [point, *same]))
    points = {p.id: p for p in same}
    return Beside(
        found.get(point.id, ()),
        len(same),
        f"others of task {point.task}",
        own_roots(recorded, point, points, points),
    )
