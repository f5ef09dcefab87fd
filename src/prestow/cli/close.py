"""``prestow close``: a run that is over; its receipts become a few files."""

from __future__ import annotations

from pathlib import Path

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, size_text


@click.command(short_help="Close a run that is over, and pack its receipts.")
@click.argument("run", metavar="RUN", shell_complete=completing.runs)
@click.option(
    "--now", is_flag=True, help="Do not wait before single files go: every node sees the store uncached."
)
@click.option("-n", "--dry-run", is_flag=True, help="Only say whether it can be closed.")
@shared_options
def close(run: str, now: bool, dry_run: bool, output: Output, directory: Path) -> None:
    """Close RUN: nothing more is planned into it, and its receipts are packed into a few files.

    All that is planned in it must be settled and taken in. Packs are written, read back and verified; then the
    single files of the packed receipts are removed, after a minute in which every node comes to see the packs.
    Interrupted, the same command goes on. Products and their rows stay as they are.
    """
    project = open_project(directory)
    told = project.close_run(run, wait=0 if now else None, dry_run=dry_run, progress=output.note)
    if dry_run:
        text = f"run {run} can be closed: {count_text(told.receipts, 'receipt')}"
        output.answer("close", {**told.as_dict(), "dry_run": True}, text, following=f"prestow close {run}")
        return
    text = f"closed run {run}: {count_text(told.receipts, 'receipt')} in {count_text(told.packs, 'pack')} ({size_text(told.size)})"
    if told.known:
        text += ", packed before"
    text += f"\n  removed {count_text(told.removed, 'single file')}"
    if told.late:
        text += f", of which {told.late:,} late attempts had put that had lost"
    output.answer("close", {**told.as_dict(), "dry_run": False}, text, following=f"prestow freeze {run}")
