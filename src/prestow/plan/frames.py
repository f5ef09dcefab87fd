"""What passes do to expanded frames: columns that follow from dimensions, rows that are selected.

A frame has a column for each dimension; what is not a dimension has a name that begins with ``_``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import polars as pl

from prestow.model.universe import Universe, ValueType
from prestow.plan.state import State
from prestow.query import Selection

_TYPES: dict[ValueType, type[pl.DataType]] = {
    "int": pl.Int64,
    "str": pl.String,
    "float": pl.Float64,
    "bool": pl.Boolean,
    "time": pl.Int64,
}


def column_type(kind: ValueType) -> type[pl.DataType]:
    """Give the column type of a value type."""
    return _TYPES[kind]


def columns_of(dimensions: Iterable[str], universe: Universe) -> dict[str, type[pl.DataType]]:
    """Give dimensions, each once and sorted, with the types of their columns."""
    return {d: _TYPES[universe.dimensions[d].type] for d in sorted(set(dimensions))}


def join_keys(
    universe: Universe, dimensions: Iterable[str], columns: Iterable[str], keep: Iterable[str] = ()
) -> tuple[str, ...]:
    """Give the dimensions on which quanta of these dimensions and a frame must agree.

    What another shared dimension implies is left out, unless it is the data ID's own: records
    agree with themselves, and an exposure without a filter still is its visit's.
    """
    dimensions, columns = set(dimensions), set(columns)
    shared = [d for d in universe.expand(dimensions) if d in columns]
    own = dimensions.intersection(universe.close(keep)) if keep else dimensions
    follows = {d for e in shared for d in universe.expand([e]) if d not in universe.close([e])}
    return tuple(d for d in shared if d not in follows or d in own or d in set(keep))


def imply(
    frame: pl.DataFrame,
    universe: Universe,
    records: Mapping[str, pl.DataFrame],
    only: Iterable[str] | None = None,
) -> pl.DataFrame:
    """Add a column for each dimension that those of a frame imply, also through others.

    A value without a record, or with an empty one, implies null. ``only`` limits what is added.
    """
    wanted = None if only is None else set(only)
    done: set[str] = set()
    while todo := [d for d in universe.dimensions if d in frame.columns and d not in done]:
        for element in todo:
            done.add(element)
            keys = universe.close([element])
            new = [
                d
                for d in universe.dimensions[element].implies
                if d not in frame.columns and (wanted is None or d in wanted)
            ]
            if new and set(keys) <= set(frame.columns):
                frame = frame.join(
                    records[element].select(*keys, *new), on=list(keys), how="left", maintain_order="left"
                )
    return frame


def describe(
    frame: pl.DataFrame, universe: Universe, records: Mapping[str, pl.DataFrame], wanted: Iterable[str]
) -> pl.DataFrame:
    """Add the metadata columns a selection names: ``exposure.airmass``, or ``airmass`` alone.

    A bare name is that of the first dimension, by name, that the frame has and that has it.
    """
    for name in wanted:
        if name in frame.columns:
            continue
        element, dot, column = name.rpartition(".")
        owners = [element] if dot else [d for d in sorted(universe.dimensions) if d in frame.columns]
        for owner in owners:
            keys = universe.close([owner]) if owner in universe.dimensions else ()
            if owner not in records or column not in universe.dimensions[owner].metadata:
                continue
            if not set(keys) <= set(frame.columns):
                continue
            table = records[owner].select(*keys, pl.col(column).alias(name))
            frame = frame.join(table, on=list(keys), how="left", maintain_order="left")
            break
    return frame


def restrict(frame: pl.DataFrame, selection: Selection, state: State, *, keep_unknown: bool) -> pl.DataFrame:
    """Give the rows that a selection takes; with ``keep_unknown`` those it says nothing about, too."""
    columns = frame.columns
    wide = describe(frame, state.request.universe, state.records, selection.columns)
    verdict = selection.expression(wide.columns).fill_null(value=keep_unknown)
    # As a column: Polars refuses a large frame a condition that no column is in.
    return wide.with_columns(verdict.alias("_taken")).filter("_taken").select(columns)
