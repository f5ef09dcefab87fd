"""Calibrations in two times: when each is valid, and when that was known; as rows that follow from records."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from prestow.errors import Problem, ProjectError
from prestow.model import DatasetType
from prestow.model.hashing import canonical_json
from prestow.model.instants import FOREVER, instant
from prestow.registry import columns as col
from prestow.registry.certifying import TAGGED, read_certifications, replay
from prestow.registry.database import Database
from prestow.registry.records import put_record
from prestow.stores import Put, Store

if TYPE_CHECKING:
    import pyarrow as pa

CALIBRATION = "calibration"
TAG = "tagged"

TIMES = {"valid_begin": "int", "valid_end": "int", "known_begin": "int", "known_end": "int"}
"""Columns of the two intervals; nanoseconds of TAI, an open end is the least or greatest number."""

ROWS = {"dataset": col.ID, "collection": "str", "rank": "int", **TIMES}


@dataclass(frozen=True, slots=True)
class Searched:
    """A calibration collection as it is searched: as of a moment if it is pinned; a low rank goes first."""

    name: str
    number: int
    as_of: int | None
    rank: int


class Reader(Protocol):
    """Reads datasets: `prestow.registry.Registry.datasets`."""

    def __call__(self, types: Sequence[str], collections: Sequence[str], *, first: bool) -> pa.Table:
        """Give datasets, a row each."""


class Calibrations:
    """What is certified, of a registry."""

    def __init__(self, database: Database, types: Callable[[], dict[str, DatasetType]]) -> None:
        self._db = database
        self._types = types

    # --- collections -------------------------------------------------------------------------

    def create(self, name: str) -> None:
        """Make a calibration collection known; again is fine.

        Raises
        ------
        ProjectError
            PST-G004 if the name is that of another kind of collection.
        """
        self._register(name, CALIBRATION)

    def collections(self) -> tuple[str, ...]:
        """Give the names of all calibration collections, sorted."""
        rows = self._db.rows("SELECT name FROM collection WHERE kind = $1 ORDER BY name", CALIBRATION)
        return tuple(name for (name,) in rows)

    def tags(self) -> dict[str, int]:
        """Give what each pinned version, ``COLLECTION@LABEL``, knows: the moment as of which."""
        rows = self._db.rows(
            "SELECT c.name, b.facts FROM collection c JOIN binding b ON b.run = c.id WHERE c.kind = $1 ORDER BY c.name",
            TAG,
        )
        return {name: int(json.loads(facts)["as_of"]) for name, facts in rows}

    def tag(self, store: Store, collection: str, label: str, as_of: int) -> str:
        """Pin what is known of a collection at a moment under ``COLLECTION@LABEL``; again the same is fine.

        Raises
        ------
        ProjectError
            PST-K003 if there is no such collection, PST-K008 if the label stands for another moment.
        """
        self.searched([collection])
        name = f"{collection}@{label}"
        facts = {"collection": collection, "label": label, "as_of": as_of}
        if put_record(store, TAGGED, name, facts) is not Put.YES or self.tags().get(name, as_of) != as_of:
            what = f"'{name}' stands for another moment already"
            raise ProjectError(Problem("PST-K008", what, "the label", "choose another label"))
        self.pin(name, facts)
        return name

    def pin(self, name: str, facts: Mapping[str, object]) -> None:
        """Note what a pinned version stands for, as its record says; again is fine."""
        with self._db.transaction():
            self._register(name, TAG)
            number = self._number(name)
            if not self._db.rows("SELECT 1 FROM binding WHERE run = $1", number):
                self._db.execute("INSERT INTO binding VALUES ($1, $2)", number, canonical_json(dict(facts)))

    def searched(self, names: Sequence[str] = ()) -> tuple[Searched, ...]:
        """Give the collections that some names mean; all, of equal rank, if none is given.

        A name may be pinned: ``COLLECTION@LABEL``, or ``COLLECTION@TIME``.

        Raises
        ------
        ProjectError
            PST-K003 with every name that means none.
        """
        rows = self._db.rows("SELECT name, id FROM collection WHERE kind = $1 ORDER BY name", CALIBRATION)
        numbers = {name: int(number) for name, number in rows}
        if not names:
            return tuple(Searched(name, number, None, 0) for name, number in numbers.items())
        tags = self.tags()
        found, problems = [], []
        for rank, text in enumerate(names):
            name, at, label = text.partition("@")
            as_of = tags.get(text)
            if at and as_of is None:
                try:
                    as_of = instant(label)
                except ValueError:
                    name = ""
            if name in numbers:
                found.append(Searched(text, numbers[name], as_of, rank))
                continue
            known = ", ".join([*numbers, *tags]) or "none"
            what = f"there is no calibration collection '{text}'"
            problems.append(Problem("PST-K003", what, "the collection", f"known: {known}"))
        if problems:
            raise ProjectError(*problems)
        return tuple(found)

    # --- rows in -----------------------------------------------------------------------------

    def apply(self, store: Store, collection: str, dataset_type: str) -> int:
        """Make the rows of a type in a collection what its records say; give how many there are.

        All at once or not at all, and from the records alone: whatever was interrupted before is
        made good. What the registry does not hold has no row.
        """
        import pyarrow as pa
        import pyarrow.compute as pc

        with self._db.transaction():
            number = self._number(collection)
            kinds = dict(self._db.rows("SELECT name, id FROM dataset_type"))
            if dataset_type not in kinds:
                return 0
            rows = replay(read_certifications(store, collection, dataset_type))
            self._db.execute(
                "DELETE FROM calibration WHERE collection = $1 AND dataset IN (SELECT id FROM dataset WHERE type = $2)",
                number,
                kinds[dataset_type],
            )
            ends = rows["known_end"]
            ends = pc.if_else(pc.equal(ends, FOREVER), pa.scalar(None, pa.int64()), ends)
            rows = rows.set_column(rows.column_names.index("known_end"), "known_end", ends)
            self._db.stage("s_certified", rows)
            self._db.execute(
                "INSERT INTO calibration (dataset, collection, valid_begin, valid_end, known_begin, known_end) "
                "SELECT s.dataset, $1, s.valid_begin, s.valid_end, s.known_begin, s.known_end FROM s_certified s "
                "JOIN dataset d ON d.id = s.dataset WHERE d.type = $2",
                number,
                kinds[dataset_type],
            )
            count = self._db.changed()
            self._db.execute("DROP TABLE s_certified")
        return count

    # --- rows out ----------------------------------------------------------------------------

    def types(self, collections: Sequence[str] = ()) -> tuple[str, ...]:
        """Give the dataset types that are certified in some collections, sorted."""
        inside = ", ".join(str(s.number) for s in self.searched(collections))
        rows = self._db.rows(
            "SELECT DISTINCT t.name FROM calibration c JOIN dataset d ON d.id = c.dataset "
            f"JOIN dataset_type t ON t.id = d.type WHERE c.collection IN ({inside or 'NULL'}) ORDER BY t.name"
        )
        return tuple(name for (name,) in rows)

    def rows(
        self,
        dataset_type: str,
        collections: Sequence[str] = (),
        as_of: int | None = None,
        *,
        past: bool = False,
    ) -> pa.Table:
        """Give what is certified of a type: ``dataset, collection, rank``, and both intervals.

        What is known as of a moment, else now; with ``past`` all that was known ever until then.
        """
        import pyarrow as pa

        parts = [col.conform(pa.table({}), ROWS)]
        for one in self.searched(collections):
            moments = [m for m in (one.as_of, as_of) if m is not None]
            conditions = ["c.known_begin <= $3"] if moments else []
            if not past:
                conditions.append("(c.known_end IS NULL" + (" OR c.known_end > $3)" if moments else ")"))
            known, values = " AND ".join(conditions) or "1 = 1", (min(moments),) if moments else ()
            table = self._db.query(
                "SELECT c.dataset, c.valid_begin, c.valid_end, c.known_begin, "
                f"coalesce(c.known_end, {FOREVER}) AS known_end FROM calibration c JOIN dataset d ON d.id = c.dataset "
                f"JOIN dataset_type t ON t.id = d.type WHERE c.collection = $1 AND t.name = $2 AND {known} "
                "ORDER BY c.dataset, c.known_begin, c.valid_begin",
                one.number,
                dataset_type,
                *values,
            )
            size = table.num_rows
            table = table.append_column("collection", pa.array([one.name] * size, pa.string()))
            table = table.append_column("rank", pa.array([one.rank] * size, pa.int64()))
            parts.append(col.conform(table, ROWS))
        return pa.concat_tables(parts)

    def known(
        self, types: Sequence[str], collections: Sequence[str], as_of: int | None, datasets: Reader
    ) -> pa.Table:
        """Give the columns of ``datasets`` and of `rows`, a row for each validity that is known."""
        import pyarrow as pa

        parts = [
            self._joined(name, self.rows(name, collections, as_of), datasets) for name in dict.fromkeys(types)
        ]
        if not parts:
            more = {name: kind for name, kind in ROWS.items() if name != "dataset"}
            return col.conform(pa.table({}), {"type": "str", "id": col.ID, **more})
        return pa.concat_tables(parts, promote_options="default")

    def history(
        self, dataset_type: str, collections: Sequence[str], as_of: int | None, datasets: Reader
    ) -> pa.Table:
        """Give the same of all that was known ever, of one type; until a moment, if one is given."""
        return self._joined(dataset_type, self.rows(dataset_type, collections, as_of, past=True), datasets)

    def _joined(self, name: str, rows: pa.Table, datasets: Reader) -> pa.Table:
        import pyarrow as pa
        import pyarrow.compute as pc

        runs = [
            run
            for (run,) in self._db.rows(
                "SELECT name FROM collection WHERE id IN (SELECT DISTINCT d.run FROM calibration c JOIN dataset d "
                "ON d.id = c.dataset JOIN dataset_type t ON t.id = d.type WHERE t.name = $1) ORDER BY name",
                name,
            )
        ]
        table = datasets([name], runs, first=False)
        ids = table["id"].cast(pa.binary()).combine_chunks()
        at = pc.index_in(rows["dataset"].cast(pa.binary()), value_set=ids)
        rows, at = rows.filter(pc.is_valid(at)), pc.drop_null(at)
        table = table.take(at)
        for column in (*("collection", "rank"), *TIMES):
            table = table.append_column(column, rows[column])
        return table

    def measures(self, ids: Sequence[bytes]) -> pa.Table:
        """Give the metrics of some datasets, and of what their quanta made besides: ``id, name, value``.

        Those of a dataset itself stand first.
        """
        import pyarrow as pa

        with self._db.scratch():
            self._db.stage("s_asked", pa.table({"id": pa.array(sorted(set(ids)), pa.binary(16))}))
            table = self._db.query(
                "SELECT s.id AS id, m.name AS name, m.value AS value, 0 AS place FROM s_asked s "
                "JOIN metric m ON m.dataset = s.id UNION ALL "
                "SELECT s.id, m.name, m.value, 1 FROM s_asked s JOIN dataset d ON d.id = s.id "
                "JOIN dataset o ON o.quantum = d.quantum AND o.id <> d.id JOIN metric m ON m.dataset = o.id "
                "ORDER BY 1, 2, 4, 3"
            )
        return col.conform(table.drop_columns(["place"]), {"id": col.ID, "name": "str", "value": "float"})

    # --- inside ------------------------------------------------------------------------------

    def _number(self, name: str) -> int:
        rows = self._db.rows("SELECT id FROM collection WHERE name = $1", name)
        if not rows:
            raise ProjectError(
                Problem("PST-K003", f"there is no calibration collection '{name}'", self._db.where)
            )
        return int(rows[0][0])

    def _register(self, name: str, kind: str) -> None:
        known = self._db.rows("SELECT kind FROM collection WHERE name = $1", name)
        if not known:
            self._db.execute("INSERT INTO collection (name, kind) VALUES ($1, $2)", name, kind)
        elif known[0][0] != kind:
            what = f"collection '{name}' is a {known[0][0]}, not a {kind} collection"
            raise ProjectError(Problem("PST-G004", what, self._db.where, "choose another name"))
