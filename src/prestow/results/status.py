"""Where a plan stands: from receipts, and for what is unsettled from attempt reports."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from prestow.model import DataId
from prestow.notebook import counted, states_table
from prestow.plan.retaining import not_needed
from prestow.plan.settled import read_settled
from prestow.plan.slices import rows_at
from prestow.plan.states import WAITING, WORDS, count_states, tasks_of
from prestow.results.papers import jobs_with_reports, oldest_first
from prestow.stores import Store

if TYPE_CHECKING:
    import numpy.typing as npt
    import polars as pl

    from prestow.plan import Plan
    from prestow.plan.settled import Register
    from prestow.results.failures import FailureGroup

STATES = ("made", "declined", "lost", "blocked", "failed", "pending", "reused", "unneeded")


def summed(tasks: Mapping[str, Mapping[str, int]], states: Sequence[str]) -> dict[str, int]:
    """Give the counts of all tasks by state, every state.

    Examples
    --------
    >>> summed({"isr": {"made": 2}, "coadd": {"made": 1, "lost": 1}}, ("made", "lost", "failed"))
    {'made': 3, 'lost': 1, 'failed': 0}
    """
    total = dict.fromkeys(states, 0)
    for counts in tasks.values():
        for state, count in counts.items():
            total[state] = total.get(state, 0) + count
    return total


@dataclass(frozen=True, slots=True)
class StatusFailure:
    """A quantum that is not settled and failed when it was tried."""

    quantum: str
    task: str
    data_id: str
    job: str
    attempts: int
    code: str
    message: str
    log_tail: tuple[str, ...] = ()
    host: str = ""

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give the failure as plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


@dataclass(frozen=True, slots=True)
class Status:
    """Where a plan stands.

    Parameters
    ----------
    tasks : mapping of task to mapping of state to count
        In the order of the pipeline; each task has every state, and they sum to the plan.
    failures : tuple of StatusFailure
        The first ones, in the order of the plan.
    groups : tuple of FailureGroup
        All failures of unsettled quanta, by cause and host, the most first.
    jobs : tuple of str
        The jobs that failed, in the order of the plan.
    submissions : tuple of mapping
        What jobs do that were handed to a queue, as that says; the oldest submission first.
    """

    plan: str
    run: str
    tasks: Mapping[str, Mapping[str, int]]
    failures: tuple[StatusFailure, ...] = field(default=())
    groups: tuple[FailureGroup, ...] = field(default=())
    jobs: tuple[str, ...] = field(default=())
    submissions: tuple[Mapping[str, Any], ...] = field(default=())  # Any: JSON values

    @property
    def counts(self) -> dict[str, int]:
        """Quanta by state, every state."""
        return summed(self.tasks, STATES)

    @property
    def total(self) -> int:
        """All quanta of the plan."""
        return sum(self.counts.values())

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do."""
        return not any(self.counts.get(state) for state in ("failed", "pending", *WAITING))

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give the status as plain values."""
        return {
            "plan": self.plan, "run": self.run, "counts": self.counts, "total": self.total,
            "tasks": {task: dict(counts) for task, counts in self.tasks.items()},
            "failures": [failure.as_dict() for failure in self.failures],
            "groups": [group.as_dict() for group in self.groups], "failed_jobs": len(self.jobs),
            **({"submissions": [dict(one) for one in self.submissions]} if self.submissions else {}),
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"<Status of plan {self.plan[:8]}, run {self.run}: {counted(self.counts)}>"

    def _repr_html_(self) -> str:
        failed = [f"failed: {f.task} {f.data_id} [{f.code}] {f.message}" for f in self.failures]
        return states_table(self.tasks, caption=f"plan {self.plan[:8]}, run {self.run}", notes=failed)


def status(
    plan: Plan,
    store: Store,
    *,
    reuse: pl.DataFrame | None = None,
    failures: int = 10,
    registry: Register | None = None,
    waiting: Mapping[int, str] | None = None,
    submissions: Sequence[Mapping[str, Any]] = (),  # Any: JSON values
) -> Status:
    """Say where a plan stands.

    Parameters
    ----------
    reuse : DataFrame or None
        What `prestow.plan.reuse.reusable` gave: unsettled quanta in it count as ``reused``.
    failures : int
        How many failures to give in full.
    registry : Register or None
        What it has taken in needs no look at receipts.
    waiting : mapping of row to str, optional
        Quanta whose jobs a queue holds or has preempted, with these words.
    submissions : sequence of mapping
        What jobs in a queue do.

    Raises
    ------
    PlanRefusedError
        If the run holds a receipt under another recipe than the plan's (PST-P005).
    """
    settled = read_settled(plan, store, registry=registry)
    codes = settled.states.codes.copy()
    if reuse is not None:
        taken = np.zeros(len(codes), np.bool_)
        taken[reuse["quantum"].to_numpy()] = True
        codes[taken & (codes == 0)] = WORDS.index("reused")
    codes[not_needed(plan, codes == 0)] = WORDS.index("unneeded")
    found: list[StatusFailure] = []
    jobs: tuple[str, ...] = ()
    groups: tuple[FailureGroup, ...] = ()
    open_rows = np.flatnonzero(codes == 0)
    if len(open_rows):
        failed = failed_among(plan, store, open_rows)
        codes[list(failed)] = WORDS.index("failed")
        found = [failed[row] for row in sorted(failed)[:failures]]
        jobs = tuple(dict.fromkeys(failed[row].job for row in sorted(failed)))
        if failed:
            from prestow.results.failing import groups_of

            groups = groups_of(plan, failed.values())
    put_waiting(codes, waiting or {})
    counts = count_states(tasks_of(plan), codes)
    there = (*STATES, *(word for word in WAITING if any(row[word] for row in counts.values())))
    tasks = {task: {state: row[state] for state in there} for task, row in counts.items()}
    return Status(plan.id, plan.run, tasks, tuple(found), groups, jobs, tuple(submissions))


def put_waiting(codes: npt.NDArray[np.uint8], waiting: Mapping[int, str]) -> None:
    """Let quanta that are open, or failed when they were last tried, be what a queue says of their jobs."""
    open_ = (WORDS.index("pending"), WORDS.index("failed"))
    for row, word in waiting.items():  # those that stand out, which are few
        if codes[row] in open_:
            codes[row] = WORDS.index(word)


def failed_among(plan: Plan, store: Store, rows: npt.NDArray[np.int64]) -> dict[int, StatusFailure]:
    """Find, among unsettled quanta, those of which a report tells a failure."""
    part = rows_at(plan.tables, "quanta", rows, ("quantum", "job"))
    numbers = part["job"].unique().sort().to_numpy().astype(np.int64)
    jobs = rows_at(plan.tables, "jobs", numbers, ("job", "name"))
    tried = jobs.filter(jobs["name"].is_in(jobs_with_reports(store, jobs["name"]).implode()))
    own = part.filter(part["job"].is_in(tried["job"].implode()))
    ids = rows_at(plan.tables, "quanta", own["quantum"].to_numpy().astype(np.int64), ("id",))["id"]
    row_of = {str(uuid.UUID(bytes=raw)): row for row, raw in zip(own["quantum"], ids, strict=True)}
    entries: dict[int, list[tuple[str, str, Mapping[str, Any]]]] = {}  # Any: JSON values
    for job in tried["name"]:
        for report in oldest_first(store, job):
            for entry in report.get("quanta", ()):
                row = row_of.get(entry.get("quantum"))
                if row is not None and entry.get("state") == "failed":
                    entries.setdefault(row, []).append((job, str(report.get("host") or ""), entry))
    return {row: _failure(found) for row, found in entries.items()}


def _failure(found: list[tuple[str, str, Mapping[str, Any]]]) -> StatusFailure:  # Any: JSON values
    job, host, entry = found[-1]
    failure: Mapping[str, Any] = next(iter(entry.get("failures", ())), {})
    return StatusFailure(
        quantum=entry["quantum"], task=entry.get("task", ""), data_id=str(DataId(entry.get("data_id", {}))), job=job,
        attempts=len(found), code=failure.get("code", ""), message=failure.get("message", ""),
        log_tail=tuple(failure.get("log_tail", ())), host=host,
    )  # fmt: skip
