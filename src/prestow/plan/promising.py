"""Promised inputs: named, not there yet. They take part in a plan as existing ones do, without size or digest.

A promise has a deadline. What is not there by then is overdue: it is left out, and the plan is refused
unless a person waives that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.model.dataset import EXTERNAL_RUN, RAW_RUN
from prestow.model.instants import instant_text
from prestow.model.universe import Universe
from prestow.naming import identity
from prestow.pipeline.definition import InputConnection, TaskDefinition
from prestow.plan.matching.parts import match_in_parts
from prestow.plan.state import LeftOut, State

if TYPE_CHECKING:
    from prestow.plan.request import Request

RAW = "raw"
LATE = "promised_late:"
"""How the reason begins of inputs that did not come by their deadline."""
EXAMPLES = 1000
TIMES = ("begin", "end")
"""Columns of a promise that are no dimensions: when it will be observed, in nanoseconds of TAI."""

Frames = Mapping[str, pl.DataFrame]


@dataclass(frozen=True, slots=True, eq=False)
class Promised:
    """What is promised, and what time it is.

    Parameters
    ----------
    frames : mapping of dataset type to DataFrame
        A row for each dataset: dimensions (with what they imply, where nobody knows it yet), ``begin`` and
        ``end`` perhaps, and ``by``, the deadline; times in nanoseconds of TAI.
    now : int
        In nanoseconds of TAI.
    """

    frames: Frames
    now: int


def run_of(dataset_type: str, columns: tuple[str, ...]) -> pl.Expr:
    """Give the run that a promised dataset will be in, as the ingest of roots names it."""
    if dataset_type == RAW and "instrument" in columns:
        return pl.concat_str([pl.lit(RAW_RUN), pl.col("instrument").cast(pl.String)])
    return pl.lit(EXTERNAL_RUN + dataset_type)


def recipes_of_promised(ids: pl.Expr) -> pl.Expr:
    """Give what stands for the content of promised datasets, of their ids as text, as 32 hexadecimal digits.

    It is no content's digest, so a plan with promised inputs is another one than that after they came.
    """
    return identity.digest128("promised/1", ids)


def with_promised(
    request: Request, existing: Frames, records: Frames, relations: Frames
) -> tuple[dict[str, pl.DataFrame], dict[str, pl.DataFrame], dict[str, pl.DataFrame]]:
    """Add promised datasets that are not there, and what they say of dimensions that nobody knows."""
    found, known, linked = dict(existing), dict(records), dict(relations)
    promised = request.promised
    if promised is None:
        return found, known, linked
    universe = request.universe
    for name, frame in promised.frames.items():
        if name not in found or request.pipeline.dataset_types[name].calibration:
            continue
        found[name] = _joined(request, name, _in_words(found[name]), frame, promised.now)
        for element, there in known.items():
            known[element] = _records(universe, element, _in_words(there), frame)
        for relation, rows in linked.items():
            there = _in_words(rows)
            keys = universe.close(universe.relations[relation].dimensions)
            if set(keys) <= set(frame.columns) and not universe.relations[relation].metadata:
                new = frame.select(keys).unique().join(there, on=list(keys), how="anti")
                linked[relation] = pl.concat([there, new.select(there.columns)], how="vertical_relaxed")
    return found, known, linked


def _in_words(frame: pl.DataFrame) -> pl.DataFrame:
    """Give dimensions that a source gave as categories in their words, as a promise has them."""
    coded = [c for c in frame.columns if not c.startswith("_") and frame.schema[c] == pl.Categorical]
    return frame.with_columns(pl.col(coded).cast(pl.String)) if coded else frame


def _joined(request: Request, name: str, there: pl.DataFrame, frame: pl.DataFrame, now: int) -> pl.DataFrame:
    dimensions = request.pipeline.dataset_types[name].dimensions
    there = there.with_columns(_promised=pl.lit(value=False), _by=pl.lit(None, pl.Int64))
    on = list(dimensions)
    new = frame.sort("by", descending=True, maintain_order=True)  # of several promises the latest counts
    new = new.unique(on, keep="first", maintain_order=True) if on else new.head(1)
    new = new.join(there.select(on), on=on, how="anti") if on else new.head(0 if there.height else 1)
    run = run_of(name, tuple(new.columns)).alias("_run")
    ids = identity.uuid_text(identity.dataset_ids(name, pl.col("_run"), dimensions)).alias("_text")
    new = new.with_columns(run).with_columns(ids)
    recipe = new.select(recipes_of_promised(pl.col("_text")).alias("r"))["r"].str.decode("hex")
    new = new.select(
        *on,
        pl.col("_run"),
        identity.uuid_bytes(pl.col("_text")).alias("_id"),
        recipe.alias("_recipe"),
        pl.lit(value=True).alias("_root"),
        pl.lit(value=True).alias("_promised"),
        pl.col("by").alias("_by"),
    )
    absent = [pl.lit(None).alias(c) for c in there.columns if c not in new.columns]
    new = new.with_columns(absent).select(pl.col(c).cast(kind) for c, kind in there.schema.items())
    late = (pl.col("_promised") & (pl.col("_by") < now)).fill_null(value=False)
    return pl.concat([there, new], how="vertical_relaxed").with_columns(late.alias("_late"))


def _records(universe: Universe, element: str, there: pl.DataFrame, frame: pl.DataFrame) -> pl.DataFrame:
    """Add records of a dimension that nobody knows yet, as far as the promise tells them."""
    keys = list(universe.close([element]))
    if not set(keys) <= set(frame.columns):
        return there
    dimension = universe.dimensions[element]
    told = [d for d in dimension.implies if d in frame.columns]
    told += [m for m in TIMES if m in frame.columns and dimension.metadata.get(m) == "time"]
    new = frame.select(*keys, *told).unique(keys, keep="first").join(there, on=keys, how="anti")
    absent = [pl.lit(None).alias(c) for c in there.columns if c not in new.columns]
    new = new.with_columns(absent).select(pl.col(c).cast(kind) for c, kind in there.schema.items())
    return pl.concat([there, new], how="vertical_relaxed")


def leave_late_out(state: State) -> State:
    """Take out what did not come by its deadline; of what the request would have read, each is waivable.

    What that is only matching says: so it is done once with them, where there are any.
    """
    late = [n for n, frame in state.existing.items() if "_late" in frame.columns and frame["_late"].any()]
    if not late:
        return state
    matched = match_in_parts(state)
    drops = [
        drop
        for task in state.request.pipeline.tasks
        for connection in task.inputs
        if connection.type in late and (drop := _left_out(matched, task, connection)) is not None
    ]
    existing, whole = dict(state.existing), dict(state.whole)
    for name in late:
        existing[name] = existing[name].filter(~pl.col("_late"))
        if name in whole:
            whole[name] = whole[name].filter(~pl.col("_late"))
    return replace(state, existing=existing, whole=whole, left_out=(*state.left_out, *drops))


def _left_out(matched: State, task: TaskDefinition, connection: InputConnection) -> LeftOut | None:
    """Count what a task would have read under a connection, had it come."""
    dimensions = matched.request.pipeline.dataset_types[connection.type].dimensions
    read = matched.parts[task.label].inputs[connection.name]["dataset"].unique().sort()
    late = matched.existing[connection.type][read].filter("_late")
    if not late.height:
        return None
    shown = late.head(EXAMPLES).with_columns(pl.col(pl.Enum).cast(pl.String))
    by = pl.Series("detail", [f"promised by {instant_text(t)}" for t in shown["_by"]], pl.String)
    examples = shown.select(identity.data_id_json(dimensions, shown.schema).alias("data_id"), by)
    return LeftOut(task.label, f"{LATE}{connection.name}", late.height, examples, "waivable")


def tell_promised(state: State) -> State:
    """Say in the plan which of its inputs are only promised, and by when."""
    if state.request.promised is None:
        return state
    parts = [table for name in sorted(state.existing) if (table := _read(state, name)) is not None]
    if not parts:
        return state
    table = pl.concat(parts)
    by: Any = table["by"].min()
    told = {"datasets": table.height, "first_by": instant_text(by)}
    return replace(state, extra={**state.extra, "promised": table}, told={**state.told, "promised": told})


def _read(state: State, name: str) -> pl.DataFrame | None:
    """Give the promised datasets of a type that are read: type, data_id, id, run, by."""
    frame = state.existing[name]
    if "_promised" not in frame.columns:
        return None
    read = [
        state.parts[task.label].inputs[connection.name]["dataset"]
        for task in state.request.pipeline.tasks
        for connection in task.inputs
        if connection.type == name
    ]
    rows = frame[pl.concat(read).unique().sort()].filter("_promised")
    if not rows.height:
        return None
    dimensions = state.request.pipeline.dataset_types[name].dimensions
    rows = rows.with_columns(pl.col(pl.Enum).cast(pl.String))
    return rows.select(
        pl.lit(name).alias("type"),
        identity.data_id_json(dimensions, rows.schema).alias("data_id"),
        pl.col("_id").alias("id"),
        pl.col("_run").cast(pl.String).alias("run"),
        pl.col("_by").alias("by"),
    )
