"""Fresh registries for tests, on each database that prestow knows.

PostgreSQL is tested where ``PRESTOW_TEST_POSTGRES`` has the URL of a database in which schemas may be
made; each registry gets a schema of its own, which is dropped afterwards. ``.ci/postgres.sh`` starts a
server.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from urllib.parse import quote

from prestow.registry.database import Mode, connect

DIALECTS = ("sqlite", "postgresql")

POSTGRES = "PRESTOW_TEST_POSTGRES"

NO_POSTGRES = f"NOT TESTED on PostgreSQL: {POSTGRES} is not set; .ci/postgres.sh start prints a URL"


def testable(dialect: str) -> bool:
    """Say whether there is a database of that dialect to test with."""
    return dialect == "sqlite" or bool(os.environ.get(POSTGRES))


@contextlib.contextmanager
def fresh(dialect: str, directory: str | os.PathLike[str], name: str = "registry") -> Iterator[str]:
    """Give a URL at which there is no registry yet; afterwards it is gone.

    Parameters
    ----------
    dialect : str
        One of `DIALECTS` that is `testable`.
    directory : path
        Where a file goes.
    """
    if dialect == "sqlite":
        yield f"sqlite:///{os.fspath(directory)}/{name}.db"
        return
    server = os.environ[POSTGRES]
    schema = f"test_{os.getpid()}_{secrets.token_hex(6)}"
    with contextlib.closing(connect(server, Mode.WRITE)) as database:
        database.execute(f"CREATE SCHEMA {schema}")
    try:
        joint = "&" if "?" in server else "?"
        yield f"{server}{joint}options={quote(f'-csearch_path={schema}')}"
    finally:
        with contextlib.closing(connect(server, Mode.WRITE)) as database:
            database.execute(f"DROP SCHEMA {schema} CASCADE")
