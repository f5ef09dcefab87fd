"""The report in a few lines of text: the verdict and the causes, the most first."""

from __future__ import annotations

from collections.abc import Mapping

from prestow.results.report.facts import Cause, Report
from prestow.results.report.html import plain

CAUSES = 20
WIDTH = 110


def answer(report: Report) -> str:
    """Say what a run came to: the verdict first, then its causes of failure, named within 25 lines."""
    facts = report.facts
    lines = [f"plan {facts['plan'][:8]}  run {facts['run']}: {report.verdict}"]
    took = [f"{facts['wall_seconds']:,.1f} s by the clock", f"{facts['cpu_seconds']:,.1f} s CPU"]
    lines.append(f"  {facts['jobs']:,} jobs, {facts['tries']:,} tries; {', '.join(took)}")
    if report.causes:
        n = len(report.causes)
        lines.append(
            f"  {report.failures:,} failure{'s' if report.failures != 1 else ''} of {n:,} cause{'s' if n != 1 else ''}:"
        )
        width = max(len(f"{cause.count:,}") for cause in report.causes)
        lines += [_line(cause, width, several=facts["hosts"] > 1) for cause in report.causes[:CAUSES]]
    if len(report.causes) > CAUSES:
        rest = report.causes[CAUSES:]
        lines.append(f"  and {len(rest):,} more causes of {sum(c.count for c in rest):,} failures")
    lines += [f"  note: {note}" for note in report.notes]
    return "\n".join(plain(line).replace("\n", " ") for line in lines)


def _line(cause: Cause, width: int, *, several: bool) -> str:
    where = f"  ({_names(cause.tasks)}{_host(cause) if several else ''}{_now(cause.now)})"
    title = " ".join(plain(cause.title).split())
    room = max(WIDTH - width - len(where), 40)
    return f"  {cause.count:>{width},}  {title if len(title) <= room else title[: room - 1] + '…'}{where}"


def _host(cause: Cause) -> str:
    return (
        f"; only on {next(iter(cause.hosts))}"
        if cause.kind == "cause" and len(cause.hosts) == 1 and cause.count > 1
        else ""
    )


def _now(now: Mapping[str, int]) -> str:
    made = sum(now.get(word, 0) for word in ("made", "reused"))
    return f"; {made:,} made since" if made else ""


def _names(counts: Mapping[str, int], most: int = 3) -> str:
    names = list(counts)
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
