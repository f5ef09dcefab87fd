"""Where one table of many catalogues goes: a file, a file for each tract, or a table of a database."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.errors import Problem, ProjectError, raise_all
from prestow.registry.database import is_postgres
from prestow.registry.postgres import passwords, without_password
from prestow.results.source_tables import ID, Catalogue, Catalogues, described
from prestow.stores import TEMPORARY

if TYPE_CHECKING:
    import pyarrow as pa

GROUP = 1 << 17
"""Rows of a row group, and of a transaction; more are never in memory."""

SCHEMA = "prestow.table/1"
FORMATS = ("parquet", "csv")

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Written:
    """What was written.

    Parameters
    ----------
    places : tuple of str
        Files, or the table of a database.
    datasets, rows : int
        In all of them.
    added : int
        Datasets that are new there; the others were there before.
    columns : tuple of mapping
        Name, type and unit of each. Any: JSON values.
    notes : tuple of str
        What is worth to know.
    """

    places: tuple[str, ...]
    datasets: int
    rows: int
    added: int
    columns: tuple[dict[str, Any], ...]
    notes: tuple[str, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "places": list(self.places), "datasets": self.datasets, "rows": self.rows, "added": self.added,
            "columns": list(self.columns), "notes": list(self.notes),
        }  # fmt: skip


def write_files(
    whole: Catalogues, into: Path, form: str, partition: str = "", progress: Progress | None = None
) -> Written:
    """Write one file, or one for each value of a dimension into a directory, each with a manifest beside it.

    A file gets its name when it is whole. One that is there and was made of the same datasets and
    columns is left alone, so the same again goes on; any other is refused.

    Raises
    ------
    ProjectError
        PST-B007 if another file is there; PST-B006 if the columns cannot stand in a CSV.
    """
    if form == "csv":
        _refuse_nested(whole, "CSV")
    parts = _parts(whole, into, form, partition)
    into_directory = into if partition else into.parent
    into_directory.mkdir(parents=True, exist_ok=True)
    known = {path: _manifest(path) for path, _ in parts}
    raise_all(
        (
            Problem("PST-B007", "another file is there", str(path), "move it away, or write elsewhere")
            for path, items in parts
            if path.exists() and (known[path] or {}).get("digest") != whole.digest(items)
        ),
        ProjectError,
    )
    rows = added = done = 0
    for path, items in parts:
        standing = known[path]
        if path.exists() and standing is not None:
            rows += standing["rows"]
        else:
            rows += _write_file(whole, path, items, form)
            added += len(items)
        done += len(items)
        if progress is not None:
            progress(done, len(whole.items))
    places = tuple(str(path) for path, _ in parts)
    return Written(places, len(whole.items), rows, added, tuple(described(whole)), whole.notes)


def _parts(whole: Catalogues, into: Path, form: str, partition: str) -> list[tuple[Path, list[Catalogue]]]:
    if not partition:
        return [(into, list(whole.items))]
    if partition not in whole.dimensions:
        what = f"a {whole.type} has no {partition}"
        fix = f"choose one of: {', '.join(whole.dimensions)}"
        raise ProjectError(Problem("PST-B006", what, "--partition", fix))
    at = list(whole.dimensions).index(partition)
    ordered = sorted(
        whole.items, key=lambda item: str(item.values[at]).zfill(20)
    )  # stable: the rest stays in order
    return [
        (into / f"{whole.type}-{partition}-{str(value).zfill(5)}.{form}", list(items))
        for value, items in groupby(ordered, key=lambda item: item.values[at])
    ]


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.manifest.json")


def _manifest(path: Path) -> dict[str, Any] | None:  # Any: JSON values
    try:
        found: dict[str, Any] = json.loads(_beside(path).read_text())
    except (OSError, ValueError):
        return None
    return found if found.get("schema") == SCHEMA else None


def _write_file(whole: Catalogues, path: Path, items: list[Catalogue], form: str) -> int:
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    temporary = path.with_name(f"{TEMPORARY}{path.name}")
    rows = 0
    open_writer = pq.ParquetWriter if form == "parquet" else pc.CSVWriter
    options = {"compression": "zstd"} if form == "parquet" else {}
    try:
        with open_writer(str(temporary), whole.schema, **options) as writer:
            for group in _grouped(whole.batches(items)):
                rows += group.num_rows
                writer.write_table(group)
            if not rows:
                writer.write_table(pa.table(whole.schema.empty_table()))
        with temporary.open("rb+") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
            os.fsync(stream.fileno())
        facts = {
            "schema": SCHEMA, "type": whole.type, "digest": whole.digest(items), "datasets": len(items), "rows": rows,
            "size": temporary.stat().st_size, "sha256": sha256, "columns": described(whole),
        }  # fmt: skip
        _beside(path).write_text(json.dumps(facts, indent=1) + "\n")  # first: a file without one is another's
        temporary.rename(path)
    finally:
        temporary.unlink(missing_ok=True)
    return rows


def _grouped(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.Table]:
    """Give tables of about `GROUP` rows."""
    import pyarrow as pa

    waiting: list[pa.RecordBatch] = []
    count = 0
    for batch in batches:
        waiting.append(batch)
        count += batch.num_rows
        if count >= GROUP:
            yield pa.Table.from_batches(waiting)
            waiting, count = [], 0
    if count:
        yield pa.Table.from_batches(waiting)


def _refuse_nested(whole: Catalogues, what: str) -> None:
    import pyarrow.types as pt

    raise_all(
        (
            Problem(
                "PST-B006", f"column '{f.name}' is {f.type}, which {what} has no place for", "--into",
                "choose the others: --columns, or write Parquet",
            )
            for f in whole.schema
            if pt.is_nested(f.type)
        ),
        ProjectError,
    )  # fmt: skip


# --- a database ------------------------------------------------------------------------------------


def write_database(whole: Catalogues, url: str, progress: Progress | None = None) -> Written:
    """Add to a table named after the dataset type, ``sqlite:///…`` or ``postgresql://…``; it is made if it is not there.

    Some datasets go in at once, in one transaction, so of each all rows are there or none; what is there
    already is not added again.

    Raises
    ------
    ProjectError
        PST-B006 if the columns have no place there, or the table that is there has others; PST-B007 if
        the database cannot be used.
    """
    import adbc_driver_manager

    _refuse_nested(whole, "a database")
    shown = without_password(url) if is_postgres(url) else url
    try:
        with closing(_connect(url)) as connection:
            there = _there(connection, whole, shown)
            todo = [item for item in whole.items if item.id not in there]
            done = len(whole.items) - len(todo)
            for some in _some(todo):
                batches = list(whole.batches(some))
                if batches:
                    with connection.cursor() as cursor:
                        cursor.adbc_ingest(whole.type, _plain(batches), mode="create_append")
                    connection.commit()
                done += len(some)
                if progress is not None:
                    progress(done, len(whole.items))
            rows = _query(connection, f'SELECT count(*) FROM "{whole.type}"')[0][0]
    except adbc_driver_manager.Error as error:
        text = str(error).splitlines()[0]
        for secret in passwords(url) if is_postgres(url) else ():
            text = text.replace(secret, "***")
        raise ProjectError(
            Problem("PST-B007", f"the database cannot be used: {text}", shown, "check it")
        ) from error
    return Written(
        (f"{shown} {whole.type}",),
        len(whole.items),
        int(rows),
        len(todo),
        tuple(described(whole)),
        whole.notes,
    )


def _connect(url: str) -> Any:  # Any: ADBC has no types
    if is_postgres(url):
        from adbc_driver_postgresql import dbapi as postgresql

        return postgresql.connect(url)
    from adbc_driver_sqlite import dbapi as sqlite

    return sqlite.connect(os.path.abspath(url.removeprefix("sqlite:///")))


def _query(connection: Any, sql: str) -> list[tuple[Any, ...]]:  # Any: ADBC has no types
    with connection.cursor() as cursor:
        cursor.execute(sql)
        found: list[tuple[Any, ...]] = cursor.fetchall()
    return found


def _there(connection: Any, whole: Catalogues, shown: str) -> set[str]:
    """Give the datasets that a database has of this type; a table with other columns is refused."""
    import adbc_driver_manager

    try:
        with connection.cursor() as cursor:
            cursor.execute(f'SELECT * FROM "{whole.type}" WHERE 1 = 0')
            columns = [column[0] for column in cursor.description]
    except adbc_driver_manager.Error:
        connection.rollback()
        return set()
    wanted = whole.schema.names
    if columns != wanted:
        what = f"table '{whole.type}' is there with columns {', '.join(columns)}, and these are {', '.join(wanted)}"
        raise ProjectError(Problem("PST-B006", what, shown, "take another database, or choose --columns"))
    return {ident for (ident,) in _query(connection, f'SELECT DISTINCT "{ID}" FROM "{whole.type}"')}


def _some(items: list[Catalogue]) -> Iterator[list[Catalogue]]:
    """Give datasets in portions of one transaction: by the sizes of their files, about `GROUP` rows of a few hundred bytes."""
    some: list[Catalogue] = []
    size = 0
    for item in items:
        some.append(item)
        size += item.path.stat().st_size
        if size >= GROUP << 7:
            yield some
            some, size = [], 0
    if some:
        yield some


def _plain(batches: list[pa.RecordBatch]) -> pa.Table:
    """Give rows in types that databases know: truth values and small integers as integers, large text as text."""
    import pyarrow as pa
    import pyarrow.types as pt

    table = pa.Table.from_batches(batches)
    for n, f in enumerate(table.schema):
        if pt.is_boolean(f.type) or pt.is_integer(f.type):
            table = table.set_column(n, f.name, table[n].cast(pa.int64()))
        elif pt.is_float16(f.type) or pt.is_float32(f.type):
            table = table.set_column(n, f.name, table[n].cast(pa.float64()))
        elif pt.is_large_string(f.type):
            table = table.set_column(n, f.name, table[n].cast(pa.string()))
    return table
