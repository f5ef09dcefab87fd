"""What stands in a line from raw data to a product: the points, and what joins them."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from prestow.model import DataId
from prestow.model.hashing import canonical_json

ROOT = "root"
"""State of a dataset that nothing here made."""

UNKNOWN = "unknown"
"""State of what is only named somewhere, where nothing that knows more is left."""


@dataclass(frozen=True, slots=True)
class Point:
    """One dataset; or, where ``type`` is empty, a quantum that made nothing.

    Parameters
    ----------
    id : str
        UUID of the dataset, or of the quantum.
    type, data_id, run : str
        What it is; ``data_id`` is canonical JSON.
    state, code : str
        ``root``, ``made``, ``declined``, ``lost``, ``blocked``, ``failed``, ``pending``, ``reused``,
        ``deleted`` or ``unknown``; and why it is absent.
    task, quantum, job, attempt, recipe, receipt : str
        Who made it, or shall; empty where not known, or where nobody did. ``recipe`` is the actual
        one of what is made, else the planned one; ``receipt`` is the name of its receipt.
    store, path, sha256, format : str
        Where its bytes are, or will be.
    by : str
        Who says so: ``registry``, ``plan``, ``receipt`` or ``story``.
    """

    id: str
    type: str = ""
    data_id: str = "{}"
    run: str = ""
    state: str = UNKNOWN
    code: str = ""
    task: str = ""
    quantum: str = ""
    job: str = ""
    attempt: str = ""
    recipe: str = ""
    receipt: str = ""
    store: str = ""
    path: str = ""
    sha256: str = ""
    format: str = ""
    by: str = ""

    @property
    def there(self) -> bool:
        """Whether its bytes were committed, here or in a parent run."""
        return self.state in (ROOT, "made", "reused")

    @property
    def open(self) -> bool:
        """Whether it may still be made."""
        return self.state in ("failed", "pending")

    @property
    def values(self) -> dict[str, str | int]:
        """Its data ID as plain values."""
        plain: dict[str, str | int] = json.loads(self.data_id)
        return plain

    @property
    def state_words(self) -> str:
        """Its state, and why."""
        return f"{self.state}:{self.code}" if self.code else self.state

    def __str__(self) -> str:
        return f"{self.type or self.task}{{{DataId(self.values)}}}" if self.type or self.task else self.id

    @property
    def typed(self) -> str:
        """Its name as words of a command line."""
        if not self.type:
            return self.job or self.id
        return " ".join([self.type, *(shlex.quote(f"{k}={v}") for k, v in sorted(self.values.items()))])

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        plain = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**plain, "data_id": self.values}


@dataclass(frozen=True, slots=True)
class Step:
    """One planned input: ``reader`` was to be made from ``input``, and it was so, or why not."""

    reader: str
    connection: str
    input: str
    state: str = ""
    code: str = ""
    sha256: str = ""

    def as_dict(self) -> dict[str, str]:
        """Give it as plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def data_id_text(values: Mapping[str, Any] | str) -> str:  # Any: values of a data ID
    """Give a data ID as canonical JSON, whatever it came as."""
    return values if isinstance(values, str) else canonical_json(dict(values))


def counted(states: Iterable[str]) -> str:
    """Give states with how often each is there, more than once as a number.

    Examples
    --------
    >>> counted(["declined:cloudy", "lost:failed", "lost:failed"])
    'declined:cloudy, 2 lost:failed'
    """
    counts: dict[str, int] = {}
    for state in states:
        counts[state] = counts.get(state, 0) + 1
    return ", ".join(state if n == 1 else f"{n} {state}" for state, n in counts.items())
