"""Rows of a plan's tables by number, without reading the tables: only the row groups that hold them."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.plan.ranges import places_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.plan.plan import Tables

    Numbers = npt.NDArray[np.int64]


_MOST = 2**32  # more than there are rows


def rows_at(tables: Tables, name: str, numbers: Numbers, columns: Sequence[str]) -> pl.DataFrame:
    """Give rows of a table in which each stands at its number, in the order of the numbers.

    Parameters
    ----------
    numbers : array of int64
        Sorted, each once.
    """
    file = tables.file(name)
    if file is None:
        return tables[name].select(columns)[numbers]
    bounds = np.cumsum([0, *(file.metadata.row_group(i).num_rows for i in range(file.num_row_groups))])
    group = np.searchsorted(bounds, numbers, "right") - 1
    groups = group[np.flatnonzero(np.diff(group, prepend=-1))]
    before = np.cumsum([0, *(bounds[groups + 1] - bounds[groups])])[:-1]
    place = numbers - bounds[group] + before[np.searchsorted(groups, group)]
    return _read(file, groups.tolist(), columns, place)


def rows_of(tables: Tables, name: str, quanta: Numbers, columns: Sequence[str]) -> pl.DataFrame:
    """Give the rows of a table that belong to some quanta; it stands by ``quantum``, which is among the columns."""
    file = tables.file(name)
    if file is None:
        frame = tables[name].select(columns)
        return frame[places_of(frame["quantum"].to_numpy(), quanta)]
    groups = _groups_of(file, file.schema_arrow.names.index("quantum"), quanta)
    table = file.read_row_groups(groups, columns=list(columns), use_threads=False)
    return _frame(table.take(places_of(table["quantum"].to_numpy(), quanta)), columns)


def groups_of(tables: Tables, name: str, quanta: Numbers) -> list[int]:
    """Give the row groups of a table's file that may hold rows of some quanta."""
    file = tables.file(name)
    return _groups_of(file, file.schema_arrow.names.index("quantum"), quanta)


def _groups_of(file: Any, at: int, quanta: Numbers) -> list[int]:  # Any: a library without types
    """Give the row groups that may hold some quanta; the table stands in order, so that few are looked at."""
    every = range(file.num_row_groups)
    if not len(quanta) or not every:
        return []

    def bounds(group: int) -> tuple[int, int]:
        statistics = file.metadata.row_group(group).column(at).statistics
        return (statistics.min, statistics.max) if statistics and statistics.has_min_max else (0, _MOST)

    first = bisect_left(every, quanta[0], key=lambda group: bounds(group)[1])
    last = bisect_right(every, quanta[-1], key=lambda group: bounds(group)[0])
    return [group for group in every[first:last] if _meets(quanta, *bounds(group))]


def _meets(quanta: Numbers, low: int, high: int) -> bool:
    at = int(np.searchsorted(quanta, low))
    return at < len(quanta) and bool(quanta[at] <= high)


def _read(
    file: Any,  # Any: the same
    groups: Sequence[int],
    columns: Sequence[str],
    places: npt.NDArray[np.intp],
) -> pl.DataFrame:
    # What is not wanted is dropped before it is anything but Arrow's.
    return _frame(
        file.read_row_groups(list(groups), columns=list(columns), use_threads=False).take(places), columns
    )


def _frame(table: Any, columns: Sequence[str]) -> pl.DataFrame:  # Any: the same
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame.select(columns)
