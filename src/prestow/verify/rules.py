"""The rules of hashing, written a second time: ids, recipes, digests of tasks and of the plan."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from prestow.verify.paper import Array, Paper, Plain

NAMESPACE = bytes.fromhex("840b31d905cd5161b2c800d32b280d0f")  # uuid5(NAMESPACE_DNS, "lsst.org")
MODULUS = 1 << 128
CHUNK = 1 << 16

# of a task: how it is run, not what it makes
POLICY = ("on_failure", "tries", "resources", "hints", "unretained", "retain")

LOGICAL = {
    "datasets": ("type", "data_id", "id", "run", "root", "format", "recipe"),
    "quanta": ("recipe", "job"),
    "inputs": ("quantum", "connection", "dataset"),
    "outputs": ("quantum", "connection", "dataset", "optional"),
    "jobs": ("name", "label", "depth", "first", "count"),
    "job_edges": ("parent", "child", "soft"),
    "left_out": ("task", "data_id", "reason", "detail"),
}
NAMES = ("type", "path", "producer")  # of planned datasets; of them 'datasets' covers only those that exist


def canonical(value: object) -> str:
    """Give the one text of plain values."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest128(*parts: str) -> bytes:
    """Give 128 bits of the SHA-256 of parts joined by U+001F."""
    return hashlib.sha256("\x1f".join(parts).encode()).digest()[:16]


def uuid5(text: bytes) -> bytes:
    """Give the 16 bytes of a UUIDv5."""
    raw = bytearray(hashlib.sha1(NAMESPACE + text, usedforsecurity=False).digest()[:16])
    raw[6] = (raw[6] & 0x0F) | 0x50
    raw[8] = (raw[8] & 0x3F) | 0x80
    return bytes(raw)


def task_digest(paper: Paper, task: Plain) -> bytes:
    """Give the digest of what a task does, as hexadecimal text."""
    types = paper.types
    columns = {o["type"]: types[o["type"]].get("columns") for o in task["outputs"] if o["type"] in types}
    making: Plain = {
        "entry": task["entry"],
        "command": task["command"],
        "config": task["config"],
        "outputs": sorted(
            [o["name"], o["type"], types.get(o["type"], {}).get("format"), o["optional"]]
            for o in task["outputs"]
        ),
    }
    if any(columns.values()):
        making["columns"] = {name: found for name, found in columns.items() if found}
    code = paper.document["pipeline"]["code"]
    return (
        digest128("task/1", task["label"], canonical(making), code["sha256"] if code else "").hex().encode()
    )


def pipeline_digest(pipeline: Plain) -> str:
    """Give the digest to which a run is bound: of what a pipeline makes, not of how it is run."""
    plain = {key: value for key, value in pipeline.items() if key != "clusters"}
    plain["tasks"] = [{k: v for k, v in task.items() if k not in POLICY} for task in pipeline["tasks"]]
    return hashlib.sha256(canonical(plain).encode()).hexdigest()


def header(document: Plain) -> str:
    """Give what the plan's id covers besides its tables."""
    pipeline = {**document["pipeline"]}
    pipeline["tasks"] = [{k: v for k, v in task.items() if k != "hints"} for task in pipeline["tasks"]]
    request = document["request"]
    return canonical(
        {
            "schema": document["schema"],
            "run": document["run"],
            "where": request["where"],
            "child_of": request["child_of"],
            "pipeline": hashlib.sha256(canonical(pipeline).encode()).hexdigest(),
            "universe": _universe(document["universe"]),
            **({"identity": document["identity"]} if document.get("identity") else {}),
        }
    )


def _universe(plain: Plain) -> str:
    return canonical(
        {
            "name": plain["name"],
            "version": plain["version"],
            "dimensions": [
                [name, d["type"], sorted(d["requires"]), sorted(d["implies"]), d["metadata"]]
                for name, d in sorted(plain["dimensions"].items())
            ],
            "relations": sorted([name, *between] for name, between in plain["relations"].items()),
        }
    )


def plan_id(paper: Paper) -> str:
    """Give the id that follows from the content.

    Of each column the values stand one after the other: numbers as four octets, names as their places among
    all names (two octets), ids as they are, texts as UTF-8 with their lengths (four octets) apart.
    """
    digest = hashlib.sha256(header(paper.document).encode())
    existing = paper.height("locations")
    for table, columns in LOGICAL.items():
        height = paper.height(table)
        if table != "datasets":
            _part(digest, table, paper, table, columns, 0, height)
            continue
        _part(digest, table, paper, table, columns, 0, min(existing, height))
        _part(digest, "names", paper, table, NAMES, existing, max(height - existing, 0))
    return digest.hexdigest()[:32]


def _part(
    digest: Any, part: str, paper: Paper, table: str, columns: tuple[str, ...], start: int, count: int
) -> None:  # Any: of hashlib
    digest.update(f"\n{part} {count}".encode())
    for column in columns:
        values, names = paper.column(table, column).slice(start, count), _names(paper, column)
        if names is not None and table != "left_out":  # few rows: all of it is text
            values = pc.index_in(values, value_set=pa.array(names, values.type)).cast(pa.uint16())
        made = [hashlib.sha256(), hashlib.sha256()]
        for at in range(0, count, CHUNK):
            _hash(made, values.slice(at, CHUNK))
        digest.update(b"".join(one.digest() for one in made))


def _names(paper: Paper, column: str) -> list[str] | None:
    """Give all names that a column can have, in order, if it is one of names."""
    if column == "type":
        return sorted(paper.types)
    if column in ("task", "label"):
        return sorted({*paper.labels, *(c["name"] for c in paper.document["pipeline"]["clusters"])})
    if column != "connection":
        return None
    return sorted({c["name"] for task in paper.tasks for c in (*task["inputs"], *paper.outputs_of(task))})


def _hash(made: list[Any], values: Array) -> None:  # Any: of hashlib
    """Hash values: of texts the lengths first, a null as the largest; of all else the octets."""
    fresh = pa.concat_arrays([values, values.slice(0, 0)])  # an array of its own, from offset 0
    if pa.types.is_large_string(values.type):
        lengths = pc.binary_length(fresh).fill_null(0xFFFFFFFF).cast(pa.uint32())
        made[0].update(_buffer(lengths, 4))
        made[1].update("".join(fresh.drop_null().to_pylist()).encode())  # Python objects, but of a chunk only
    elif pa.types.is_large_binary(values.type):
        made[0].update(b"".join(fresh.to_pylist()))  # Python objects, but of a chunk only
    elif pa.types.is_uint16(values.type):
        made[0].update(_buffer(fresh, 2))
    else:
        made[0].update(_buffer(fresh.cast(pa.uint32()), 4))


def _buffer(values: Array, width: int) -> bytes:
    return bytes(memoryview(values.buffers()[1])[: width * len(values)]) if len(values) else b""
