"""Group: which quanta run together in one job, in which order, and what waits for what."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import numpy.typing as npt
import polars as pl

from prestow.errors import Problem
from prestow.pipeline.definition import HINTS, Pipeline, TaskDefinition
from prestow.plan.grouping.edges import find_edges, find_levels, inside_out, order_of
from prestow.plan.grouping.names import job_names, with_unique_names
from prestow.plan.grouping.packing import pack
from prestow.plan.grouping.priorities import advice, find_priorities
from prestow.plan.resources import Amounts, find_amounts, job_columns, of_quanta
from prestow.plan.state import ROW, Grouping, JobLabel, State

__all__ = ["group", "job_names"]

DEEPEST = 65_535
ESTIMATED = {"cpu_seconds": "cpu_seconds", "bytes": "output_bytes"}
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
    maximum: int = 1  # data IDs of a job; 0: any number
    limits: Mapping[str, float] = field(default_factory=dict)  # of a job


def group(state: State) -> State:
    """Make jobs and edges between them; number jobs and quanta in the order of the plan."""
    shapes, problems = _shapes(state)
    depths = _depths(state.request.pipeline, shapes)
    shapes.sort(key=lambda shape: (depths[shape.name] if depths else 0, shape.name))
    amounts = find_amounts(state)
    problems += [*amounts.problems, *_unlimited(shapes, amounts)]
    labels, jobs, quanta = _jobs(state, shapes, depths or {}, amounts)
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
    jobs = _with_policy(state.request.pipeline.tasks, amounts, jobs, quanta, edges)
    grouping = with_unique_names(state, Grouping(labels, jobs, quanta, edges, sums=_sums(state, amounts)))
    warnings = (*state.warnings, *advice(labels, jobs))
    return replace(state, grouping=grouping, problems=(*state.problems, *problems), warnings=warnings)


def _with_policy(
    tasks: tuple[TaskDefinition, ...],
    amounts: Amounts,
    jobs: pl.DataFrame,
    quanta: pl.DataFrame,
    edges: pl.DataFrame,
) -> pl.DataFrame:
    """Add what jobs need and which come first: how a plan is run, not what it makes."""
    columns = job_columns(tasks, amounts, jobs, quanta)
    # What nobody knows counts a second a quantum, so that the longest chain still comes first.
    seconds = columns["cpu_seconds"].cast(pl.Float64)
    known = seconds.is_not_null().to_numpy()
    filled = np.where(known, seconds.fill_null(0).to_numpy(), jobs["count"].to_numpy())
    return jobs.with_columns(find_priorities(jobs, edges, filled), *columns.values())


def _sums(state: State, amounts: Amounts) -> dict[str, dict[str, float]]:
    """Give what all quanta of each task come to, by its hints."""
    sums: dict[str, dict[str, float]] = {}
    for label, part in state.parts.items():
        found = {name: amounts.of(label, name) for name in HINTS}
        height = part.quanta.height
        sums[label] = {
            name: float(values.sum()) if values.ndim else height * float(values)
            for name, values in found.items()
            if values is not None
        }
    return sums


def _unlimited(shapes: Sequence[_Shape], amounts: Amounts) -> Iterator[Problem]:
    """Find clusters with a limit of what their tasks say nothing about."""
    for shape in shapes:
        for name in set(shape.limits) & set(ESTIMATED):
            hint = ESTIMATED[name]
            silent = [task for task in shape.tasks if amounts.of(task, hint) is None]
            if silent:
                what = f"cluster {shape.name} is limited by {name}, of which nothing is said by {', '.join(silent)}"
                fix = f"add to each: hints: {{{hint}: …}}"
                yield Problem("PST-P041", what, f"cluster {shape.name}", fix)


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
        shapes.append(_Shape(cluster.name, tasks, dimensions, False, cluster.maximum, cluster.limits))
        inside.update(tasks)
    shapes += [
        _Shape(t.label, (t.label,), t.dimensions, alone=True) for t in pipeline.tasks if t.label not in inside
    ]
    return shapes, problems


def _jobs(
    state: State, shapes: Sequence[_Shape], depths: Mapping[str, int], amounts: Amounts
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
            groups, members = _gather(state, shape, order, amounts)
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


def _gather(
    state: State, shape: _Shape, order: Mapping[str, int], amounts: Amounts
) -> tuple[pl.DataFrame, pl.DataFrame]:
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
    members = members.sort("job", "task", "row")
    if shape.maximum == 1 and not shape.limits:
        return groups.select(*on, pl.lit(0, ROW).alias("more")), members
    # Groups in a row share a job; its name is that of the first, and how many more.
    weights = _weights(state, shape, amounts, members) if shape.limits else {}
    firsts = np.array(pack(weights, shape.limits, shape.maximum, groups.height), np.int64)
    counts = np.diff(firsts, append=groups.height)
    columns = {d: groups[d].gather(firsts) for d in on}
    named = pl.DataFrame({**columns, "more": pl.Series(counts - 1, dtype=ROW)})
    jobs = pl.Series("job", np.repeat(np.arange(len(firsts), dtype=np.uint32), counts))
    members = members.with_columns(jobs.gather(members["job"]))
    return named, members.sort("job", "task", "row")


def _weights(
    state: State, shape: _Shape, amounts: Amounts, members: pl.DataFrame
) -> dict[str, npt.NDArray[np.float64]]:
    """Give how much each group of a cluster has of what is limited."""
    tasks = state.request.pipeline.tasks
    group = members["job"].to_numpy()
    weights = {}
    for name in shape.limits:
        if name == "quanta":
            weights[name] = np.bincount(group).astype(np.float64)
            continue
        if name == "inputs":
            counted = {task: {name: _count_inputs(state, task)} for task in shape.tasks}
            rest = {task.label: counted.get(task.label, {}) for task in tasks}
            values = of_quanta(name, tasks, Amounts(rest), members)
        else:
            values = of_quanta(ESTIMATED[name], tasks, amounts, members)
        known = np.zeros(members.height) if values is None else np.nan_to_num(values)
        weights[name] = np.bincount(group, known).astype(np.float64)
    return weights


def _count_inputs(state: State, task: str) -> npt.NDArray[np.float64]:
    part = state.parts[task]
    total = np.zeros(part.quanta.height)
    for pairs in part.inputs.values():
        total += np.bincount(pairs["quantum"].to_numpy(), minlength=part.quanta.height)
    return total


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
