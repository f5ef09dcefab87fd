"""A workflow cut into parts of so many jobs at most: sub-workflows, along the plan's own groups.

Jobs that files connect, by whatever way, stay together where they fit. What is connected and does not
fit is cut between two depths, the deepest of which it still falls into pieces that fit: so the chains
of each visit stay whole, and what gathers them follows. Parts wait for each other without a circle.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]
    Truths = npt.NDArray[np.bool_]

ROUNDS = 8
"""So often what does not fit is cut between depths; what is left then is cut in the order of depths."""

DEEP = 64
"""What has more depths than so many is no survey's graph, and is cut in their order at once."""


def parts(jobs: pl.DataFrame, edges: pl.DataFrame, most: int) -> pl.Series:
    """Give each job the number of its part.

    Parameters
    ----------
    jobs : DataFrame
        ``job`` (number in the plan) and ``depth``; in any order.
    edges : DataFrame
        ``parent`` and ``child``, numbers of these jobs; the child is the deeper one. In any order.
    most : int
        Jobs of a part, at most.

    Returns
    -------
    Series
        ``part`` of each row of ``jobs``, from 0 on without gaps. A part waits for parts of lower numbers only.

    Raises
    ------
    ValueError
        If an edge names no job of these or does not lead deeper, or ``most`` is less than 1.

    Examples
    --------
    >>> jobs = pl.DataFrame({"job": [0, 1, 2, 3, 4], "depth": [0, 0, 1, 1, 2]})
    >>> edges = pl.DataFrame({"parent": [0, 1, 2, 3], "child": [2, 3, 4, 4]})
    >>> parts(jobs, edges, 5).to_list()
    [0, 0, 0, 0, 0]
    >>> parts(jobs, edges, 2).to_list()
    [0, 1, 0, 1, 2]
    """
    if most < 1:
        raise ValueError(f"a part has one job at least, not {most}")
    count = jobs.height
    numbers = jobs["job"].to_numpy().astype(np.int64)
    order = np.argsort(numbers, kind="stable")
    numbers = numbers[order]
    depth = jobs["depth"].to_numpy().astype(np.int64)[order]
    tails, heads = _rows(numbers, edges["parent"]), _rows(numbers, edges["child"])
    if bool((depth[tails] >= depth[heads]).any()):
        raise ValueError("an edge leads to a job that is not deeper")
    found = np.zeros(count, np.int64)
    if count > most:
        _cut(found, depth, tails, heads, most)
    result = np.empty(count, np.uint32)
    result[order] = found
    return pl.Series("part", result)


def crossing(uses: pl.DataFrame, part: pl.DataFrame) -> pl.DataFrame:
    """Give the files that one part makes and others read.

    Parameters
    ----------
    uses : DataFrame
        ``job``, ``name`` (or its hash), ``output``: files of jobs.
    part : DataFrame
        ``job`` and ``part``.

    Returns
    -------
    DataFrame
        ``name``, ``producer`` (part), ``consumers`` (list of parts, sorted); sorted by name.
    """
    placed = uses.join(part.select(pl.col("job").cast(uses.schema["job"]), "part"), on="job")
    made = placed.filter("output").select("name", producer="part")
    read = placed.filter(~pl.col("output")).select("name", consumer="part").unique()
    both = read.join(made, on="name").filter(pl.col("consumer") != pl.col("producer"))
    grouped = both.group_by("name", "producer").agg(consumers=pl.col("consumer").sort())
    return grouped.sort("name")


def between(edges: pl.DataFrame, part: pl.DataFrame) -> pl.DataFrame:
    """Give which parts wait for which: ``parent`` and ``child``, numbers of parts, sorted, each pair once."""
    known = part.select(pl.col("job").cast(edges.schema["parent"]), "part")
    placed = edges.join(known, left_on="parent", right_on="job").rename({"part": "from"})
    placed = placed.join(known, left_on="child", right_on="job").rename({"part": "to"})
    pairs = placed.filter(pl.col("from") != pl.col("to")).select(parent="from", child="to")
    return pairs.unique().sort("parent", "child")


def _rows(numbers: Numbers, ends: pl.Series) -> Numbers:
    """Give the rows at which sorted numbers are these."""
    wanted = ends.to_numpy().astype(np.int64)
    if not len(wanted):
        return wanted
    rows = np.minimum(np.searchsorted(numbers, wanted), max(len(numbers) - 1, 0))
    if not len(numbers) or bool((numbers[rows] != wanted).any()):
        raise ValueError("an edge names a job that is not there")
    return rows


def _cut(found: Numbers, depth: Numbers, tails: Numbers, heads: Numbers, most: int) -> None:
    """Write the part of each row.

    Each round closes whole pieces: of all that is connected, what fits; of what does not fit, the pieces above
    a depth. What a closed row waits for is in its piece or was closed in an earlier round, so no circle comes.
    """
    open_rows = np.arange(len(found))
    used = 0
    for _ in range(ROUNDS if len(depth) and int(depth.max()) < DEEP else 0):
        count = len(open_rows)
        labels = _labels(count, tails, heads)
        large = np.bincount(labels, minlength=count)[labels] > most
        closed = ~large
        if large.any():
            inside = large[tails]
            bound = _bounds(depth[open_rows], labels, large, tails[inside], heads[inside], most)
            closed |= depth[open_rows] < bound
            kept = closed[heads]  # then its tail, which is shallower, is closed, too
            labels = _labels(count, tails[kept], heads[kept])
        used += _pack(found, open_rows[closed], labels[closed], most, used)
        if closed.all():
            return
        new = np.cumsum(~closed) - 1
        kept = ~closed[tails] & ~closed[heads]
        tails, heads, open_rows = new[tails[kept]], new[heads[kept]], open_rows[~closed]
    order = np.lexsort((open_rows, depth[open_rows]))
    found[open_rows[order]] = used + np.arange(len(open_rows)) // most


def _bounds(
    depth: Numbers, labels: Numbers, large: Truths, tails: Numbers, heads: Numbers, most: int
) -> Numbers:
    """Give each row the depth above which its component falls into pieces that fit; 0 where it is not large.

    It is looked for by halves in all components at the same time.
    """
    names, which = np.unique(labels[large], return_inverse=True)
    rows = np.flatnonzero(large)
    component = np.zeros(len(labels), np.int64)
    component[rows] = which
    deep = depth[rows]
    low = np.full(len(names), np.iinfo(np.int64).max)
    np.minimum.at(low, which, deep)
    low += 1  # rows of one depth are in no way connected
    high = np.zeros(len(names), np.int64)
    np.maximum.at(high, which, deep)  # the whole does not fit
    while bool((low < high).any()):
        middle = (low + high + 1) // 2
        kept = depth[heads] < middle[component[heads]]
        above = rows[deep < middle[which]]
        pieces = _labels(len(labels), tails[kept], heads[kept])[above]
        size = np.bincount(pieces, minlength=len(labels))[pieces]
        largest = np.zeros(len(names), np.int64)
        np.maximum.at(largest, component[above], size)
        fits = largest <= most
        low, high = np.where(fits, middle, low), np.where(fits, high, middle - 1)
    bound = np.zeros(len(labels), np.int64)
    bound[rows] = np.maximum(low, 1)[which]
    return bound


def _labels(count: int, tails: Numbers, heads: Numbers) -> Numbers:
    """Give each row the first row of all that edges connect it with."""
    labels = np.arange(count)
    while len(tails):
        one, other = labels[tails], labels[heads]
        open_edges = one != other
        tails, heads, one, other = tails[open_edges], heads[open_edges], one[open_edges], other[open_edges]
        if not len(tails):
            break
        np.minimum.at(labels, np.maximum(one, other), np.minimum(one, other))
        while True:
            jumped = labels[labels]
            if bool((jumped == labels).all()):
                break
            labels = jumped
    return labels


def _pack(found: Numbers, rows: Numbers, labels: Numbers, most: int, used: int) -> int:
    """Put whole pieces into parts, in the plan's order, as long as they fit; give how many parts."""
    if not len(rows):
        return 0
    _, first, piece, sizes = np.unique(labels, return_index=True, return_inverse=True, return_counts=True)
    del first  # a piece is named by its first row: so pieces are in the plan's order
    ends = np.cumsum(sizes)
    number = np.zeros(len(sizes), np.int64)
    start, parts_made = 0, 0
    while start < len(sizes):
        before = ends[start] - sizes[start]
        stop = int(np.searchsorted(ends, before + most, side="right"))
        number[start:stop] = parts_made
        start, parts_made = stop, parts_made + 1
    found[rows] = used + number[piece]
    return parts_made
