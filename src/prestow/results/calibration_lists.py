"""What is certified, as a list; and where it has gaps and overlaps, all at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.model.instants import FOREVER, begins, instant_text, interval_text, timeless
from prestow.plan.frames import imply

if TYPE_CHECKING:
    import numpy as np

    from prestow.registry import Registry

    Whole = np.ndarray[tuple[int], np.dtype[np.int64]]

_SPAN = ("begin", "end")


@dataclass(frozen=True, slots=True)
class Listed:
    """What is certified: a row for each validity.

    ``frame`` has ``collection``, ``type``, ``data_id`` (as text), ``id``, ``run``, ``path``, ``valid_begin``,
    ``valid_end``, ``known_begin``, ``known_end``.
    """

    frame: pl.DataFrame

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "count": self.frame.height,
            "calibrations": [_row(row) for row in self.frame.iter_rows(named=True)],
        }


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong with what is certified.

    ``gaps`` and ``overlaps`` have ``type``, ``data_id`` (as text), ``begin``, ``end``, ``observations``; overlaps
    also ``datasets``, how many are valid. Sorted.
    """

    collections: tuple[str, ...]
    types: tuple[str, ...]
    validities: int
    gaps: pl.DataFrame
    overlaps: pl.DataFrame

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values; times in nanoseconds of TAI."""
        return {
            "collections": list(self.collections), "types": list(self.types), "validities": self.validities,
            "gaps": self.gaps.to_dicts(), "overlaps": self.overlaps.to_dicts(),
        }  # fmt: skip


def _row(row: dict[str, Any]) -> dict[str, Any]:  # Any: JSON values
    return {
        **{name: row[name] for name in ("collection", "type", "data_id", "id", "run", "path")},
        "valid": interval_text(row["valid_begin"], row["valid_end"]),
        "valid_begin": row["valid_begin"], "valid_end": row["valid_end"],
        "known_since": instant_text(row["known_begin"]),
        "known_until": None if row["known_end"] == FOREVER else instant_text(row["known_end"]),
    }  # fmt: skip


def listed(
    registry: Registry,
    collections: Sequence[str] = (),
    types: Sequence[str] = (),
    as_of: int | None = None,
) -> Listed:
    """Give what is certified and known, by type, data ID and validity."""
    names = types or registry.certified.types(collections)
    parts = []
    for name in names:
        frame = _whole(_known(registry, name, collections, as_of))
        dims = registry.dataset_types()[name].dimensions if frame.height else ()
        parts.append(
            frame.sort(*dims, "valid_begin", "known_begin").select(
                "collection", "type", _text(dims).alias("data_id"),
                pl.col("id").cast(pl.Binary).bin.encode("hex").alias("id"), "run", "path", "valid_begin", "valid_end",
                "known_begin", "known_end",
            )
        ) if frame.height else None  # fmt: skip
    empty = pl.DataFrame(
        schema={
            **dict.fromkeys(("collection", "type", "data_id", "id", "run", "path"), pl.String),
            **dict.fromkeys(("valid_begin", "valid_end", "known_begin", "known_end"), pl.Int64),
        }
    )
    return Listed(pl.concat([empty, *parts]))


def _known(registry: Registry, name: str, collections: Sequence[str], as_of: int | None) -> pl.DataFrame:
    table = pl.from_arrow(registry.calibrations([name], collections, as_of))
    assert isinstance(table, pl.DataFrame)
    return table


def _whole(frame: pl.DataFrame) -> pl.DataFrame:
    """Join slices of one certification: of what was superseded later, and was not yet as of then."""
    one = ["collection", "id", "known_begin"]
    frame = frame.sort(*one, "valid_begin")
    joins = pl.col("valid_begin") == pl.col("valid_end").shift(1).over(one)
    frame = frame.with_columns((~joins.fill_null(value=False)).cum_sum().alias("_part"))
    ends = frame.group_by("_part").agg(pl.max("valid_end"))
    return frame.unique("_part", keep="first", maintain_order=True).drop("valid_end").join(ends, on="_part")


def _text(dimensions: Sequence[str]) -> pl.Expr:
    """Give values as people read them: ``detector=3,instrument=sim``."""
    if not dimensions:
        return pl.lit("")
    parts = [pl.format(f"{d}={{}}", pl.col(d).cast(pl.String).fill_null("none")) for d in dimensions]
    return pl.concat_str(parts, separator=",")


def check(registry: Registry, collections: Sequence[str] = (), as_of: int | None = None) -> Checked:
    """Find gaps and overlaps of everything certified, by dataset type and data ID, all at once.

    An overlap is a span in which more than one dataset is valid. A gap is a span in which none is,
    from the first to the last observation (visits, or exposures where there are no visits) that the data
    ID could be for; also where all that was certified for it was taken back.
    """
    searched = registry.certified.searched(collections)
    types = registry.certified.types(collections)
    universe = registry.universe
    observed = _observations(registry)
    gaps, overlaps, count = [], [], 0
    for name in types:
        rows = _known(registry, name, collections, as_of)
        count += rows.height
        names = timeless(universe, registry.dataset_types()[name].dimensions)
        ever = pl.from_arrow(registry.certified.history(name, collections, as_of, registry.datasets))
        assert isinstance(ever, pl.DataFrame)
        if not ever.height:
            continue
        keys = ever.select(names).unique().sort(names) if names else pl.DataFrame({"_": [0]})
        keys = keys.with_row_index("_key").with_columns(pl.col("_key").cast(pl.Int64))
        rows = (
            rows.join(keys, on=names, how="inner") if names else rows.with_columns(_key=pl.lit(0, pl.Int64))
        )
        seen = _seen(keys, names, observed)
        few, many = _spans(rows, seen)
        told = keys.select("_key", pl.lit(name).alias("type"), _text(names).alias("data_id"))
        gaps.append(_shown(few, told).drop("datasets"))
        overlaps.append(_shown(many, told))
    schema = {"type": pl.String, "data_id": pl.String, **dict.fromkeys((*_SPAN, "observations"), pl.Int64)}
    return Checked(
        tuple(one.name for one in searched),
        types,
        count,
        pl.concat([pl.DataFrame(schema=schema), *gaps]),
        pl.concat([pl.DataFrame(schema={**schema, "datasets": pl.Int64}), *overlaps]),
    )


def _shown(spans: pl.DataFrame, told: pl.DataFrame) -> pl.DataFrame:
    rows = spans.join(told, on="_key", how="inner", maintain_order="left")
    return rows.select("type", "data_id", *_SPAN, "observations", "datasets")


def _observations(registry: Registry) -> pl.DataFrame:
    """Give the observations there are, with their dimensions and begin: visits, if there are any."""
    universe = registry.universe
    for element in sorted((d for d in universe.dimensions if begins(universe, d)), reverse=True):
        table = pl.from_arrow(registry.dimension_records(element))
        assert isinstance(table, pl.DataFrame)
        table = table.filter(pl.col("begin").is_not_null())
        if table.height:
            dimension = universe.dimensions[element]
            frame = table.select(*universe.close([element]), *dimension.implies, "begin")
            more = sorted({d for i in dimension.implies for d in universe.dimensions[i].implies})
            records: dict[str, pl.DataFrame] = {}
            for name in universe.expand([element]):
                own = pl.from_arrow(registry.dimension_records(name))
                assert isinstance(own, pl.DataFrame)
                records[name] = own
            return imply(frame, universe, records, more)
    return pl.DataFrame(schema={"begin": pl.Int64})


def _seen(keys: pl.DataFrame, names: Sequence[str], observed: pl.DataFrame) -> tuple[Whole, Whole, Whole]:
    """Give all moments by what observations have in common with data IDs, and where those of each data ID are.

    Returns
    -------
    moments, first, last
        Sorted within each group; those of data ID k are ``moments[first[k]:last[k]]``. Detectors share theirs.
    """
    import numpy as np

    shared = [d for d in names if d in observed.columns]
    if not shared:
        moments = observed["begin"].sort().to_numpy()
        return moments, np.zeros(keys.height, np.int64), np.full(keys.height, moments.size, np.int64)
    rows = observed.join(keys.select(shared).unique(), on=shared, how="semi")
    rows = rows.sort(*shared, "begin").with_row_index("_at")
    groups = rows.group_by(shared).agg(pl.col("_at").min().alias("_first"), pl.len().alias("_count"))
    place = keys.join(groups, on=shared, how="left", maintain_order="left")
    first = place["_first"].fill_null(0).cast(pl.Int64).to_numpy()
    return rows["begin"].to_numpy(), first, first + place["_count"].fill_null(0).cast(pl.Int64).to_numpy()


def _spans(rows: pl.DataFrame, seen: tuple[Whole, Whole, Whole]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give spans without, and with more than one valid dataset, each as long as it goes."""
    import numpy as np

    moments, first, last = seen
    rows = _merged(rows)
    key = rows["_key"].to_numpy()
    some = last > first
    low = np.where(some, moments[np.minimum(first, moments.size - 1)] if moments.size else 0, 0)
    high = np.where(some, moments[np.maximum(last - 1, 0)] + 1 if moments.size else 0, 0)
    watched = np.flatnonzero(some)
    # How many are valid changes at begins and ends; whether anything is observed, where that begins and ends.
    keys = np.concatenate([key, key, watched, watched])
    times = np.concatenate(
        [rows["valid_begin"].to_numpy(), rows["valid_end"].to_numpy(), low[watched], high[watched]]
    )
    ones = np.ones(key.size, np.int64)
    none = np.zeros(watched.size, np.int64)
    valid = np.concatenate([ones, -ones, none, none])
    inside = np.concatenate([0 * ones, 0 * ones, none + 1, none - 1])
    order = np.lexsort((times, keys))
    keys, times = keys[order], times[order]
    valid, inside = np.cumsum(valid[order]), np.cumsum(inside[order])
    final = np.append((keys[1:] != keys[:-1]) | (times[1:] != times[:-1]), True)
    keys, times, valid, inside = keys[final], times[final], valid[final], inside[final]
    end = np.append(times[1:], 0)
    more = np.append(keys[1:] == keys[:-1], False)
    found = []
    for there in (more & (valid == 0) & (inside == 1), more & (valid > 1)):
        at = np.flatnonzero(there)
        starts = np.append(True, (at[1:] != at[:-1] + 1)) if at.size else np.empty(0, bool)
        begin = at[starts]
        stop = at[np.append(starts[1:], True)] if at.size else at
        most = np.maximum.reduceat(valid[at], np.flatnonzero(starts)) if at.size else at
        spans = pl.DataFrame(
            {"_key": keys[begin], "begin": times[begin], "end": end[stop], "datasets": most},
            schema=dict.fromkeys(("_key", "begin", "end", "datasets"), pl.Int64),
        )
        found.append(spans.with_columns(observations=pl.Series(_hits(spans, seen), dtype=pl.Int64)))
    return found[0], found[1]


def _merged(rows: pl.DataFrame) -> pl.DataFrame:
    """Join validities of one dataset that touch: several collections may say the same."""
    rows = rows.select("_key", "id", "valid_begin", "valid_end").sort(
        "_key", "id", "valid_begin", "valid_end"
    )
    before = pl.col("valid_end").cum_max().shift(1).over("_key", "id")
    rows = rows.with_columns((before.is_null() | (pl.col("valid_begin") > before)).cum_sum().alias("_part"))
    return rows.group_by("_part", maintain_order=True).agg(
        pl.first("_key", "valid_begin"), pl.max("valid_end")
    )


def _hits(spans: pl.DataFrame, seen: tuple[Whole, Whole, Whole]) -> Whole:
    """Count the observations in each span."""
    import numpy as np

    moments, first, last = seen
    if not moments.size or not spans.height:
        return np.zeros(spans.height, np.int64)
    # A moment is packed with its group into one number: ranks of times, and which group.
    times = np.unique(moments)
    groups, number = np.unique(first, return_inverse=True)
    owner = np.searchsorted(groups, np.arange(moments.size), "right") - 1
    packed = owner * (times.size + 1) + np.searchsorted(times, moments)
    key = spans["_key"].to_numpy()
    ends = [
        np.searchsorted(
            packed, number[key] * (times.size + 1) + np.searchsorted(times, spans[name].to_numpy())
        )
        for name in _SPAN
    ]
    count: Whole = np.where(last[key] > first[key], ends[1] - ends[0], 0)
    return count
