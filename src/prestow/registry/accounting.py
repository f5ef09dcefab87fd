"""What a run committed, as the registry took it in: for whoever holds files to it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestow.registry import columns as col

if TYPE_CHECKING:
    import pyarrow as pa

    from prestow.registry.database import Database

COMMITTED = {
    "id": col.ID, "type": "str", "path": "str", "size": "int", "sha256": col.DIGEST, "format": "str",
    "recipe": col.ID, "planned_recipe": col.ID, "quantum": col.ID,
}  # fmt: skip
"""Columns of `Accounting.committed`; ``recipe`` is the actual one."""


class Accounting:
    """A registry, asked for all of a run at once. Reads only."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def committed(self, run: str, store: str) -> pa.Table:
        """Give every product of a run that lies in a store, in no order; raw and foreign files are none."""
        return col.conform(
            self._db.query(
                "SELECT d.id AS id, t.name AS type, a.path AS path, a.size AS size, a.sha256 AS sha256, "
                "a.format AS format, d.recipe AS recipe, d.planned_recipe AS planned_recipe, d.quantum AS quantum "
                "FROM dataset d JOIN collection c ON c.id = d.run JOIN dataset_type t ON t.id = d.type "
                "JOIN artifact a ON a.dataset = d.id JOIN store s ON s.id = a.store "
                "WHERE c.name = $1 AND s.name = $2 AND d.quantum IS NOT NULL",
                run,
                store,
            ),
            COMMITTED,
        )

    def quanta(self, run: str) -> pa.Table:
        """Give id, task, job, state, attempt and planned recipe of the quanta of a run that are taken in, in no order."""
        kinds = {
            "id": col.ID, "task": "str", "job": "str", "state": "str", "attempt": "str", "planned_recipe": col.ID,
        }  # fmt: skip
        return col.conform(
            self._db.query(
                f"SELECT {', '.join(f'q.{name} AS {name}' for name in kinds)} FROM quantum q "
                "JOIN collection c ON c.id = q.run WHERE c.name = $1",
                run,
            ),
            kinds,
        )
