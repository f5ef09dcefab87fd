"""How closely an account looks at files."""

from __future__ import annotations

import re
from dataclasses import dataclass

from prestow.errors import Problem, ProjectError

_LARGEST = 1 << 32


@dataclass(frozen=True, slots=True)
class Depth:
    """How closely files are looked at: of which share of them all bytes are read.

    Of every file the size and the story are compared with its receipt. Which files a share is, follows from
    their ids: the same ones each time.

    Examples
    --------
    >>> Depth.parse("sample:5%"), str(Depth.parse("full"))
    (Depth(name='sample', share=0.05), 'full')
    """

    name: str = "receipt"
    share: float = 0.0

    @classmethod
    def parse(cls, text: str) -> Depth:
        """Read ``receipt``, ``sample``, ``sample:5%`` or ``full``.

        Raises
        ------
        ProjectError
            PST-A003 if it is none of these.
        """
        if text == "receipt":
            return cls()
        if text == "full":
            return cls("full", 1.0)
        match = re.fullmatch(r"sample(?::(\d+(?:\.\d+)?)%)?", text)
        share = float(match[1] or 5) / 100 if match else 0.0
        if not 0 < share <= 1:
            fix = "receipt, sample:5% (of the files, more than 0 and up to 100), or full"
            raise ProjectError(Problem("PST-A003", f"'{text}' is no level", "--level", fix))
        return cls("sample", share)

    def digests(self, key: bytes) -> bool:
        """Say whether all bytes of the file of this dataset are read."""
        return int.from_bytes(key[-4:]) < self.share * _LARGEST

    def __str__(self) -> str:
        return (
            f"sample:{self.share:.4%}".rstrip("0%").rstrip(".") + "%" if self.name == "sample" else self.name
        )
