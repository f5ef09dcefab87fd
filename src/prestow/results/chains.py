"""Up from what is absent to the first cause, and down to what it holds up; level by level."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from prestow.results.lineage import Point, Step

if TYPE_CHECKING:
    from prestow.results.recorded import Recorded

_RANK = ("failed", "lost", "declined", "deleted", "unknown", "blocked", "pending")
"""Of several first causes, which is told first."""


@dataclass(frozen=True, slots=True)
class Chain:
    """How something came to be absent.

    Parameters
    ----------
    points : tuple of Point
        From what was asked about to the first cause; one alone if it is its own cause.
    others : int
        Further first causes.
    waits : tuple of Point
        Its own inputs that are not there yet.
    """

    points: tuple[Point, ...]
    others: int = 0
    waits: tuple[Point, ...] = ()


def first_cause(recorded: Recorded, start: Point) -> Chain:
    """Follow what is absent upwards, until nothing absent is above it.

    A failed, lost or self-declined quantum is a cause; a pending one only where nothing that it
    waits for is open.
    """
    via: dict[str, Point | None] = {start.id: None}
    causes: list[Point] = []
    waits: tuple[Point, ...] = ()
    level = [start]
    while level:
        steps, told = recorded.reads([p for p in level if p.state not in ("failed", "lost")])
        inputs = recorded.points({s.input for s in steps}, told)
        by_reader: dict[str, list[Step]] = {}
        for step in steps:
            by_reader.setdefault(step.reader, []).append(step)
        following: list[Point] = []
        for point in level:
            above = _holding(recorded, point, by_reader.get(point.id, []), inputs)
            if point is start:
                waits = tuple(p for p in above if p.open)
            if not above:
                causes.append(point)
            for other in above:
                if other.id not in via:
                    via[other.id] = point
                    following.append(other)
        level = following
    causes.sort(key=lambda p: _RANK.index(p.state) if p.state in _RANK else len(_RANK))
    chain: list[Point] = []
    step_up: Point | None = causes[0]
    while step_up is not None:
        chain.append(step_up)
        step_up = via[step_up.id]
    return Chain(tuple(reversed(chain)), len(causes) - 1, waits)


def _holding(recorded: Recorded, point: Point, steps: list[Step], inputs: dict[str, Point]) -> list[Point]:
    """Give the inputs because of which something is absent; none if it is so by itself."""
    absent = list({s.input: inputs[s.input] for s in steps if not inputs[s.input].there}.values())
    if point.state == "pending":
        return [p for p in absent if p.open]
    if point.state == "declined":
        receipt = recorded.receipt_of(point)
        if receipt is not None and (receipt.reason or receipt.measures or receipt.state == "made"):
            return []  # its task ran, and said so
        return absent if point.code in {"no_inputs", *(p.code for p in absent)} else []
    return absent if point.state == "blocked" else []


def held_up(recorded: Recorded, start: Point) -> list[Point]:
    """Give what cannot be made, or was not, because of something absent; each once."""
    found: dict[str, Point] = {}
    level = recorded.outputs_of(start)
    while level:
        steps, told = recorded.uses(level)
        readers = recorded.points({s.reader for s in steps} - found.keys(), told)
        new = [p for p in readers.values() if not p.there and p.id not in found]
        found.update((p.id, p) for p in new)
        level = [p.id for p in new]
    return list(found.values())
