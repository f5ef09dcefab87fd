"""``prestow emit``: a plan as another system's workflow."""

from __future__ import annotations

import os
import shlex
from dataclasses import asdict
from pathlib import Path

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, size_text


@click.command(short_help="Write a plan for another system: Pegasus.")
@click.argument("system", metavar="SYSTEM")
@click.argument("plan", required=False, shell_complete=completing.plans)
@click.option("--site", required=True, type=click.Path(), metavar="FILE", help="A site file for that system.")
@click.option(
    "--into", required=True, type=click.Path(), metavar="DIR", help="An empty directory, or one to be made."
)
@shared_options
def emit(system: str, plan: str | None, site: str, into: str, output: Output, directory: Path) -> None:
    """Write PLAN (the newest, by default) as a workflow of SYSTEM (pegasus), and run nothing.

    The same plan for the same site gives the same bytes; into a directory that holds them already
    nothing is written.
    """
    project = open_project(directory)
    found = project.find_plan(plan or "latest")
    made = project.emit(found, system, site=site, into=into)
    facts = {
        "plan": found.id, "run": found.run, "system": system,
        **{name: value for name, value in asdict(made).items() if name != "directory"}, "directory": str(made.directory),
    }  # fmt: skip
    shown = os.path.relpath(made.directory)
    counts = (
        f"    {count_text(made.jobs, 'job')}, {count_text(made.edges, 'dependency', 'dependencies')}, "
        f"{count_text(made.inputs, 'file that exists', 'files that exist')}, {count_text(made.receipts, 'receipt')}, "
        f"{count_text(made.packs, 'pack')} of manifests"
    )
    lines = [
        f"plan {found.id[:8]}  run {found.run}  for {system} in {shown}   {size_text(made.size)}",
        counts,
        *(f"    note: {line}" for line in made.notes),
        *(f"    warning: {line}" for line in made.warnings),
    ]
    if not made.new:
        lines.append("this is the very same as before; nothing was written")
    output.answer("emit", facts, "\n".join(lines), following=f"cd {shlex.quote(shown)} && less README.md")
