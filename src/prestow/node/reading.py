"""Which of its inputs a task took: what was staged and never taken was staged in vain."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from prestow.model import State
from prestow.node.inputs import Seen
from prestow.tasks import Input

Key = tuple[str, str]  # connection, dataset id


class WatchedInput(Input):
    """An input that notes when its path is taken, by whatever way: read, handed to a command, unpacked."""

    _notes: tuple[set[Key], Key]

    @classmethod
    def of(cls, item: Input, taken: set[Key], key: Key) -> WatchedInput:
        """Watch an input: ``key`` goes into ``taken`` once its path is."""
        watched = cls(*item)
        watched._notes = taken, key
        return watched

    def _note(self) -> None:
        taken, key = self._notes
        taken.add(key)

    @property
    def path(self) -> Path:
        """Where it is in the local repository."""
        self._note()
        path: Path = tuple.__getitem__(self, 2)  # type: ignore[assignment]  # the third field of an input
        return path

    def __iter__(self) -> Iterator[Any]:
        self._note()
        return tuple.__iter__(self)

    def __getitem__(self, index: Any) -> Any:
        self._note()
        return tuple.__getitem__(self, index)

    def __reduce__(self) -> tuple[Any, ...]:
        return Input, tuple(self)  # another process cannot tell this one what it reads


def reads_of(seen: Sequence[Seen], taken: Iterable[Key]) -> dict[str, dict[str, Any]]:  # Any: JSON values
    """Say for each connection how many inputs were staged, their bytes, and which of them were never taken.

    Examples
    --------
    >>> reads_of([], [])
    {}
    """
    known = frozenset(taken)
    result: dict[str, dict[str, Any]] = {}  # Any: JSON values
    for s in seen:
        if s.state != State.MADE:
            continue
        one = result.setdefault(s.connection, {"staged": 0, "bytes": 0, "unread": []})
        one["staged"] += 1
        one["bytes"] += s.size
        if (s.connection, s.item.id) not in known:
            one["unread"].append([s.item.id, s.size])
    return result
