"""``prestow taint``: a dataset that is known to be bad, and all that it touched."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, table
from prestow.errors import Problem, ProjectError

SHOWN = 10

if TYPE_CHECKING:
    from prestow.project import Project
    from prestow.results.tainting import Taint


@click.command(short_help="Mark a dataset as bad, and list all that it touched.")
@click.argument("words", metavar="DATASET|FILE", nargs=-1, shell_complete=completing.dataset_words_or_file)
@click.option("--because", default="", metavar="TEXT", help="Why it is bad; it stays on record.")
@click.option(
    "--list",
    "listed",
    is_flag=True,
    help="Only list what it touched; of all that is tainted, without DATASET.",
)
@click.option("--lift", is_flag=True, help="It is good after all.")
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be marked.")
@completing.of_run
@shared_options
def taint(
    words: tuple[str, ...],
    because: str,
    listed: bool,
    lift: bool,
    dry_run: bool,
    run: str | None,
    output: Output,
    directory: Path,
) -> None:
    """Mark DATASET as bad, and list every product that was made from it, at any depth.

    DATASET may be several, by part of a data ID: 'raw{visit=12}'. From then on plans leave it out as an input,
    and take nothing over that was made from it. What is in a frozen run stays as it is, and is only told of.
    """
    if not words and not listed:
        raise ProjectError(
            Problem("PST-G005", "no dataset is named", "prestow taint", "prestow taint DATASET --because TEXT, or --list")
        )  # fmt: skip
    project = open_project(directory)
    found = project.taint(*words, because=because, run=run, lift=lift, look=listed or dry_run)
    facts = {**found.as_dict(), "because": because, "lifted": lift, "listed": listed, "dry_run": dry_run}
    named = shlex.join([*words, *(["--run", run] if run else [])])
    output.answer(
        "taint",
        facts,
        "\n".join(_lines(found, because, lift=lift, look=listed or dry_run)),
        following=_following(project, found, named, because, lift=lift, look=listed or dry_run),
    )


def _lines(found: Taint, because: str, *, lift: bool, look: bool) -> list[str]:
    verb = (
        ("would be good again" if look else "good again")
        if lift
        else "would be tainted"
        if look
        else "tainted"
    )
    lines = []
    for one in found.datasets[:SHOWN]:
        why = f", because: {one.because}" if one.because else ""
        state = "tainted" if one.because and look else verb
        if look and not because and not one.because:
            state = "not tainted"
        lines.append(f"{one}  {state}{why}{'  (released)' if one.released else ''}")
    if len(found.datasets) > SHOWN:
        lines.append(f"and {len(found.datasets) - SHOWN:,} more")
    if not found.datasets:
        return ["nothing is tainted"]
    if not found.contaminated:
        return [*lines, *_nothing(found)]
    released = f" ({found.released:,} released: cannot be changed, flagged only)" if found.released else ""
    lines.append(f"{count_text(found.contaminated, 'product')} made from it{released}")
    rows = [
        (group.run, group.task, group.type, len(group.ids), "released" if group.released else "", ", ".join(group.first))
        for group in found.touched
    ]  # fmt: skip
    lines.append(table(("run", "task", "type", "products", "", "first"), rows, indent="  ", words=6))
    return [*lines, *_not_known(found)]


def _nothing(found: Taint) -> list[str]:
    unknown = found.unknown
    if unknown.count:
        return _not_known(found)
    by = ", by the raw data that receipts name: what lies between is not all here" if unknown.cut else ""
    return [f"nothing that is taken in was made from it{by}"]


def _not_known(found: Taint) -> list[str]:
    unknown = found.unknown
    if not unknown.count:
        return []
    more = ", …" if unknown.count > len(unknown.first) else ""
    which, was = count_text(unknown.count, "other product"), "was" if unknown.count == 1 else "were"
    what = f"not known here whether {which} {was} made from it, for what lies between is not here"
    return [f"{what}: {', '.join(unknown.first)}{more}; the project that made it can tell"]


def _following(project: Project, found: Taint, named: str, because: str, *, lift: bool, look: bool) -> str:
    from prestow.project.tainting import replacing_command

    if look and named and not all(one.because for one in found.datasets):
        reason = shlex.quote(because) if because else "TEXT"
        return f"prestow taint {named} --because {reason}"
    if lift:
        return f"prestow taint {named} --lift" if look else "prestow plan"
    if not found.datasets:
        return "prestow find TYPE"
    if not found.contaminated:
        return "prestow plan"
    return replacing_command(project, found)
