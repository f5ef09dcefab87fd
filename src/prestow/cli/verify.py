"""``prestow verify``: a plan proved again, by a checker that knows nothing of the planner."""

from __future__ import annotations

from pathlib import Path

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output
from prestow.errors import Exit


@click.command(short_help="Prove a plan again, by an independent checker.")
@click.argument("plan", required=False, shell_complete=completing.plans)
@shared_options
def verify(plan: str | None, output: Output, directory: Path) -> int:
    """Prove PLAN again, from its files alone: all that must hold of a plan, and where it does not.

    The checker shares no code with the planner. Without a project: python -m prestow.verify DIRECTORY.
    Exit 4 if anything is wrong.
    """
    from prestow.verify.__main__ import text

    project = open_project(directory)
    report = project.verify(plan or "latest")
    again = f"prestow drop {plan or 'latest'} && prestow plan"
    following = "prestow run" if report.proved else again
    output.answer("verify", report.as_dict(), text(report), following=following)
    return Exit.OK if report.proved else Exit.REFUSED
