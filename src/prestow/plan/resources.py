"""What each quantum needs, by numbers and expressions of its task, and what that comes to for a job."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from prestow.errors import Problem
from prestow.pipeline.definition import HINTS, RESOURCES, TaskDefinition
from prestow.pipeline.expressions import SIZES, TIMES, parse_expression
from prestow.plan.state import State, outputs_of

if TYPE_CHECKING:
    from prestow.plan.plan import Plan

Values = npt.NDArray[np.float64]
Mask = npt.NDArray[np.bool_]

UNITS: Mapping[str, Mapping[str, float]] = {
    "memory": SIZES, "cores": {}, "disk": SIZES, "walltime": TIMES, "cpu_seconds": TIMES, "output_bytes": SIZES,
}  # fmt: skip

MOST = ("memory", "cores")
"""Of these a job needs as much as the quantum that needs most: its quanta run one after the other."""

KINDS: Mapping[str, type[pl.DataType]] = {
    "memory": pl.Int64, "cores": pl.UInt16, "disk": pl.Int64, "walltime": pl.Float32,
    "cpu_seconds": pl.Float32, "output_bytes": pl.Int64,
}  # fmt: skip
"""Columns of jobs; null where no task of a job says anything."""


@dataclass(frozen=True, slots=True)
class Amounts:
    """What the quanta of each task need: one number, or one for each row; absent where nothing is said.

    Parameters
    ----------
    by_task : mapping of task to mapping of name to values
        Names are those of resources and hints.
    problems : tuple of Problem
        Expressions that give no number for some quantum (PST-P040).
    """

    by_task: Mapping[str, Mapping[str, Values]]
    problems: tuple[Problem, ...] = ()

    def of(self, task: str, name: str) -> Values | None:
        """Give what the quanta of a task need of one thing."""
        return self.by_task[task].get(name)


def find_amounts(state: State) -> Amounts:
    """Evaluate resources and hints of all tasks, in columns, each after the tasks that it reads from."""
    found: dict[str, dict[str, Values]] = {}
    problems: list[Problem] = []
    made: dict[str, Values] = {}  # bytes of each dataset of a type
    for task in state.request.pipeline.tasks:
        own = found[task.label] = {
            name: np.asarray(value, np.float64) for name, value in {**task.resources, **task.hints}.items()
        }
        if task.expressions:
            columns = _Columns(state, task, made)
            for name, text in task.expressions.items():
                values = parse_expression(text, UNITS[name], columns.names()).evaluate(columns)
                bad = ~np.isfinite(values) | (values < 0)
                if bad.any():
                    problems.append(_no_number(state, task, name, text, bad))
                    values = np.where(bad, 0.0, values)
                own[name] = values
        outputs = outputs_of(task)
        share = own.get("output_bytes", np.zeros(())) / max(len(outputs), 1)
        made.update({output.type: share for output in outputs})
    return Amounts(found, tuple(problems))


def _no_number(state: State, task: TaskDefinition, name: str, text: str, bad: Mask) -> Problem:
    quanta = state.parts[task.label].quanta
    count = int(bad.sum()) if bad.ndim else quanta.height
    row = int(np.argmax(bad)) if bad.ndim else 0
    values = ", ".join(f"{d}={quanta[d][row]}" for d in task.dimensions) if quanta.height else ""
    what = f"{name} of {task.label} is no number of at least 0 for {count} of its quanta: {text}"
    key = "hints" if name in HINTS else "resources"
    place = task.origin.get(key, f"task {task.label}") + (f" · {task.label}{{{values}}}" if values else "")
    return Problem("PST-P040", what, place, "divide by what is never 0; use max(…, 0)")


@dataclass
class _Columns(Mapping[str, Values]):
    """What expressions of a task may speak of, made when they do."""

    state: State
    task: TaskDefinition
    made: Mapping[str, Values]
    known: dict[str, Values] = field(default_factory=dict)

    def names(self) -> tuple[str, ...]:
        connections = [c.name for c in self.task.inputs]
        return (
            "n_inputs", "n_outputs", "input_bytes", *self.task.dimensions,
            *(prefix + c for prefix in ("n_inputs.", "n_", "input_bytes.") for c in connections),
        )  # fmt: skip

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def __getitem__(self, name: str) -> Values:
        if name not in self.known:
            self.known[name] = self._make(name)
        return self.known[name]

    def _make(self, name: str) -> Values:
        connections = [c.name for c in self.task.inputs]
        if name == "n_outputs":
            return np.asarray(len(outputs_of(self.task)), np.float64)
        if name in ("n_inputs", "input_bytes"):
            height = self.state.parts[self.task.label].quanta.height
            return sum((self[f"{name}.{c}"] for c in connections), np.zeros(height))
        if name in self.task.dimensions:
            return self.state.parts[self.task.label].quanta[name].cast(pl.Float64).to_numpy()
        kind, dot, connection = name.partition(".")
        if not dot:
            return self[f"n_inputs.{name.removeprefix('n_')}"]
        return self._counted(connection) if kind == "n_inputs" else self._bytes(connection)

    def _counted(self, connection: str) -> Values:
        part = self.state.parts[self.task.label]
        rows = part.inputs[connection]["quantum"].to_numpy()
        return np.bincount(rows, minlength=part.quanta.height).astype(np.float64)

    def _bytes(self, connection: str) -> Values:
        part = self.state.parts[self.task.label]
        pairs = part.inputs[connection]
        kind = next(c.type for c in self.task.inputs if c.name == connection)
        if kind in self.made:
            sizes = self.made[kind]
        elif "_size" in self.state.existing[kind].columns:
            sizes = self.state.existing[kind]["_size"].cast(pl.Float64).fill_null(0).to_numpy()
        else:
            sizes = np.zeros(())
        weights = sizes[pairs["dataset"].to_numpy()] if sizes.ndim else np.full(pairs.height, sizes)
        rows = pairs["quantum"].to_numpy()
        return np.bincount(rows, weights, minlength=part.quanta.height).astype(np.float64)


# ---------------------------------------------------------------------------- by quantum and job


def of_quanta(
    name: str, tasks: Iterable[TaskDefinition], amounts: Amounts, quanta: pl.DataFrame
) -> Values | None:
    """Give what quanta need of one thing, NaN where nothing is said; None if no task says anything.

    Parameters
    ----------
    quanta : DataFrame
        ``task`` (position among ``tasks``) and ``row``.
    """
    said = [amounts.of(task.label, name) for task in tasks]
    if all(values is None for values in said):
        return None
    each = np.array([np.nan if v is None or v.ndim else float(v) for v in said])
    task = quanta["task"].to_numpy()
    result: Values = each[task]
    for number, values in enumerate(said):
        if values is not None and values.ndim:
            mine = np.flatnonzero(task == number)
            result[mine] = values[quanta["row"].to_numpy()[mine]]
    return result


def job_columns(
    tasks: tuple[TaskDefinition, ...], amounts: Amounts, jobs: pl.DataFrame, quanta: pl.DataFrame
) -> dict[str, pl.Series]:
    """Give what jobs need: the most of ``memory`` and ``cores``, of all else the sum over their quanta.

    Parameters
    ----------
    jobs : DataFrame
        With ``first`` and ``count``.
    quanta : DataFrame
        ``task`` and ``row``, in the order of jobs.
    """
    first = jobs["first"].to_numpy()
    alone = quanta.height == jobs.height
    columns = {}
    for name in (*RESOURCES, *HINTS):
        values = of_quanta(name, tasks, amounts, quanta)
        if values is None or not jobs.height:
            columns[name] = pl.Series(name, [None], KINDS[name]).new_from_index(0, jobs.height)
            continue
        if not alone:
            values = _reduced(values, first, most=name in MOST)
        whole = values if KINDS[name] == pl.Float32 else np.ceil(values)
        if name == "cores":
            whole = np.maximum(whole, 1)
        columns[name] = pl.Series(name, whole).fill_nan(None).cast(KINDS[name])
    return columns


def resources_of(jobs: pl.DataFrame) -> dict[int, dict[str, Any]]:  # Any: numbers
    """Give what each of some jobs of a plan needs, as its table says: ``memory``, ``cores`` and so on."""
    names = [name for name in RESOURCES if name in jobs.columns]
    return {
        number: {name: value for name, value in zip(names, values, strict=True) if value is not None}
        for number, *values in jobs.select("job", *names).iter_rows()
    }


def told_of(plan: Plan, job: Mapping[str, Any]) -> dict[str, dict[str, Any]]:  # Any: numbers and texts
    """Tell what a job of a plan needs and why: for each thing ``value`` and ``from``.

    Parameters
    ----------
    job : mapping
        Its row in the table of jobs.
    """
    quanta = (
        plan.tables.scan("quanta").slice(job["first"], job["count"]).select(pl.col("task").cast(pl.String))
    )
    labels = quanta.collect()["task"].unique(maintain_order=True).to_list()
    tasks = [plan.definition.task(label) for label in labels]
    told: dict[str, dict[str, Any]] = {}
    if job.get("priority") is not None:
        told["priority"] = {
            "value": job["priority"],
            "from": "seconds of the longest way before it, itself included",
        }
    for name in (*RESOURCES, *HINTS):
        if job.get(name) is None:
            continue
        said = {t.label: t.expressions.get(name, {**t.resources, **t.hints}.get(name)) for t in tasks}
        words = ", ".join(f"{label}: {value}" for label, value in said.items() if value is not None)
        how = (
            ""
            if job["count"] == 1
            else " (the most of its quanta)"
            if name in MOST
            else " (of all its quanta)"
        )
        value = float(f"{job[name]:.6g}") if KINDS[name] == pl.Float32 else job[name]
        told[name] = {"value": value, "from": words + how}
    return told


def _reduced(values: Values, first: npt.NDArray[np.uint32], *, most: bool) -> Values:
    if most:
        result: Values = np.fmax.reduceat(values, first)
        return result
    known = ~np.isnan(values)
    sums = np.add.reduceat(np.where(known, values, 0.0), first)
    if not known.all():
        sums[~np.logical_or.reduceat(known, first)] = np.nan
    return sums
