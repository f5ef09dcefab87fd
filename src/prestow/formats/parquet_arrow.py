"""Parquet files through Arrow; imported only when one is touched."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt

from prestow.errors import TaskError
from prestow.formats import Stamped, Story, story_from_plain, story_to_plain
from prestow.formats.columns import refuse_columns
from prestow.formats.parquet_content import Content, UnfitError, refuse_unfit, type_name
from prestow.formats.parquet_values import READERS, table_of
from prestow.formats.plain import damaged
from prestow.model.hashing import canonical_json

KEY: Final = b"prestow"
ROWS: Final = 1 << 17
"""Rows of one row group, and so of what is in memory at once."""

_REMADE: Final = "make the file again, or take it from its source"
_FOREIGN: Final = (KEY, b"pandas", b"ARROW:schema")  # of the file's metadata: the story, and others' notes


def stamp(source: Path, sink: BinaryIO, story: Story) -> Stamped:
    """Write the table anew with its story."""
    out = _Digesting(sink)
    with _opened(source) as file:
        schema = _schema(file)
        content = Content(schema)
        with _writer(out, schema) as writer:
            for part in _parts(file):
                content.add(part)
                writer.write_table(part, row_group_size=ROWS)
            writer.add_key_value_metadata({KEY: canonical_json(story_to_plain(story)).encode()})
    return Stamped(out.size, out.sha256.hexdigest(), content.hexdigest())


def read_story(path: Path) -> Story | None:
    """Give the story of a file, or None."""
    with _opened(path) as file:
        text = (file.metadata.metadata or {}).get(KEY)
    if text is None:
        return None
    try:
        return story_from_plain(json.loads(text.decode()))
    except (ValueError, TypeError) as error:
        what = f"the metadata '{KEY.decode()}' are reserved for the story: {error}"
        raise damaged(what, path, _REMADE) from error


def content_digest(path: Path) -> str:
    """Give the SHA-256 of columns, units and values."""
    with _opened(path) as file:
        content = Content(_schema(file))
        for part in _parts(file):
            content.add(part)
    return content.hexdigest()


def check_columns(path: Path, columns: Sequence[tuple[str, str]]) -> None:
    """Raise PST-N008 if names, order or types of the columns are not those declared."""
    with _opened(path) as file:
        found = [(field.name, type_name(field.type)) for field in _schema(file)]
    refuse_columns(path, found, columns)


def read(path: Path, as_: str | None) -> Any:
    """Read a whole table as one of `READERS`."""
    reader = READERS.get(as_ or "arrow")
    if reader is None:
        raise damaged(f"Parquet cannot be read as {as_!r}", path, f"say one of: {', '.join(READERS)}")
    with _opened(path) as file:
        table = file.read()
        metadata = {k: v for k, v in (table.schema.metadata or {}).items() if k not in _FOREIGN}
        return reader(table.replace_schema_metadata(metadata or None))


def write(path: Path, value: Any) -> None:
    """Write a table to a new file; nothing is left of one that cannot be written."""
    try:
        table = table_of(value)
        refuse_unfit(table.schema)
        schema = _bare(table.schema)
    except (UnfitError, pa.ArrowException, ValueError, TypeError) as error:
        fix = "give an Arrow or astropy table, a structured array, or a mapping of columns of equal length"
        raise damaged(f"cannot be written as Parquet: {error}", path, fix) from error
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file, _writer(file, schema) as writer:
            for start in range(0, max(table.num_rows, 1), ROWS):
                writer.write_table(_whole(table.slice(start, ROWS), schema), row_group_size=ROWS)
    except BaseException as error:
        path.unlink()
        if isinstance(error, pa.ArrowException | NotImplementedError):
            raise damaged(f"cannot be written as Parquet: {error}", path, "give plain columns") from error
        raise


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[Any]:  # Any: Arrow has no types
    """Open a file; whatever Arrow makes of a damaged one becomes PST-N008."""
    try:
        if not os.path.getsize(path):
            raise damaged("the file is empty", path, _REMADE)
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            yield file
    except TaskError:
        raise
    except UnfitError as error:
        raise damaged(str(error), path, "write plain columns with names of their own") from error
    except FileNotFoundError as error:
        raise damaged("cannot be read: there is no such file", path, "check the path") from error
    except (pa.ArrowException, OSError, ValueError, KeyError, IndexError, MemoryError) as error:
        text = str(error).partition("\n")[0]
        raise damaged(f"not a whole Parquet file: {text}", path, _REMADE) from error


def _schema(file: Any) -> Any:  # Any: Arrow has no types
    refuse_unfit(file.schema_arrow)
    return _bare(file.schema_arrow)


def _bare(schema: Any) -> Any:  # Any: Arrow has no types
    """Give a schema without story, without the notes of other programs and the numbers of fields."""
    metadata = {k: v for k, v in (schema.metadata or {}).items() if k not in _FOREIGN}
    fields = [
        field.with_type(_without_views(field.type)).with_metadata(
            {k: v for k, v in sorted((field.metadata or {}).items()) if k[:8] != b"PARQUET:"}
        )
        for field in schema
    ]
    return pa.schema(fields, dict(sorted(metadata.items())) or None)


def _parts(file: Any) -> Iterator[Any]:  # Any: Arrow has no types
    """Give the rows in tables of `ROWS`, whatever the row groups are; of no rows one empty table."""
    schema = _bare(file.schema_arrow)
    held: list[Any] = []
    rows, given = 0, False
    for batch in file.iter_batches(batch_size=ROWS):
        batch.validate(full=True)
        held.append(batch)
        rows += batch.num_rows
        if rows >= ROWS:
            table = pa.Table.from_batches(held)
            yield _whole(table.slice(0, ROWS), schema)
            given = True
            held = table.slice(ROWS).to_batches()
            rows -= ROWS
    if rows or not given:
        yield _whole(pa.Table.from_batches(held, held[0].schema if held else schema), schema)


def _whole(table: Any, schema: Any) -> Any:  # Any: Arrow has no types
    """Give a table of one piece: pieces would show in the pages of the file."""
    for place, field in enumerate(table.schema):
        if pt.is_dictionary(field.type) and field.type != schema.field(place).type:
            kind = schema.field(place).type
            chunks = [
                pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(kind.value_type))
                for chunk in table.column(place).chunks
            ]
            table = table.set_column(place, field.name, pa.chunked_array(chunks, kind))
    return table.cast(schema).unify_dictionaries().combine_chunks()


def _without_views(kind: Any) -> Any:  # Any: Arrow has no types
    """Give a type with plain text for views of text: Arrow can do little with these."""
    if pt.is_string_view(kind):
        return pa.string()
    if pt.is_binary_view(kind):
        return pa.binary()
    if pt.is_dictionary(kind):
        return pa.dictionary(kind.index_type, _without_views(kind.value_type), kind.ordered)
    if pt.is_list(kind) or pt.is_large_list(kind):
        make = pa.list_ if pt.is_list(kind) else pa.large_list
        return make(kind.value_field.with_type(_without_views(kind.value_type)))
    if pt.is_fixed_size_list(kind):
        return pa.list_(kind.value_field.with_type(_without_views(kind.value_type)), kind.list_size)
    if pt.is_struct(kind):
        members = (kind.field(i) for i in range(kind.num_fields))
        return pa.struct([member.with_type(_without_views(member.type)) for member in members])
    return kind


def _writer(sink: Any, schema: Any) -> Any:  # Any: Arrow has no types
    """Open a file whose bytes are a function of schema and rows alone, in one version of Arrow."""
    return pq.ParquetWriter(
        sink,
        schema,
        version="2.6",
        data_page_version="1.0",
        compression="zstd",
        compression_level=3,
        write_statistics=True,
        write_page_checksum=True,
        store_schema=True,
    )


class _Digesting:
    """A file that Arrow writes to: knows size and SHA-256 of what went through, and stays open."""

    closed = False

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self.size = 0
        self.sha256 = hashlib.sha256()

    def write(self, data: Any) -> int:  # Any: bytes or a buffer of Arrow
        block = bytes(data)
        self._sink.write(block)
        self.sha256.update(block)
        self.size += len(block)
        return len(block)

    def tell(self) -> int:
        return self.size

    def flush(self) -> None:
        """Do nothing: whoever gave the sink flushes it."""

    def close(self) -> None:
        """Do nothing: whoever gave the sink closes it."""
