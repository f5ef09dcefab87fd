"""One of several parts of the quanta, so that as many ingesters share the work and none does another's."""

from __future__ import annotations

import re
from dataclasses import dataclass

from prestow.errors import Problem, ProjectError


@dataclass(frozen=True, slots=True)
class Shard:
    """Part ``number``, from 0 on, of ``count``; to which a quantum belongs follows from its id alone.

    Examples
    --------
    >>> shard = Shard.of("1/4")
    >>> shard, [f"{n:08x}-5ca1" in shard for n in range(5)]
    (Shard(number=1, count=4), [False, True, False, False, False])
    """

    number: int
    count: int

    @classmethod
    def of(cls, text: str) -> Shard:
        """Read ``I/N``, with I from 0 to N - 1.

        Raises
        ------
        ProjectError
            PST-G005 for anything else.
        """
        found = re.fullmatch(r"(\d+)/(\d+)", text)
        shard = cls(int(found[1]), int(found[2])) if found else cls(0, 0)
        if shard.number >= shard.count:
            fix = "say 0/4, 1/4, 2/4 and 3/4 for four parts"
            raise ProjectError(Problem("PST-G005", f"no part of several: '{text}'", "--shard", fix))
        return shard

    def __contains__(self, quantum: object) -> bool:
        try:
            return int(str(quantum)[:8], 16) % self.count == self.number
        except ValueError:  # a name that is no quantum's: one tells it
            return self.number == 0

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"
