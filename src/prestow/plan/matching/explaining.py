"""Why a task has no quanta at all, in words that say what to do."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from prestow.errors import Problem
from prestow.pipeline.definition import TaskDefinition
from prestow.plan.matching.sides import Side
from prestow.plan.state import LeftOut, State
from prestow.plan.telling import emptied

SHOWN = 5  # data IDs named in one problem


def asked(state: State) -> str:
    """Say what was asked for."""
    return f"where {state.request.where!r} in collections {', '.join(state.request.chain) or '(none)'}"


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
    if problems or not candidates:
        return problems
    return list(_lacking(state, task, sides, candidates, left_out))


def _without(state: State, task: TaskDefinition, sides: Sequence[Side]) -> Iterator[Problem]:
    where, chain = f"task {task.label}", ", ".join(state.request.chain) or "(none)"
    for side in sides:
        name = side.connection.type
        if not side.constrains or name in state.planned or side.frame.height:
            continue
        if state.found[name]:
            number, counts, widen = emptied(state, name, task.dimensions)
            what = (
                f"of {number} {name} datasets in collections {chain} none is selected and has "
                f"the task's dimensions ({', '.join(task.dimensions)})"
            )
            what += f": {counts}" if counts else ""
            yield Problem("PST-P001", what, where, widen or "widen the selections")
        else:
            what = f"there is no {name} at all in collections {chain}"
            yield Problem("PST-P002", what, where, f"take in or make {name}, or search other collections")


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
