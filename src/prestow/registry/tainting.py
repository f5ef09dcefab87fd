"""Tainted datasets: a person says that they are bad; and all that was made from them, at any depth.

A record says so, and a row. What was made from tainted data is contaminated: that is no fact of its own, it
follows from what was made from what. Where the quanta between are not here, as in a part of another project,
it follows from the raw data that receipts name.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Any

from prestow.commit import receipt_texts
from prestow.errors import PrestowError
from prestow.registry import columns as col
from prestow.registry.database import Database
from prestow.registry.records import put_record, read_facts, record_name
from prestow.stores import Put, open_store

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

    def products(self, quanta: Collection[bytes]) -> tuple[bytes, ...]:
        """Give what some quanta made that is here, in order of arrival."""
        if not quanta:
            return ()
        with self._db.scratch():
            self._db.stage("s_quanta", _ids(quanta))
            rows = self._db.rows(
                "SELECT d.id FROM s_quanta s JOIN dataset d ON d.quantum = s.id ORDER BY d.sequence"
            )
        return tuple(bytes(key) for (key,) in rows)

    def readers(self, ids: Collection[bytes]) -> set[bytes]:
        """Give the ids of all quanta that used one of these datasets, at any depth."""
        import pyarrow as pa

        found: set[bytes] = set()
        unkept = self._unkept() if ids else pa.table({})
        far = self._with_root(ids, self.cut) if ids else set()
        with self._db.scratch():
            self._db.stage("s_asked", _ids(ids))
            self._db.stage("s_far", _ids(far))
            self._db.stage("s_unkept", unkept if unkept.num_rows else _edges())
            start = "SELECT i.quantum FROM s_asked s JOIN quantum_input i ON i.input = s.id WHERE i.state = 'made'"
            new = self._closed(f"{start} UNION SELECT id FROM s_far")
            while new - found:
                found |= new
                self._db.execute("DROP TABLE s_asked")
                self._db.stage("s_asked", _ids(new))
                # what is kept leads on in one query, and only what is not needs another look
                new = self._closed("SELECT u.reader FROM s_asked s JOIN s_unkept u ON u.maker = s.id")
        return found

    @cached_property
    def cut(self) -> dict[bytes, frozenset[bytes] | None]:
        """The quanta here that used what nothing here made, each with the raw data that its receipt goes back to.

        None where the receipt cannot be read. What used no more than the raw data itself is not among them.
        """
        rows = self._db.rows(
            "SELECT DISTINCT i.quantum, c.name, r.receipt, i.input FROM quantum_input i "
            "JOIN quantum r ON r.id = i.quantum JOIN collection c ON c.id = r.run "
            "LEFT JOIN dataset d ON d.id = i.input "
            "LEFT JOIN quantum q ON q.actual_recipe = i.actual_recipe AND q.state = 'made' "
            "WHERE d.id IS NULL AND q.id IS NULL AND i.state = 'made'"
        )
        names: dict[str, dict[str, bytes]] = {}
        inputs: dict[bytes, set[bytes]] = {}
        for quantum, run, receipt, one in rows:  # of quanta at the edge of what is here alone
            names.setdefault(str(run), {})[str(receipt)] = bytes(quantum)
            inputs.setdefault(bytes(quantum), set()).add(bytes(one))
        roots = self._roots(names)
        found = {key: roots.get(key) for key in inputs}
        return {key: known for key, known in found.items() if known is None or not inputs[key] <= known}

    def unknown(self, ids: Collection[bytes]) -> set[bytes]:
        """Give the quanta of which it is not known here whether they used one of these, at any depth.

        Of raw data receipts tell; of a product they tell only that what they name is no raw data of it.
        """
        if not ids or not self.cut:
            return set()
        with self._db.scratch():
            self._db.stage("s_asked", _ids(ids))
            rows = self._db.rows(
                "SELECT q.id, c.name, q.receipt FROM s_asked s JOIN dataset d ON d.id = s.id "
                "JOIN quantum q ON q.id = d.quantum JOIN collection c ON c.id = q.run"
            )
        names: dict[str, dict[str, bytes]] = {}
        for quantum, run, receipt in rows:
            names.setdefault(str(run), {})[str(receipt)] = bytes(quantum)
        mine = self._roots(names)
        blind = any(bytes(quantum) not in mine for quantum, _, _ in rows)
        shared = {root for roots in mine.values() for root in roots}
        unsure = {
            key
            for key, roots in self.cut.items()
            if roots is None or (rows and (blind or not roots.isdisjoint(shared)))
        }
        if not unsure:
            return set()
        with self._db.scratch():
            self._db.stage("s_far", _ids(unsure))
            below = self._closed("SELECT id FROM s_far")
            above = self._makers(mine) if mine else set()
        return below - above - self.readers(ids)

    def _makers(self, quanta: Collection[bytes]) -> set[bytes]:
        """Give these quanta and those that made what they used, at any depth: none of them used what these made."""
        self._db.stage("s_own", _ids(quanta))
        rows = self._db.rows(
            "WITH RECURSIVE maker(quantum) AS (SELECT id FROM s_own UNION "
            "SELECT d.quantum FROM maker m JOIN quantum_input i ON i.quantum = m.quantum "
            "JOIN dataset d ON d.id = i.input WHERE i.state = 'made' AND d.quantum IS NOT NULL) "
            "SELECT quantum FROM maker"
        )
        return {bytes(key) for (key,) in rows}

    @staticmethod
    def _with_root(ids: Collection[bytes], cut: Mapping[bytes, frozenset[bytes] | None]) -> set[bytes]:
        asked = set(ids)
        return {key for key, roots in cut.items() if roots is not None and not roots.isdisjoint(asked)}

    def _roots(self, names: Mapping[str, Mapping[str, bytes]]) -> dict[bytes, frozenset[bytes]]:
        """Give the raw data that receipts name, by quantum: of each run names of receipts with their quanta."""
        found: dict[bytes, frozenset[bytes]] = {}
        stores = self._db.rows("SELECT uri FROM store WHERE kind = 'output' ORDER BY id") if names else []
        for (uri,) in stores:
            for run, quanta in names.items():
                with suppress(PrestowError):
                    store = open_store(str(uri))
                    for name, text in receipt_texts(store, run, quanta):
                        if text is not None and (roots := _roots_in(text)) is not None:
                            found.setdefault(quanta[name], roots)
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


def _roots_in(text: bytes) -> frozenset[bytes] | None:
    try:
        return frozenset(uuid.UUID(root["id"]).bytes for root in json.loads(text)["roots"])
    except (ValueError, KeyError, TypeError):
        return None


def _ids(ids: Collection[bytes]) -> pa.Table:
    import pyarrow as pa

    return pa.table({"id": pa.array(sorted(set(ids)), pa.binary(16))})


def _edges() -> pa.Table:
    import pyarrow as pa

    return pa.table({"maker": pa.array([], pa.binary(16)), "reader": pa.array([], pa.binary(16))})
