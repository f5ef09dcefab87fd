"""Visits of several exposures: their records follow from those of the exposures, however many there are by now."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prestow.errors import IngestError, Problem
from prestow.model.universe import Universe
from prestow.registry.database import Database

if TYPE_CHECKING:
    import pyarrow as pa

_GATHERED = {"begin": "min", "end": "max", "exposure_time": "sum"}
"""How a visit has what its exposures have; of all else the one value that they share, or none."""


def gather(db: Database, universe: Universe, definition: pa.Table) -> None:
    """Make the records of some visits anew from all their exposures; inside a transaction.

    Raises
    ------
    IngestError
        PST-I006 if the exposures of a visit differ in what a visit implies, such as the filter.
    """
    visit, exposure = universe.dimensions["visit"], universe.dimensions["exposure"]
    db.stage("s_visits", definition.select(["instrument", "visit"]))
    some = "(v.instrument, v.visit) IN (SELECT instrument, visit FROM s_visits)"
    source = (
        "FROM relation_visit_definition v JOIN dimension_exposure e "
        f"ON e.instrument = v.instrument AND e.exposure = v.exposure WHERE {some}"
    )
    problems = [
        Problem(
            "PST-I006", f"the exposures of visit {number} have {count} values of {name}", f"instrument={instrument},visit={number}",
            "let the rule for 'visit' group exposures that agree in it; the registry was not changed",
        )
        for name in visit.implies
        if name in exposure.implies
        for instrument, number, count in db.rows(
            f"SELECT v.instrument, v.visit, count(DISTINCT e.{name}) {source} "
            f"GROUP BY v.instrument, v.visit HAVING count(DISTINCT e.{name}) > 1 LIMIT 10"
        )
    ]  # fmt: skip
    if problems:
        raise IngestError(*problems)
    names = [n for n in (*visit.implies, *visit.metadata) if n in (*exposure.implies, *exposure.metadata)]
    columns = [
        f'{_GATHERED[n]}(e."{n}")'
        if n in _GATHERED
        else f'CASE WHEN count(DISTINCT e."{n}") = 1 THEN min(e."{n}") END'
        for n in names
    ]
    db.execute("DELETE FROM dimension_visit AS v WHERE " + some)
    listed = ", ".join(f'"{n}"' for n in names)
    db.execute(
        f"INSERT INTO dimension_visit (instrument, visit, {listed}) SELECT v.instrument, v.visit, {', '.join(columns)} {source} "
        "GROUP BY v.instrument, v.visit"
    )
    db.execute("DROP TABLE s_visits")
