"""Arrow tables in the types that a registry means, and digests between bytes and digits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

ID = "binary16"
DIGEST = "binary32"


def arrow_type(name: str) -> pa.DataType:
    """Give the Arrow type of a value type of the universe, of ids, or of digests."""
    import pyarrow as pa

    return {
        "int": pa.int64(), "time": pa.int64(), "str": pa.string(), "float": pa.float64(), "bool": pa.bool_(),
        ID: pa.binary(16), DIGEST: pa.binary(32),
    }[name]  # fmt: skip


def conform(table: pa.Table, kinds: Mapping[str, str], *, coded: bool = False) -> pa.Table:
    """Give a table with exactly these columns and types; what is not there is null.

    Where ``coded``, texts that are codes stay so.

    Raises
    ------
    ValueError
        If it has a column that is not among them.
    """
    import pyarrow as pa

    strange = [name for name in table.column_names if name not in kinds]
    if strange:
        raise ValueError(f"columns {strange} are not among {list(kinds)}")
    return pa.table(
        {
            name: table[name] if name in table.column_names and coded and pa.types.is_dictionary(table[name].type)
            else _cast(table[name], arrow_type(kind)) if name in table.column_names
            else pa.nulls(table.num_rows, arrow_type(kind))
            for name, kind in kinds.items()
        }
    )  # fmt: skip


def _cast(column: pa.ChunkedArray, kind: pa.DataType) -> pa.ChunkedArray:
    import pyarrow as pa

    if column.type == kind:
        return column
    if column.null_count == len(column):
        return pa.chunked_array([pa.nulls(len(column), kind)])
    if pa.types.is_binary(kind) or pa.types.is_fixed_size_binary(kind):
        return column.cast(pa.binary()).cast(kind)
    return column.cast(kind)


def is_text(kind: pa.DataType) -> bool:
    """Tell whether a column is text, in any of the layouts that libraries give it."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def plain(table: pa.Table) -> pa.Table:
    """Give the table as databases take it: truth as numbers, no NaN."""
    import pyarrow as pa
    import pyarrow.compute as pc

    for position, column in enumerate(table.columns):
        name = table.column_names[position]
        if pa.types.is_boolean(column.type):
            table = table.set_column(position, name, column.cast(pa.int64()))
        elif pa.types.is_floating(column.type):
            column = pc.if_else(pc.is_nan(column), None, column)  # noqa: PLW2901 - the same column, mended
            table = table.set_column(position, name, column)
    return table


def to_digits(column: pa.ChunkedArray) -> pa.Array:
    """Give bytes as hexadecimal digits."""
    import pyarrow as pa

    values = (None if value is None else value.hex() for value in column.to_pylist())
    return pa.array(values, pa.string())


def to_bytes(column: pa.ChunkedArray | pa.Array, width: int) -> pa.Array:
    """Give hexadecimal digits as bytes of a fixed width."""
    import pyarrow as pa

    values = (None if value is None else bytes.fromhex(value) for value in column.to_pylist())
    return pa.array(values, pa.binary(width))


def uuid_bytes(texts: Iterable[str | None]) -> pa.Array:
    """Give UUID texts as 16 bytes each."""
    import pyarrow as pa

    values = (None if text is None else bytes.fromhex(text.replace("-", "")) for text in texts)
    return pa.array(values, pa.binary(16))


def uuid_text(value: bytes) -> str:
    """Give 16 bytes as the text of a UUID."""
    h = value.hex()
    return f"{h[:8]}-{h[8:12]}-{h[12:16]}-{h[16:20]}-{h[20:]}"


def words(column: pa.Array | pa.ChunkedArray) -> Any:  # Any: an array of uint64, shape (rows, 2)
    """Give a column of 16 bytes each, without nulls, as two numbers a row."""
    import numpy as np
    import pyarrow as pa

    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if not pa.types.is_fixed_size_binary(array.type):
        array = array.cast(pa.large_binary()).cast(pa.binary(16))
    numbers = np.frombuffer(array.buffers()[1] or b"", "<u8")
    return numbers.reshape(-1, 2)[array.offset : array.offset + len(array)]


def places(column: pa.ChunkedArray, values: Sequence[int]) -> pa.Array:
    """Give, for each row, at which place among the values it stands."""
    import pyarrow as pa
    import pyarrow.compute as pc

    return pc.index_in(_cast(column, pa.int64()), value_set=pa.array(values, pa.int64()))


def named(places: pa.Array | pa.ChunkedArray, names: Sequence[str], *, coded: bool) -> pa.Array:
    """Give the names at these places; where ``coded``, as codes."""
    import pyarrow as pa

    values = pa.array(names, pa.string())
    if not coded:
        return values.take(places)
    places = places.combine_chunks() if isinstance(places, pa.ChunkedArray) else places
    places = pa.concat_arrays(places.chunks) if isinstance(places, pa.ChunkedArray) else places
    return pa.DictionaryArray.from_arrays(places.cast(pa.int32()), values)


def repeated(value: str, rows: int, *, coded: bool) -> pa.Array:
    """Give one text for all rows; where ``coded``, as codes."""
    import pyarrow as pa

    if not coded:
        return pa.repeat(pa.scalar(value, pa.string()), rows)
    return pa.DictionaryArray.from_arrays(pa.repeat(pa.scalar(0, pa.int32()), rows), pa.array([value]))


def looked_up(column: pa.ChunkedArray, keys: pa.ChunkedArray, values: pa.ChunkedArray) -> pa.ChunkedArray:
    """Give, for each id, the value of its key, or null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    at = pc.index_in(_cast(column, pa.binary()), value_set=_cast(keys, pa.binary()), skip_nulls=True)
    return values.take(at)


def first_of_each(table: pa.Table, names: Iterable[str]) -> pa.Table:
    """Give the first of all neighbouring rows that are equal in these columns of numbers."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if table.num_rows < 2:  # noqa: PLR2004 - one has no neighbour
        return table
    changes = None
    for name in names:
        column = table[name].combine_chunks()
        change = pc.not_equal(column[1:], column[:-1])
        changes = change if changes is None else pc.or_(changes, change)
    return table.filter(pa.chunked_array([pa.array([True]), *_chunks(changes)]))


def _chunks(array: pa.Array | pa.ChunkedArray) -> list[pa.Array]:
    return array.chunks if hasattr(array, "chunks") else [array]


def empty_is_null(table: pa.Table, name: str) -> pa.Table:
    """Give the table with empty texts of a column as null."""
    import pyarrow as pa
    import pyarrow.compute as pc

    column = _cast(table[name], pa.string())
    column = pc.if_else(pc.equal(column, ""), None, column)
    return table.set_column(table.column_names.index(name), name, column)
