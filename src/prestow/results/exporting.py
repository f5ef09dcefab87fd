"""What is known of some collections as plain tables, with checksums, for who loads them elsewhere."""

from __future__ import annotations

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.errors import Problem, ProjectError
from prestow.registry import Registry

if TYPE_CHECKING:
    import pyarrow as pa

SCHEMA = "prestow.export/1"
MANIFEST = "manifest.json"
FORMATS = ("csv", "parquet", "fits", "sqlite")
DATABASE = "tables.sqlite"

_KEYS = ("id", "quantum", "recipe", "planned_recipe", "actual_recipe")


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Parameters
    ----------
    directory : str
        Where.
    runs : tuple of str
        Whose datasets, in the order of search.
    tables : mapping of str to int
        Rows of each table.
    files : tuple of str
        Names in the directory; `MANIFEST` has their checksums.
    """

    directory: str
    runs: tuple[str, ...]
    tables: dict[str, int]
    files: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "directory": self.directory,
            "runs": list(self.runs),
            "tables": self.tables,
            "files": list(self.files),
        }


@dataclass(frozen=True, slots=True)
class Verified:
    """What holding an export against its manifest came to."""

    directory: str
    files: int = 0
    rows: int = 0
    problems: tuple[Problem, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "directory": self.directory, "files": self.files, "rows": self.rows,
            "problems": [problem.as_dict() for problem in self.problems],
        }  # fmt: skip


def tables_of(
    registry: Registry, collections: Sequence[str], stores: dict[str, str]
) -> dict[str, pl.DataFrame]:
    """Give ``files``, ``datasets``, ``quanta``, ``provenance`` and ``metrics`` of some collections.

    Ids are UUIDs, digests and recipes hexadecimal digits; ``dataset`` and ``quantum`` are the keys by
    which all join. All rows of all their runs: one data ID may be there in several.
    """
    runs = members(registry, collections)
    types = sorted(registry.dataset_types())
    known = pl.DataFrame(registry.datasets(types, runs, first=False)).rename({"id": "dataset"})
    known = known.with_columns(
        _uuid(known, "dataset"), _uuid(known, "quantum"), _hex("recipe"), _hex("planned_recipe")
    )
    places = pl.DataFrame(
        {"store": list(stores), "uri": list(stores.values())}, schema={"store": pl.String, "uri": pl.String}
    )
    own = ("store", "path", "member", "size", "sha256", "content", "format")
    files = known.select("dataset", "type", "run", *own).join(
        places, on="store", how="left", maintain_order="left"
    )
    files = files.with_columns(url=pl.col("uri") + "/" + pl.col("path")).drop("uri")
    datasets = known.drop(*own)
    quanta, inputs = [], []
    for run in runs:
        quanta.append(pl.DataFrame(registry.quanta(run)).with_columns(run=pl.lit(run)))
        inputs.append(pl.DataFrame(registry.quantum_inputs(run)))
    made = pl.concat(quanta).rename({"id": "quantum"})
    made = made.select(
        _uuid(made, "quantum"), "run", "task", "data_id", "state", "code", "version", _hex("planned_recipe"), _hex("actual_recipe"),
        "receipt",
    )  # fmt: skip
    read = pl.concat(inputs).rename({"input": "dataset"})
    read = read.select(
        _uuid(read, "quantum"), "connection", _uuid(read, "dataset"), "state", "code", "sha256", _hex("planned_recipe"),
        _hex("actual_recipe"),
    )  # fmt: skip
    metrics = pl.DataFrame(registry.metrics(types, runs)).rename({"id": "dataset"})
    metrics = metrics.with_columns(_uuid(metrics, "dataset"))
    return {"files": files, "datasets": datasets, "quanta": made, "provenance": read, "metrics": metrics}


def members(registry: Registry, collections: Sequence[str]) -> tuple[str, ...]:
    """Give the runs of some collections, each once, in the order of search."""
    return tuple(dict.fromkeys(run for name in collections for run in registry.chain_members(name)))


def _hex(name: str) -> pl.Expr:
    return pl.col(name).bin.encode("hex")


def _uuid(frame: pl.DataFrame, name: str) -> pl.Series:
    texts = [
        None if key is None else str(uuid.UUID(bytes=key)) for key in frame[name]
    ]  # a UUID has no columns
    return pl.Series(name, texts, pl.String)


# --- writing ---------------------------------------------------------------------------------------


def new_directory(into: Path) -> Path:
    """Make a directory that is not there yet, or is empty.

    Raises
    ------
    ProjectError
        PST-B007 if something is in it.
    """
    into.mkdir(parents=True, exist_ok=True)
    found = sorted(path.name for path in into.iterdir())
    if found:
        what = f"the directory is not empty: {', '.join(found[:3])}"
        raise ProjectError(Problem("PST-B007", what, str(into), "name a directory that is not there yet"))
    return into


def write(
    into: Path, tables: dict[str, pl.DataFrame], form: str, runs: Sequence[str], more: Sequence[Path] = ()
) -> Exported:
    """Write tables into a directory, then a manifest of rows, sizes and checksums, which comes last."""
    writers: dict[str, Callable[[pl.DataFrame, Path], None]] = {
        "csv": _csv, "parquet": _parquet, "fits": _fits,
    }  # fmt: skip
    names: dict[str, str] = {}
    if form == "sqlite":
        _sqlite(tables, into / DATABASE)
        names = dict.fromkeys(tables, DATABASE)
    else:
        for table, frame in tables.items():
            names[table] = f"{table}.{form}"
            writers[form](frame, into / names[table])
    files = sorted({*names.values(), *(path.name for path in more)})
    facts = {
        "schema": SCHEMA, "runs": list(runs), "format": form,
        "tables": {
            table: {"file": names[table], "rows": frame.height, "columns": {n: str(t) for n, t in frame.schema.items()}}
            for table, frame in tables.items()
        },
        "files": {name: _sums(into / name) for name in files},
    }  # fmt: skip
    (into / MANIFEST).write_text(json.dumps(facts, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    rows = {table: frame.height for table, frame in tables.items()}
    return Exported(str(into), tuple(runs), rows, (*files, MANIFEST))


def _csv(frame: pl.DataFrame, path: Path) -> None:
    frame.write_csv(path)


def _parquet(frame: pl.DataFrame, path: Path) -> None:
    frame.write_parquet(path)


def _fits(frame: pl.DataFrame, path: Path) -> None:
    """Write a FITS table: there is no null text, so it is empty; a column of nulls alone is text."""
    from astropy.table import MaskedColumn, Table

    table = Table()
    for name in frame.columns:
        column = frame[name]
        if column.dtype in (pl.String, pl.Null):
            table[name] = [
                value.encode().decode("ascii", "replace") for value in column.cast(pl.String).fill_null("")
            ]
        elif column.dtype.is_float():
            table[name] = column.fill_null(float("nan")).to_numpy()
        else:
            table[name] = MaskedColumn(column.fill_null(0).to_numpy(), mask=column.is_null().to_numpy())
    table.write(path, format="fits")


def _sqlite(tables: dict[str, pl.DataFrame], path: Path) -> None:
    from adbc_driver_sqlite import dbapi

    with closing(dbapi.connect(str(path))) as connection:
        for table, frame in tables.items():
            with connection.cursor() as cursor:
                cursor.adbc_ingest(table, _plain(frame), mode="create")
        connection.commit()


def _plain(frame: pl.DataFrame) -> pa.Table:
    plain = frame.with_columns(pl.col(pl.Null).cast(pl.String))
    return plain.to_arrow(compat_level=pl.CompatLevel.oldest())


def _sums(path: Path) -> dict[str, Any]:  # Any: JSON values
    with path.open("rb") as stream:
        return {"sha256": hashlib.file_digest(stream, "sha256").hexdigest(), "size": stream.tell()}


# --- the other side --------------------------------------------------------------------------------


def verify(directory: Path) -> Verified:
    """Hold an export against its manifest: files, sizes, checksums, rows; nothing of the project is needed.

    Raises
    ------
    ProjectError
        PST-B008 if there is no manifest.
    """
    try:
        facts = json.loads((directory / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        what = f"there is no manifest that can be read: {error}"
        raise ProjectError(
            Problem("PST-B008", what, str(directory), "it is written last: export again")
        ) from error
    if not isinstance(facts, dict) or facts.get("schema") != SCHEMA:
        what = f"not a manifest of schema {SCHEMA}"
        raise ProjectError(
            Problem("PST-B008", what, str(directory / MANIFEST), "name the directory of an export")
        )
    problems = []
    for name, wanted in sorted(facts["files"].items()):
        path = directory / name
        if os.path.basename(name) != name or not path.is_file():
            problems.append(Problem("PST-B009", "it is not there", str(path), "send the export again"))
        elif _sums(path) != wanted:
            problems.append(
                Problem(
                    "PST-B009", "its bytes are not those of the manifest", str(path), "send the export again"
                )
            )
    known = {MANIFEST, *facts["files"]}
    problems += [
        Problem("PST-B009", "the manifest does not know it", str(path), "leave it out, or export again")
        for path in sorted(directory.iterdir())
        if path.name not in known
    ]
    rows = 0
    for table, wanted in sorted(facts["tables"].items()) if not problems else ():
        found = _rows(directory / wanted["file"], table, facts["format"])
        rows += found
        if found != wanted["rows"]:
            what = f"table '{table}' has {found:,} rows, and {wanted['rows']:,} in the manifest"
            problems.append(Problem("PST-B009", what, str(directory / wanted["file"]), "export again"))
    return Verified(str(directory), len(facts["files"]), rows, tuple(problems))


def _rows(path: Path, table: str, form: str) -> int:
    if form == "csv":
        return pl.read_csv(path, infer_schema=False).height
    if form == "parquet":
        return pl.scan_parquet(path).select(pl.len()).collect().item()  # type: ignore[no-any-return]  # a number
    if form == "fits":
        from astropy.io import fits

        return int(fits.getheader(path, 1)["NAXIS2"])
    from adbc_driver_sqlite import dbapi

    with closing(dbapi.connect(str(path))) as connection, connection.cursor() as cursor:
        cursor.execute(f'SELECT count(*) FROM "{table}"')
        return int(cursor.fetchone()[0])
