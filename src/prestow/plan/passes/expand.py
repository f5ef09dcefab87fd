"""Expand: existing datasets get the dimensions they imply; the request's selection is applied."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from prestow.model.universe import Universe
from prestow.plan.state import State

if TYPE_CHECKING:
    from prestow.query import Selection


def expand(state: State) -> State:
    """Join implied values, drop what the request does not select."""
    selection = state.selections.get(("", ""))
    frames = {}
    for name, frame in state.existing.items():
        wide = imply(frame, state.request.universe, state.records)
        if selection is not None:
            wide = restrict(wide, selection, state, keep_unknown=True)
        frames[name] = wide
    return replace(state, existing=frames)


def imply(
    frame: pl.DataFrame, universe: Universe, records: Mapping[str, pl.DataFrame], only: Iterable[str] | None = None
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


def describe(frame: pl.DataFrame, state: State, wanted: Iterable[str]) -> pl.DataFrame:
    """Add the metadata columns a selection names: ``exposure.airmass``, or ``airmass`` alone.

    A bare name is that of the first dimension, by name, that the frame has and that has it.
    """
    universe = state.request.universe
    for name in wanted:
        if name in frame.columns:
            continue
        element, dot, column = name.rpartition(".")
        owners = [element] if dot else [d for d in sorted(universe.dimensions) if d in frame.columns]
        for owner in owners:
            keys = universe.close([owner]) if owner in universe.dimensions else ()
            if owner not in state.records or column not in universe.dimensions[owner].metadata:
                continue
            if not set(keys) <= set(frame.columns):
                continue
            table = state.records[owner].select(*keys, pl.col(column).alias(name))
            frame = frame.join(table, on=list(keys), how="left", maintain_order="left")
            break
    return frame


def restrict(frame: pl.DataFrame, selection: Selection, state: State, *, keep_unknown: bool) -> pl.DataFrame:
    """Give the rows that a selection takes; with ``keep_unknown`` those it says nothing about, too."""
    columns = frame.columns
    wide = describe(frame, state, selection.columns)
    verdict = selection.expression(wide.columns)
    return wide.filter(verdict.fill_null(value=keep_unknown)).select(columns)
