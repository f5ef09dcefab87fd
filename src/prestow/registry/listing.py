"""The first datasets of a type, and how many there are, without reading them all."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from prestow.model import DatasetType
from prestow.model.universe import Universe
from prestow.registry import columns as col
from prestow.registry.database import Database

if TYPE_CHECKING:
    import pyarrow as pa

Values = Mapping[str, str | int]


class Listing:
    """What can be asked of one dataset type; ``runs`` are names of runs, ``equal`` values of its dimensions."""

    def __init__(self, database: Database, universe: Universe) -> None:
        self._db = database
        self._universe = universe

    def count(self, dataset_type: DatasetType, runs: Sequence[str], equal: Values) -> int:
        """Give how many datasets there are."""
        found = self._condition(dataset_type, runs, equal)
        if found is None:
            return 0
        number, condition, values = found
        join = f"JOIN data_id_{number} g ON g.id = d.data_id " if equal else ""
        return int(self._db.rows(f"SELECT count(*) FROM dataset d {join}WHERE {condition}", *values)[0][0])

    def ids(self, dataset_type: DatasetType, runs: Sequence[str], equal: Values) -> pa.Table:
        """Give the ``id`` of each, in any order."""
        import pyarrow as pa

        found = self._condition(dataset_type, runs, equal)
        kinds = {"id": col.ID}
        if found is None:
            return col.conform(pa.table({}), kinds)
        number, condition, values = found
        join = f"JOIN data_id_{number} g ON g.id = d.data_id " if equal else ""
        return col.conform(
            self._db.query(f"SELECT d.id AS id FROM dataset d {join}WHERE {condition}", *values), kinds
        )

    def first(self, dataset_type: DatasetType, runs: Sequence[str], equal: Values, limit: int) -> pa.Table:
        """Give the first ones in the order of data ID, then run, each at the store registered first.

        Columns: ``id, run``, each dimension, ``store, path, member, size``.
        """
        import pyarrow as pa

        dims = dataset_type.dimensions
        kinds = {
            "id": col.ID, "run": "str", **{d: self._universe.dimensions[d].type for d in dims},
            "store": "str", "path": "str", "member": "str", "size": "int",
        }  # fmt: skip
        found = self._condition(dataset_type, runs, equal)
        if found is None:
            return col.conform(pa.table({}), kinds)
        number, condition, values = found
        keys = "".join(f'g."{d}", ' for d in dims)
        # A cross join is walked as it is written: data IDs in their order, until there are enough.
        table = self._db.query(
            f"SELECT d.id AS id, c.name AS run, {keys}s.name AS store, a.path AS path, a.member AS member, a.size AS size "
            f"FROM data_id_{number} g CROSS JOIN dataset d CROSS JOIN collection c CROSS JOIN artifact a CROSS JOIN store s "
            f"WHERE d.data_id = g.id AND {condition} AND c.id = d.run AND a.dataset = d.id AND s.id = a.store "
            "AND a.store = (SELECT min(x.store) FROM artifact x WHERE x.dataset = d.id) "
            f"ORDER BY {keys}c.name LIMIT {int(limit)}",
            *values,
        )
        return col.conform(col.empty_is_null(table, "member"), kinds)

    def _condition(
        self, dataset_type: DatasetType, runs: Sequence[str], equal: Values
    ) -> tuple[int, str, list[object]] | None:
        """Give the number of the data-ID table, and what holds of the rows; None if there are none."""
        group = self._db.rows(
            "SELECT t.id, g.id FROM dataset_type t JOIN dimension_group g ON g.dimensions = t.dimensions "
            "WHERE t.name = $1",
            dataset_type.name,
        )
        if not group:
            return None
        wanted = set(runs)
        there = self._db.rows(
            "SELECT c.id, c.name FROM collection c WHERE EXISTS "
            "(SELECT 1 FROM dataset d WHERE d.type = $1 AND d.run = c.id)",
            group[0][0],
        )
        numbers = [str(number) for number, name in there if name in wanted]
        if not numbers:
            return None
        condition = f"d.type = $1 AND d.run IN ({', '.join(numbers)})"
        condition += "".join(f' AND g."{name}" = ${i}' for i, name in enumerate(equal, 2))
        return group[0][1], condition, [group[0][0], *equal.values()]
