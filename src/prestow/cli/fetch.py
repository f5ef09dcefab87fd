"""``prestow fetch``: a dataset and its ancestors, brought into a sandbox."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.depth import Depth
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, duration_text, size_text

if TYPE_CHECKING:
    from prestow.project.fetching import Fetched
    from prestow.results.fetching import Absent
    from prestow.results.regenerating import Cost

LINES = 20
"""Absent datasets, and names of files, that are shown; ``--json`` has them all."""


def split_words(words: tuple[str, ...]) -> list[tuple[str, ...]]:
    """Give the words of each of several datasets: ``k=v`` belongs to what stands before it.

    Examples
    --------
    >>> split_words(("coadd", "band=g", "summary{visit=3}"))
    [('coadd', 'band=g'), ('summary{visit=3}',)]
    """
    found: list[list[str]] = []
    for word in words:
        if found and "=" in word and "{" not in word and "/" not in word.partition("=")[0]:
            found[-1].append(word)
        else:
            found.append([word])
    return [tuple(one) for one in found]


@click.command(short_help="Bring a dataset and its ancestors into a sandbox.")
@click.argument(
    "words", metavar="DATASET…", nargs=-1, required=True, shell_complete=completing.dataset_words_or_file
)
@click.option(
    "--into", required=True, type=click.Path(path_type=Path), metavar="DIR",
    help="A new directory, or a sandbox from here: then only what is missing is brought.",
)  # fmt: skip
@click.option("--depth", type=Depth(), metavar="N|all", help="How many steps up; all, if not given.")
@click.option(
    "--layout", type=click.Choice(["tree"]), default="tree", show_default=True,
    help="Names in the sandbox: each dataset at its planned one.",
)  # fmt: skip
@click.option(
    "--link",
    "how",
    flag_value="link",
    help="Hard links where it is the same disk. Change no such file in place.",
)
@click.option("--copy", "how", flag_value="copy", default="copy", help="Copies; so without any option.")
@click.option("-n", "--dry-run", is_flag=True, help="List files and bytes; write nothing.")
@completing.of_run
@shared_options
def fetch(
    words: tuple[str, ...], into: Path, depth: int | None, layout: str, how: str, dry_run: bool, run: str | None,  # noqa: ARG001 - there is one layout
    output: Output, directory: Path,
) -> None:  # fmt: skip
    """Bring DATASETs and what they were made from into a directory that is a project of its own.

    There prestow look, trace, find, plan and debug work without this project, which is only read. What does
    not exist is listed with why, and with what making it again would cost. A dataset is a file, an id,
    type{k=v,…}, or: type k=v …
    """
    project = open_project(directory)

    def tell(done: int, total: int) -> None:
        if output.verbosity >= 0 and sys.stderr.isatty():
            click.echo(f"\r{done:,} of {total:,} files", nl=done == total, err=True)

    found = project.fetch(
        *split_words(words),
        into=into,
        depth=depth,
        link=how == "link",
        dry_run=dry_run,
        run=run,
        progress=tell,
    )
    output.answer(
        "fetch", found.as_dict(), "\n".join(lines_of(found)), following=_following(found, words, into)
    )


def lines_of(found: Fetched) -> list[str]:
    """Give what fetching came to as lines."""
    here = found.files - found.brought
    head = f"{count_text(found.brought, 'file')} ({size_text(found.brought_size)})"
    verb = "would bring" if found.dry else "brought"
    lines = [f"{verb} {head} into {found.into}" + (f", {here:,} there already" if here else "")]
    lines += [f"  {one}" for one in found.asked]
    if found.dry:
        names = list(found.as_dict()["names"])
        lines += [f"  {name}" for name in names[:LINES]]
        lines += (
            [f"  and {len(names) - LINES:,} more files: --json has them all"] if len(names) > LINES else []
        )
    rightful = [one for one in found.absent if one.rightful]
    absent = [one for one in found.absent if not one.rightful]
    if absent:
        lines.append(f"not there: {count_text(len(absent), 'dataset')}")
        lines += [f"  {absent_line(one)}" for one in absent[:LINES]]
        lines += [f"  and {len(absent) - LINES:,} more: --json has them all"] if len(absent) > LINES else []
        if found.reach.whole.quanta:
            lines.append(f"  all that can be made again: {cost_text(found.reach.whole)}")
    if rightful:
        lines.append(f"made without, then as now: {count_text(len(rightful), 'dataset')}")
        lines += [f"  {one.dataset}  {one.why}" for one in rightful[:LINES]]
    return [*lines, *(f"note: {note}" for note in found.notes)]


def absent_line(one: Absent) -> str:
    """Give an absent dataset as one line."""
    if one.cost is None:
        return f"{one.dataset}  {one.why}; not regenerable" + (f": {one.hindrance}" if one.hindrance else "")
    return f"{one.dataset}  {one.why}; regenerable: {cost_text(one.cost)}"


def cost_text(cost: Cost) -> str:
    """Give what something costs, as people read it."""
    parts = [count_text(cost.quanta, "quantum", "quanta")]
    parts.append("CPU unknown" if cost.cpu_seconds is None else f"{duration_text(cost.cpu_seconds)} CPU")
    parts.append("size unknown" if cost.size is None else size_text(cost.size))
    return ", ".join(parts)


def _following(found: Fetched, words: tuple[str, ...], into: Path) -> str:
    if found.dry:
        return f"prestow fetch {shlex.join(words)} --into {shlex.quote(str(into))}"
    if any(one.cost is not None for one in found.absent):
        return f"prestow regenerate -C {shlex.quote(str(into))}"
    return f"cd {shlex.quote(str(into))} && prestow trace {found.asked[0].point.typed}"
