"""``prestow freeze``: a collection that is released, and never changed again."""

from __future__ import annotations

from pathlib import Path

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output


@click.command(short_help="Freeze a collection for ever: a release.")
@click.argument("collection", metavar="COLLECTION", shell_complete=completing.runs)
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be frozen.")
@shared_options
def freeze(collection: str, dry_run: bool, output: Output, directory: Path) -> None:
    """Freeze COLLECTION: a run, a chain with all its runs, or a collection of calibrations.

    Nothing is taken into it, planned into it, removed or deleted from it, or certified in it any more. There is no
    way back: a release is frozen for ever. What is new goes to another run.
    """
    project = open_project(directory)
    names = project.freeze(collection, dry_run=dry_run)
    every = list(project.registry.frozen.names())
    facts = {"collection": collection, "frozen": list(names), "all": every, "dry_run": dry_run}
    verb = "would be frozen, for ever" if dry_run else "frozen, for ever"
    text = f"{verb}: {', '.join(names)}" if names else f"{collection} is frozen already"
    following = f"prestow freeze {collection}" if dry_run and names else "prestow plan --run NAME"
    output.answer("freeze", facts, text, following=following)
