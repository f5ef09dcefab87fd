"""``prestow compare``: two runs, plans or directories: what is equal, and how far the rest is apart."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, is_terminal, table
from prestow.errors import Exit

if TYPE_CHECKING:
    from prestow.results.comparing import Comparison

WORST = 20  # datasets listed for people; --json has them all
PARTS = 3  # of one dataset, unless -v


@click.command(short_help="Compare two runs: what is equal, and how far the rest is apart.")
@click.argument("a", metavar="A", shell_complete=completing.runs_or_files)
@click.argument("b", metavar="B", shell_complete=completing.runs_or_files)
@click.option(
    "--type",
    "types",
    multiple=True,
    metavar="TYPE",
    shell_complete=completing.dataset_types,
    help="Only this dataset type; repeatable.",
)
@click.option(
    "--tolerance",
    type=click.FloatRange(0),
    default=0.0,
    metavar="R",
    help="Relative difference that is close.",
)
@click.option(
    "--atol", type=click.FloatRange(0), default=0.0, metavar="X", help="Absolute one, on top of it."
)
@click.option(
    "--key", "keys", multiple=True, metavar="COLUMN", help="Match rows of tables by this; else by order."
)
@click.option("--strict", is_flag=True, help="Exit 11 unless both have the same datasets, equal or close.")
@shared_options
def compare(
    a: str,
    b: str,
    types: tuple[str, ...],
    tolerance: float,
    atol: float,
    keys: tuple[str, ...],
    strict: bool,
    output: Output,
    directory: Path,
) -> int:
    """Compare A and B: runs or chains, plans, files, or directories of files.

    Datasets of the same type and data ID are compared by content, without their stories: FITS plane
    by plane and column by column, documents key by key; a table in another format by its columns. A
    value is close if
    abs(a - b) <= X + R * max(abs(a), abs(b)).
    """
    project = open_project(directory)
    found = project.compare(
        a,
        b,
        types=types,
        tolerance=tolerance,
        atol=atol,
        keys=keys,
        progress=_progress if output.verbosity >= 0 and is_terminal(sys.stderr) else None,
    )
    output.answer("compare", found.as_dict(), _text(found, output), following=_following(found))
    return Exit.DIFFERENT if strict and not found.same else Exit.OK


def _progress(done: int, total: int) -> None:
    end = "\n" if done == total else ""
    click.echo(f"\r{done:,} of {total:,} pairs of files read", nl=False, err=True)
    click.echo(end, nl=False, err=True)


def _text(found: Comparison, output: Output) -> str:
    header = ("type", "equal", "close", "different", "unreadable", "only A", "only B")
    rows = [(name, *(n or "." for n in counts.values())) for name, counts in found.types.items()]
    lines = [
        f"A: {found.a}   B: {found.b}",
        table(header, [*rows, ("total", *found.counts.values())], total=True),
    ]
    lines += [f"  {name}: {one} in A, {other} in B" for name, (one, other) in found.formats.items()]
    parts = None if output.verbosity > 0 else PARTS
    for difference in found.differences[: None if output.verbosity > 0 else WORST]:
        lines.append(f"  {difference.state}  {difference.type} {_data_id(difference.data_id)}")
        lines += [f"      {part.text}" for part in difference.parts[:parts]]
        if parts is not None and len(difference.parts) > parts:
            lines.append(f"      and {count_text(len(difference.parts) - parts, 'difference')} more: -v")
        lines += [f"      {difference.problem}"] if difference.problem else []
    if output.verbosity <= 0 and len(found.differences) > WORST:
        lines.append(f"  and {len(found.differences) - WORST:,} more: -v, or --json")
    for name, rows_ in (("A", found.only_a), ("B", found.only_b)):
        shown = rows_ if output.verbosity > 0 else rows_[:3]
        lines += [f"  only in {name}  {kind} {_data_id(text)}" for kind, text in shown]
        if len(shown) < len(rows_):
            lines.append(f"  only in {name}  and {len(rows_) - len(shown):,} more: -v")
    return "\n".join(lines)


def _data_id(text: str) -> str:
    from prestow.model import DataId

    return str(DataId.from_json(text)) if '"file"' not in text else text


def _following(found: Comparison) -> str:
    worst = next((d for d in found.differences if d.state != "close"), None)
    return f"prestow look {worst.a}" if worst is not None else "prestow status"
