"""Barriers: a task that is planned only when all that it reads is real, so that a pipeline has stages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from prestow.pipeline.definition import Cluster, TaskDefinition
from prestow.pipeline.reader import Reader


def stage_numbers(tasks: Iterable[TaskDefinition]) -> dict[str, int]:
    """Give the stage of each task, from 1: one more than those it reads from, at a barrier.

    ``tasks`` stand after what they read.

    Examples
    --------
    >>> from dataclasses import replace
    >>> from prestow.testing.surveys import reduction
    >>> tasks = reduction().tasks
    >>> set(stage_numbers(tasks).values())
    {1}
    >>> sorted(set(stage_numbers((*tasks[:-1], replace(tasks[-1], barrier=True))).values()))
    [1, 2]
    """
    found: dict[str, int] = {}
    written: dict[str, int] = {}
    for task in tasks:
        above = max((written[c.type] for c in task.inputs if c.type in written), default=1)
        found[task.label] = above + 1 if task.barrier else above
        written.update((output.type, found[task.label]) for output in task.outputs)
    return found


def check_barriers(reader: Reader, tasks: Sequence[TaskDefinition], clusters: Iterable[Cluster]) -> None:
    """Note barriers before which nothing stands, and clusters that lie on both sides of one."""
    written = {output.type for task in tasks for output in task.outputs}
    for task in tasks:
        if task.barrier and not any(c.type in written for c in task.inputs):
            what = f"{task.label} reads nothing that this pipeline makes, so there is nothing to wait for"
            reader.note("PST-C013", ("tasks", task.label, "barrier"), what, "leave 'barrier' out")
    numbers = stage_numbers(tasks)
    for cluster in clusters:
        stages = sorted({numbers[label] for label in cluster.tasks if label in numbers})
        if len(stages) > 1:
            what = f"tasks of the cluster '{cluster.name}' are in stages {', '.join(map(str, stages))}"
            fix = "what a barrier parts cannot run in one job: take them out of the cluster"
            reader.note("PST-C013", ("clusters", cluster.name, "tasks"), what, fix)
