"""Several key columns as one integer: joins, distinct rows and look-ups at a fraction of the cost."""

from __future__ import annotations

from collections.abc import Sequence

import polars as pl

ROW = pl.UInt32
_WIDEST = 1 << 62
_DENSE = 8  # places of a direct table for each row that is looked up
_SMALL = 1 << 16


def pack(frames: Sequence[pl.DataFrame], on: Sequence[str]) -> tuple[list[pl.Series], int]:
    """Give one integer for each row of each frame: equal where all keys are, and in their order.

    A key that is null makes the integer null: it agrees with nothing.

    Parameters
    ----------
    frames : sequence of DataFrame
        With the columns ``on``, each of one type in all frames.

    Returns
    -------
    list of Series
        Int64, at least 0.
    int
        All of them are below this.

    Examples
    --------
    >>> left = pl.DataFrame({"a": [1, 2], "b": [7, None]})
    >>> right = pl.DataFrame({"a": [2, 1], "b": [9, 7]})
    >>> keys, below = pack([left, right], ["a", "b"])
    >>> [one.to_list() for one in keys], below
    ([[0, None], [5, 0]], 6)
    """
    packed: list[pl.Series] | None = None
    below = 1
    for name in on:
        codes, size = _codes([frame[name] for frame in frames])
        if packed is None:
            packed, below = codes, size
            continue
        if size == 1 and not any(code.null_count() for code in codes):
            continue
        if below > _WIDEST // size:
            packed, below = _ranks(packed)
        if below > _WIDEST // size:
            codes, size = _ranks(codes)
        packed = [one * size + code for one, code in zip(packed, codes, strict=True)]
        below *= size
    if packed is None:
        packed = [pl.repeat(0, frame.height, dtype=pl.Int64, eager=True) for frame in frames]
    return packed, below


def _codes(columns: Sequence[pl.Series]) -> tuple[list[pl.Series], int]:
    """Give the values of a column as integers from 0 on, in their order, and how far they go."""
    kind = columns[0].dtype
    if kind == pl.String or (isinstance(kind, pl.Enum) and any(c.dtype != kind for c in columns)):
        texts = [column.cast(pl.String) for column in columns]
        known = pl.Enum(pl.concat([text.unique() for text in texts]).drop_nulls().unique().sort())
        columns = [text.cast(known) for text in texts]
    integers = [column.to_physical().cast(pl.Int64) for column in columns]
    lows = [low for one in integers if (low := one.min()) is not None]
    if not lows:
        return integers, 1
    low = int(min(lows))  # type: ignore[arg-type]  # of integers
    high = max(int(one.max()) for one in integers if one.len() - one.null_count())  # type: ignore[arg-type]
    if high - low >= _WIDEST:  # their difference may be no integer of 64 bits
        return _ranks(integers)
    return ([one - low for one in integers] if low else integers), high - low + 1


def _ranks(columns: Sequence[pl.Series]) -> tuple[list[pl.Series], int]:
    """Give integers that are too far apart as their ranks."""
    known = pl.concat(columns).drop_nulls().unique().sort()
    ranks = [known.search_sorted(column).cast(pl.Int64) for column in columns]
    blank = [column.is_null() for column in columns]
    found = [
        rank if not none.any() else pl.select(pl.when(~none).then(rank)).to_series()
        for rank, none in zip(ranks, blank, strict=True)
    ]
    return found, max(known.len(), 1)


def find(wanted: pl.Series, known: pl.Series, below: int) -> pl.Series:
    """Give for each wanted key the row of the known one that is equal, or null.

    Parameters
    ----------
    known : Series
        No key twice.
    below : int
        All keys are less, see `pack`.

    Examples
    --------
    >>> find(pl.Series([5, 3, None]), pl.Series([3, 4]), 6).to_list()
    [None, 0, None]
    """
    rows = pl.int_range(known.len(), dtype=ROW, eager=True)
    if below <= max(_DENSE * (wanted.len() + known.len()), _SMALL):
        places = pl.repeat(None, below, dtype=ROW, eager=True)
        if known.null_count():
            here = known.is_not_null()
            known, rows = known.filter(here), rows.filter(here)
        return places.scatter(known, rows).gather(wanted) if known.len() else _nothing(wanted)
    left = pl.DataFrame({"key": wanted})
    right = pl.DataFrame({"key": known, "row": rows})
    return left.join(right, on="key", how="left", maintain_order="left")["row"]


def _nothing(like: pl.Series) -> pl.Series:
    return pl.repeat(None, like.len(), dtype=ROW, eager=True)


def ascending(keys: pl.Series) -> bool:
    """Say whether keys are sorted, each once, and none null."""
    return not keys.null_count() and bool((keys.slice(1) > keys.slice(0, max(keys.len() - 1, 0))).all())


def distinct(frame: pl.DataFrame, on: Sequence[str], *, whole: bool = False) -> pl.DataFrame:
    """Give the distinct values of these columns, sorted; a row with a null among them is none.

    Columns of a frame that has them so already are shared and not copied. With ``whole`` the other
    columns come along: they follow from these.

    Examples
    --------
    >>> distinct(pl.DataFrame({"a": [2, 1, 2, None], "b": [0, 0, 0, 0]}), ["a", "b"]).rows()
    [(1, 0), (2, 0)]
    """
    rows = distinct_rows(frame, on)
    frame = frame if whole else frame.select(on)
    return frame if rows is None else frame[rows]


def distinct_rows(frame: pl.DataFrame, on: Sequence[str]) -> pl.Series | None:
    """Give a row for each distinct data ID, in their order; None if that is every row as it stands."""
    (keys,), _ = pack([frame], on)
    if ascending(keys):
        return None
    if keys.null_count() == 0 and keys.is_sorted():
        first = keys.slice(1) != keys.slice(0, keys.len() - 1)
        return pl.concat([pl.Series([True]), first]).arg_true()
    firsts = keys.arg_unique()
    found = keys.gather(firsts)
    order = found.arg_sort(nulls_last=True)
    return firsts.gather(order.head(found.len() - found.null_count()))
