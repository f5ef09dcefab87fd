"""Numbers and order of rows, jobs and the quanta in them, and that no row refers to nothing."""

from __future__ import annotations

from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from prestow.verify.findings import Findings
from prestow.verify.paper import Array, Paper, codes, numbers, within

JOB_NAME = r"^[A-Za-z0-9._+-]{1,100}$"


def check_numbers(paper: Paper, findings: Findings) -> None:
    """Check numbers, order, and the ranges of jobs."""
    for table, column in (("datasets", "dataset"), ("quanta", "quantum"), ("jobs", "job")):
        found = paper.column(table, column)
        wrong = pc.not_equal(found, numbers(len(found)))
        findings.rows("PST-V005", wrong, lambda i, t=table, f=found: f"{t}.parquet, row {i}: {f[i]}")  # type: ignore[misc]
    existing = paper.height("locations")
    planned = paper.column("datasets", "planned")
    misplaced = pc.not_equal(planned, pc.greater_equal(numbers(len(planned)), existing))
    # What exists stands first, and each of it has a place: so planned is known from the row alone.
    findings.rows("PST-V032", misplaced, lambda i: f"dataset {i}: {existing} places, planned: {planned[i]}")
    places = paper.column("locations", "dataset")
    wrong = pc.not_equal(places, numbers(len(places)))
    findings.rows("PST-V032", wrong, lambda i: f"locations.parquet, row {i}: dataset {places[i]}")
    _order(paper, findings)
    _jobs(paper, findings)


def _order(paper: Paper, findings: Findings) -> None:
    for table, columns in (
        ("inputs", ("quantum",)),
        ("outputs", ("dataset",)),
        ("job_edges", ("parent", "child")),
    ):
        keys = [paper.column(table, column) for column in columns]
        down = falls(keys, strict=table != "inputs")
        findings.rows("PST-V006", down, lambda i, t=table: f"{t}.parquet, rows {i} and {i + 1}")  # type: ignore[misc]
    jobs = paper.column("quanta", "job")
    findings.rows(
        "PST-V006", falls([jobs], strict=False), lambda i: f"quanta.parquet, rows {i} and {i + 1}: by job"
    )


def falls(keys: list[Array], *, strict: bool) -> Array:
    """Say of each row but the last whether the next stands before it (or, if strict, beside it)."""
    height = max(len(keys[0]) - 1, 0)
    result = pa.array([strict] * height, pa.bool_())
    for key in reversed(keys):
        here, there = key.slice(0, height), key.slice(1)
        result = pc.or_(pc.greater(here, there), pc.and_(pc.equal(here, there), result))
    return result


def _jobs(paper: Paper, findings: Findings) -> None:
    height = paper.height("jobs")
    job_of = paper.column("quanta", "job")
    good = within(job_of, height)
    findings.rows(
        "PST-V029", pc.invert(good), lambda i: f"quanta.parquet, row {i}: job {job_of[i]} of {height}"
    )
    held = [0] * height
    for entry in pc.value_counts(job_of.filter(good)):
        held[entry["values"].as_py()] = entry["counts"].as_py()
    first, count = paper.column("jobs", "first"), paper.column("jobs", "count")
    expected = pa.array(held, pa.int64())
    begin = pc.subtract(pc.cumulative_sum(expected), expected)
    wrong = pc.or_(pc.not_equal(count, expected), pc.not_equal(first, begin))
    wrong = pc.or_(wrong, pc.equal(expected, 0))
    names, labels = paper.column("jobs", "name"), paper.column("jobs", "label")
    findings.rows(
        "PST-V007",
        wrong,
        lambda i: (
            f"job {i} {names[i]}: from {first[i]}, {count[i]} quanta; the quanta say from {begin[i]}, {expected[i]}"
        ),
    )
    odd = pc.invert(pc.match_substring_regex(names, JOB_NAME))
    findings.rows("PST-V008", odd, lambda i: f"job {i}: name {names[i]}")
    for name, times in repeated(pc.utf8_lower(names)):
        findings.add("PST-V008", [f"{times} jobs are called {name}"])
    known = [*paper.labels, *(c["name"] for c in paper.document["pipeline"].get("clusters", ()))]
    strange = pc.is_null(codes(labels, known))
    findings.rows(
        "PST-V008", strange, lambda i: f"job {i} {names[i]}: label {labels[i]} is no task or cluster"
    )


def repeated(values: Array) -> list[tuple[Any, int]]:  # Any: texts or bytes
    """Give values that stand more than once, and how often; nulls are no values."""
    values = values.drop_null()
    if pc.count_distinct(values).as_py() == len(values):
        return []
    counted = pc.value_counts(values)
    often = counted.filter(pc.greater(pc.struct_field(counted, "counts"), 1))
    return sorted((entry["values"].as_py(), entry["counts"].as_py()) for entry in often)
