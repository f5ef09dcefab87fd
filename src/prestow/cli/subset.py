"""``prestow subset``: a part of a project as a project of its own."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, is_terminal, size_text
from prestow.errors import Exit

if TYPE_CHECKING:
    from prestow.project.subsetting import Subset


@click.command(short_help="Make a project of its own from a part of this one.")
@click.option(
    "--collection", "collections", multiple=True, required=True, metavar="C", help="A run or chain; several, in the order of search.",
    shell_complete=completing.runs,
)  # fmt: skip
@click.option("--where", default="", metavar="SELECTION", help="Only these datasets.")
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only this type; several.")
@click.option("--into", required=True, metavar="DIR", help="A directory that is not there yet.")
@click.option("--link/--copy", default=True, help="Give read-only files a second name, or copy all.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be in it.")
@shared_options
def subset(
    collections: tuple[str, ...],
    where: str,
    types: tuple[str, ...],
    into: str,
    link: bool,
    dry_run: bool,
    output: Output,
    directory: Path,
) -> int:
    """Make a project in DIR from datasets of C: its own store, registry and runs, and the pipeline of this one.

    This project is only read: its registry is opened so that it cannot be written. A quantum of which something
    is chosen comes with all its outputs and its receipt, so that trace and rebuild work in DIR.
    """
    project = open_project(directory)
    shown = output.verbosity >= 0 and is_terminal(sys.stderr)

    def progress(what: str, done: int, total: int) -> None:
        if done == total or done % 100 == 0:
            click.echo(f"\r  {what}: {done:,} of {total:,}".ljust(50) + "\r", nl=False, err=True)

    found = project.subset(
        collections, os.path.normpath(directory / into), where=where, types=types, link=link, dry_run=dry_run,
        progress=progress if shown else None,
    )  # fmt: skip
    following = f"cd {shlex.quote(into)} && prestow plan --run dev --input {shlex.quote(collections[0])}"
    output.answer(
        "subset", {**found.as_dict(), "dry_run": dry_run}, _text(found, dry_run=dry_run), following=following
    )
    return Exit.INGEST if found.merged.conflicts else Exit.OK


def _text(found: Subset, *, dry_run: bool) -> str:
    taken = found.merged.taken
    types = ", ".join(f"{count:,} {name}" for name, count in found.part.types.items())
    lines = [
        f"{'would make' if dry_run else 'made'} {found.directory}",
        f"  chosen: {types} ({size_text(found.part.size)}) of {', '.join(found.part.runs)}",
        (
            f"  with {count_text(taken.get('quanta', 0), 'quantum', 'quanta')} as a whole: "
            f"{count_text(taken.get('files', 0) + taken.get('raw', 0), 'file')}"
        ),
        f"  chain {found.chain}: run dev first, then {', '.join(found.part.runs)}",
    ]
    lines += [f"  {note}" for note in found.part.notes]
    lines += [f"  not taken: {one.what}: {one.b}" for one in found.merged.conflicts]
    return "\n".join(lines)
