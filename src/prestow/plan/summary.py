"""What a plan comes to, for people: plain rows, and tables as text."""

from __future__ import annotations

from dataclasses import dataclass

import polars as pl

from prestow.notebook import html_table
from prestow.plan.plan import Plan
from prestow.plan.tables import TABLES


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One task of a plan, counted; ``cpu_seconds`` and ``bytes`` are forecasts from hints."""

    task: str
    jobs: int
    quanta: int
    inputs: int
    outputs: int
    cpu_seconds: float
    bytes: int


@dataclass(frozen=True, slots=True)
class LeftOutRow:
    """Quanta of one task that one reason leaves out: how many, the first of them, whether it was waived."""

    task: str
    reason: str
    quanta: int
    first: str
    detail: str
    waived: bool


@dataclass(frozen=True, slots=True)
class Summary:
    """A plan in numbers: a row for each task, and one for each reason to leave quanta out."""

    plan: str
    run: str
    tasks: tuple[TaskRow, ...]
    total: TaskRow
    left_out: tuple[str, ...]
    warnings: tuple[str, ...]
    left_out_rows: tuple[LeftOutRow, ...] = ()


def summary(plan: Plan) -> Summary:
    """Give a plan in numbers."""
    names = ("jobs", "quanta", "inputs", "outputs", "cpu_seconds", "bytes")
    rows = tuple(TaskRow(task, *(count[name] for name in names)) for task, count in plan.counts.items())
    jobs = plan.document["totals"]["jobs"]  # of a cluster's job every task counts it
    total = TaskRow("total", jobs, *(sum(getattr(row, name) for row in rows) for name in names[1:]))
    left = left_out_rows(plan)
    return Summary(plan.id, plan.run, rows, total, tuple(map(_line, left)), plan.warnings, left)


def summary_html(plan: Plan) -> str:
    """Give a plan in numbers as HTML: a row for each task."""
    found = summary(plan)
    header = ("task", "jobs", "quanta", "inputs", "outputs", "cpu seconds", "bytes")
    rows = [
        [getattr(row, name) for name in TaskRow.__dataclass_fields__] for row in (*found.tasks, found.total)
    ]
    notes = [*found.left_out, *found.warnings]
    return html_table(header, rows, caption=f"plan {found.plan[:8]}, run {found.run}", notes=notes)


def left_out_rows(plan: Plan) -> tuple[LeftOutRow, ...]:
    """Give what is left out by task and reason, each with its first data ID."""
    waived = {(one["task"], one["reason"]) for one in plan.document["request"].get("waived", ())}
    rows = []
    table = plan.tables["left_out"]
    for task, count in plan.counts.items():
        for reason, number in count["left_out"].items():
            first = table.filter((pl.col("task") == task) & (pl.col("reason") == reason)).head(1)
            data_id, detail = first.select("data_id", "detail").row(0) if first.height else ("", "")
            row = LeftOutRow(task, reason, number, data_id or "", detail or "", (task, reason) in waived)
            rows.append(row)
    return tuple(rows)


def _line(row: LeftOutRow) -> str:
    example = f", such as {row.first}: {row.detail}" if row.first else ""
    return f"{row.task}: {row.quanta} left out ({row.reason}){example}"


def explain(plan: Plan, stage: str) -> str:
    """Give one table as plain text, a line a row.

    Raises
    ------
    KeyError
        If there is no such table.
    """
    if stage not in TABLES:
        raise KeyError(stage)
    table = plan.tables[stage]
    binary = [name for name, kind in table.schema.items() if kind == pl.Binary]
    table = table.with_columns(pl.col(binary).bin.encode("hex")) if binary else table
    lines = ["  ".join(table.columns)]
    lines += ["  ".join("-" if v is None else str(v) for v in row) for row in table.iter_rows()]
    return "\n".join(lines) + "\n"
