"""What was committed, one event a dataset, in the order of commits."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from prestow.model.hashing import canonical_json
from prestow.registry import columns as col
from prestow.registry.database import Database
from prestow.registry.following import Following

SCHEMA = "prestow.event/1"

PAGE = 2000
"""Events that are read at a time."""


@dataclass(frozen=True, slots=True)
class Event:
    """One dataset that was committed.

    Parameters
    ----------
    sequence : int
        Its number: larger than that of every dataset committed before, in this registry.
    id, type, run : str
        What it is.
    data_id : str
        Canonical JSON.
    store, path : str
        Where it is.
    size : int
        Bytes.
    sha256, recipe : str
        Digest of the bytes, and what it was made by; of a root half the digest of its content.
    """

    sequence: int
    id: str
    type: str
    run: str
    data_id: str
    store: str
    path: str
    size: int
    sha256: str
    recipe: str

    def line(self) -> str:
        """Give the line of the event, without its end."""
        facts: dict[str, Any] = {name: getattr(self, name) for name in self.__dataclass_fields__}  # Any: JSON
        facts["data_id"] = json.loads(self.data_id)
        return canonical_json({"schema": SCHEMA, **facts})


class Events:
    """The commits of a registry, in order."""

    def __init__(self, db: Database, following: Following) -> None:
        self._db = db
        self._following = following

    def after(self, sequence: int) -> Iterator[Event]:
        """Give what was committed after a sequence number and is still there, in order; pages of `PAGE`."""
        while True:
            rows = self._db.rows(
                f"SELECT sequence, id FROM dataset WHERE sequence > $1 ORDER BY sequence LIMIT {PAGE}",
                sequence,
            )
            if not rows:
                return
            numbers = {bytes(key): int(number) for number, key in rows}
            table = self._following.datasets(list(numbers))
            found = sorted(table.to_pylist(), key=lambda row: numbers[row["id"]])  # a page, not a campaign
            for row in found:
                yield Event(
                    numbers[row["id"]], col.uuid_text(row["id"]), row["type"], row["run"], row["data_id"],
                    row["store"] or "", row["path"] or "", row["size"] or 0, _hex(row["sha256"]), _hex(row["recipe"]),
                )  # fmt: skip
            sequence = int(rows[-1][0])

    def sequence_of(self, dataset: str) -> int | None:
        """Give the sequence number of a dataset, or None if it is not here."""
        key = bytes.fromhex(dataset.replace("-", ""))
        rows = self._db.rows("SELECT sequence FROM dataset WHERE id = $1", key)
        return int(rows[0][0]) if rows else None

    def last(self) -> int:
        """Give the last sequence number that was given, 0 before the first."""
        rows = self._db.rows("SELECT value FROM meta WHERE key = 'sequence'")
        return int(rows[0][0]) if rows else 0


def _hex(value: bytes | str | None) -> str:
    return value.hex() if isinstance(value, bytes) else value or ""
