"""PostgreSQL as the database of a registry, through ADBC: columns in and out by COPY.

A registry lives in the first schema of the search path. Writers take turns by an advisory lock, which
a transaction takes after it has staged what it brings; so numbers given to datasets grow in the order
of commits, and who reads the ones after the last he saw misses none.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import threading
from collections.abc import Iterator
from typing import Any
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from prestow.errors import Problem, ProjectError
from prestow.registry.database import BUSY_MS, Dialect, GivenUp, Mode

PATIENCE = 10
"""How long a server is waited for, in seconds, unless PGCONNECT_TIMEOUT or the URL says otherwise."""

TURN = "SELECT 1 FROM pg_advisory_xact_lock(1886545780, hashtext(current_schema()))"
"""Takes a writer's turn until its transaction ends; the first number is this program's, the second the schema's."""

_ANALYZED = 1000  # staged rows from which on the planner of queries is told how many there are
_CHANGES = ("INSERT", "UPDATE", "DELETE")
_AGAIN = ("40001", "40P01")  # serialization failure, deadlock
_GONE = ("terminating connection", "closed the connection", "no connection", "could not receive data")
_LOST = ("57P01", "57P02", "57P03")  # the server goes down
_MARKS = re.compile(r"'[^']*'|\"[^\"]*\"|\?")

_FIXES = {
    "25006": "open it for writing",
    "25P02": "look at the first error",
    "42501": "ask the database's administrator for the right: GRANT … ON ALL TABLES IN SCHEMA …",
    "55P03": "another command is writing; try again when it has ended",
    "53300": "the server has no free connection; try again, or ask its administrator for more",
}  # fmt: skip


def without_password(url: str) -> str:
    """Give a URL that may be shown.

    Examples
    --------
    >>> without_password("postgresql://me:secret@there:5432/survey?sslmode=require&password=secret")
    'postgresql://me:***@there:5432/survey?sslmode=require&password=***'
    """
    try:
        parts = urlsplit(url)
        user, at, host = parts.netloc.rpartition("@")
        name, colon, _ = user.partition(":")
        query = "&".join(
            f"{key}=***" if "passw" in key.lower() else pair
            for pair in parts.query.split("&")
            for key in [unquote(pair.partition("=")[0])]
        )
        shown = f"{parts.scheme}://{name}{':***' if colon else ''}{at}{host}{parts.path}"
    except ValueError:
        return f"{url.partition('://')[0]}://…"
    return f"{shown}?{query}" if query else shown


def passwords(url: str) -> frozenset[str]:
    """Give the passwords of a URL, as they stand there and as they are."""
    with contextlib.suppress(ValueError):
        parts = urlsplit(url)
        found = [parts.netloc.rpartition("@")[0].partition(":")[2]]
        found += [value for key, value in parse_qsl(parts.query) if "passw" in key.lower()]
        return frozenset(text for one in found if one for text in (one, unquote(one), quote(one)))
    return frozenset()


class Postgres:
    """A `prestow.registry.database.Database` on a server.

    Examples
    --------
    >>> try:
    ...     Postgres("postgresql://me:secret@127.0.0.1:1/none", Mode.READ)
    ... except ProjectError as error:
    ...     print(error)
    error[PST-G002]: connection to server at "127.0.0.1", port 1 failed: Connection refused
      --> postgresql://me:***@127.0.0.1:1/none
      = help: start the server, or check host and port in prestow.yaml
    """

    dialect: Dialect = "postgresql"

    def __init__(self, url: str, mode: Mode) -> None:
        self.where = without_password(url)
        self.mode = mode
        self._secrets = passwords(url)
        self._lock = threading.RLock()
        self._changed = 0
        self._first = ""  # said before the first statement of a transaction that is not staging
        self._connection = self._connect(url)
        try:
            self._prepare()
        except BaseException:
            self.close()
            raise

    def _connect(self, url: str) -> Any:  # Any: ADBC has no types
        try:
            import adbc_driver_manager
            from adbc_driver_postgresql import dbapi
        except ImportError as error:
            what = "the driver of PostgreSQL is not installed"
            fix = "pip install 'prestow[postgres]'"
            raise ProjectError(Problem("PST-G002", what, self.where, fix)) from error
        if "connect_timeout=" not in url and "PGCONNECT_TIMEOUT" not in os.environ:
            url += f"{'&' if '?' in url else '?'}connect_timeout={PATIENCE}"
        try:
            return dbapi.connect(url, autocommit=True)
        except adbc_driver_manager.Error as error:
            raise self._refused(error) from None  # its text may have what was given

    def _prepare(self) -> None:
        self.execute("SET client_encoding = 'UTF8'")
        self.execute("SET application_name = 'prestow'")
        self.execute(f"SET lock_timeout = {BUSY_MS}")
        self.execute("SET default_transaction_isolation = 'read committed'")
        self.execute("SET synchronous_commit = on")
        if self.mode is Mode.READ:
            self.execute("SET default_transaction_read_only = on")
        what, fix = "", ""
        schema, encoding = self.rows("SELECT current_schema()::text, current_setting('server_encoding')")[0]
        if schema is None:
            what = "no schema of the search path exists"
            fix = "make it (CREATE SCHEMA …), or correct 'options' in the URL"
        elif encoding != "UTF8":
            what = f"the database has the encoding {encoding}"
            fix = "make one with ENCODING 'UTF8'"
        if what:
            raise ProjectError(Problem("PST-G002", what, self.where, fix))

    def _refused(self, error: Exception) -> ProjectError:
        text = str(error).strip()
        told = re.search(r"SQLSTATE: (\w{5})", text)
        state = getattr(error, "sqlstate", None) or (told[1] if told else "")
        if not state and "read-only transaction" in text:  # of a bulk load the driver tells the text alone
            state = "25006"
        line = _first_line(text)
        for secret in sorted(self._secrets, key=len, reverse=True):
            line = line.replace(secret, "***")
        if state.startswith("53") and state != "53300":
            fix = "make room on the server, then do the same again"
            return ProjectError(Problem("PST-R002", line, self.where, fix))
        if state in _AGAIN:
            fix = "nothing was changed; do the same again"
            return GivenUp(Problem("PST-G002", line, self.where, fix))
        return ProjectError(Problem("PST-G002", line, self.where, _FIXES.get(state) or _advice(line, state)))

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Any]:  # Any: ADBC has no types
        import adbc_driver_manager

        with self._lock:
            if self._connection is None:
                raise ProjectError(Problem("PST-G002", "the registry was closed", self.where))
            with self._connection.cursor() as cursor:
                try:
                    yield cursor
                except adbc_driver_manager.IntegrityError:
                    raise
                except adbc_driver_manager.Error as error:
                    raise self._refused(error) from error

    def _begun(self) -> None:
        if self._first:
            sql, self._first = self._first, ""
            with self._cursor() as cursor:
                cursor.execute(sql)
                cursor.fetchall()  # until then the driver tells no error

    def execute(self, sql: str, *values: object) -> None:
        """Run one statement."""
        with self._lock:
            self._begun()
            sql = _numbered(sql)
            with self._cursor() as cursor:
                if not values:
                    cursor.execute(sql)
                    self._changed = max(cursor.rowcount, 0)
                elif sql.startswith(_CHANGES):  # the driver does not say how many, where there are values
                    cursor.execute(f"WITH done AS ({sql} RETURNING 1) SELECT count(*) FROM done", values)
                    self._changed = cursor.fetchone()[0]
                else:
                    cursor.execute(sql, values)

    def changed(self) -> int:
        """Give how many rows the last INSERT, UPDATE or DELETE touched."""
        return self._changed

    def query(self, sql: str, *values: object) -> Any:  # Any: an Arrow table
        """Run one query; give its result in whatever types the driver saw."""
        with self._lock:
            self._begun()
            with self._cursor() as cursor:
                cursor.execute(_numbered(sql), values or None)
                return cursor.fetch_arrow_table()

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:  # Any: what the columns hold
        """Run one small query; give its rows."""
        table = self.query(sql, *values)
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def stage(self, name: str, table: Any) -> None:  # Any: an Arrow table
        """Load a table into a temporary one of that name; inside a transaction or `scratch`."""
        with self._cursor() as cursor:
            cursor.adbc_ingest(name, table, mode="create", temporary=True)
            if table.num_rows >= _ANALYZED:
                cursor.execute(f'ANALYZE "{name}"')

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Let one writer at a time work; commit at the end, or roll all back.

        The turn is taken at the first statement that is not staging.
        """
        with self._lock:
            self.execute("BEGIN")
            self._first = TURN
            try:
                yield
                self._first = ""
                self.execute("COMMIT")
            except BaseException:
                self._first = ""
                with contextlib.suppress(ProjectError):  # a lost connection has rolled back
                    self.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def scratch(self) -> Iterator[None]:
        """Allow staging for a query: what is staged is gone afterwards, and so would be all else."""
        with self._lock:
            self.execute("BEGIN READ WRITE")  # a temporary table counts as writing
            try:
                yield
            finally:
                self.execute("ROLLBACK")

    def about(self, table: str) -> int:
        """Give about how many rows a table has, without counting them."""
        found = self.rows("SELECT reltuples::bigint FROM pg_class WHERE oid = to_regclass($1)", table)[0][0]
        return int(found) if found >= 0 else int(self.rows(f"SELECT count(*) FROM {table}")[0][0])

    def tables(self) -> frozenset[str]:
        """Give the names of all tables of the registry's schema."""
        return frozenset(
            name
            for (name,) in self.rows(
                "SELECT tablename::text FROM pg_tables WHERE schemaname = current_schema()"
            )
        )

    def close(self) -> None:
        """Close the connection; twice is fine."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


@functools.lru_cache(maxsize=512)
def _numbered(sql: str) -> str:
    """Give a statement with ``?`` as ``$1``, ``$2`` and so on.

    Examples
    --------
    >>> _numbered("SELECT '?' FROM t WHERE a = ? AND b = ?")
    "SELECT '?' FROM t WHERE a = $1 AND b = $2"
    """
    if "?" not in sql:
        return sql
    count = 0

    def number(found: re.Match[str]) -> str:
        nonlocal count
        if found[0] != "?":
            return found[0]
        count += 1
        return f"${count}"

    return _MARKS.sub(number, sql)


def _first_line(text: str) -> str:
    """Give what an error says, without what the driver says about itself and the statement."""
    line = text.splitlines()[0] if text else "unknown error"
    for mark in ("Failed to connect: ", "ERROR:  ", "FATAL:  "):
        line = line.partition(mark)[2] or line
    return line


def _advice(line: str, state: str) -> str:
    if "does not exist" in line and "database" in line:
        return "make the database (createdb NAME), or check the name in prestow.yaml"
    if "password" in line or "authentication" in line or ("role" in line and "does not exist" in line):
        return "check the user; give the password by ~/.pgpass or PGPASSWORD"
    if (
        "could not translate host name" in line
        or "refused" in line
        or "timeout" in line
        or "No route" in line
    ):
        return "start the server, or check host and port in prestow.yaml"
    if state in _LOST or state.startswith("08") or any(word in line for word in _GONE):
        return "the connection was lost and nothing was left half done; do the same again"
    return "look at the server's log; a registry can be made again from its store"
