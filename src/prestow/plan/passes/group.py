"""Group: which quanta run together in one job, in which order, and what waits for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from prestow.errors import Problem
from prestow.pipeline.definition import Pipeline
from prestow.plan.grouping.edges import find_edges, find_levels, inside_out, order_of
from prestow.plan.grouping.names import job_names, with_unique_names
from prestow.plan.state import ROW, Grouping, JobLabel, State

__all__ = ["group", "job_names"]

DEEPEST = 65_535
SHOWN = 5

JOBS = {"label": pl.UInt16, "depth": pl.UInt16, "first": ROW, "count": ROW, "ordinal": ROW}
QUANTA = {"task": pl.UInt16, "row": ROW, "job": ROW}


@dataclass(frozen=True, slots=True)
class _Shape:
    """A label before its jobs are known."""

    name: str
    tasks: tuple[str, ...]
    dimensions: tuple[str, ...]
    alone: bool
    maximum: int = 1  # data IDs of a job


def group(state: State) -> State:
    """Make jobs and edges between them; number jobs and quanta in the order of the plan."""
    shapes, problems = _shapes(state)
    depths = _depths(state.request.pipeline, shapes)
    shapes.sort(key=lambda shape: (depths[shape.name] if depths else 0, shape.name))
    labels, jobs, quanta = _jobs(state, shapes, depths or {})
    edges = find_edges(state, labels, quanta)
    if depths is None or inside_out(edges, jobs["depth"]):
        # Jobs of one label, or of two that need each other, stand in line: levels job by job.
        levels, knot = find_levels(jobs.height, edges)
        if knot:
            names = _shown(state, Grouping(labels, jobs, quanta, edges), knot)
            what = f"{len(knot)} jobs wait for each other: {names}"
            fix = "leave a task out of its cluster, or give the cluster other dimensions"
            problems.append(Problem("PST-P009", what, "clusters", fix))
        elif (deepest := int(levels.to_numpy().max(initial=0))) > DEEPEST:
            what = f"{deepest} jobs wait for each other in one line; {DEEPEST} may"
            problems.append(Problem("PST-P009", what, "clusters", "let fewer jobs wait: group more coarsely"))
        jobs, quanta, edges = _reorder(labels, jobs.with_columns(levels.clip(0, DEEPEST)), quanta, edges)
    grouping = with_unique_names(state, Grouping(labels, jobs, quanta, edges))
    return replace(state, grouping=grouping, problems=(*state.problems, *problems))


def _shown(state: State, grouping: Grouping, jobs: Sequence[int]) -> str:
    return ", ".join(job_names(state, grouping, job, job + 1)[0] for job in jobs[:SHOWN])


def _shapes(state: State) -> tuple[list[_Shape], list[Problem]]:
    pipeline, universe = state.request.pipeline, state.request.universe
    shapes, problems = [], []
    inside: set[str] = set()
    for cluster in pipeline.clusters:
        dimensions = universe.close(cluster.dimensions)
        tasks = tuple(task.label for task in pipeline.tasks if task.label in cluster.tasks)
        lacking = {t: set(dimensions) - set(state.parts[t].quanta.columns) for t in tasks}
        for task, missing in lacking.items():
            if missing:
                what = f"cluster {cluster.name} groups by what {task} lacks: {', '.join(sorted(missing))}"
                problems.append(
                    Problem(
                        "PST-P009", what, f"cluster {cluster.name}", "group by dimensions of all its tasks"
                    )
                )
        if any(lacking.values()):
            continue
        shapes.append(_Shape(cluster.name, tasks, dimensions, alone=False, maximum=cluster.maximum))
        inside.update(tasks)
    shapes += [
        _Shape(t.label, (t.label,), t.dimensions, alone=True) for t in pipeline.tasks if t.label not in inside
    ]
    return shapes, problems


def _jobs(
    state: State, shapes: Sequence[_Shape], depths: Mapping[str, int]
) -> tuple[tuple[JobLabel, ...], pl.DataFrame, pl.DataFrame]:
    """Give labels, jobs and quanta, label by label, each by data ID."""
    order = {task.label: i for i, task in enumerate(state.request.pipeline.tasks)}
    labels: list[JobLabel] = []
    jobs, quanta = [pl.DataFrame(schema=JOBS)], [pl.DataFrame(schema=QUANTA)]
    first_job = first = 0
    for number, shape in enumerate(shapes):
        if shape.alone:
            height = state.parts[shape.name].quanta.height
            rows = pl.int_range(height, dtype=ROW, eager=True).alias("row")
            members = pl.select(pl.lit(order[shape.name], pl.UInt16).alias("task"), rows, rows.alias("job"))
            counts = pl.select(pl.repeat(1, height, dtype=ROW).alias("count")).to_series()
            labels.append(JobLabel(shape.name, shape.tasks, shape.dimensions))
        else:
            groups, members = _gather(state, shape, order)
            counts = members["job"].rle().struct.field("len").cast(ROW).alias("count")
            labels.append(JobLabel(shape.name, shape.tasks, shape.dimensions, groups))
        quanta.append(members.select("task", "row", (pl.col("job") + first_job).cast(ROW)))
        jobs.append(
            counts.to_frame().select(
                pl.repeat(number, pl.len(), dtype=pl.UInt16).alias("label"),
                pl.repeat(depths.get(shape.name, 0), pl.len(), dtype=pl.UInt16).alias("depth"),
                (pl.col("count").cum_sum() - pl.col("count") + first).cast(ROW).alias("first"),
                "count",
                pl.int_range(pl.len(), dtype=ROW).alias("ordinal"),
            )
        )
        first_job += counts.len()
        first += members.height
    return tuple(labels), pl.concat(jobs, rechunk=True), pl.concat(quanta, rechunk=True)


def _gather(state: State, shape: _Shape, order: Mapping[str, int]) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give the groups that name a cluster's jobs, and its quanta by job; a null is a value here."""
    members = pl.concat(
        state.parts[task].quanta.select(
            pl.lit(order[task], pl.UInt16).alias("task"), pl.int_range(pl.len(), dtype=ROW).alias("row"),
            *shape.dimensions,
        )
        for task in shape.tasks
    )  # fmt: skip
    on = list(shape.dimensions)
    if on:
        groups = members.select(on).unique().sort(on).with_columns(job=pl.int_range(pl.len(), dtype=ROW))
        members = members.join(groups, on=on, how="left", nulls_equal=True).select("task", "row", "job")
    else:
        members = members.with_columns(job=pl.lit(0, ROW))
        groups = members.head(1).select("job")
    # So many groups in a row share a job; its name is that of the first, and how many more.
    more = pl.min_horizontal(pl.lit(shape.maximum), pl.len() - pl.int_range(pl.len())) - 1
    named = groups.select(*on, more.cast(ROW).alias("more")).gather_every(shape.maximum)
    if shape.maximum > 1:
        members = members.with_columns((pl.col("job") // shape.maximum).cast(ROW))
    return named, members.sort("job", "task", "row")


def _reorder(
    labels: Sequence[JobLabel], jobs: pl.DataFrame, quanta: pl.DataFrame, edges: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Give jobs numbers again, now by their depths."""
    places = order_of(labels)
    named = pl.col("label").replace_strict(list(places), list(places.values()), return_dtype=pl.UInt16)
    jobs = jobs.with_row_index("job").sort("depth", named, "job")
    new = jobs.select(old="job").with_row_index("new").sort("old")["new"].cast(ROW)
    quanta = quanta.with_columns(job=new.gather(quanta["job"])).sort("job", "task", "row")
    edges = edges.with_columns(parent=new.gather(edges["parent"]), child=new.gather(edges["child"]))
    first = (pl.col("count").cum_sum() - pl.col("count")).cast(ROW).alias("first")
    jobs = jobs.select("label", pl.col("depth").cast(pl.UInt16), first, "count", "ordinal")
    return jobs, quanta, edges.sort("parent", "child")


def _depths(pipeline: Pipeline, shapes: Sequence[_Shape]) -> dict[str, int] | None:
    """Give the level of each label, or None if labels need each other."""
    label_of = {task: shape.name for shape in shapes for task in shape.tasks}
    producers = pipeline.producers()
    needs: dict[str, set[str]] = {shape.name: set() for shape in shapes}
    for task in pipeline.tasks:
        for connection in task.inputs:
            if connection.type in producers:
                needs[label_of[task.label]].add(label_of[producers[connection.type]])
    depths: dict[str, int] = {}
    while len(depths) < len(needs):
        ready = [n for n, parents in needs.items() if n not in depths and parents - {n} <= depths.keys()]
        if not ready:
            return None
        depths.update({n: 1 + max((depths[p] for p in needs[n] - {n}), default=-1) for n in ready})
    return depths
