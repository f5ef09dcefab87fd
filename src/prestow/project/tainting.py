"""Datasets marked as bad by a person, and the request that makes what they touched again without them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.errors import PlanRefusedError, Problem, ProjectError
from prestow.plan.retaining import not_needed
from prestow.plan.settled import read_settled
from prestow.plan.tainted import TAINTED, read_tainted
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
    parents : tuple of Plan
        Plans of one run whose requests it joins; the newest is the first.
    bad : frozenset of bytes
        Quanta that made or used what is tainted.
    request : dict
        Arguments of `Project.plan`. Any: whatever these are.
    others : tuple of str
        Ids of plans of the run that have such quanta, too, and were asked for otherwise: they are not replaced.
    """

    parents: tuple[Plan, ...]
    bad: frozenset[bytes]
    request: dict[str, Any]
    others: tuple[str, ...] = field(default=())

    @property
    def run(self) -> str:
        """The run whose products are made again."""
        return self.parents[0].run


def replacing(project: Project, run: str | None = None) -> Replacing:
    """Give the request of the run that made contaminated products, for a child of it.

    All its plans count that have such products and no newer plan has them: where they differ in nothing but their
    selections, these are joined.

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
    parents = _covering(project, runs[0], bad)
    requests = [{**request_of(project, parent), "with_tainted": False} for parent in parents]
    alike = [{**one, "where": ""} == {**requests[0], "where": ""} for one in requests]
    joined = [parent for parent, same in zip(parents, alike, strict=True) if same]
    wheres = list(dict.fromkeys(one["where"] for one, same in zip(requests, alike, strict=True) if same))
    where = (
        "" if "" in wheres else wheres[0] if len(wheres) == 1 else " or ".join(f"({one})" for one in wheres)
    )
    others = tuple(parent.id for parent, same in zip(parents, alike, strict=True) if not same)
    return Replacing(tuple(joined), frozenset(bad), {**requests[0], "where": where}, others)


def _covering(project: Project, run: str, bad: set[bytes]) -> list[Plan]:
    """Give the plans of a run that have bad quanta, newest first, each with some that none before it has."""
    directory = project.plans_directory
    newest = plan_files.newest_of(directory, run)
    paths = [path for path in plan_files.plan_directories(directory) if plan_files.run_of(path) == run]
    paths.sort(key=lambda path: (path == newest, (path / "plan.yaml").stat().st_mtime_ns), reverse=True)
    found, left = [], pl.Series(sorted(bad), dtype=pl.Binary)
    for path in paths:
        plan = project.find_plan(path)
        more = left.is_in(_quanta(plan).implode())
        if more.any():
            found.append(plan)
            left = left.filter(~more)
    return found


def _quanta(plan: Plan) -> pl.Series:
    return plan.tables.scan("quanta").select(pl.col("id").cast(pl.Binary)).collect()["id"]


def _runs(project: Project, bad: set[bytes]) -> list[str]:
    """Give the runs of quanta that have a plan here with some of them."""
    if not bad:
        return []
    rows = project.registry.following.quanta(bad)
    named = sorted(set(rows["run"].to_pylist()))
    planned = {plan_files.run_of(path) for path in plan_files.plan_directories(project.plans_directory)}
    return [run for run in named if run in planned and _covering(project, run, bad)]


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
    bad = pl.Series(sorted(found.bad), dtype=pl.Binary).implode()
    touched = np.zeros(len(taken), np.bool_)
    for parent in found.parents:
        hit = _quanta(parent).is_in(bad).to_numpy()
        pairs = pairs_of(parent, child)
        touched[pairs["child"].to_numpy()[hit[pairs["parent"].to_numpy()]]] = True
    return int(open_.sum()), int((open_ & ~touched).sum())


def spoiled(project: ProjectWithResults, plan: Plan) -> str:
    """Say what of a plan's inputs was found to be bad since it was made, if any quantum is still to read it.

    What was taken on purpose (``with_tainted``) is counted in the plan, and told again only where it became more.
    """
    known = read_tainted(project.registry.tainting)
    if known is None:
        return ""
    datasets = plan.tables.scan("datasets").select("dataset", id=pl.col("id").cast(pl.Binary))
    bad = datasets.join(known.frame.lazy(), on="id").collect()
    told = plan.document["request"].get("tainted") or {}
    if not bad.height or (told.get("taken") and bad.height <= told["tainted"] + told["contaminated"]):
        return ""
    readers = plan.tables.scan("inputs").join(bad.lazy(), on="dataset").select("quantum", "dataset").collect()
    open_ = read_settled(plan, project.store, registry=project.registry).states.codes == 0
    reuse = project.reusable(plan)
    if reuse is not None:
        open_[reuse["quantum"].to_numpy()] = False
    open_ &= ~not_needed(plan, open_)
    readers = readers.filter(pl.Series(open_[readers["quantum"].to_numpy()]))
    if not readers.height:
        return ""
    read = bad.filter(pl.col("dataset").is_in(readers["dataset"].implode()))
    why = next((text for text in read.filter(pl.col("why") == TAINTED)["because"]), "")
    number, quanta = read.height, readers["quantum"].n_unique()
    begun = not open_.all()
    fix = (
        "make again what used it: prestow plan --replace-tainted"
        if begun
        else f"prestow drop {plan.id[:8]}, and plan again"
    )
    return (
        f"{number:,} {'input of this plan is' if number == 1 else 'inputs of this plan are'} tainted, or made from what "
        f"is{f' ({why})' if why else ''}, and {quanta:,} {'quantum is' if quanta == 1 else 'quanta are'} still to read "
        f"{'it' if number == 1 else 'them'}; {'afterwards ' if begun else 'without it: '}{fix}"
    )
