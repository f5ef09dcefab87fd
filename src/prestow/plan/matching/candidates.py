"""Which quanta there could be: the distinct data IDs of the join of what the inputs say, and their pairs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import polars as pl

from prestow.model.universe import Universe
from prestow.pipeline.definition import TaskDefinition
from prestow.plan.choosing import narrow
from prestow.plan.frames import restrict
from prestow.plan.keys import ROW, ascending, distinct, find, pack
from prestow.plan.matching.sides import Side
from prestow.plan.state import State

PAIRS = {"quantum": ROW, "dataset": ROW}


def find_candidates(state: State, task: TaskDefinition, sides: Sequence[Side]) -> pl.DataFrame:
    """Give the distinct data IDs of the join of what the constraining inputs say about them.

    Sorted by data ID, with what it implies. A dimension that no input tells about comes from its
    records.
    """
    universe, dimensions = state.request.universe, task.dimensions
    wanted = set(universe.expand(dimensions))
    drivers = sorted(
        (side for side in sides if side.constrains),
        key=lambda side: -len(set(side.keys).intersection(dimensions)),
    )
    if dimensions and drivers and set(dimensions) <= set(drivers[0].keys):
        own = state.request.pipeline.dataset_types[drivers[0].connection.type].dimensions
        known = drivers[0].frame.select(c for c in drivers[0].frame.columns if c in wanted)
        # What one with the same data ID implies, this one implies: looked up already.
        return _implied(state, distinct(known, dimensions, whole=own == dimensions), wanted)
    frame: pl.DataFrame | None = None
    for side in drivers:
        covered: set[str] = set() if frame is None else set(frame.columns)
        told = set(side.keys) & set(dimensions)
        if told - covered:
            known = side.frame.select(side.keys).drop_nulls(sorted(told)).unique()
            frame = _cross(universe, frame, _implied(state, known, wanted))
            frame = _implied(state, frame, wanted)
    # The records of a visit know its instrument: what requires most comes first.
    for element in sorted(dimensions, key=lambda d: -len(universe.close([d]))):
        if frame is None or element not in frame.columns:
            frame = _cross(universe, frame, _from_records(state, element, wanted))
            frame = _implied(state, frame, wanted)
    if frame is None:
        # No dimensions: one quantum, if there is something to read or nothing is asked for.
        alone = all(side.frame.height for side in drivers)
        return pl.DataFrame({"_row": [0] if alone else []}, schema={"_row": ROW})
    return _implied(state, distinct(frame, dimensions), wanted)


def _implied(state: State, frame: pl.DataFrame, wanted: set[str]) -> pl.DataFrame:
    """Add what the dimensions of a frame imply, by looking each record up once."""
    universe, records = state.request.universe, state.records
    done: set[str] = set()
    while todo := [d for d in universe.dimensions if d in frame.columns and d not in done]:
        for element in todo:
            done.add(element)
            keys = universe.close([element])
            new = [d for d in universe.dimensions[element].implies if d in wanted and d not in frame.columns]
            if new and set(keys) <= set(frame.columns):
                (mine, known), below = pack([frame, records[element]], keys)
                rows = find(mine, known, below)
                frame = frame.with_columns(records[element][d].gather(rows) for d in new)
    return frame


def _from_records(state: State, element: str, wanted: Iterable[str]) -> pl.DataFrame:
    """Give the values of a dimension that no connection tells about."""
    frame = _implied(
        state, state.records[element].select(state.request.universe.close([element])), set(wanted)
    )
    selection = state.selections.get(("", ""))
    taken = frame if selection is None else restrict(frame, selection, state, keep_unknown=True)
    return narrow(taken, state)


def _cross(universe: Universe, left: pl.DataFrame | None, right: pl.DataFrame) -> pl.DataFrame:
    if left is None:
        return right
    shared = [d for d in right.columns if d in left.columns]
    follows = {d for e in shared for d in universe.expand([e]) if d not in universe.close([e])}
    on = [d for d in shared if d not in follows]
    right = right.drop(follows.intersection(shared))
    return left.join(right, on=on, how="inner") if on else left.join(right, how="cross")


def find_pairs(task: TaskDefinition, quanta: pl.DataFrame, side: Side) -> pl.DataFrame:
    """Give the pairs (quantum, dataset) that agree, in this order; null agrees with nothing."""
    on, datasets = list(side.keys), side.frame["_dataset"]
    if not quanta.height or not side.frame.height:
        return pl.DataFrame(schema=PAIRS)
    if not on:
        every = pl.DataFrame({"quantum": pl.int_range(quanta.height, dtype=ROW, eager=True)})
        return every.join(
            datasets.sort().alias("dataset").to_frame(), how="cross", maintain_order="left_right"
        )
    (mine, theirs), below = pack([quanta, side.frame], on)
    whole = set(task.dimensions) <= set(on)  # then no two quanta have these values
    if whole and side.single and ascending(mine) and mine.equals(theirs):
        quantum = pl.int_range(mine.len(), dtype=ROW, eager=True)
        return pl.DataFrame({"quantum": quantum, "dataset": datasets})
    if side.single:
        rows = find(mine, theirs, below)
        quantum = pl.int_range(mine.len(), dtype=ROW, eager=True)
        pairs = pl.DataFrame({"quantum": quantum, "dataset": datasets.gather(rows)})
        return pairs.filter(rows.is_not_null()) if rows.null_count() else pairs
    if whole:
        rows = find(theirs, mine, below)
        pairs = pl.DataFrame({"quantum": rows, "dataset": datasets})
        pairs = pairs.filter(rows.is_not_null()) if rows.null_count() else pairs
    else:
        left = pl.DataFrame({"key": mine, "quantum": pl.int_range(mine.len(), dtype=ROW, eager=True)})
        right = pl.DataFrame({"key": theirs, "dataset": datasets})
        pairs = left.join(right, on="key", how="inner").select("quantum", "dataset")
    return in_order(pairs)


def in_order(pairs: pl.DataFrame) -> pl.DataFrame:
    """Sort pairs by quantum, then dataset; most often they are in order already."""
    one = pairs.select(pl.col("quantum").cast(pl.UInt64) * (1 << 32) + pl.col("dataset")).to_series()
    if one.is_sorted():
        return pairs
    one = one.sort()
    return pl.DataFrame({"quantum": (one // (1 << 32)).cast(ROW), "dataset": (one % (1 << 32)).cast(ROW)})
