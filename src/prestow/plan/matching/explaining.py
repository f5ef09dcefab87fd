"""Why a task has no quanta at all, in words that say what to do."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence

import polars as pl

from prestow.errors import Problem
from prestow.pipeline.definition import TaskDefinition
from prestow.plan.frames import imply
from prestow.plan.matching.sides import Side
from prestow.plan.state import LeftOut, State
from prestow.plan.telling import emptied, term_counts

SHOWN = 5  # data IDs named in one problem


def asked(state: State) -> str:
    """Say what was asked for."""
    where = f"where {state.request.where!r} " if state.request.where.strip() else ""
    return f"{where}in collections {', '.join(state.request.chain) or '(none)'}"


def explain(
    state: State, task: TaskDefinition, sides: Sequence[Side], candidates: int, left_out: Sequence[LeftOut]
) -> list[Problem]:
    """Say why a task has no quanta, if what is missing is not another task's to make."""
    if any(
        s.required and s.connection.type in state.planned and not state.frame(s.connection.type).height
        for s in sides
    ):
        return []  # said already, upstream
    problems = list(_without(state, task, sides))
    if problems:
        return problems
    if not candidates:
        return list(_unknown(state, task, sides))
    return list(_lacking(state, task, sides, candidates, left_out))


def _without(state: State, task: TaskDefinition, sides: Sequence[Side]) -> Iterator[Problem]:
    where, chain = f"task {task.label}", ", ".join(state.request.chain) or "(none)"
    for side in sides:
        name = side.connection.type
        if not side.constrains or name in state.planned or side.frame.height:
            continue
        if state.found[name]:
            number, counts, widen = emptied(state, name, task.dimensions, (task.label, side.connection.name))
            what = (
                f"of {number} {name} datasets in collections {chain} none is selected and has "
                f"the task's dimensions ({', '.join(task.dimensions)})"
            )
            what += f": {counts}" if counts else ""
            yield Problem("PST-P001", what, where, widen or "widen the selections")
        else:
            what = f"there is no {name} at all in collections {chain}"
            yield Problem("PST-P002", what, where, f"take in or make {name}, or search other collections")


def _unknown(state: State, task: TaskDefinition, sides: Sequence[Side]) -> Iterator[Problem]:
    """Say of which dimensions of a task, that no input tells, nothing is known at all: nothing joins them."""
    if any(problem.code == "PST-S007" for problem in state.problems):
        return
    told = {key for side in sides if side.constrains for key in side.keys}
    told.update(name for one in state.request.universe.dimensions.values() for name in one.implies)
    empty = [
        name
        for name in task.dimensions
        if name not in told and name in state.records and not state.records[name].height
    ]
    if empty:
        names = " and ".join(empty)
        what = f"{task.label} runs by {names}, of which none is known here, nor has any input of it one"
        first = "prestow skymap register FILE" if "skymap" in empty else f"take in what has {names}"
        fix = f"{first}; or take {names} from the dimensions of {task.label}"
        yield Problem("PST-P002", what, f"task {task.label}", fix)


def unselected(state: State) -> Iterator[str]:
    """Say of each task, all of whose quanta its own selection leaves out, which term does."""
    universe = state.request.universe
    for drop in state.left_out:
        selection = state.selections.get((drop.task, ""))
        if drop.reason != "where" or selection is None:
            continue
        frame = pl.DataFrame([json.loads(data_id) for data_id in drop.examples["data_id"]])
        frame = frame.with_columns(pl.col(d).cast(state.kinds[d]) for d in frame.columns)
        whole = f"of {'the first ' if drop.count > frame.height else ''}{frame.height:,} quanta"
        counts, _ = term_counts(imply(frame, universe, state.records), selection.terms, state, whole)
        yield f"the selection of task {drop.task}: {counts}"


def _lacking(
    state: State, task: TaskDefinition, sides: Sequence[Side], candidates: int, left_out: Sequence[LeftOut]
) -> Iterator[Problem]:
    for drop in left_out:
        lacking = [s.connection.type for s in sides if drop.reason == f"missing:{s.connection.name}"]
        if not lacking or drop.severity != "noted":
            continue  # what is not noted is told with its waiver
        if lacking[0] in state.planned:
            chosen = any(s.connection.where for s in sides if s.connection.type == lacking[0])
            if drop.count == candidates and not chosen and not task.where:
                yield _impossible(task, drop, lacking[0])
            continue
        needs = drop.examples["detail"].unique(maintain_order=True)
        more = f"; and {needs.len() - SHOWN} more" if needs.len() > SHOWN else ""
        what = (
            f"all {candidates} quanta of {task.label} lack an input; {drop.count} of them: "
            f"{'; '.join(needs.head(SHOWN))}{more}"
        )
        yield Problem("PST-P002", what, f"task {task.label}", f"take in or make the missing {lacking[0]}")


def _impossible(task: TaskDefinition, drop: LeftOut, dataset_type: str) -> Problem:
    """Give the problem of a join that nothing can meet: what is made is of other data IDs than what is asked."""
    needs = "; ".join(drop.examples["detail"].unique(maintain_order=True).head(SHOWN))
    what = f"no {dataset_type} that the plan makes agrees with any of the {drop.count} quanta of {task.label}: {needs}"
    fix = f"select data of which {dataset_type} is made too, or correct the dimensions of {task.label}"
    return Problem("PST-P002", what, f"task {task.label}", fix)
