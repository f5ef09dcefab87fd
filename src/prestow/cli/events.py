"""``prestow events``: every committed dataset, a line each, for whoever publishes them."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, write

if TYPE_CHECKING:
    from prestow.project import Project
    from prestow.registry.events import Event

POLL = 1.0
"""Seconds between two looks, with ``--follow``."""


@click.command(short_help="Tell every committed dataset, a line each.")
@click.option(
    "--after", type=click.IntRange(min=0), metavar="N", help="Only what was committed after this number."
)
@click.option("--follow", is_flag=True, help="Go on as more is committed, until interrupted.")
@click.option(
    "--into",
    metavar="FILE",
    type=click.Path(dir_okay=False),
    help="Append what FILE lacks, instead of printing.",
)
@shared_options
def events(after: int | None, follow: bool, into: str | None, output: Output, directory: Path) -> None:
    """Print one JSON line for each committed dataset, in the order of commits: raw files and products.

    Each line has a sequence number, which only grows. With --into FILE what the file lacks is appended: it goes on
    after the last whole line, so that nothing is left out whatever was interrupted. Deletions are no events.
    """
    project = open_project(directory)
    if into is not None:
        count, last = _into(project, into, after, follow=follow)
        facts = {"into": into, "written": count, "last": last}
        output.answer("events", facts, f"{count_text(count, 'event')} appended to {into}, the last is {last}")
        return
    if output.json and not follow:
        found = [json.loads(event.line()) for event in project.events(after or 0)]
        output.answer("events", {"events": found}, "")
        return
    for event in _events(project, after or 0, follow=follow):
        write(sys.stdout, event.line())


def _events(project: Project, after: int, *, follow: bool) -> Iterator[Event]:
    while True:
        for event in project.events(after):
            after = event.sequence
            yield event
        if not follow:
            return
        time.sleep(POLL)


def _into(project: Project, into: str, after: int | None, *, follow: bool) -> tuple[int, int]:
    count, last = project.write_events(into, after=after)
    try:
        while follow:
            time.sleep(POLL)
            more, last = project.write_events(into, after=after)
            count += more
    except KeyboardInterrupt:
        pass  # the way in which it ends
    return count, last
