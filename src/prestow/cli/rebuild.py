"""``prestow rebuild``: the registry again, from files, records and receipts alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, is_terminal
from prestow.errors import Exit

if TYPE_CHECKING:
    from prestow.project.rebuilding import Rebuilding


@click.command(short_help="Make the registry again from files, records and receipts.")
@click.option("--into", metavar="URL", help="Make it there, and leave the project's own alone.")
@click.option("--compare", metavar="URL", help="Compare it with this registry; exit 11 if they differ.")
@click.option("--resume", is_flag=True, help="Add to the registry that is there what it lacks.")
@click.option(
    "-n", "--dry-run", is_flag=True, help="Only count; with --compare make it, compare, and throw it away."
)
@shared_options
def rebuild(
    into: str | None, compare: str | None, resume: bool, dry_run: bool, output: Output, directory: Path
) -> int:
    """Make the registry again from the records and receipts in the store; no database is asked.

    It is made under another name and gets its own when it is whole: killed, say the same again. Nothing in
    the store is changed. What was committed is in it, also where a file is gone: prestow fsck tells that.
    """
    project = open_project(directory)
    shown = output.verbosity >= 0 and is_terminal(sys.stderr)

    def progress(what: str, done: int, total: int) -> None:
        click.echo(f"\r  {what}: {done:,} of {total:,}".ljust(50), nl=False, err=True)

    found = project.rebuild(
        into=into or "",
        compare=compare or "",
        resume=resume,
        dry_run=dry_run,
        progress=progress if shown else None,
    )
    if shown:
        click.echo("\r" + " " * 50 + "\r", nl=False, err=True)
    for problem in found.rebuilt.problems if found.rebuilt else ():
        output.note(str(problem))
    following = "prestow fsck" if found.url else "prestow rebuild --into NEW.db"
    output.answer("rebuild", found.as_dict(), _text(found), following=following)
    if found.rebuilt and found.rebuilt.problems:
        return Exit.ACCOUNT
    return Exit.DIFFERENT if found.differences else Exit.OK


def _text(found: Rebuilding) -> str:
    records = sum(found.sources["records"].values())
    runs = count_text(len(found.sources["runs"]), "run")
    lines = [f"{count_text(records, 'record')}, {count_text(found.sources['receipts'], 'receipt')} of {runs}"]
    if found.rebuilt is not None:
        rows = found.rebuilt.rows
        made = f"made {_shown(found.url)}" if found.url else "made, and thrown away"
        lines.append(
            f"{made}: {count_text(rows['dataset'], 'dataset')}, {count_text(rows['quantum'], 'quantum', 'quanta')}, "
            f"{count_text(rows['collection'], 'collection')}"
        )
        if found.rebuilt.problems:
            lines.append(
                f"left out: {count_text(len(found.rebuilt.problems), 'record or receipt', 'records or receipts')}, see above"
            )
    if found.compared:
        lines.append(
            f"equal to {_shown(found.compared)}"
            if not found.differences
            else f"differs from {_shown(found.compared)}:"
        )
    for one in found.differences:
        lines.append(
            f"  {one.table}: {count_text(one.only_rebuilt, 'row')} only here, {count_text(one.only_other, 'row')} only there"
        )
        lines += [f"    here   {', '.join(map(str, row))}" for row in one.rebuilt]
        lines += [f"    there  {', '.join(map(str, row))}" for row in one.other]
    return "\n".join(lines)


def _shown(url: str) -> str:
    """Give the path of a file, from here if it is below; or a URL as it is."""
    if url.startswith("sqlite:///"):
        path = Path(url.removeprefix("sqlite:///"))
        return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
    return url
