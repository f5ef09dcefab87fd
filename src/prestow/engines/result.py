"""What a run came to."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from prestow.engines.breaker import Tripped
from prestow.errors import CODES, Exit
from prestow.notebook import counted, states_table

SHOWN = 10
"""Failures that a notebook shows."""


@dataclass(frozen=True, slots=True)
class RunFailure:
    """A quantum that failed, as its last try ended."""

    quantum: str
    task: str
    data_id: str
    job: str
    attempt: str
    tries: int
    code: str
    message: str
    log_tail: tuple[str, ...] = ()
    seconds: float = 0.0

    def __str__(self) -> str:
        head = f"FAILED {self.task} {self.data_id} (try {self.tries}, {self.seconds:.1f} s) [{self.code}] {self.message}"
        return "\n".join((head, *(f"    {line}" for line in self.log_tail)))

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give the failure as plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class RunResult:
    """What a run came to.

    Parameters
    ----------
    tasks : mapping of task to mapping of state to count
        Over the whole plan; states are those of `prestow.model.State`, ``reused`` and ``unneeded``.
    failures : tuple of RunFailure
        Of this run, in the order of the plan.
    jobs : int
        Tries of jobs that were run.
    worker_losses : int
        How often a worker vanished under a job.
    stopped : bool
        It was drained before its end.
    unasked : mapping of task to int
        Quanta that are unsettled and that nobody asked for, with ``only``.
    awaited : int
        Quanta that wait for inputs that are only promised.
    tripped : tuple of Tripped
        Causes that failed too many jobs: no more of their tasks were begun.
    avoided : tuple of str
        Hosts that failed nearly all that they got, and got no more.
    """

    plan: str
    run: str
    tasks: Mapping[str, Mapping[str, int]]
    failures: tuple[RunFailure, ...] = ()
    jobs: int = 0
    worker_losses: int = 0
    seconds: float = 0.0
    stopped: bool = False
    unasked: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    awaited: int = 0
    tripped: tuple[Tripped, ...] = ()
    avoided: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """Quanta by state."""
        total: Counter[str] = Counter()
        for counts in self.tasks.values():
            total.update(counts)
        return dict(total)

    @property
    def losses(self) -> int:
        """Quanta that were lost, or blocked by it, under the plan's policy."""
        return self.counts.get("lost", 0) + self.counts.get("blocked", 0)

    @property
    def settled(self) -> bool:
        """Whether every planned quantum is settled."""
        return not (self.counts.get("failed") or self.counts.get("pending"))

    @property
    def complete(self) -> bool:
        """Whether all that was asked for is settled: of the whole plan, or with ``only`` of a part."""
        unsettled = self.counts.get("failed", 0) + self.counts.get("pending", 0)
        return unsettled == sum(self.unasked.values())

    @property
    def exit_code(self) -> Exit:
        """What a command should exit with; never 0 while anything that was asked for is unsettled."""
        if any(CODES[f.code][1] is Exit.ENVIRONMENT for f in self.failures if f.code in CODES):
            return Exit.ENVIRONMENT
        if self.stopped and not self.complete:
            return Exit.STOPPED
        if self.counts.get("failed") or self.failures:
            return Exit.FAILED
        unsettled = self.counts.get("pending", 0) - sum(self.unasked.values())
        if self.awaited and unsettled == self.awaited:
            return Exit.STOPPED
        if not self.complete:
            return Exit.FAILED
        return Exit.LOSSES if self.losses else Exit.OK

    def __repr__(self) -> str:
        return f"<RunResult of plan {self.plan[:8]}, run {self.run}: {counted(self.counts)}>"

    def _repr_html_(self) -> str:
        caption = f"plan {self.plan[:8]}, run {self.run}: {self.exit_code.name.lower()}, {self.seconds:.1f} s"
        failed = [f"failed: {f.task} {f.data_id} [{f.code}] {f.message}" for f in self.failures[:SHOWN]]
        more = len(self.failures) - SHOWN
        notes = [*failed, *([f"and {more:,} more failures"] if more > 0 else []), *self.notes]
        return states_table(self.tasks, caption=caption, notes=notes)
