"""What a registry knows of the sky: footprints, sky maps, and for whom overlaps were computed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prestow.errors import Problem, ProjectError
from prestow.model.universe import Universe
from prestow.registry import columns as col
from prestow.registry import loading
from prestow.registry.database import Database

if TYPE_CHECKING:
    import pyarrow as pa

CORNERS = tuple(f"{axis}{number}" for number in range(4) for axis in ("ra", "dec"))
"""Columns of the four corners, degrees."""

FOOTPRINT_KEYS = ("instrument", "exposure", "detector")
FOOTPRINT = {
    "instrument": "str",
    "exposure": "int",
    "detector": "int",
    **dict.fromkeys(CORNERS, "float"),
    "origin": "str",
}
"""Columns of footprints; ``origin`` says where they are from: ``wcs`` or ``camera``."""

_AT = ("instrument", "visit", "detector")
_RELATED = {"instrument": "str", "visit": "int", "detector": "int", "digest": col.ID}


class OnSky:
    """The tables of the sky in a registry. `prestow.registry.relating` fills them."""

    def __init__(self, db: Database, universe: Universe) -> None:
        self._db = db
        self._universe = universe

    # --- footprints

    def footprints(self) -> pa.Table:
        """Give all footprints, sorted by instrument, exposure and detector."""
        names = ", ".join(FOOTPRINT)
        table = self._db.query(f"SELECT {names} FROM footprint ORDER BY {', '.join(FOOTPRINT_KEYS)}")
        return col.conform(table, FOOTPRINT)

    def of_visits(self) -> pa.Table:
        """Give the footprints with the visits of their exposures, sorted by instrument, visit, detector, exposure."""
        names = ", ".join(f"f.{name}" for name in FOOTPRINT)
        table = self._db.query(
            f"SELECT {names}, v.visit FROM footprint f JOIN relation_visit_definition v "
            "ON v.instrument = f.instrument AND v.exposure = f.exposure "
            "ORDER BY f.instrument, v.visit, f.detector, f.exposure"
        )
        return col.conform(table, {**FOOTPRINT, "visit": "int"})

    # --- sky maps

    def skymaps(self) -> dict[str, str]:
        """Give the canonical text of every sky map, by name."""
        return dict(self._db.rows("SELECT name, text FROM skymap ORDER BY name"))

    def register_skymap(
        self, record: pa.Table, text: str, tracts: pa.Table, patches: pa.Table, shards: pa.Table
    ) -> bool:
        """Add a sky map with the records of its tracts and patches and their shards; False if it is there.

        ``record`` is the one of the dimension ``skymap``: ``skymap, version, digest, padding``.

        Raises
        ------
        ProjectError
            PST-S003 if another one has its name; nothing is changed then.
        """
        row = record.to_pylist()[0]
        with self._db.transaction():
            known = self._db.rows("SELECT text FROM skymap WHERE name = $1", row["skymap"])
            if known:
                if known[0][0] == text:
                    return False
                what = f"the sky map '{row['skymap']}' is registered with another content"
                fix = "give the new one another name: what was made on a map stays on it"
                raise ProjectError(Problem("PST-S003", what, self._db.where, fix))
            for element, rows in (("skymap", record), ("tract", tracts), ("patch", patches)):
                keys = self._universe.close([element])
                kinds: dict[str, str] = {name: self._universe.dimensions[name].type for name in keys}
                kinds |= self._universe.dimensions[element].metadata
                loading.insert_keyed(self._db, f"dimension_{element}", keys, kinds, rows)
            self._insert("patch_shards", shards)
            self._db.execute("INSERT INTO skymap (name, text) VALUES ($1, $2)", row["skymap"], text)
        return True

    # --- what was related

    def count(self) -> int:
        """Give how many footprints are of exposures in visits."""
        rows = self._db.rows(
            "SELECT count(*) FROM footprint f JOIN relation_visit_definition v "
            "ON v.instrument = f.instrument AND v.exposure = f.exposure"
        )
        return int(rows[0][0])

    def noted(self, target: str) -> int:
        """Give how many footprints there were when all was computed last; -1 if it never was."""
        rows = self._db.rows("SELECT value FROM meta WHERE key = $1", f"related {target}")
        return int(rows[0][0]) if rows else -1

    def note(self, target: str, count: int) -> None:
        """Note that all is computed for so many footprints: these only ever become more."""
        with self._db.transaction():
            self._db.execute("DELETE FROM meta WHERE key = $1", f"related {target}")
            self._db.execute("INSERT INTO meta VALUES ($1, $2)", f"related {target}", str(count))

    def related(self, target: str) -> pa.Table:
        """Give for whom something was computed: ``instrument, visit, detector, digest``."""
        names = ", ".join(_RELATED)
        return col.conform(self._db.query(f"SELECT {names} FROM related WHERE target = $1", target), _RELATED)

    def relate(self, relation: str, target: str, skymap: str | None, done: pa.Table, rows: pa.Table) -> None:
        """Put rows of an overlap in the place of those that are there for these visits and detectors.

        All in one transaction, with a note of what was computed: ``done`` as `related` gives it.
        """
        same = " AND ".join(f"s.{name} = t.{name}" for name in _AT)
        of_map = "" if skymap is None else " AND t.skymap = $1"
        values = () if skymap is None else (skymap,)
        with self._db.transaction():
            self._db.stage("s_done", col.conform(done, _RELATED))
            if self._db.rows(
                f"SELECT 1 FROM related t JOIN s_done s ON {same} WHERE t.target = $1 LIMIT 1", target
            ):
                self._db.execute(
                    f"DELETE FROM relation_{relation} AS t WHERE EXISTS (SELECT 1 FROM s_done s WHERE {same}){of_map}",
                    *values,
                )
                self._db.execute(
                    f"DELETE FROM related AS t WHERE t.target = $1 AND EXISTS (SELECT 1 FROM s_done s WHERE {same})",
                    target,
                )
            self._insert(relation, rows)
            names = ", ".join(_RELATED)
            self._db.execute(f"INSERT INTO related (target, {names}) SELECT $1, {names} FROM s_done", target)
            self._db.execute("DROP TABLE s_done")

    def overlaps(self, relation: str, equal: Sequence[tuple[str, str | int]], padding: float) -> pa.Table:
        """Give the rows of a relation with these values, at most ``padding`` degrees apart; sorted."""
        kinds = self._kinds(relation)
        keys = ", ".join(name for name in kinds if name != "separation")
        conditions = [f"{name} = ${i}" for i, (name, _) in enumerate(equal, 1)]
        conditions.append(f"separation <= ${len(equal) + 1}")
        table = self._db.query(
            f"SELECT {', '.join(kinds)} FROM relation_{relation} WHERE {' AND '.join(conditions)} ORDER BY {keys}",
            *(value for _, value in equal), padding,
        )  # fmt: skip
        return col.conform(table, kinds)

    def _kinds(self, relation: str) -> dict[str, str]:
        known = self._universe.relations[relation]
        keys = self._universe.close(known.dimensions)
        return {**{name: self._universe.dimensions[name].type for name in keys}, **known.metadata}

    def _insert(self, relation: str, rows: pa.Table) -> None:
        """Add rows whose keys are new, each once: by columns, without looking for what is not there."""
        if not rows.num_rows:
            return
        kinds = self._kinds(relation)
        names = ", ".join(kinds)
        self._db.stage("s_pairs", col.conform(rows, kinds))
        self._db.execute(f"INSERT INTO relation_{relation} ({names}) SELECT {names} FROM s_pairs")
        self._db.execute("DROP TABLE s_pairs")
