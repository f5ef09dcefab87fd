"""From the passes' frames to the tables of a plan: numbered, in order; and their digest."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from prestow.model import DatasetType
from prestow.naming import identity
from prestow.plan.frames import columns_of
from prestow.plan.grouping.names import job_names
from prestow.plan.state import ROW, Grouping, State, outputs_of

CHUNK = 100_000  # rows hashed at a time, and rows of a row group

LOGICAL: Mapping[str, tuple[str, ...]] = {
    "datasets": ("type", "data_id", "id", "run", "root", "format", "recipe"),
    "quanta": ("task", "data_id", "recipe", "job"),
    "inputs": ("quantum", "connection", "dataset"),
    "outputs": ("quantum", "connection", "dataset", "optional"),
    "jobs": ("name", "label", "depth", "first", "count"),
    "job_edges": ("parent", "child", "soft"),
    "left_out": ("task", "data_id", "reason", "detail"),
}
"""Tables, and columns of them, that the plan's id covers, in this order."""

NAMES = ("type", "path", "producer")
"""Of a planned dataset these are enough: its path reads back, its producer has the recipe."""

TABLES = (*LOGICAL, "locations")
"""All tables of a plan."""


@dataclass(frozen=True, slots=True)
class _Numbers:
    """Positions in the final tables, by position in the frames of the passes."""

    quanta: Mapping[str, pl.Series]  # by task
    existing: Mapping[str, pl.Series]  # by dataset type; null where unused
    planned: Mapping[str, pl.Series]  # by dataset type
    used: int  # existing datasets that are read


def make_tables(state: State) -> dict[str, pl.DataFrame]:
    """Give the tables of a plan, each in its fixed order."""
    grouping = state.grouping
    assert grouping is not None, "the pass 'group' has run"
    numbers = _number(state, grouping)
    return {
        "datasets": _datasets(state, numbers),
        "quanta": _quanta(state, grouping, numbers),
        "inputs": _inputs(state, numbers),
        "outputs": _outputs(state, numbers),
        "jobs": _jobs(state, grouping),
        "job_edges": grouping.edges.select("parent", "child", "soft"),
        "left_out": _left_out(state),
        "locations": _locations(state, numbers),
    }


def _jobs(state: State, grouping: Grouping) -> pl.DataFrame:
    labels = pl.Series("label", [label.name for label in grouping.labels], pl.String)
    jobs = grouping.jobs.with_row_index("job").with_columns(
        pl.col("job").cast(ROW),
        job_names(state, grouping, 0, grouping.jobs.height).alias("name"),
        labels.gather(grouping.jobs["label"]),
    )
    return jobs.select("job", "name", "label", "depth", "first", "count")


def _number(state: State, grouping: Grouping) -> _Numbers:
    tasks = state.request.pipeline.tasks
    rows = grouping.quanta.with_row_index("quantum").with_columns(pl.col("quantum").cast(ROW))
    by_task = rows.partition_by("task", as_dict=True)
    none = pl.Series("quantum", [], ROW)
    quanta = {
        task.label: by_task[i,].sort("row")["quantum"] if (i,) in by_task else none
        for i, task in enumerate(tasks)
    }
    existing, used = _number_existing(state, quanta)
    makes = pl.Series([len(outputs_of(task)) for task in tasks], dtype=ROW)
    per_quantum = makes.gather(grouping.quanta["task"])
    first = per_quantum.cum_sum() - per_quantum + used
    planned = {
        output.type: (first.gather(quanta[task.label]) + i).cast(ROW).alias("dataset")
        for task in tasks
        for i, output in enumerate(outputs_of(task))
    }
    return _Numbers(quanta, existing, planned, used)


def _number_existing(state: State, quanta: Mapping[str, pl.Series]) -> tuple[dict[str, pl.Series], int]:
    """Give numbers to existing datasets that are read, by their first consumer, its connection, and id."""
    names = sorted(state.existing)
    found = [pl.DataFrame(schema={"type": pl.UInt16, "row": ROW, "quantum": ROW, "position": pl.UInt16})]
    for task in state.request.pipeline.tasks:
        for position, connection in enumerate(task.inputs):
            if connection.type not in state.existing:
                continue
            pairs = state.parts[task.label].inputs[connection.name]
            uses = pl.DataFrame(
                {"row": pairs["dataset"], "quantum": quanta[task.label].gather(pairs["quantum"])}
            )
            first = uses.group_by("row").agg(pl.col("quantum").min())
            found.append(
                first.select(
                    pl.lit(names.index(connection.type), pl.UInt16).alias("type"),
                    "row",
                    "quantum",
                    pl.lit(position, pl.UInt16).alias("position"),
                )
            )
    uses = (
        pl.concat(found)
        .sort("quantum", "position")
        .unique(["type", "row"], keep="first", maintain_order=True)
    )
    parts = [
        part.with_columns(id=state.existing[names[index[0]]]["_id"].gather(part["row"]))
        for index, part in uses.partition_by("type", as_dict=True).items()
    ]
    empty = uses.clear().with_columns(id=pl.lit("", pl.String))
    order = pl.concat([empty, *parts]).sort("quantum", "position", "id").with_row_index("dataset")
    numbers = {}
    for i, name in enumerate(names):
        mine = order.filter(pl.col("type") == i).select("row", pl.col("dataset").cast(ROW))
        whole = pl.DataFrame({"row": pl.int_range(state.existing[name].height, dtype=ROW, eager=True)})
        numbers[name] = whole.join(mine, on="row", how="left", maintain_order="left")["dataset"]
    return numbers, order.height


def _datasets(state: State, numbers: _Numbers) -> pl.DataFrame:
    request = state.request
    kinds = request.pipeline.dataset_types
    columns = columns_of((d for kind in kinds.values() for d in kind.dimensions), request.universe)
    schema: dict[str, type[pl.DataType]] = {
        "dataset": ROW,
        "type": pl.String,
        "data_id": pl.String,
        "id": pl.Binary,
        "run": pl.String,
        "planned": pl.Boolean,
        "root": pl.Boolean,
        "format": pl.String,
        "recipe": pl.Binary,
        "path": pl.String,
        "producer": ROW,
        **columns,
    }
    existing = [pl.DataFrame(schema=schema)]
    for name, frame in state.existing.items():
        wide = _used(frame, numbers.existing[name])
        facts = [
            pl.col("_id").str.decode("hex").alias("id"),
            pl.col("_run").alias("run"),
            pl.lit(value=False).alias("planned"),
            pl.col("_root").alias("root"),
            pl.lit(None, pl.String).alias("path"),
            pl.lit(None, ROW).alias("producer"),
        ]
        form = pl.coalesce("_format", pl.lit(kinds[name].format))  # of one type in several runs, each its own
        existing.append(_rows(wide, kinds[name], form, facts, schema).collect())
    parts = [pl.concat(existing).sort("dataset")]
    for task in request.pipeline.tasks:
        for output in outputs_of(task):
            kind = kinds[output.type]
            wide = (
                state.planned[output.type]
                .lazy()
                .with_columns(
                    numbers.planned[output.type].alias("dataset"),
                    numbers.quanta[task.label].alias("producer"),
                )
            )
            facts = [
                pl.col("_id").alias("id"),
                pl.lit(request.run).alias("run"),
                pl.lit(value=True).alias("planned"),
                pl.lit(value=False).alias("root"),
                pl.col("_path").alias("path"),
                pl.col("producer"),
            ]
            parts.append(_rows(wide, kind, pl.lit(kind.format), facts, schema).collect())
    return _in_order(parts, "dataset")


def _used(frame: pl.DataFrame, numbers: pl.Series) -> pl.LazyFrame:
    """Give the existing datasets that are read; lazily, so that only columns asked for are copied."""
    return frame.lazy().with_columns(numbers.alias("dataset")).drop_nulls("dataset")


def _in_order(parts: list[pl.DataFrame], key: str) -> pl.DataFrame:
    """Put parts together by a key; most often each is sorted, and they only need to be lined up."""
    filled = [part for part in parts if part.height] or parts[:1]
    table = pl.concat(sorted(filled, key=lambda part: part[key][0] if part.height else 0))
    return table if table[key].is_sorted() else table.sort(key, maintain_order=True)


def _rows(
    wide: pl.LazyFrame,
    kind: DatasetType,
    form: pl.Expr,
    facts: list[pl.Expr],
    schema: Mapping[str, type[pl.DataType]],
) -> pl.LazyFrame:
    absent = [d for d in list(schema)[11:] if d not in kind.dimensions]
    return wide.select(
        "dataset",
        pl.lit(kind.name).alias("type"),
        pl.col("_data_id").alias("data_id"),
        form.alias("format"),
        pl.col("_recipe").alias("recipe"),
        *facts,
        *kind.dimensions,
        *(pl.lit(None, schema[d]).alias(d) for d in absent),
    ).select(list(schema))


def _quanta(state: State, grouping: Grouping, numbers: _Numbers) -> pl.DataFrame:
    tasks = state.request.pipeline.tasks
    columns = columns_of((d for task in tasks for d in task.dimensions), state.request.universe)
    schema: dict[str, type[pl.DataType]] = {
        "quantum": ROW,
        "task": pl.String,
        "data_id": pl.String,
        "id": pl.Binary,
        "recipe": pl.Binary,
        "job": ROW,
        **columns,
    }
    parts = [pl.DataFrame(schema=schema).drop("job")]
    for task in tasks:
        frame = state.parts[task.label].quanta.with_columns(numbers.quanta[task.label].alias("quantum"))
        parts.append(
            frame.select(
                "quantum",
                pl.lit(task.label).alias("task"),
                pl.col("_data_id").alias("data_id"),
                pl.col("_id").alias("id"),
                pl.col("_recipe").alias("recipe"),
                *(
                    pl.col(d) if d in task.dimensions else pl.lit(None, t).alias(d)
                    for d, t in columns.items()
                ),
            )
        )
    table = _in_order(parts, "quantum").with_columns(grouping.quanta["job"])
    return table.select(list(schema))


def _inputs(state: State, numbers: _Numbers) -> pl.DataFrame:
    schema = {"quantum": ROW, "position": pl.UInt16, "connection": pl.String, "dataset": ROW}
    empty = pl.DataFrame(schema=schema)
    parts = [empty.drop("position")]
    for task in state.request.pipeline.tasks:
        reads = [empty]
        for position, connection in enumerate(task.inputs):
            pairs = state.parts[task.label].inputs[connection.name]
            known = numbers.planned if connection.type in state.planned else numbers.existing
            reads.append(
                pl.DataFrame(
                    {
                        "quantum": numbers.quanta[task.label].gather(pairs["quantum"]),
                        "dataset": known[connection.type].gather(pairs["dataset"]),
                    }
                ).select(
                    "quantum",
                    pl.lit(position, pl.UInt16).alias("position"),
                    pl.lit(connection.name).alias("connection"),
                    "dataset",
                )
            )
        parts.append(pl.concat(reads).sort("quantum", "position", "dataset").drop("position"))
    return _in_order(parts, "quantum")


def _outputs(state: State, numbers: _Numbers) -> pl.DataFrame:
    schema = {"quantum": ROW, "connection": pl.String, "dataset": ROW, "optional": pl.Boolean}
    parts = [pl.DataFrame(schema=schema)]
    for task in state.request.pipeline.tasks:
        for output in outputs_of(task):
            frame = pl.DataFrame(
                {"quantum": numbers.quanta[task.label], "dataset": numbers.planned[output.type]}
            )
            facts = [pl.lit(output.name).alias("connection"), pl.lit(output.optional).alias("optional")]
            parts.append(frame.with_columns(facts).select(list(schema)))
    return _in_order(parts, "dataset")  # so they stand by quantum, too


def _left_out(state: State) -> pl.DataFrame:
    schema = {"task": pl.String, "data_id": pl.String, "reason": pl.String, "detail": pl.String}
    parts = [pl.DataFrame(schema=schema)]
    for drop in state.left_out:
        named = drop.examples.with_columns(
            pl.lit(drop.task).alias("task"), pl.lit(drop.reason).alias("reason")
        )
        parts.append(named.select(list(schema)))
    return pl.concat(parts)


def _locations(state: State, numbers: _Numbers) -> pl.DataFrame:
    schema = {
        "dataset": ROW,
        "store": pl.String,
        "path": pl.String,
        "size": pl.Int64,
        "sha256": pl.String,
        "content": pl.String,
        "receipt": pl.String,
        "quantum": pl.String,
    }
    parts = [pl.DataFrame(schema=schema)]
    for name, frame in state.existing.items():
        wide = _used(frame, numbers.existing[name])
        quantum = identity.uuid_text(pl.col("_quantum").str.decode("hex"))
        parts.append(
            wide.select(
                "dataset",
                *(
                    pl.col(f"_{c}").alias(c)
                    for c in ("store", "path", "size", "sha256", "content", "receipt")
                ),
                quantum.alias("quantum"),
            ).collect()
        )
    return pl.concat(parts).sort("dataset")


def tables_digest(header: str, tables: Mapping[str, pl.DataFrame]) -> str:
    """Give the SHA-256 of a header and of the logical tables: of values, not of any file's bytes.

    What follows from the rest is not hashed: positions, and columns that a data ID has too.
    """
    digest = hashlib.sha256(header.encode())
    for name, columns in LOGICAL.items():
        table = tables[name]
        if name == "datasets":
            existing = tables["locations"].height  # they stand first
            _digest(digest, "names", table.slice(existing), NAMES)
            table = table.head(existing)
        _digest(digest, name, table, columns)
    return digest.hexdigest()


def _digest(digest: hashlib._Hash, name: str, table: pl.DataFrame, columns: Sequence[str]) -> None:
    digest.update(f"\n{name} {table.height}\n".encode())
    for column in columns:
        for chunk in table[column].to_frame().iter_slices(CHUNK):
            digest.update(_bytes(chunk.to_series()))


def _bytes(values: pl.Series) -> bytes:
    """Give values as bytes that depend on nothing else: texts by line, a null as a lone U+0000."""
    if values.dtype == pl.Binary:
        values = values.bin.encode("hex")
    elif values.dtype != pl.String:
        numbers: bytes = values.cast(pl.Int64).fill_null(-1).to_numpy().astype("<i8", copy=False).tobytes()
        return numbers
    joined: str = values.fill_null("\0").str.join("\n").item() if values.len() else ""
    return joined.encode() + b"\n"
