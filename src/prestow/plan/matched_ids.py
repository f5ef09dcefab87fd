"""Rows of two columns of ids that are equal: by one sort of short keys, several times faster than a join."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import polars as pl

Numbers = npt.NDArray[np.int64]


def match_ids(left: pl.Series, right: pl.Series) -> tuple[Numbers, Numbers]:
    """Give the rows of equal ids: in ``left``, and beside them in ``right``.

    Parameters
    ----------
    left, right : Series
        Ids of 16 bytes that are as good as random, each at most once in a column.

    Examples
    --------
    >>> ids = pl.Series([bytes([i]) * 16 for i in range(4)])
    >>> [rows.tolist() for rows in match_ids(ids, ids.reverse().head(2))]
    [[2, 3], [1, 0]]
    """
    bits = max(left.len(), right.len(), 2).bit_length() + 1  # of a key: the side, then the row
    keys = np.concatenate([_keys(left, bits, 0), _keys(right, bits, 1)])
    keys.sort()
    # Neighbours with one beginning are one id, most surely; that they are is looked at below.
    near = np.flatnonzero((keys[:-1] >> np.uint64(bits)) == (keys[1:] >> np.uint64(bits)))
    mask = np.uint64((1 << (bits - 1)) - 1)
    side = np.uint64(bits - 1)
    near = near[((keys[near] >> side) & np.uint64(1)) != ((keys[near + 1] >> side) & np.uint64(1))]
    ours, theirs = (keys[near] & mask).astype(np.int64), (keys[near + 1] & mask).astype(np.int64)
    equal = (left.gather(ours) == right.gather(theirs)).to_numpy()
    ours, theirs = ours[equal], theirs[equal]
    more = _rest(left, right, ours, theirs)
    ours, theirs = np.concatenate([ours, more[0]]), np.concatenate([theirs, more[1]])
    place = np.full(left.len(), -1)
    place[ours] = theirs
    rows = np.flatnonzero(place >= 0)
    return rows, place[rows]


def _keys(ids: pl.Series, bits: int, side: int) -> npt.NDArray[np.uint64]:
    begin = (
        ids.cast(pl.Binary).bin.slice(0, 8).bin.reinterpret(dtype=pl.UInt64, endianness="little").to_numpy()
    )
    rows = np.arange(len(begin), dtype=np.uint64) | np.uint64(side << (bits - 1))
    shifted: npt.NDArray[np.uint64] = ((begin >> np.uint64(bits)) << np.uint64(bits)) | rows
    return shifted


def _rest(left: pl.Series, right: pl.Series, ours: Numbers, theirs: Numbers) -> tuple[Numbers, Numbers]:
    """Match what the short keys left over: most often nothing of one side."""
    frames = []
    for ids, rows in ((left, ours), (right, theirs)):
        over = np.ones(ids.len(), np.bool_)
        over[rows] = False
        row = np.flatnonzero(over)
        frames.append(pl.DataFrame({"id": ids.gather(row).cast(pl.Binary), "row": row}))
    found = frames[0].join(frames[1], on="id", how="inner")
    return found["row"].to_numpy(), found["row_right"].to_numpy()
