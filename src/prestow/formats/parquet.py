"""Parquet: tables, with the story in the file's key-value metadata under ``prestow``.

**The content digest** is taken from names, types and metadata of the columns (units) and from their
values, as `prestow.formats.parquet_content` defines. Row groups, compression, encodings and the
story are not in it.

Columns are of truth values, numbers, text, bytes, times, decimals, and lists or structs of these.
Arrow is imported when a file is touched: a node without Parquet pays nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO

from prestow.errors import Problem, TaskError
from prestow.formats import Stamped, Story


class Parquet:
    """A Parquet file of one table. Damage is a `TaskError` with PST-N008 that says where.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory, "stars.parquet")
    ...     Parquet().write(path, {"id": [1, 2], "flux": [3.5, None]})
    ...     Parquet().check_columns(path, [("id", "int64"), ("flux", "float64")])
    ...     Parquet().read(path)["flux"].to_pylist()
    [3.5, None]
    """

    name = "parquet"
    suffix = ".parquet"
    carrier = "metadata of the file, key prestow"

    def stamp(self, source: Path, sink: BinaryIO, story: Story) -> Stamped:
        """Write the table anew with its story, always the same bytes for the same table.

        One row group after the other, so that a large table is never in memory as a whole.
        """
        return _with_arrow(source).stamp(source, sink, story)  # type: ignore[no-any-return]  # imported late

    def read_story(self, path: Path) -> Story | None:
        """Give the story of a file, or None if it has none; the columns are not read."""
        return _with_arrow(path).read_story(path)  # type: ignore[no-any-return]  # imported late

    def content_digest(self, path: Path) -> str:
        """Give the SHA-256 of columns, units and values (`prestow.formats.parquet_content`)."""
        return _with_arrow(path).content_digest(path)  # type: ignore[no-any-return]  # imported late

    def check(self, path: Path) -> None:
        """Raise PST-N008 if the file is torn, a page is damaged, or a column cannot be stamped."""
        self.content_digest(path)

    def check_columns(self, path: Path, columns: Sequence[tuple[str, str]]) -> None:
        """Raise PST-N008, with every difference, if names, order or types are not those declared."""
        _with_arrow(path).check_columns(path, columns)

    def read(self, path: Path, as_: str | None = None) -> Any:
        """Read as ``arrow`` (a `pyarrow.Table`, the default), ``astropy`` or ``numpy`` (structured).

        Units and descriptions are those of the fields' metadata ``unit`` and ``description``. In
        ``astropy`` nulls are masked; for ``numpy`` nulls of floating columns are NaN, and others
        are refused.
        """
        return _with_arrow(path).read(path, as_)

    def write(self, path: Path, value: Any) -> None:
        """Write an Arrow or astropy table, a structured array or a mapping of columns to a new file.

        Also whatever exports its columns to Arrow, such as a frame of Polars.
        """
        _with_arrow(path).write(path, value)


def _with_arrow(path: Path) -> Any:
    try:
        from prestow.formats import parquet_arrow
    except ImportError as error:
        what = f"Parquet needs pyarrow ({error})"
        raise TaskError(Problem("PST-N008", what, str(path), "pip install pyarrow")) from error
    return parquet_arrow
