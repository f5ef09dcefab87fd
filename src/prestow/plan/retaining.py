"""What need not be made and what need not be kept: intermediates, and who reads each of them last.

*Retained* is what is wanted for itself; the rest is made only for its readers. ``retain`` says how long files
are kept: what is kept ``until_consumed`` is not retained.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from prestow.pipeline.definition import RETAIN
from prestow.plan.states import tasks_of
from prestow.plan.walking import edges_of, jobs_whole, spread

if TYPE_CHECKING:
    from prestow.pipeline.definition import Pipeline, TaskDefinition
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
    makers, readers = edges_of(plan)
    of_candidates = candidates[makers]
    makers, readers = makers[of_candidates], readers[of_candidates]
    read = nothing.copy()
    read[makers] = True
    needed = unsettled & ~(candidates & read)
    alive = unsettled[readers]
    makers, readers = makers[alive], readers[alive]
    whole = jobs_whole(plan)
    needed = spread(needed, readers, makers, lambda marked: unsettled & whole(marked))
    return unsettled & ~needed


def retain_of(pipeline: Pipeline) -> dict[str, str]:
    """Give how long datasets are kept, by type, of those types that are not kept for ever."""
    return {
        output.type: output.retain
        for task in pipeline.tasks
        for output in task.outputs
        if output.retain != RETAIN[-1]
    }


def last_readers(plan: Plan) -> pl.DataFrame:
    """Give for each planned dataset that some quantum reads how many read it, and which of them comes last.

    Columns ``dataset, readers, last``: rows of the plan, and the last quantum in the order in which the plan
    would be run, level by level.

    Examples
    --------
    >>> from prestow.testing.surveys import UNIVERSE, Request, Survey, build_plan, reduction
    >>> plan = build_plan(Request("demo", reduction(), UNIVERSE, ("raw",)), Survey.make(2, 1))
    >>> frame = last_readers(plan)
    >>> frame.columns, bool((frame["readers"] > 0).all())
    (['dataset', 'readers', 'last'], True)
    """
    inputs = plan.tables.scan("inputs").select("quantum", "dataset").collect()
    planned = plan.tables.scan("datasets").select("planned").collect()["planned"]
    inputs = inputs.filter(planned.gather(inputs["dataset"]))
    job = plan.tables.scan("quanta").select("job").collect()["job"]
    depth = plan.tables.scan("jobs").select("job", "depth").collect().sort("job")["depth"]
    when = depth.gather(job.gather(inputs["quantum"]))
    ordered = inputs.with_columns(when=when).sort("dataset", "when", "quantum")
    return (
        ordered.group_by("dataset", maintain_order=True)
        .agg(readers=pl.col("quantum").n_unique(), last=pl.col("quantum").last())
    )  # fmt: skip
