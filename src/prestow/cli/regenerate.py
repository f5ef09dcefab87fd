"""``prestow regenerate``: what is absent in a sandbox, made again and held to its record."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.depth import Depth
from prestow.cli.fetch import cost_text, lines_of, split_words
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output
from prestow.errors import Exit

if TYPE_CHECKING:
    from prestow.project.regenerating import Regenerated

LINES = 20
"""Datasets of one answer that are shown; ``--json`` has them all."""


@click.command(short_help="Make what is absent in a sandbox again, and compare.")
@click.argument("words", metavar="[DATASET…]", nargs=-1, shell_complete=completing.dataset_words_or_file)
@click.option(
    "--in",
    "inside",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="The sandbox; the current directory, if not given.",
)
@click.option(
    "--into",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="From a project: fetch DATASETs into this sandbox first.",
)
@click.option(
    "--depth", type=Depth(), metavar="N|all", help="With --into: how many steps up; all, if not given."
)
@click.option("--engine", default="local", show_default=True, metavar="NAME", help="local, or dask.")
@click.option("--workers", type=click.IntRange(1), metavar="N", help="Processes of dask.")
@click.option("-n", "--dry-run", is_flag=True, help="Tell what would run, and what it costs.")
@completing.of_run
@shared_options
def regenerate(
    words: tuple[str, ...], inside: Path | None, into: Path | None, depth: int | None, engine: str, workers: int | None, dry_run: bool,
    run: str | None, output: Output, directory: Path,
) -> int:  # fmt: skip
    """Make again what does not exist where a sandbox was brought from; or only DATASETs, and what they need.

    The least is run that makes them, with the configuration and code of their run, and each result is
    compared with what is on record of it. Everything stays in the sandbox; no other project takes it in.
    """
    from prestow.engines.progress import show_progress

    asked = split_words(words)
    fetched: list[str] = []
    if into is not None:
        source = open_project(directory)
        if not asked:
            raise click.UsageError("say what to fetch: prestow regenerate DATASET --into DIR")
        brought = source.fetch(*asked, into=into, depth=depth, run=run, dry_run=dry_run)
        fetched = lines_of(brought)
        if dry_run:
            facts = {"fetched": brought.as_dict(), "dry_run": True, "cost": brought.reach.whole.as_dict()}
            following = f"prestow regenerate {shlex.join(words)} --into {shlex.quote(str(into))}"
            output.answer("regenerate", facts, "\n".join(fetched), following=following)
            return Exit.OK
        asked = []
    project = open_project(into or inside or directory)
    found = project.regenerate(
        *asked, engine=engine, workers=workers, dry_run=dry_run, run=run,
        on_event=show_progress(sys.stderr) if output.verbosity >= 0 else None,
    )  # fmt: skip
    answer = "\n".join([*fetched, *_lines(found)])
    output.answer("regenerate", found.as_dict(), answer, following=_following(found, into or inside))
    return _exit(found)


def _lines(found: Regenerated) -> list[str]:
    verb = "would make" if found.dry else "made"
    tasks = ", ".join(f"{n:,} {task}" for (_, task), n in found.quanta.items())
    if not found.quanta:
        lines = [
            "nothing to make again: all that belongs here is here"
            if not found.hindered
            else "nothing can be made again"
        ]
    else:
        lines = [f"{verb} again: {tasks} ({cost_text(found.cost)} when they ran)"]
    if found.datasets:
        lines.append(
            "held to the record: " + ", ".join(f"{n:,} {answer}" for answer, n in found.counts.items())
        )
    for answer in ("failed", "differs", "no record", "equal"):
        mine = [one for one in found.datasets if one.answer == answer]
        for one in mine[:LINES]:
            lines.append(f"  {one.answer}: {one.dataset}" + (f"  {one.how[0]}" if one.how else ""))
            lines += [f"      {text}" for text in one.how[1:6]]
        lines += [f"  and {len(mine) - LINES:,} more {answer}"] if len(mine) > LINES else []
    lines += [f"  cannot be made again: {name}: {why}" for name, why in list(found.hindered.items())[:LINES]]
    if len(found.hindered) > LINES:
        lines.append(f"  and {len(found.hindered) - LINES:,} more that cannot")
    if found.elsewhere:
        lines.append(f"  {found.elsewhere}")
    return lines


def _following(found: Regenerated, where: Path | None) -> str:
    place = f" -C {shlex.quote(str(where))}" if where is not None else ""
    if found.dry:
        return f"prestow regenerate{place}"
    if found.failures:
        return f"prestow debug {found.failures[0].job}{place}"
    made = [one for one in found.datasets if one.answer != "failed"]
    if made:
        return f"prestow look {made[-1].dataset.point.typed}{place}"
    if found.elsewhere:
        return f"prestow find {next(iter(found.hindered)).partition('{')[0]}{place}"
    return f"prestow status{place}"


def _exit(found: Regenerated) -> int:
    if any(one.answer == "failed" for one in found.datasets):
        return Exit.FAILED
    if any(one.answer == "differs" for one in found.datasets):
        return Exit.DIFFERENT
    return Exit.REFUSED if found.hindered and not found.datasets and not found.dry else Exit.OK
