"""``prestow debug``: one planned job here, sealed."""

from __future__ import annotations

from pathlib import Path

import click

from prestow.cli.group import shared_options
from prestow.cli.output import Output


@click.command(short_help="Run one planned job here, sealed, under a debugger if asked.")
@click.argument("job")
@click.option("--plan", default="latest", show_default=True, help="The plan that the job is of.")
@click.option("--pdb", is_flag=True, help="Stop in the debugger where the task raises.")
@click.option("--keep", is_flag=True, help="Keep the job's local repository.")
@shared_options
def debug(job: str, plan: str, pdb: bool, keep: bool, output: Output, directory: Path) -> int:
    """Run JOB of a plan in this process, just as it runs on a node, from its manifest."""
    raise NotImplementedError
