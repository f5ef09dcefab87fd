"""A plan in counts, and the papers of some of its quanta: by columns and row groups, never by whole tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.plan.slices import rows_at, rows_of
from prestow.plan.states import tasks_of

if TYPE_CHECKING:
    from prestow.plan import Plan

Row = dict[str, Any]  # Any: rows for people


def task_counts(plan: Plan) -> list[Row]:
    """Give each task that has quanta, in the plan's order: ``task``, ``quanta``, ``jobs``, and ``reads`` and ``writes`` by type.

    What is read is counted in datasets: one that many quanta read counts once.
    """
    tasks = tasks_of(plan)
    there, first = np.unique(tasks.numbers, return_index=True)
    names = tuple(plan.definition.dataset_types)
    number = pl.col("type").cast(pl.Enum(names)).to_physical()
    codes = plan.tables.scan("datasets").select(number).collect()["type"].to_numpy()
    by_type = {}
    for table in ("inputs", "outputs"):
        pairs = plan.tables.scan(table).select("quantum", "dataset").collect()
        task, dataset = tasks.numbers[pairs["quantum"].to_numpy()], pairs["dataset"].to_numpy()
        counts = np.zeros((len(tasks.names), len(names)), np.int64)
        for number in there.tolist():
            seen = np.zeros(len(codes), np.bool_)
            seen[dataset[task == number]] = True
            counts[number] = np.bincount(codes[seen], minlength=len(names))
        by_type[table] = counts
    rows = []
    for number in there[np.argsort(first)].tolist():
        label = tasks.names[number]
        reads, writes = (
            {name: int(n) for name, n in sorted(zip(names, by_type[table][number], strict=True)) if n}
            for table in ("inputs", "outputs")
        )
        quanta, jobs = plan.counts[label]["quanta"], plan.counts[label]["jobs"]
        rows.append({"task": label, "quanta": quanta, "jobs": jobs, "reads": reads, "writes": writes})
    return rows


def papers_of(plan: Plan, quanta: Sequence[int]) -> list[dict[str, list[Row]]]:
    """Give what some quanta read and write, in their order: ``inputs`` with names, ``outputs`` with paths."""
    numbers = np.unique(np.array(quanta, np.int64))
    found: dict[int, dict[str, list[Row]]] = {n: {"inputs": [], "outputs": []} for n in numbers.tolist()}
    if not found:
        return []
    datasets = ("dataset", "type", "data_id", "path", "planned")
    inputs = rows_of(plan.tables, "inputs", numbers, ("quantum", "connection", "dataset"))
    inputs = _joined(plan, inputs, datasets)
    existing = inputs.filter(~inputs["planned"])["dataset"].unique().implode()
    lying = plan.tables.scan("locations").filter(pl.col("dataset").is_in(existing))
    places = lying.select("dataset", "store", place="path").collect()
    inputs = inputs.join(places, on="dataset", how="left", maintain_order="left")
    for r in inputs.iter_rows(named=True):
        name = r["path"] or f"{r['store']}:{r['place']}"
        facts = {
            "connection": r["connection"],
            "type": r["type"],
            "data_id": json.loads(r["data_id"]),
            "name": name,
        }
        found[r["quantum"]]["inputs"].append(facts)
    outputs = rows_of(plan.tables, "outputs", numbers, ("quantum", "connection", "dataset", "optional"))
    for r in _joined(plan, outputs, ("dataset", "type", "path")).iter_rows(named=True):
        facts = {name: r[name] for name in ("connection", "type", "path", "optional")}
        found[r["quantum"]]["outputs"].append(facts)
    return [found[int(quantum)] for quantum in quanta]


def _joined(plan: Plan, rows: pl.DataFrame, columns: Sequence[str]) -> pl.DataFrame:
    numbers = rows["dataset"].unique().sort().to_numpy().astype(np.int64)
    datasets = rows_at(plan.tables, "datasets", numbers, columns)
    return rows.join(datasets, on="dataset", how="left", maintain_order="left")


def job_named(plan: Plan, name: str) -> Row | None:
    """Give the row of the job of that name, or None."""
    found = plan.tables.scan("jobs").filter(pl.col("name") == name).collect()
    return found.row(0, named=True) if found.height else None


def neighbours(plan: Plan, job: int) -> tuple[list[str], list[str]]:
    """Give the names of the jobs that one waits for, and of those that wait for it."""
    edges, names = plan.tables.scan("job_edges"), []
    for mine, other in (("child", "parent"), ("parent", "child")):
        numbers = edges.filter(pl.col(mine) == job).select(other).unique().collect()[other].sort()
        jobs = rows_at(plan.tables, "jobs", numbers.to_numpy().astype(np.int64), ("name",))
        names.append(jobs["name"].to_list())
    return names[0], names[1]
