"""Where datasets lie, as a registry has it, for whoever holds it against the disk."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from prestow.registry import columns as col

if TYPE_CHECKING:
    import pyarrow as pa

    from prestow.registry.database import Database

PLACES = {
    "id": col.ID, "type": "str", "run": "str", "path": "str", "member": "str", "size": "int", "sha256": col.DIGEST, "format": "str",
}  # fmt: skip
BARE = {"id": col.ID, "type": "str", "run": "str", "receipt": "str"}
SETTLED = {"id": col.ID, "run": "str", "receipt": "str"}


class Artifacts:
    """The places of a registry. What is taken away here comes back by the next ingest that finds the file."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def places(self, store: str) -> pa.Table:
        """Give every artifact in a store with its dataset, by path: `PLACES`, an empty member as null."""
        table = self._db.query(
            "SELECT a.dataset AS id, t.name AS type, c.name AS run, a.path AS path, a.member AS member, a.size AS size, "
            "a.sha256 AS sha256, a.format AS format FROM artifact a JOIN store s ON s.id = a.store "
            "JOIN dataset d ON d.id = a.dataset JOIN dataset_type t ON t.id = d.type JOIN collection c ON c.id = d.run "
            "WHERE s.name = $1 ORDER BY a.path, a.member",
            store,
        )
        return col.conform(col.empty_is_null(table, "member"), PLACES)

    def bare(self) -> pa.Table:
        """Give datasets that lie nowhere, by id: `BARE`. Of raw and foreign ones the receipt is null."""
        table = self._db.query(
            "SELECT d.id AS id, t.name AS type, c.name AS run, q.receipt AS receipt FROM dataset d "
            "JOIN dataset_type t ON t.id = d.type JOIN collection c ON c.id = d.run LEFT JOIN quantum q ON q.id = d.quantum "
            "WHERE NOT EXISTS (SELECT 1 FROM artifact a WHERE a.dataset = d.id) ORDER BY d.id"
        )
        return col.conform(table, BARE)

    def settled(self) -> pa.Table:
        """Give every settled quantum with the name of its receipt: `SETTLED`, in no order."""
        table = self._db.query(
            "SELECT q.id AS id, c.name AS run, q.receipt AS receipt FROM quantum q JOIN collection c ON c.id = q.run"
        )
        return col.conform(table, SETTLED)

    def roots(self) -> pa.Table:
        """Give ``id`` and ``run`` of every dataset that no quantum made, in no order."""
        table = self._db.query(
            "SELECT d.id AS id, c.name AS run FROM dataset d JOIN collection c ON c.id = d.run WHERE d.quantum IS NULL"
        )
        return col.conform(table, {"id": col.ID, "run": "str"})

    def forget(self, store: str, ids: Collection[bytes]) -> None:
        """Take away where these datasets lie in a store; that they were committed stays known."""
        import pyarrow as pa

        with self._db.transaction():
            self._db.stage("s_gone", pa.table({"id": pa.array(sorted(set(ids)), pa.binary(16))}))
            self._db.execute(
                "DELETE FROM artifact WHERE dataset IN (SELECT id FROM s_gone) "
                "AND store = (SELECT id FROM store WHERE name = $1)",
                store,
            )
            self._db.execute("DROP TABLE s_gone")

    def point(self, store: str, paths: Mapping[bytes, str]) -> None:
        """Note that datasets lie at other names of a store now."""
        with self._db.transaction():
            for dataset, path in sorted(paths.items()):  # few: somebody moved them
                self._db.execute(
                    "UPDATE artifact SET path = $1 WHERE dataset = $2 AND store = (SELECT id FROM store WHERE name = $3)",
                    path,
                    dataset,
                    store,
                )
