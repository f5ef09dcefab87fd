"""What may be wrong between a registry and the disk, and what looking came to."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from prestow.errors import Problem, ProjectError

KINDS = (
    ABSENT := "absent",
    SIZE := "other size",
    CHANGED := "other bytes",
    MOVED := "moved",
    STORE_GONE := "store gone",
    PAPER_GONE := "paper gone",
    UNREGISTERED := "unregistered",
    RETURNED := "returned",
    BYTES_GONE := "bytes gone",
    DELETED := "deleted",
)
"""What may be wrong: as seen from the registry, and then as seen from the disk."""

FIXED_BY = {
    ABSENT: "its place is taken out of the registry; that it was committed stays known",
    SIZE: "its place is taken out of the registry; that it was committed stays known",
    CHANGED: "its place is taken out of the registry; that it was committed stays known",
    MOVED: "the registry gets the name that it has now",
    UNREGISTERED: "it is taken in by its receipt or record",
    RETURNED: "its place is put in again, by its receipt or record",
    DELETED: "its rows are taken out: it was deleted on purpose",
}
"""How ``--fix`` follows the files; for the others a person is needed."""

WHAT = {
    ABSENT: "registered, and no file is there",
    SIZE: "registered with another size than its file has",
    CHANGED: "registered with other bytes than its file has",
    MOVED: "registered at a name where nothing is; its bytes are at another one",
    UNREGISTERED: "committed and there, and not registered",
    RETURNED: "known to lie nowhere, and its bytes are there",
    BYTES_GONE: "committed, not registered, and no file is there",
    PAPER_GONE: "registered, and its receipt or record is not there",
    STORE_GONE: "nothing is where a store is said to be",
    DELETED: "registered, and deleted on purpose",
}
"""Each in words."""


@dataclass(frozen=True, slots=True)
class Fault:
    """One disagreement.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    store, path : str
        Where it is, or ought to be; of a store alone the path is empty.
    id, type, run : str
        The dataset, or of a quantum that made nothing its id alone.
    found : str
        Where its bytes are, if they moved.
    """

    kind: str
    store: str
    path: str
    id: str = ""
    type: str = ""
    run: str = ""
    found: str = ""

    def as_dict(self) -> dict[str, str]:
        """Give it as plain values, with what it means and what mends it."""
        facts = {
            name: getattr(self, name) for name in ("kind", "store", "path", "id", "type", "run", "found")
        }
        return {**facts, "what": WHAT[self.kind], "fix": FIXED_BY.get(self.kind, "")}


@dataclass(frozen=True, slots=True)
class Checked:
    """What holding registry and disk against each other came to.

    Parameters
    ----------
    sums : str
        Of which files the digest was taken anew.
    registered, size : int
        Places that were looked at, and their bytes as registered.
    summed : int
        Files whose digest was taken.
    settled : int
        Receipts on disk.
    gone : int
        Datasets of which it is known that they lie nowhere, here or since an earlier ``--fix``.
    uncommitted : int
        Files that no receipt or record speaks of.
    faults : tuple of Fault
        All that is wrong, by kind and path.
    fixed : tuple of Fault
        Those that were mended.
    """

    sums: str
    registered: int = 0
    size: int = 0
    summed: int = 0
    settled: int = 0
    gone: int = 0
    uncommitted: int = 0
    faults: tuple[Fault, ...] = ()
    fixed: tuple[Fault, ...] = field(default=())

    @property
    def left(self) -> tuple[Fault, ...]:
        """What is wrong still."""
        fixed = set(self.fixed)
        return tuple(fault for fault in self.faults if fault not in fixed)

    @property
    def counts(self) -> dict[str, int]:
        """How many of each kind."""
        found = Counter(fault.kind for fault in self.faults)
        return {kind: found[kind] for kind in KINDS if found[kind]}

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "sums": self.sums, "registered": self.registered, "size": self.size, "summed": self.summed,
            "settled": self.settled, "gone": self.gone, "uncommitted": self.uncommitted, "counts": self.counts,
            "faults": [fault.as_dict() for fault in self.faults], "fixed": [fault.as_dict() for fault in self.fixed],
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Sums:
    """Of which files the digest is taken anew: a share of them, drawn by lot."""

    share: float = 0.0
    text: str = "none"

    @classmethod
    def parse(cls, text: str) -> Sums:
        """Read ``none``, ``full`` or ``sample:5%``.

        Raises
        ------
        ProjectError
            PST-G005 if it is none of these.

        Examples
        --------
        >>> [Sums.parse(text).share for text in ("none", "sample:5%", "full")]
        [0.0, 0.05, 1.0]
        """
        if text in ("none", "full"):
            return cls(1.0 if text == "full" else 0.0, text)
        head, _, percent = text.partition(":")
        try:
            share = float(percent.removesuffix("%")) / 100
        except ValueError:
            share = -1.0
        if head != "sample" or not percent.endswith("%") or not 0 < share <= 1:
            what = f"'{text}' does not say of which files digests are taken"
            raise ProjectError(Problem("PST-G005", what, "--sums", "none, full, or a share: sample:5%"))
        return cls(share, text)
