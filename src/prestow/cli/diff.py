"""``prestow diff``: two plans compared by meaning, with reasons."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, table
from prestow.errors import Exit

if TYPE_CHECKING:
    from prestow.results.plan_differences import PlanDifferences

SHOWN = 20  # lines of a kind for people; --json has them all


@click.command(short_help="Compare two plans by meaning, and say why they differ.")
@click.argument("a", metavar="A", shell_complete=completing.plans)
@click.argument("b", metavar="B", shell_complete=completing.plans)
@click.option("--strict", is_flag=True, help="Exit 11 unless both make the same from the same.")
@shared_options
def diff(a: str, b: str, strict: bool, output: Output, directory: Path) -> int:
    """Compare plans A and B: what is added, removed, made otherwise, and why.

    A plan is its id, the beginning of it, `latest`, or a run: then the newest plan of that run.
    Quanta are the same if task, data ID and recipe are. One that is made otherwise only because
    something above it is, is downstream and no cause.
    """
    project = open_project(directory)
    found = project.diff(a, b)
    following = f"prestow compare {found.a[1]} {found.b[1]}" if found.a[1] != found.b[1] else "prestow run"
    output.answer("diff", found.as_dict(), _text(found, output), following=following)
    return Exit.DIFFERENT if strict and not found.same else Exit.OK


def _text(found: PlanDifferences, output: Output) -> str:
    most = None if output.verbosity > 0 else SHOWN
    header = ("task", "same", "changed", "downstream", "added", "removed")
    rows = [(t.task, t.same, t.changed, t.downstream, t.added, t.removed) for t in found.tasks]
    total = ("total", *(sum(column) for column in list(zip(*rows, strict=True))[1:])) if rows else ("total",)
    shown = [(row[0], *(f"{n:,}" if n else "." for n in row[1:])) for row in (*rows, total)]
    lines = [f"A: plan {found.a[0][:8]}, run {found.a[1]}   B: plan {found.b[0][:8]}, run {found.b[1]}"]
    lines.append(table(header, shown, total=True))
    if found.a[0] == found.b[0]:
        return "\n".join([*lines, "  this is one plan"])
    if found.superseded:
        quanta = count_text(len(found.superseded), "quantum is", "quanta are")
        lines.append(f"  {quanta} superseded: B settled again what losses touched in A")
        lines += [f"    {one}" for one in found.superseded[:most]]
        if most is not None and len(found.superseded) > most:
            lines.append(f"    and {len(found.superseded) - most:,} more: -v")
    lines += [f"  {fact.text}" for fact in found.facts[:most]]
    if most is not None and len(found.facts) > most:
        lines.append(f"  and {len(found.facts) - most:,} more: -v")
    for word, places in (found.examples or {}).items():
        lines.append(f"  {word}: {'; '.join(places)} …")
    for cause in sorted(found.causes, key=lambda c: not c.root)[:most]:
        mark = "" if cause.root else "downstream: "
        lines.append(
            f"  {mark}{count_text(cause.quanta, 'quantum', 'quanta')} of {cause.task}, {cause.connection}: {cause.kind}"
        )
        if cause.root or output.verbosity > 0:
            lines += [f"      {example}" for example in cause.examples]
    if found.renamed:
        lines.append(f"  {count_text(found.renamed, 'output')} of equal data ID with another name")
    shared = count_text(found.shared_otherwise, "output name", "output names")
    lines.append(f"  {shared} in common with different lineage")
    return "\n".join(lines)
