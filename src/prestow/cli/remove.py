"""``prestow remove``: a run removed for ever, or what would go and what still depends on it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, is_terminal, size_text

if TYPE_CHECKING:
    from prestow.results.removing import Removal

SHOWN = 10


@click.command(short_help="Remove a run for ever, or see what would go.")
@click.option("--run", "run", required=True, metavar="RUN", help="Which run.", shell_complete=completing.runs)
@click.option("--yes", is_flag=True, help="Do it; without this it only shows what would go.")
@click.option("--even-so", is_flag=True, help="Also if something still depends on it.")
@shared_options
def remove(run: str, yes: bool, even_so: bool, output: Output, directory: Path) -> None:
    """Remove RUN for ever: its products, their rows in the registry, and its plans.

    What is deleted stays so: no ingest brings it back, and nothing is planned into RUN again. Receipts
    stay, so that what other runs read from it keeps its provenance. Raw runs are never removed.
    """
    project = open_project(directory)
    if not yes:
        found = project.removal(run)
        output.answer("remove", found.as_dict(), _text(found, "would go"), following=_following(found))
        return
    progress = _progress if output.verbosity >= 0 and is_terminal(sys.stderr) else None
    found = project.remove(run, even_so=even_so, progress=progress)
    output.answer("remove", found.as_dict(), _text(found, "removed"), following="prestow plan")


def _progress(done: int, total: int) -> None:
    click.echo(f"\r{done:,} of {total:,}" + ("\n" if done == total else ""), nl=False, err=True)


def _text(found: Removal, verb: str) -> str:
    types = ", ".join(f"{count:,} {kind}" for kind, count in found.types.items()) or "none"
    lines = [f"run {found.run}"]
    if found.begun:
        lines[0] += "   (its removal was begun before)"
    lines.append(f"  {verb}: {count_text(found.datasets, 'dataset')} ({size_text(found.size)}): {types}")
    if found.plans:
        lines.append(
            f"  {verb}: {count_text(len(found.plans), 'plan')}: {', '.join(p[:8] for p in found.plans)}"
        )
    if found.chains:
        lines.append(f"  {'leaves' if verb == 'would go' else 'left'} {', '.join(found.chains)}")
    lines.append(f"  stays: {count_text(found.receipts, 'receipt')}")
    lines += [f"  stays: {name}, which no receipt commits" for name in found.unexpected[:SHOWN]]
    if len(found.unexpected) > SHOWN:
        lines.append(f"  stays: {len(found.unexpected) - SHOWN:,} more files that no receipt commits")
    depends = found.dependents.lines
    lines += [f"  depends on it: {line}" for line in depends]
    return "\n".join(lines)


def _following(found: Removal) -> str:
    if found.begun and not (found.datasets or found.plans or found.chains):
        return "prestow plan"
    return f"prestow remove --run {found.run} --yes" + (" --even-so" if found.dependents.lines else "")
