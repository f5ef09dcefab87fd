"""What a task holds as an Arrow table, and back: astropy tables, structured arrays, mappings."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import pyarrow as pa
import pyarrow.types as pt

META: Final = b"meta"
"""Of the table's metadata: ``meta`` of an astropy table, as JSON."""

_KEPT: Final = ("unit", "description")  # of a column, in the metadata of its field


def table_of(value: Any) -> Any:  # Any: what a task gives
    """Give the Arrow table of a value; units and descriptions stand in the metadata of its fields.

    Raises
    ------
    ValueError, TypeError
        If it is not a table; Arrow's own errors are of these kinds.
    """
    if isinstance(value, pa.Table):
        return value
    if isinstance(value, pa.RecordBatch):
        return pa.Table.from_batches([value])
    if hasattr(value, "itercols"):
        return _of_astropy(value)
    if isinstance(value, Mapping):
        return _of_columns(value.items())
    names = getattr(getattr(value, "dtype", None), "names", None)
    if names and getattr(value, "ndim", 0) == 1:
        return _of_columns((name, value[name]) for name in names)
    if hasattr(value, "__arrow_c_stream__"):
        return pa.table(value)
    raise TypeError(f"a {type(value).__name__} is not a table")


def _of_columns(columns: Any) -> Any:  # Any: pairs of a name and a column
    fields, arrays = [], []
    for name, column in columns:
        if not isinstance(name, str):
            raise TypeError(f"the name of a column must be text, not {name!r}")
        array = _named(name, column)
        unit = getattr(column, "unit", None)
        metadata = {"unit": str(unit)} if unit is not None and str(unit) else None
        fields.append(pa.field(name, array.type, metadata=metadata))
        arrays.append(array)
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def _of_astropy(table: Any) -> Any:  # Any: astropy has no types
    fields, arrays = [], []
    for column in table.itercols():
        name = column.info.name
        array = _named(name, column)
        facts = {key: str(found) for key in _KEPT if (found := getattr(column.info, key)) is not None}
        fields.append(pa.field(name, array.type, metadata={k: v for k, v in facts.items() if v} or None))
        arrays.append(array)
    meta = None
    if table.meta:
        text = json.dumps(
            dict(table.meta), sort_keys=True, ensure_ascii=False, allow_nan=False, default=_plain
        )
        meta = {META: text.encode()}
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields, meta))


def _plain(value: Any) -> Any:
    """NumPy's values give plain ones by themselves."""
    give = getattr(value, "tolist", None)
    if give is None:
        raise TypeError(f"a {type(value).__name__} in 'meta' is not a plain value")
    return give()


def _named(name: str, column: Any) -> Any:  # Any: Arrow has no types
    """Give the Arrow array of one column; what Arrow says against it, it says by its name."""
    try:
        return _array(name, column)
    except pa.ArrowException as error:
        dtype = getattr(column, "dtype", None)
        of = f" of {dtype}" if dtype is not None and str(dtype) != "object" else ""
        text = re.sub(r" at 0x[0-9a-f]+", "", str(error).partition("\n")[0])
        raise ValueError(f"column '{name}'{of}: {text}") from error


def _array(name: str, column: Any) -> Any:
    """Give the Arrow array of one column: Arrow's, NumPy's, astropy's, or a sequence."""
    if isinstance(column, pa.ChunkedArray | pa.Array):
        return column
    if isinstance(column, list | tuple | range):
        return pa.array(column)
    import numpy as np

    mask = getattr(column, "mask", None)
    data = column.value if hasattr(column, "unit") and hasattr(column, "value") else column  # of a Quantity
    data = np.asarray(getattr(data, "unmasked", data))
    if data.ndim == 0:
        raise TypeError(f"column '{name}' is a {type(column).__name__}, not a column")
    if data.dtype.kind == "S":
        data = np.char.decode(data, "utf-8")
    if data.dtype.kind == "V" or (data.dtype.kind == "O" and not isinstance(column, np.ndarray)):
        raise TypeError(f"column '{name}' is a {type(column).__name__}: give its numbers as columns")
    mask = None if mask is None or not np.any(mask) else np.broadcast_to(np.asarray(mask), data.shape)
    data = np.ascontiguousarray(data, data.dtype.newbyteorder("="))
    if data.ndim > 1:
        return _nested(data, mask)
    if data.dtype.kind in "UTO":  # text by Python: Arrow does not take NumPy's fixed width everywhere
        values = data.tolist()
        if mask is not None:
            values = [None if hidden else value for value, hidden in zip(values, mask.tolist(), strict=True)]
        return pa.array(values, None if data.dtype.kind == "O" else pa.string())
    return pa.array(data, mask=None if mask is None else np.ascontiguousarray(mask))


def _nested(data: Any, mask: Any) -> Any:  # Any: arrays
    """Give fixed lists for a column of more than one dimension."""
    flat = data.reshape(-1)
    array = _array("", flat if mask is None else _Hidden(flat, mask.reshape(-1)))
    for size in reversed(data.shape[1:]):
        array = pa.FixedSizeListArray.from_arrays(array, size)
    return array


class _Hidden:
    """Data with a mask, for one look."""

    unit = None

    def __init__(self, data: Any, mask: Any) -> None:
        self.value, self.mask = data, mask


def _to_astropy(table: Any) -> Any:  # Any: Arrow and astropy have no types
    from astropy.table import Column, MaskedColumn, Table

    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        data, mask = _to_numpy(column, field.type)
        metadata = field.metadata or {}
        facts = {key: metadata[key.encode()].decode() for key in _KEPT if key.encode() in metadata}
        kind = Column if mask is None else MaskedColumn
        columns.append(kind(data, name=field.name, **facts, **({} if mask is None else {"mask": mask})))
    text = (table.schema.metadata or {}).get(META)
    return Table(columns, meta=json.loads(text) if text else None)


def _to_structured(table: Any) -> Any:  # Any: arrays
    import numpy as np

    columns = []
    for field, column in zip(table.schema, table.columns, strict=True):
        data, mask = _to_numpy(column, field.type)
        if mask is not None and data.dtype.kind != "f":
            raise ValueError(f"column '{field.name}' has nulls, which an array cannot say: read as 'astropy'")
        if mask is not None:
            data[mask] = np.nan
        columns.append((field.name, data))
    result = np.empty(table.num_rows, [(name, data.dtype, data.shape[1:]) for name, data in columns])
    for name, data in columns:
        result[name] = data
    return result


def _to_numpy(column: Any, kind: Any) -> tuple[Any, Any]:  # Any: arrays
    """Give values and mask of a column, the mask None where nothing is null."""
    import numpy as np

    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ChunkedArray):
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], kind)
    if pt.is_dictionary(kind):
        array = array.dictionary_decode()
        kind = array.type
    mask = array.is_null().to_numpy(zero_copy_only=False) if array.null_count else None
    if pt.is_fixed_size_list(kind) and mask is None:
        data, hidden = _to_numpy(array.flatten(), kind.value_type)
        shape = (len(array), kind.list_size, *data.shape[1:])
        return data.reshape(shape), None if hidden is None else hidden.reshape(shape)
    if pt.is_boolean(kind) or pt.is_integer(kind) or pt.is_floating(kind) or pt.is_temporal(kind):
        if mask is not None and not pt.is_temporal(kind):
            array = array.fill_null(pa.scalar(0, pa.int64()).cast(kind))
        return array.to_numpy(zero_copy_only=False).copy(), mask
    if pt.is_string(kind) or pt.is_large_string(kind) or pt.is_string_view(kind):
        return np.array(array.fill_null("").to_pylist(), dtype=np.str_), mask
    data = np.empty(len(array), dtype=object)
    for i, value in enumerate(array.to_pylist()):  # one by one: NumPy would make lists of one length an array
        data[i] = value
    return data, mask


READERS: dict[str, Callable[[Any], Any]] = {  # Any: Arrow has no types
    "arrow": lambda table: table,
    "astropy": _to_astropy,
    "numpy": _to_structured,
}
