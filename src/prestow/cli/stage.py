"""``prestow stage``: one job's inputs in a directory that needs nothing else."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, size_text
from prestow.manifest import LAYOUTS


@click.command(short_help="Bring a job's inputs into a directory that needs nothing else.")
@click.argument("job", shell_complete=completing.jobs)
@click.option(
    "--plan",
    default="latest",
    show_default=True,
    shell_complete=completing.plans,
    help="The plan that the job is of.",
)
@click.option(
    "--into", required=True, type=click.Path(), metavar="DIR", help="An empty directory, or one to be made."
)
@click.option(
    "--layout", type=click.Choice(LAYOUTS), help="How inputs lie there; as the site says, or a tree."
)
@click.option("--site", type=click.Path(), metavar="FILE", help="A site file: its stores are asked first.")
@click.option("-n", "--dry-run", is_flag=True, help="Say how much it is; write nothing.")
@shared_options
def stage(
    job: str, plan: str, into: str, layout: str | None, site: str | None, dry_run: bool, output: Output, directory: Path
) -> None:  # fmt: skip
    """Bring the inputs of JOB into DIR, each verified by size and SHA-256, with its manifest, code and receipts.

    There the job runs with store, registry and network out of reach, and leaves its products and receipts there.
    Where one place does not give what is known, the next is asked; with none left nothing is written.
    """
    project = open_project(directory)
    found = project.stage(job, plan, into=into, layout=layout or "", site=site, dry_run=dry_run)
    shown = os.path.relpath(found.directory)
    said = "would be staged" if found.dry else "staged"
    lines = [
        f"job {found.job}: {count_text(found.files, 'input')}, {size_text(found.size)} {said} in {shown}   layout {found.layout}"
    ]
    lines += [f"    absent, as its receipt says: {words}" for words in found.absent]
    lines += [f"    note: {note}" for note in found.notes]
    following = f"cd {shlex.quote(shown)} && python -m prestow.node manifest.json"
    if found.dry:
        following = f"prestow stage {shlex.quote(job)} --into {shlex.quote(shown)} --layout {found.layout}"
    output.answer("stage", found.as_dict(), "\n".join(lines), following=following)
