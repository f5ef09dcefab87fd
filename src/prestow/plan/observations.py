"""Whether a selection could take only part of an observation that a task gathers: half a visit."""

from __future__ import annotations

from collections.abc import Iterator

from prestow.model.instants import begins
from prestow.model.universe import Universe
from prestow.pipeline.definition import InputConnection, TaskDefinition
from prestow.plan.state import State


def observations_of(universe: Universe, task: TaskDefinition) -> tuple[str, ...]:
    """Give the dimensions of a task that are observations: those whose records say when they began."""
    return tuple(d for d in task.dimensions if begins(universe, d))


def gathers(state: State) -> Iterator[tuple[TaskDefinition, InputConnection]]:
    """Give the inputs of which a quantum about an observation may read several datasets of it."""
    universe, pipeline = state.request.universe, state.request.pipeline
    for task in pipeline.tasks:
        if not observations_of(universe, task):
            continue
        own = set(universe.expand(task.dimensions))
        for connection in task.inputs:
            kind = set(pipeline.dataset_types[connection.type].dimensions)
            if any(begins(universe, d) for d in kind) and kind - own:
                yield task, connection


def may_take_part(state: State) -> bool:
    """Say whether the request's selection could take only part of what a gather sees of an observation.

    It cannot where it speaks only of what a task's own data ID says: its dimensions, what they imply, and
    metadata of these. So a choice of visits is none, and a choice of detectors is one for a gather of
    a visit's detectors. Exclusions are no selection: what is excluded is not missed.
    """
    selection = state.selections.get(("", ""))
    if selection is None and state.listed is None:
        return False
    universe = state.request.universe
    named: set[str] = set() if state.listed is None else set(state.listed.columns)
    for column in selection.columns if selection is not None else ():
        element, dot, _ = column.rpartition(".")
        owners = [d.name for d in universe.dimensions.values() if column in d.metadata]
        named.update([element] if dot else [column] if column in universe.dimensions else owners)
    return any(named - set(universe.expand(task.dimensions)) for task, _ in gathers(state))
