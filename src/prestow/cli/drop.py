"""``prestow drop``: a plan given up, and the names that it holds free for others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output

if TYPE_CHECKING:
    from prestow.results.dropping import Dropped


@click.command(short_help="Give a plan up, and free the names that it holds.")
@click.argument("plan", shell_complete=completing.plans)
@shared_options
def drop(plan: str, output: Output, directory: Path) -> None:
    """Give PLAN up: forget it if nothing was made of it, and free the names that it holds.

    What is settled stays, and so does a plan of which something is. A plan that is being run is
    refused. Products are removed by `prestow remove`.
    """
    project = open_project(directory)
    dropped = project.drop(plan)
    output.answer("drop", dropped.as_dict(), _text(dropped), following="prestow plan")


def _text(dropped: Dropped) -> str:
    lines = [f"plan {dropped.plan[:8]}  run {dropped.run}"]
    if dropped.forgotten:
        lines.append("  forgotten; nothing was made of it")
    elif dropped.settled:
        lines.append(f"  stays: {dropped.settled:,} of {dropped.quanta:,} quanta are settled")
    else:
        lines.append("  there is no such plan in this project")
    lines.append("  its names are free" if dropped.freed else "  it held no names")
    return "\n".join(lines)
