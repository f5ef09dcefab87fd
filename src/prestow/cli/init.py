"""``prestow init``: a working example, so that the first plan is one command away."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from prestow.cli.group import shared_options
from prestow.cli.output import Output, count_text


@click.command(short_help="Make a working example: pipeline, tasks and tiny inputs.")
@click.argument("target", metavar="[DIR]", required=False, type=click.Path())
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be made, and make nothing.")
@shared_options
def init(target: str | None, dry_run: bool, output: Output, directory: Path) -> None:
    """Make a working example in DIR (default: here).

    A pipeline of three tasks, their code, a project file, and twenty tiny raw frames of a simulated
    camera. No file that is there already is overwritten.
    """
    from prestow.project.example import create_example

    root = directory / target if target else directory
    example = create_example(root, dry_run=dry_run)
    verb = "would create" if dry_run else "created"
    steps = "prestow ingest --raw raw --instrument simcam"
    output.answer(
        "init",
        {
            "directory": str(root),
            "dry_run": dry_run,
            "files": [str(path) for path in example.files],
            "raw_files": example.raw_files,
            "tasks": example.tasks,
        },
        f"{verb} pipeline.yaml ({count_text(example.tasks, 'task')}), prestow.yaml, tasks/, "
        f"raw/ ({count_text(example.exposures, 'exposure')}, {count_text(example.detectors, 'detector')}: "
        f"{count_text(example.raw_files, 'file')})",
        following=f"cd {shlex.quote(str(target))} && {steps}" if target else steps,
    )
