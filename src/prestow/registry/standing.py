"""What a registry is, looked at without opening it as one: also an old one, and never writing."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass

from prestow.errors import PrestowError, Problem, ProjectError
from prestow.model.universe import Universe
from prestow.registry import schema
from prestow.registry.database import NONE_THERE, Mode, connect
from prestow.registry.opening import check, facts_of

NAMES = {"sqlite": "SQLite", "postgresql": "PostgreSQL"}

_COUNTED = (
    "dataset", "artifact", "quantum", "collection", "dataset_type", "store", "calibration", "metric", "footprint",
    "tainted", "frozen", "finding", "deleted",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Standing:
    """What a registry is.

    Parameters
    ----------
    where : str
        File, or URL without its password.
    dialect : str
        ``sqlite`` or ``postgresql``.
    server : str
        Version of the database.
    schema : str
        Its schema version.
    universe : str
        Name and version of the universe it was made with.
    counts : dict of str to int
        Rows of the tables that people ask about.
    problem : Problem, optional
        Why it cannot be opened as it is.
    """

    where: str
    dialect: str
    server: str
    schema: str
    universe: str
    counts: dict[str, int]
    problem: Problem | None = None

    @property
    def name(self) -> str:
        """What the database is called."""
        return f"{NAMES[self.dialect]} {self.server}"

    def as_dict(self) -> dict[str, object]:
        """Give it as plain values."""
        return {
            "registry": self.where, "dialect": self.dialect, "server": self.server, "schema_version": self.schema,
            "newest": schema.SCHEMA_VERSION, "universe": self.universe, "counts": self.counts,
            "usable": self.problem is None,
        }  # fmt: skip


def standing(url: str, universe: Universe) -> Standing:
    """Look at the registry at a URL.

    Raises
    ------
    ProjectError
        PST-G002 if there is none, or its database does not answer.
    """
    with contextlib.closing(connect(url, Mode.READ)) as database:
        facts = facts_of(database)
        made_with = json.loads(facts["universe"])
        there = database.tables()
        counts = {
            table: int(database.rows(f"SELECT count(*) FROM {table}")[0][0])
            for table in _COUNTED
            if table in there
        }
        problem = None
        try:
            check(database, universe)
        except ProjectError as error:
            problem = error.problems[0]
        asked = "sqlite_version()" if database.dialect == "sqlite" else "current_setting('server_version')"
        server = str(database.rows(f"SELECT {asked}")[0][0]).partition(" ")[0]
        named = f"{made_with['name']} {made_with['version']}"
        return Standing(database.where, database.dialect, server, facts["schema"], named, counts, problem)


def is_absent(error: PrestowError) -> bool:
    """Say whether a problem is only that there is no registry yet."""
    return error.problems[0].fix == NONE_THERE
