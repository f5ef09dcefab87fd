"""Calibrations for quanta: valid at the moment of the observation, known as of the request.

The rule, for a connection whose dataset type is a calibration, and a quantum that has an observation
(an exposure or visit, whose record says when it began): of the calibrations that agree with the quantum in
all dimensions but nights and observations, the one with ``valid_begin <= begin < valid_end`` that
is known as of the moment of the request. None is a gap, two are an overlap. Collections that are named are searched in
order; those that are not have equal rank. What the plan itself makes is looked up first, and alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import polars as pl

from prestow.errors import Problem
from prestow.model.instants import instant_text, observation, timeless
from prestow.pipeline.definition import InputConnection, TaskDefinition
from prestow.plan.frames import join_keys, restrict
from prestow.plan.state import ROW, State

if TYPE_CHECKING:
    import numpy as np

    Whole = np.ndarray[tuple[int], np.dtype[np.int64]]
    Truths = np.ndarray[tuple[int], np.dtype[np.bool_]]

ROUNDING = 1e-9
"""A fraction of a number may be a little more than it is: 0.1 of 30 is 3."""

EXAMPLES = 1000
"""How many of those without exactly one calibration have a detail."""

TIMES = ("valid_begin", "valid_end", "known_begin", "known_end")
TABLE = {
    "task": pl.String, "connection": pl.String, "type": pl.String, "dataset": pl.String, "collection": pl.String,
    **dict.fromkeys(TIMES, pl.Int64),
}  # fmt: skip
"""Columns of the table ``calibrations`` beside a plan: which validity each task took a calibration by."""

VALIDITIES = {"dataset": ROW, "collection": pl.String, "rank": pl.Int64, **dict.fromkeys(TIMES, pl.Int64)}
"""Columns of `State.calibrations`: a row for each validity of each dataset that is known."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a connection reads.

    Parameters
    ----------
    pairs : DataFrame
        ``quantum``, ``dataset``; sorted. Only of quanta with exactly one calibration for each data ID.
    gaps, overlaps : DataFrame
        ``quantum``, ``detail``: those for which none, or more than one, is valid; each once, sorted. The detail
        is told of the first ones.
    """

    pairs: pl.DataFrame
    gaps: pl.DataFrame
    overlaps: pl.DataFrame


def is_looked_up(state: State, task: TaskDefinition, connection: InputConnection) -> bool:
    """Say whether a connection reads calibrations by the moment of each quantum.

    Of a task whose quanta have no moment only what the plan makes can be read, like any input.
    """
    if not state.request.pipeline.dataset_types[connection.type].calibration:
        return False
    return (
        connection.type not in state.planned
        or observation(state.request.universe, task.dimensions) is not None
    )


def as_needed(state: State, task: TaskDefinition, connection: InputConnection) -> InputConnection:
    """Give a connection as the matching takes it: calibrations say nothing about which quanta there are."""
    return replace(connection, prerequisite=True) if is_looked_up(state, task, connection) else connection


def without_moment(state: State, task: TaskDefinition) -> list[Problem]:
    """Give a problem for each calibration that a task reads whose quanta have no moment."""
    if observation(state.request.universe, task.dimensions) is not None:
        return []
    return [
        Problem(
            "PST-K007",
            f"{task.label} reads calibrations '{c.type}' by the moment of its quanta, and these "
            f"({', '.join(task.dimensions) or 'without dimensions'}) are no observations",
            f"task {task.label}, input {c.name}",
            "give the task the dimension exposure or visit, or read the type without 'calibration: true'",
        )
        for c in task.inputs
        if is_looked_up(state, task, c)
    ]


def of_source(frame: pl.DataFrame, existing: pl.DataFrame, ids: pl.Expr) -> pl.DataFrame:
    """Give the validities that a source told, each with the row of its dataset in ``existing``."""
    rows = existing.select("_id").with_row_index("dataset")
    told = frame.select(
        ids.alias("_id"), "collection", pl.col("rank").cast(pl.Int64), *(pl.col(t) for t in TIMES)
    )
    result = told.join(rows, on="_id", how="inner").drop("_id")
    return result.select(pl.col("dataset").cast(ROW), "collection", "rank", *TIMES).sort(
        "dataset", "rank", "collection", "valid_begin", "known_begin"
    )


def choose(
    state: State,
    task: TaskDefinition,
    connection: InputConnection,
    quanta: pl.DataFrame,
    planned: pl.DataFrame | None = None,
) -> Chosen:
    """Give, for every quantum, the calibration that is valid at its moment and known.

    Parameters
    ----------
    quanta : DataFrame
        Dimensions, also implied ones; a row is a quantum.
    planned : DataFrame, optional
        Of a type that the plan makes: the pairs that agree in all dimensions.

    Notes
    -----
    In columns: a join for the data ID, one for the moment, and a binary search.
    """
    import numpy as np

    if planned is not None:
        return _of_plan(state, task, connection, quanta, planned)
    universe = state.request.universe
    frame, validities = _offered(state, task, connection)
    kinds = timeless(universe, state.request.pipeline.dataset_types[connection.type].dimensions)
    expanded = [d for d in frame.columns if d in universe.expand(kinds)]
    shared = join_keys(universe, task.dimensions, expanded, keep=kinds)
    keys = frame.select(*dict.fromkeys((*shared, *kinds))).unique(maintain_order=False)
    keys = keys.sort(keys.columns).with_row_index("_key")
    segments = _Segments.of(validities, _keys_of(frame, keys))
    asked = _asked(state, task, quanta, keys, shared, segments)
    quantum = asked["_quantum"].to_numpy()
    count, found = segments.look(asked["_key"].to_numpy(), asked["_at"].to_numpy())
    one, double = count == 1, count > 1
    faults = _too_few(
        connection, *(np.bincount(q, minlength=quanta.height) for q in (quantum, quantum[one | double]))
    )
    gaps, doubles = np.flatnonzero(faults), np.unique(quantum[double])
    gaps = np.setdiff1d(gaps, doubles, assume_unique=True)
    faults[doubles] = True
    good = one & ~faults[quantum]
    pairs = pl.DataFrame(
        {"quantum": quantum[good], "dataset": found[good]}, schema={"quantum": ROW, "dataset": ROW}
    )
    tell = _Details(state, task, connection, quanta, shared)
    return Chosen(pairs.sort("quantum", "dataset"), tell.of(gaps, "no"), tell.of(doubles, "more than one"))


def _of_plan(
    state: State, task: TaskDefinition, connection: InputConnection, quanta: pl.DataFrame, pairs: pl.DataFrame
) -> Chosen:
    """Give what the plan makes, where it is valid by what its type declares."""
    import numpy as np

    interval = state.request.pipeline.dataset_types[connection.type].certifies
    if interval is not None:
        moments = _moments(state, task, quanta)
        inside = (
            pl.select((moments >= interval[0]) & (moments < interval[1])).to_series().fill_null(value=False)
        )
        pairs = pairs.filter(inside.gather(pairs["quantum"]))
    has = np.zeros(quanta.height, bool)
    has[pairs["quantum"].to_numpy()] = True
    gaps = np.flatnonzero(~has) if connection.minimum != 0 else np.empty(0, np.int64)
    own = state.request.pipeline.dataset_types[connection.type].dimensions
    tell = _Details(state, task, connection, quanta, [d for d in own if d in quanta.columns])
    return Chosen(pairs, tell.of(gaps, "no planned"), tell.of(gaps[:0], ""))


def _moments(state: State, task: TaskDefinition, quanta: pl.DataFrame) -> pl.Series:
    """Give when the observation of each quantum began; null where that is not known."""
    element = observation(state.request.universe, task.dimensions)
    assert element is not None, "what is looked up has a moment"
    on = list(state.request.universe.close([element]))
    records = state.records[element].select(*on, _begin="begin")
    return quanta.select(on).join(records, on=on, how="left", maintain_order="left")["_begin"]


def _too_few(connection: InputConnection, asked: Whole, found: Whole) -> Truths:
    """Say which quanta have fewer calibrations than the connection's minimum; one, if nothing else is said."""
    import numpy as np

    minimum = connection.minimum
    if minimum == "all":
        few: Truths = (found < asked) | (found == 0)
        return few
    share = minimum * asked if isinstance(minimum, float) else np.full(asked.size, int(minimum))
    below: Truths = found < np.ceil(share - ROUNDING)
    return below


def table_of(state: State) -> pl.DataFrame:
    """Give the table beside the plan: the calibrations that each task takes under a connection, and why these."""
    parts = [pl.DataFrame(schema=TABLE)]
    for task in state.request.pipeline.tasks:
        for connection in task.inputs:
            name, pairs = connection.type, state.parts[task.label].inputs.get(connection.name)
            if pairs is None or name not in state.calibrations or not is_looked_up(state, task, connection):
                continue
            taken = state.calibrations[name].filter(
                pl.col("dataset").is_in(pairs["dataset"].unique().implode())
            )
            ids = state.existing[name]["_id"].gather(taken["dataset"])
            parts.append(
                taken.select(
                    pl.lit(task.label).alias("task"), pl.lit(connection.name).alias("connection"), pl.lit(name).alias("type"),
                    _digits(ids).alias("dataset"), "collection", *TIMES,
                ).sort("dataset", "valid_begin", "known_begin", "collection")
            )  # fmt: skip
    return pl.concat(parts)


def _digits(ids: pl.Series) -> pl.Series:
    """Give ids as 32 digits, whatever they are kept as."""
    return ids if ids.dtype == pl.String else ids.cast(pl.Binary).bin.encode("hex")


def _offered(
    state: State, task: TaskDefinition, connection: InputConnection
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give the datasets of a calibration type with their row, and their validities."""
    frame = state.existing[connection.type].with_columns(pl.int_range(pl.len(), dtype=ROW).alias("_dataset"))
    validities = state.calibrations.get(connection.type, pl.DataFrame(schema=VALIDITIES))
    selection = state.selections.get((task.label, connection.name))
    if selection is not None:
        frame = restrict(frame, selection, state, keep_unknown=False)
        validities = validities.filter(pl.col("dataset").is_in(frame["_dataset"].implode()))
    return frame, validities


def _keys_of(frame: pl.DataFrame, keys: pl.DataFrame) -> pl.DataFrame:
    """Give ``dataset`` and ``_key`` of every dataset."""
    on = [c for c in keys.columns if c != "_key"]
    if not on:
        return frame.select(pl.col("_dataset").alias("dataset"), pl.lit(0).cast(pl.Int64).alias("_key"))
    rows = frame.join(keys, on=on, how="inner", nulls_equal=True)
    return rows.select(pl.col("_dataset").alias("dataset"), pl.col("_key").cast(pl.Int64))


def _asked(
    state: State,
    task: TaskDefinition,
    quanta: pl.DataFrame,
    keys: pl.DataFrame,
    shared: Sequence[str],
    segments: _Segments,
) -> pl.DataFrame:
    """Give what is looked up: ``_quantum``, ``_key`` and ``_at``, -1 where there is none."""
    universe = state.request.universe
    rows = quanta.select(
        pl.int_range(pl.len(), dtype=pl.Int64).alias("_quantum"),
        *(c for c in quanta.columns if c in universe.dimensions),
    )
    element = observation(universe, task.dimensions)
    assert element is not None, "what is looked up has a moment"
    on = list(universe.close([element]))
    moments = state.records[element].select(*on, "begin")
    moments = moments.with_columns(segments.rank(moments["begin"])).drop("begin")
    rows = rows.join(moments, on=on, how="left", maintain_order="left")
    if shared:
        rows = rows.join(keys.select(*shared, "_key"), on=list(shared), how="left", maintain_order="left")
    elif keys.height:
        rows = rows.join(keys.select("_key"), how="cross")
    else:
        rows = rows.with_columns(_key=pl.lit(None, pl.Int64))
    return rows.select("_quantum", pl.col("_key").cast(pl.Int64).fill_null(-1), pl.col("_at").fill_null(-1))


@dataclass(frozen=True, slots=True)
class _Segments:
    """Time, cut where any validity begins or ends: how many are valid from each cut on, and which.

    A cut is packed with its data ID into one number, ``key * width + rank of the time``, so that a
    look-up is one binary search. Where exactly one is valid, the running sum of the rows that
    have begun less those that have ended is that row: no interval is laid out over others.
    """

    times: Whole
    width: int
    ranks: tuple[tuple[Whole, Whole, Whole], ...]  # cuts, count, sum

    @classmethod
    def of(cls, validities: pl.DataFrame, keys: pl.DataFrame) -> _Segments:
        import numpy as np

        rows = validities.join(keys, on="dataset", how="inner")
        begin, end = rows["valid_begin"].to_numpy(), rows["valid_end"].to_numpy()
        times = np.unique(np.concatenate([begin, end]))
        width = times.size + 1
        rows = rows.with_columns(
            _from=pl.Series(np.searchsorted(times, begin, "right").astype(np.int64)),
            _to=pl.Series(np.searchsorted(times, end, "right").astype(np.int64)),
        )
        ranks = [_cuts(rows.filter(pl.col("rank") == rank), width) for rank in rows["rank"].unique().sort()]
        return cls(times, width, tuple(ranks))

    def rank(self, begin: pl.Series) -> pl.Series:
        """Give how many cuts of time are not after each moment; null for no moment."""
        import numpy as np

        at = np.searchsorted(self.times, begin.fill_null(0).to_numpy(), "right").astype(np.int64)
        return pl.select(pl.when(begin.is_not_null()).then(pl.Series(at)).alias("_at")).to_series()

    def look(self, key: Whole, at: Whole) -> tuple[Whole, Whole]:
        """Give how many calibrations are valid, two for more, and the one; by the first rank that has any."""
        import numpy as np

        count, found = np.zeros(key.size, np.int64), np.zeros(key.size, np.int64)
        asked = key * self.width + at
        known = (key >= 0) & (at >= 0)
        for cuts, held, total in self.ranks:
            place = np.searchsorted(cuts, asked, "right") - 1
            there = known & (place >= 0) & (count == 0)
            there &= cuts[place] // self.width == key
            count = np.where(there, np.minimum(held[place], 2), count)
            found = np.where(there, total[place], found)
        return count, found


def _cuts(rows: pl.DataFrame, width: int) -> tuple[Whole, Whole, Whole]:
    """Give the cuts of one rank, and from each on how many are valid, and the sum of their rows."""
    import numpy as np

    rows = _joined(rows)
    key, dataset = rows["_key"].to_numpy(), rows["dataset"].to_numpy().astype(np.int64)
    at = np.concatenate([key * width + rows["_from"].to_numpy(), key * width + rows["_to"].to_numpy()])
    step = np.concatenate([np.ones(key.size, np.int64), np.full(key.size, -1, np.int64)])
    order = np.argsort(at, kind="stable")
    at, step, value = at[order], step[order], (step * np.concatenate([dataset, dataset]))[order]
    last = np.append(at[1:] != at[:-1], True)  # of equal cuts the last has the whole sum
    return at[last], np.cumsum(step)[last], np.cumsum(value)[last]


def _joined(rows: pl.DataFrame) -> pl.DataFrame:
    """Join the validities of one dataset that overlap, as when two collections say the same."""
    if rows["dataset"].n_unique() == rows.height:
        return rows
    rows = rows.sort("_key", "dataset", "_from", "_to")
    before = pl.col("_to").cum_max().shift(1).over("_key", "dataset")
    rows = rows.with_columns((before.is_null() | (pl.col("_from") > before)).cum_sum().alias("_part"))
    return rows.group_by("_part", maintain_order=True).agg(
        pl.first("_key", "dataset", "_from"), pl.max("_to")
    )


@dataclass(frozen=True, slots=True)
class _Details:
    """Says of the first quanta what they lack."""

    state: State
    task: TaskDefinition
    connection: InputConnection
    quanta: pl.DataFrame
    shared: Sequence[str]

    def of(self, quanta: Whole, number: str) -> pl.DataFrame:
        frame = pl.DataFrame({"quantum": quanta}, schema={"quantum": ROW})
        rows = self.quanta[quanta[:EXAMPLES].tolist()]
        moments = _moments(self.state, self.task, rows).to_list()
        values = zip(*(rows[d].cast(pl.String).to_list() for d in self.shared), strict=True)
        texts = []
        for moment, row in zip(moments, values if self.shared else ((),) * len(moments), strict=True):
            words = ",".join(
                f"{d}={'none' if v is None else v}" for d, v in zip(self.shared, row, strict=True)
            )
            when = "for a moment that is not known" if moment is None else f"valid at {instant_text(moment)}"
            texts.append(f"{number} {self.connection.type}{{{words}}} {when}")
        details = pl.Series("detail", texts + [None] * (frame.height - len(texts)), pl.String)
        return frame.with_columns(details)
