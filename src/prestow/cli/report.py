"""``prestow report``: what a run came to, in a few lines, and as one page for a browser."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.group import open_project, plan_word, shared_options
from prestow.cli.output import Doing, Output, is_terminal

if TYPE_CHECKING:
    from prestow.results.report import Report


@click.command(short_help="Write what a run came to as one page, to open in a browser.")
@click.argument("plan", required=False, shell_complete=completing.plans)
@click.option(
    "--into", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.html",
    help="Where the page goes; default: report.html in the project's directory. With --json its data goes beside it.",
)  # fmt: skip
@click.option(
    "--pictures",
    type=click.IntRange(0, 100),
    default=0,
    metavar="N",
    help="Show N of the products as pictures.",
)
@click.option("--no-account", is_flag=True, help="Do not look at files: of very many, that takes a while.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say it here; write no page.")
@shared_options
def report(
    plan: str | None,
    into: Path | None,
    pictures: int,
    no_account: bool,
    dry_run: bool,
    output: Output,
    directory: Path,
) -> None:
    """Say what the run of PLAN came to: verdict, failures by cause and by host, states, times, files.

    All of it goes into one page that needs nothing else; it may be written as often as wanted, also while the plan
    runs.
    """
    from prestow.project.reporting import NAME, write_page
    from prestow.results.report import answer, page

    project = open_project(directory)
    doing = Doing(sys.stderr if output.verbosity >= 0 and is_terminal(sys.stderr) else None)
    found = project.find_plan(plan or "latest")
    try:
        told = project.report(found, pictures=pictures, account=not no_account, tell=doing.tell)
    finally:
        doing.end()
    path = into if into is not None else _shown(project.root / NAME)
    facts = told.as_dict()
    lines = [answer(told)]
    if not dry_run:
        write_page(page(told), path)
        lines.append(f"page: {path}")
        if output.json:
            write_page(json.dumps(facts, separators=(",", ":"), default=str), path.with_suffix(".json"))
    facts.pop("schema")
    following = _following(told, plan_word(project, found))
    output.answer(
        "run-report", {**facts, "page": None if dry_run else str(path)}, "\n".join(lines), following=following
    )


def _following(told: Report, word: str) -> str:
    left = [cause for cause in told.causes if cause.now.get("failed")]
    if left and left[0].commands:
        return left[0].commands[0]
    if told.mood == "busy":
        return f"prestow status{word}"
    if told.counts.get("pending") or told.counts.get("failed"):
        return f"prestow run{word}"
    return f"prestow repair{word}" if told.counts.get("lost") else f"prestow account{word}"


def _shown(path: Path) -> Path:
    """Give a path as it is typed from here, where it is below."""
    here = Path.cwd()
    return path.relative_to(here) if path.is_relative_to(here) else path
