"""``prestow find``: datasets by part of their data ID."""

from __future__ import annotations

import itertools
import json
import shlex
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, table, write
from prestow.errors import Problem, ProjectError

if TYPE_CHECKING:
    from prestow.model.universe import Universe
    from prestow.results.finding import Found

_AT_ONCE = 1000  # lines written together


@click.command(short_help="Find datasets by part of their data ID, made or planned.")
@click.argument(
    "words", metavar="TYPE [k=v]…", nargs=-1, required=True, shell_complete=completing.dataset_words
)
@click.option("--where", default="", metavar="SELECTION", help="Only datasets for which this holds.")
@click.option("--made", is_flag=True, help="Only what is taken in.")
@click.option("--planned", is_flag=True, help="Only what a plan names, and is not taken in.")
@click.option(
    "--run", "runs", multiple=True, metavar="RUN", help="Only of this run.", shell_complete=completing.runs
)
@click.option(
    "--collection",
    "collections",
    multiple=True,
    metavar="NAME",
    help="Only of this run or chain; of one data ID the first that is found.",
    shell_complete=completing.runs,
)
@click.option(
    "--plan",
    metavar="PLAN",
    help="Whose planned datasets; the newest plan's.",
    shell_complete=completing.plans,
)
@click.option("--limit", type=click.IntRange(1), metavar="N", help="No more than N.")
@click.option("--paths", is_flag=True, help="Names in the store, one a line.")
@click.option("--urls", is_flag=True, help="URLs, one a line.")
@click.option("--jsonl", is_flag=True, help="One JSON object a line for each dataset.")
@shared_options
def find(
    words: tuple[str, ...],
    where: str,
    made: bool,
    planned: bool,
    runs: tuple[str, ...],
    collections: tuple[str, ...],
    plan: str | None,
    limit: int | None,
    paths: bool,
    urls: bool,
    jsonl: bool,
    output: Output,
    directory: Path,
) -> None:
    """Find the datasets of TYPE that have these values, made or planned.

    A key may be an alias (ccd=3), may follow from a dimension of the type (band=r finds the visits
    of that band), or be joined with one by a relation (the raw exposures of visit=12). SELECTION
    may name metadata and metrics too: "exposure_time > 30", "seeing < 3"; and state, run, path and
    size.
    """
    _refuse_both({"--made": made, "--planned": planned})
    _refuse_both({"--json": output.json, "--jsonl": jsonl, "--paths": paths, "--urls": urls})
    _refuse_both({"--run": bool(runs), "--collection": bool(collections)})
    from prestow.results.finding import SHOWN, Only
    from prestow.results.finding import find as find_datasets

    project = open_project(directory)
    dataset_type, pairs = _asked(words, project.universe)
    listed = output.json or jsonl or paths or urls
    chosen = runs or collections or None
    found = find_datasets(
        project.sources(plan, chosen),
        dataset_type,
        where,
        pairs,
        runs=chosen,
        first=bool(collections),
        only=Only.MADE if made else Only.PLANNED if planned else Only.ALL,
        limit=limit or (None if listed else SHOWN),
        store=project.store,
    )
    if paths or urls:
        _lines(found.frame["path" if paths else "url"])
    elif jsonl:
        _lines(json.dumps(ref.as_dict(), ensure_ascii=False) for ref in found)
    elif output.json:
        facts = {"type": found.type.name, "count": found.total, "datasets": [r.as_dict() for r in found]}
        output.answer("find", {**facts, "notes": list(found.notes)}, "")
    else:
        options = {"--where": [where] if where else [], "--run": runs, "--collection": collections}
        options |= {"--plan": [plan] if plan else []}
        asked = [
            *words,
            *(word for name, values in options.items() for value in values for word in (name, value)),
        ]
        asked += ["--made"] * made + ["--planned"] * planned
        output.answer("find", {}, _text(found), following=_following(found, asked))
        return
    for note in found.notes:
        output.note(note)


def _refuse_both(given: dict[str, bool]) -> None:
    chosen = [name for name, there in given.items() if there]
    if len(chosen) > 1:
        raise ProjectError(
            Problem("PST-G005", f"{' and '.join(chosen)} do not go together", "the options", "choose one")
        )


def _asked(words: tuple[str, ...], universe: Universe) -> tuple[str, list[tuple[str, object]]]:
    from prestow.results.naming_words import parse_dataset, parse_pairs

    if any(mark in words[0] for mark in "{="):
        named = parse_dataset(words, universe)
        return named.type, list(named.data_id.items())
    return words[0], list(parse_pairs(words[1:]))


def _lines(lines: Iterable[str]) -> None:
    """Write many lines, some at a time."""
    several = iter(lines)
    while some := list(itertools.islice(several, _AT_ONCE)):
        write(sys.stdout, "\n".join(some))


def _text(found: Found) -> str:
    rows = found.rows(len(found))
    lines = [f"{count_text(found.total, found.type.name, found.type.name)}"]
    if rows:
        lines[0] += ": " + ", ".join(f"{n:,} {state}" for state, n in found.states.items())
        lines.append(table(found.columns, rows, words=len(found.columns)))
    if found.total > len(rows):
        lines[0] = f"{found.total:,} {found.type.name}"
        lines.append(f"  and {found.total - len(rows):,} more")
    lines += [f"  {note}" for note in found.notes]
    return "\n".join(lines)


def _following(found: Found, words: list[str]) -> str:
    states = found.states
    if found.total > len(found):
        return f"prestow find {shlex.join(words)} --paths"
    if not found.total:
        return f"prestow find {words[0]}" if len(words) > 1 else "prestow show"
    if states.get("committed"):
        waiting = found.frame.filter(found.frame["state"] == "committed")["run"].unique().to_list()
        said = {"--run", "--plan", "--collection"} & set(words)
        return (
            f"prestow ingest --run {shlex.quote(waiting[0])}"
            if said and len(waiting) == 1
            else "prestow ingest"
        )
    if states.get("planned"):
        return "prestow run"
    only = " --made" if set(states) - {"made"} and not {"--made", "--planned"} & set(words) else ""
    return f"prestow find {shlex.join(words)}{only} --urls"
