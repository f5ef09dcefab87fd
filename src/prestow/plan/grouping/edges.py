"""Edges between jobs, and the levels that follow from them, in columns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from prestow.plan.ranges import numbers_of
from prestow.plan.state import ROW, JobLabel, State

EDGES = {"parent": ROW, "child": ROW, "soft": pl.Boolean}
WIDE = 64  # jobs of a level from which on NumPy is faster than a loop

_PARENT, _CHILD = 1 << 33, 1 << 1  # an edge in one number, soft last: 2**31 jobs are enough


def find_edges(state: State, labels: Sequence[JobLabel], quanta: pl.DataFrame) -> pl.DataFrame:
    """Give the pairs of jobs of which one reads what the other makes, sorted.

    An edge is soft if the child can do without each of the inputs behind it.

    Parameters
    ----------
    quanta : DataFrame
        Task, row and job of each quantum.
    """
    pipeline = state.request.pipeline
    position = {task.label: i for i, task in enumerate(pipeline.tasks)}
    label_of = {task: i for i, label in enumerate(labels) for task in label.tasks}
    producers = pipeline.producers()
    jobs = _jobs_of(quanta, len(pipeline.tasks))
    packed: dict[int, list[pl.Series]] = {}
    plain: dict[int, bool] = {}  # whether no edge can stand twice
    seen: set[tuple[int, int]] = set()
    for task in pipeline.tasks:
        for connection in task.inputs:
            maker = producers.get(connection.type)
            if maker is None:
                continue
            pairs = state.parts[task.label].inputs[connection.name]
            if not pairs.height:
                continue
            parent, child = label_of[maker], label_of[task.label]
            alone = labels[parent].groups is None and labels[child].groups is None
            keys = _pack(
                jobs[position[maker]].gather(pairs["dataset"]),
                jobs[position[task.label]].gather(pairs["quantum"]),
                soft=connection.minimum != "all",
                inside=parent == child,
            )
            plain[parent] = plain.get(parent, True) and alone and (parent, child) not in seen
            seen.add((parent, child))
            packed.setdefault(parent, []).append(keys)
    # Labels stand one after the other, and so do the edges from them.
    parts = [_unpack(packed.pop(i), plain=plain[i]) for i in sorted(packed)]
    found = pl.concat([pl.DataFrame(schema=EDGES), *parts])
    return found.with_columns(pl.col("parent").set_sorted())


def _jobs_of(quanta: pl.DataFrame, tasks: int) -> list[pl.Series]:
    """Give, for each task, the job of each of its rows."""
    by_task = quanta.partition_by("task", as_dict=True)
    none = pl.Series("job", [], ROW)
    return [
        part["job"] if part["row"].is_sorted() else part.sort("row")["job"]
        for part in (by_task.get((i,), quanta.clear()) for i in range(tasks))
    ] or [none]


def _pack(parents: pl.Series, children: pl.Series, *, soft: bool, inside: bool) -> pl.Series:
    frame = pl.DataFrame({"parent": parents, "child": children}).lazy()
    if inside:
        frame = frame.filter(pl.col("parent") != pl.col("child"))
    key = pl.col("parent").cast(pl.UInt64) * _PARENT + pl.col("child").cast(pl.UInt64) * _CHILD + int(soft)
    return frame.select(key.alias("key")).collect()["key"]


def _unpack(parts: list[pl.Series], *, plain: bool) -> pl.DataFrame:
    keys = pl.concat(parts) if len(parts) > 1 else parts[0]
    parts.clear()
    if not keys.is_sorted():
        keys = keys.sort()
    if not plain:
        pair = keys // _CHILD
        keys = keys.filter(pair.ne_missing(pair.shift(1)))  # a hard edge stands before a soft one
    return pl.DataFrame(
        {
            "parent": (keys // _PARENT).cast(ROW),
            "child": (keys % _PARENT // _CHILD).cast(ROW),
            "soft": (keys % _CHILD).cast(pl.Boolean),
        }
    )


def find_levels(jobs: int, edges: pl.DataFrame) -> tuple[pl.Series, list[int]]:
    """Give the longest way to each job from one that waits for nothing, and the jobs that wait for each other.

    Each edge is looked at once, however long the ways are.

    Examples
    --------
    >>> chain = pl.DataFrame({"parent": [0, 1], "child": [1, 2], "soft": [False, False]})
    >>> find_levels(3, chain)[0].to_list()
    [0, 1, 2]
    """
    ordered = edges.sort("parent", "child")
    parents, children = (ordered[name].to_numpy().astype(np.int64) for name in ("parent", "child"))
    begins = np.searchsorted(parents, np.arange(jobs + 1))
    waiting = np.bincount(children, minlength=jobs)
    levels = np.zeros(jobs, np.int64)
    front = np.flatnonzero(waiting == 0)
    done = 0
    while front.size:
        done += front.size
        reached = _advance(front, begins, children, levels, waiting)
        front = reached[waiting[reached] == 0]
    if done == jobs:
        return pl.Series("depth", levels), []
    tied = (waiting[parents] > 0) & (waiting[children] > 0)
    return pl.Series("depth", levels), np.intersect1d(parents[tied], children[tied]).tolist()


Numbers = npt.NDArray[np.int64]


def _advance(
    front: Numbers, begins: Numbers, children: Numbers, levels: Numbers, waiting: Numbers
) -> Numbers:
    """Take the jobs of a level away; give those that waited for one of them, each once."""
    if front.size < WIDE:
        # A narrow level: slices are cheaper than the index of all of its edges.
        slices = [children[begins[job] : begins[job + 1]] for job in front.tolist()]
        reached = slices[0] if len(slices) == 1 else np.concatenate(slices)
    else:
        reached = children[numbers_of(begins[front], begins[front + 1] - begins[front])]
    once, counts = np.unique(reached, return_counts=True)
    waiting[once] -= counts
    levels[once] = levels[front[0]] + 1  # the last word is that of its deepest parent
    return once


def inside_out(edges: pl.DataFrame, depth: pl.Series) -> bool:
    """Say whether an edge leads to a job that does not stand below its parent."""
    return bool((depth.gather(edges["parent"]) >= depth.gather(edges["child"])).any())


def order_of(labels: Sequence[JobLabel]) -> Mapping[int, int]:
    """Give the place of each label's name among the names."""
    names = sorted(range(len(labels)), key=lambda i: labels[i].name)
    return {number: place for place, number in enumerate(names)}
