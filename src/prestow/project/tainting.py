"""Datasets marked as bad by a person, and the request that makes what they touched again without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.errors import PlanRefusedError, Problem, ProjectError
from prestow.plan.retaining import not_needed
from prestow.project import plans as plan_files
from prestow.project.binding import ancestors, chain_name
from prestow.project.repairing import request_of
from prestow.results.superseding import pairs_of
from prestow.results.tainting import Taint, records_of, tainted, touched_by

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.project.afterwards import ProjectWithResults
    from prestow.project.project import Project

SEVERAL = 5


def taint(
    project: ProjectWithResults,
    words: Sequence[str],
    because: str = "",
    *,
    run: str | None = None,
    lift: bool = False,
    look: bool = False,
) -> Taint:
    """Mark datasets as bad, or free them of it (``lift``), and give what they touched.

    Parameters
    ----------
    words : sequence of str
        A dataset, or several by part of a data ID; all that is tainted, where only looked at and none is given.
    look : bool
        Change nothing.

    Raises
    ------
    ProjectError
        PST-T022 if nobody says why; else as `prestow.results.tainting.touched_by`.
    """
    if not words and look:
        return tainted(project.registry)
    if not (look or lift or because.strip()):
        what = "what is bad needs a reason: it stays on record"
        raise ProjectError(Problem("PST-T022", what, "--because", "prestow taint DATASET --because TEXT"))
    found = touched_by(project.recorded(run=run), project.registry, words, run=run)
    if look:
        return found
    changed = project.registry.tainting.mark(project.store, records_of(found), because.strip(), bad=not lift)
    marked = tuple(replace(one, because="" if lift else because.strip()) for one in found.datasets)
    return replace(found, datasets=marked, changed=changed)


@dataclass(frozen=True, slots=True)
class Replacing:
    """The request that makes contaminated products again without what is tainted.

    Parameters
    ----------
    parent : Plan
        Whose request it is.
    bad : frozenset of bytes
        Its quanta that made or used what is tainted.
    request : dict
        Arguments of `Project.plan`. Any: whatever these are.
    """

    parent: Plan
    bad: frozenset[bytes]
    request: dict[str, Any]


def replacing(project: Project, run: str | None = None) -> Replacing:
    """Give the request of the run that made contaminated products, for a child of it.

    Parameters
    ----------
    run : str, optional
        Which run, where several have such products.

    Raises
    ------
    PlanRefusedError
        PST-T023 if no run with a plan has such products, PST-T024 if several have.
    """
    bad = project.registry.tainting.bad_quanta()
    runs = _runs(project, bad)
    if run is not None:
        runs = [one for one in runs if one == run]
    if not runs:
        what = (
            f"nothing in {f'run {run}' if run else 'any run with a plan here'} was made from what is tainted"
        )
        raise PlanRefusedError(
            Problem("PST-T023", what, "plan --replace-tainted", "look: prestow taint --list")
        )
    if len(runs) > 1:
        what = f"{len(runs)} runs have products that were made from what is tainted"
        shown = ", ".join(runs[:SEVERAL]) + (", …" if len(runs) > SEVERAL else "")
        fix = f"one after the other: prestow plan --replace-tainted --child-of {runs[0]}"
        raise PlanRefusedError(Problem("PST-T024", what, shown, fix))
    path = plan_files.newest_of(project.plans_directory, runs[0])
    assert path is not None, "only runs with a plan are among them"
    parent = project.find_plan(path)
    return Replacing(parent, frozenset(bad), {**request_of(project, parent), "with_tainted": False})


def _runs(project: Project, bad: set[bytes]) -> list[str]:
    """Give the runs of quanta that have a plan here."""
    if not bad:
        return []
    rows = project.registry.following.quanta(bad)
    named = sorted(set(rows["run"].to_pylist()))
    planned = {plan_files.run_of(path) for path in plan_files.plan_directories(project.plans_directory)}
    return [run for run in named if run in planned]


def replacing_command(project: Project, found: Taint) -> str:
    """Give the command that plans what was touched again: a child of its run, or another run where none can be.

    A child goes into the chain of its run, and into a frozen chain nothing goes; a run without a plan here has no
    request that could be made again.
    """
    registry = project.registry
    planned = {plan_files.run_of(path) for path in plan_files.plan_directories(project.plans_directory)}
    first = {run: ((run, *ancestors(registry, run))[-1]) for run in found.runs}
    frozen = set(registry.frozen.among(chain_name(name) for name in first.values()))
    open_ = [run for run in found.runs if run in planned and chain_name(first[run]) not in frozen]
    if open_:
        several = sum(run in planned for run in found.runs) > 1
        return "prestow plan --replace-tainted" + (f" --child-of {open_[0]}" if several else "")
    known = registry.collections()
    name = first[found.runs[0]]
    free = next(f"{name}-{number}" for number in range(2, len(known) + 3) if f"{name}-{number}" not in known)
    return f"prestow plan --run {free}"


def beyond(project: Project, found: Replacing, child: Plan) -> tuple[int, int]:
    """Count the quanta that a child makes, and those of them that nothing tainted touched."""
    reuse = project.reusable(child)
    taken = np.zeros(child.document["totals"]["quanta"], np.bool_)
    if reuse is not None:
        taken[reuse["quantum"].to_numpy()] = True
    open_ = ~taken
    open_ &= ~not_needed(child, open_)
    ids = found.parent.tables.scan("quanta").select(pl.col("id").cast(pl.Binary)).collect()["id"]
    hit = ids.is_in(pl.Series(list(found.bad), dtype=pl.Binary).implode()).to_numpy()
    pairs = pairs_of(found.parent, child)
    touched = np.zeros(len(taken), np.bool_)
    touched[pairs["child"].to_numpy()[hit[pairs["parent"].to_numpy()]]] = True
    return int(open_.sum()), int((open_ & ~touched).sum())
