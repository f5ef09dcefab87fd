"""How closely outputs are looked at: by receipt, a sample in full, or all in full."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from prestow.errors import Problem, ProjectError

SHARE: Final = 0.05
"""Of a sample, if no share is said."""

_BITS: Final = 32


class Level(StrEnum):
    """How closely files are looked at."""

    RECEIPT = "receipt"  # size, and the story in the file
    SAMPLE = "sample"  # a share of the datasets in full, the others by receipt
    FULL = "full"  # and the digest of every byte


@dataclass(frozen=True, slots=True)
class Checking:
    """A level, and of a sample the share that is looked at in full.

    Which datasets these are follows from their ids alone: the same for everyone, each time.

    Examples
    --------
    >>> Checking.of("sample:5%"), str(Checking.of("sample:0.1")), Checking.of("full").share
    (Checking(level=<Level.SAMPLE: 'sample'>, share=0.05), 'sample:10%', 1.0)
    >>> Checking.of("full").in_full("ea49c55a-3728-50b9-9dcd-9f79a977abc2")
    True
    """

    level: Level
    share: float

    @classmethod
    def of(cls, text: Level | str) -> Checking:
        """Read ``receipt``, ``full``, ``sample``, or ``sample:5%``.

        Raises
        ------
        ProjectError
            PST-G005 for anything else.
        """
        word, colon, share = str(text).partition(":")
        number = _share(share) if colon else SHARE
        if word not in set(Level) or number is None or (colon and word != Level.SAMPLE):
            fix = "say receipt, sample, sample:5% or full"
            raise ProjectError(Problem("PST-G005", f"no level of checking: '{text}'", "--level", fix))
        level = Level(word)
        return cls(level, number if level is Level.SAMPLE else float(level is Level.FULL))

    def in_full(self, dataset: str) -> bool:
        """Say whether the dataset of that id is looked at in full."""
        if self.level is Level.SAMPLE:
            return int(dataset[-8:], 16) < self.share * (1 << _BITS)
        return self.level is Level.FULL

    def __str__(self) -> str:
        return f"{self.level}:{100 * self.share:.4g}%" if self.level is Level.SAMPLE else str(self.level)


def _share(text: str) -> float | None:
    """Read ``5%`` or ``0.05``; None if it is no share."""
    try:
        number = float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError:
        return None
    return number if 0 < number <= 1 else None
