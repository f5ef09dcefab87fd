"""What past runs came to, for who wants to know before the next one: samples of bounded size, and sums."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import TYPE_CHECKING

from prestow.model.dataset import ROOT_RUNS
from prestow.registry import columns as col
from prestow.registry.database import Database

if TYPE_CHECKING:
    import pyarrow as pa

RUNS = 8
"""Past runs that are looked at, for each dataset type: the newest."""

ROWS = 1024
"""Datasets of a type that are looked at, over all these runs."""

_TRIES = 4  # numbers that are tried for each dataset wanted: between a run's first and last others may lie
_FEW = 32  # with fewer found than this, the first ones of the run are taken
_GOLDEN = 0.6180339887498949  # multiples of it fill an interval evenly, without a period

SIZES = {"type": "str", "run": "str", "quantum": col.ID, "size": "int", "inputs": "int"}
"""Columns of `History.sizes`."""

PAPERS = {"id": col.ID, "run": "str", "task": "str", "job": "str", "attempt": "str", "receipt": "str"}
"""Columns of `History.papers`."""


class History:
    """A registry, looked back at. Reads only; what it costs does not grow with what there is, but for the sums."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def sizes(self, types: Iterable[str], *, without: Collection[str] = ()) -> pa.Table:
        """Give products of these types that past runs made: a sample, the same for the same registry.

        Columns: ``type, run, quantum, size, inputs``; the last one is how many datasets the quantum
        was to read. Of raw and foreign files, which no quantum made, there is none.

        Parameters
        ----------
        types : iterable of str
            Unknown ones have no rows.
        without : collection of str
            Runs that do not count.
        """
        import pyarrow as pa

        parts = [col.conform(pa.table({}), SIZES)]
        for name in types:
            runs = self._runs(name, without)
            for number, run, kind in runs:
                table = self._sample(kind, number, max(ROWS // len(runs), 1))
                count = table.num_rows
                table = table.append_column("type", pa.array([name] * count, pa.string()))
                parts.append(
                    col.conform(table.append_column("run", pa.array([run] * count, pa.string())), SIZES)
                )
        return pa.concat_tables(parts)

    def _runs(self, dataset_type: str, without: Collection[str]) -> list[tuple[int, str, int]]:
        """Give number and name of the newest runs that have a type, and the type's number."""
        rows = self._db.rows(
            "SELECT c.id, c.name, t.id FROM dataset_type t CROSS JOIN collection c WHERE t.name = $1 AND c.kind = 'run' "
            "AND EXISTS (SELECT 1 FROM dataset d WHERE d.type = t.id AND d.run = c.id) ORDER BY c.id DESC",
            dataset_type,
        )
        found = [row for row in rows if row[1] not in without and not row[1].startswith(ROOT_RUNS)]
        return found[:RUNS]

    def _sample(self, kind: int, run: int, wanted: int) -> pa.Table:
        inside = f"d.type = {int(kind)} AND d.run = {int(run)}"
        first, last = self._db.rows(f"SELECT min(d.data_id), max(d.data_id) FROM dataset d WHERE {inside}")[0]
        if last - first >= _TRIES * wanted:
            tried = {first + int((i * _GOLDEN) % 1 * (last - first + 1)) for i in range(_TRIES * wanted)}
            table = self._rows(f"{inside} AND d.data_id IN ({', '.join(map(str, sorted(tried)))})")
            if table.num_rows >= min(wanted, _FEW):
                return table
            wanted = max(_FEW, table.num_rows)
        return self._rows(inside, f"ORDER BY d.data_id LIMIT {_TRIES * wanted}")

    def _rows(self, inside: str, order: str = "") -> pa.Table:
        return self._db.query(
            "SELECT d.quantum AS quantum, min(a.size) AS size, "
            "(SELECT count(*) FROM quantum_input i WHERE i.quantum = d.quantum) AS inputs "
            f"FROM dataset d JOIN artifact a ON a.dataset = d.id WHERE {inside} AND d.quantum IS NOT NULL "
            f"GROUP BY d.data_id, d.quantum {order}"
        )

    def papers(self, quanta: Sequence[bytes]) -> pa.Table:
        """Give task, job, attempt and receipt of quanta that an attempt made, by run, task and id."""
        import pyarrow as pa

        with self._db.scratch():
            self._db.stage("s_asked", pa.table({"id": pa.array(sorted(set(quanta)), pa.binary(16))}))
            table = self._db.query(
                "SELECT q.id AS id, c.name AS run, q.task AS task, q.job AS job, q.attempt AS attempt, "
                "q.receipt AS receipt FROM s_asked s JOIN quantum q ON q.id = s.id JOIN collection c ON c.id = q.run "
                "WHERE q.state = 'made' AND q.attempt IS NOT NULL ORDER BY c.name, q.task, q.id"
            )
        return col.conform(table, PAPERS)

    def made(self, run: str, store: str) -> dict[str, tuple[int, int]]:
        """Give for each dataset type how many products a run has in a store, and their bytes."""
        rows = self._db.rows(
            "SELECT t.name, count(*), CAST(sum(a.size) AS BIGINT) FROM collection c JOIN dataset d ON d.run = c.id "
            "JOIN dataset_type t ON t.id = d.type JOIN artifact a ON a.dataset = d.id JOIN store s ON s.id = a.store "
            "WHERE c.name = $1 AND s.name = $2 GROUP BY t.name ORDER BY t.name",
            run,
            store,
        )
        return {name: (int(count), int(size)) for name, count, size in rows}

    def states(self, run: str) -> dict[tuple[str, str], int]:
        """Give how many quanta of a run were taken in, by task and state."""
        rows = self._db.rows(
            "SELECT q.task, q.state, count(*) FROM quantum q JOIN collection c ON c.id = q.run WHERE c.name = $1 "
            "GROUP BY q.task, q.state ORDER BY q.task, q.state",
            run,
        )
        return {(task, state): int(count) for task, state, count in rows}

    def some_quanta(self, run: str, task: str, limit: int) -> list[bytes]:
        """Give ids of made quanta of a task, the first ones by id: as good as drawn by lot."""
        rows = self._db.rows(
            "SELECT q.id FROM quantum q JOIN collection c ON c.id = q.run WHERE c.name = $1 AND q.task = $2 "
            f"AND q.state = 'made' AND q.attempt IS NOT NULL ORDER BY q.id LIMIT {int(limit)}",
            run,
            task,
        )
        return [key for (key,) in rows]

    def held(self, store: str) -> tuple[int, int]:
        """Give how many files the registry knows in a store, and their bytes."""
        rows = self._db.rows(
            "SELECT count(*), CAST(sum(a.size) AS BIGINT) FROM artifact a JOIN store s ON s.id = a.store WHERE s.name = $1",
            store,
        )
        return int(rows[0][0]), int(rows[0][1] or 0)
