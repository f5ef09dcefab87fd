"""Two registries, table by table: which rows one of them has and the other has not."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from prestow.registry import Registry
from prestow.registry.relating import OVERLAP, SHARDS

COMPUTED = tuple(f"relation_{name}" for name in (OVERLAP, SHARDS))
"""Tables that are brought up to date only when somebody asks: a registry made again may have more of them."""

EXAMPLES = 3
"""Rows that are given of each side."""

Row = Sequence[Any]  # Any: what a database holds
Dump = Mapping[str, Sequence[Row]]


@dataclass(frozen=True, slots=True)
class TableDifference:
    """A table that is not the same in both.

    Parameters
    ----------
    table : str
        As in `Registry.dump`.
    only_rebuilt, only_other : int
        Rows that the other one has not.
    rebuilt, other : tuple
        The first of them.
    """

    table: str
    only_rebuilt: int
    only_other: int
    rebuilt: tuple[Row, ...]
    other: tuple[Row, ...]

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "table": self.table, "only_rebuilt": self.only_rebuilt, "only_other": self.only_other,
            "rebuilt": [list(row) for row in self.rebuilt], "other": [list(row) for row in self.other],
        }  # fmt: skip


def differences(rebuilt: Registry, other: Registry) -> tuple[TableDifference, ...]:
    """Give the tables in which a rebuilt registry and another one differ; none if they are equal."""
    return dump_differences(rebuilt.dump(), other.dump())


def dump_differences(rebuilt: Dump, other: Dump) -> tuple[TableDifference, ...]:
    """Give the tables in which two dumps differ.

    Examples
    --------
    >>> dump_differences({"deleted": [["a"], ["b"]]}, {"deleted": [["b"], ["c"]]})[0].other
    (('c',),)
    """
    found = []
    for table in sorted(set(rebuilt) | set(other)):
        ours, theirs = (Counter(map(tuple, dump.get(table, ()))) for dump in (rebuilt, other))
        more, less = ours - theirs, theirs - ours
        if table in COMPUTED:
            more = Counter()
        if more or less:
            examples = (tuple(sorted(rows, key=repr)[:EXAMPLES]) for rows in (more, less))
            found.append(TableDifference(table, more.total(), less.total(), *examples))
    return tuple(found)
