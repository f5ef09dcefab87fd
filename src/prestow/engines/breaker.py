"""When to stop: one cause that fails too many jobs of a kind, or one host that fails nearly all it gets.

Counted are jobs, by how their last try in this run ended; a job that succeeds after all counts no more.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

_NUMBERS = re.compile(r"[0-9]+")

SHARE = 0.2
"""Which share of the jobs of a label that ended may fail of one cause."""

LEAST = 20
"""So many must have failed of it before that says anything."""

HOST_LEAST = 5
"""So many must have failed on a host before that says anything."""

HOST_SHARE = 0.8
"""Which share of its jobs a host must fail to be called bad."""

MOST = 10_000
"""Messages of which the cause is remembered."""

OTHERS = 3
"""So many must have ended elsewhere to compare with."""


@dataclass(frozen=True, slots=True)
class Tripped:
    """One cause that stopped the jobs of a label.

    Parameters
    ----------
    label : str
        The task, or the cluster of tasks, of which no more jobs begin.
    cause : str
        What their failures have in common.
    failed, ended : int
        Jobs that failed of it, of those that ended.
    job : str
        One of them.
    """

    label: str
    cause: str
    failed: int
    ended: int
    job: str = ""

    def __str__(self) -> str:
        return f"{self.failed:,} of {self.ended:,} {self.label} jobs failed alike, no more are begun: {self.cause}"

    def as_dict(self) -> dict[str, str | int]:
        """Give it as plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def cause_of(code: str, message: str, data_id: str = "") -> str:  # noqa: ARG001 - others look at it
    """Give the cause of a failure: its code, and the message without numbers.

    Examples
    --------
    >>> cause_of("PST-N007", "ValueError: 3 stars in 12.fits")
    '[PST-N007] ValueError: <n> stars in <n>.fits'
    """
    return f"[{code}] {_NUMBERS.sub('<n>', message)}"


@dataclass
class Breaker:
    """Counts how jobs end, and says when that is enough.

    Parameters
    ----------
    share : float
        Above this share of one cause among the jobs of a label that ended it is enough.
    least : int
        But not before so many failed of it.
    cause_of : callable
        Gives the cause of a failure by its code, message and data ID; alike where failures are.

    Examples
    --------
    >>> breaker = Breaker(0.2, least=2)
    >>> for job in range(4):
    ...     breaker.good(job, "isr", "node1")
    >>> breaker.bad(4, "isr", "node1", "no stars")
    >>> breaker.trips("isr", "no stars")
    False
    >>> breaker.bad(5, "isr", "node1", "no stars")
    >>> breaker.trips("isr", "no stars")
    True
    """

    share: float = SHARE
    least: int = LEAST
    cause_of: Callable[[str, str, str], str] = cause_of
    _causes: dict[tuple[str, str], str] = field(default_factory=dict)  # what is alike but for numbers has one
    _last: dict[int, tuple[str, str, str]] = field(default_factory=dict)  # job -> label, host, cause or ""
    _ended: Counter[str] = field(default_factory=Counter)
    _failed: Counter[tuple[str, str]] = field(default_factory=Counter)
    _on_host: Counter[str] = field(default_factory=Counter)
    _failed_on: Counter[str] = field(default_factory=Counter)

    def cause(self, code: str, message: str, data_id: str) -> str:
        """Give the cause of a failure."""
        key = code, _NUMBERS.sub("0", message)
        if key not in self._causes:
            if len(self._causes) >= MOST:
                self._causes.clear()
            self._causes[key] = self.cause_of(code, message, data_id)
        return self._causes[key]

    def good(self, job: int, label: str, host: str) -> None:
        """Count a job that settled all that it could."""
        self._count(job, label, host, "")

    def bad(self, job: int, label: str, host: str, cause: str) -> None:
        """Count a job of which a quantum failed."""
        self._count(job, label, host, cause)

    def _count(self, job: int, label: str, host: str, cause: str) -> None:
        self.forget(job)
        self._last[job] = (label, host, cause)
        self._ended[label] += 1
        if cause:
            self._failed[label, cause] += 1
        if host:
            self._on_host[host] += 1
            self._failed_on[host] += bool(cause)

    def forget(self, job: int) -> None:
        """Count a job no more: it is tried again elsewhere."""
        last = self._last.pop(job, None)
        if last is None:
            return
        label, host, cause = last
        self._ended[label] -= 1
        if cause:
            self._failed[label, cause] -= 1
        if host:
            self._on_host[host] -= 1
            self._failed_on[host] -= bool(cause)

    def trips(self, label: str, cause: str) -> bool:
        """Say whether one cause is above the share."""
        return self._failed[label, cause] >= self.least and self.suspicious(label, cause)

    def suspicious(self, label: str, cause: str) -> bool:
        """Say whether it would be above the share, were there enough jobs to say so."""
        return self._failed[label, cause] > self.share * self._ended[label]

    def counts(self, label: str, cause: str) -> tuple[int, int]:
        """Give how many jobs of a label failed of a cause, and how many ended."""
        return self._failed[label, cause], self._ended[label]

    def bad_host(self, host: str) -> bool:
        """Say whether a host fails nearly all that it gets, and others do not."""
        failed, ended = self._failed_on[host], self._on_host[host]
        if failed < HOST_LEAST or failed < HOST_SHARE * ended:
            return False
        others = sum(self._on_host.values()) - ended
        elsewhere = sum(self._failed_on.values()) - failed
        return others >= OTHERS and elsewhere <= (1 - HOST_SHARE) * others

    def failed_on(self, host: str) -> list[int]:
        """Give the jobs of which the last try failed on a host, in order."""
        return sorted(job for job, (_, where, cause) in self._last.items() if where == host and cause)
