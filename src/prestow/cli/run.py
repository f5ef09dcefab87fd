"""``prestow run``: run a plan, or go on with it."""

from __future__ import annotations

from pathlib import Path

import click

from prestow.cli.group import shared_options
from prestow.cli.output import Output, duration_text
from prestow.errors import Exit


@click.command(short_help="Run a plan; the same command again goes on where it was.")
@click.argument("plan", required=False)
@click.option("--engine", default="dask", show_default=True, metavar="NAME", help="dask, or local: in this process, in order.")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes; default: as prestow.yaml says.")
@click.option("--only", multiple=True, metavar="TASK", help="Only the quanta of this task.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would run, and run nothing.")
@shared_options
def run(
    plan: str | None, engine: str, workers: int | None, only: tuple[str, ...], dry_run: bool, output: Output, directory: Path
) -> int:
    """Run what is left of PLAN (the newest, by default).

    Ctrl-C once lets running jobs end, twice stops them. Then, or after any failure, the same
    command goes on where it was.
    """
    import prestow.project

    project = prestow.project.open(directory)
    raise NotImplementedError
