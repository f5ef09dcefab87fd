"""Small facts put back as their records say them: what is tainted, frozen, found and pinned."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from prestow.model.hashing import canonical_json
from prestow.registry.database import Database

if TYPE_CHECKING:
    import pyarrow as pa

ROWS = ("dataset", "artifact", "quantum", "collection", "dataset_type", "deleted", "binding")
"""Tables of which one that has rows says that a registry is in use."""


class Restoring:
    """A registry that is made again. Every call is one transaction, and again is fine."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def is_empty(self) -> bool:
        """Say whether nothing was ever put in."""
        return not any(self._db.rows(f"SELECT 1 FROM {table} LIMIT 1") for table in ROWS)

    def taint(self, tainted: Mapping[bytes, str]) -> None:
        """Mark datasets as bad, each with the reason."""
        import pyarrow as pa

        ids = pa.array(list(tainted), pa.binary(16))
        self._add(
            "tainted", ("id",), pa.table({"id": ids, "because": pa.array(tainted.values(), pa.string())})
        )

    def delete(self, ids: Iterable[bytes]) -> None:
        """Note datasets that were deleted, of which nothing is here."""
        import pyarrow as pa

        self._add("deleted", ("id",), pa.table({"id": pa.array(sorted(set(ids)), pa.binary(16))}))

    def find(self, findings: Iterable[tuple[str, str, Mapping[str, Any]]]) -> None:  # Any: JSON values
        """Note findings: kind, key and facts of each."""
        import pyarrow as pa

        rows = [(kind, key, canonical_json(dict(facts))) for kind, key, facts in findings]
        columns = zip(*rows, strict=True) if rows else ((), (), ())
        names = ("kind", "key", "facts")
        table = pa.table({n: pa.array(c, pa.string()) for n, c in zip(names, columns, strict=True)})
        self._add("finding", ("kind", "key"), table)

    def freeze(self, collections: Iterable[str]) -> None:
        """Note that collections that are known are frozen."""
        with self._db.transaction():
            for name in collections:
                self._db.execute(
                    "INSERT INTO frozen (collection) SELECT c.id FROM collection c WHERE c.name = $1 "
                    "AND NOT EXISTS (SELECT 1 FROM frozen f WHERE f.collection = c.id)",
                    name,
                )

    def _add(self, table: str, keys: tuple[str, ...], rows: pa.Table) -> None:
        names = ", ".join(rows.column_names)
        same = " AND ".join(f"t.{key} = s.{key}" for key in keys)
        with self._db.transaction():
            self._db.stage("s_restored", rows)
            self._db.execute(
                f"INSERT INTO {table} ({names}) SELECT {names} FROM s_restored s "
                f"WHERE NOT EXISTS (SELECT 1 FROM {table} t WHERE {same})"
            )
            self._db.execute("DROP TABLE s_restored")
