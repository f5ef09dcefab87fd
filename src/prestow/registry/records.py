"""Records: one small immutable file in the store for each fact that no product carries."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from prestow.errors import Problem, StoreError
from prestow.model.hashing import canonical_json, sha256_hex
from prestow.stores import Put, Store, Walkable

_UUID = re.compile("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
RECORD_SCHEMA = "prestow.record/1"
KINDS = (
    "registered", "run", "chain", "bound", "child-of", "dimension", "relation", "store", "dataset-type", "deleted", "removed",
    "pixels", "calibration", "certified", "calibration-tag", "skymap", "promised",
    "taint", "frozen", "finding", "closed", "sandbox", "unexpected",
)  # fmt: skip


def record_name(kind: str, key: str) -> str:
    """Give the name of a record in its store.

    A key is a UUID, a run …; what a path cannot hold is quoted, and a long one is a digest.
    """
    safe = quote(key, safe="+")
    if len(safe) > 200 or safe.startswith((".", "-")):  # noqa: PLR2004 - of 255 that a file system allows
        safe = sha256_hex(key.encode())
    folder = key[:2] if _UUID.fullmatch(key) else sha256_hex(key.encode())[:2]
    return f"_records/{kind}/{folder}/{safe}.json"


def put_record(store: Store, kind: str, key: str, facts: Mapping[str, Any]) -> Put:
    """Put a record unless one is there; a different one that is there answers ``exists``.

    An equal one answers ``yes``: doing it twice is doing it once. Any: JSON values.
    """
    if kind not in KINDS:
        raise ValueError(f"unknown kind of record: {kind}")
    name = record_name(kind, key)
    data = canonical_json({"schema": RECORD_SCHEMA, "kind": kind, "key": key, "facts": dict(facts)}).encode()
    answer = store.put_if_absent(name, data)
    if answer is Put.YES:
        return answer
    return Put.YES if store.read(name) == data else Put.EXISTS


def read_record(store: Store, kind: str, key: str) -> dict[str, Any]:  # Any: JSON values
    """Give the facts of a record; absent is `ObjectNotFoundError`."""
    return read_facts(store, record_name(kind, key))[1]


def read_records(store: Store, kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Give key and facts of every record of a kind, sorted by name. Any: JSON values."""
    if not isinstance(store, Walkable):
        raise StoreError(Problem("PST-R001", "the store cannot list its names", store.uri))
    for name, _ in store.walk(f"_records/{kind}"):
        if name.endswith(".json"):
            yield read_facts(store, name)


def is_removed(store: Store, run: str) -> bool:
    """Say whether a run was removed, or its removal has begun: nothing is planned into it again."""
    return store.size(record_name("removed", run)) is not None


def read_facts(store: Store, name: str) -> tuple[str, dict[str, Any]]:
    """Give key and facts of the record of that name. Any: JSON values."""
    document = json.loads(store.read(name))
    if document.get("schema") != RECORD_SCHEMA:
        raise StoreError(Problem("PST-C014", f"not a record of schema {RECORD_SCHEMA}", name))
    return document["key"], document["facts"]
