"""What is given up as lost between two submissions: killed jobs of tolerant tasks, which nobody tries again.

A node seals what it fails at itself. A job that was killed, or removed, left no receipt and no claim, and inside
one submission nobody may decide for it. When that submission has ended, it is decided here, by the same rule as
of other engines: what may be lost, and what something below can do without. What speaks against the site, and not
against the job, is no loss: a checksum, a hold, a program that is missing.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prestow.commit import ATTEMPTS
from prestow.engines.committing import put_loss
from prestow.engines.sealing import NO_LOSS, to_seal
from prestow.engines.submission import Submission
from prestow.errors import CODES, Exit
from prestow.model import DataId, State
from prestow.plan.manifests import manifests
from prestow.plan.settled import read_settled
from prestow.stores import Linkable, Store, Walkable

if TYPE_CHECKING:
    import polars as pl

    from prestow.engines.breaker import Breaker
    from prestow.engines.pegasus.harvest import Look
    from prestow.plan import Plan
    from prestow.plan.settled import Register

NOT_STARTED = ("PST-E074", "PST-E075", "PST-E077")
"""Failures that say nothing of the quantum itself."""


@dataclass(frozen=True, slots=True)
class Failed:
    """How a quantum that is not settled failed the last time, and how often it did."""

    code: str
    message: str
    attempt: str
    tries: int
    data_id: str


def seal_between(
    plan: Plan,
    store: Store,
    found: Look,
    *,
    stores: Mapping[str, str],
    name: str = "archive",
    reuse: pl.DataFrame | None = None,
    registry: Register | None = None,
    breaker: Breaker | None = None,
    dry_run: bool = False,
) -> tuple[str, ...]:
    """Seal what a submission that has ended left behind for good; give task and data ID of each.

    Parameters
    ----------
    found : Look
        What its jobs came to.
    stores : mapping of name to URI
        Every store.
    reuse : DataFrame or None
        What is taken from other runs.
    breaker : Breaker or None
        What fails too many jobs of a task of one cause is nothing to be tolerated.
    dry_run : bool
        Only say what would be.
    """
    if not found.standing.over:
        return ()
    settled = read_settled(plan, store, registry=registry)
    s = Submission.of(plan, settled, reuse=reuse)
    failed = [int(job) for job in found.jobs.filter(found.jobs["state"] == "failed")["job"].unique().sort()]
    failures: dict[int, Failed] = {}
    for job in failed:  # a report each
        if job in s.job_names:
            failures |= _failures_of(store, s, job)
    if breaker is not None:
        _count(breaker, s, found, failures)
    candidates = [row for row, failure in failures.items() if _may_be_lost(s, row, failure, breaker)]
    sealed = []
    for row in to_seal(candidates, needs=s.needs, consumers=s.consumers, standing=s.standing):
        if not dry_run and not _seal(plan, store, s, row, failures[row], stores, name, reuse):
            break  # a late success: what was foreseen is no longer so, and the next submission looks anew
        sealed.append(f"{s.task[row]}({failures[row].data_id}): {failures[row].message}")
    return tuple(sealed)


def _may_be_lost(s: Submission, row: int, failure: Failed, breaker: Breaker | None) -> bool:
    if not s.policies[s.task[row]].tolerate or failure.code in (*NO_LOSS, *NOT_STARTED):
        return False
    if failure.code in CODES and CODES[failure.code][1] is Exit.ENVIRONMENT:
        return False
    if breaker is None:
        return True
    return not breaker.trips(_label(s, row), breaker.cause(failure.code, failure.message, failure.data_id))


def _label(s: Submission, row: int) -> str:
    return s.labels[int(s.job[row])]


def _count(breaker: Breaker, s: Submission, found: Look, failures: Mapping[int, Failed]) -> None:
    labels = s.plan.tables["jobs"]["label"]
    for job, host in found.jobs.filter(found.jobs["state"] == "done").select("job", "host").iter_rows():
        breaker.good(int(job), labels[int(job)], host or "")
    for row, failure in failures.items():
        cause = breaker.cause(failure.code, failure.message, failure.data_id)
        breaker.bad(int(s.job[row]), _label(s, row), "", cause)


def _failures_of(store: Store, s: Submission, job: int) -> dict[int, Failed]:
    """Give how the unsettled quanta of a job failed the last time."""
    if not isinstance(store, Walkable):
        return {}
    found: dict[int, Failed] = {}
    times: Counter[int] = Counter()
    reports = []
    for name, _ in store.walk(f"{ATTEMPTS}/{s.job_names[job]}"):
        try:
            written = store.local_path(name).stat().st_mtime if isinstance(store, Linkable) else 0.0
            reports.append((written, name, json.loads(store.read(name))))
        except (OSError, ValueError):
            continue
    for _, _, report in sorted(reports, key=lambda one: one[:2]):
        for entry in report.get("quanta", ()):
            row = s.row_of.get(entry.get("quantum"))
            failure = next(iter(entry.get("failures", ())), None)
            if row is None or row in s.states or entry.get("state") != "failed" or failure is None:
                continue
            times[row] += 1
            found[row] = Failed(
                str(failure.get("code", "")), str(failure.get("message", "")), str(report.get("attempt", "")), times[row],
                str(DataId(entry.get("data_id", {}))),
            )  # fmt: skip
    return found


def _seal(
    plan: Plan,
    store: Store,
    s: Submission,
    row: int,
    failure: Failed,
    stores: Mapping[str, str],
    name: str,
    reuse: pl.DataFrame | None,
) -> bool:
    """Put the receipt of a loss, unless a late success was faster."""
    manifest = next(manifests(plan, [int(s.job[row])], store=name, stores=stores, reuse=reuse))
    winner = put_loss(store, manifest, s.ids[row], failure)
    s.states[row] = State(winner.state)
    return winner.state == State.LOST
