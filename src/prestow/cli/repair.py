"""``prestow repair``: what was lost, made good in a child run."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.group import open_project, plan_word, shared_options
from prestow.cli.output import Output, count_text, table

if TYPE_CHECKING:
    from prestow.project.repairing import Repair

WORDS = {"lost": "lost", "blocked": "blocked", "without": "made without", "unkept": "needed again"}


@click.command(short_help="Make good what was lost, in a child run.")
@click.argument("plan", required=False, shell_complete=completing.plans)
@click.option("-n", "--dry-run", is_flag=True, help="Only show the plan; nothing is written.")
@shared_options
def repair(plan: str | None, dry_run: bool, output: Output, directory: Path) -> None:
    """Plan the request of PLAN (the newest) again in a child run, for `prestow run`.

    Made again is exactly what was lost, what that blocked, and what went on without it; all else is taken
    from the parent. The child stands before its parent in the chain, so that who reads sees it first.
    """
    project = open_project(directory)
    parent = project.find_plan(plan or "latest")
    found = project.repair(parent, dry_run=dry_run)
    if found.plan is None:
        following = f"prestow status{plan_word(project, parent)}"
    elif dry_run:
        following = f"prestow repair{plan_word(project, parent)}"
    elif found.again:
        following = f"prestow run{plan_word(project, found.plan)}"
    else:
        following = f"prestow diff {parent.run} {found.plan.run}"
    output.answer("repair", {**found.as_dict(), "dry_run": dry_run}, _text(found), following=following)


def _text(found: Repair) -> str:
    head = f"plan {found.parent.id[:8]}  run {found.parent.run}"
    if found.plan is None:
        return f"{head}\n  nothing is lost: there is nothing to repair"
    lines = [f"{head}  is repaired by  plan {found.plan.id[:8]}  run {found.plan.run}"]
    if found.again:
        kinds = [kind for kind in WORDS if any(kind in counts for counts in found.tasks.values())]
        rows = [
            (task, *(counts.get(kind) for kind in kinds), sum(counts.values()))
            for task, counts in found.tasks.items()
        ]
        sums = [sum(int(row[i] or 0) for row in rows) for i in range(1, len(kinds) + 2)]
        total = ("total", *sums)
        header = ("task", *(WORDS[kind] for kind in kinds), "made again")
        lines.append(table(header, [*rows, total], total=True, indent="    "))
    lines.append(
        f"  {count_text(found.again, 'quantum is', 'quanta are')} made again, {found.kept:,} taken from the parent"
        + (f"; {found.done:,} are made good already" if found.done else "")
    )
    return "\n".join(lines)
