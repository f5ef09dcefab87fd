"""All catalogues of a dataset type in one table: where each row is from, then what its file says."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.errors import PrestowError, Problem, ProjectError, raise_all
from prestow.model.hashing import canonical_json
from prestow.stores import Linkable, Store
from prestow.stores.ahead import ahead

if TYPE_CHECKING:
    import pyarrow as pa

ID = "dataset"
"""The first column: the UUID of the dataset that a row is from."""

ROWS = 1 << 16
"""Rows that are read at once."""

_TEXT = ("string", "large_string")


@dataclass(frozen=True, slots=True)
class Catalogue:
    """One dataset that is a table.

    Parameters
    ----------
    id : str
        Its UUID.
    values : tuple
        Of its dimensions, in their order.
    path : Path
        Where its bytes are.
    form : str
        ``fits`` or ``parquet``.
    name : str
        For people: store and path.
    """

    id: str
    values: tuple[str | int, ...]
    path: Path
    form: str
    name: str


@dataclass(frozen=True, slots=True)
class Catalogues:
    """The catalogues of a type, in the order of their rows, and the columns that they come to.

    Parameters
    ----------
    type : str
        The dataset type.
    dimensions : mapping of dimension to column
        Under which names their values stand.
    schema : Schema
        Of the one table.
    notes : tuple of str
        What is worth to know: columns that some files lack.
    """

    type: str
    items: tuple[Catalogue, ...]
    dimensions: dict[str, str]
    schema: pa.Schema
    notes: tuple[str, ...] = ()

    def digest(self, items: Sequence[Catalogue]) -> str:
        """Give the digest of what a file of these is made from: datasets and columns."""
        columns = [[field.name, str(field.type)] for field in self.schema]
        return hashlib.sha256(canonical_json([columns, [item.id for item in items]]).encode()).hexdigest()

    def batches(self, items: Sequence[Catalogue]) -> Iterator[pa.RecordBatch]:
        """Give the rows of some catalogues, a bounded number at a time."""
        for item in items:
            yield from _rows(self, item)


def catalogues(
    frame: pl.DataFrame, dimensions: Sequence[str], stores: dict[str, Store], columns: Sequence[str] = ()
) -> Catalogues:
    """Look at the columns of every catalogue and unite them.

    Integers and floating numbers of several widths get the widest; a column that some files lack is
    null there. Nothing else is made the same: another type, another unit, are refused.

    Parameters
    ----------
    frame : DataFrame
        As `prestow.results.finding.Found` has it: sorted, with ``id``, ``store``, ``path``.
    columns : sequence of str
        Only these; all, if empty.

    Raises
    ------
    ProjectError
        PST-B006 with all that cannot be one table, each with its files.
    """
    if not frame.height:
        what = "no dataset that is taken in is like this"
        raise ProjectError(Problem("PST-B006", what, "--type", "look: prestow find TYPE"))
    items = tuple(_items(frame, dimensions, stores))
    problems = [
        Problem("PST-B006", f"'{item.form}' is no format of tables", item.name, "choose a type of catalogues")
        for item in items
        if item.form not in ("fits", "parquet")
    ][:1]
    raise_all(problems, ProjectError)
    found = list(ahead(_schema, items, chunk=4))
    raise_all((one for one in found if isinstance(one, Problem)), ProjectError)
    schemas = [one for one in found if not isinstance(one, Problem)]
    fields, notes = _united(items, schemas, columns)
    taken = {field.name for field in fields}
    clash = {d: f"data_id_{d}" if d in taken else d for d in dimensions}
    return Catalogues(str(frame["type"][0]), items, clash, _whole(frame, clash, fields), notes)


def _items(frame: pl.DataFrame, dimensions: Sequence[str], stores: dict[str, Store]) -> Iterator[Catalogue]:
    for row in frame.select("id", "store", "path", *dimensions).iter_rows():
        ident, store, path, *values = row
        at = stores[store]
        if not isinstance(at, Linkable):
            what = f"the files of store '{store}' cannot be opened here"
            raise ProjectError(Problem("PST-B006", what, at.uri, "fetch them to a directory first"))
        form = (
            "parquet"
            if path.endswith((".parquet", ".parq"))
            else "fits"
            if ".fit" in path.rpartition("/")[2]
            else path.rpartition(".")[2]
        )
        yield Catalogue(ident, tuple(values), at.local_path(path), form, f"{store}:{path}")


def _schema(item: Catalogue) -> pa.Schema | Problem:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        if item.form == "parquet":
            return pq.read_schema(item.path)
        return _fits(item.path).schema
    except (PrestowError, OSError, pa.ArrowException, ValueError, StopIteration) as error:
        told = (
            error.problems[0].what
            if isinstance(error, PrestowError)
            else str(error).splitlines()[0]
            if str(error)
            else "no table"
        )
        return Problem(
            "PST-B006", f"cannot be read as a table: {told}", item.name, "look: prestow fsck --sums full"
        )


def _fits(path: Path) -> pa.Table:
    from prestow.formats.parquet_values import table_of
    from prestow.results.converting import astropy_table

    table: pa.Table = table_of(astropy_table(path, "fits"))
    return table


# --- one schema of many ----------------------------------------------------------------------------


def _united(
    items: Sequence[Catalogue], schemas: Sequence[pa.Schema], columns: Sequence[str]
) -> tuple[list[pa.Field], tuple[str, ...]]:
    import pyarrow as pa

    kinds: dict[str, tuple[pa.Field, Catalogue]] = {}
    there: Counter[str] = Counter()
    problems: list[Problem] = []
    for item, schema in zip(items, schemas, strict=True):
        for field in schema:
            if columns and field.name not in columns:
                continue
            there[field.name] += 1
            if field.name not in kinds:
                kinds[field.name] = field, item
                continue
            known, first = kinds[field.name]
            kind = _wider(known.type, field.type)
            units = [(one.metadata or {}).get(b"unit", b"").decode() for one in (known, field)]
            if kind is None or units[0] != units[1]:
                what = f"column '{field.name}' is {_said(known, units[0])} in {first.name} and {_said(field, units[1])} here"
                fix = "leave it out: --columns, or choose files that agree: --where"
                problems.append(Problem("PST-B006", what, item.name, fix))
            else:
                kinds[field.name] = pa.field(field.name, kind, metadata=known.metadata), first
    unknown = [name for name in columns if name not in kinds]
    known_names = ", ".join(kinds) or "none"
    problems += [
        Problem("PST-B006", f"no catalogue has a column '{name}'", "--columns", f"known: {known_names}")
        for name in unknown
    ]
    raise_all(_few(problems), ProjectError)
    order = list(columns) or list(kinds)
    notes = tuple(
        f"column '{name}' is null for {len(items) - there[name]:,} of {len(items):,} files, which have none"
        for name in order
        if there[name] < len(items)
    )
    return [kinds[name][0] for name in order], notes


def _few(problems: list[Problem]) -> list[Problem]:
    """Give the first problem of each column: of a million files many may say the same."""
    first: dict[str, Problem] = {}
    for problem in problems:
        first.setdefault(problem.what.partition(" is ")[0], problem)
    return list(first.values())


def _said(field: pa.Field, unit: str) -> str:
    return f"{field.type}{f' [{unit}]' if unit else ''}"


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType | None:
    """Give the type that holds both without loss, or None."""
    import pyarrow.types as pt

    if one == other or pt.is_null(other):
        return one
    if pt.is_null(one):
        return other
    for same in (pt.is_signed_integer, pt.is_unsigned_integer, pt.is_floating):
        if same(one) and same(other):
            return one if one.bit_width >= other.bit_width else other
    if str(one) in _TEXT and str(other) in _TEXT:
        return one if str(one) == "large_string" else other
    return None


def _whole(frame: pl.DataFrame, dimensions: dict[str, str], fields: Sequence[pa.Field]) -> pa.Schema:
    import pyarrow as pa

    own = [pa.field(ID, pa.string())]
    for dimension, name in dimensions.items():
        own.append(pa.field(name, pa.string() if frame.schema[dimension] == pl.String else pa.int64()))
    if ID in {field.name for field in fields}:
        what = f"the catalogues have a column '{ID}', which is the name of where a row is from"
        raise ProjectError(Problem("PST-B006", what, "--columns", "choose the others: --columns"))
    return pa.schema([*own, *fields])


# --- rows ------------------------------------------------------------------------------------------


def _rows(whole: Catalogues, item: Catalogue) -> Iterator[pa.RecordBatch]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    wanted = [f.name for f in whole.schema][1 + len(whole.dimensions) :]
    if item.form == "parquet":
        with pq.ParquetFile(item.path) as file:
            names = [name for name in wanted if name in file.schema_arrow.names]
            for part in file.iter_batches(ROWS, columns=names):
                yield _completed(whole, item, pa.Table.from_batches([part]))
        return
    table = _fits(item.path)
    for start in range(0, table.num_rows, ROWS):
        yield _completed(whole, item, table.slice(start, ROWS))


def _completed(whole: Catalogues, item: Catalogue, part: pa.Table) -> pa.RecordBatch:
    """Give some rows with all columns: what a file lacks is null, what is narrower is widened."""
    import pyarrow as pa

    count = part.num_rows
    given = (item.id, *item.values)
    arrays = []
    for n, field in enumerate(whole.schema):
        if n < len(given):
            array = pa.array([given[n]], field.type).take(pa.array([0] * count, pa.int32()))
        elif field.name in part.column_names:
            array = part[field.name].combine_chunks().cast(field.type)
        else:
            array = pa.nulls(count, field.type)
        arrays.append(array)
    return pa.RecordBatch.from_arrays(arrays, schema=whole.schema)


def described(whole: Catalogues) -> list[dict[str, Any]]:  # Any: JSON values
    """Give name, type and unit of every column, for a manifest."""
    return [
        {
            "name": f.name,
            "type": str(f.type),
            **json.loads(json.dumps({k.decode(): v.decode() for k, v in (f.metadata or {}).items()})),
        }
        for f in whole.schema
    ]
