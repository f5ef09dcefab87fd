"""``prestow verify``: a plan proved again, by a checker that knows nothing of the planner."""

from __future__ import annotations

from pathlib import Path

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output
from prestow.errors import Exit


@click.command(short_help="Prove a plan again, and what was written of it, by an independent checker.")
@click.argument("plan", required=False, shell_complete=completing.plans)
@click.argument("emitted", required=False, metavar="[DIR]", type=click.Path(path_type=Path, file_okay=False))
@shared_options
def verify(plan: str | None, emitted: Path | None, output: Output, directory: Path) -> int:
    """Prove PLAN again, from its files alone: all that must hold of a plan, and where it does not.

    With DIR, which 'prestow emit' wrote, that is held against the plan, too: the same jobs, edges and files, each
    manifest and replica as the plan says, and no name that would not arrive.

    The checker shares no code with the planner. Without a project: python -m prestow.verify PLAN_DIRECTORY [DIR].
    Exit 4 if anything is wrong.
    """
    from prestow.verify.__main__ import emitted_text, text

    project = open_project(directory)
    report = project.verify(plan or "latest")
    again = f"prestow drop {plan or 'latest'} && prestow plan"
    following = "prestow run" if report.proved else again
    if emitted is None or not report.proved:
        output.answer("verify", report.as_dict(), text(report), following=following)
        return Exit.OK if report.proved else Exit.REFUSED
    written = project.verify_emitted(plan or "latest", emitted)
    output.answer(
        "verify",
        {**report.as_dict(), "emitted": {"directory": str(emitted), **written.as_dict()}},
        f"{text(report)}\n{emitted_text(written, emitted)}",
        following=f"see {emitted}/README.md"
        if written.proved
        else "prestow emit again, into another directory",
    )
    return Exit.OK if written.proved else Exit.REFUSED
