"""``prestow fsck``: registry and disk held against each other; the files are what counts."""

from __future__ import annotations

import sys
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, is_terminal, size_text
from prestow.errors import Exit

if TYPE_CHECKING:
    from prestow.results.fsck import Checked, Fault

SHOWN = 5


@click.command(short_help="Hold registry and disk against each other.")
@click.option(
    "--sums",
    metavar="none|sample:N%|full",
    default="none",
    show_default=True,
    help="Of which files digests are taken anew.",
)
@click.option("--fix", is_flag=True, help="Let the registry follow the files; nothing on disk is changed.")
@click.option("-n", "--dry-run", is_flag=True, help="With --fix: say what it would do.")
@shared_options
def fsck(sums: str, fix: bool, dry_run: bool, output: Output, directory: Path) -> int:
    """Hold the registry against the disk, both ways; exit 9 if something is wrong and not mended.

    Files that no receipt commits are told by number alone: prestow account names them.
    """
    project = open_project(directory)
    shown = output.verbosity >= 0 and is_terminal(sys.stderr)

    def progress(what: str, done: int, total: int) -> None:
        if done == total or done % 100 == 0:
            click.echo(f"\r  {what}: {done:,} of {total:,}".ljust(50) + "\r", nl=False, err=True)

    found = project.fsck(sums=sums, fix=fix and not dry_run, progress=progress if shown else None)
    text = "\n".join(_lines(found, fix=fix, dry_run=dry_run))
    following = "prestow fsck --fix" if found.left and not fix else "prestow account"
    output.answer("fsck", found.as_dict(), text, following=following)
    return Exit.ACCOUNT if found.left else Exit.OK


def _lines(found: Checked, *, fix: bool, dry_run: bool) -> list[str]:
    from prestow.results.fsck_faults import FIXED_BY, WHAT

    digests = f"{count_text(found.summed, 'digest')} taken" if found.summed else "digests not taken"
    lines = [
        f"{count_text(found.registered, 'registered file')} ({size_text(found.size)}), {count_text(found.settled, 'receipt')}; {digests}"
    ]
    if found.gone:
        lines.append(f"  known to lie nowhere: {count_text(found.gone, 'dataset')}")
    if found.uncommitted:
        lines.append(f"  {count_text(found.uncommitted, 'file')} that no receipt commits: prestow account")
    fixed = set(found.fixed)
    for kind, group in groupby(found.faults, lambda fault: fault.kind):
        faults = list(group)
        mended = sum(fault in fixed for fault in faults)
        lines.append(f"{kind}: {count_text(len(faults), 'case')}   {WHAT[kind]}")
        if fix:
            does = FIXED_BY.get(kind, "")
            lines.append(
                f"  {'would be' if dry_run else 'was'} mended: {does}"
                if does and (dry_run or mended)
                else "  a person has to look"
            )
        limit = len(faults) if fix else SHOWN
        lines += [f"  {_one(fault)}" for fault in faults[:limit]]
        if len(faults) > limit:
            lines.append(f"  {len(faults) - limit:,} more (--json names them)")
    if not found.faults:
        lines.append("registry and disk agree")
    elif fix and not dry_run:
        lines.append(f"mended: {len(found.fixed):,} of {len(found.faults):,}")
    return lines


def _one(fault: Fault) -> str:
    place = f"{fault.store}:{fault.path}" if fault.path else fault.store
    dataset = f"   {fault.type} {fault.id}" if fault.type else ""
    return f"{place}{f' -> {fault.found}' if fault.found else ''}{dataset}"
