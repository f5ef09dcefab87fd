"""Making a registry in a database, and what of it can be opened: ours, of today's schema, of this universe."""

from __future__ import annotations

import contextlib

from prestow.errors import Problem, ProjectError
from prestow.model.universe import Universe
from prestow.registry import schema
from prestow.registry.database import NONE_THERE, Database

UPGRADE = "prestow registry upgrade"


def make(database: Database, universe: Universe) -> None:
    """Make an empty registry if there is none.

    Raises
    ------
    ProjectError
        PST-G002 if the database has tables that are not a registry's.
    """
    if "meta" in database.tables():  # the common case takes no write lock
        return
    with database.transaction():
        others = database.tables()
        if "meta" in others:
            return
        if others:
            few = ", ".join(sorted(others)[:5])
            what = f"the database is not a registry: it has other tables ({few})"
            fix = "give the registry a file of its own"
            if database.dialect == "postgresql":
                fix = (
                    "give the registry a database, or a schema, of its own: …?options=-csearch_path%3DSCHEMA"
                )
            raise ProjectError(Problem("PST-G002", what, database.where, fix))
        for statement in schema.statements(universe, database.dialect):
            database.execute(statement)
        facts = {"schema": schema.SCHEMA_VERSION, "universe": universe.canonical_text(), "sequence": "0"}
        for key, value in facts.items():
            database.execute("INSERT INTO meta VALUES ($1, $2)", key, value)
        database.execute("INSERT INTO alembic_version VALUES ($1)", schema.revision())


def facts_of(database: Database) -> dict[str, str]:
    """Give what a registry says of itself: ``schema``, ``universe``, ``sequence``.

    Raises
    ------
    ProjectError
        PST-G002 if there is no registry, or something else.
    """
    facts: dict[str, str] = {}
    there = database.tables()
    if "meta" in there:
        with contextlib.suppress(ProjectError):  # another program's table of that name
            facts = dict(database.rows("SELECT key, value FROM meta"))
    if {"schema", "universe"} <= set(facts):
        return facts
    what, fix = "the database is not a registry", "check the path, or make a new one with: prestow init"
    if not there and database.dialect == "postgresql":
        what, fix = "there is no registry", NONE_THERE
    raise ProjectError(Problem("PST-G002", what, database.where, fix))


def is_newer(version: str) -> bool:
    """Say whether a schema version is none that this prestow knows, nor an older one."""
    return not version.isdecimal() or int(version) > int(schema.SCHEMA_VERSION)


def check(database: Database, universe: Universe) -> None:
    """Refuse a registry of another schema or universe.

    Raises
    ------
    ProjectError
        PST-G002, with what to do.
    """
    facts = facts_of(database)
    what, fix = "", ""
    if facts["schema"] != schema.SCHEMA_VERSION:
        what = (
            f"the registry has schema version {facts['schema']}, this prestow reads {schema.SCHEMA_VERSION}"
        )
        fix = "use a newer prestow" if is_newer(facts["schema"]) else UPGRADE
    elif facts["universe"] != universe.canonical_text():
        what = (
            f"the registry was made with another universe than '{universe.name}' version {universe.version}"
        )
        fix = f"open it with the universe it was made with; if that has only gained something: {UPGRADE}"
    if what:
        raise ProjectError(Problem("PST-G002", what, database.where, fix))
