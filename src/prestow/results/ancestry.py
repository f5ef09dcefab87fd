"""A dataset and all that it goes back to, as it is recorded: enough to bring it elsewhere, and to make it again.

Level by level: of each level one question to the registry, and of each quantum its receipt. What has no receipt
is asked of the plan. Reads only.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from prestow.commit import receipt_name
from prestow.manifest import Receipt
from prestow.model.hashing import quantum_id
from prestow.registry.following import plain_rows
from prestow.results.lineage import ROOT, Point
from prestow.results.plan_rows import raw

if TYPE_CHECKING:
    from prestow.pipeline.definition import Pipeline
    from prestow.results.recorded import Recorded

SCHEMA = "prestow.ancestry/1"


@dataclass(frozen=True, slots=True)
class KnownDataset:
    """A dataset of an ancestry.

    Parameters
    ----------
    id, type, run : str
        What it is.
    data_id : mapping
        Plain values.
    quantum : str
        Who makes it; empty of raw data and others' files.
    state, code : str
        As of `prestow.results.lineage.Point`: ``root``, ``made``, ``declined``, ``lost``, ``deleted`` ….
    store, path, format, sha256, content : str
        Where its bytes are, or were, and their digests, as far as they are known.
    size : int or None
        Bytes.
    recipe : str
        The actual one.
    level : int
        How many steps from what was asked for.
    beside : bool
        Nothing here comes from it: it is another output of a quantum that made an ancestor.
    """

    id: str
    type: str
    data_id: Mapping[str, str | int]
    run: str
    quantum: str = ""
    state: str = ""
    code: str = ""
    store: str = ""
    path: str = ""
    format: str = ""
    sha256: str = ""
    content: str = ""
    size: int | None = None
    recipe: str = ""
    level: int = 0
    beside: bool = False

    @property
    def point(self) -> Point:
        """It, as `prestow.results.lineage` has it."""
        return Point(
            self.id,
            self.type,
            json.dumps(dict(self.data_id)),
            self.run,
            self.state,
            self.code,
            quantum=self.quantum,
        )

    def __str__(self) -> str:
        return str(self.point)


@dataclass(frozen=True, slots=True)
class KnownQuantum:
    """A quantum of an ancestry.

    Parameters
    ----------
    inputs : tuple of (connection, dataset id)
        What it was planned to read.
    outputs : tuple of str
        Ids of the datasets that it makes.
    recipe : str
        The planned one, where it is on record.
    receipt : str
        Its receipt as text; empty if it is not settled.
    """

    id: str
    task: str
    run: str
    data_id: Mapping[str, str | int]
    state: str
    job: str = ""
    attempt: str = ""
    inputs: tuple[tuple[str, str], ...] = ()
    outputs: tuple[str, ...] = ()
    recipe: str = ""
    receipt: str = ""

    @property
    def name(self) -> str:
        """The name of its receipt."""
        return receipt_name(self.run, self.task, self.id)

    @property
    def paper(self) -> Receipt | None:
        """Its receipt, read."""
        return Receipt.from_json(self.receipt) if self.receipt else None

    @property
    def on_record(self) -> bool:
        """Whether a receipt or a plan says what it reads, or why it was not run."""
        return bool(self.receipt or self.recipe or self.inputs or self.state)


@dataclass(slots=True)
class Ancestry:
    """Datasets and quanta by id, and what was asked for."""

    asked: list[str] = field(default_factory=list)
    datasets: dict[str, KnownDataset] = field(default_factory=dict)
    quanta: dict[str, KnownQuantum] = field(default_factory=dict)

    def join(self, other: Ancestry) -> None:
        """Take another one in; of a dataset that both have the nearer level counts."""
        self.asked += [one for one in other.asked if one not in self.asked]
        for key, theirs in other.datasets.items():
            mine = self.datasets.get(key, theirs)
            level, beside = min(theirs.level, mine.level), theirs.beside and mine.beside
            self.datasets[key] = replace(theirs, level=level, beside=beside)
        self.quanta.update(other.quanta)

    def runs(self) -> tuple[str, ...]:
        """Give the runs of its quanta, each after those that it reads from; else by name."""
        reads: dict[str, set[str]] = {q.run: set() for q in self.quanta.values()}
        for quantum in self.quanta.values():
            for _, key in quantum.inputs:
                maker = self.quanta.get(self.datasets[key].quantum)
                if maker is not None and maker.run != quantum.run:
                    reads[quantum.run].add(maker.run)
        found: list[str] = []
        while waiting := sorted(reads.keys() - set(found)):
            ready = [run for run in waiting if reads[run] <= set(found)]
            found += ready or waiting
        return tuple(found)

    def blind(self) -> dict[str, KnownDataset]:
        """Give the quanta that cannot be planned anew, and of what each goes back to nothing says how it was made.

        Examples
        --------
        >>> known = Ancestry(
        ...     [],
        ...     {"i": KnownDataset("i", "isr", {}, "demo", "I"), "c": KnownDataset("c", "calexp", {}, "demo", "C")},
        ...     {"I": KnownQuantum("I", "isr", "demo", {}, "", outputs=("i",)),
        ...      "C": KnownQuantum("C", "calibrate", "demo", {}, "made", inputs=(("isr", "i"),), outputs=("c",))},
        ... )
        >>> {key: str(one) for key, one in known.blind().items()}
        {'I': 'isr{}', 'C': 'isr{}'}
        """
        readers: dict[str, list[str]] = {}
        for key, quantum in self.quanta.items():
            for _, one in quantum.inputs:
                readers.setdefault(self.datasets[one].quantum, []).append(key)
        found: dict[str, KnownDataset] = {}
        for made in self.datasets.values():
            if made.quantum and not self.quanta[made.quantum].on_record and not made.beside:
                found.setdefault(made.quantum, made)
        todo = list(found)
        while todo:
            key = todo.pop()
            for reader in readers.get(key, ()):
                if reader not in found:
                    found[reader] = found[key]
                    todo.append(reader)
        return found

    def to_plain(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as JSON has it."""
        return {
            "schema": SCHEMA,
            "asked": list(self.asked),
            "datasets": [asdict(one) for one in self.datasets.values()],
            "quanta": [asdict(one) for one in self.quanta.values()],
        }

    @classmethod
    def from_plain(cls, plain: Mapping[str, Any]) -> Ancestry:
        """Read what `to_plain` gave."""
        datasets = [KnownDataset(**one) for one in plain["datasets"]]
        quanta = [
            KnownQuantum(
                **{**one, "inputs": tuple((c, i) for c, i in one["inputs"]), "outputs": tuple(one["outputs"])}
            )
            for one in plain["quanta"]
        ]
        return cls(list(plain["asked"]), {d.id: d for d in datasets}, {q.id: q for q in quanta})


def ancestry_of(
    recorded: Recorded,
    starts: Iterable[Point],
    pipelines: Mapping[str, Pipeline],
    by_plans: Callable[[str], Iterable[Recorded]] = lambda _: (),
) -> Ancestry:
    """Follow datasets up to the raw data.

    Parameters
    ----------
    by_plans : callable
        Gives what is recorded by each plan of a run: of what was not made only a plan knows what it was to read.
    pipelines : mapping of run to Pipeline
        Who makes a dataset that nothing but its name is left of.
    """
    found = Ancestry([point.id for point in starts])
    walker = _Walker(recorded, pipelines, found, by_plans)
    level, points = 0, {point.id: point for point in starts}
    while points:
        points = walker.step(points, level)
        level += 1
    walker.place_roots()
    return found


class _Walker:
    def __init__(
        self,
        recorded: Recorded,
        pipelines: Mapping[str, Pipeline],
        found: Ancestry,
        by_plans: Callable[[str], Iterable[Recorded]],
    ) -> None:
        self._recorded = recorded
        self._pipelines = pipelines
        self._found = found
        self._by_plans = by_plans

    def step(self, points: Mapping[str, Point], level: int) -> dict[str, Point]:
        """Take one level in, and give the next."""
        found, recorded = self._found, self._recorded
        unsettled: list[Point] = []
        sealed: list[Point] = []
        told: list[Point] = []
        next_ids: dict[str, None] = {}
        for point in map(self._with_maker, points.values()):
            mine = found.datasets.get(point.id)
            if mine is not None and not mine.beside:
                continue
            if not point.quantum:
                found.datasets[point.id] = _of_point(point, level)
                continue
            if point.quantum in found.quanta:
                known = found.datasets.get(point.id) or _of_point(point, level)
                found.datasets[point.id] = replace(known, level=min(level, known.level), beside=False)
                continue
            receipt = recorded.receipt_of(point)
            if receipt is None:
                unsettled.append(point)
                continue
            quantum = _of_receipt(receipt)
            found.quanta[quantum.id] = quantum
            if not quantum.inputs:  # sealed: it says why, and not what it would have read
                sealed.append(point)
            for one in self._outputs(receipt, point, level):
                found.datasets[one.id] = one
            next_ids.update(dict.fromkeys(key for _, key in quantum.inputs))
            told += [
                Point(
                    i.id,
                    i.type,
                    json.dumps(dict(i.data_id)),
                    i.run,
                    "unknown" if i.state == "made" else i.state,
                    i.code or "",
                )
                for i in receipt.inputs
            ]
        for key, inputs in self._planned(sealed).items():
            found.quanta[key] = replace(found.quanta[key], inputs=inputs)
            next_ids.update(dict.fromkeys(i for _, i in inputs))
        if unsettled:
            more = self._unsettled(unsettled, level)
            next_ids.update(dict.fromkeys(more))
        for recorded_ in self._others((*sealed, *unsettled)):
            told += [p for p in recorded_.points(list(next_ids)).values() if p.type]
        new = [key for key in next_ids if key not in found.datasets or found.datasets[key].beside]
        return recorded.points(new, told) if new else {}

    def _others(self, points: Iterable[Point]) -> Iterator[Recorded]:
        for run in {point.run for point in points}:
            yield from self._by_plans(run)

    def _with_maker(self, point: Point) -> Point:
        """Give a point with the quantum that makes it, by the pipeline of its run where nothing else tells."""
        if point.quantum or point.state == ROOT or point.run not in self._pipelines:
            return point
        pipeline = self._pipelines[point.run]
        task = next(
            (
                t
                for t in pipeline.tasks
                if point.type in {o.type for o in t.outputs} | {f"{t.label}_{p}" for p in t.prototypes}
            ),
            None,
        )
        if task is None or not set(task.dimensions) <= point.values.keys():
            return point
        key = quantum_id(task.label, point.run, {d: point.values[d] for d in task.dimensions})
        return replace(point, task=task.label, quantum=key, receipt=receipt_name(point.run, task.label, key))

    def _outputs(self, receipt: Receipt, point: Point, level: int) -> Iterator[KnownDataset]:
        """Give what a settled quantum makes: of one that made nothing what is asked about alone."""
        gone = self._recorded.deleted
        for output in receipt.outputs:
            state = output.state if receipt.state == "made" else receipt.state
            state = "deleted" if state == "made" and output.id in gone else state
            yield KnownDataset(
                output.id, output.type, dict(output.data_id), receipt.run, receipt.quantum, state, receipt.code or "",
                self._recorded.name, output.path, output.format, output.sha256 or "", output.content or "", output.size,
                receipt.actual_recipe or "", level, beside=output.id != point.id,
            )  # fmt: skip
        if point.id not in {output.id for output in receipt.outputs}:
            state = receipt.state if receipt.state != "made" else "declined"
            yield replace(
                _of_point(point, level), quantum=receipt.quantum, state=state, code=receipt.code or ""
            )

    def _unsettled(self, points: list[Point], level: int) -> list[str]:
        """Take in what has no receipt, as a plan has it; give the ids of what it reads."""
        inputs = self._planned(points)
        for point in points:
            recorded = next(
                (r for r, found in self._asked(point.run) if point.id in found([point.id])), self._recorded
            )
            ids = recorded.outputs_of(point)
            outputs = recorded.points(ids)
            self._found.quanta[point.quantum] = KnownQuantum(
                point.quantum, point.task, point.run, point.values, "", point.job,
                inputs=inputs.get(point.quantum, ()), outputs=tuple(ids), recipe=point.recipe,
            )  # fmt: skip
            for one in {**outputs, point.id: point}.values():
                known = replace(_of_point(one, level), quantum=point.quantum, beside=one.id != point.id)
                planned = known.state == "unknown" and self._found.quanta[point.quantum].on_record
                self._found.datasets[one.id] = replace(known, state="pending" if planned else known.state)
        return [key for found in inputs.values() for _, key in found]

    def _asked(self, run: str) -> Iterator[tuple[Recorded, Callable[[list[str]], dict[str, Point]]]]:
        for recorded in (self._recorded, *self._by_plans(run)):

            def known(ids: list[str], recorded: Recorded = recorded) -> dict[str, Point]:
                return {key: p for key, p in recorded.points(ids).items() if p.by in ("plan", "receipt")}

            yield recorded, known

    def _planned(self, points: Iterable[Point]) -> dict[str, tuple[tuple[str, str], ...]]:
        """Give, by quantum, what some of them were to read, as the plans of their runs have it."""
        found: dict[str, tuple[tuple[str, str], ...]] = {}
        by_run: dict[str, set[str]] = {}
        for point in points:
            by_run.setdefault(point.run, set()).add(point.quantum)
        for run, quanta in by_run.items():
            for recorded in (self._recorded, *self._by_plans(run)):
                rest = quanta - found.keys()
                if not rest:
                    break
                for row in recorded.planned_steps(rest):
                    found[row["quantum"]] = (
                        *found.get(row["quantum"], ()),
                        (row["connection"], row["input"]),
                    )
        return found

    def place_roots(self) -> None:
        """Say where what nothing here made lies, and what its bytes are: one question for all."""
        registry = self._recorded.registry
        roots = [one.id for one in self._found.datasets.values() if not one.quantum]
        if registry is None or not roots:
            return
        for row in plain_rows(registry.following.places([raw(key) for key in roots])):
            one = self._found.datasets[row["id"]]
            if one.size is None:
                self._found.datasets[row["id"]] = replace(
                    one, store=row["store"], path=row["path"], size=row["size"], sha256=row["sha256"],
                    content=row["content"] or "", format=row["format"],
                )  # fmt: skip


def _of_point(point: Point, level: int) -> KnownDataset:
    return KnownDataset(
        point.id, point.type, point.values, point.run, point.quantum, point.state, point.code, point.store, point.path,
        point.format, point.sha256, recipe=point.recipe, level=level,
    )  # fmt: skip


def _of_receipt(receipt: Receipt) -> KnownQuantum:
    return KnownQuantum(
        receipt.quantum, receipt.task, receipt.run, dict(receipt.data_id), receipt.state, receipt.job, receipt.attempt or "",
        tuple((i.connection, i.id) for i in receipt.inputs), tuple(o.id for o in receipt.outputs), receipt.planned_recipe,
        receipt.to_json(),
    )  # fmt: skip
