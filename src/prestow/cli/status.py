"""``prestow status``: the state of every quantum of a plan, in one table that sums."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.group import open_project, plan_word, shared_options
from prestow.cli.output import Output, count_text, duration_text, table
from prestow.cli.show_forecast import recorded_line
from prestow.errors import Exit

if TYPE_CHECKING:
    from prestow.engines.journal import UnderWay
    from prestow.plan import Plan
    from prestow.plan.forecast_recorded import Recorded
    from prestow.project import Project
    from prestow.results.status import Status


@click.command(short_help="Show the state of every quantum of a plan.")
@click.argument("plan", required=False, shell_complete=completing.plans)
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
    shown = [state for state in total if state != "unneeded" or total[state]]
    failures = "".join(
        f"\n  FAILED {f.task} {f.data_id} (job {f.job}, {count_text(f.attempts, 'attempt')}) [{f.code}] "
        + f.message.replace("\n", "\n    ")
        for f in standing.failures
    )
    now = project.under_way(found)
    recorded = _recorded(project, found, standing)
    output.answer(
        "status",
        {
            **standing.as_dict(),
            "run_under_way": now.as_dict() if now else None,
            "forecast": recorded.as_dict() if recorded else None,
        },
        f"plan {found.id[:8]}  run {found.run}\n"
        + table(
            ("task", *shown, "sum"),
            [
                (name, *(_cell(states[state]) for state in shown), f"{sum(states.values()):,}")
                for name, states in (*rows, ("total", total))
            ],
            total=True,
        )
        + (_under_way(now) if now and now.alive else "")
        + (f"\n  {recorded_line(recorded)}" if recorded else "")
        + failures,
        following=f"prestow status{plan_word(project, found)}"
        if now and now.alive
        else _following(project, found, standing),
    )
    if not exit_code:
        return Exit.OK
    if total["failed"] or (total["blocked"] and not total["lost"]):
        return Exit.FAILED
    return Exit.LOSSES if total["lost"] else Exit.OK


def _cell(count: int) -> str:
    return f"{count:,}" if count else "."


def _recorded(project: Project, plan: Plan, standing: Status) -> Recorded | None:
    """Give how good the forecast was, once all of a plan is settled and taken in."""
    if standing.counts["pending"] or standing.counts["failed"]:
        return None
    after = project.forecast_recorded(plan)
    return after if after is not None and after.whole else None


def _under_way(now: UnderWay) -> str:
    facts = now.as_dict()
    text = (
        f"\n  under way for {duration_text(time.time() - now.since)}: of {now.jobs:,} jobs {now.ended:,} ended, "
        f"{facts['with_engine']:,} with the engine, {facts['waiting']:,} waiting"
    )
    return text + (f"; {now.rate:.1f} jobs/s, about {duration_text(now.left)} left" if now.rate else "")


def _following(project: Project, plan: Plan, standing: Status) -> str:
    total, other = standing.counts, plan_word(project, plan)
    if standing.failures and not other:
        return f"prestow why {standing.failures[0].job}          or again: prestow run"
    if total["failed"] or total["pending"]:
        return f"prestow run{other}"
    settled_here = sum(total.values()) - total["reused"] - total["unneeded"]
    return (
        f"prestow ingest{other}"
        if project.registry.quanta(plan.run).num_rows < settled_here
        else f"prestow show{other} --files"
    )
