"""Where a dataset came from, and what it went into: level by level, any depth, and as text.

Serves a person who sees a bad product and looks for the bad frame: among the inputs of one
connection, the one whose measures stand out is marked.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prestow.results import taints
from prestow.results.lineage import ROOT, Point, Step, counted
from prestow.results.measured import measures_of
from prestow.results.outliers import Standing, standings

if TYPE_CHECKING:
    from prestow.results.recorded import Recorded

LINES = 40
"""Inputs of one connection that are shown as text; JSON has them all, and what stands out always shows."""

MOST = 400
"""Lines of a tree that are shown as text; the rest is counted."""

SHORT = 8  # digits of a digest or recipe that people need

COMPONENT = "component"
"""Connection of a step to another product of the quantum that made an ancestor."""


@dataclass(frozen=True, slots=True)
class Odd:
    """A dataset that stands out among its siblings, and the raw data that it alone goes back to."""

    point: Point
    standings: tuple[Standing, ...]
    roots: tuple[Point, ...] = ()

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "id": self.point.id,
            "dataset": str(self.point),
            "standings": [s.as_dict() for s in self.standings],
            "roots": [root.as_dict() for root in self.roots],
        }


@dataclass(frozen=True, slots=True, repr=False)
class Trace:
    """What was followed.

    Parameters
    ----------
    start : Point
        Where it began.
    direction : str
        ``up``, to what it came from, or ``down``.
    points : mapping of id to Point
        All that was met.
    steps : tuple of Step
        What joins them.
    odd : tuple of Odd
        What stands out, the furthest first; upwards alone.
    cut : int
        Points at which the depth ended, and that may go on.
    taints : mapping of id to str
        What is known to be bad, or made from such: ``tainted: WHY`` or ``contaminated``.
    """

    start: Point
    direction: str
    points: Mapping[str, Point]
    steps: tuple[Step, ...]
    odd: tuple[Odd, ...] = ()
    cut: int = 0
    marks: Mapping[str, tuple[Standing, ...]] = field(default_factory=dict)
    taints: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return "\n".join((*tree_lines(self), *odd_lines(self)))

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's signature; Any: its printer
        printer.text("…" if cycle else str(self))

    def __repr__(self) -> str:
        return f"<Trace {self.direction} from {self.start}: {len(self.points):,} datasets>"

    def mermaid(self) -> str:
        """Give it as a flow chart in Mermaid, from what was read to what was made."""
        return "\n".join(mermaid_lines(self))

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "start": self.start.id,
            "points": [point.as_dict() for point in self.points.values()],
            "steps": [step.as_dict() for step in self.steps],
            "stand_out": [odd.as_dict() for odd in self.odd],
            "cut": self.cut,
            "taints": dict(self.taints),
        }


def trace(
    recorded: Recorded,
    start: Point,
    *,
    down: bool = False,
    depth: int | None = None,
    components: Collection[str] = (),
) -> Trace:
    """Follow a dataset up, or down, level by level: a fixed number of questions for each.

    Parameters
    ----------
    recorded : Recorded
        What is known.
    start : Point
        Where to begin.
    down : bool
        To what was made from it, instead of to what it was made from.
    depth : int or None
        How many steps; all, if None.
    components : collection of str
        Dataset types whose products are parts of what was made with them: up, each ancestor has a step to those
        that its quantum made besides; down, what is of such a type leads to all that its quantum made.
    """
    points: dict[str, Point] = {start.id: start}
    steps: dict[Step, None] = {}
    level, done = [start], 0
    beside: set[str] = set()
    while level and (depth is None or done < depth):
        if components and down:
            level += _made_with(recorded, level, points, steps, components)
        found, told = recorded.uses([p.id for p in level]) if down else recorded.reads(level)
        steps.update(dict.fromkeys(found))
        new = {s.reader if down else s.input for s in found} - (points.keys() - beside)
        known = recorded.points(new, told)
        level = [known[i] for i in dict.fromkeys(s.reader if down else s.input for s in found) if i in new]
        points.update((point.id, point) for point in level)
        beside -= points.keys() & new
        if components and not down:
            beside |= _parts_of(recorded, level, points, steps, components)
        done += 1
    cut = sum(bool(point.quantum) or down for point in level)
    marks = {} if down else marks_of(recorded, points, steps)
    return Trace(
        start,
        "down" if down else "up",
        points,
        tuple(steps),
        _odd(recorded, points, marks, steps),
        cut,
        marks,
        taints.marks_of(recorded.registry, [key for key, point in points.items() if point.type]),
    )


def _parts_of(
    recorded: Recorded,
    level: Sequence[Point],
    points: dict[str, Point],
    steps: dict[Step, None],
    components: Collection[str],
) -> set[str]:
    """Add steps from what was made to the components that were made with it; give those that are new."""
    own: dict[str, list[Point]] = {}
    for point in level:
        if point.quantum and point.type not in components:
            own.setdefault(point.quantum, []).append(point)
    found = set()
    for part in recorded.products(level) if own else ():
        if part.type in components:
            for point in own.get(part.quantum, ()):
                steps[Step(point.id, COMPONENT, part.id, part.state, part.code, part.sha256)] = None
            if part.id not in points:
                points[part.id] = part
                found.add(part.id)
    return found


def _made_with(
    recorded: Recorded,
    level: Sequence[Point],
    points: dict[str, Point],
    steps: dict[Step, None],
    components: Collection[str],
) -> list[Point]:
    """Add steps from components to what was made with them; give what is new."""
    parts: dict[str, list[Point]] = {}
    for point in level:
        if point.quantum and point.type in components:
            parts.setdefault(point.quantum, []).append(point)
    found = []
    for whole in recorded.products(level) if parts else ():
        if whole.type in components:
            continue
        for part in parts.get(whole.quantum, ()):
            steps[Step(whole.id, COMPONENT, part.id, part.state, part.code, part.sha256)] = None
        if whole.id not in points and whole.quantum in parts:
            points[whole.id] = whole
            found.append(whole)
    return found


def marks_of(
    recorded: Recorded, points: Mapping[str, Point], steps: Iterable[Step]
) -> dict[str, tuple[Standing, ...]]:
    """Give for each input how its measures stand among those beside it; the furthest of all its places."""
    groups: dict[tuple[str, str], list[Point]] = {}
    for step in steps:
        if points[step.input].there and step.connection != COMPONENT:
            groups.setdefault((step.reader, step.connection), []).append(points[step.input])
    members = {p.id: p for group in groups.values() if len(group) > 1 for p in group}
    measures = measures_of(recorded, members.values())
    found: dict[str, dict[str, Standing]] = {}
    seen: set[frozenset[str]] = set()
    for group in groups.values():
        ids = frozenset(p.id for p in group)
        if ids in seen:  # the outputs of one quantum have the same inputs
            continue
        seen.add(ids)
        for key, own in standings({p.id: measures[p.id] for p in group if p.id in measures}).items():
            best = found.setdefault(key, {})
            for standing in own:
                if standing.name not in best or standing.sigmas > best[standing.name].sigmas:
                    best[standing.name] = standing
    return {key: tuple(sorted(own.values(), key=lambda s: -s.sigmas)) for key, own in found.items() if own}


def _odd(
    recorded: Recorded,
    points: Mapping[str, Point],
    marks: Mapping[str, tuple[Standing, ...]],
    steps: Iterable[Step],
) -> tuple[Odd, ...]:
    far = {key: tuple(s for s in own if s.stands_out) for key, own in marks.items()}
    far = {key: own for key, own in far.items() if own}
    if not far:
        return ()
    beside = siblings(steps)
    result = [
        Odd(points[key], own, own_roots(recorded, points[key], beside.get(key, ()), points))
        for key, own in far.items()
    ]
    return tuple(sorted(result, key=lambda odd: -odd.standings[0].sigmas))


def siblings(steps: Iterable[Step]) -> dict[str, tuple[str, ...]]:
    """Give for each input the other inputs of the connections in which it stands."""
    groups: dict[tuple[str, str], list[str]] = {}
    for step in steps:
        groups.setdefault((step.reader, step.connection), []).append(step.input)
    found: dict[str, dict[str, None]] = {}
    for group in groups.values():
        for key in group:
            found.setdefault(key, {}).update(dict.fromkeys(k for k in group if k != key))
    return {key: tuple(others) for key, others in found.items()}


def own_roots(
    recorded: Recorded, point: Point, beside: Iterable[str], points: Mapping[str, Point]
) -> tuple[Point, ...]:
    """Give the raw data that a dataset goes back to and none of its siblings does; all, if none is its own."""
    mine = recorded.roots(point)
    shared: set[str] = set()
    for key in beside:
        receipt = recorded.receipt_of(points[key]) if key in points else None
        shared.update(root.id for root in (receipt.roots if receipt is not None else ()))
    return tuple(root for root in mine if root.id not in shared) or tuple(mine)


# --- as text ---------------------------------------------------------------------------------


def shown_lines(found: Trace, most: int = MOST) -> Iterator[str]:
    """Give the first lines of a trace as a tree, and a line that counts the rest."""
    rest = 0
    for number, line in enumerate(tree_lines(found)):
        if number < most:
            yield line
        else:
            rest += 1
    if rest:
        yield f"and {rest:,} more lines: --lines {most + rest} shows them, --json has all"


def mermaid_lines(found: Trace) -> Iterator[str]:
    """Give a trace as a flow chart in Mermaid: an arrow from each input to what was made from it."""
    names = {key: f"d{number}" for number, key in enumerate(found.points)}
    yield "flowchart LR" if found.direction == "down" else "flowchart RL"
    for key, point in found.points.items():
        words = [str(point), point.state_words]
        if point.recipe and point.state != ROOT:
            words.append(f"recipe {point.recipe[:SHORT]}")
        if point.sha256:
            words.append(f"sha256 {point.sha256[:SHORT]}")
        text = "<br/>".join(words).replace('"', "#quot;")
        yield f'  {names[key]}["{text}"]' + (
            ":::odd" if any(o.point.id == key for o in found.odd) else "" if point.there else ":::absent"
        )
    for step in found.steps:
        line = "-.->" if step.connection == COMPONENT else "-->"
        label = (
            "" if step.connection in (found.points[step.input].type, COMPONENT) else f"|{step.connection}|"
        )
        yield f"  {names[step.input]} {line}{label} {names[step.reader]}"
    yield "  classDef absent stroke-dasharray: 4 4,color:#888"
    yield "  classDef odd stroke:#c00,stroke-width:3px"


def tree_lines(found: Trace) -> Iterator[str]:
    """Give a trace as a tree; what is met again is referred to by its number, and not shown twice."""
    down = found.direction == "down"
    branches: dict[str, list[Step]] = {}
    met: Counter[str] = Counter()
    for step in found.steps:
        branches.setdefault(step.input if down else step.reader, []).append(step)
        met[step.reader if down else step.input] += 1
    for branch in branches.values():
        branch.sort(key=lambda s: _order(s, found.points[s.reader if down else s.input]))
    shared = [key for key in found.points if met[key] > 1 and key in branches]
    numbers = {key: n for n, key in enumerate(shared, 1)}
    shown: set[str] = {found.start.id}

    def below(key: str, stem: str) -> Iterator[str]:
        kept, hidden = _fewer(branches.get(key, []), found)
        for i, step in enumerate(kept):
            last = i == len(kept) - 1 and not hidden
            point = found.points[step.reader if down else step.input]
            role = "" if step.connection == found.points[step.input].type else f"{step.connection}: "
            if point.id in shown and point.id in numbers:
                yield f"{stem}{'└─' if last else '├─'} {role}{point}  see [{numbers[point.id]}]"
                continue
            shown.add(point.id)
            mark = f"[{numbers[point.id]}] " if point.id in numbers else ""
            text = point_line(point, found, () if down else branches.get(point.id, ()))
            yield f"{stem}{'└─' if last else '├─'} {mark}{role}{text}"
            yield from below(point.id, stem + ("   " if last else "│  "))
        if hidden:
            yield f"{stem}└─ and {hidden:,} more like these: --json has them all"

    yield point_line(found.start, found, () if down else branches.get(found.start.id, ()))
    yield from below(found.start.id, "")


def _order(step: Step, point: Point) -> tuple[str, str, list[tuple[str, str, str | int]]]:
    return step.connection, point.type, [(k, str(type(v)), v) for k, v in sorted(point.values.items())]


def _fewer(steps: Sequence[Step], found: Trace) -> tuple[list[Step], int]:
    """Give the steps to show: all, or of very many those that say something, and the first."""
    if len(steps) <= LINES:
        return list(steps), 0
    odd = {o.point.id for o in found.odd}
    other = "reader" if found.direction == "down" else "input"
    telling = {s for s in steps if getattr(s, other) in odd or not found.points[getattr(s, other)].there}
    kept = set(list(telling)[:LINES]) | set(
        [s for s in steps if s not in telling][: max(LINES // 4, LINES - len(telling))]
    )
    return [s for s in steps if s in kept], len(steps) - len(kept)


def point_line(point: Point, found: Trace, inputs: Sequence[Step] = ()) -> str:
    """Give a point as one line: what it is, its state, how it was made, and how it stands out."""
    words = [str(point), point.state_words]
    if point.id in found.taints:
        words.append(f"!! {found.taints[point.id]}")
    if point.run and point.run != found.start.run and point.state != ROOT:
        words.append(f"run {point.run}")
    if point.recipe and point.state != ROOT:
        words.append(f"recipe {point.recipe[:SHORT]}")
    if point.job:
        words.append(f"job {point.job}")
    if point.sha256:
        words.append(f"sha256 {point.sha256[:SHORT]}")
    if point.path and (point.state == ROOT or point is found.start):
        words.append(f"{point.store}:{point.path}" if point.store else point.path)
    planned = [step for step in inputs if step.connection != COMPONENT]
    absent = [_absence(step, found) for step in planned if not _was_used(step, point, found)]
    if absent:
        words.append(f"planned {len(planned)}, used {len(planned) - len(absent)}: {counted(absent)}")
    words += [str(standing) for standing in found.marks.get(point.id, ()) if standing.stands_out]
    return "  ".join(words)


def _was_used(step: Step, reader: Point, found: Trace) -> bool:
    """Say whether an input was read; what has gone since was, if its reader was made from it."""
    return found.points[step.input].there or (reader.there and step.state == "made")


def _absence(step: Step, found: Trace) -> str:
    if step.state and step.state != "made":
        return f"{step.state}:{step.code}" if step.code else step.state
    return found.points[step.input].state_words


def odd_lines(found: Trace, most: int = 10) -> Iterator[str]:
    """Give what stands out, each with the raw data that it alone goes back to."""
    for odd in found.odd[:most]:
        yield f"stands out: {odd.point}  {'  '.join(map(str, odd.standings))}"
        for root in odd.roots[:most]:
            yield f"    from {root}  {place(root)}"
    if len(found.odd) > most:
        yield f"and {len(found.odd) - most} more stand out: --json has them all"


def place(point: Point) -> str:
    """Give where the bytes of something are."""
    return f"{point.store}:{point.path}" if point.path else "where it lies is not known"
