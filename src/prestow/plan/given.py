"""A plan of quanta that are given, and not matched: what is recorded of them says what they read.

Serves making again what was made before. Nothing is looked for: neither selections, nor relations, nor the
validity of calibrations, nor hooks are asked a second time, since what they said then is on record. Recipes,
names, jobs and the proofs are the planner's own, so what was made otherwise is found.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.errors import Problem
from prestow.model.hashing import canonical_json
from prestow.plan.building import build_plan
from prestow.plan.frames import imply
from prestow.plan.keys import ROW
from prestow.plan.matching.candidates import PAIRS
from prestow.plan.matching.tasks import narrow, planned_of
from prestow.plan.passes import PASSES
from prestow.plan.passes.expand import expand
from prestow.plan.passes.match import match
from prestow.plan.state import State, TaskPart

if TYPE_CHECKING:
    from pathlib import Path

    import pyarrow as pa

    from prestow.pipeline.definition import TaskDefinition
    from prestow.plan.plan import Plan
    from prestow.plan.request import Request

Values = Mapping[str, str | int]

TIMES = ("valid_begin", "valid_end", "known_begin", "known_end")

ANY_TIME = (-(2**62), 2**62)


@dataclass(frozen=True, slots=True)
class GivenDataset:
    """A dataset that exists and that the plan does not make, with where it lies.

    Digests and ids are texts of digits; ``quantum`` and ``receipt`` are empty of what nothing here made.
    """

    id: str
    type: str
    data_id: Values
    run: str
    store: str
    path: str
    size: int
    sha256: str
    content: str
    format: str
    recipe: str = ""
    quantum: str = ""
    receipt: str = ""


@dataclass(frozen=True, slots=True)
class GivenQuantum:
    """A quantum: its task, its data ID, and for each connection the (type, data ID) of what it reads.

    ``recipe`` is the planned recipe that is on record, if one is; the plan is refused if it comes to another.
    """

    task: str
    data_id: Values
    inputs: Mapping[str, tuple[tuple[str, Values], ...]]
    id: str = ""
    recipe: str = ""


@dataclass(frozen=True, slots=True)
class Given:
    """All that a plan is made of.

    Parameters
    ----------
    datasets : sequence of GivenDataset
        What exists; of one type and data ID one.
    quanta : sequence of GivenQuantum
        With all that they read from among the tasks of the pipeline.
    records : mapping of dimension to sequence of mapping
        Records of dimensions; of a value without one nothing is implied.
    binding : mapping or None
        What the run is bound to.
    """

    datasets: Sequence[GivenDataset]
    quanta: Sequence[GivenQuantum]
    records: Mapping[str, Sequence[Mapping[str, Any]]] = field(
        default_factory=dict
    )  # Any: values of a record
    binding: Mapping[str, Any] | None = None


def build_given(request: Request, given: Given, *, beside: Path | None = None) -> Plan:
    """Make the plan of given quanta.

    Raises
    ------
    PlanRefusedError
        PST-P005 if a quantum has another planned recipe than is on record, PST-P006 if the run is bound to
        another pipeline, PST-P001 if something that is read is neither given nor made here.
    """
    source = _Source(request, given)

    def inject(state: State) -> State:
        return _with_quanta(state, given)

    instead: dict[object, Callable[[State], State]] = {expand: _expanded, match: inject}
    passes = tuple(instead.get(one, one) for one in PASSES)
    return build_plan(request, source, beside=beside, passes=passes)


def _expanded(state: State) -> State:
    universe = state.request.universe
    frames = {name: imply(frame, universe, state.records) for name, frame in state.existing.items()}
    return replace(state, existing=frames)


def _with_quanta(state: State, given: Given) -> State:
    rows: dict[tuple[str, str], int] = {}  # of (type, data ID): its row in the frame of its type
    for name in state.existing:
        dimensions = state.request.pipeline.dataset_types[name].dimensions
        frame = state.existing[name]
        if not dimensions:  # one for all: no columns, and so no rows of them
            rows |= {(name, canonical_json({})): 0} if frame.height else {}
            continue
        for row, values in enumerate(frame.select(sorted(dimensions)).iter_rows(named=True)):
            rows[name, canonical_json(values)] = row
    by_task: dict[str, list[GivenQuantum]] = {}
    for quantum in given.quanta:
        by_task.setdefault(quantum.task, []).append(quantum)
    problems: list[Problem] = []
    for task in state.request.pipeline.tasks:
        state = _with_task(state, task, by_task.get(task.label, ()), rows, problems)
    return narrow(replace(state, problems=(*state.problems, *problems)))


def _with_task(
    state: State,
    task: TaskDefinition,
    quanta: Sequence[GivenQuantum],
    rows: dict[tuple[str, str], int],
    problems: list[Problem],
) -> State:
    universe = state.request.universe
    data = {d: [q.data_id[d] for q in quanta] for d in task.dimensions}
    kinds = {d: state.kinds[d] for d in task.dimensions}
    frame = pl.DataFrame(data, schema=kinds) if kinds else pl.DataFrame({"_": [None] * len(quanta)})
    frame = frame.with_row_index("_given").sort(*task.dimensions, "_given")
    order = frame["_given"].to_list()
    wide = imply(frame.drop("_given", "_", strict=False), universe, state.records)
    numbers = pl.Series("_row", range(len(quanta)), ROW)
    wide = wide.insert_column(0, numbers) if wide.width else pl.DataFrame([numbers])
    planned, more = planned_of(state, task, wide)
    problems += more
    inputs: dict[str, pl.DataFrame] = {}
    ordered = [quanta[i] for i in order]
    for connection in task.inputs:
        pairs: list[tuple[int, int]] = []
        # one by one: what is made again is what somebody asked for, dataset by dataset
        for row, quantum in enumerate(ordered):
            for kind, values in quantum.inputs.get(connection.name, ()):
                dataset = rows.get((kind, canonical_json(dict(values))))
                if dataset is None:
                    what = f"{kind}{canonical_json(dict(values))}, which {task.label} reads, is not on record"
                    problems.append(
                        Problem("PST-P001", what, f"task {task.label}", "bring what it came from")
                    )
                else:
                    pairs.append((row, dataset))
        inputs[connection.name] = pl.DataFrame(sorted(pairs), schema=PAIRS, orient="row")
    for kind, made in planned.items():
        dimensions = sorted(state.request.pipeline.dataset_types[kind].dimensions)
        if set(dimensions) <= set(made.columns):
            for row, values in enumerate(
                made.select(dimensions).iter_rows(named=True) if dimensions else [{}] * made.height
            ):
                rows[kind, canonical_json(values)] = row
    return replace(
        state,
        parts={**state.parts, task.label: TaskPart(wide, inputs)},
        planned={**state.planned, **planned},
    )


class _Source:
    """What is given, asked as a registry is."""

    def __init__(self, request: Request, given: Given) -> None:
        self._request = request
        self._given = given

    def datasets(
        self,
        types: Sequence[str],
        collections: Sequence[str],
        *,
        first: bool = True,  # noqa: ARG002 - as the planner asks
        coded: bool = False,  # noqa: ARG002
        where: object = None,  # noqa: ARG002
        unknown: bool = False,  # noqa: ARG002
    ) -> pa.Table:
        """Give the datasets of some types; of the run itself, whose names are asked, none."""
        own = tuple(collections) == (self._request.run,)
        return self._table([d for d in self._given.datasets if d.type in types and not own], types)

    def calibrations(
        self,
        types: Sequence[str],
        collections: Sequence[str],  # noqa: ARG002
        as_of: int | None,  # noqa: ARG002
    ) -> pa.Table:
        """Give calibrations: which of them each quantum reads is on record, so their validity is not asked."""
        import pyarrow as pa

        table = self._table([d for d in self._given.datasets if d.type in types], types)
        count = table.num_rows
        table = table.append_column("collection", pa.array([""] * count, pa.string()))
        table = table.append_column("rank", pa.array([0] * count, pa.int64()))
        for position, name in enumerate(TIMES):
            table = table.append_column(name, pa.array([ANY_TIME[position % 2]] * count, pa.int64()))
        return table

    def _table(self, found: Sequence[GivenDataset], types: Collection[str]) -> pa.Table:
        import pyarrow as pa

        known = self._request.pipeline.dataset_types
        dimensions = sorted({d for name in types if name in known for d in known[name].dimensions})
        universe = self._request.universe
        columns: dict[str, Any] = {
            d: pa.array(
                [one.data_id.get(d) for one in found],
                pa.string() if universe.dimensions[d].type == "str" else pa.int64(),
            )
            for d in dimensions
        }
        for name in ("type", "run", "store", "path", "format", "receipt"):
            columns[name] = pa.array([getattr(one, name) or None for one in found], pa.string())
        for name in ("id", "sha256", "content", "recipe", "quantum"):
            octets = [
                bytes.fromhex(text.replace("-", "")) if (text := getattr(one, name)) else None
                for one in found
            ]
            columns[name] = pa.array(octets, pa.binary())
        columns["size"] = pa.array([one.size for one in found], pa.int64())
        return pa.table(columns)

    def dimension_records(self, element: str) -> pa.Table:
        """Give the records of a dimension, and of each value that has none an empty one."""
        import pyarrow as pa

        universe = self._request.universe
        dimension = universe.dimensions[element]
        keys = universe.close([element])
        kinds = {d: universe.dimensions[d].type for d in (*keys, *dimension.implies)} | dict(
            dimension.metadata
        )
        rows = [dict(row) for row in self._given.records.get(element, ())]
        there = {tuple(row[k] for k in keys) for row in rows}
        named = [*(d.data_id for d in self._given.datasets), *(q.data_id for q in self._given.quanta)]
        for values in named:
            if set(keys) <= set(values) and tuple(values[k] for k in keys) not in there:
                there.add(tuple(values[k] for k in keys))
                rows.append({k: values[k] for k in keys})
        types = {
            "str": pa.string(),
            "int": pa.int64(),
            "float": pa.float64(),
            "bool": pa.bool_(),
            "time": pa.int64(),
        }
        return pa.table(
            {name: pa.array([row.get(name) for row in rows], types[kind]) for name, kind in kinds.items()}
        )

    def relation(self, name: str, *, coded: bool = False) -> pa.Table:  # noqa: ARG002 - as the planner asks
        """Give no rows: nothing is linked anew."""
        import pyarrow as pa

        relation = self._request.universe.relations[name]
        return pa.table({column: pa.array([], pa.null()) for column in relation.metadata})

    def quanta(self, run: str) -> pa.Table:  # noqa: ARG002 - there is one
        """Give the recipes that are on record, so that the planner refuses others."""
        import pyarrow as pa

        known = [q for q in self._given.quanta if q.id and q.recipe]
        return pa.table(
            {
                "id": pa.array([bytes.fromhex(q.id.replace("-", "")) for q in known], pa.binary()),
                "planned_recipe": pa.array([bytes.fromhex(q.recipe) for q in known], pa.binary()),
            }
        )

    def binding(self, run: str) -> Mapping[str, Any] | None:  # noqa: ARG002 - there is one; Any: facts of a record
        """Give what the run is bound to."""
        return self._given.binding
