"""Group: which quanta run together in one job, in which order, and what waits for what."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from prestow.errors import Problem
from prestow.pipeline.definition import Pipeline
from prestow.plan.frames import all_differ
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
    maximum: int = 1  # data IDs of a job


def group(state: State) -> State:
    """Make jobs and edges between them; number jobs and quanta in the order of the plan."""
    labels, problems = _labels(state)
    depths = _depths(state.request.pipeline, labels)
    labels.sort(key=lambda label: (depths[label.name] if depths else 0, label.name))
    jobs, quanta = _jobs(state, labels, depths or {})
    edges = _edges(state, quanta)
    if depths is not None:
        deep = jobs["depth"]
    if depths is None or (deep.gather(edges["parent"]) >= deep.gather(edges["child"])).any():
        # Jobs of one label, or of two that need each other, stand in line: levels job by job.
        levels, knot = _levels(jobs.height, edges)
        if knot:
            names = ", ".join(jobs["name"].gather(knot[:SHOWN]))
            what = f"{len(knot)} jobs wait for each other: {names}"
            fix = "leave a task out of its cluster, or give the cluster other dimensions"
            problems.append(Problem("PST-P009", what, "clusters", fix))
        jobs, quanta, edges = _reorder(jobs.with_columns(levels.alias("depth")), quanta, edges)
    counts = quanta.group_by("job", maintain_order=True).agg(count=pl.len().cast(ROW))["count"]
    jobs = jobs.with_columns(counts, (counts.cum_sum() - counts).cast(ROW).alias("first"))
    grouping = Grouping(_unique_names(state, jobs, quanta), quanta, edges)
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
        labels.append(_Label(cluster.name, tasks, dimensions, alone=False, maximum=cluster.maximum))
        inside.update(tasks)
    labels += [
        _Label(t.label, (t.label,), t.dimensions, alone=True) for t in pipeline.tasks if t.label not in inside
    ]
    return labels, problems


def _jobs(
    state: State, labels: Sequence[_Label], depths: Mapping[str, int]
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give jobs (job, name, label, depth) and quanta (task, row, job), label by label, each by data ID."""
    order = {task.label: i for i, task in enumerate(state.request.pipeline.tasks)}
    jobs = [pl.DataFrame(schema={"name": pl.String, "label": pl.String, "depth": pl.UInt16})]
    quanta = [pl.DataFrame(schema={"task": pl.UInt16, "row": ROW, "job": ROW})]
    first = 0
    for label in labels:
        members = pl.concat(
            state.parts[task].quanta.select(
                pl.lit(order[task], pl.UInt16).alias("task"), pl.col("_row").alias("row"), *label.dimensions
            )
            for task in label.tasks
        )
        distinct, members = (
            (members, members.with_columns(job="row")) if label.alone else _gather(label, members)
        )
        values = [pl.col(d).cast(pl.String).fill_null("none") for d in label.dimensions if d != "instrument"]
        title = pl.concat_str([pl.lit(label.name), *values], separator="-")
        if label.maximum > 1:
            title, distinct, members = _pack(label, title, distinct, members)
        depth = pl.lit(depths.get(label.name, 0), pl.UInt16).alias("depth")
        # Not select alone: of constants it would give one row, also for no job or for two.
        named = distinct.with_columns(title.alias("name"), pl.lit(label.name).alias("label"), depth)
        jobs.append(named.select("name", "label", "depth"))
        quanta.append(members.select("task", "row", (pl.col("job") + first).cast(ROW)))
        first += distinct.height
    numbered = pl.concat(jobs).with_row_index("job").with_columns(pl.col("job").cast(ROW))
    return numbered, pl.concat(quanta)


def _gather(label: _Label, members: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Give the distinct data IDs of a cluster's jobs, and its quanta by job; a null is a value here."""
    if not label.dimensions:
        return members.head(1), members.with_columns(job=pl.lit(0, ROW))
    on = list(label.dimensions)
    distinct = members.select(on).unique().sort(on).with_columns(job=pl.int_range(pl.len(), dtype=ROW))
    return distinct, members.join(distinct, on=on, how="left", nulls_equal=True).sort("job", "task", "row")


def _pack(
    label: _Label, title: pl.Expr, distinct: pl.DataFrame, members: pl.DataFrame
) -> tuple[pl.Expr, pl.DataFrame, pl.DataFrame]:
    """Let so many data IDs in a row share a job; its name is that of the first, and how many more."""
    more = pl.min_horizontal(pl.lit(label.maximum), pl.len() - pl.int_range(pl.len())) - 1
    added = pl.when(more > 0).then(pl.concat_str([pl.lit("+"), more.cast(pl.String)])).otherwise(pl.lit(""))
    named = distinct.select(title.alias("title") + added).gather_every(label.maximum)
    packed = members.with_columns((pl.col("job") // label.maximum).cast(ROW)).sort("job", "task", "row")
    return pl.col("title"), named, packed


def _reorder(
    jobs: pl.DataFrame, quanta: pl.DataFrame, edges: pl.DataFrame
) -> tuple[pl.DataFrame, pl.DataFrame, pl.DataFrame]:
    """Give jobs numbers again, now by their depths."""
    jobs = jobs.sort("depth", "label", "job")
    places = jobs.select(old="job").with_row_index("new").sort("old")["new"].cast(ROW)
    quanta = quanta.with_columns(job=places.gather(quanta["job"])).sort("job", "task", "row")
    edges = edges.with_columns(
        parent=places.gather(edges["parent"]), child=places.gather(edges["child"])
    ).sort("parent", "child")
    return jobs.with_columns(job=pl.int_range(pl.len(), dtype=ROW)), quanta, edges


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


def _unique_names(state: State, jobs: pl.DataFrame, rows: pl.DataFrame) -> pl.DataFrame:
    name = pl.col("name")
    twin = pl.lit(value=False) if all_differ(jobs["name"]) else name.str.to_lowercase().is_duplicated()
    bad = twin | ~name.str.contains(r"^[A-Za-z0-9._+-]*$") | (name.str.len_bytes() > LONGEST_NAME)
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


def _levels(jobs: int, edges: pl.DataFrame) -> tuple[pl.Series, list[int]]:
    """Give the longest way to each job from one that waits for nothing, and the jobs on a cycle."""
    levels = pl.zeros(jobs, pl.UInt16, eager=True)
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
