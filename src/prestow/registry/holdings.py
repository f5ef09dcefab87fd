"""What a run has and who depends on it, for whoever wants it gone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestow.registry import columns as col
from prestow.registry.database import Database

if TYPE_CHECKING:
    import pyarrow as pa

PRODUCTS = {"id": col.ID, "type": "str", "store": "str", "kind": "str", "path": "str", "size": "int"}
"""Columns of the products of a run: one row for each place of each dataset."""


class Holdings:
    """A registry, looked at by run.

    Reads, but for `leave_chains`. Rows of datasets are taken out by `Registry.delete_datasets`.
    """

    def __init__(self, db: Database) -> None:
        self._db = db

    def products(self, run: str) -> pa.Table:
        """Give every dataset of a run with its places; ``kind`` is the store's."""
        table = self._db.query(
            "SELECT d.id AS id, t.name AS type, s.name AS store, s.kind AS kind, a.path AS path, a.size AS size "
            "FROM dataset d JOIN collection c ON c.id = d.run JOIN dataset_type t ON t.id = d.type "
            "JOIN artifact a ON a.dataset = d.id JOIN store s ON s.id = a.store WHERE c.name = $1 ORDER BY d.id, s.name",
            run,
        )
        return col.conform(table, PRODUCTS)

    def readers(self, run: str) -> tuple[tuple[str, str, int], ...]:
        """Give run, task and number of quanta that read products of this run, and whose own are still here."""
        rows = self._db.rows(
            "SELECT r.name, q.task, count(DISTINCT q.id) FROM dataset d JOIN collection c ON c.id = d.run "
            "JOIN quantum_input i ON i.input = d.id JOIN quantum q ON q.id = i.quantum "
            "JOIN collection r ON r.id = q.run WHERE c.name = $1 AND q.run <> d.run AND i.state = 'made' "
            "AND EXISTS (SELECT 1 FROM dataset x WHERE x.quantum = q.id) GROUP BY r.name, q.task ORDER BY r.name, q.task",
            run,
        )
        return tuple((name, task, int(count)) for name, task, count in rows)

    def children(self, run: str) -> tuple[str, ...]:
        """Give the runs that repair this one."""
        rows = self._db.rows(
            "SELECT k.name FROM run_parent r JOIN collection c ON c.id = r.parent JOIN collection k ON k.id = r.child "
            "WHERE c.name = $1 ORDER BY k.name",
            run,
        )
        return tuple(name for (name,) in rows)

    def chains(self, run: str) -> tuple[str, ...]:
        """Give the chains that hold this run as a member."""
        rows = self._db.rows(
            "SELECT DISTINCT k.name FROM collection_chain m JOIN collection c ON c.id = m.member "
            "JOIN collection k ON k.id = m.chain WHERE c.name = $1 ORDER BY k.name",
            run,
        )
        return tuple(name for (name,) in rows)

    def leave_chains(self, run: str) -> None:
        """Take a run out of every chain; again is fine."""
        with self._db.transaction():
            self._db.execute(
                "DELETE FROM collection_chain WHERE member = (SELECT id FROM collection WHERE name = $1)", run
            )
