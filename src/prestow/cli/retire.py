"""``prestow retire``: intermediates deleted that nobody will read any more, or the list of them."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, is_terminal, size_text, table

if TYPE_CHECKING:
    from prestow.results.retiring import Retiring

SHOWN = 5
_WHY = {
    "read later": "a quantum that is not settled and taken in reads them, or a run takes them over",
    "lost readers": "what reads them was lost or blocked: a repair will read them, until the run is closed",
    "unread": "nothing in its plans reads them: they were asked for themselves",
    "stage to come": "a later stage of the run is not planned yet, and may read them",
    "run open": "they are kept until the run is closed",
}


@click.command(short_help="Delete intermediates that nobody will read any more.")
@click.argument("plan", required=False, shell_complete=completing.plans)
@click.option(
    "--run", metavar="RUN", help="Of this run, instead of the newest plan's.", shell_complete=completing.runs
)
@click.option("-n", "--dry-run", is_flag=True, help="Only list what would go.")
@click.option("--even-so", is_flag=True, help="Also if plans that are not in this project are in flight.")
@shared_options
def retire(
    plan: str | None, run: str | None, dry_run: bool, even_so: bool, output: Output, directory: Path
) -> None:
    """Delete what the run of PLAN (the newest, by default) need not keep any more.

    What is kept until_consumed goes once all that reads it is settled and taken in, what is kept for its run once
    that is closed. Never what is not taken in, raw or foreign, or what a plan in flight will read. Deleted is for
    ever; a child run makes it again where somebody needs it after all.
    """
    if plan is not None and run is not None:
        raise click.UsageError("give a plan or --run, not both")
    project = open_project(directory)
    progress = _progress if output.verbosity >= 0 and is_terminal(sys.stderr) and not dry_run else None
    found = project.retire(plan, run=run, dry_run=dry_run, even_so=even_so, progress=progress)
    again = "prestow retire" + (f" --run {run}" if run else f" {plan}" if plan else "")
    following = again if dry_run and found.datasets else "prestow account" + (f" --run {run}" if run else "")
    output.answer("retire", found.as_dict(), _text(found), following=following)


def _progress(done: int, total: int) -> None:
    click.echo(f"\r{done:,} of {total:,}" + ("\n" if done == total else ""), nl=False, err=True)


def _text(found: Retiring) -> str:
    verb = "gone" if found.retired else "would go"
    lines = [f"run {found.run}   {verb}: {count_text(found.datasets, 'dataset')} ({size_text(found.size)})"]
    if found.types:
        rows = [(name, f"{count:,}", size_text(size)) for name, (count, size) in found.types.items()]
        lines.append(table(("type", "datasets", "bytes"), rows))
    for path, reader in found.first[:SHOWN]:
        lines.append(f"  {path}" + (f"   last read by {reader}" if reader else ""))
    if found.datasets > SHOWN:
        lines.append(f"  … and {found.datasets - SHOWN:,} more")
    if found.begun:
        lines.append(f"  {found.begun:,} of them were begun before, and interrupted")
    lines += [f"  stays: {count:,}: {_WHY.get(why, why)}" for why, count in found.kept.items()]
    return "\n".join(lines)
