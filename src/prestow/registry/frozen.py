"""Frozen collections: released, and never changed again.

A record says so, and a row, which every transaction that would change a collection looks at.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from prestow.errors import Problem, ProjectError
from prestow.registry.batches import DatasetBatch
from prestow.registry.database import Database
from prestow.registry.records import put_record

if TYPE_CHECKING:
    from prestow.stores import Store

NAMED = 5


class Frozen:
    """The frozen collections of a registry."""

    def __init__(self, db: Database) -> None:
        self._db = db

    def names(self) -> tuple[str, ...]:
        """Give all of them, sorted."""
        rows = self._db.rows("SELECT c.name FROM frozen f JOIN collection c ON c.id = f.collection")
        return tuple(sorted(name for (name,) in rows))

    def among(self, names: Iterable[str]) -> tuple[str, ...]:
        """Give those of these collections that are frozen, sorted."""
        frozen = self.names()
        asked = set(names) if frozen else set[str]()
        return tuple(name for name in frozen if name in asked)

    def freeze(self, store: Store, names: Iterable[str]) -> tuple[str, ...]:
        """Freeze known collections for ever: first by record, then by row. Give those that are new."""
        new = []
        for name in dict.fromkeys(names):
            put_record(store, "frozen", name, {"collection": name})
            new += [name] if self.put(name) else []
        return tuple(new)

    def put(self, name: str) -> bool:
        """Put the row of a known collection, as its record says; say whether it is new."""
        with self._db.transaction():
            known = self._db.rows(
                "SELECT 1 FROM frozen f JOIN collection c ON c.id = f.collection WHERE c.name = $1", name
            )
            if not known:
                self._db.execute(
                    "INSERT INTO frozen (collection) SELECT id FROM collection WHERE name = $1 "
                    "ON CONFLICT (collection) DO NOTHING",
                    name,
                )
        return not known

    def refuse(self, names: Iterable[str], what: str) -> None:
        """Refuse to change what is frozen.

        Parameters
        ----------
        names : iterable of str
            The collections that would be changed.
        what : str
            What was to be done, as "nothing is taken in".

        Raises
        ------
        ProjectError
            PST-I030 if one of them is frozen.
        """
        found = self.among(names)
        if found:
            shown = ", ".join(f"'{name}'" for name in found[:NAMED]) + (", …" if len(found) > NAMED else "")
            verb = "is" if len(found) == 1 else "are"
            raise ProjectError(
                Problem(
                    "PST-I030",
                    f"{shown} {verb} frozen: {what}",
                    self._db.where,
                    "a release stays as it is; make what is new in another run (prestow plan --run NAME)",
                )
            )

    def runs_of(self, ids: Collection[bytes]) -> tuple[str, ...]:
        """Give the frozen runs that hold one of these datasets."""
        import pyarrow as pa

        if not self.names():
            return ()
        with self._db.scratch():
            self._db.stage("s_asked", pa.table({"id": pa.array(sorted(set(ids)), pa.binary(16))}))
            rows = self._db.rows(
                "SELECT DISTINCT c.name FROM s_asked s JOIN dataset d ON d.id = s.id "
                "JOIN frozen f ON f.collection = d.run JOIN collection c ON c.id = d.run"
            )
        return tuple(sorted(name for (name,) in rows))

    @contextmanager
    def kept(self, batch: DatasetBatch) -> Iterator[None]:
        """Refuse, at the end of what is done inside, if a frozen run has more than before.

        Raises
        ------
        ProjectError
            PST-I030. The caller's transaction goes with it.
        """
        runs = self.among(_runs(batch)) if self.names() else ()
        before = [self._counts(run) for run in runs]
        yield
        self.refuse(
            (run for run, count in zip(runs, before, strict=True) if self._counts(run) != count),
            "nothing is taken in",
        )

    def _counts(self, run: str) -> tuple[int, int]:
        """Count what a run has; it is gone through, but only where somebody brings it something."""
        inside = "WHERE run = (SELECT id FROM collection WHERE name = $1)"
        datasets, quanta = (
            int(self._db.rows(f"SELECT count(*) FROM {table} {inside}", run)[0][0])
            for table in ("dataset", "quantum")
        )
        return datasets, quanta


def _runs(batch: DatasetBatch) -> set[str]:
    import pyarrow.compute as pc

    tables = [*batch.datasets.values(), *([batch.quanta] if batch.quanta is not None else [])]
    return {str(run) for table in tables for run in pc.unique(table["run"]).to_pylist()}
