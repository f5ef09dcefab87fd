"""An answer to *why*, and how a failure is told."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.results.lineage import Point

if TYPE_CHECKING:
    from prestow.results.failures import FailureGroup
    from prestow.results.recorded import Recorded

LOG_LINES = 20
FEW = 5


@dataclass(slots=True, repr=False)
class Reason:
    """An answer to *why*.

    Parameters
    ----------
    subject : str
        What was asked about.
    state : str
        Its state; of a job, those of its quanta; of a file also ``changed`` or ``debris``.
    lines : list of str
        For people.
    facts : dict
        The same as plain values.
    following : str
        The next command to type.
    """

    subject: str
    state: str
    lines: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)  # Any: JSON values
    following: str = ""

    def __str__(self) -> str:
        return "\n".join(self.lines)

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:  # noqa: FBT001 - IPython's signature; Any: its printer
        printer.text("…" if cycle else str(self))

    def __repr__(self) -> str:
        return f"<Reason {self.subject}: {self.state}>"

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {"subject": self.subject, "state": self.state, **self.facts}


def inputs_text(count: int) -> str:
    """Give a number of inputs in words."""
    return "1 input" if count == 1 else f"{count:,} inputs"


def first_few(names: Sequence[str]) -> str:
    """Give the first of many names, and how many more there are."""
    return ", ".join(names[:FEW]) + (f" and {len(names) - FEW:,} more" if len(names) > FEW else "")


def _on_host(report: Mapping[str, Any]) -> str:  # Any: JSON values
    return f" on host {report['host']}" if report.get("host") else ""


def tell_failure(recorded: Recorded, point: Point, reason: Reason) -> None:
    """Say how it failed the last time: error, host, tries, the end of its log, and how often the same."""
    found = recorded.failures(point)
    if not found:
        reason.lines.append("  no report of an attempt is left: how it failed cannot be told")
        return
    report, failure = found[-1]
    tail = list(failure.get("log_tail", ()))[-LOG_LINES:]
    tries = "once" if len(found) == 1 else f"{len(found)} times"
    reason.lines.append(
        f"  failed {tries}, last{_on_host(report)} after {failure.get('seconds', 0):.2f} s "
        f"(attempt {str(report.get('attempt', ''))[:8]})"
    )
    message = str(failure.get("message", "")).replace("\n", "\n    ")
    reason.lines.append(f"  [{failure.get('code', '')}] {message}")
    if tail:
        reason.lines.append(
            f"  the log's last {len(tail)} lines:" if len(tail) > 1 else "  the log's last line:"
        )
        reason.lines += [f"    {line}" for line in tail]
    reason.facts |= {
        "tries": len(found), "host": report.get("host"), "versions": report.get("versions"), "error": failure.get("code"),
        "message": failure.get("message"), "log_tail": tail, "seconds": failure.get("seconds"),
    }  # fmt: skip
    same = _same_error(recorded, point)
    if same is not None:
        group, of = same
        count = len(group.quanta)
        reason.lines.append(f"  the same error in {count:,} of {of:,} {point.task} quanta")
        others = [job for job in group.jobs if job != point.job]
        if others:
            hosts = ", ".join(f"{host} ({n:,})" for host, n in group.hosts.items())
            reason.lines.append(
                f"    {group.title}: also {first_few(others)}" + (f"; on {hosts}" if hosts else "")
            )
        reason.facts["same_error"] = {"count": count, "of": of}
        reason.facts["group"] = group.as_dict() | {"others": others[:MEMBERS]}


MEMBERS = 100
"""Jobs of a group that an answer names."""


def _same_error(recorded: Recorded, point: Point) -> tuple[FailureGroup, int] | None:
    """Group the last failures of the quanta of a task that are not made; give the group of one, and how many quanta there are."""
    from prestow.results.failures import grouped, tries_of
    from prestow.results.papers import jobs_with_reports

    if recorded.plan is None:
        recorded.note("without the plan, how many quanta have the same error is not known")
        return None
    quanta = recorded.plan.tables.scan("quanta").filter(pl.col("task") == point.task).select("quantum", "job")
    jobs = recorded.plan.tables.scan("jobs").select("job", "name")
    rows = quanta.join(jobs, on="job").collect()
    names = rows["name"].unique(maintain_order=True)
    tried = names if recorded.store is None else jobs_with_reports(recorded.store, names)
    reports = [
        r
        for job in tried
        for r in recorded.reports(job)
        if r.get("run", recorded.plan.run) == recorded.plan.run
    ]
    tries = tries_of(reports).filter(pl.col("task") == point.task)
    last = tries.unique("quantum", keep="last", maintain_order=True).filter(pl.col("state") != "made")
    return next(((g, rows.height) for g in grouped(last) if point.quantum in g.quanta), None)
