"""The content digest of a table: one for the same columns, units and values, however they lie.

It is the SHA-256 of the canonical JSON of: the number of rows; the metadata of the table; and of
each column its name, type, metadata and the digests of its streams. The streams of a column are
the places of its nulls, as 64-bit integers, and the values that are not null:

- numbers and times as little-endian bytes of their width, truth values as one byte each;
  NaN of whatever bits is one NaN, and ``-0.0`` is not ``0.0``;
- text and bytes as their lengths and what stands in them; lists as their lengths, then the streams
  of their items; structs as the streams of their members.

Text of any of Arrow's forms, and what is encoded by a dictionary, is the same content.
"""

from __future__ import annotations

import hashlib
from typing import Any, Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as pt

from prestow.model.hashing import canonical_json, sha256_hex

_NAMES: Final = {"double": "float64", "float": "float32", "halffloat": "float16", "large_string": "string",
                 "string_view": "string", "large_binary": "binary", "binary_view": "binary"}  # fmt: skip


class UnfitError(ValueError):
    """A table that no digest is defined for."""


class Content:
    """The digest in the making, over tables of one schema in the order of their rows."""

    def __init__(self, schema: Any) -> None:  # Any: Arrow has no types
        self._schema = schema
        self._rows = 0
        self._columns = [_stream_of(field.type) for field in schema]

    def add(self, table: Any) -> None:  # Any: Arrow has no types
        """Go on with the rows of a table."""
        self._rows += table.num_rows
        for stream, column in zip(self._columns, table.columns, strict=True):
            for chunk in column.chunks:
                stream.add(chunk)

    def hexdigest(self) -> str:
        """Give the 64 hexadecimal digits."""
        columns = [
            [field.name, type_name(field.type), _texts(field.metadata), stream.digests()]
            for field, stream in zip(self._schema, self._columns, strict=True)
        ]
        return sha256_hex(
            canonical_json(["table/1", self._rows, _texts(self._schema.metadata), columns]).encode()
        )


def type_name(kind: Any) -> str:  # Any: Arrow has no types
    """Give the name of an Arrow type, one for all its forms in memory.

    Examples
    --------
    >>> type_name(pa.large_string()), type_name(pa.float64()), type_name(pa.list_(pa.int32()))
    ('string', 'float64', 'list<int32>')
    >>> type_name(pa.dictionary(pa.int8(), pa.string())), type_name(pa.list_(pa.float32(), 3))
    ('string', 'float32[3]')
    """
    if pt.is_dictionary(kind):
        return type_name(kind.value_type)
    if pt.is_list(kind) or pt.is_large_list(kind):
        return f"list<{type_name(kind.value_type)}>"
    if pt.is_fixed_size_list(kind):
        return f"{type_name(kind.value_type)}[{kind.list_size}]"
    if pt.is_struct(kind):
        return f"struct<{', '.join(f'{m.name}: {type_name(m.type)}' for m in _members(kind))}>"
    return _NAMES.get(str(kind), str(kind))


def refuse_unfit(schema: Any) -> None:  # Any: Arrow has no types
    """Raise `UnfitError` if a name stands twice, or a column is of a type that has no digest."""
    names = list(schema.names)
    wrong = [f"two columns are called '{name}'" for name in dict.fromkeys(names) if names.count(name) > 1]
    for field in schema:
        try:
            _stream_of(field.type)
        except UnfitError as error:
            wrong.append(f"column '{field.name}': {error}")
    if wrong:
        raise UnfitError("; ".join(wrong))


def _texts(metadata: Any) -> dict[str, str]:  # Any: Arrow has no types
    return {k.decode(errors="replace"): v.decode(errors="replace") for k, v in (metadata or {}).items()}


def _members(kind: Any) -> list[Any]:  # Any: Arrow has no types
    return [kind.field(i) for i in range(kind.num_fields)]


def _stream_of(kind: Any) -> _Stream:  # Any: Arrow has no types
    if pt.is_dictionary(kind):
        return _Decoded(kind.value_type)
    if pt.is_null(kind):
        return _Stream()
    if pt.is_boolean(kind):
        return _Fixed(1, to=pa.uint8())
    if pt.is_floating(kind):
        return _Fixed(kind.bit_width // 8, nan=pa.scalar(float("nan"), kind))
    if pt.is_primitive(kind) or pt.is_decimal(kind) or pt.is_fixed_size_binary(kind):
        return _Fixed(kind.bit_width // 8)
    if type_name(kind) in {"string", "binary"}:
        return _Bytes()
    if pt.is_list(kind) or pt.is_large_list(kind) or pt.is_fixed_size_list(kind):
        return _List(kind)
    if pt.is_struct(kind) and kind.num_fields:
        return _Struct(kind)
    raise UnfitError(f"values of type {kind} have no content digest")


class _Stream:
    """The nulls of a column; those of a type without values are all there is."""

    def __init__(self) -> None:
        self._nulls = hashlib.sha256()
        self._rows = 0

    def add(self, array: Any) -> None:  # Any: Arrow has no types
        if array.null_count:
            places = pc.add(pc.cast(pc.indices_nonzero(pc.is_null(array)), pa.int64()), self._rows)
            self._nulls.update(_bytes_of(places, 8))
        self._rows += len(array)
        if not pt.is_null(array.type):
            self.values(array.drop_null() if array.null_count else array)

    def values(self, array: Any) -> None:  # Any: Arrow has no types
        """Go on with values none of which is null."""

    def digests(self) -> list[Any]:  # Any: nested digests
        return [self._nulls.hexdigest()]


class _Fixed(_Stream):
    """Values of one width."""

    def __init__(self, width: int, *, to: Any = None, nan: Any = None) -> None:  # Any: Arrow has no types
        super().__init__()
        self._values = hashlib.sha256()
        self._width, self._to, self._nan = width, to, nan

    def values(self, array: Any) -> None:  # Any: Arrow has no types
        if self._to is not None:
            array = pc.cast(array, self._to)
        if self._nan is not None and pc.any(is_nan := pc.is_nan(array)).as_py():
            array = pc.if_else(is_nan, self._nan, array)
        self._values.update(_bytes_of(array, self._width))

    def digests(self) -> list[Any]:  # Any: nested digests
        return [*super().digests(), self._values.hexdigest()]


class _Bytes(_Stream):
    """Text and bytes."""

    def __init__(self) -> None:
        super().__init__()
        self._lengths = hashlib.sha256()
        self._values = hashlib.sha256()

    def values(self, array: Any) -> None:  # Any: Arrow has no types
        array = pc.cast(array, pa.large_binary())
        lengths = pc.cast(pc.binary_length(array), pa.int64())
        self._lengths.update(_bytes_of(lengths, 8))
        size = pc.sum(lengths).as_py() or 0
        if size:
            _, offsets, data = array.buffers()
            first = int.from_bytes(memoryview(offsets)[8 * array.offset : 8 * array.offset + 8], "little")
            self._values.update(memoryview(data)[first : first + size])

    def digests(self) -> list[Any]:  # Any: nested digests
        return [*super().digests(), self._lengths.hexdigest(), self._values.hexdigest()]


class _List(_Stream):
    """Lists of any length, or of one."""

    def __init__(self, kind: Any) -> None:  # Any: Arrow has no types
        super().__init__()
        self._lengths = hashlib.sha256()
        self._items = _stream_of(kind.value_type)

    def values(self, array: Any) -> None:  # Any: Arrow has no types
        self._lengths.update(_bytes_of(pc.cast(pc.list_value_length(array), pa.int64()), 8))
        self._items.add(array.flatten())

    def digests(self) -> list[Any]:  # Any: nested digests
        return [*super().digests(), self._lengths.hexdigest(), self._items.digests()]


class _Struct(_Stream):
    """Members by place."""

    def __init__(self, kind: Any) -> None:  # Any: Arrow has no types
        super().__init__()
        self._members = [_stream_of(member.type) for member in _members(kind)]

    def values(self, array: Any) -> None:  # Any: Arrow has no types
        for stream, member in zip(self._members, array.flatten(), strict=True):
            stream.add(member)

    def digests(self) -> list[Any]:  # Any: nested digests
        return [*super().digests(), [member.digests() for member in self._members]]


class _Decoded(_Stream):
    """What is encoded by a dictionary, as the values it stands for."""

    def __init__(self, kind: Any) -> None:  # Any: Arrow has no types
        super().__init__()
        self._plain = _stream_of(kind)

    def add(self, array: Any) -> None:  # Any: Arrow has no types
        self._plain.add(array.dictionary_decode())

    def digests(self) -> list[Any]:  # Any: nested digests
        return self._plain.digests()


def _bytes_of(array: Any, width: int) -> bytes | memoryview:  # Any: Arrow has no types
    data = array.buffers()[1]
    if data is None or not len(array):
        return b""
    return memoryview(data)[width * array.offset : width * (array.offset + len(array))]
