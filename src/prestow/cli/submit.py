"""``prestow submit``: hand a plan to Pegasus and HTCondor; again for what remains."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.group import open_project, plan_word, shared_options
from prestow.cli.output import Doing, Output, count_text, is_terminal
from prestow.errors import Exit

if TYPE_CHECKING:
    from prestow.project.submitting import Submitted

SHOWN = 10


@click.command(short_help="Hand a plan to Pegasus and HTCondor; again for what remains.")
@click.argument("plan", required=False, shell_complete=completing.plans)
@click.option("--site", required=True, type=click.Path(), metavar="FILE", help="A site file for Pegasus.")
@click.option("--again", is_flag=True, help="Also while an earlier submission seems to run still.")
@click.option(
    "--cluster", is_flag=True, help="Let several short jobs run as one, as the site's 'cluster' says."
)
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be handed over.")
@shared_options
def submit(
    plan: str | None, site: str, again: bool, cluster: bool, dry_run: bool, output: Output, directory: Path
) -> int:
    """Hand what is left of PLAN (the newest, by default) to Pegasus: emit it, plan it, start it.

    Needs pegasus-plan and pegasus-run (below PEGASUS_HOME, on the PATH, or where the site says). The same command
    after a submission ended takes in what that one left, and hands over only what remains.
    """
    project = open_project(directory)
    found = project.find_plan(plan or "latest")
    doing = Doing(sys.stderr if output.verbosity >= 0 and is_terminal(sys.stderr) else None)
    try:
        made = project.submit(
            found, site=site, again=again, cluster=cluster, dry_run=dry_run, tell=doing.tell
        )
    finally:
        doing.end()
    word = plan_word(project, found)
    output.answer(
        "submit",
        made.as_dict(),
        "\n".join(_lines(made, dry_run=dry_run)),
        following=_following(made, word, site, dry_run=dry_run),
    )
    return Exit.OK


def _lines(made: Submitted, *, dry_run: bool) -> list[str]:
    head = f"plan {made.plan[:8]}  run {made.run}  site {made.site}"
    what = f"{count_text(made.jobs, 'job')}, {count_text(made.quanta, 'quantum', 'quanta')}"
    before = f"; {made.settled:,} settled before" if made.settled else ""
    if not made.jobs:
        lines = [head, f"nothing remains{before}"]
    elif dry_run:
        lines = [head, f"would hand over {what}{before}"]
    else:
        lines = [f"{head}  submission {made.number}", f"handed over {what}{before}"]
    lines += [f"    sealed as lost: {one}" for one in made.sealed[:SHOWN]]
    if len(made.sealed) > SHOWN:
        lines.append(f"    and {len(made.sealed) - SHOWN:,} more")
    lines += [f"    note: {note}" for note in made.notes]
    if made.submit is not None:
        versions = made.versions or {}
        lines.append(f"    Pegasus {versions.get('pegasus', '?')} in {os.path.relpath(made.submit)}")
    return lines


def _following(made: Submitted, word: str, site: str, *, dry_run: bool) -> str:
    if not made.jobs:
        return f"prestow ingest{word}"
    return f"prestow submit{word} --site {shlex.quote(site)}" if dry_run else f"prestow status{word}"
