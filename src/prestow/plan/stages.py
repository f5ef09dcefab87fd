"""Stages of a pipeline with barriers: each is a plan of its own, of the same run."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

from prestow.pipeline.barriers import stage_numbers
from prestow.pipeline.definition import Pipeline
from prestow.plan.document import pipeline_digest
from prestow.plan.request import Request
from prestow.plan.state import outputs_of
from prestow.plan.wanting import needed_tasks, read_wanted


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage of a pipeline.

    Parameters
    ----------
    number, of : int
        Which of how many, from 1.
    later : tuple of str
        Tasks of later stages.
    pipeline : str
        The digest of the whole pipeline: to this the run is bound.
    """

    number: int
    of: int
    later: tuple[str, ...]
    pipeline: str


def stages_in(pipeline: Pipeline) -> int:
    """Give how many stages a pipeline has; one, where it has no barrier."""
    return max(stage_numbers(pipeline.tasks).values(), default=1)


def told_of(stage: Stage | None) -> dict[str, Any]:
    """Give what the plan's document tells of its stage, outside its id: the tasks are in that."""
    if stage is None:
        return {}
    return {"stage": {"number": stage.number, "of": stage.of, "later": list(stage.later)}}


def at_stage(request: Request, number: int) -> Request:
    """Give the request of one stage: its tasks alone, reading what earlier stages made in the run.

    The dataset types of earlier stages are external to it, and recipes are those of the undivided plan
    where nothing was lost: an input that exists enters by its actual recipe.
    """
    whole = request.pipeline
    numbers = stage_numbers(whole.tasks)
    tasks = tuple(task for task in whole.tasks if numbers[task.label] == number)
    written = {output.type for task in tasks for output in outputs_of(task)}
    used = written | {connection.type for task in tasks for connection in task.inputs}
    types = {
        name: kind if name in written else replace(kind, template="")
        for name, kind in whole.dataset_types.items()
        if name in used
    }
    labels = {task.label for task in tasks}
    clusters = tuple(c for c in whole.clusters if labels.issuperset(c.tasks))
    later = tuple(task.label for task in whole.tasks if numbers[task.label] > number)
    return replace(
        request,
        pipeline=replace(whole, tasks=tasks, dataset_types=types, clusters=clusters),
        chain=request.chain if number == 1 else tuple(dict.fromkeys((request.run, *request.chain))),
        waive=tuple(text for text in request.waive if _concerns(text, whole, labels)),
        want=_wanted_at(request, labels, later),
        stage=Stage(number, stages_in(whole), later, pipeline_digest(whole)),
    )


def last_stage(request: Request) -> int:
    """Give the last stage that is needed: that of what is wanted, if something is."""
    wanted, _ = read_wanted(request.want, request.pipeline, request.universe)
    numbers = stage_numbers(request.pipeline.tasks)
    return max((numbers[one.task] for one in wanted), default=stages_in(request.pipeline))


def _wanted_at(request: Request, labels: set[str], later: Collection[str]) -> tuple[str, ...]:
    """Give what is wanted of a stage: also each type, whole, that later stages need for what is wanted of them.

    Which of its datasets these will read is known when they are there. A text that cannot be read is of this
    stage, so that it is refused.
    """
    whole, here, then = request.pipeline, [], []
    for text in request.want:
        found, problems = read_wanted([text], whole, request.universe)
        if problems or found[0].task in labels:
            here.append(text)
        elif found[0].task in later:
            then.append(found[0])
    written = {o.type for task in whole.tasks if task.label in labels for o in outputs_of(task)}
    for task in whole.tasks:
        if task.label in later and task.label in needed_tasks(then, whole):
            here += [c.type for c in task.inputs if c.type in written]
    return tuple(dict.fromkeys(here))


def _concerns(waiver: str, whole: Pipeline, labels: set[str]) -> bool:
    """Say whether a waiver is of this stage; one that is of no task at all is, so that it is refused."""
    task = waiver.strip().partition("@")[2]
    of_others = any(fnmatchcase(t.label, task) for t in whole.tasks)
    return not task or not of_others or any(fnmatchcase(label, task) for label in labels)
