"""What taking outputs in came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prestow.errors import Problem
from prestow.ingest.levels import Level
from prestow.notebook import counted, html_table

if TYPE_CHECKING:
    from prestow.ingest.landing import Landed

SHOWN = 10
"""Problems that a notebook shows."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What taking outputs in came to.

    Parameters
    ----------
    runs : tuple of str
        The runs that were looked at.
    level : Level
        What was asked to be checked.
    verified : mapping of level to int
        How many datasets were looked at by receipt, and how many in full. Those that were registered
        before, and whose files still have their sizes, are not looked at again.
    added, present, deleted : int
        Datasets that are new; that were registered before; and deleted on purpose, which stay so.
    quanta : int
        Settled quanta that are new.
    promoted : int
        Files that had been committed but were not yet at their names.
    size : int
        Bytes of all outputs that were looked at and found good.
    states : mapping of state to int
        How the quanta of these runs were settled.
    refused : int
        How many of them are not taken in, for what is faulty or contradictory.
    faulty : tuple of Problem
        Outputs whose content is not what their receipt says (PST-I003); not taken in.
    contradictory : tuple of Problem
        Committed facts that disagree (PST-I006), also where a quantum read other bytes of an input than
        are committed (PST-I021); nothing was changed for them.
    unexpected : tuple of str
        Files in the directories of these runs that no receipt commits; kept. Not looked for in a shard.
    findings : mapping of kind to int
        What is open for a person to look at in these runs; see `prestow.registry.findings`.
    mended : int
        Archived files that had another mode or group than they are to have, and have it now.
    unprotected : tuple of Problem
        Files whose mode or group could not be set (PST-I037).
    landed : tuple of Landed
        What was committed before, of what jobs had landed whose nodes do not see the store.
    """

    runs: tuple[str, ...]
    level: Level
    verified: dict[str, int] = field(default_factory=dict)
    added: int = 0
    present: int = 0
    deleted: int = 0
    quanta: int = 0
    promoted: int = 0
    size: int = 0
    states: dict[str, int] = field(default_factory=dict)
    refused: int = 0
    faulty: tuple[Problem, ...] = ()
    contradictory: tuple[Problem, ...] = ()
    unexpected: tuple[str, ...] = ()
    findings: dict[str, int] = field(default_factory=dict)
    mended: int = 0
    unprotected: tuple[Problem, ...] = ()
    landed: tuple[Landed, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that is wrong."""
        return (*self.faulty, *self.contradictory)

    @property
    def counts(self) -> dict[str, int]:
        """How many datasets, quanta and files came to what."""
        return {
            "added": self.added, "present": self.present, "deleted": self.deleted, "quanta": self.quanta,
            "promoted": self.promoted, "faulty": len(self.faulty), "contradictory": len(self.contradictory),
            "unexpected": len(self.unexpected),
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"<IngestReport of {', '.join(self.runs) or 'no run'}: {counted(self.counts)}>"

    def _repr_html_(self) -> str:
        caption = f"taken in from {', '.join(self.runs) or 'no run'}, checked by {self.level}"
        notes = [f"[{problem.code}] {problem.what}" for problem in self.problems[:SHOWN]]
        rows = [[name, count] for name, count in {**self.counts, "bytes": self.size}.items()]
        return html_table(["what", "count"], rows, caption=caption, notes=notes)
