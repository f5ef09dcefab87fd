"""An old registry made today's: revisions of its schema by alembic, then what its universe has gained.

All in one transaction, in which nothing but tables, columns and indexes is made: whatever stops it,
the old registry is there as it was. Loads alembic and SQLAlchemy, which no other command does.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from prestow.errors import Problem, ProjectError
from prestow.model.universe import Universe
from prestow.registry import schema
from prestow.registry.database import BUSY_MS, Database, Mode, check_file, connect, is_postgres, sqlite_path
from prestow.registry.growing import Growth, growth
from prestow.registry.opening import facts_of, is_newer

if TYPE_CHECKING:
    from alembic.script import ScriptDirectory
    from sqlalchemy import Connection, Engine


@dataclass(frozen=True, slots=True)
class Upgrade:
    """What an upgrade comes to.

    Parameters
    ----------
    where : str
        The registry, without a password.
    dialect : str
        ``sqlite`` or ``postgresql``.
    before, after : str
        Schema versions.
    steps : tuple of str
        What each revision does, and what it cannot fill.
    universe : tuple of str
        What of the universe is new.
    """

    where: str
    dialect: str
    before: str
    after: str
    steps: tuple[str, ...]
    universe: tuple[str, ...]

    @property
    def needed(self) -> bool:
        """Whether there is anything to do."""
        return bool(self.steps or self.universe)

    def as_dict(self) -> dict[str, object]:
        """Give it as plain values."""
        return {
            "registry": self.where, "dialect": self.dialect, "before": self.before, "after": self.after,
            "steps": list(self.steps), "universe": list(self.universe),
        }  # fmt: skip


def upgrade(url: str, universe: Universe, *, dry_run: bool = False) -> Upgrade:
    """Make the registry at a URL one of today's schema and universe; again is fine.

    Parameters
    ----------
    dry_run : bool
        Only say what would be done.

    Raises
    ------
    ProjectError
        PST-G002 if there is no registry, or a newer one; PST-G025 if its universe is another one, or
        has lost something.
    """
    with contextlib.closing(connect(url, Mode.READ)) as database:
        found, grown = _found(database, universe)
    if dry_run or not found.needed:
        return found
    engine = _engine(url)
    try:
        with _told(found.where), engine.begin() as connection:
            _take_turn(connection)
            before = _facts(connection)["schema"]  # another one may have been quicker
            _run(connection, before)
            grown = growth(_facts(connection)["universe"], universe, database.dialect)
            for statement in grown.statements:
                connection.exec_driver_sql(statement)
            _note(connection, "universe", universe.canonical_text())
    finally:
        engine.dispose()
    return found


def _found(database: Database, universe: Universe) -> tuple[Upgrade, Growth]:
    facts = facts_of(database)
    before = facts["schema"]
    if is_newer(before):
        what = f"the registry has schema version {before}, this prestow knows {schema.SCHEMA_VERSION} and older ones"
        raise ProjectError(Problem("PST-G002", what, database.where, "use a newer prestow"))
    grown = growth(facts["universe"], universe, database.dialect)
    if grown.obstacles:
        fix = "give prestow.yaml the universe it was made with, or make a new registry"
        raise ProjectError(*(Problem("PST-G025", what, database.where, fix) for what in grown.obstacles))
    steps = tuple(_steps(before))
    return Upgrade(database.where, database.dialect, before, schema.SCHEMA_VERSION, steps, grown.told), grown


def _scripts() -> ScriptDirectory:
    from alembic.script import ScriptDirectory

    directory = os.path.join(os.path.dirname(__file__), "migrations")
    return ScriptDirectory(directory, version_locations=[os.path.join(directory, "versions")])


def _steps(before: str) -> Iterator[str]:
    """Give what each revision after a schema version does, oldest first."""
    revisions = list(_scripts().iterate_revisions(schema.revision(), schema.revision(before)))
    for script in reversed(revisions):
        yield f"schema {int(script.revision)}: {script.doc.splitlines()[0]}"


def _run(connection: Connection, before: str) -> None:
    """Take each step on the connection, inside its transaction."""
    from alembic.operations import Operations
    from alembic.runtime.migration import MigrationContext

    connection.exec_driver_sql(schema.VERSION_TABLE)
    connection.exec_driver_sql("DELETE FROM alembic_version")  # what the registry itself says is what counts
    connection.exec_driver_sql(f"INSERT INTO alembic_version VALUES ('{schema.revision(before)}')")
    scripts = _scripts()

    def steps(here: Any, _: object) -> Any:  # Any: alembic's own
        return scripts._upgrade_revs(schema.revision(), here)  # noqa: SLF001 - as alembic's own command does

    context = MigrationContext.configure(connection, opts={"fn": steps, "transactional_ddl": True})
    with Operations.context(context):
        context.run_migrations()
    _note(connection, "schema", schema.SCHEMA_VERSION)


def _facts(connection: Connection) -> dict[str, str]:
    return {row[0]: row[1] for row in connection.exec_driver_sql("SELECT key, value FROM meta")}


def _note(connection: Connection, key: str, value: str) -> None:
    import sqlalchemy as sa

    connection.execute(
        sa.text("UPDATE meta SET value = :value WHERE key = :key"), {"key": key, "value": value}
    )


def _take_turn(connection: Connection) -> None:
    if connection.dialect.name == "postgresql":
        from prestow.registry.postgres import TURN

        connection.exec_driver_sql(f"SET LOCAL lock_timeout = {BUSY_MS}")
        connection.exec_driver_sql(TURN)


def _engine(url: str) -> Engine:
    import sqlalchemy as sa

    if is_postgres(url):
        try:
            import psycopg
        except ImportError as error:
            what, fix = "the driver of PostgreSQL is not installed", "pip install 'prestow[postgres]'"
            raise ProjectError(Problem("PST-G002", what, "the registry", fix)) from error
        return sa.create_engine(
            "postgresql+psycopg://", creator=lambda: psycopg.connect(url), poolclass=sa.pool.NullPool
        )
    import sqlite3

    path = sqlite_path(url)
    check_file(path, Mode.WRITE)
    # The module's own transactions commit before a table is made; without them, they are ours.
    engine = sa.create_engine(
        "sqlite://",
        creator=lambda: sqlite3.connect(path, isolation_level=None, timeout=BUSY_MS / 1000),
        poolclass=sa.pool.NullPool,
    )

    @sa.event.listens_for(engine, "connect")
    def _(connection: sqlite3.Connection, _: object) -> None:
        connection.execute("PRAGMA synchronous=FULL")

    @sa.event.listens_for(engine, "begin")
    def _(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    return engine


@contextlib.contextmanager
def _told(where: str) -> Iterator[None]:
    import sqlalchemy as sa

    try:
        yield
    except sa.exc.DBAPIError as error:
        what = str(error.orig).partition("\n")[0]
        fix = "the registry is as it was; see what it says, and do the same again"
        raise ProjectError(Problem("PST-G025", what, where, fix)) from error
