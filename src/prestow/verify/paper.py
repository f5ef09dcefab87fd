"""A plan's files, read column by column and brought to plain Arrow types."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from prestow.verify.findings import Findings

SCHEMA = "prestow.plan/2"

COLUMNS: Mapping[str, Mapping[str, str]] = {
    "datasets": {
        "dataset": "int", "type": "text", "data_id": "text", "id": "bytes", "run": "text", "planned": "bool",
        "root": "bool", "format": "text", "recipe": "bytes", "path": "text", "producer": "int",
    },
    "quanta": {"quantum": "int", "task": "text", "data_id": "text", "id": "bytes", "recipe": "bytes", "job": "int"},
    "inputs": {"quantum": "int", "connection": "text", "dataset": "int"},
    "outputs": {"quantum": "int", "connection": "text", "dataset": "int", "optional": "bool"},
    "jobs": {"job": "int", "name": "text", "label": "text", "depth": "int", "first": "int", "count": "int"},
    "job_edges": {"parent": "int", "child": "int", "soft": "bool"},
    "left_out": {"task": "text", "data_id": "text", "reason": "text", "detail": "text"},
    "locations": {
        "dataset": "int", "store": "text", "path": "text", "size": "int", "sha256": "text", "content": "text",
    },
}  # fmt: skip
"""Table -> column -> kind of value."""

_KEYS = {
    "id": str, "run": str, "request": dict, "pipeline_digest": str, "totals": dict, "counts": dict,
    "pipeline": dict, "universe": dict,
}  # fmt: skip

_PLAIN = {"text": pa.large_string(), "bytes": pa.large_binary(), "int": pa.int64(), "bool": pa.bool_()}

Array = Any
"""An Arrow array; pyarrow has no types."""

Plain = dict[str, Any]
"""Whatever JSON holds."""


class Paper:
    """A plan on disk: its document, and its columns when they are asked for.

    Parameters
    ----------
    directory : Path
        Of the plan.
    document : dict
        What ``proof.json`` holds.
    """

    def __init__(self, directory: Path, document: Plain) -> None:
        self.directory = directory
        self.document = document
        self.run: str = document["run"]
        pipeline: Plain = document["pipeline"]
        self.types: dict[str, Plain] = pipeline["dataset_types"]
        self.tasks: list[Plain] = pipeline["tasks"]
        self.labels = [str(task["label"]) for task in self.tasks]
        self.type_names = list(self.types)
        self.dimensions: dict[str, Plain] = document["universe"]["dimensions"]
        self._files: dict[str, Any] = {}

    def file(self, table: str) -> Any:  # Any: pyarrow's ParquetFile
        """Give a table's file, open."""
        if table not in self._files:
            self._files[table] = pq.ParquetFile(self.directory / f"{table}.parquet")
        return self._files[table]

    def height(self, table: str) -> int:
        """Give the number of rows of a table."""
        return int(self.file(table).metadata.num_rows)

    def has(self, table: str, column: str) -> bool:
        """Say whether a table has a column."""
        return column in self.file(table).schema_arrow.names

    def column(self, table: str, name: str) -> Array:
        """Give a column whole, in a plain type: 64-bit integers, text, bytes or truth values."""
        return plain(self.file(table).read(columns=[name]).column(0))

    def promised(self) -> Array:
        """Say which existing datasets are only promised: roots without any place, size or digest."""
        height = min(self.height("locations"), self.height("datasets"))
        mask = pc.fill_null(self.column("datasets", "root").slice(0, height), fill_value=False)
        for name in ("store", "path", "size", "sha256", "content", "receipt", "quantum"):
            mask = pc.and_(mask, pc.is_null(self.column("locations", name).slice(0, height)))
        return mask

    def outputs_of(self, task: Plain) -> list[Plain]:
        """Give what a task writes, with its prototypes."""
        named = {output["name"] for output in task["outputs"]}
        return [
            *task["outputs"],
            *(
                {"name": f"_{p}", "type": f"{task['label']}_{p}", "optional": False}
                for p in task["prototypes"]
                if f"_{p}" not in named
            ),
        ]

    def close(self) -> None:
        """Close its files."""
        for file in self._files.values():
            file.close()


def plain(chunks: Any) -> Array:  # Any: a column of a table
    """Give a column as one array in a plain type."""
    kind = chunks.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        chunks = chunks.cast(kind)
    for wanted in _PLAIN.values():
        if _is(kind, wanted):
            chunks = chunks.cast(wanted)
    found = chunks.combine_chunks()
    return pa.concat_arrays(found.chunks) if isinstance(found, pa.ChunkedArray) else found


def _is(kind: Any, wanted: Any) -> bool:  # Any: Arrow types
    t = pa.types
    if wanted == _PLAIN["text"]:
        return bool(t.is_string(kind) or t.is_large_string(kind) or t.is_string_view(kind))
    if wanted == _PLAIN["bytes"]:
        return bool(
            t.is_binary(kind)
            or t.is_large_binary(kind)
            or t.is_fixed_size_binary(kind)
            or t.is_binary_view(kind)
        )
    return bool(t.is_integer(kind) if wanted == _PLAIN["int"] else t.is_boolean(kind))


def open_paper(directory: Path, findings: Findings) -> Paper | None:
    """Open a plan, or note why nothing of it can be checked."""
    try:
        document = json.loads((directory / "proof.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        findings.add("PST-V001", [f"proof.json: {error}"])
        return None
    wrong = _wrong_document(document)
    if wrong:
        findings.add("PST-V002", [f"proof.json: {text}" for text in wrong])
        return None
    if re.fullmatch(r"[0-9a-f]{32}", directory.name) and directory.name != document["id"]:
        findings.add("PST-V004", [f"{directory.name} holds plan {document['id']}"])
    paper = Paper(directory, document)
    good = True
    for table in COLUMNS:
        good &= _good_table(paper, table, findings)
    if good:
        return paper
    paper.close()
    return None


def _wrong_document(document: object) -> list[str]:
    if not isinstance(document, dict):
        return ["not a mapping"]
    if document.get("schema") != SCHEMA:
        return [f"schema {document.get('schema')!r}, not {SCHEMA!r}"]
    wrong = [
        f"'{key}' is missing or of another type"
        for key, kind in _KEYS.items()
        if not isinstance(document.get(key), kind)
    ]
    if wrong:
        return wrong
    inner = {
        "pipeline.dataset_types": (document["pipeline"].get("dataset_types"), dict),
        "pipeline.tasks": (document["pipeline"].get("tasks"), list),
        "universe.dimensions": (document["universe"].get("dimensions"), dict),
    }
    wrong = [
        f"'{key}' is missing or of another type"
        for key, (value, kind) in inner.items()
        if not isinstance(value, kind)
    ]
    needed = ("label", "dimensions", "inputs", "outputs", "prototypes", "config")
    for task in () if wrong else document["pipeline"]["tasks"]:
        wrong += [f"task {task.get('label')} lacks '{key}'" for key in needed if key not in task]
    for name, kind in () if wrong else document["pipeline"]["dataset_types"].items():
        strange = set(kind.get("dimensions", [None])) - set(document["universe"]["dimensions"])
        wrong += [f"dataset type {name} has dimensions that the universe lacks"] if strange else []
    return wrong


def _good_table(paper: Paper, table: str, findings: Findings) -> bool:
    """Note a table that cannot be read whole, or has other columns than it must have."""
    try:
        schema = paper.file(table).schema_arrow
        for batch in paper.file(table).iter_batches(batch_size=1 << 16):
            batch.validate()
    except (OSError, ValueError, pa.ArrowException) as error:
        findings.add("PST-V001", [f"{table}.parquet: {str(error).splitlines()[0]}"])
        return False
    needed = dict(COLUMNS[table])
    if table in ("datasets", "quanta"):
        of = paper.types.values() if table == "datasets" else paper.tasks
        for name in {d for one in of for d in one["dimensions"]}:
            needed[name] = "int" if paper.dimensions[name]["type"] == "int" else "text"
    wrong = []
    for name, kind in needed.items():
        if name not in schema.names:
            wrong.append(f"{table}.parquet lacks column {name}")
            continue
        found = schema.field(name).type
        found = found.value_type if pa.types.is_dictionary(found) else found
        if not _is(found, _PLAIN[kind]):
            wrong.append(f"{table}.parquet: column {name} is {found}, not {kind}")
    findings.add("PST-V002", wrong)
    return not wrong


def numbers(count: int, first: int = 0) -> Array:
    """Give so many numbers in a row."""
    return pa.array(range(first, first + count), pa.int64())


def codes(values: Array, known: list[str]) -> Array:
    """Give the position of each text among known ones; null where it is none of them."""
    if not known:
        return pa.nulls(len(values), pa.int64())
    return pc.index_in(values, value_set=pa.array(known, pa.large_string())).cast(pa.int64())


def within(values: Array, limit: int) -> Array:
    """Say which numbers are positions below a limit."""
    return pc.fill_null(pc.and_(pc.greater_equal(values, 0), pc.less(values, limit)), fill_value=False)


def look_up(table: list[Any], at: Array, kind: Any) -> Array:  # Any: plain values; an Arrow type
    """Give what a short list holds at these positions; null for a null."""
    return pa.array(table, kind).take(at)
