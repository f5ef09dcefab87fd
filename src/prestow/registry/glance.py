"""A glance at a registry by the standard library alone: for a shell that waits for completions.

The driver that `prestow.registry.database` uses takes longer to load than a person waits for a
shell. Reads only, never waits for a writer, and gives few rows.
"""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from urllib.parse import quote

from prestow.model.universe import Universe
from prestow.registry.database import sqlite_path

_PATIENCE = 0.1  # seconds


class Glance:
    """Names and values that a registry has; of any number only the first ones.

    Raises
    ------
    sqlite3.Error
        From every method, if the registry cannot be read just now.
    """

    def __init__(self, connection: sqlite3.Connection, universe: Universe) -> None:
        self._connection = connection
        self.universe = universe

    @classmethod
    @contextlib.contextmanager
    def open(cls, url: str, universe: Universe) -> Iterator[Glance]:
        """Open a registry to look at it."""
        where = f"file:{quote(sqlite_path(url))}?mode=ro"
        with contextlib.closing(sqlite3.connect(where, uri=True, timeout=_PATIENCE)) as connection:
            yield cls(connection, universe)

    def dataset_types(self) -> dict[str, tuple[str, ...]]:
        """Give the dimensions of every dataset type."""
        rows = self._connection.execute("SELECT name, dimensions FROM dataset_type ORDER BY name")
        return {name: tuple(json.loads(dimensions)) for name, dimensions in rows}

    def collections(self) -> tuple[str, ...]:
        """Give the names of runs and chains."""
        return tuple(
            name for (name,) in self._connection.execute("SELECT name FROM collection ORDER BY name")
        )

    def values(self, dimension: str, begin: str, given: Mapping[str, object], limit: int) -> Sequence[str]:
        """Give the values of a dimension that begin with a text, beside those that are given."""
        columns = self._columns(f"dimension_{dimension}")
        conditions = [f"CAST(\"{dimension}\" AS TEXT) LIKE ? ESCAPE '!'"]
        escaped = begin.replace("!", "!!").replace("%", "!%").replace("_", "!_")
        values: list[object] = [f"{escaped}%"]
        for name, value in given.items():
            if name in columns and name != dimension:
                conditions.append(f'"{name}" = ?')
                values.append(value)
        rows = self._connection.execute(
            f'SELECT DISTINCT "{dimension}" FROM dimension_{dimension} WHERE {" AND ".join(conditions)} '
            f'ORDER BY "{dimension}" LIMIT {int(limit)}',
            values,
        )
        return [str(value) for (value,) in rows]

    def _columns(self, table: str) -> set[str]:
        return {row[1] for row in self._connection.execute(f"PRAGMA table_info({table})")}
