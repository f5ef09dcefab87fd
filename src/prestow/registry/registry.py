"""The registry: opening it, its small facts, and its columns."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from enum import StrEnum
from functools import partial
from typing import TYPE_CHECKING, Any, Self

from prestow.errors import IngestError, Problem, ProjectError
from prestow.model import DatasetType
from prestow.model.hashing import canonical_json
from prestow.model.universe import Universe
from prestow.registry import columns as col
from prestow.registry import gathering, loading, opening, visits
from prestow.registry.accounting import Accounting
from prestow.registry.artifacts import Artifacts
from prestow.registry.batches import DatasetBatch, Inserted
from prestow.registry.calibrations import Calibrations
from prestow.registry.database import Database, Mode, connect, whole
from prestow.registry.events import Events
from prestow.registry.findings import Findings
from prestow.registry.following import Following
from prestow.registry.frozen import Frozen
from prestow.registry.history import History
from prestow.registry.holdings import Holdings
from prestow.registry.listing import Listing
from prestow.registry.on_sky import FOOTPRINT, FOOTPRINT_KEYS, OnSky
from prestow.registry.restoring import Restoring
from prestow.registry.selecting import Choice, Part, restriction
from prestow.registry.tainting import Tainting
from prestow.registry.withdrawing import Withdrawing

if TYPE_CHECKING:
    import pyarrow as pa


FACTS = {
    "recipe": col.ID, "planned_recipe": col.ID, "store": "str", "path": "str", "member": "str", "size": "int",
    "sha256": col.DIGEST, "content": col.DIGEST, "format": "str", "quantum": col.ID, "receipt": "str",
}  # fmt: skip
"""What is known of a dataset besides type, id, run and data ID."""

MANY = 1000  # datasets from which on it matters how they are read

_OF_DATASET = ("recipe", "planned_recipe", "quantum")  # the others are its artifact's


class CollectionKind(StrEnum):
    """What a collection is."""

    RUN = "run"
    CHAIN = "chain"
    CALIBRATION = "calibration"
    TAGGED = "tagged"


class StoreKind(StrEnum):
    """Whether prestow writes to a store."""

    OUTPUT = "output"
    READONLY = "readonly"


class Registry:
    """What exists. Safe for several threads and processes; writers wait for each other.

    Examples
    --------
    >>> import tempfile
    >>> from prestow.model.universe import Dimension
    >>> toy = Universe("toy", 1, {"band": Dimension("band", "str")}, {})
    >>> with tempfile.TemporaryDirectory() as d:
    ...     with Registry.open(f"sqlite:///{d}/registry.db", toy, create=True) as registry:
    ...         registry.register_run("demo")
    ...         registry.chain_members("demo")
    ('demo',)
    """

    def __init__(self, database: Database, universe: Universe) -> None:
        self.universe = universe
        self._db = database
        self._types: dict[str, DatasetType] = {}  # a type never changes

    @classmethod
    def open(cls, url: str, universe: Universe, *, create: bool = False, read_only: bool = False) -> Self:
        """Open the registry at a URL: ``sqlite:///path``, the path unquoted, or ``postgresql://user@host:port/database``.

        ``create`` makes it if there is none. ``read_only`` never changes a byte of the file, or a row of the database.

        Raises
        ------
        ProjectError
            PST-G002 if there is none, it is no registry or one of another schema or universe,
            it cannot be read or written, or it lies on a network file system.
        """
        mode = Mode.READ if read_only else Mode.CREATE if create else Mode.WRITE
        database = connect(url, mode)
        try:
            if mode is Mode.CREATE:
                opening.make(database, universe)
            opening.check(database, universe)
        except BaseException:
            database.close()
            raise
        return cls(database, universe)

    def close(self) -> None:
        """Close it; twice is fine."""
        self._db.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- small facts -------------------------------------------------------------------------

    def register_dataset_type(self, dataset_type: DatasetType) -> None:
        """Make a dataset type known; known with other dimensions is PST-G004.

        Its template is not kept: names are the pipeline's. The format is the one in which it was seen
        first; each artifact has its own.
        """
        dimensions = canonical_json(list(dataset_type.dimensions))
        facts = (dataset_type.name, dimensions, dataset_type.format)
        with self._db.transaction():
            known = self._db.rows("SELECT dimensions FROM dataset_type WHERE name = $1", dataset_type.name)
            if not known:
                self._db.execute(
                    "INSERT INTO dataset_type (name, dimensions, format) VALUES ($1, $2, $3)", *facts
                )
            elif known[0][0] != dimensions:
                raise ProjectError(
                    Problem(
                        "PST-G004",
                        f"dataset type '{dataset_type.name}' is registered with dimensions {known[0][0]}, "
                        f"not {dimensions}",
                        self._db.where,
                        "give the new one another name",
                    )
                )

    def known_type(self, name: str) -> DatasetType | None:
        """Give the dataset type of that name, or None; what was seen once is not asked for again."""
        if name not in self._types:
            self._types.update(self.dataset_types())
        return self._types.get(name)

    def dataset_types(self) -> dict[str, DatasetType]:
        """Give every known dataset type, by name, without template."""
        rows = self._db.rows("SELECT name, dimensions, format FROM dataset_type ORDER BY name")
        return {name: DatasetType(name, tuple(json.loads(dims)), form) for name, dims, form in rows}

    def register_run(self, name: str) -> None:
        """Make a run known; again is fine."""
        self._register_collections([name], CollectionKind.RUN)

    def register_runs(self, names: Iterable[str]) -> None:
        """Make several runs known in one transaction."""
        self._register_collections(names, CollectionKind.RUN)

    def register_chain(self, name: str, members: Sequence[str]) -> None:
        """Set the members of a chain, in the order of search; runs or chains that are known.

        A chain given again gets the new members.
        """
        with self._db.transaction():
            ids = [self._collection(member)[0] for member in members]
            self._register_collections([name], CollectionKind.CHAIN, inside=True)
            chain, _ = self._collection(name)
            there = self._db.rows(
                "SELECT member FROM collection_chain WHERE chain = $1 ORDER BY position", chain
            )
            if [member for (member,) in there] == ids:
                return
            self.frozen.refuse([name], "its members stay as they are")
            self._db.execute("DELETE FROM collection_chain WHERE chain = $1", chain)
            for position, member in enumerate(ids):
                self._db.execute("INSERT INTO collection_chain VALUES ($1, $2, $3)", chain, position, member)
            self._flatten(chain, name, ())

    def chain_members(self, name: str) -> tuple[str, ...]:
        """Give the runs of a collection, chains in chains flattened, each once, in order."""
        number, kind = self._collection(name)
        if kind != CollectionKind.CHAIN:
            return (name,)
        return tuple(dict.fromkeys(self._flatten(number, name, ())))

    def collections(self) -> dict[str, CollectionKind]:
        """Give the name and kind of every collection."""
        rows = self._db.rows("SELECT name, kind FROM collection ORDER BY name")
        return {name: CollectionKind(kind) for name, kind in rows}

    def register_store(self, name: str, uri: str, kind: StoreKind | str = StoreKind.OUTPUT) -> None:
        """Make a store known. An output store given again at another URI has moved.

        A read-only store known at another URI is PST-G004: its files are somebody else's.
        """
        with self._db.transaction():
            known = self._db.rows("SELECT uri, kind FROM store WHERE name = $1", name)
            if not known:
                self._db.execute(
                    "INSERT INTO store (name, uri, kind) VALUES ($1, $2, $3)", name, uri, StoreKind(kind)
                )
            elif known[0][1] == kind == StoreKind.OUTPUT:
                self._db.execute("UPDATE store SET uri = $1 WHERE name = $2 AND uri <> $1", uri, name)
            elif known[0] != (uri, StoreKind(kind).value):
                what = f"store '{name}' is registered at {known[0][0]} ({known[0][1]})"
                raise ProjectError(Problem("PST-G004", what, uri, "give the new store another name"))

    def move_store(self, name: str, uri: str) -> None:
        """Note that a store lies elsewhere now, if it is known; names in it are what they were."""
        with self._db.transaction():
            self._db.execute("UPDATE store SET uri = $1 WHERE name = $2", uri, name)

    def stores(self) -> dict[str, tuple[str, str]]:
        """Give URI and kind of every store, by name."""
        rows = self._db.rows("SELECT name, uri, kind FROM store ORDER BY name")
        return {name: (uri, kind) for name, uri, kind in rows}

    def bind(self, run: str, facts: Mapping[str, object]) -> dict[str, Any]:
        """Bind a run to facts unless it is bound; give the facts that stand. Any: JSON values."""
        with self._db.transaction():
            self._register_collections([run], CollectionKind.RUN, inside=True)
            known = self.binding(run)
            if known is None:
                self.frozen.refuse([run], "nothing is planned into it")
                number = self._collection(run)[0]
                self._db.execute("INSERT INTO binding VALUES ($1, $2)", number, canonical_json(dict(facts)))
                known = dict(facts)
        return known

    def binding(self, run: str) -> dict[str, Any] | None:  # Any: JSON values
        """Give what a run is bound to, or None."""
        rows = self._db.rows(
            "SELECT b.facts FROM binding b JOIN collection c ON c.id = b.run WHERE c.name = $1", run
        )
        return json.loads(rows[0][0]) if rows else None

    def add_parent(self, child: str, parent: str) -> None:
        """Note that one run is the child of another; again is fine."""
        with self._db.transaction():
            self._register_collections([child, parent], CollectionKind.RUN, inside=True)
            pair = (self._collection(child)[0], self._collection(parent)[0])
            if not self._db.rows("SELECT 1 FROM run_parent WHERE child = $1 AND parent = $2", *pair):
                self.frozen.refuse([child], "it gets no other parent")
                self._db.execute("INSERT INTO run_parent VALUES ($1, $2)", *pair)

    def parents(self, run: str) -> tuple[str, ...]:
        """Give the parents of a run, sorted by name."""
        rows = self._db.rows(
            "SELECT p.name FROM run_parent r JOIN collection c ON c.id = r.child JOIN collection p ON p.id = r.parent "
            "WHERE c.name = $1 ORDER BY p.name", run,
        )  # fmt: skip
        return tuple(name for (name,) in rows)

    def counts(self) -> dict[str, int]:
        """Give the number of rows of each table that people ask about."""
        tables = [
            "dataset",
            "artifact",
            "quantum",
            "quantum_input",
            "collection",
            "dataset_type",
            "store",
            "deleted",
        ]
        tables += [f"dimension_{name}" for name in self.universe.dimensions]
        return {name: int(self._db.rows(f"SELECT count(*) FROM {name}")[0][0]) for name in tables}

    # --- columns in --------------------------------------------------------------------------

    def insert_dimension_records(self, element: str, records: pa.Table) -> int:
        """Add the records of a dimension that are not there; give how many.

        Raises
        ------
        IngestError
            PST-I006 if a record differs from the one that stands; nothing is added then.
        """
        kinds = self._record_kinds(element)
        return self._insert_keyed(f"dimension_{element}", self.universe.close([element]), kinds, records)

    def insert_relation(self, name: str, rows: pa.Table) -> int:
        """Add the rows of a relation that are not there; give how many."""
        keys, kinds = self._relation_kinds(name)
        return self._insert_keyed(f"relation_{name}", keys, kinds, rows)

    def insert_datasets(self, batch: DatasetBatch) -> Inserted:
        """Add what is absent and not deleted, in one transaction.

        Rows that are there with equal facts are ignored. Those that disagree are reported as
        contradictory, and for them, and all outputs of their quantum, nothing is changed.
        Dataset types, runs and stores must be known. Into a frozen run nothing new goes (PST-I030).
        """
        types = self.dataset_types()

        def insert() -> Inserted:
            with self.frozen.kept(batch):
                return loading.insert_datasets(self._db, self.universe, types, batch)

        return whole(self._db, insert)

    def insert_raw(
        self,
        batch: DatasetBatch,
        *,
        dimensions: Mapping[str, pa.Table],
        relations: Mapping[str, pa.Table],
        footprints: pa.Table | None = None,
        gathered: bool = False,
    ) -> Inserted:
        """Add dimension records, relation rows, footprints and datasets, all in one transaction or not at all.

        With ``gathered`` the records of the visits in ``relations`` follow from those of all their exposures.
        """
        types = self.dataset_types()

        def insert() -> Inserted:
            for element, records in dimensions.items():
                keys = self.universe.close([element])
                loading.insert_keyed(
                    self._db, f"dimension_{element}", keys, self._record_kinds(element), records
                )
            for name, rows in relations.items():
                keys, kinds = self._relation_kinds(name)
                loading.insert_keyed(self._db, f"relation_{name}", keys, kinds, rows)
            if gathered:
                visits.gather(self._db, self.universe, relations["visit_definition"])
            if footprints is not None:
                loading.insert_keyed(self._db, "footprint", FOOTPRINT_KEYS, FOOTPRINT, footprints)
            with self.frozen.kept(batch):
                inserted = loading.insert_datasets(self._db, self.universe, types, batch)
            if inserted.contradictory:
                raise IngestError(
                    *(Problem("PST-I002", c.what, col.uuid_text(c.id)) for c in inserted.contradictory)
                )
            return inserted

        return whole(self._db, insert)

    def delete_datasets(self, ids: Collection[bytes]) -> None:
        """Take datasets out for ever: their rows go, and no ingest brings them back. Not of a frozen run (PST-I030)."""
        import pyarrow as pa

        self.frozen.refuse(self.frozen.runs_of(ids), "nothing of it is deleted")
        with self._db.transaction():
            self._db.stage("s_gone", pa.table({"id": pa.array(sorted(set(ids)), pa.binary(16))}))
            gone = "(SELECT id FROM s_gone)"
            self._db.execute(f"DELETE FROM artifact WHERE dataset IN {gone}")
            self._db.execute(f"DELETE FROM calibration WHERE dataset IN {gone}")
            self._db.execute(f"DELETE FROM metric WHERE dataset IN {gone}")
            self._db.execute(f"DELETE FROM dataset WHERE id IN {gone}")
            self._db.execute(
                "INSERT INTO deleted SELECT id FROM s_gone WHERE id NOT IN (SELECT id FROM deleted)"
            )
            self._db.execute("DROP TABLE s_gone")

    # --- columns out -------------------------------------------------------------------------

    def dimension_records(self, element: str) -> pa.Table:
        """Give all records of a dimension: keys, implied values, metadata; sorted by key."""
        kinds = self._record_kinds(element)
        return self._keyed(f"dimension_{element}", self.universe.close([element]), kinds)

    def dimension_record(self, element: str, key: Mapping[str, str | int]) -> dict[str, Any] | None:
        """Give the one record of a dimension at a key (all it requires, and itself), or None.

        Any: values of its columns.
        """
        names = self.universe.close([element])
        kinds = self._record_kinds(element)
        columns = ", ".join(f'"{name}"' for name in kinds)
        condition = " AND ".join(f'"{name}" = ${i}' for i, name in enumerate(names, 1))
        rows = self._db.rows(
            f"SELECT {columns} FROM dimension_{element} WHERE {condition}", *(key[name] for name in names)
        )
        return dict(zip(kinds, rows[0], strict=True)) if rows else None

    def only_value(self, element: str, given: Mapping[str, str | int]) -> str | int | None:
        """Give the one value that the records of a dimension have beside what is given, or None."""
        keys = [name for name in self.universe.close([element]) if name != element and name in given]
        condition = " AND ".join(f'"{name}" = ${i}' for i, name in enumerate(keys, 1)) or "1 = 1"
        rows = self._db.rows(
            f'SELECT DISTINCT "{element}" FROM dimension_{element} WHERE {condition} LIMIT 2',
            *(given[name] for name in keys),
        )
        return rows[0][0] if len(rows) == 1 else None

    def relation(self, name: str, *, coded: bool = False) -> pa.Table:
        """Give all rows of a relation, in any order: the keys of both sides, and its metadata.

        Where ``coded``, texts that are the same in all rows are codes.
        """
        _, kinds = self._relation_kinds(name)
        same = (
            self._same(f"relation_{name}", [n for n, kind in kinds.items() if kind == "str"]) if coded else {}
        )
        names = ", ".join(f'"{kind}"' for kind in kinds if kind not in same)
        table = self._db.query(f"SELECT {names} FROM relation_{name}")
        for column, value in same.items():
            table = table.append_column(column, col.repeated(value, table.num_rows, coded=True))
        return col.conform(table, kinds, coded=coded)

    def _same(self, table: str, names: Sequence[str]) -> dict[str, str]:
        """Give the value of each of these columns of texts that has only one."""
        if not names:
            return {}
        asked = ", ".join(f'min("{name}"), max("{name}")' for name in names)
        found = self._db.rows(f"SELECT {asked} FROM {table}")[0]
        both = zip(names, found[::2], found[1::2], strict=True)
        return {name: low for name, low, high in both if low is not None and low == high}

    def relates(self, name: str) -> bool:
        """Say whether a relation has any row."""
        return bool(self._db.rows(f"SELECT 1 FROM relation_{name} LIMIT 1"))

    def datasets(
        self,
        types: Sequence[str],
        collections: Sequence[str],
        *,
        first: bool = True,
        equal: Mapping[str, str | int] | None = None,
        facts: Collection[str] = FACTS,
        coded: bool = False,
        where: Choice | None = None,
        unknown: bool = False,
        besides: Collection[str] = (),
    ) -> pa.Table:
        """Give the datasets of some types in some collections, one row each.

        Columns: ``type, id, run``, each required dimension of any of the types, ``recipe,
        planned_recipe, store, path, member, size, sha256, content, format, quantum, receipt``.
        Where a dataset has replicas, the store registered first. With ``first``, of several
        datasets of one type and data ID the first in the order of the collections; else all.
        Sorted by type as given, then by data ID. Unknown types and collections have no rows: a run
        is asked for before it is planned. ``equal`` asks only for these values of dimensions, where
        a type has them; ``facts`` only for these of the columns after the dimensions. ``where`` asks
        for what a selection surely takes, by the dimensions of a type, what they imply and their
        metadata; with ``unknown`` also for what it may take, as far as these tell. Names in it that
        mean something else are given as ``besides``. Digests are text; where
        ``coded`` they are octets, and texts that repeat are codes.
        """
        import pyarrow as pa

        there = self.collections()
        runs = tuple(
            dict.fromkeys(run for name in collections if name in there for run in self.chain_members(name))
        )
        known = self.dataset_types()
        dims = sorted({d for t in types if t in known for d in known[t].dimensions})
        kinds = {
            "type": "str", "id": col.ID, "run": "str", **self._key_kinds(dims),
            **{name: kind for name, kind in FACTS.items() if name in facts},
        }  # fmt: skip
        parts = [
            self._datasets_of(
                known[t],
                runs,
                kinds,
                equal or {},
                partial(restriction, where, unknown=unknown, besides=besides, dialect=self._db.dialect),
                first=first,
                coded=coded,
            )
            for t in dict.fromkeys(types)
            if t in known
        ]
        empty = [] if parts and coded else [col.conform(pa.table({}), kinds)]
        table = pa.concat_tables([*empty, *parts])
        return table if coded else _digits(table)

    def _datasets_of(
        self,
        dataset_type: DatasetType,
        runs: Sequence[str],
        kinds: Mapping[str, str],
        equal: Mapping[str, str | int],
        restricted: Callable[..., Part],
        *,
        first: bool,
        coded: bool,
    ) -> pa.Table:
        import pyarrow as pa

        dims = dataset_type.dimensions
        group = self._db.rows(
            "SELECT t.id, g.id FROM dataset_type t JOIN dimension_group g ON g.dimensions = t.dimensions "
            "WHERE t.name = $1",
            dataset_type.name,
        )
        numbers = {name: number for number, name in self._db.rows("SELECT id, name FROM collection")}
        if not group or not runs:
            return col.conform(pa.table({}), kinds)
        keys = "".join(f', g."{d}"' for d in dims)
        inside = f"run IN ({', '.join(str(numbers[run]) for run in runs)})"
        asked = {d: equal[d] for d in dims if d in equal}
        only = "".join(f' AND g."{d}" = ${i}' for i, d in enumerate(asked, 2))
        part = restricted(self.universe, dims, first=len(asked) + 2)
        only += f" AND ({part.condition})" if part.condition else ""
        source = {n: f"{'d' if n in _OF_DATASET else 'a'}.{n} AS {n}" for n in FACTS if n != "receipt"}
        needed = {"store", *kinds} | ({"quantum"} if "receipt" in kinds else set())
        columns = ", ".join(text for name, text in source.items() if name in needed)
        artifact = "JOIN artifact a ON a.dataset = d.id WHERE 1 = 1"
        if part.joins:  # a cross join is walked as it is written: what is not selected is not looked up
            artifact = f"{part.joins} CROSS JOIN artifact a WHERE a.dataset = d.id"
        # Without a join for each name, an order or a window: Arrow does those in a fraction of the time.
        # What is looked up later is never taken away, so a writer in between does no harm.
        if first and not only and self._is_much(group[0][0], inside):
            table = self._gathered(group[0], inside, dims, needed)
        else:
            table = self._db.query(
                f"SELECT d.id AS id, d.run AS run, d.data_id AS n_{keys}, {columns} "
                f"FROM dataset d JOIN data_id_{group[0][1]} g ON g.id = d.data_id "
                f"{artifact} AND d.type = $1 AND d.{inside}{only}",
                group[0][0],
                *asked.values(),
                *part.values,
            )
        stores = dict(self._db.rows("SELECT id, name FROM store"))
        place = col.places(table["run"], [numbers[run] for run in runs])
        table = table.append_column("p_", place)
        order = gathering.order_of(table, (*dims, "p_", "store"))
        table = table if order is None else table.take(pa.array(order))
        table = col.first_of_each(table, ("n_",) if first else ("n_", "p_"))
        names = col.named(table["p_"], runs, coded=coded)
        table = table.set_column(table.column_names.index("run"), "run", names)
        table = table.drop_columns(["n_", "p_"])
        where = col.named(col.places(table["store"], list(stores)), list(stores.values()), coded=coded)
        table = table.set_column(table.column_names.index("store"), "store", where)
        table = table.append_column("type", col.repeated(dataset_type.name, table.num_rows, coded=coded))
        if "receipt" in kinds and table["quantum"].null_count < table.num_rows:
            made = self._db.query(f"SELECT id, receipt FROM quantum WHERE {inside}")
            table = table.append_column(
                "receipt", col.looked_up(table["quantum"], made["id"], made["receipt"])
            )
        if "member" in kinds:
            table = col.empty_is_null(table, "member")
        named = table.select([name for name in kinds if name in table.column_names])
        return col.conform(named, kinds, coded=coded)

    def _is_much(self, type_number: int, inside: str) -> bool:
        """Say whether so many datasets are asked for that it is quicker to read whole tables."""
        asked = self._db.rows(f"SELECT count(*) FROM dataset WHERE type = $1 AND {inside}", type_number)[0][0]
        return bool(asked > MANY and asked * gathering.SHARE > self._db.about("artifact"))

    def _gathered(
        self, group: tuple[int, int], inside: str, dims: Sequence[str], needed: Collection[str]
    ) -> pa.Table:
        """Give what a join would give, from tables read one after the other: each in its own order."""
        own = ", ".join(f"d.{name}" for name in _OF_DATASET if name in needed)
        datasets = self._db.query(
            f"SELECT d.id AS id, d.run AS run, d.data_id AS n_{', ' if own else ''}{own} FROM dataset d "
            f"WHERE +d.type = $1 AND +d.{inside}", group[0],
        )  # fmt: skip
        keys = "".join(f', g."{d}"' for d in dims)
        data_ids = self._db.query(f"SELECT g.id AS n_{keys} FROM data_id_{group[1]} g")
        others = [n for n in FACTS if n not in (*_OF_DATASET, "receipt", "store") and n in needed]
        artifacts = self._db.query(f"SELECT dataset, store{''.join(f', {n}' for n in others)} FROM artifact")
        return gathering.gather(datasets, data_ids, artifacts, (*dims, "run"))

    def quanta(self, run: str) -> pa.Table:
        """Give the settled quanta of a run, by task and data ID, as their receipts say."""
        kinds = {
            "id": col.ID, "task": "str", "data_id": "str", "job": "str", "state": "str", "code": "str",
            "planned_recipe": col.ID, "actual_recipe": col.ID, "attempt": "str", "sealer": "str", "version": "str",
            "receipt": "str",
        }  # fmt: skip
        table = self._db.query(
            f"SELECT {', '.join('q.' + name for name in kinds)} FROM quantum q JOIN collection c ON c.id = q.run "
            "WHERE c.name = $1 ORDER BY q.task, q.data_id", run,
        )  # fmt: skip
        return col.conform(table, kinds)

    def settled(self, run: str, recipe: str = "planned_recipe") -> pa.Table:
        """Give ``id``, ``state`` and ``planned_recipe`` (or ``actual_recipe``) of the settled quanta of a run.

        In no order. All that a submission asks, for a fraction of what `quanta` costs.
        """
        import pyarrow as pa

        if recipe not in ("planned_recipe", "actual_recipe"):
            raise ValueError(recipe)
        number = [key for key, name in self._db.rows("SELECT id, name FROM collection") if name == run]
        known = self._db.rows("SELECT count(*) FROM quantum WHERE run = $1", *number) if number else [(0,)]
        # Of most of a table, row after row is quicker than by its index.
        column = "+run" if known[0][0] * 2 > self._db.about("quantum") else "run"
        table = self._db.query(
            f"SELECT id, state, {recipe} FROM quantum WHERE {column} = $1", number[0] if number else -1
        )
        kinds = {"id": pa.binary(), "state": pa.string(), recipe: pa.binary()}
        return table.cast(pa.schema(kinds)) if table.num_rows else pa.schema(kinds).empty_table()

    def quantum_states(self, ids: Iterable[bytes]) -> dict[bytes, str]:
        """Give, of these quanta, those that are settled, each with its state."""
        import pyarrow as pa

        with self._db.scratch():
            self._db.stage("s_asked", pa.table({"id": pa.array(sorted(set(ids)), pa.binary(16))}))
            return dict(self._db.rows("SELECT q.id, q.state FROM s_asked s JOIN quantum q ON q.id = s.id"))

    def quantum_inputs(self, run: str) -> pa.Table:
        """Give the planned inputs of all settled quanta of a run, as they really were."""
        kinds = {
            "quantum": col.ID, "connection": "str", "input": col.ID, "state": "str", "code": "str",
            "sha256": col.DIGEST, "planned_recipe": col.ID, "actual_recipe": col.ID,
        }  # fmt: skip
        table = self._db.query(
            f"SELECT {', '.join('i.' + name for name in kinds)} FROM quantum_input i JOIN quantum q ON q.id = i.quantum "
            "JOIN collection c ON c.id = q.run WHERE c.name = $1 ORDER BY i.quantum, i.connection, i.input", run,
        )  # fmt: skip
        return _digits(col.conform(table, kinds))

    def metrics(
        self, types: Sequence[str], collections: Sequence[str], names: Collection[str] | None = None
    ) -> pa.Table:
        """Give the metrics of the datasets of some types in some collections: ``id, name, value``.

        One row for each number under ``metrics`` of a product; a truth value is 0 or 1. Sorted by id
        and name. Unknown types and collections have no rows. ``names`` asks only for these.
        """
        kinds = {"id": col.ID, "name": "str", "value": "float"}
        asked = list(dict.fromkeys(names or ()))
        pair, only = "dataset d CROSS JOIN metric m", ""
        if names is not None:  # few names, few rows: the metrics are gone through, not the datasets
            pair = "metric m CROSS JOIN dataset d"
            only = f" AND m.name IN ({', '.join(f'${i}' for i, _ in enumerate(asked, 1)) or 'NULL'})"
        there = self.collections()
        runs = {run for name in collections if name in there for run in self.chain_members(name)}
        numbers = [n for n, name in self._db.rows("SELECT id, name FROM collection") if name in runs]
        wanted = [n for n, name in self._db.rows("SELECT id, name FROM dataset_type") if name in set(types)]
        table = self._db.query(
            f"SELECT m.dataset AS id, m.name AS name, m.value AS value FROM {pair} "
            f"WHERE m.dataset = d.id AND d.type IN ({', '.join(map(str, wanted)) or 'NULL'}) "
            f"AND d.run IN ({', '.join(map(str, numbers)) or 'NULL'}){only} ORDER BY m.dataset, m.name",
            *asked,
        )
        return col.conform(table, kinds)

    def committed(self, after: int = 0) -> pa.Table:
        """Give the datasets committed after a sequence number, in order: ``sequence, id, type, run``."""
        kinds = {"sequence": "int", "id": col.ID, "type": "str", "run": "str"}
        table = self._db.query(
            "SELECT d.sequence AS sequence, d.id AS id, t.name AS type, c.name AS run FROM dataset d "
            "JOIN dataset_type t ON t.id = d.type JOIN collection c ON c.id = d.run WHERE d.sequence > $1 "
            "ORDER BY d.sequence", after,
        )  # fmt: skip
        return col.conform(table, kinds)

    def deleted(self) -> frozenset[str]:
        """Give the ids of deleted datasets, as UUID texts."""
        return frozenset(col.uuid_text(value) for (value,) in self._db.rows("SELECT id FROM deleted"))

    def known(self, ids: Iterable[bytes]) -> dict[bytes, str]:
        """Give, of these dataset ids, those that are here, each with the SHA-256 of its bytes."""
        import pyarrow as pa

        with self._db.scratch():
            self._db.stage("s_asked", pa.table({"id": pa.array(sorted(set(ids)), pa.binary(16))}))
            rows = self._db.rows(
                "SELECT a.dataset, a.sha256 FROM artifact a JOIN s_asked s ON s.id = a.dataset"
            )
        return {dataset: sha256.hex() for dataset, sha256 in rows}

    def places(self, dataset: bytes) -> tuple[tuple[str, str], ...]:
        """Give store and path of each artifact of a dataset, by id."""
        rows = self._db.rows(
            "SELECT s.name, a.path FROM artifact a JOIN store s ON s.id = a.store WHERE a.dataset = $1 "
            "ORDER BY s.name, a.path",
            dataset,
        )
        return tuple((store, path) for store, path in rows)

    def calibrations(
        self, types: Sequence[str], collections: Sequence[str] = (), as_of: int | None = None
    ) -> pa.Table:
        """Give what is certified of some types: as `datasets`, a row for each validity that is known.

        More columns: ``collection``, ``rank`` (a low one goes first), ``valid_begin``, ``valid_end``,
        ``known_begin``, ``known_end``. All calibration collections, of equal rank, if none is given;
        ``as_of`` a moment, else now.
        """
        return self.certified.known(types, collections, as_of, self.datasets)

    @property
    def certified(self) -> Calibrations:
        """Calibrations in two times; see `prestow.registry.calibrations`."""
        return Calibrations(self._db, self.dataset_types)

    @property
    def holdings(self) -> Holdings:
        """What a run has and who depends on it; see `prestow.registry.holdings`."""
        return Holdings(self._db)

    @property
    def on_sky(self) -> OnSky:
        """Footprints, sky maps and overlaps; see `prestow.registry.on_sky`."""
        return OnSky(self._db, self.universe)

    @property
    def accounting(self) -> Accounting:
        """All that a run committed; see `prestow.registry.accounting`."""
        return Accounting(self._db)

    @property
    def frozen(self) -> Frozen:
        """Frozen collections; see `prestow.registry.frozen`."""
        return Frozen(self._db)

    @property
    def findings(self) -> Findings:
        """What a person has to look at; see `prestow.registry.findings`."""
        return Findings(self._db)

    @property
    def events(self) -> Events:
        """What was committed, in order; see `prestow.registry.events`."""
        return Events(self._db, self.following)

    @property
    def history(self) -> History:
        """What past runs came to; see `prestow.registry.history`."""
        return History(self._db)

    @property
    def artifacts(self) -> Artifacts:
        """Where datasets lie, against the disk; see `prestow.registry.artifacts`."""
        return Artifacts(self._db)

    @property
    def restoring(self) -> Restoring:
        """Small facts put back from their records; see `prestow.registry.restoring`."""
        return Restoring(self._db)

    @property
    def following(self) -> Following:
        """What was made from what, along its steps; see `prestow.registry.following`."""
        return Following(self._db, self.universe)

    @property
    def tainting(self) -> Tainting:
        """Datasets that are known to be bad, and what was made from them; see `prestow.registry.tainting`."""
        return Tainting(self._db)

    @property
    def withdrawing(self) -> Withdrawing:
        """Quanta taken out again, in a sandbox alone; see `prestow.registry.withdrawing`."""
        return Withdrawing(self._db)

    @property
    def listing(self) -> Listing:
        """The first datasets of a type, and how many there are; see `prestow.registry.listing`."""
        return Listing(self._db, self.universe)

    def dump(self) -> dict[str, list[list[Any]]]:
        """Give all logical content, sorted, without inner keys and order of arrival, to compare.

        Any: what the database holds.
        """
        kinds = [
            "dataset_type",
            "collection",
            "store",
            "deleted",
            "tainted",
            "frozen",
            "finding",
            "quantum",
            "quantum_input",
            "metric",
            "binding",
            "run_parent",
        ]
        result: dict[str, list[list[Any]]] = {}
        names = dict(self._db.rows("SELECT id, name FROM collection"))
        for table in kinds:
            arrow = self._db.query(f"SELECT * FROM {table}")
            if "id" in arrow.column_names and table in ("dataset_type", "collection", "store"):
                arrow = arrow.drop_columns(["id"])
            result[table] = _rows(arrow, names)
        calibration = self._db.query(
            "SELECT c.dataset, n.name AS collection, c.valid_begin, c.valid_end, c.known_begin, c.known_end "
            "FROM calibration c JOIN collection n ON n.id = c.collection"
        )
        result["calibration"] = _rows(calibration, {})
        result["collection_chain"] = _rows(self._db.query("SELECT * FROM collection_chain"), names)
        for name in self.universe.dimensions:
            result[f"dimension_{name}"] = _rows(self.dimension_records(name), {})
        for name in self.universe.relations:
            result[f"relation_{name}"] = _rows(self.relation(name), {})
        result["footprint"] = _rows(self.on_sky.footprints(), {})
        result["skymap"] = [[name, text] for name, text in self.on_sky.skymaps().items()]
        runs = [name for name, kind in self.collections().items() if kind is CollectionKind.RUN]
        result["dataset"] = _rows(self.datasets(sorted(self.dataset_types()), runs, first=False), {})
        result["artifact"] = _rows(
            self._db.query(
                "SELECT a.dataset, s.name AS store, a.path, a.member, a.size, a.sha256, a.content, a.format "
                "FROM artifact a JOIN store s ON s.id = a.store"
            ), {},
        )  # fmt: skip
        return result

    # --- inside ------------------------------------------------------------------------------

    def _key_kinds(self, names: Iterable[str]) -> dict[str, str]:
        return {name: self.universe.dimensions[name].type for name in names}

    def _relation_kinds(self, name: str) -> tuple[tuple[str, ...], dict[str, str]]:
        """Give the keys of a relation, and the types of all its columns."""
        relation = self.universe.relations[name]
        keys = self.universe.close(relation.dimensions)
        return keys, {**self._key_kinds(keys), **relation.metadata}

    def _record_kinds(self, element: str) -> dict[str, str]:
        dimension = self.universe.dimensions[element]
        return {
            **self._key_kinds(self.universe.close([element])),
            **self._key_kinds(dimension.implies),
            **dimension.metadata,
        }

    def _insert_keyed(self, table: str, keys: Sequence[str], kinds: Mapping[str, str], rows: pa.Table) -> int:
        return whole(self._db, lambda: loading.insert_keyed(self._db, table, keys, kinds, rows))

    def _keyed(self, table: str, keys: Sequence[str], kinds: Mapping[str, str]) -> pa.Table:
        names = ", ".join(f'"{name}"' for name in kinds)
        order = ", ".join(f'"{name}"' for name in keys)
        return col.conform(self._db.query(f"SELECT {names} FROM {table} ORDER BY {order}"), kinds)

    def _collection(self, name: str) -> tuple[int, str]:
        rows = self._db.rows("SELECT id, kind FROM collection WHERE name = $1", name)
        if not rows:
            known = ", ".join(list(self.collections())[:20]) or "none"
            raise ProjectError(
                Problem("PST-G003", f"no collection '{name}'", self._db.where, f"known: {known}")
            )
        return rows[0][0], rows[0][1]

    def _register_collections(
        self, names: Iterable[str], kind: CollectionKind, *, inside: bool = False
    ) -> None:
        with contextlib.nullcontext() if inside else self._db.transaction():
            for name in names:
                known = self._db.rows("SELECT kind FROM collection WHERE name = $1", name)
                if not known:
                    self._db.execute("INSERT INTO collection (name, kind) VALUES ($1, $2)", name, kind)
                elif known[0][0] != kind:
                    raise ProjectError(
                        Problem(
                            "PST-G004",
                            f"collection '{name}' is a {known[0][0]}, not a {kind}",
                            self._db.where,
                        )
                    )

    def _flatten(self, number: int, name: str, above: tuple[str, ...]) -> list[str]:
        if name in above:
            raise ProjectError(
                Problem(
                    "PST-G005",
                    f"chain '{name}' contains itself: {' > '.join((*above, name))}",
                    self._db.where,
                )
            )
        rows = self._db.rows(
            "SELECT c.id, c.name, c.kind FROM collection_chain m JOIN collection c ON c.id = m.member "
            "WHERE m.chain = $1 ORDER BY m.position", number,
        )  # fmt: skip
        result: list[str] = []
        for inner, member, kind in rows:
            result += (
                self._flatten(inner, member, (*above, name)) if kind == CollectionKind.CHAIN else [member]
            )
        return result


def _digits(table: pa.Table) -> pa.Table:
    for name in ("sha256", "content"):
        if name in table.column_names:
            table = table.set_column(table.column_names.index(name), name, col.to_digits(table[name]))
    return table


def _rows(table: pa.Table, collections: Mapping[int, str]) -> list[list[Any]]:  # Any: what the database holds
    data = table.to_pydict()
    for name in ("run", "chain", "member", "child", "parent", "collection"):
        if collections and name in data:
            data[name] = [collections[value] for value in data[name]]
    rows = [[v.hex() if isinstance(v, bytes) else v for v in row] for row in zip(*data.values(), strict=True)]
    return sorted(rows, key=repr)
