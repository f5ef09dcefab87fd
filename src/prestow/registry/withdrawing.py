"""Rows of quanta taken out again, for a sandbox alone: what is made again there is registered again.

Nothing is marked as deleted. In a registry that others rely on settled is for ever, and this is not used.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prestow.registry.database import Database


class Withdrawing:
    """A registry, from which quanta and all that they made can be taken out."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def withdraw(self, quanta: Collection[bytes]) -> None:
        """Take these quanta out with what they read and made; those that are not here are no matter."""
        import pyarrow as pa

        with self._db.transaction():
            self._db.stage("s_gone", pa.table({"id": pa.array(sorted(set(quanta)), pa.binary(16))}))
            made = "(SELECT d.id FROM dataset d JOIN s_gone s ON s.id = d.quantum)"
            for table in ("artifact", "calibration", "metric"):
                self._db.execute(f"DELETE FROM {table} WHERE dataset IN {made}")
            self._db.execute("DELETE FROM dataset WHERE quantum IN (SELECT id FROM s_gone)")
            self._db.execute("DELETE FROM quantum_input WHERE quantum IN (SELECT id FROM s_gone)")
            self._db.execute("DELETE FROM quantum WHERE id IN (SELECT id FROM s_gone)")
            self._db.execute("DROP TABLE s_gone")
