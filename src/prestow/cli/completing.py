"""What a shell offers after a command: dataset types, keys and values, runs, plans, tasks, jobs.

Each function is a ``shell_complete`` of click: give it to an argument or option. They are quick
(no dataframes, but for jobs), give few candidates, and never say anything but candidates.
"""

from __future__ import annotations

import os
import re
import shlex
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import BashComplete, CompletionItem, add_completion_class

from prestow.errors import PrestowError

if TYPE_CHECKING:
    from prestow.project import Project
    from prestow.registry.glance import Glance

MOST = 50
"""Candidates at most."""

_PLAIN = re.compile(r"[A-Za-z0-9._+:/@=-]*")
_FAILURES = (PrestowError, OSError, sqlite3.Error, ValueError, LookupError, TypeError, AttributeError)
# The last three are what a damaged plan gives: its values are taken as they are.

Items = list[CompletionItem]
Completer = Callable[[click.Context, click.Parameter, str], Items]


class _Bash(BashComplete):
    """Bash, without a blank after ``visit=``."""

    source_template = BashComplete.source_template.replace(
        "    return 0\n",
        "    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *= ]] && compopt -o nospace 2> /dev/null\n\n"
        "    return 0\n",
        1,
    )


add_completion_class(_Bash)


def _quietly(look: Callable[[click.Context, str], Iterable[str]], *, files: bool = False) -> Completer:
    """Make a completer of what gives candidates; where that fails, or finds none, there may be files."""

    def complete(ctx: click.Context, param: click.Parameter, incomplete: str) -> Items:  # noqa: ARG001 - click's signature
        try:
            found = [text for text in dict.fromkeys(look(ctx, incomplete)) if text]
        except _FAILURES:
            found = []
        if files and not found:
            return [CompletionItem(incomplete, type="file")]
        return [CompletionItem(_quoted(text)) for text in found[:MOST]]

    complete.__doc__ = look.__doc__
    return complete


def _quoted(text: str) -> str:
    """Give a candidate as bash wants it; other shells quote by themselves."""
    bash = os.environ.get("_PRESTOW_COMPLETE", "").startswith("bash")
    return text if _PLAIN.fullmatch(text) or not bash else shlex.quote(text)


def _dataset_types(ctx: click.Context, incomplete: str) -> Iterator[str]:
    """Complete a dataset type."""
    project = _project(ctx)
    yield from (name for name in sorted(_types(project)) if name.startswith(incomplete))


def _pairs(ctx: click.Context, incomplete: str) -> Iterator[str]:
    """Complete ``k=`` and its values."""
    yield from _key_or_value(_project(ctx), None, _before(ctx), incomplete)


def _dataset_words(ctx: click.Context, incomplete: str) -> Iterator[str]:
    """Complete ``TYPE k=v …``: the type first, then its keys and their values."""
    before, project = _before(ctx), _project(ctx)
    types = _types(project)
    if not before:
        yield from (name for name in sorted(types) if name.startswith(incomplete))
    else:
        yield from _key_or_value(project, types.get(before[0]), before[1:], incomplete)


def _dataset_or_job_words(ctx: click.Context, incomplete: str) -> Iterator[str]:
    """Complete a job, or ``TYPE k=v …``."""
    if not _before(ctx):
        types = [name for name in sorted(_types(_project(ctx))) if name.startswith(incomplete)]
        yield from types
        if not types:
            yield from _jobs(ctx, incomplete)
    else:
        yield from _dataset_words(ctx, incomplete)


def _plan_or_what(ctx: click.Context, incomplete: str) -> Iterator[str]:
    """Complete a plan, or what is in one: a task, a dataset type, a job."""
    if not _before(ctx):
        yield from _plans(ctx, incomplete)
    words = [*_tasks(ctx, incomplete), *_dataset_types(ctx, incomplete)]
    yield from words or _jobs(ctx, incomplete)


def _plans(ctx: click.Context, incomplete: str) -> Iterator[str]:
    """Complete the id of a plan."""
    from prestow.project.plans import LATEST

    known = (LATEST, *(name[:12] for name in _project(ctx).plans()))
    yield from (name for name in known if name.startswith(incomplete))


def _runs(ctx: click.Context, incomplete: str) -> Iterator[str]:
    """Complete a run or another collection."""
    project = _project(ctx)
    planned = _newest(project).get("run")
    with _glance(project) as glance:
        known = set(glance.collections()) if glance is not None else set()
    known.update([planned] if isinstance(planned, str) else [])
    yield from (name for name in sorted(known) if name.startswith(incomplete))


def _tasks(ctx: click.Context, incomplete: str) -> Iterator[str]:
    """Complete a task of the newest plan."""
    names = _newest(_project(ctx)).get("counts", {})
    yield from (name for name in names if name.startswith(incomplete))


def _jobs(ctx: click.Context, incomplete: str) -> Iterator[str]:
    """Complete a job of the newest plan, or of the one that ``--plan`` names."""
    import polars as pl

    project = _project(ctx)
    plan = ctx.params.get("plan") or "latest"
    found = project.plan_directory(plan) / "jobs.parquet"
    names = (
        pl.scan_parquet(found, glob=False).select("name").filter(pl.col("name").str.starts_with(incomplete))
    )
    try:
        yield from names.head(MOST).collect()["name"]
    except pl.exceptions.PolarsError as error:
        raise LookupError("the plan is damaged") from error


dataset_types = _quietly(_dataset_types)
pairs = _quietly(_pairs)
dataset_words = _quietly(_dataset_words)
dataset_or_job_words = _quietly(_dataset_or_job_words, files=True)
dataset_words_or_file = _quietly(_dataset_words, files=True)
plan_or_what = _quietly(_plan_or_what)
plans = _quietly(_plans)
runs = _quietly(_runs)
runs_or_files = _quietly(_runs, files=True)
tasks = _quietly(_tasks)
jobs = _quietly(_jobs)


# --- what is asked ---------------------------------------------------------------------------


def _project(ctx: click.Context) -> Project:
    from prestow.project import Project

    given = ctx.params.get("directory") or ctx.find_root().params.get("directory")
    return Project.open(Path(given or "."))


def _before(ctx: click.Context) -> list[str]:
    """Give the words before the one that is completed: those of the argument of several words."""
    several = [p.name for p in ctx.command.params if isinstance(p, click.Argument) and p.nargs == -1]
    words: Any = ctx.params.get(str(several[0])) if several else ()  # Any: click's values
    return list(words or ())


@contextmanager
def _glance(project: Project) -> Iterator[Glance | None]:
    from prestow.registry.database import sqlite_path
    from prestow.registry.glance import Glance

    url = project.configuration.registry
    if not os.path.isfile(sqlite_path(url)):
        yield None
        return
    with Glance.open(url, project.universe) as glance:
        yield glance


def _newest(project: Project) -> dict[str, Any]:  # Any: plain values
    """Give the document of the newest plan, or nothing."""
    from prestow.documents import read_document

    if not project.plans():
        return {}
    data = read_document(project.plan_directory("latest") / "plan.yaml").data
    return data if isinstance(data, dict) else {}


def _types(project: Project) -> dict[str, tuple[str, ...]]:
    """Give the dimensions of every dataset type, made or planned."""
    known = _newest(project).get("pipeline", {}).get("dataset_types", ())
    found = {name: tuple(kind["dimensions"]) for name, kind in dict(known).items()}
    with _glance(project) as glance:
        return {**found, **(glance.dataset_types() if glance is not None else {})}


def _key_or_value(
    project: Project, dimensions: tuple[str, ...] | None, before: list[str], incomplete: str
) -> Iterator[str]:
    """Complete a key or a value.

    Bash cuts words at ``=``: then the key and the mark stand before, or the key alone, because
    click drops a mark that is the last word.
    """
    words = list(before)
    cut = len(words) > 1 and words[-1] == "="
    if cut:
        words.pop()
    elif not incomplete and words and (len(words) == 1 or words[-2] != "="):
        cut = "=" not in words[-1] and project.universe.canonical(words[-1]) is not None
    key, equals, begin = (words.pop(), "=", incomplete) if cut else incomplete.partition("=")
    given = dict(_given(words))
    if not equals:
        yield from _keys(project, dimensions, given, incomplete)
        return
    dimension = project.universe.canonical(key)
    normal = {project.universe.canonical(name): value for name, value in given.items()}
    with _glance(project) as glance:
        if dimension is None or glance is None:
            return
        others = {name: value for name, value in normal.items() if name is not None}
        values = glance.values(dimension, begin, others, MOST)
    yield from values if cut else (f"{key}={value}" for value in values)


def _given(words: list[str]) -> Iterator[tuple[str, str]]:
    """Give the pairs among some words, also where a shell cut them at ``=``."""
    joined = " ".join(words).replace(" = ", "=")
    for word in joined.split(" "):
        key, equals, value = word.partition("=")
        if equals:
            yield key, value


def _keys(
    project: Project, dimensions: tuple[str, ...] | None, given: dict[str, str], incomplete: str
) -> Iterator[str]:
    universe = project.universe
    names = list(universe.dimensions if dimensions is None else dimensions)
    if dimensions is not None:
        names += [name for name in universe.expand(dimensions) if name not in names]
        for relation in universe.relations.values():
            if any(set(side) <= set(dimensions) for side in relation.between):
                names += [name for name in relation.dimensions if name not in names]
    taken = {universe.canonical(name) for name in given}
    known = [name for name in names if name not in taken]
    aliases = [alias for name in known for alias in universe.dimensions[name].aliases]
    own = [f"{name}=" for name in known if name.startswith(incomplete)]
    yield from own or (f"{alias}=" for alias in aliases if alias.startswith(incomplete))


of_run = click.option(
    "--run", metavar="RUN", shell_complete=runs, help="Of several runs that have it, this one."
)
"""The option of commands that take one dataset."""
