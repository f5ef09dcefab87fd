"""What a quantum read, held to what is committed: the digest of each input to that of the product.

Inside the transaction that loads quanta; in columns.
"""

from __future__ import annotations

from prestow.registry.database import Database

OTHER_BYTES = "it read other bytes of an input than those that are committed"
"""What is said of a quantum."""

REGISTERED_OTHER = "a registered quantum read other bytes of it than those that are committed"
"""What is said of a dataset whose reader came before it."""


def mark_readers_of_other_bytes(db: Database, into: str) -> None:
    """Add to a table of (id, what) the staged quanta that read other bytes than are committed.

    Committed are what the registry has, what is staged beside them (``s_artifact``), and what is
    committed and is not loaded (``s_elsewhere``: dataset, sha256).
    """
    for table in ("artifact", "s_artifact", "s_elsewhere"):
        db.execute(
            f"INSERT INTO {into} (id, what) SELECT DISTINCT s.quantum, '{OTHER_BYTES}' FROM s_input s "
            f"JOIN {table} a ON a.dataset = s.input WHERE s.state = 'made' AND s.sha256 <> a.sha256"
        )


def read_otherwise(db: Database) -> list[tuple[bytes, str]]:
    """Give the staged datasets of which registered quanta read other bytes; these datasets are loaded."""
    return [
        (dataset, REGISTERED_OTHER)
        for (dataset,) in db.rows(
            "SELECT DISTINCT s.dataset FROM s_artifact s JOIN quantum_input i ON i.input = s.dataset "
            "WHERE i.state = 'made' AND i.sha256 <> s.sha256"
        )
    ]
