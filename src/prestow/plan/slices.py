"""Rows of a plan's tables by number, without reading the tables: only the row groups that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.plan.ranges import places_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.plan.plan import Tables

    Numbers = npt.NDArray[np.int64]


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
    at = file.schema_arrow.names.index("quantum")
    groups = [
        i
        for i in range(file.num_row_groups)
        if _overlaps(file.metadata.row_group(i).column(at).statistics, quanta)
    ]
    table = file.read_row_groups(groups, columns=list(columns), use_threads=False)
    return _frame(table.take(places_of(table["quantum"].to_numpy(), quanta)), columns)


def _overlaps(statistics: Any, quanta: Numbers) -> bool:  # Any: a library without types
    if statistics is None or not statistics.has_min_max:
        return True
    at = int(np.searchsorted(quanta, statistics.min))
    return at < len(quanta) and bool(quanta[at] <= statistics.max)


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
