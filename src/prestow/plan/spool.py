"""Where the tables of a plan go while they are made: into memory if they are few, else into files.

What is written is hashed on its way, column by column, so that the plan's id needs no second look.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = 1 << 14
"""Rows of a row group: what must be read to see one of them."""

FEW = frozenset({"run", "format", "store"})
"""Columns of texts of which there are few."""


OCTETS = frozenset({"id", "recipe"})
"""Columns of 16 octets each."""


class Spool:
    """Takes tables piece by piece.

    Parameters
    ----------
    directory : Path or None
        Where ``<table>.parquet`` is written; None keeps them in memory.
    logical : mapping of name to columns
        What the digest covers.
    """

    def __init__(self, directory: Path | None, logical: Mapping[str, tuple[str, ...]]) -> None:
        self.directory = directory
        self.heights: dict[str, int] = {}
        self._logical = logical
        self._hashes: dict[tuple[str, str], list[hashlib._Hash]] = {}
        self._rows: dict[str, int] = {}
        self._writers: dict[str, Any] = {}  # Any: a library without types
        self._pieces: dict[str, list[pa.Table]] = {}

    def write(self, name: str, table: pa.Table, *, logical: str = "") -> None:
        """Append rows to a table; ``logical`` names the part of the digest, if not the table."""
        self.heights[name] = self.heights.get(name, 0) + table.num_rows
        part = logical or name
        self._rows[part] = self._rows.get(part, 0) + table.num_rows
        for column in self._logical.get(part, ()):
            self._hash(part, column, table[column])
        if self.directory is None:
            self._pieces.setdefault(name, []).append(table)
        else:
            self._writer(name, table.schema).write_table(table, row_group_size=ROWS)

    def _writer(self, name: str, schema: pa.Schema) -> Any:  # Any: a library without types
        if name not in self._writers:
            assert self.directory is not None, "only files have writers"
            self._writers[name] = _parquet_writer(self.directory / f"{name}.parquet", schema)
        return self._writers[name]

    def _hash(self, part: str, column: str, values: pa.ChunkedArray) -> None:
        import pyarrow as pa

        hashes = self._hashes.setdefault((part, column), [hashlib.sha256(), hashlib.sha256()])
        for chunk in values.chunks:
            if pa.types.is_dictionary(chunk.type):
                hashes[0].update(chunk.indices.to_numpy(zero_copy_only=False).astype("<u2", copy=False))
            elif pa.types.is_fixed_size_binary(chunk.type):
                width = chunk.type.byte_width
                hashes[0].update(chunk.buffers()[1].slice(chunk.offset * width, len(chunk) * width))
            elif pa.types.is_large_string(chunk.type) or pa.types.is_string(chunk.type):
                _hash_texts(hashes, chunk)
            else:
                hashes[0].update(
                    chunk.cast(pa.uint32()).to_numpy(zero_copy_only=False).astype("<u4", copy=False)
                )

    def digest(self, header: str) -> str:
        """Give the SHA-256 of a header and of all logical columns: of values, not of any file's bytes.

        Of each column the values stand one after the other: numbers as four octets, names as their
        places among all names (two octets), ids as they are, texts as UTF-8 with their lengths apart.
        """
        whole = hashlib.sha256(header.encode())
        for part, columns in self._logical.items():
            whole.update(f"\n{part} {self._rows.get(part, 0)}".encode())
            for column in columns:
                made = self._hashes.get((part, column), [hashlib.sha256(), hashlib.sha256()])
                whole.update(b"".join(one.digest() for one in made))
        return whole.hexdigest()

    def close(self) -> dict[str, pl.DataFrame]:
        """End all files; give the tables that are in memory."""
        import pyarrow as pa

        for writer in self._writers.values():
            writer.close()
        self._writers = {}
        frames = {}
        for name, pieces in self._pieces.items():
            frame = pl.from_arrow(_plain(pa.concat_tables(pieces)))
            assert isinstance(frame, pl.DataFrame)
            frames[name] = frame
        self._pieces = {}
        return frames


def _plain(table: pa.Table) -> pa.Table:
    """Give names and ids as what is read back from a file has them."""
    import pyarrow as pa

    for i, column in enumerate(table.columns):
        if pa.types.is_dictionary(column.type):
            table = table.set_column(i, table.column_names[i], column.cast(pa.large_string()))
        elif pa.types.is_fixed_size_binary(column.type):
            table = table.set_column(i, table.column_names[i], column.cast(pa.large_binary()))
    return table


def _hash_texts(hashes: list[hashlib._Hash], chunk: pa.Array) -> None:
    import pyarrow as pa

    array = chunk if pa.types.is_large_string(chunk.type) else chunk.cast(pa.large_string())
    import numpy as np

    offsets = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    lengths = np.diff(offsets).astype("<u4")
    if array.null_count:
        lengths[array.is_null().to_numpy(zero_copy_only=False)] = 0xFFFFFFFF
    hashes[0].update(lengths.tobytes())
    if len(offsets) and (data := array.buffers()[2]) is not None:
        hashes[1].update(data.slice(offsets[0], offsets[-1] - offsets[0]))


def _parquet_writer(path: Path, schema: pa.Schema) -> Any:  # Any: a library without types
    import pyarrow as pa
    import pyarrow.parquet as pq

    names = [f.name for f in schema if pa.types.is_dictionary(f.type) or f.name in FEW]
    texts = [f.name for f in schema if pa.types.is_large_string(f.type) and f.name not in FEW]
    counting = [f.name for f in schema if pa.types.is_integer(f.type) and f.type.bit_width >= 32]  # noqa: PLR2004
    return pq.ParquetWriter(
        path,
        schema,
        compression={f.name: "lz4" if f.name in texts else "none" for f in schema},
        use_dictionary=names,
        column_encoding=dict.fromkeys(counting, "DELTA_BINARY_PACKED"),
        store_schema=False,
        write_statistics=counting,
        version="2.6",
        data_page_size=1 << 20,
    )


def write_table(frame: pl.DataFrame, path: Path) -> None:
    """Write a whole table as a spool would."""
    import pyarrow as pa

    table = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    ids = [f.name for f in table.schema if pa.types.is_large_binary(f.type) and f.name in OCTETS]
    for name in ids:
        fixed = table[name].cast(pa.binary(16))
        table = table.set_column(table.schema.get_field_index(name), name, fixed)
    with _parquet_writer(path, table.schema) as writer:
        writer.write_table(table, row_group_size=ROWS)
