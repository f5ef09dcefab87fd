"""Bulk into the registry: stage, compare with what stands, insert what is absent.

Each function runs inside its caller's transaction, so what it does happens once or not at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prestow.errors import IngestError, Problem, ProjectError, raise_all
from prestow.model import DatasetType
from prestow.model.hashing import canonical_json
from prestow.model.universe import Universe
from prestow.registry import columns as col
from prestow.registry import schema
from prestow.registry.batches import Contradiction, DatasetBatch, Inserted
from prestow.registry.database import Database
from prestow.registry.digests import mark_readers_of_other_bytes, read_otherwise

if TYPE_CHECKING:
    import pyarrow as pa

_ARTIFACT = {
    "dataset": col.ID, "store": "str", "path": "str", "member": "str", "size": "int", "sha256": col.DIGEST,
    "content": col.DIGEST, "format": "str",
}  # fmt: skip
_QUANTUM = {
    "id": col.ID, "run": "str", "task": "str", "data_id": "str", "job": "str", "state": "str", "code": "str",
    "planned_recipe": col.ID, "actual_recipe": col.ID, "attempt": "str", "sealer": "str", "version": "str",
    "receipt": "str",
}  # fmt: skip
_INPUT = {
    "quantum": col.ID, "connection": "str", "input": col.ID, "state": "str", "code": "str", "sha256": col.DIGEST,
    "planned_recipe": col.ID, "actual_recipe": col.ID,
}  # fmt: skip
_METRIC = {"dataset": col.ID, "name": "str", "value": "float"}
_ELSEWHERE = {"dataset": col.ID, "sha256": col.DIGEST}


def insert_keyed(
    db: Database, table: str, keys: Sequence[str], kinds: Mapping[str, str], rows: pa.Table
) -> int:
    """Add the rows whose key is absent; give how many.

    Raises
    ------
    IngestError
        PST-I006 for every row (the first ten) that differs from the one of its key.
    """
    if rows.num_rows == 0:
        return 0
    names = [f'"{name}"' for name in kinds]
    facts = [f'"{name}"' for name in kinds if name not in keys]
    same = " AND ".join(f't."{k}" = s."{k}"' for k in keys)
    db.stage("s_rows", col.plain(col.conform(rows, kinds)))
    db.execute(f"CREATE TEMPORARY TABLE s_once AS SELECT DISTINCT {', '.join(names)} FROM s_rows")
    wrong = []
    key_list = ", ".join(f's."{k}"' for k in keys)
    if facts:
        differs = " OR ".join(f"t.{name} IS DISTINCT FROM s.{name}" for name in facts)
        wrong = db.rows(f"SELECT {key_list} FROM s_once s JOIN {table} t ON {same} WHERE {differs} LIMIT 10")
        wrong += db.rows(f"SELECT {key_list} FROM s_once s GROUP BY {key_list} HAVING count(*) > 1 LIMIT 10")
    if wrong:
        what = table.partition("_")[2]
        raise IngestError(
            *(
                Problem(
                    "PST-I006", f"two records of one {what} that differ", ",".join(f"{k}={v}" for k, v in zip(keys, row, strict=True)),
                    "one of the two sources is wrong; the registry was not changed",
                )
                for row in sorted(set(wrong))
            )
        )  # fmt: skip
    db.execute(
        f"INSERT INTO {table} ({', '.join(names)}) SELECT {', '.join(names)} FROM s_once s "
        f"WHERE NOT EXISTS (SELECT 1 FROM {table} t WHERE {same})"
    )
    added = db.changed()
    db.execute("DROP TABLE s_once")
    db.execute("DROP TABLE s_rows")
    return added


def insert_datasets(
    db: Database, universe: Universe, types: Mapping[str, DatasetType], batch: DatasetBatch
) -> Inserted:
    """Add what is absent, not deleted and not contradictory; nothing else is changed."""
    groups = _stage(db, universe, types, batch)
    _refuse_unknown(db)
    wrong = _contradictions(db)
    for table, column in (
        ("s_all", "id"),
        ("s_artifact", "dataset"),
        ("s_metric", "dataset"),
        *((group.table, "id") for group in groups),
    ):
        db.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT id FROM s_bad)")
    db.execute("DELETE FROM s_quantum WHERE id IN (SELECT id FROM s_bad_quantum)")
    db.execute("DELETE FROM s_input WHERE quantum IN (SELECT id FROM s_bad_quantum)")
    quanta = _insert_quanta(db)
    deleted = int(db.rows("SELECT count(*) FROM s_all s JOIN deleted x ON x.id = s.id")[0][0])
    for table, column in (
        ("s_all", "id"),
        ("s_artifact", "dataset"),
        ("s_metric", "dataset"),
        *((group.table, "id") for group in groups),
    ):
        db.execute(f"DELETE FROM {table} WHERE {column} IN (SELECT id FROM deleted)")
    total = int(db.rows("SELECT count(*) FROM s_all")[0][0])
    added = sum(_insert_group(db, group) for group in groups)
    db.execute(
        "INSERT INTO artifact (dataset, store, path, member, size, sha256, content, format) "
        "SELECT a.dataset, t.id, a.path, coalesce(a.member, ''), a.size, a.sha256, a.content, a.format "
        "FROM s_artifact a JOIN store t ON t.name = a.store WHERE NOT EXISTS "
        "(SELECT 1 FROM artifact x WHERE x.dataset = a.dataset AND x.store = t.id) ORDER BY a.dataset"
    )
    artifacts = db.changed()
    db.execute(
        "INSERT INTO metric (dataset, name, value) SELECT s.dataset, s.name, s.value FROM s_metric s "
        "JOIN dataset d ON d.id = s.dataset WHERE NOT EXISTS "
        "(SELECT 1 FROM metric m WHERE m.dataset = s.dataset AND m.name = s.name) ORDER BY s.dataset, s.name"
    )
    for table in (
        "s_all",
        "s_artifact",
        "s_metric",
        "s_elsewhere",
        "s_quantum",
        "s_input",
        "s_bad",
        "s_bad_quantum",
        *(g.table for g in groups),
    ):
        db.execute(f"DROP TABLE {table}")
    return Inserted(added, total - added, deleted, artifacts, quanta, wrong)


def _refuse_unknown(db: Database) -> None:
    """Raise if a run or store is not known: a join would leave its rows out without a word."""
    problems = [
        Problem("PST-G003", f"no {kind} '{name}' is registered", db.where, "register it first")
        for kind, table, staged, column in (
            ("run", "collection", "s_all", "run"),
            ("run", "collection", "s_quantum", "run"),
            ("store", "store", "s_artifact", "store"),
        )
        for (name,) in db.rows(
            f"SELECT DISTINCT {column} FROM {staged} WHERE {column} NOT IN (SELECT name FROM {table})"
        )
    ]
    raise_all(dict.fromkeys(problems), ProjectError)


class _Group:
    """The staged datasets of one type, and the table of their data IDs."""

    def __init__(self, table: str, number: int, dimensions: tuple[str, ...], type_name: str) -> None:
        self.table = table
        self.number = number
        self.dimensions = dimensions
        self.type_name = type_name


def _stage(
    db: Database, universe: Universe, types: Mapping[str, DatasetType], batch: DatasetBatch
) -> list[_Group]:
    import pyarrow as pa

    staged, parts = {}, []
    kinds = {"id": col.ID, "run": "str", "recipe": col.ID, "planned_recipe": col.ID, "quantum": col.ID}
    for position, (name, rows) in enumerate(batch.datasets.items()):
        dims = types[name].dimensions
        table = col.conform(rows, {**kinds, **{d: universe.dimensions[d].type for d in dims}})
        staged[f"s_type_{position}"] = name
        db.stage(f"s_type_{position}", table)
        part = table.select(list(kinds))
        parts.append(part.append_column("type", pa.array([name] * part.num_rows, pa.string())))
    empty = col.conform(pa.table({}), {**kinds, "type": "str"})
    db.stage("s_all", pa.concat_tables([empty, *parts]))
    for name, given, columns in (
        ("s_artifact", batch.artifacts, _ARTIFACT),
        ("s_quantum", batch.quanta, _QUANTUM),
        ("s_input", batch.quantum_inputs, _INPUT),
        ("s_metric", batch.metrics, _METRIC),
        ("s_elsewhere", batch.elsewhere, _ELSEWHERE),
    ):
        rows = pa.table({}) if given is None else given
        for digest in ("sha256", "content"):
            if digest in rows.column_names and col.is_text(rows[digest].type):
                at = rows.column_names.index(digest)
                rows = rows.set_column(at, digest, col.to_bytes(rows[digest], 32))
        db.stage(name, col.conform(rows, columns))
    for name in ("s_bad", "s_bad_quantum"):
        db.stage(name, col.conform(pa.table({}), {"id": col.ID, "what": "str"}))
    return [
        _Group(table, _group_number(db, universe, types[name].dimensions), types[name].dimensions, name)
        for table, name in staged.items()
    ]


def _group_number(db: Database, universe: Universe, dimensions: tuple[str, ...]) -> int:
    text = canonical_json(list(dimensions))
    query = "SELECT id FROM dimension_group WHERE dimensions = $1"
    found = db.rows(query, text)
    if not found:
        db.execute("INSERT INTO dimension_group (dimensions) VALUES ($1)", text)
        found = db.rows(query, text)
        for statement in schema.data_id_statements(found[0][0], dimensions, universe, db.dialect):
            db.execute(statement)
    return int(found[0][0])


def _contradictions(db: Database) -> tuple[Contradiction, ...]:
    bad = "INSERT INTO s_bad "
    quantum = "INSERT INTO s_bad_quantum "
    db.execute(
        bad + "SELECT s.id, 'registered with another recipe, quantum, type or run' FROM s_all s "
        "JOIN dataset d ON d.id = s.id JOIN dataset_type t ON t.id = d.type JOIN collection c ON c.id = d.run "
        "WHERE t.name <> s.type OR c.name <> s.run OR d.recipe IS DISTINCT FROM s.recipe "
        "OR d.planned_recipe IS DISTINCT FROM s.planned_recipe OR d.quantum IS DISTINCT FROM s.quantum"
    )
    db.execute(bad + "SELECT id, 'given twice' FROM s_all GROUP BY id HAVING count(*) > 1")
    db.execute(
        bad + "SELECT s.dataset, 'registered with other bytes' FROM s_artifact s "
        "JOIN artifact a ON a.dataset = s.dataset WHERE a.sha256 <> s.sha256 OR a.content <> s.content "
        "OR a.size <> s.size"
    )
    db.execute(
        bad + "SELECT s.dataset, 'its place holds another registered dataset' FROM s_artifact s "
        "JOIN store t ON t.name = s.store JOIN artifact a ON a.store = t.id AND a.path = s.path "
        "AND a.member = coalesce(s.member, '') WHERE a.dataset <> s.dataset"
    )
    db.execute(
        bad + "SELECT s.dataset, 'its place is also given to another dataset' FROM s_artifact s JOIN "
        "(SELECT store, path, member FROM s_artifact GROUP BY store, path, member "
        "HAVING count(DISTINCT dataset) > 1) x "
        "ON x.store = s.store AND x.path = s.path AND x.member IS NOT DISTINCT FROM s.member"
    )
    differs = " OR ".join(f"q.{n} IS DISTINCT FROM s.{n}" for n in _QUANTUM if n not in ("id", "run"))
    db.execute(
        quantum
        + f"SELECT s.id, 'registered with another receipt' FROM s_quantum s JOIN quantum q ON q.id = s.id "
        f"JOIN collection c ON c.id = q.run WHERE c.name <> s.run OR {differs}"
    )
    db.execute(quantum + "SELECT id, 'given twice' FROM s_quantum GROUP BY id HAVING count(*) > 1")
    mark_readers_of_other_bytes(db, "s_bad_quantum")
    db.execute(
        quantum + "SELECT DISTINCT s.quantum, 'an output of it is contradictory' FROM s_all s "
        "JOIN s_bad b ON b.id = s.id WHERE s.quantum IS NOT NULL"
    )
    found = db.rows("SELECT id, min(what) FROM s_bad GROUP BY id ORDER BY id")
    known = {row[0] for row in found}
    found += [
        row
        for row in db.rows("SELECT id, min(what) FROM s_bad_quantum GROUP BY id ORDER BY id")
        if row[0] not in known
    ]
    found += [row for row in read_otherwise(db) if row[0] not in known]
    db.execute(
        bad + "SELECT s.id, 'an output of a contradictory quantum' FROM s_all s "
        "WHERE s.quantum IN (SELECT id FROM s_bad_quantum)"
    )
    return tuple(Contradiction(*row) for row in found)


def _insert_quanta(db: Database) -> int:
    names = ", ".join(n for n in _QUANTUM if n != "run")
    staged = ", ".join(f"s.{n}" for n in _QUANTUM if n != "run")
    db.execute(
        f"INSERT INTO quantum (run, {names}) SELECT c.id, {staged} FROM s_quantum s JOIN collection c ON c.name = s.run "
        "WHERE NOT EXISTS (SELECT 1 FROM quantum q WHERE q.id = s.id) ORDER BY s.id"
    )
    added = db.changed()
    names = ", ".join(_INPUT)
    db.execute(
        f"INSERT INTO quantum_input ({names}) SELECT {names} FROM s_input s WHERE NOT EXISTS (SELECT 1 FROM "
        "quantum_input i WHERE i.quantum = s.quantum AND i.connection = s.connection AND i.input = s.input)"
    )
    return added


def _insert_group(db: Database, group: _Group) -> int:
    table = f"data_id_{group.number}"
    names = ", ".join(f'"{d}"' for d in group.dimensions)
    same = " AND ".join(f'g."{d}" = s."{d}"' for d in group.dimensions)
    if group.dimensions:
        db.execute(
            f"INSERT INTO {table} ({names}) SELECT DISTINCT {names} FROM {group.table} s "
            f"WHERE NOT EXISTS (SELECT 1 FROM {table} g WHERE {same})"
        )
    elif not db.rows(f"SELECT 1 FROM {table}"):
        db.execute(f"INSERT INTO {table} (id) VALUES (0)")
    last = int(db.rows("SELECT value FROM meta WHERE key = 'sequence'")[0][0])
    db.execute(
        "INSERT INTO dataset (id, type, run, data_id, recipe, planned_recipe, quantum, sequence) "
        "SELECT s.id, t.id, c.id, g.id, s.recipe, s.planned_recipe, s.quantum, "
        f"{last} + row_number() OVER (ORDER BY s.id) FROM {group.table} s "
        f"JOIN {table} g ON {same or '1 = 1'} JOIN dataset_type t ON t.name = $1 JOIN collection c ON c.name = s.run "
        "WHERE NOT EXISTS (SELECT 1 FROM dataset d WHERE d.id = s.id)",
        group.type_name,
    )
    added = db.changed()
    db.execute("UPDATE meta SET value = $1 WHERE key = 'sequence'", str(last + added))
    return added
