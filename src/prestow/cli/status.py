"""``prestow status``: the state of every quantum of a plan, in one table that sums."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, table
from prestow.errors import Exit

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.project import Project


@click.command(short_help="Show the state of every quantum of a plan.")
@click.argument("plan", required=False)
@click.option(
    "--exit-code", is_flag=True, help="Exit 5 if anything failed or is blocked, 10 if something was lost."
)
@shared_options
def status(plan: str | None, exit_code: bool, output: Output, directory: Path) -> int:
    """Show how many quanta of each task of PLAN are in which state; always all of them."""
    project = open_project(directory)
    found = project.find_plan(plan or "latest")
    standing = project.status(found)
    rows = list(standing.tasks.items())
    total = standing.counts
    failures = "".join(
        f"\n  FAILED {f.task} {f.data_id} (job {f.job}, {f.attempts} attempts) [{f.code}] {f.message}"
        for f in standing.failures
    )
    output.answer(
        "status",
        standing.as_dict(),
        f"plan {found.id[:8]}  run {found.run}\n"
        + table(
            ("task", *total, "sum"),
            [
                (name, *(n or "." for n in states.values()), sum(states.values()))
                for name, states in (*rows, ("total", total))
            ],
            total=True,
        )
        + failures,
        following=_following(project, found, total),
    )
    if not exit_code:
        return Exit.OK
    if total["failed"] or (total["blocked"] and not total["lost"]):
        return Exit.FAILED
    return Exit.LOSSES if total["lost"] else Exit.OK


def _following(project: Project, plan: Plan, total: dict[str, int]) -> str:
    if total["failed"] or total["pending"]:
        return "prestow run"
    settled_here = sum(total.values()) - total["reused"]
    return (
        "prestow ingest"
        if project.registry.quanta(plan.run).num_rows < settled_here
        else "prestow show --files"
    )
