"""Data IDs: normalised values for a set of dimensions, and the text they have in files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping

from prestow.errors import ConfigurationError, Problem
from prestow.model.hashing import Scalar, canonical_json

_BARE = re.compile(r"[A-Za-z_][A-Za-z0-9._+-]*")
_ITEM = re.compile(r'\s*([a-z][a-z0-9_]*)\s*=\s*("(?:[^"])*"|[^,\s"]+)\s*(?:,|$|(?=\s))')
_BAD = re.compile(r'[\x00-\x1f\x7f"\\\ud800-\udfff]')


def check_value(value: Scalar) -> str | None:
    """Say what is wrong with a value of a data ID, or None.

    Text must not be empty, nor hold control characters, ``"`` or a backslash, nor begin or
    end with a blank: so that its canonical JSON is plain concatenation, also in columns.
    """
    if isinstance(value, bool) or not isinstance(value, str | int):
        return f"must be text or an integer, not {type(value).__name__}"
    if isinstance(value, int):
        return None if -(1 << 63) <= value < 1 << 63 else "does not fit 64 bits"
    if not value:
        return "is empty"
    if value != value.strip():
        return "begins or ends with a blank"
    if _BAD.search(value):
        return "holds a control character, a double quote or a backslash"
    return None


class DataId(Mapping[str, Scalar]):
    """Values for a set of dimensions, sorted by name; immutable, hashable, ordered.

    A `DataId` is normalised: names are the universe's own, values have their types. What a
    person typed is a `prestow.model.universe.RawDataId`; `Universe.normalise` turns one into
    the other. Only a `DataId` can name a file.

    Examples
    --------
    >>> d = DataId({"visit": 12, "instrument": "sim"})
    >>> str(d), d.json()
    ('instrument=sim,visit=12', '{"instrument":"sim","visit":12}')
    >>> DataId.parse(str(d)) == d == DataId.from_json(d.json())
    True
    """

    __slots__ = ("_hash", "_items")

    def __init__(self, values: Mapping[str, Scalar]) -> None:
        for name, value in values.items():
            wrong = check_value(value)
            if wrong:
                raise ConfigurationError(
                    Problem("PST-C026", f"value of {name} {wrong}: {value!r}", f"data ID {dict(values)!r}")
                )
        self._items: dict[str, Scalar] = {name: values[name] for name in sorted(values)}
        self._hash = hash(tuple(self._items.items()))

    def __getitem__(self, name: str) -> Scalar:
        return self._items[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._items)

    def __len__(self) -> int:
        return len(self._items)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, DataId) and self._items == other._items

    def __lt__(self, other: DataId) -> bool:
        return [(n, str(type(v)), v) for n, v in self.items()] < [
            (n, str(type(v)), v) for n, v in other.items()
        ]

    def __repr__(self) -> str:
        return f"DataId({self})"

    def __str__(self) -> str:
        return ",".join(
            f"{n}={v}" if isinstance(v, int) or _BARE.fullmatch(v) else f'{n}="{v}"'
            for n, v in self._items.items()
        )

    def json(self) -> str:
        """Give the canonical JSON: what is hashed, and what stands in files."""
        return canonical_json(self._items)

    @classmethod
    def from_json(cls, text: str) -> DataId:
        """Read what `json` gave."""
        return cls(json.loads(text))

    @classmethod
    def parse(cls, text: str) -> DataId:
        """Read what `str` gave; digits are integers, other bare words and quoted text are text.

        Raises
        ------
        ConfigurationError
            If the text is not a list of ``name=value``.
        """
        values: dict[str, Scalar] = {}
        position = 0
        while position < len(text):
            match = _ITEM.match(text, position)
            if match is None or match[1] in values:
                raise ConfigurationError(
                    Problem(
                        "PST-C026",
                        f"not a data ID: {text!r}",
                        f"column {position + 1}",
                        "write name=value,name=value",
                    )
                )
            raw = match[2]
            if raw.startswith('"'):
                values[match[1]] = raw[1:-1]
            else:
                values[match[1]] = int(raw) if re.fullmatch(r"-?[0-9]+", raw) else raw
            position = match.end()
        return cls(values)
