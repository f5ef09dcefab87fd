"""``prestow why``: why a job, a dataset or a file is as it is."""

from __future__ import annotations

from pathlib import Path

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output
from prestow.errors import Exit


@click.command(short_help="Say why a job, a dataset or a file is as it is.")
@click.argument(
    "words",
    metavar="JOB [INPUT]|FILE|DATASET",
    nargs=-1,
    required=True,
    shell_complete=completing.dataset_or_job_words,
)
@completing.of_run
@click.option(
    "--plan",
    shell_complete=completing.plans,
    default=None,
    metavar="PLAN",
    help="The plan that it is of; the newest, if not given.",
)
@shared_options
def why(words: tuple[str, ...], run: str | None, plan: str | None, output: Output, directory: Path) -> int:
    """Say why something failed, is lost, blocked or pending, was declined, or never planned; or how it was made.

    Of a job and the name of an input it says which datasets were chosen, by which validity, and why others were not.

    It follows what is absent to the first cause, with the end of the log; of what is made it tells
    how its measures stand among those beside it.
    """
    from prestow.results.causes import why as explain

    recorded = open_project(directory).recorded(plan, run=run)
    reason = explain(recorded, words, run=run)
    lines = [*reason.lines, *(f"note: {note}" for note in recorded.notes)]
    output.answer("why", reason.as_dict(), "\n".join(lines), following=reason.following)
    return Exit.OK
