"""What need not be made: intermediates that are not retained, and that nobody will read any more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from prestow.plan.states import tasks_of

if TYPE_CHECKING:
    from prestow.pipeline.definition import TaskDefinition
    from prestow.plan import Plan

Mask = npt.NDArray[np.bool_]


def is_passing(task: TaskDefinition) -> bool:
    """Say whether nothing that a task writes is retained; what the node writes of it by itself does not count."""
    own = [output for output in task.outputs if not output.name.startswith("_")]
    return bool(own) and not any(output.retained for output in own)


def not_needed(plan: Plan, unsettled: Mask) -> Mask:
    """Say which unsettled quanta need not run.

    These are quanta of tasks that retain nothing, which some quantum of the plan reads, but none that has to
    run; and with them no other of their job has to. What nobody in the plan reads was asked for itself.

    Parameters
    ----------
    unsettled : array of bool
        Quanta that are neither settled nor taken from elsewhere.

    Examples
    --------
    >>> from prestow.testing.surveys import UNIVERSE, Request, Survey, build_plan, reduction
    >>> plan = build_plan(Request("demo", reduction(), UNIVERSE, ("raw",)), Survey.make(2, 1))
    >>> int(not_needed(plan, np.ones(plan.document["totals"]["quanta"], np.bool_)).sum())
    0
    """
    nothing: Mask = np.zeros(len(unsettled), np.bool_)
    passing = [i for i, task in enumerate(plan.definition.tasks) if is_passing(task)]
    if not passing or not unsettled.any():
        return nothing
    candidates = unsettled & np.isin(tasks_of(plan).numbers, passing)
    if not candidates.any():
        return nothing
    makers, readers = _edges(plan, candidates)
    read = nothing.copy()
    read[makers] = True
    needed = unsettled & ~(candidates & read)
    alive = unsettled[readers]
    makers, readers = makers[alive], readers[alive]
    job = plan.tables.scan("quanta").select("job").collect()["job"].to_numpy()
    shared = job[1:] == job[:-1]
    grouped = bool(shared.any())
    while True:  # a round for each level; an edge that was followed is done with
        if grouped:
            jobs = np.zeros(plan.document["totals"]["jobs"], np.bool_)
            jobs[job[needed]] = True
            needed = unsettled & jobs[job]
        reached = needed[readers]
        if not reached.any():
            return unsettled & ~needed
        needed[makers[reached]] = True
        makers, readers = makers[~reached], readers[~reached]


def _edges(plan: Plan, candidates: Mask) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Give who makes and who reads, for all that candidates make."""
    producers = plan.tables.scan("datasets").select("producer").collect()["producer"]
    planned = producers.is_not_null().to_numpy()
    maker = producers.fill_null(0).to_numpy()
    wanted = planned & candidates[maker]
    inputs = plan.tables.scan("inputs").select("quantum", "dataset").collect()
    mine = wanted[inputs["dataset"].to_numpy()]
    return maker[inputs["dataset"].to_numpy()[mine]], inputs["quantum"].to_numpy()[mine]
