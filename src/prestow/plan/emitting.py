"""The tables of a plan, made in pieces in the plan's order: texts live no longer than their piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.naming import identity, octets
from prestow.naming.templates import Template, compile_template
from prestow.pipeline.definition import Pipeline, TaskDefinition
from prestow.plan.grouping.names import job_names
from prestow.plan.naming_proof import NameProof
from prestow.plan.numbers import CHUNK, Numbering, chunks, number
from prestow.plan.ranges import places_of
from prestow.plan.spool import Spool
from prestow.plan.state import State, outputs_of
from prestow.plan.texts import texts_of

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from prestow.naming.octets import Octets

    Rows = slice | npt.NDArray[np.uint32]

_OLDEST = pl.CompatLevel.oldest()


@dataclass(frozen=True)
class _Context:
    """What is the same for every piece."""

    state: State
    numbering: Numbering
    spool: Spool
    proof: NameProof
    types: tuple[str, ...]
    labels: tuple[str, ...]
    connections: tuple[str, ...]
    quantum_dimensions: tuple[str, ...]
    dataset_dimensions: tuple[str, ...]
    templates: Mapping[str, Template]
    numbers: dict[str, npt.NDArray[np.uint32]] = field(default_factory=dict)

    def codes(self, names: tuple[str, ...], places: npt.NDArray[np.intp] | int, rows: int = 0) -> pa.Array:
        """Give a column of names: by their places among all, or one for all rows."""
        import pyarrow as pa

        index = np.full(rows, places, np.int16) if isinstance(places, int) else places.astype(np.int16)
        return pa.DictionaryArray.from_arrays(pa.array(index), pa.array(names, pa.string()))

    def dataset_numbers(self, dataset_type: str) -> npt.NDArray[np.uint32]:
        """Give the numbers of all datasets of a type, kept for the next piece."""
        if dataset_type not in self.numbers:
            self.numbers[dataset_type] = self.numbering.datasets(self.state, dataset_type)
        return self.numbers[dataset_type]


def emit(state: State, spool: Spool, proof: NameProof) -> None:
    """Write every table of a plan into a spool, and show every name to the proof."""
    assert state.grouping is not None, "the pass 'group' has run"
    pipeline = state.request.pipeline
    kinds = pipeline.dataset_types
    context = _Context(
        state,
        number(state, state.grouping),
        spool,
        proof,
        types=tuple(sorted(kinds)),
        labels=tuple(sorted({t.label for t in pipeline.tasks} | {c.name for c in pipeline.clusters})),
        connections=_connections(pipeline),
        quantum_dimensions=tuple(sorted({d for t in pipeline.tasks for d in t.dimensions})),
        dataset_dimensions=tuple(sorted({d for kind in kinds.values() for d in kind.dimensions})),
        templates={
            o.type: compile_template(
                kinds[o.type].template, kinds[o.type].dimensions, state.request.universe, dataset_type=o.type
            )
            for t in pipeline.tasks
            for o in outputs_of(t)
        },
    )
    _jobs(context)
    _existing(context)
    _quanta(context)
    _left_out(context)


def _connections(pipeline: Pipeline) -> tuple[str, ...]:
    """Give the names of all connections, sorted."""
    names = {c.name for task in pipeline.tasks for c in task.inputs}
    return tuple(sorted(names | {o.name for task in pipeline.tasks for o in outputs_of(task)}))


# ---- jobs


def _jobs(context: _Context) -> None:
    import pyarrow as pa

    grouping = context.state.grouping
    assert grouping is not None, "the pass 'group' has run"
    jobs, edges = grouping.jobs, grouping.edges
    policy = [
        name for name in jobs.columns if name not in ("job", "label", "depth", "first", "count", "ordinal")
    ]
    places = np.array([context.labels.index(label.name) for label in grouping.labels] or [0])
    for start in range(0, max(jobs.height, 1), CHUNK):
        piece = jobs.slice(start, CHUNK)
        names = job_names(context.state, grouping, start, start + piece.height)
        columns: dict[str, Any] = {  # Any: Arrow arrays
            "job": pa.array(np.arange(start, start + piece.height, dtype=np.uint32)),
            "name": names.to_arrow(compat_level=_OLDEST),
            "label": context.codes(context.labels, places[piece["label"].to_numpy()]),
        }
        for name in ("depth", "first", "count", *policy):
            columns[name] = piece[name].to_arrow(compat_level=_OLDEST)
        context.spool.write("jobs", pa.table(columns))
    for start in range(0, max(edges.height, 1), 4 * CHUNK):
        piece = edges.slice(start, 4 * CHUNK).select("parent", "child", "soft")
        context.spool.write("job_edges", piece.to_arrow(compat_level=_OLDEST))


# ---- existing datasets


def _existing(context: _Context) -> None:
    order, state = context.numbering.order, context.state
    names = sorted(state.existing)
    for start in range(0, max(len(order), 1), CHUNK):
        kind, row = order[start : start + CHUNK].T
        parts, places, at = [], [], []
        for i, name in enumerate(names):
            mine = np.flatnonzero(kind == i)
            if len(mine):
                frame = state.existing[name][row[mine]]
                numbers = (mine + start).astype(np.uint32)
                parts.append(_existing_rows(context, name, frame, numbers))
                places.append(_locations(frame, numbers))
                at.append(mine)
        if not parts:
            empty = pl.DataFrame(schema={"_recipe": pl.Binary, "_id": pl.Binary})
            parts, places = [_no_datasets(context, empty)], [_locations(empty, np.zeros(0, np.uint32))]
            at = [np.zeros(0, np.intp)]
        context.spool.write("datasets", _joined(parts, at))
        context.spool.write("locations", _joined(places, at))


def _existing_rows(
    context: _Context, name: str, frame: pl.DataFrame, numbers: npt.NDArray[np.uint32]
) -> pa.Table:
    import pyarrow as pa

    kind = context.state.request.pipeline.dataset_types[name]
    rows = frame.height
    data_id = _data_ids(frame, kind.dimensions)
    form = frame.select(pl.col("_format").cast(pl.String).fill_null(kind.format)).to_series()
    facts = {
        "dataset": pa.array(numbers),
        "type": context.codes(context.types, context.types.index(name), rows),
        "data_id": data_id,
        "id": octets.to_arrow(octets.from_binary(frame["_id"])),
        "run": frame["_run"].cast(pl.String).to_arrow(compat_level=_OLDEST),
        "planned": pa.array(np.zeros(rows, np.bool_)),
        "root": frame["_root"].to_arrow(compat_level=_OLDEST),
        "format": form.to_arrow(compat_level=_OLDEST),
        "recipe": octets.to_arrow(octets.from_binary(frame["_recipe"])),
        "path": pa.nulls(rows, pa.large_string()),
        "producer": pa.nulls(rows, pa.uint32()),
    }
    return _with_dimensions(facts, frame, kind.dimensions, context.dataset_dimensions, context.state)


def _no_datasets(context: _Context, empty: pl.DataFrame) -> pa.Table:
    """Give the table of datasets without a row, where a plan reads nothing that exists."""
    import pyarrow as pa

    octet = octets.to_arrow(octets.from_binary(empty["_id"]))
    text, number_ = pa.array([], pa.large_string()), pa.array([], pa.uint32())
    truth = pa.array([], pa.bool_())
    facts = {
        "dataset": number_, "type": context.codes(context.types, 0, 0), "data_id": text, "id": octet, "run": text,
        "planned": truth, "root": truth, "format": text, "recipe": octet, "path": text, "producer": number_,
    }  # fmt: skip
    return _with_dimensions(facts, empty, (), context.dataset_dimensions, context.state)


def _locations(frame: pl.DataFrame, numbers: npt.NDArray[np.uint32]) -> pa.Table:
    text = {"store": pl.String, "path": pl.String, "size": pl.Int64, "receipt": pl.String}
    digits = ("sha256", "content")
    columns = [
        pl.Series("dataset", numbers),
        *(_column(frame, name, kind) for name, kind in list(text.items())[:3]),
        *(_hex(frame, name) for name in digits),
        _column(frame, "receipt", pl.String),
        _column(frame, "quantum", pl.Binary),
    ]
    table = pl.DataFrame(columns).with_columns(identity.uuid_text(pl.col("quantum")))
    return table.to_arrow(compat_level=_OLDEST)


def _column(frame: pl.DataFrame, name: str, kind: type[pl.DataType]) -> pl.Series:
    if f"_{name}" not in frame.columns:
        return pl.Series(name, [None] * frame.height, kind)
    return frame[f"_{name}"].cast(kind).alias(name)


def _hex(frame: pl.DataFrame, name: str) -> pl.Series:
    values = _column(frame, name, pl.Binary)
    return values.bin.encode("hex")


# ---- quanta, and what they read and make


def _quanta(context: _Context) -> None:
    numbering, tasks = context.numbering, context.state.request.pipeline.tasks
    bounds = list(chunks(context.state, numbering)) or [(0, 0)]
    for start, stop in bounds:
        task, row = numbering.task[start:stop], numbering.row[start:stop]
        present = np.flatnonzero(np.bincount(task)).tolist() or [0]
        made = [
            _Piece.of(context, tasks[i], np.flatnonzero(task == i).astype(np.uint32), row, start)
            for i in present
        ]
        context.spool.write("quanta", _joined([piece.quanta() for piece in made], [p.at for p in made]))
        outputs = [o for piece in made for o in piece.outputs()]
        at = [place - (outputs_start(numbering, start)) for _, _, place in outputs]
        context.spool.write("datasets", _joined([o[0] for o in outputs], at), logical="names")
        context.spool.write("outputs", _joined([o[1] for o in outputs], at))
        context.spool.write("inputs", _inputs(context, made, start))


def outputs_start(numbering: Numbering, start: int) -> int:
    """Give the number of the first output of a quantum, or where it would stand."""
    return int(numbering.first_output[start]) if start < len(numbering.first_output) else len(numbering.order)


@dataclass(frozen=True, slots=True)
class _Piece:
    """The quanta of one task in a piece: ``at`` are their places in it, ``rows`` those of the task."""

    context: _Context
    task: TaskDefinition
    at: npt.NDArray[np.uint32]
    rows: Rows
    start: int
    frame: pl.DataFrame
    recipes: Octets
    texts: pl.DataFrame

    @classmethod
    def of(
        cls,
        context: _Context,
        task: TaskDefinition,
        at: npt.NDArray[np.uint32],
        row: npt.NDArray[np.uint32],
        start: int,
    ) -> _Piece:
        part, chosen = context.state.parts[task.label], row[at]
        growing = len(chosen) and (np.diff(chosen) == 1).all()
        rows: Rows = slice(int(chosen[0]), int(chosen[-1]) + 1) if growing else chosen
        frame = part.quanta[rows]
        assert part.recipes is not None, "the pass 'recipe' has run"
        texts = _texts(context, task, frame, rows)
        return cls(context, task, at, rows, start, frame, part.recipes[rows], texts)

    def quanta(self) -> pa.Table:
        import pyarrow as pa

        context, rows = self.context, len(self.at)
        ids = octets.from_uuid_text(self.texts["quantum"])
        context.proof.add_quanta(self.task, self.frame, ids, self.recipes)
        facts = {
            "quantum": pa.array(self.at + np.uint32(self.start)),
            "task": context.codes(context.labels, context.labels.index(self.task.label), rows),
            "data_id": self.texts["data_id"].to_arrow(compat_level=_OLDEST),
            "id": octets.to_arrow(ids),
            "recipe": octets.to_arrow(self.recipes),
            "job": pa.array(context.numbering.job[self.at + np.uint32(self.start)]),
        }
        return _with_dimensions(
            facts, self.frame, self.task.dimensions, context.quantum_dimensions, context.state
        )

    def outputs(self) -> list[tuple[pa.Table, pa.Table, npt.NDArray[np.intp]]]:
        """Give for each output its datasets, its rows of ``outputs``, and their numbers."""
        import pyarrow as pa

        context, request = self.context, self.context.state.request
        quanta = self.at + np.uint32(self.start)
        first = context.numbering.first_output[quanta]
        rows = len(self.at)
        found = []
        for i, output in enumerate(outputs_of(self.task)):
            kind = request.pipeline.dataset_types[output.type]
            numbers = first + np.uint32(i)
            frame = context.state.planned[output.type][self.rows]
            ids, paths = octets.from_uuid_text(self.texts[f"{i}/id"]), self.texts[f"{i}/path"]
            context.proof.add_names(kind, frame, paths, ids)
            named = "data_id" if kind.dimensions == self.task.dimensions else f"{i}/data_id"
            facts = {
                "dataset": pa.array(numbers),
                "type": context.codes(context.types, context.types.index(kind.name), rows),
                "data_id": self.texts[named].to_arrow(compat_level=_OLDEST),
                "id": octets.to_arrow(ids),
                "run": _repeated(request.run, rows),
                "planned": pa.array(np.ones(rows, np.bool_)),
                "root": pa.array(np.zeros(rows, np.bool_)),
                "format": _repeated(kind.format, rows),
                "recipe": octets.to_arrow(self.recipes),
                "path": paths.to_arrow(compat_level=_OLDEST),
                "producer": pa.array(quanta),
            }
            datasets = _with_dimensions(
                facts, frame, kind.dimensions, context.dataset_dimensions, context.state
            )
            writes = pa.table(
                {
                    "quantum": pa.array(quanta),
                    "connection": context.codes(
                        context.connections, context.connections.index(output.name), rows
                    ),
                    "dataset": pa.array(numbers),
                    "optional": pa.array(np.full(rows, output.optional)),
                }
            )
            found.append((datasets, writes, numbers.astype(np.intp)))
        return found

    def reads(self) -> list[npt.NDArray[np.uint64]]:
        """Give the pairs that each connection reads, as one number: quantum, connection, dataset."""
        state = self.context.state
        found = []
        for position, connection in enumerate(self.task.inputs):
            pairs = state.parts[self.task.label].inputs[connection.name]
            quantum, dataset = _of_rows(pairs, self.rows)
            place = self.context.numbering.quanta[self.task.label][quantum] - np.uint32(self.start)
            key = place.astype(np.uint64)
            key <<= np.uint64(40)
            key |= np.uint64(position << 32)
            key |= self.context.dataset_numbers(connection.type)[dataset]
            found.append(key)
        return found


def _texts(context: _Context, task: TaskDefinition, frame: pl.DataFrame, rows: Rows) -> pl.DataFrame:
    """Give all texts of quanta and of what they make, in one go: a number is turned into text once."""
    request = context.state.request
    wide = frame
    wanted = {
        "data_id": identity.data_id_json(task.dimensions, frame.schema),
        "quantum": identity.quantum_uuids(task.label, request.run, task.dimensions),
    }
    for i, output in enumerate(outputs_of(task)):
        kind, made = request.pipeline.dataset_types[output.type], context.state.planned[output.type]
        more = [name for name in made.columns if name not in wide.columns]
        wide = wide.with_columns(made.select(more)[rows]) if more else wide
        wanted[f"{i}/id"] = identity.dataset_uuids(kind.name, request.run, kind.dimensions)
        wanted[f"{i}/path"] = context.templates[kind.name].column(request.run)
        if kind.dimensions != task.dimensions:
            wanted[f"{i}/data_id"] = identity.data_id_json(kind.dimensions, wide.schema)
    whole = [name for name, kind in wide.schema.items() if kind.is_integer()]
    wide = wide.with_columns(pl.col(name).cast(pl.String) for name in whole)
    lone = {name: text for name, text in wanted.items() if not text.meta.root_names()}
    found = wide.select(text.alias(name) for name, text in wanted.items() if name not in lone)
    return pl.DataFrame([*found, *(texts_of(frame, text).alias(name) for name, text in lone.items())])


def _of_rows(pairs: pl.DataFrame, rows: Rows) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Give the pairs of some quanta; pairs stand by quantum."""
    quantum, dataset = pairs["quantum"].to_numpy(), pairs["dataset"].to_numpy()
    if isinstance(rows, slice):
        low, high = np.searchsorted(quantum, [rows.start, rows.stop])
        return quantum[low:high], dataset[low:high]
    at = places_of(quantum, rows)
    return quantum[at], dataset[at]


def _inputs(context: _Context, made: Sequence[_Piece], start: int) -> pa.Table:
    """Give what the quanta of a piece read: by quantum, then connection, then dataset."""
    import pyarrow as pa

    keys = [key for piece in made for key in piece.reads()]
    key = np.concatenate(keys) if keys else np.zeros(0, np.uint64)
    key.sort()
    place = (key >> np.uint64(40)).astype(np.uint32)
    position = (key >> np.uint64(32)).astype(np.uint8)
    most = max((len(piece.task.inputs) for piece in made), default=0)
    names = np.zeros((len(made), max(most, 1)), np.int16)
    for i, piece in enumerate(made):
        for j, connection in enumerate(piece.task.inputs):
            names[i, j] = context.connections.index(connection.name)
    if len(made) == 1:
        name_of = names[0][position]
    else:
        task_of = np.zeros(sum(len(piece.at) for piece in made), np.uint16)
        for i, piece in enumerate(made):
            task_of[piece.at] = i
        name_of = names[task_of[place], position]
    place += np.uint32(start)
    return pa.table(
        {
            "quantum": pa.array(place),
            "connection": context.codes(context.connections, name_of),
            "dataset": pa.array(key.astype(np.uint32)),
        }
    )


def _left_out(context: _Context) -> None:
    schema = {"task": pl.String, "data_id": pl.String, "reason": pl.String, "detail": pl.String}
    parts = [pl.DataFrame(schema=schema)]
    for drop in context.state.left_out:
        named = drop.examples.with_columns(
            pl.lit(drop.task).alias("task"), pl.lit(drop.reason).alias("reason")
        )
        parts.append(named.select(pl.col(c).cast(pl.String) for c in schema))
    context.spool.write("left_out", pl.concat(parts).to_arrow(compat_level=_OLDEST))


# ---- columns


def _repeated(text: str, rows: int) -> pa.Array:
    import pyarrow as pa

    return pa.repeat(pa.scalar(text, pa.large_string()), rows)


def _data_ids(frame: pl.DataFrame, dimensions: Sequence[str]) -> pa.Array:
    found = texts_of(frame, identity.data_id_json(dimensions, frame.schema))
    return found.to_arrow(compat_level=_OLDEST)


def _with_dimensions(
    facts: Mapping[str, Any],  # Any: Arrow arrays
    frame: pl.DataFrame,
    own: Sequence[str],
    every: Sequence[str],
    state: State,
) -> pa.Table:
    import pyarrow as pa

    columns = dict(facts)
    rows = len(facts["id"])
    for name in every:
        if name in own:
            columns[name] = frame[name].cast(state.kinds[name]).to_arrow(compat_level=_OLDEST)
        else:
            empty = pl.Series(name, [], state.kinds[name]).to_arrow(compat_level=_OLDEST)
            columns[name] = pa.nulls(rows, empty.type)
    return pa.table(columns)


def _joined(parts: Sequence[pa.Table], at: Sequence[npt.NDArray[np.integer[Any]]]) -> pa.Table:
    """Put parts together so that each row stands at its place."""
    import pyarrow as pa

    by_first = sorted(range(len(parts)), key=lambda i: at[i][0] if len(at[i]) else 0)
    table = pa.concat_tables([parts[i] for i in by_first])
    place = np.concatenate([at[i] for i in by_first])
    order = np.arange(len(place))
    if (place == order).all():  # one task after the other, as most often
        return table
    order[place] = np.arange(len(place))
    return table.combine_chunks().take(pa.array(order))
