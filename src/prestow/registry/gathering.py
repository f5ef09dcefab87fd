"""Joins of whole tables outside the database: where most rows are asked for, it only has to read them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

from prestow.registry.columns import words

if TYPE_CHECKING:
    import pyarrow as pa

SHARE = 8  # a table is read whole where an eighth of it is asked for


def gather(datasets: pa.Table, data_ids: pa.Table, artifacts: pa.Table, by: Sequence[str]) -> pa.Table:
    """Give datasets with their data IDs and first artifacts, in order; one without an artifact is left out.

    Parameters
    ----------
    datasets : Table
        With ``id`` and ``n_``, the number of the data ID.
    data_ids : Table
        With ``n_``.
    artifacts : Table
        With ``dataset`` and ``store``; of several the one of the store with the lowest number.
    by : sequence of str
        Columns of the first two tables that give the order.
    """
    import numpy as np

    there, found = _first_artifacts(datasets, artifacts)
    numbers = _numbers(data_ids["n_"])
    by_number = np.argsort(numbers, kind="stable")
    place = by_number[np.searchsorted(numbers[by_number], _numbers(datasets["n_"])[there])]
    sides = (
        (datasets, there),
        (data_ids.drop_columns("n_"), place),
        (artifacts.drop_columns("dataset"), found),
    )
    # The order is found from the few columns that give it; the others are moved once.
    keys = None
    for side, rows in sides[:2]:
        for name in (n for n in by if n in side.column_names):
            column = side[name].take(rows)
            keys = _with(keys, name, column)
    order = None if keys is None else order_of(keys, by)
    result = None
    for side, rows in sides:
        wanted = rows if order is None else rows[order]
        whole = len(wanted) == side.num_rows and (np.diff(wanted) == 1).all()
        taken = side if whole else side.take(wanted)
        for name in taken.column_names:
            result = _with(result, name, taken[name])
    return result


def _with(table: pa.Table | None, name: str, column: pa.ChunkedArray) -> pa.Table:
    import pyarrow as pa

    return pa.table({name: column}) if table is None else table.append_column(name, column)


def _first_artifacts(datasets: pa.Table, artifacts: pa.Table) -> tuple[Any, Any]:  # Any: NumPy arrays
    """Give which datasets have an artifact, and the row of the first one of each."""
    import numpy as np

    ids, wanted = words(artifacts["dataset"]).T, words(datasets["id"]).T
    mixed, asked = _mixed(ids), _mixed(wanted)
    order = np.argsort(mixed, kind="stable")
    ranked = mixed[order]
    if (ranked[1:] == ranked[:-1]).any():  # replicas
        order = np.lexsort((_numbers(artifacts["store"]), ids[1], ids[0], mixed))
    if not len(order):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    questions = np.argsort(asked, kind="stable")  # near questions have near answers
    at = np.empty(len(asked), np.int64)
    at[questions] = np.searchsorted(ranked, asked[questions])
    at[at == len(order)] = 0
    found = order[at]
    there = (ids[0][found] == wanted[0]) & (ids[1][found] == wanted[1])
    for row in np.flatnonzero(
        ~there & (mixed[found] == asked)
    ):  # two ids that mix to one number: hardly ever
        same = np.flatnonzero((ids[0][order] == wanted[0][row]) & (ids[1][order] == wanted[1][row]))
        there[row] = len(same) > 0
        found[row] = order[same[0]] if len(same) else found[row]
    rows = np.flatnonzero(there)
    return rows, found[rows]


def _mixed(halves: Any) -> Any:  # Any: NumPy arrays
    """Give one number for both halves of an id."""
    import numpy as np

    return halves[0] * np.uint64(0x9E3779B97F4A7C15) + halves[1] * np.uint64(0xC2B2AE3D27D4EB4F)


def order_of(table: pa.Table, names: Iterable[str]) -> Any:  # Any: an array of rows, or None
    """Give the order of rows by some columns, or None if they stand in it."""
    import numpy as np

    keys = [key for key in (_ranks(table[name]) for name in names) if key is not None]
    if not keys or table.num_rows < 2:  # noqa: PLR2004 - one stands in order
        return None
    packed = _packed(keys)
    if packed is not None:
        if (packed[1:] >= packed[:-1]).all():
            return None
        return np.argsort(packed, kind="stable")
    return np.lexsort(keys[::-1])


def _packed(keys: list[Any]) -> Any:  # Any: NumPy arrays
    """Give several keys as one number each, if 63 bits are enough."""
    import numpy as np

    lows = [int(key.min()) for key in keys]
    bits = [(int(key.max()) - low).bit_length() for key, low in zip(keys, lows, strict=True)]
    if sum(bits) > 63:  # noqa: PLR2004 - of a signed integer
        return None
    packed = np.zeros(len(keys[0]), np.int64)
    for key, low, width in zip(keys, lows, bits, strict=True):
        packed = (packed << width) | (key - low)
    return packed


def _ranks(column: pa.ChunkedArray) -> Any:  # Any: a NumPy array, or None where all are equal
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_integer(column.type) and not column.null_count:
        numbers = _numbers(column)
        return None if len(numbers) and (numbers == numbers[0]).all() else numbers
    coded = column.combine_chunks().dictionary_encode()
    coded = coded.combine_chunks() if isinstance(coded, pa.ChunkedArray) else coded
    if len(coded.dictionary) == 1 and not coded.null_count:
        return None
    ranks = np.empty(len(coded.dictionary) + 1, np.int64)
    ranks[pc.sort_indices(coded.dictionary).to_numpy()] = np.arange(len(coded.dictionary))
    ranks[-1] = len(coded.dictionary)  # nulls stand last
    return ranks[pc.fill_null(coded.indices, len(coded.dictionary)).to_numpy(zero_copy_only=False)]


def _numbers(column: pa.ChunkedArray) -> Any:  # Any: a NumPy array
    import numpy as np

    return column.to_numpy().astype(np.int64, copy=False)
