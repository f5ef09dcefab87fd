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
from prestow.engines.breaker import Tripped
from prestow.errors import Exit
from prestow.plan.retrying import read_held, read_retries

SHOWN = 20  # losses for people; -v and --json have them all

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
@click.option(
    "--losses", is_flag=True, help="List what is lost, each with its cause, and what went on without it."
)
@shared_options
def status(plan: str | None, exit_code: bool, losses: bool, output: Output, directory: Path) -> int:
    """Show how many quanta of each task of PLAN are in which state; always all of them."""
    project = open_project(directory)
    found = project.find_plan(plan or "latest")
    if losses:
        return _losses(project, found, exit_code=exit_code, output=output)
    standing = project.status(found)
    rows = list(standing.tasks.items())
    total = standing.counts
    shown = [state for state in total if state != "unneeded" or total[state]]
    failures = _groups(standing) + "".join(
        f"\n  FAILED {f.task} {f.data_id} (job {f.job}, {count_text(f.attempts, 'attempt')}) [{f.code}] "
        + f.message.replace("\n", "\n    ")
        for f in standing.failures
    )
    now = project.under_way(found)
    recorded = _recorded(project, found, standing)
    landed = _landed(project, found, standing)
    output.answer(
        "status",
        {
            **standing.as_dict(),
            "put_back": _put_back(found, standing),
            "held": list(read_held(found.directory).values()),
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
        + _submission_words(standing, landed=landed)
        + (f"\n  {recorded_line(recorded)}" if recorded else "")
        + _put_back_words(found, standing)
        + "".join(f"\n  {Tripped(**facts)}" for facts in read_held(found.directory).values())
        + failures,
        following=f"prestow status{plan_word(project, found)}"
        if (now and now.alive) or _runs_still(standing)
        else _following(project, found, standing, landed=landed),
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


def _landed(project: Project, plan: Plan, standing: Status) -> bool:
    """Tell whether the newest submission is over, and what its jobs made is not committed yet."""
    if not standing.submissions or standing.settled or not standing.submissions[-1]["over"]:
        return False
    from prestow.project.landing import has_landed

    return has_landed(project, plan.id, standing.submissions[-1]["submission"])


def _submission_words(standing: Status, *, landed: bool) -> str:
    """Tell what a queue says of the newest submission, and why jobs wait in it."""
    if not standing.submissions:
        return ""
    last = standing.submissions[-1]
    over = "ended" if last["over"] else "under way" if last["began"] else "not begun yet"
    counts = ", ".join(f"{count:,} {state}" for state, count in last["jobs"].items() if count)
    text = f"\n  submission {last['submission']} {over}: jobs {counts}"
    if last["others"]:
        text += "; of Pegasus's own " + ", ".join(f"{n:,} {state}" for state, n in last["others"].items())
    text += "\n  what they made has landed, and is not committed yet" if landed else ""
    for one in last["waiting"][:SHOWN]:
        text += f"\n  {one['state'].upper()} {one['name']}: {one['reason'] or 'nothing says why'}"
    if len(last["waiting"]) > SHOWN:
        text += f"\n  and {len(last['waiting']) - SHOWN:,} more held or preempted: --json"
    return text


def _runs_still(standing: Status) -> bool:
    return bool(standing.submissions) and not standing.submissions[-1]["over"]


def _following(project: Project, plan: Plan, standing: Status, *, landed: bool) -> str:
    from prestow.results.failing import again

    total, other = standing.counts, plan_word(project, plan)
    if landed and not any(n for state, n in standing.submissions[-1]["jobs"].items() if state != "done"):
        return f"prestow ingest{other}"
    if standing.submissions and not standing.settled:
        from prestow.project.handed_over import submit_again

        option = plan_word(project, plan, " --plan ")
        return submit_again(plan, other) + (
            f"          or why: prestow why {standing.failures[0].job}{option}" if standing.failures else ""
        )
    if standing.failures:
        option = plan_word(project, plan, " --plan ")
        return (
            f"{again(plan, standing, other)}          or why: prestow why {standing.failures[0].job}{option}"
        )
    if not standing.settled:
        return f"prestow run{other}"
    settled_here = sum(total.values()) - total["reused"] - total["unneeded"]
    if project.registry.quanta(plan.run).num_rows < settled_here:
        return f"prestow ingest{other}"
    if total["lost"] or total["blocked"]:
        return f"prestow repair{other}          or list them: prestow status{other} --losses"
    return f"prestow show{other} --files"


def _groups(standing: Status) -> str:
    """Tell the failures by cause, where there is more than one to tell."""
    from prestow.results.failing import group_lines

    if standing.counts["failed"] <= 1:
        return ""
    causes = count_text(len(standing.groups), "cause")
    head = f"\n  {count_text(standing.counts['failed'], 'failure')} of {causes}:"
    return head + "".join(f"\n  {line}" for line in group_lines(standing.groups))


def _put_back(plan: Plan, standing: Status) -> dict[str, int]:
    """Count the jobs that were put back, how often in all, and those that failed again or were not tried yet."""
    jobs = read_retries(plan.directory).jobs
    failed = sum(name in jobs for name in standing.jobs)
    return {"jobs": len(jobs), "times": sum(change.times for change in jobs.values()), "failed": failed}


def _put_back_words(plan: Plan, standing: Status) -> str:
    counts = _put_back(plan, standing)
    if not counts["jobs"]:
        return ""
    times = f", {counts['times']:,} times in all" if counts["times"] > counts["jobs"] else ""
    return f"\n  {count_text(counts['jobs'], 'job')} put back{times}: {counts['failed']:,} failed, {counts['jobs'] - counts['failed']:,} went on"


def _losses(project: Project, plan: Plan, *, exit_code: bool, output: Output) -> int:
    found = project.losses(plan)
    lines = [f"plan {plan.id[:8]}  run {plan.run}", f"  {found.verdict()}"]
    most = None if output.verbosity > 0 else SHOWN
    for head, entries in (("", found.losses), ("  went on without:", found.without)):
        lines += [head] if head and entries else []
        lines += [f"  {one}" for one in entries[:most]]
        if most is not None and len(entries) > most:
            lines.append(f"  and {len(entries) - most:,} more: -v")
    word = plan_word(project, plan)
    output.answer(
        "losses", found.as_dict(), "\n".join(lines),
        following=f"prestow repair{word}" if found.losses else f"prestow status{word}",
    )  # fmt: skip
    return Exit.LOSSES if exit_code and found.losses else Exit.OK
