"""Group: which quanta run together in one job, in which order, and what waits for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from prestow.errors import Problem
from prestow.pipeline.definition import Pipeline
from prestow.plan.state import ROW, Grouping, State

LONGEST_NAME = 100
DIGITS = 8  # of a quantum's id, in the name of a job that its values cannot name
SHOWN = 5


@dataclass(frozen=True, slots=True)
class _Label:
    """A task alone, or the tasks of a cluster: jobs of one label have equal shape."""

    name: str
    tasks: tuple[str, ...]
    dimensions: tuple[str, ...]
    alone: bool


def group(state: State) -> State:
    """Make jobs and edges between them; number jobs and quanta in the order of the plan."""
    labels, problems = _labels(state)
    order = {task.label: i for i, task in enumerate(state.request.pipeline.tasks)}
    jobs, quanta = _jobs(state, labels, order)
    depths = _depths(state.request.pipeline, labels)
    if depths is not None:
        jobs = jobs.with_columns(depth=pl.col("label").replace_strict(depths, return_dtype=pl.UInt16))
        grouping = _number(state, jobs, quanta)
        deep = grouping.jobs["depth"]
        flat = grouping.edges.filter(
            deep.gather(grouping.edges["parent"]) >= deep.gather(grouping.edges["child"])
        )
    if depths is None or flat.height:
        # Jobs of one label, or of two that need each other, stand in line: levels job by job.
        grouping = _number(state, jobs.with_columns(depth=pl.lit(0, pl.UInt16)), quanta)
        levels, knot = _levels(grouping)
        if knot:
            names = ", ".join(grouping.jobs["name"].gather(knot[:SHOWN]))
            what = f"{len(knot)} jobs wait for each other: {names}"
            fix = "leave a task out of its cluster, or give the cluster other dimensions"
            problems.append(Problem("PST-P009", what, "clusters", fix))
        by_place = grouping.jobs.select("label", "local").with_columns(depth=levels)
        jobs = jobs.drop("depth", strict=False).join(by_place, on=["label", "local"], maintain_order="left")
        grouping = _number(state, jobs, quanta)
    return replace(state, grouping=grouping, problems=(*state.problems, *problems))


def _labels(state: State) -> tuple[list[_Label], list[Problem]]:
    pipeline, universe = state.request.pipeline, state.request.universe
    labels, problems = [], []
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
        labels.append(_Label(cluster.name, tasks, dimensions, alone=False))
        inside.update(tasks)
    labels += [
        _Label(t.label, (t.label,), t.dimensions, alone=True) for t in pipeline.tasks if t.label not in inside
    ]
    return labels, problems


def _jobs(
    state: State, labels: Sequence[_Label], order: Mapping[str, int]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give jobs (label, local, values) and quanta (label, local, task, row); local counts in a label."""
    jobs, quanta = [], []
    for label in labels:
        members = [
            state.parts[task].quanta.select(
                pl.lit(order[task], pl.UInt16).alias("task"), pl.col("_row").alias("row"), *label.dimensions
            )
            for task in label.tasks
        ]
        every = pl.concat(members)
        named = [d for d in label.dimensions if d != "instrument"]
        if label.alone:
            distinct = every.with_columns(local="row")
        else:
            distinct = (
                every.select(label.dimensions).unique().sort(label.dimensions)
                if label.dimensions
                else every.head(1)
            )
            distinct = distinct.with_columns(local=pl.int_range(pl.len(), dtype=ROW))
            if label.dimensions:
                # a null value is a value here: quanta without a filter are one group
                every = every.join(
                    distinct, on=list(label.dimensions), how="left", nulls_equal=True, maintain_order="left"
                )
            else:
                every = every.with_columns(local=pl.lit(0, ROW))
        values = [pl.col(d).cast(pl.String).fill_null("none") for d in named]
        title = pl.concat_str([pl.lit(label.name), *values], separator="-")
        jobs.append(distinct.select(title.alias("name"), pl.lit(label.name).alias("label"), "local"))
        if label.alone:
            every = every.with_columns(local="row")
        quanta.append(every.select(pl.lit(label.name).alias("label"), "local", "task", "row"))
    return pl.concat(jobs), pl.concat(quanta)


def _depths(pipeline: Pipeline, labels: Sequence[_Label]) -> dict[str, int] | None:
    """Give the level of each label, or None if labels need each other."""
    label_of = {task: label.name for label in labels for task in label.tasks}
    producers = pipeline.producers()
    needs: dict[str, set[str]] = {label.name: set() for label in labels}
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


def _number(state: State, jobs: pl.DataFrame, quanta: pl.DataFrame) -> Grouping:
    """Put jobs in order by depth, label and data ID, and quanta by job, task and data ID."""
    jobs = jobs.sort("depth", "label", "local").with_row_index("job").with_columns(pl.col("job").cast(ROW))
    numbers = {
        label[0]: part.sort("local")["job"]
        for label, part in jobs.partition_by("label", as_dict=True).items()
    }
    numbered = [
        part.with_columns(job=numbers[label[0]].gather(part["local"]))
        for label, part in quanta.partition_by("label", as_dict=True).items()
    ]
    empty = quanta.clear().with_columns(job=pl.lit(0, ROW))
    rows = pl.concat([empty, *numbered]).select("task", "row", "job").sort("job", "task", "row")
    counts = rows.group_by("job", maintain_order=True).agg(count=pl.len().cast(ROW))
    jobs = jobs.with_columns(counts["count"]).with_columns(
        first=(pl.col("count").cum_sum() - pl.col("count")).cast(ROW)
    )
    jobs = _unique_names(state, jobs, rows)
    return Grouping(jobs, rows, _edges(state, rows))


def _unique_names(state: State, jobs: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    name = pl.col("name")
    bad = (
        name.str.to_lowercase().is_duplicated()
        | ~name.str.contains(r"^[A-Za-z0-9._+-]*$")
        | (name.str.len_bytes() > LONGEST_NAME)
    )
    flags = jobs.select(bad).to_series()
    if not flags.any():
        return jobs
    firsts = rows.gather(jobs.filter(flags)["first"])
    tasks = state.request.pipeline.tasks
    ids = [
        part.with_columns(
            digits=state.parts[tasks[index[0]].label].quanta["_id"].gather(part["row"]).bin.encode("hex")
        )
        for index, part in firsts.partition_by("task", as_dict=True).items()
    ]
    digits = pl.concat(ids).sort("job").select("job", "digits")
    jobs = jobs.join(digits, on="job", how="left", maintain_order="left")
    for length in (DIGITS, 32):
        stem = name.str.replace_all(r"[^A-Za-z0-9._+-]", "_").str.slice(0, LONGEST_NAME - length - 1)
        better = pl.concat_str([stem, pl.lit("-"), pl.col("digits").str.slice(0, length)])
        renamed = jobs.with_columns(name=pl.when(pl.col("digits").is_null()).then(name).otherwise(better))
        if not renamed["name"].str.to_lowercase().is_duplicated().any():
            break
    return renamed.drop("digits")


def _edges(state: State, rows: pl.DataFrame) -> pl.DataFrame:
    """Give the pairs of jobs of which one reads what the other makes."""
    pipeline = state.request.pipeline
    job_of = {
        pipeline.tasks[index[0]].label: part.sort("row")["job"]
        for index, part in rows.partition_by("task", as_dict=True).items()
    }
    producers = pipeline.producers()
    found = [pl.DataFrame(schema={"parent": ROW, "child": ROW, "soft": pl.Boolean})]
    for task in pipeline.tasks:
        for connection in task.inputs:
            pairs = state.parts[task.label].inputs[connection.name]
            if connection.type not in producers or not pairs.height:
                continue
            edges = pl.DataFrame(
                {
                    "parent": job_of[producers[connection.type]].gather(pairs["dataset"]),
                    "child": job_of[task.label].gather(pairs["quantum"]),
                }
            )
            soft = connection.minimum != "all"
            found.append(edges.filter(pl.col("parent") != pl.col("child")).with_columns(soft=pl.lit(soft)))
    every = pl.concat(found)
    return every.group_by("parent", "child").agg(pl.col("soft").all()).sort("parent", "child")


def _levels(grouping: Grouping) -> tuple[pl.Series, list[int]]:
    """Give the longest way to each job from one that waits for nothing, and the jobs on a cycle."""
    levels = pl.zeros(grouping.jobs.height, pl.UInt16, eager=True)
    edges = grouping.edges.select("parent", "child")
    level = 0
    while edges.height:
        waiting = pl.col("parent").is_in(edges["child"].unique().implode())
        free = edges.filter(~waiting)
        if not free.height:
            return levels, sorted(set(edges["parent"]) & set(edges["child"]))
        level += 1
        levels = levels.scatter(free["child"].unique().to_list(), level)
        edges = edges.filter(waiting)
    return levels, []
