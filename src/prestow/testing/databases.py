"""Registries for tests, on each database that prestow knows.

PostgreSQL is tested where ``PRESTOW_TEST_POSTGRES`` has the URL of a database in which schemas may be
made; each registry has a schema of its own. ``.ci/postgres.sh`` starts a server.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import secrets
from collections.abc import Iterator
from urllib.parse import quote

DIALECTS = ("sqlite", "postgresql")

POSTGRES = "PRESTOW_TEST_POSTGRES"

NO_POSTGRES = f"NOT TESTED on PostgreSQL: {POSTGRES} is not set; .ci/postgres.sh start prints a URL"

_idle: list[str] = []  # schemas with an empty registry
_made: list[str] = []


def available(dialect: str) -> bool:
    """Say whether there is a database of that dialect to test with."""
    return dialect == "sqlite" or bool(os.environ.get(POSTGRES))


@contextlib.contextmanager
def fresh(dialect: str, directory: str | os.PathLike[str], name: str = "registry") -> Iterator[str]:
    """Give a URL at which there is no registry yet; afterwards it is gone, but for a file.

    Parameters
    ----------
    dialect : str
        One of `DIALECTS` that is `available`.
    directory : path
        Where a file goes.
    """
    if dialect == "sqlite":
        yield f"sqlite:///{os.fspath(directory)}/{name}.db"
        return
    schema = _make_schema()
    try:
        yield _url(schema)
    finally:
        _drop([schema])


@contextlib.contextmanager
def empty(dialect: str, directory: str | os.PathLike[str], name: str = "registry") -> Iterator[str]:
    """Give the URL of a registry of the default universe, to be opened with ``create=True``.

    On PostgreSQL it is there already and may have been used before: that is many times quicker.
    """
    if dialect == "sqlite":
        yield f"sqlite:///{os.fspath(directory)}/{name}.db"
        return
    schema = _idle.pop() if _idle else _make_registry()
    try:
        yield _url(schema)
    finally:
        if _emptied(schema):
            _idle.append(schema)


def _url(schema: str) -> str:
    server = os.environ[POSTGRES]
    return f"{server}{'&' if '?' in server else '?'}options={quote(f'-csearch_path={schema}')}"


def _make_schema() -> str:
    import psycopg

    schema = f"test_{os.getpid()}_{secrets.token_hex(6)}"
    with psycopg.connect(os.environ[POSTGRES], autocommit=True) as server:
        server.execute(f"CREATE SCHEMA {schema}")
    return schema


def _make_registry() -> str:
    from prestow.naming.universe import load_universe
    from prestow.registry import Registry

    if not _made:
        atexit.register(lambda owner: _drop(_made) if owner == os.getpid() else None, os.getpid())
    schema = _make_schema()
    _made.append(schema)
    Registry.open(_url(schema), load_universe(), create=True).close()
    return schema


def _emptied(schema: str) -> bool:
    """Take all rows out of a registry; False if somebody still has it."""
    import psycopg

    with psycopg.connect(_url(schema)) as server, contextlib.suppress(psycopg.errors.LockNotAvailable):
        server.execute("SET LOCAL lock_timeout = '2s'")
        server.execute("SET LOCAL session_replication_role = replica")  # no foreign keys
        tables = server.execute("SELECT tablename FROM pg_tables WHERE schemaname = %s", [schema]).fetchall()
        for (table,) in tables:
            if table.startswith("data_id_"):
                server.execute(f'DROP TABLE "{table}"')
            elif table not in ("meta", "alembic_version"):
                server.execute(f'DELETE FROM "{table}"')
        server.execute("DELETE FROM meta WHERE key NOT IN ('schema', 'universe', 'sequence')")
        server.execute("UPDATE meta SET value = '0' WHERE key = 'sequence'")
        server.execute(
            "SELECT setval(format('%%I.%%I', schemaname, sequencename)::regclass, 1, false) FROM pg_sequences "
            "WHERE schemaname = %s",
            [schema],
        )
        return True
    return False


def _drop(schemas: list[str]) -> None:
    import psycopg

    with (
        contextlib.suppress(psycopg.Error),  # a server that is gone has nothing left to drop
        psycopg.connect(os.environ[POSTGRES], autocommit=True) as server,
    ):
        for schema in schemas:
            server.execute(f"DROP SCHEMA IF EXISTS {schema} CASCADE")
