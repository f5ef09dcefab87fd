"""The databases of a registry: what both give, and SQLite's; PostgreSQL's is `prestow.registry.postgres`.

Connecting, transactions, bulk in and out, through ADBC. The SQL elsewhere is what both understand:
numbered parameters ``$1`` or marks ``?``, ``IS DISTINCT FROM``, staging tables; no ``rowid``, no
``PRAGMA``. A sum of integers is cast: ``CAST(sum(x) AS BIGINT)``.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from enum import StrEnum
from typing import Any, Literal, Protocol, TypeVar
from urllib.parse import quote

from prestow.errors import Problem, ProjectError

BUSY_MS = 120_000
"""How long a writer waits for another one, in milliseconds."""

CACHE_KB = 131_072
"""Pages kept in memory at most, in kB: ids are random, so each look-up is somewhere else."""

NONE_THERE = "make one by taking raw files in: prestow ingest --raw FILES --instrument NAME; or again from a store: prestow rebuild"
"""What to do where there is no registry yet."""

_ALL_ROWS = str(1 << 30)  # column types are inferred from the first batch: so take one batch
_INDEX = 1 << 17  # bytes; the shared index of a write-ahead log begins with 32 kB
_MAGIC = b"SQLite format 3\x00"
_NETWORK = (
    "nfs", "nfs4", "cifs", "smb2", "smb3", "smbfs", "lustre", "gpfs", "beegfs", "ceph", "afs", "panfs",
    "fuse.sshfs", "fuse.glusterfs", "fuse.ceph",
)  # fmt: skip


TRIES = 5
"""How often work is begun again that the database gave up for the sake of another's."""

Dialect = Literal["sqlite", "postgresql"]

Result = TypeVar("Result")


class Mode(StrEnum):
    """How a database is opened."""

    READ = "ro"
    WRITE = "rw"
    CREATE = "rwc"


class GivenUp(ProjectError):  # noqa: N818 - it says what happened
    """A transaction that the database rolled back for the sake of another one: the same again may do."""


class Database(Protocol):
    """What a registry needs of a database.

    One connection; its methods may be called from several threads, one at a time. Every database
    error is a `ProjectError` that names no password.
    """

    dialect: Dialect
    where: str
    """For errors: the file, or the URL without its password."""
    mode: Mode

    def execute(self, sql: str, *values: object) -> None:
        """Run one statement."""

    def changed(self) -> int:
        """Give how many rows the last INSERT, UPDATE or DELETE touched."""

    def query(self, sql: str, *values: object) -> Any:  # Any: an Arrow table
        """Run one query; give its result in whatever types the driver saw."""

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:  # Any: what the columns hold
        """Run one small query; give its rows."""

    def stage(self, name: str, table: Any) -> None:  # Any: an Arrow table
        """Load a table into a temporary one of that name; inside a transaction or `scratch`."""

    def transaction(self) -> AbstractContextManager[None]:
        """Let one writer at a time work; commit at the end, or roll all back."""

    def scratch(self) -> AbstractContextManager[None]:
        """Allow staging for a query: what is staged is gone afterwards."""

    def about(self, table: str) -> int:
        """Give about how many rows a table has, without counting them."""

    def tables(self) -> frozenset[str]:
        """Give the names of all tables."""

    def close(self) -> None:
        """Close the connection; twice is fine."""


def connect(url: str, mode: Mode) -> Database:
    """Connect to the database at a URL: ``sqlite:///path`` or ``postgresql://user@host:port/database``.

    Raises
    ------
    ProjectError
        PST-G002 if it cannot be used, with what to do.
    """
    if is_postgres(url):
        from prestow.registry.postgres import Postgres

        return Postgres(url, mode)
    return SQLite(sqlite_path(url), mode)


def is_postgres(url: str) -> bool:
    """Say whether a URL is PostgreSQL's.

    Examples
    --------
    >>> is_postgres("postgresql://me@there/survey"), is_postgres("sqlite:///registry.db")
    (True, False)
    """
    return url.startswith(("postgresql://", "postgres://"))


def whole(db: Database, work: Callable[[], Result]) -> Result:
    """Do some work in one transaction, and again if the database gave it up for another's.

    Raises
    ------
    GivenUp
        If that happened `TRIES` times.
    """
    for left in reversed(range(TRIES)):
        try:
            with db.transaction():
                return work()
        except GivenUp:
            if not left:
                raise
    raise AssertionError


def sqlite_path(url: str) -> str:
    """Give the file of ``sqlite:///path``: everything after the three slashes, as it stands.

    Raises
    ------
    ProjectError
        If the URL is of another kind.
    """
    prefix = "sqlite:///"
    if not url.startswith(prefix) or len(url) == len(prefix):
        kind = url.partition(":")[0]
        raise ProjectError(
            Problem(
                "PST-G002",
                f"no driver for a registry at '{kind}:…'",
                "the registry's URL",
                "write sqlite:///path/of/registry.db or postgresql://user@host:port/database",
            )
        )
    return os.path.abspath(url[len(prefix) :])


def file_system(path: str, mounts: str = "/proc/mounts") -> str:
    """Give the type of the file system that holds a path, or an empty text if unknown."""
    real = os.path.realpath(path)
    best, kind = "", ""
    try:
        with open(mounts, encoding="utf-8", errors="surrogateescape") as lines:
            for line in lines:
                fields = line.split(" ")
                point = _unescape(fields[1])
                inside = real == point or real.startswith(point.rstrip("/") + "/")
                if inside and len(point) >= len(best):
                    best, kind = point, fields[2]
    except (OSError, IndexError):
        return ""
    return kind


def _unescape(text: str) -> str:
    for code, character in (("\\040", " "), ("\\011", "\t"), ("\\012", "\n"), ("\\134", "\\")):
        text = text.replace(code, character)
    return text


def check_file(path: str, mode: Mode) -> None:
    """Refuse a file that cannot be the database of a registry, before any library sees it.

    Raises
    ------
    ProjectError
        PST-G002, with what to do.
    """
    parent = os.path.dirname(path)
    what, fix = "", ""
    if os.path.isdir(path):
        what, fix = "the registry is a directory, not a file", "give the path of a file"
    elif not os.path.isdir(parent):
        what, fix = f"there is no directory {parent}", "make it, or check the path"
    elif not os.path.exists(path):
        if mode is not Mode.CREATE:
            what, fix = "there is no registry", NONE_THERE
        elif not os.access(parent, os.W_OK):
            what, fix = "the directory is not writable", "check its permissions"
    elif not os.access(path, os.R_OK):
        what, fix = "the registry is not readable", "check its permissions"
    elif mode is not Mode.READ and not (os.access(path, os.W_OK) and os.access(parent, os.W_OK)):
        what, fix = "the registry, or its directory, is not writable", "check the permissions of both"
    elif mode is not Mode.CREATE or os.path.getsize(path):
        with open(path, "rb") as stream:
            if stream.read(len(_MAGIC)) != _MAGIC:
                what, fix = (
                    "the file is not a registry",
                    "check the path, or make a new one with: prestow init",
                )
    if not what and (kind := file_system(path)) in _NETWORK:
        what = f"SQLite cannot be trusted on a network file system ({kind})"
        fix = "put the registry on a local disk"
    if what:
        raise ProjectError(Problem("PST-G002", what, path, fix))


class SQLite:
    """A `Database` in one file."""

    dialect: Dialect = "sqlite"

    def __init__(self, path: str, mode: Mode) -> None:
        check_file(path, mode)
        self.where = path
        self.mode = mode
        self._lock = threading.RLock()
        options = f"mode={mode}"
        if mode is Mode.READ and not os.access(os.path.dirname(path), os.W_OK) and not _has_log(path):
            options = "immutable=1"  # no place for the shared index, and nothing in a log
        self._connection = self._connect(options)
        self.execute(f"PRAGMA busy_timeout={BUSY_MS}")
        self.execute("PRAGMA foreign_keys=ON")
        self.execute(f"PRAGMA cache_size=-{CACHE_KB}")
        self.execute("PRAGMA temp_store=MEMORY")
        if mode is not Mode.READ:
            if not (found := self.tables()) or "meta" in found:  # another program's is left as it is
                self.execute("PRAGMA journal_mode=WAL")
            self.execute("PRAGMA synchronous=FULL")

    def _connect(self, options: str) -> Any:
        import adbc_driver_manager
        from adbc_driver_sqlite import dbapi

        try:
            return dbapi.connect(f"file:{quote(self.where)}?{options}", autocommit=True)
        except adbc_driver_manager.Error as error:
            raise self._refused(error) from error

    def _refused(self, error: Exception) -> ProjectError:
        text = str(error).splitlines()[0]
        fix = "look at the file and its directory; a registry can be made again from its store"
        if "locked" in text or "busy" in text:
            fix = "another command is writing; try again when it has ended"
        elif "readonly" in text:
            fix = "open it for writing"
        elif "full" in text or ("disk I/O error" in text and self._no_room()):
            return ProjectError(Problem("PST-R002", text, self.where, "make room, then do the same again"))
        return ProjectError(Problem("PST-G002", text, self.where, fix))

    def _no_room(self) -> bool:
        """Say whether the disk lacks room for the shared index; SQLite calls that an I/O error."""
        try:
            disk = os.statvfs(os.path.dirname(self.where))
        except OSError:
            return False
        return disk.f_bavail * disk.f_frsize < _INDEX

    @contextlib.contextmanager
    def _cursor(self) -> Iterator[Any]:  # Any: ADBC has no types
        import adbc_driver_manager

        with self._lock, self._connection.cursor() as cursor:
            try:
                yield cursor
            except adbc_driver_manager.IntegrityError:
                raise
            except adbc_driver_manager.Error as error:
                raise self._refused(error) from error

    def execute(self, sql: str, *values: object) -> None:
        """Run one statement."""
        with self._cursor() as cursor:
            cursor.execute(sql, values or None)

    def changed(self) -> int:
        """Give how many rows the last INSERT, UPDATE or DELETE touched."""
        return int(self.rows("SELECT changes()")[0][0])

    def query(self, sql: str, *values: object) -> Any:
        """Run one query; give its result in whatever types the driver saw."""
        with self._cursor() as cursor:
            cursor.adbc_statement.set_options(**{"adbc.sqlite.query.batch_rows": _ALL_ROWS})
            cursor.execute(sql, values or None)
            return cursor.fetch_arrow_table()

    def rows(self, sql: str, *values: object) -> list[tuple[Any, ...]]:
        """Run one small query; give its rows."""
        table = self.query(sql, *values)
        return list(zip(*(column.to_pylist() for column in table.columns), strict=True))

    def stage(self, name: str, table: Any) -> None:
        """Load a table into a temporary one of that name; inside a transaction."""
        with self._cursor() as cursor:
            cursor.adbc_ingest(name, table, mode="create", temporary=True)

    @contextlib.contextmanager
    def transaction(self) -> Iterator[None]:
        """Hold the write lock from the first statement; commit at the end, or roll all back."""
        with self._lock:
            self.execute("BEGIN IMMEDIATE")
            try:
                yield
                self.execute("COMMIT")
            except BaseException:
                with contextlib.suppress(ProjectError):  # SQLite rolls some failures back itself
                    self.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def scratch(self) -> Iterator[None]:
        """Allow staging for a query: what is staged is gone afterwards."""
        with self._lock:
            self.execute("BEGIN")
            try:
                yield
            finally:
                self.execute("ROLLBACK")

    def about(self, table: str) -> int:
        """Give about how many rows a table has, without counting them."""
        return int(self.rows(f"SELECT coalesce(max(rowid), 0) FROM {table}")[0][0])

    def tables(self) -> frozenset[str]:
        """Give the names of all tables."""
        return frozenset(name for (name,) in self.rows("SELECT name FROM sqlite_master WHERE type = 'table'"))

    def close(self) -> None:
        """Close the connection; twice is fine."""
        with self._lock:
            if self._connection is not None:
                self._connection.close()
                self._connection = None


def _has_log(path: str) -> bool:
    try:
        return os.path.getsize(path + "-wal") > 0
    except OSError:
        return False
