"""Rows of a plan along its lines: lazily, so that of a plan on disk only what is asked for is read."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.naming.identity import uuid_text

if TYPE_CHECKING:
    from prestow.plan import Plan

Row = dict[str, Any]  # Any: values of a row


def datasets_where(plan: Plan, wanted: pl.Expr) -> list[Row]:
    """Give datasets for which this holds, each with who makes it, or where it lies, in the plan's order."""
    tables = plan.tables
    quanta = tables.scan("quanta").select(
        "task", producer="quantum", maker=uuid_text(pl.col("id")), number="job"
    )
    jobs = tables.scan("jobs").select(number="job", job="name")
    places = tables.scan("locations").select("dataset", "store", "sha256", "receipt", place="path")
    rows = tables.scan("datasets").filter(wanted).join(quanta, on="producer", how="left")
    rows = rows.join(jobs, on="number", how="left").join(places, on="dataset", how="left").sort("dataset")
    return rows.select(
        "dataset", "type", "data_id", "run", "root", "planned", "format", "path", "place", "store", "sha256", "task", "maker",
        "job", "receipt", "producer", uuid=uuid_text(pl.col("id")), recipe=pl.col("recipe").bin.encode("hex"),
    ).collect().to_dicts()  # fmt: skip


def steps_where(plan: Plan, wanted: pl.Expr) -> list[Row]:
    """Give rows ``quantum, connection, input``; ``wanted`` speaks of ``maker`` and ``id``, 16 bytes each."""
    tables = plan.tables
    quanta = tables.scan("quanta").select("quantum", maker="id")
    datasets = tables.scan("datasets").select("dataset", "id")
    rows = tables.scan("inputs").join(quanta, on="quantum").join(datasets, on="dataset").filter(wanted)
    return (
        rows.sort("quantum", "connection", "dataset")
        .select("connection", quantum=uuid_text(pl.col("maker")), input=uuid_text(pl.col("id")))
        .collect()
        .to_dicts()
    )


def outputs_of(plan: Plan, quanta: Iterable[str]) -> dict[str, list[str]]:
    """Give the ids of the datasets that some quanta are to make."""
    tables = plan.tables
    makers = tables.scan("quanta").filter(among("id", quanta)).select(producer="quantum", maker="id")
    planned = tables.scan("datasets").filter("planned").select("dataset", "id", "producer")
    ids = planned.join(makers, on="producer").sort("dataset")
    found: dict[str, list[str]] = {}
    for maker, key in ids.select(uuid_text(pl.col("maker")), uuid_text(pl.col("id"))).collect().iter_rows():
        found.setdefault(maker, []).append(key)
    return found


def quanta_of_job(plan: Plan, job: str) -> pl.Series:
    """Give the rows of the quanta of a job, by its name; none if there is no such job."""
    mine = plan.tables.scan("jobs").filter(pl.col("name") == job).select("job")
    return plan.tables.scan("quanta").join(mine, on="job").select("quantum").collect()["quantum"]


def among(column: str, ids: Iterable[str]) -> pl.Expr:
    """Give the expression that a column of 16 bytes is one of some ids."""
    return pl.col(column).is_in(pl.Series([raw(i) for i in ids], dtype=pl.Binary).implode())


def raw(text: str) -> bytes:
    """Give the 16 bytes of a UUID."""
    return uuid.UUID(text).bytes
