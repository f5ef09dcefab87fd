"""``prestow retry``: failed jobs put back, with more memory, more tries, other hosts or another site."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.group import open_project, plan_word, shared_options
from prestow.cli.output import Output, count_text, size_text
from prestow.errors import Problem, ProjectError

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.project import Project
    from prestow.results.retrying import PutBack

SHOWN = 5  # names of jobs


@click.command(short_help="Put failed jobs back, with other memory, hosts or site.")
@click.argument("words", metavar="[PLAN] [JOB]...", nargs=-1, shell_complete=completing.plan_or_what)
@click.option("--failed", is_flag=True, help="All that failed; that is meant, too, where no job is named.")
@click.option("--lost", is_flag=True, hidden=True)
@click.option(
    "--memory", metavar="SIZE|xN", help="Give each so much, such as 16GB, or x2: twice what it had asked for."
)
@click.option("--site", type=click.Path(), metavar="FILE", help="Run on this site the next time.")
@click.option("--avoid", multiple=True, metavar="HOST", help="Not on this host; repeatable.")
@click.option("--avoid-bad-hosts", is_flag=True, help="Not on hosts that fail far more than others.")
@click.option("--tries", type=int, metavar="N", help="Try each so often in one run.")
@click.option("-n", "--dry-run", is_flag=True, help="Only show what would be put back.")
@shared_options
def retry(
    words: tuple[str, ...],
    failed: bool,
    lost: bool,
    memory: str | None,
    site: str | None,
    avoid: tuple[str, ...],
    avoid_bad_hosts: bool,
    tries: int | None,
    dry_run: bool,
    output: Output,
    directory: Path,
) -> None:
    """Put jobs of PLAN (the newest) that failed back, with what is said here; then `prestow run` tries them.

    What is made stays, and no committed name is written again. What is said holds for these jobs until it is
    said again, also after a restart. What is lost is settled for ever: `prestow repair` makes it good.
    """
    project = open_project(directory)
    plan, jobs = _plan_and_jobs(project, words)
    if failed and jobs:
        what = "jobs are named, and all that failed are asked for"
        raise ProjectError(Problem("PST-G005", what, " ".join(jobs), "leave out --failed, or the names"))
    if lost:
        what = "what is lost is settled for ever"
        fix = f"make it good in a child run: prestow repair{plan_word(project, plan)}"
        raise ProjectError(Problem("PST-E040", what, "--lost", fix))
    found = project.retry(
        plan, jobs=jobs, memory=memory or "", site=site, avoid=avoid, avoid_bad_hosts=avoid_bad_hosts, tries=tries, dry_run=dry_run,
    )  # fmt: skip
    under_way = project.under_way(plan)
    running = under_way is not None and under_way.alive
    output.answer(
        "retry",
        {**found.as_dict(), "dry_run": dry_run, "run_under_way": running},
        _text(found, dry_run=dry_run, running=running),
        following=_following(project, plan, found, dry_run=dry_run),
    )


def _plan_and_jobs(project: Project, words: tuple[str, ...]) -> tuple[Plan, tuple[str, ...]]:
    if words and (words[0] == "latest" or project.plans_like(words[0])):
        return project.find_plan(words[0]), words[1:]
    return project.find_plan(), words


def _text(found: PutBack, *, dry_run: bool, running: bool) -> str:
    lines = [f"plan {found.plan[:8]}  run {found.run}"]
    named = [*found.jobs, *found.pending]
    if not named:
        return "\n".join([*lines, "  no job failed: there is nothing to put back"])
    total = len(found.jobs) + len(found.pending) + found.downstream
    parts = [f"{len(found.jobs):,} failed"]
    parts += [f"{len(found.pending):,} pending"] if found.pending else []
    lines.append(
        f"  {'would put back' if dry_run else 'put back'}: {' + '.join(parts)} + {found.downstream:,} downstream = {count_text(total, 'job')}; "
        f"{count_text(found.committed, 'committed file')} stay; {found.again} committed names written again"
    )
    more = f" and {len(named) - SHOWN:,} more" if len(named) > SHOWN else ""
    lines.append(f"  {', '.join(named[:SHOWN])}{more}")
    if found.memory:
        least, most = found.memory
        lines.append(
            f"  memory {size_text(least)}" + ("" if least == most else f" to {size_text(most)}") + " each"
        )
    if found.asked.tries:
        lines.append(f"  {count_text(found.asked.tries, 'try', 'tries')} each")
    if found.asked.avoid:
        lines.append(f"  not on {', '.join(found.asked.avoid)}")
    if found.retries.site:
        lines.append(f"  on the site {found.retries.site}")
    if running:
        lines.append("  a run of this plan is under way: this counts from the next one on")
    return "\n".join(lines)


def _following(project: Project, plan: Plan, found: PutBack, *, dry_run: bool) -> str:
    word = plan_word(project, plan)
    if not (found.jobs or found.pending):
        return f"prestow status{word}"
    if dry_run:
        return f"prestow retry{word} --failed"
    if found.retries.site:
        from prestow.plugins import names
        from prestow.site import read_site

        engine = read_site(Path(found.retries.site)).engine
        if engine in names("emitters"):
            return f"prestow emit {engine}{word} --site {shlex.quote(found.retries.site)} --into DIR"
    return f"prestow run{word}"
