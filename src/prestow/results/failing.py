"""What fails now, in groups; which hosts are bad; and the very command that tries it again."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from prestow.results.failures import FailureGroup, grouped

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.results.status import Status, StatusFailure

JOURNAL = "journal.jsonl"
_MEMORY = ("MemoryError", "PST-R003", "_ArrayMemoryError")
"""Exceptions that more memory may help."""


def groups_of(plan: Plan, failures: Iterable[StatusFailure]) -> tuple[FailureGroup, ...]:
    """Group the failures of quanta that are not settled by cause and host.

    What went well, by which a bad host is told from a bad task, is what the journal of the plan says.
    """
    found = list(failures)
    failed = pl.DataFrame(
        {
            "quantum": [f.quantum for f in found], "job": [f.job for f in found], "task": [f.task for f in found],
            "data_id": [f.data_id for f in found], "host": [f.host for f in found], "code": [f.code for f in found],
            "message": [f.message for f in found], "log_tail": ["\n".join(f.log_tail) for f in found],
        },
        schema=dict.fromkeys(("quantum", "job", "task", "data_id", "host", "code", "message", "log_tail"), pl.String),
    )  # fmt: skip
    good = _went_well(plan)
    return grouped(failed if good is None else pl.concat([failed, good], how="diagonal"))


def _went_well(plan: Plan) -> pl.DataFrame | None:
    """Give task and host of the tries of which nothing failed, a row each, by the journal."""
    if plan.directory is None or not (path := plan.directory / JOURNAL).exists():
        return None
    jobs, hosts = _ended(path)
    if not jobs:
        return None
    tries = pl.DataFrame({"job": jobs, "host": hosts}, schema={"job": pl.String, "host": pl.String})
    firsts = plan.tables.scan("jobs").select(job="name", first="first").collect()
    tasks = plan.tables.scan("quanta").select(pl.col("task").cast(pl.String)).collect()["task"]
    firsts = firsts.with_columns(task=tasks.gather(firsts["first"])).select("job", "task")
    return tries.join(firsts, on="job", how="inner").select("job", "task", "host")


def _ended(path: Path) -> tuple[list[str], list[str]]:
    jobs, hosts = [], []
    with path.open("rb") as lines:
        for line in lines:
            if b'"event":"ended"' not in line or b'"failed"' in line:
                continue
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if entry.get("host"):
                jobs.append(entry["job"])
                hosts.append(entry["host"])
    return jobs, hosts


def bad_hosts(groups: Iterable[FailureGroup]) -> tuple[str, ...]:
    """Give the hosts that are causes of their own."""
    return tuple(group.cause for group in groups if group.kind == "host")


def again(plan: Plan, status: Status, word: str = "") -> str:
    """Give the command that puts back what failed, with what its commonest cause asks for, and tries it.

    Parameters
    ----------
    plan : Plan
        More memory is only asked for where it says how much there was.
    word : str
        Names the plan, with a blank before it; empty for the newest.
    """
    parts = [f"prestow retry{word} --failed"]
    if bad_hosts(status.groups):
        parts.append("--avoid-bad-hosts")
    top = status.groups[0] if status.groups else None
    if top is not None and top.exception in _MEMORY and _says_memory(plan, top):
        parts.append("--memory x2")
    return f"{' '.join(parts)} && prestow run{word}"


def _says_memory(plan: Plan, group: FailureGroup) -> bool:
    if "memory" not in plan.tables.columns("jobs"):
        return False
    jobs = plan.tables.scan("jobs").filter(pl.col("name").is_in(list(group.jobs)))
    return not jobs.select(pl.col("memory").is_null().any()).collect().item()


def group_lines(groups: Iterable[FailureGroup], most: int = 5) -> list[str]:
    """Tell groups to people: how many, why, where, and the first data IDs."""
    groups = list(groups)
    lines = []
    for group in groups[:most]:
        hosts = _counted(group.hosts) if group.kind == "cause" else ""
        lines.append(f"  {group.count:,}  {group.title}")
        lines.append(f"      {_counted(group.tasks)}" + (f"; hosts {hosts}" if hosts else ""))
        more = " …" if len(group.quanta) > len(group.first) else ""
        lines.append(f"      first {'; '.join(group.first)}{more}")
    if len(groups) > most:
        lines.append(f"  and {len(groups) - most:,} more causes")
    return lines


def _counted(counts: object, most: int = 4) -> str:
    assert hasattr(counts, "items")
    pairs = list(counts.items())
    return ", ".join(f"{name} ({n:,})" for name, n in pairs[:most]) + (" …" if len(pairs) > most else "")
