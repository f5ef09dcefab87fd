"""Documents as Pegasus reads them: YAML in the style of JSON, one entry a line.

JSON is YAML in which every string is quoted, so no hexadecimal digest is taken for a number, and
a document of many jobs is written entry by entry.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

VERSION = "5.0.4"
"""The version of the schemas, as Pegasus's own Python interface writes it."""

_UNPRINTABLE = re.compile("[\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]")
"""What JSON may hold as it is, and YAML may not."""

_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))


def one_line(value: object) -> str:
    """Give a value as one line.

    Examples
    --------
    >>> one_line({"sha256": "0000e7", "size": "12"})
    '{"sha256":"0000e7","size":"12"}'
    """
    text = _ENCODER.encode(value)
    return _UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class Document:
    """A mapping whose lists are written entry by entry.

    Examples
    --------
    >>> import io
    >>> stream = io.StringIO()
    >>> with Document(stream, {"pegasus": "5.0"}) as document:
    ...     document.entries("jobs", [{"id": "a"}, {"id": "b"}])
    >>> print(stream.getvalue(), end="")
    {"pegasus":"5.0",
    "jobs":[
    {"id":"a"},
    {"id":"b"}
    ]}
    """

    def __init__(self, stream: IO[str], head: Mapping[str, Any]) -> None:  # Any: JSON values
        self._stream = stream
        stream.write("{" + ",\n".join(f"{one_line(k)}:{one_line(v)}" for k, v in head.items()))

    def entries(self, name: str, values: Iterable[Any]) -> None:  # Any: JSON values
        """Write one list; its entries are asked for one by one."""
        self._stream.write(f",\n{one_line(name)}:[")
        comma = "\n"
        for value in values:
            self._stream.write(comma)
            self._stream.write(one_line(value))
            comma = ",\n"
        self._stream.write("\n]")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stream.write("}\n")


class Part:
    r"""A document that is written piece by piece, and is open only while a piece is written.

    Each piece is UTF-8, of entries with a comma and a line feed before each.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory, "workflow.yml")
    ...     part = Part(path, {"pegasus": "5.0"}, "jobs")
    ...     part.add(memoryview(b',\n{"id":"a"},\n{"id":"b"}'))
    ...     part.close()
    ...     print(path.read_text(), end="")
    {"pegasus":"5.0",
    "jobs":[
    {"id":"a"},
    {"id":"b"}
    ]}
    """

    def __init__(self, path: Path, head: Mapping[str, Any], name: str) -> None:  # Any: JSON values
        self._path = path
        self._first = True
        begin = "{" + ",\n".join(f"{one_line(k)}:{one_line(v)}" for k, v in head.items())
        path.write_bytes(f"{begin},\n{one_line(name)}:[".encode())

    def add(self, piece: memoryview) -> None:
        """Write entries."""
        if not len(piece):
            return
        if not _plain(piece):
            text = bytes(piece).decode()
            piece = memoryview(_UNPRINTABLE.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode())
        with self._path.open("ab") as file:
            file.write(piece[1:] if self._first else piece)
        self._first = False

    def entries(self, values: Iterable[Any]) -> None:  # Any: JSON values
        """Write few entries."""
        for value in values:
            self.add(memoryview(f",\n{one_line(value)}".encode()))

    def list(self, name: str) -> None:
        """End the list, and begin another."""
        with self._path.open("ab") as file:
            file.write(f"\n],\n{one_line(name)}:[".encode())
        self._first = True

    def close(self) -> None:
        """End the list and the document."""
        with self._path.open("ab") as file:
            file.write(b"\n]}\n")


def _plain(piece: memoryview) -> bool:
    """Say whether there is nothing but printable ASCII in it, and line feeds."""
    return bool(np.frombuffer(piece, np.uint8).max() < 0x7F)  # noqa: PLR2004 - the last of ASCII
