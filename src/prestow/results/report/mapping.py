"""Maps of states: of two dimensions the worst state of every pair of values."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

import numpy as np
import polars as pl

from prestow.plan.states import WORDS
from prestow.results.report.facts import SEVERITY, SYMBOLS, StateMap

ROWS, COLUMNS = 100, 120
"""Rows and columns of a map at most; of more values several are one."""

MAPS = 3
LYING, SHORT = 3, 4
"""A map with so many times more rows than columns lies down, if no label is longer."""

FIRST_CHOICE = (("visit", "detector"), ("exposure", "detector"), ("tract", "patch"))

_RANK = np.array([SEVERITY.index(word) for word in WORDS], np.uint8)
"""How bad each code of a state is."""


def maps_of(quanta: pl.DataFrame, tasks: Sequence[str]) -> tuple[StateMap, ...]:
    """Give maps of all quanta, of the two dimensions that tell most first.

    A task whose quanta have not both dimensions goes to the next map; what has no two is drawn against tasks.

    Parameters
    ----------
    quanta : DataFrame
        ``task``, ``code`` (of `prestow.plan.states.WORDS`), and a column for each dimension.
    tasks : sequence of str
        In the order in which they are shown.
    """
    found: list[StateMap] = []
    left = quanta
    while left.height and len(found) < MAPS:
        pair = telling(left)
        if pair is None:
            break
        rows, columns = pair
        rows, columns = _turned(left, rows, columns)
        on = left.filter(pl.col(rows).is_not_null() & pl.col(columns).is_not_null())
        found.append(_map(on, rows, columns, tasks))
        left = left.filter(~pl.col("task").is_in(on["task"].unique().implode()))
    return tuple(found)


def telling(quanta: pl.DataFrame) -> tuple[str, str] | None:
    """Give the two dimensions that tell most: those of a focal plane or the sky, else what most quanta have and vary in.

    The second is ``task`` where only one dimension varies; None if none does.

    Examples
    --------
    >>> telling(pl.DataFrame({"task": ["a"] * 4, "code": [0] * 4, "night": [1, 1, 2, 2], "arm": ["b", "r", "b", "r"]}))
    ('arm', 'night')
    """
    dimensions = [name for name in quanta.columns if name not in ("task", "code")]
    if not dimensions:
        return None
    distinct = quanta.select(pl.col(dimensions).drop_nulls().n_unique()).row(0, named=True)
    for rows, columns in FIRST_CHOICE:
        both = max(distinct.get(rows, 0), distinct.get(columns, 0)) > 1
        if both and rows in distinct and columns in distinct and _together(quanta, rows, columns):
            return rows, columns
    varied = [name for name in dimensions if distinct[name] > 1]
    pairs = [
        (_together(quanta, a, b), distinct[a] * distinct[b], a, b) for a, b in combinations(sorted(varied), 2)
    ]
    pairs = [pair for pair in pairs if pair[0]]
    if pairs:
        _, _, a, b = max(pairs, key=lambda pair: (pair[0], pair[1]))
        return (a, b) if distinct[a] >= distinct[b] else (b, a)
    if varied:
        return max(varied, key=lambda name: (quanta[name].count(), distinct[name], name)), "task"
    return None


def _turned(quanta: pl.DataFrame, rows: str, columns: str) -> tuple[str, str]:
    """Give the two dimensions so that a map of few columns lies, where its labels are short enough to stand above."""
    if (rows, columns) in FIRST_CHOICE or columns == "task":
        return rows, columns
    there = quanta.select(pl.col(rows, columns).drop_nulls().n_unique())
    down, across = there.row(0)
    length = quanta.select(pl.col(rows).cast(pl.String).str.len_chars().max()).item() or 0
    return (columns, rows) if across * LYING < down <= COLUMNS and length <= SHORT else (rows, columns)


def _together(quanta: pl.DataFrame, a: str, b: str) -> int:
    return int(quanta.select((pl.col(a).is_not_null() & pl.col(b).is_not_null()).sum()).item())


def _map(quanta: pl.DataFrame, rows: str, columns: str, tasks: Sequence[str]) -> StateMap:
    codes = quanta["code"].to_numpy()
    across, names_across, by_across, of_across = _binned(
        quanta[columns], COLUMNS, tasks if columns == "task" else ()
    )
    down, names_down, by_down, of_down = _binned(quanta[rows], ROWS, ())
    grid = np.full((len(names_down), len(names_across)), -1, np.int8)
    np.maximum.at(grid, (down, across), _RANK[codes].astype(np.int8))
    letters = np.array([*(SYMBOLS[word] for word in SEVERITY), " "])
    each = pl.DataFrame({"down": of_down, "across": of_across, "rank": _RANK[codes]})
    worst = each.group_by("down", "across").agg(pl.col("rank").max())["rank"]
    counts = np.bincount(worst.to_numpy(), minlength=len(SEVERITY))
    present = set(quanta["task"].unique())
    return StateMap(
        rows, columns, names_down, names_across, tuple("".join(row) for row in letters[grid]),
        tuple(task for task in tasks if task in present), (by_down, by_across),
        {word: int(n) for word, n in zip(SEVERITY, counts, strict=True) if n},
    )  # fmt: skip


def _binned(
    values: pl.Series, most: int, order: Sequence[str]
) -> tuple[np.ndarray, tuple[str, ...], int, np.ndarray]:
    """Give for each value its bin and its own number, the bins' names, and how many values are one bin."""
    there = set(values.unique()) if order else set()
    distinct = [one for one in order if one in there] if order else values.unique().sort().to_list()
    number = values.replace_strict(distinct, range(len(distinct)), return_dtype=pl.Int64).to_numpy()
    each = -(-len(distinct) // most)
    names = [distinct[i : i + each] for i in range(0, len(distinct), each)]
    texts = tuple(str(part[0]) if len(part) == 1 else f"{part[0]} … {part[-1]}" for part in names)
    return number // each, texts, each, number
