"""From dataset to quantum to dataset, in either direction: one query a step, never one a row.

Serves what follows products to where they came from and where they went. Reads only.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from prestow.model.universe import Universe
from prestow.registry import columns as col
from prestow.registry.database import Database

if TYPE_CHECKING:
    import pyarrow as pa

EDGES = {
    "quantum": col.ID,
    "connection": "str",
    "input": col.ID,
    "state": "str",
    "code": "str",
    "sha256": col.DIGEST,
}
"""Columns of what a quantum reads."""

QUANTA = {
    "id": col.ID, "run": "str", "task": "str", "data_id": "str", "job": "str", "state": "str", "code": "str",
    "planned_recipe": col.ID, "actual_recipe": col.ID, "attempt": "str", "sealer": "str", "version": "str",
    "receipt": "str",
}  # fmt: skip
"""Columns of settled quanta."""

DATASETS = {
    "id": col.ID, "type": "str", "data_id": "str", "run": "str", "quantum": col.ID, "recipe": col.ID, "store": "str",
    "path": "str", "size": "int", "sha256": col.DIGEST, "format": "str",
}  # fmt: skip
"""Columns of datasets; ``data_id`` is canonical JSON."""

PLACES = {
    "id": col.ID, "store": "str", "path": "str", "size": "int", "sha256": col.DIGEST, "content": col.DIGEST, "format": "str",
}  # fmt: skip
"""Columns of where bytes are."""


class Following:
    """A registry, looked at along what was made from what."""

    def __init__(self, db: Database, universe: Universe) -> None:
        self._db = db
        self._universe = universe

    def reads(self, quanta: Collection[bytes]) -> pa.Table:
        """Give every planned input of these quanta, as it really was."""
        return _asked(
            self._db,
            quanta,
            "SELECT i.quantum AS quantum, i.connection AS connection, i.input AS input, i.state AS state, i.code AS code, "
            "i.sha256 AS sha256 FROM s_asked s JOIN quantum_input i ON i.quantum = s.id "
            "ORDER BY i.quantum, i.connection, i.input",
            EDGES,
        )

    def uses(self, datasets: Collection[bytes]) -> pa.Table:
        """Give, in the same columns, the settled quanta for which these datasets were planned."""
        return _asked(
            self._db,
            datasets,
            "SELECT i.quantum AS quantum, i.connection AS connection, i.input AS input, i.state AS state, i.code AS code, "
            "i.sha256 AS sha256 FROM quantum_input i WHERE i.input IN (SELECT id FROM s_asked) "
            "ORDER BY i.input, i.quantum, i.connection",
            EDGES,
        )

    def products(self, quanta: Collection[bytes]) -> pa.Table:
        """Give the datasets that these quanta made: ``quantum, id``."""
        return _asked(
            self._db,
            quanta,
            "SELECT d.quantum AS quantum, d.id AS id FROM dataset d WHERE d.quantum IN (SELECT id FROM s_asked) "
            "ORDER BY d.sequence",
            {"quantum": col.ID, "id": col.ID},
        )

    def quanta(self, ids: Collection[bytes]) -> pa.Table:
        """Give these quanta, as far as they are settled."""
        names = ", ".join(f"q.{name} AS {name}" for name in QUANTA if name != "run")
        return _asked(
            self._db,
            ids,
            f"SELECT {names}, c.name AS run FROM s_asked s JOIN quantum q ON q.id = s.id "
            "JOIN collection c ON c.id = q.run ORDER BY c.name, q.task, q.data_id",
            QUANTA,
        )

    def job(self, job: str) -> pa.Table:
        """Give the settled quanta of a job, by its name, in any run."""
        names = ", ".join(f"q.{name} AS {name}" for name in QUANTA if name != "run")
        table = self._db.query(
            f"SELECT {names}, c.name AS run FROM quantum q JOIN collection c ON c.id = q.run WHERE q.job = $1 "
            "ORDER BY c.name, q.task, q.data_id",
            job,
        )
        return col.conform(table, QUANTA)

    def datasets(self, ids: Collection[bytes]) -> pa.Table:
        """Give these datasets, as far as they are here, with one place of each: a query for each data-ID table."""
        import pyarrow as pa

        parts = [col.conform(pa.table({}), DATASETS)]
        groups = self._db.rows("SELECT id, dimensions FROM dimension_group ORDER BY id")
        with self._db.scratch():
            _stage(self._db, ids)
            for number, text in groups if ids else ():
                dims = json.loads(text)
                keys = "".join(f', g."{name}" AS "{name}"' for name in dims)
                table = self._db.query(
                    "SELECT d.id AS id, t.name AS type, c.name AS run, d.quantum AS quantum, d.recipe AS recipe, "
                    "(SELECT st.name FROM store st WHERE st.id = a.store) AS store, a.path AS path, a.size AS size, "
                    f"a.sha256 AS sha256, a.format AS format{keys} FROM s_asked s JOIN dataset d ON d.id = s.id "
                    "JOIN dataset_type t ON t.id = d.type JOIN collection c ON c.id = d.run "
                    f"JOIN data_id_{number} g ON g.id = d.data_id LEFT JOIN artifact a ON a.dataset = d.id "
                    "AND a.store = (SELECT min(b.store) FROM artifact b WHERE b.dataset = d.id) "
                    "WHERE t.dimensions = $1 ORDER BY d.sequence",
                    text,
                )
                if table.num_rows:
                    parts.append(col.conform(_with_data_id(table, dims, self._universe), DATASETS))
        return pa.concat_tables(parts)

    def artifacts(self, paths: Collection[str] = (), digests: Collection[str] = ()) -> pa.Table:
        """Give the datasets with an artifact of one of these paths or SHA-256 digests: ``id, path, sha256``."""
        import pyarrow as pa

        kinds = {"id": col.ID, "path": "str", "sha256": col.DIGEST}
        asked = pa.table(
            {
                "path": pa.array([*sorted(paths), *(None for _ in digests)], pa.string()),
                "sha256": pa.array(
                    [*(None for _ in paths), *map(bytes.fromhex, sorted(digests))], pa.binary()
                ),
            }
        )
        if not asked.num_rows:
            return col.conform(pa.table({}), kinds)
        with self._db.scratch():
            self._db.stage("s_sought", asked)
            table = self._db.query(
                "SELECT a.dataset AS id, a.path AS path, a.sha256 AS sha256 FROM artifact a "
                "WHERE a.path IN (SELECT path FROM s_sought WHERE path IS NOT NULL) "
                "OR a.sha256 IN (SELECT sha256 FROM s_sought WHERE sha256 IS NOT NULL) ORDER BY a.path, a.dataset"
            )
        return col.conform(table, kinds)

    def places(self, ids: Collection[bytes]) -> pa.Table:
        """Give where the bytes of these datasets are: `PLACES`, the store registered first before others."""
        return _asked(
            self._db,
            ids,
            "SELECT a.dataset AS id, s.name AS store, a.path AS path, a.size AS size, a.sha256 AS sha256, "
            "a.content AS content, a.format AS format FROM s_asked q JOIN artifact a ON a.dataset = q.id "
            "JOIN store s ON s.id = a.store ORDER BY a.dataset, a.store",
            PLACES,
        )

    def makers(self) -> dict[str, tuple[str, ...]]:
        """Give, for each dataset type, the tasks that made some of it."""
        rows = self._db.rows(
            "SELECT DISTINCT t.name, q.task FROM dataset d JOIN dataset_type t ON t.id = d.type "
            "JOIN quantum q ON q.id = d.quantum ORDER BY t.name, q.task"
        )
        found: dict[str, list[str]] = {}
        for kind, task in rows:
            found.setdefault(kind, []).append(task)
        return {kind: tuple(tasks) for kind, tasks in found.items()}

    def tasks(self, run: str) -> tuple[str, ...]:
        """Give the tasks of a run that have settled quanta."""
        rows = self._db.rows(
            "SELECT DISTINCT q.task FROM quantum q JOIN collection c ON c.id = q.run WHERE c.name = $1 ORDER BY q.task",
            run,
        )
        return tuple(task for (task,) in rows)


def _with_data_id(table: pa.Table, dims: Sequence[str], universe: Universe) -> pa.Table:
    import pyarrow as pa

    from prestow.model.hashing import canonical_json

    kinds: Mapping[str, str] = {name: universe.dimensions[name].type for name in dims}
    keys = {name: table[name].to_pylist() for name in dims}
    # what is asked for by id is looked at by a person: a text for each is no hot path
    texts = [
        canonical_json({name: int(keys[name][i]) if kinds[name] == "int" else keys[name][i] for name in dims})
        for i in range(table.num_rows)
    ]
    return table.drop_columns(list(dims)).append_column("data_id", pa.array(texts, pa.string()))


def _asked(db: Database, ids: Collection[bytes], sql: str, kinds: Mapping[str, str]) -> pa.Table:
    import pyarrow as pa

    if not ids:
        return col.conform(pa.table({}), kinds)
    with db.scratch():
        _stage(db, ids)
        return col.conform(db.query(sql), kinds)


def _stage(db: Database, ids: Collection[bytes]) -> None:
    import pyarrow as pa

    db.stage("s_asked", pa.table({"id": pa.array(sorted(set(ids)), pa.binary())}))


def plain_rows(table: pa.Table) -> list[dict[str, Any]]:  # Any: what the columns hold
    """Give a table as rows for people: ids as texts of UUIDs, recipes and digests as digits."""
    rows: list[dict[str, Any]] = table.to_pylist()
    for row in rows:
        for name, value in row.items():
            if isinstance(value, bytes):
                row[name] = (
                    value.hex()
                    if name in ("recipe", "planned_recipe", "actual_recipe", "sha256", "content")
                    else col.uuid_text(value)
                )
    return rows
