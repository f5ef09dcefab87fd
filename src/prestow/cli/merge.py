"""``prestow merge``: what several sites made, in one place, with every disagreement named."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli.group import shared_options
from prestow.cli.output import Output, count_text, is_terminal, size_text
from prestow.errors import Exit

if TYPE_CHECKING:
    from prestow.project.merging import MergedProject

SHOWN = 20


@click.command(short_help="Merge what several sites made into one project.")
@click.argument("sources", metavar="A B...", nargs=-1, required=True)
@click.option("--into", required=True, metavar="C", help="A project, or a directory that is not there yet.")
@click.option("--link", is_flag=True, help="Give read-only files a second name instead of a copy.")
@click.option("-n", "--dry-run", is_flag=True, help="Say what would be taken and what is in conflict.")
@shared_options
def merge(
    sources: tuple[str, ...], into: str, link: bool, dry_run: bool, output: Output, directory: Path
) -> int:
    """Merge the products, receipts and records of A, B, ... (projects or stores) into C; A counts first.

    A dataset that both have with the same bytes is taken once. One that they have with other bytes is
    refused, both are named, and nothing of that quantum is taken (exit 8). The same command again goes on.
    """
    from prestow.project.merging import merge_projects

    shown = output.verbosity >= 0 and is_terminal(sys.stderr)

    def progress(what: str, done: int, total: int) -> None:
        if done == total or done % 100 == 0:
            click.echo(f"\r  {what}: {done:,} of {total:,}".ljust(50) + "\r", nl=False, err=True)

    places = [text if "://" in text else os.path.normpath(directory / text) for text in (*sources, into)]
    found = merge_projects(
        places[:-1], places[-1], link=link, dry_run=dry_run, progress=progress if shown else None
    )
    problems = (*found.merged.problems, *(found.rebuilt.problems if found.rebuilt else ()))
    for problem in problems:
        output.note(str(problem))
    following = f"prestow fsck -C {shlex.quote(into)}" if found.rebuilt else ""
    output.answer(
        "merge", {**found.as_dict(), "dry_run": dry_run}, _text(found, dry_run=dry_run), following=following
    )
    if found.merged.conflicts:
        return Exit.INGEST
    return Exit.ACCOUNT if problems else Exit.OK


def _text(found: MergedProject, *, dry_run: bool) -> str:
    taken, known = found.merged.taken, found.merged.known
    verb = "would take" if dry_run else "took"
    lines = [
        (
            f"{verb} {count_text(taken.get('quanta', 0), 'quantum', 'quanta')} with {count_text(taken.get('files', 0), 'file')} "
            f"({size_text(taken.get('bytes', 0))}), {count_text(taken.get('raw', 0), 'raw or foreign file')}, "
            f"{count_text(taken.get('records', 0), 'record')} from {count_text(len(found.merged.sources), 'store')}"
        ),
        (
            f"  there already, and the same: {count_text(known.get('quanta', 0), 'quantum', 'quanta')}, "
            f"{count_text(known.get('records', 0), 'record')}"
        ),
    ]
    if found.rebuilt is not None:
        rows = found.rebuilt.rows
        lines.append(f"  registry of {found.into}: {count_text(rows['dataset'], 'dataset')}")
    conflicts = found.merged.conflicts
    if conflicts:
        lines.append(
            f"{count_text(len(conflicts), 'conflict')}: nothing of these was taken from the later store"
        )
    for one in conflicts[:SHOWN]:
        lines += [f"  {one.kind}: {one.what}", f"    {one.a}", f"    {one.b}"]
    if len(conflicts) > SHOWN:
        lines.append(f"  {len(conflicts) - SHOWN:,} more (--json names them)")
    return "\n".join(lines)
