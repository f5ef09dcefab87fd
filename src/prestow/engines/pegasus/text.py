"""Documents as Pegasus reads them: YAML in the style of JSON, one entry a line.

JSON is YAML in which every string is quoted, so no hexadecimal digest is taken for a number, and
a document of many jobs is written entry by entry.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import IO, Any, Self

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
