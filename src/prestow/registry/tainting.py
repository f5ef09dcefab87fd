"""Tainted datasets: a person says that they are bad; and all that was made from them, at any depth.

A record says so, and a row. What was made from tainted data is contaminated: that is no fact of its own, it
follows from what was made from what.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import TYPE_CHECKING, Any

from prestow.registry import columns as col
from prestow.registry.database import Database
from prestow.registry.records import put_record, read_facts, record_name
from prestow.stores import Put

if TYPE_CHECKING:
    import pyarrow as pa

    from prestow.stores import Store

KIND = "taint"

TOUCHED = {
    "id": col.ID, "type": "str", "run": "str", "task": "str", "quantum": col.ID, "frozen": "int",
}  # fmt: skip
"""Columns of what was made from something; ``frozen`` is 1 in a frozen run."""


class Tainting:
    """The tainted datasets of a registry."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def reasons(self, ids: Collection[bytes] | None = None) -> dict[bytes, str]:
        """Give why datasets are tainted: all that are, or those of ``ids`` that are."""
        found = {
            bytes(key): str(because) for key, because in self._db.rows("SELECT id, because FROM tainted")
        }
        if ids is None:
            return found
        asked = set(ids)
        return {key: because for key, because in found.items() if key in asked}

    def touched(self, ids: Collection[bytes]) -> pa.Table:
        """Give every dataset here that was made from one of these, at any depth; in order of arrival.

        Returns
        -------
        Table
            `TOUCHED`. What a quantum made is touched as a whole. What was made and is not kept is not in it,
            but what was made from that is.
        """
        import pyarrow as pa

        if not ids:
            return col.conform(pa.table({}), TOUCHED)
        quanta = self.readers(ids)
        with self._db.scratch():
            self._db.stage("s_quanta", _ids(quanta))
            table = self._db.query(
                "SELECT d.id AS id, t.name AS type, c.name AS run, q.task AS task, d.quantum AS quantum, "
                "CASE WHEN f.collection IS NULL THEN 0 ELSE 1 END AS frozen "
                "FROM s_quanta s JOIN dataset d ON d.quantum = s.id JOIN quantum q ON q.id = d.quantum "
                "JOIN dataset_type t ON t.id = d.type JOIN collection c ON c.id = d.run "
                "LEFT JOIN frozen f ON f.collection = d.run ORDER BY d.sequence"
            )
        return col.conform(table, TOUCHED)

    def readers(self, ids: Collection[bytes]) -> set[bytes]:
        """Give the ids of all quanta that used one of these datasets, at any depth."""
        import pyarrow as pa

        found: set[bytes] = set()
        unkept = self._unkept() if ids else pa.table({})
        with self._db.scratch():
            self._db.stage("s_asked", _ids(ids))
            self._db.stage("s_unkept", unkept if unkept.num_rows else _edges())
            start = "SELECT i.quantum FROM s_asked s JOIN quantum_input i ON i.input = s.id WHERE i.state = 'made'"
            new = self._closed(start)
            while new - found:
                found |= new
                self._db.execute("DROP TABLE s_asked")
                self._db.stage("s_asked", _ids(new))
                # what is kept leads on in one query, and only what is not needs another look
                new = self._closed("SELECT u.reader FROM s_asked s JOIN s_unkept u ON u.maker = s.id")
        return found

    def bad_quanta(self) -> set[bytes]:
        """Give the quanta that made or used what is tainted, at any depth."""
        bad = self.reasons()
        if not bad:
            return set()
        made = self._db.rows(
            "SELECT d.quantum FROM tainted t JOIN dataset d ON d.id = t.id WHERE d.quantum IS NOT NULL"
        )
        return {bytes(key) for (key,) in made} | self.readers(bad)

    def _closed(self, start: str) -> set[bytes]:
        """Give quanta, those that read what they made, and so on."""
        rows = self._db.rows(
            f"WITH RECURSIVE touched(quantum) AS ({start} UNION "
            "SELECT i.quantum FROM touched t JOIN dataset d ON d.quantum = t.quantum "
            "JOIN quantum_input i ON i.input = d.id WHERE i.state = 'made') SELECT quantum FROM touched"
        )
        return {bytes(key) for (key,) in rows}

    def _unkept(self) -> pa.Table:
        """Give who read what, where the dataset between is not kept: ``maker, reader``, by the recipe of both."""
        table = self._db.query(
            "SELECT DISTINCT q.id AS maker, u.quantum AS reader FROM "
            "(SELECT i.quantum AS quantum, i.actual_recipe AS recipe FROM quantum_input i "
            "LEFT JOIN dataset d ON d.id = i.input WHERE d.id IS NULL AND i.state = 'made') u "
            "JOIN quantum q ON q.actual_recipe = u.recipe WHERE q.state = 'made'"
        )
        return col.conform(table, {"maker": col.ID, "reader": col.ID})

    def mark(self, store: Store, datasets: Iterable[Mapping[str, Any]], because: str, *, bad: bool) -> int:
        """Mark datasets as bad, or as good again: first by record, then by row. Give how many changed.

        Again is fine: what is marked so already is left as it is.

        Parameters
        ----------
        datasets : iterable of mapping
            ``dataset`` (the UUID), ``type``, ``data_id``, ``run``. Any: JSON values.
        """
        changed = 0
        for one in datasets:  # a person names them, and each is a record of its own
            facts = {**one, "tainted": bad, "because": because}
            changed += _record(store, facts)
            key = uuid.UUID(str(one["dataset"])).bytes
            with self._db.transaction():
                self._db.execute("DELETE FROM tainted WHERE id = $1", key)
                if bad:
                    self._db.execute("INSERT INTO tainted (id, because) VALUES ($1, $2)", key, because)
        return changed


def _record(store: Store, facts: Mapping[str, Any]) -> bool:
    """Put the next record of a dataset, unless the last one says the same; say whether it is new."""
    number, last = 1, None
    while True:
        key = f"{facts['dataset']}.{number}"
        name = record_name(KIND, key)
        if store.size(name) is not None:
            last = read_facts(store, name)[1]
        else:
            if _means_the_same(last, facts):
                return False
            if put_record(store, KIND, key, facts) is Put.YES:
                return True
            continue  # somebody was faster: theirs is read, and ours comes after it
        number += 1


def _means_the_same(last: Mapping[str, Any] | None, facts: Mapping[str, Any]) -> bool:
    if last is None:
        return not facts["tainted"]
    return last["tainted"] == facts["tainted"] and (
        not facts["tainted"] or last["because"] == facts["because"]
    )


def _ids(ids: Collection[bytes]) -> pa.Table:
    import pyarrow as pa

    return pa.table({"id": pa.array(sorted(set(ids)), pa.binary(16))})


def _edges() -> pa.Table:
    import pyarrow as pa

    return pa.table({"maker": pa.array([], pa.binary(16)), "reader": pa.array([], pa.binary(16))})
