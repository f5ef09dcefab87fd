"""What past runs recorded, as far as a forecast needs it: sizes of products, times of attempts, sizes of papers.

However much there is, a bounded number of rows and of reports is read, always the same ones.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import polars as pl

from prestow.commit import report_name
from prestow.errors import PrestowError

if TYPE_CHECKING:
    import pyarrow as pa

    from prestow.registry import Registry
    from prestow.stores import Store

REPORTS = 64
"""Attempts of a task whose reports are read, over all past runs."""

SIZES: Mapping[str, type[pl.DataType]] = {
    "type": pl.String, "run": pl.String, "size": pl.Int64, "inputs": pl.Int64,
}  # fmt: skip
TIMES: Mapping[str, type[pl.DataType]] = {
    "task": pl.String, "run": pl.String, "inputs": pl.Int64, "seconds": pl.Float64, "cpu_seconds": pl.Float64,
    "receipt": pl.Int64, "report": pl.Int64,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class History:
    """A sample of what past runs came to.

    Parameters
    ----------
    sizes : DataFrame
        type, run, size, inputs: one row for each product looked at.
    times : DataFrame
        task, run, inputs, seconds, cpu_seconds, and the sizes of receipt and report (of which each
        of the job's quanta has its share): one row for each quantum looked at.
    """

    sizes: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SIZES))
    times: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=TIMES))

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that it is from."""
        return tuple(self.sizes["run"].unique().sort())


def read_history(
    registry: Registry, store: Store, types: Iterable[str], *, without: Collection[str] = ()
) -> History:
    """Read what past runs recorded of some dataset types and of the tasks that made them.

    Parameters
    ----------
    store : Store
        Where attempt reports are; what cannot be read is only information less.
    without : collection of str
        Runs that do not count, such as the one that is planned.
    """
    sizes = _frame(registry.history.sizes(types, without=without))
    if not sizes.height:
        return History()
    chosen = _some(sizes.select("type", "run", "quantum", "inputs"))
    papers = _frame(registry.history.papers(chosen["quantum"].to_list()))
    joined = papers.join(
        chosen.select(pl.col("quantum").alias("id"), "inputs").unique("id"), on="id", how="left"
    ).sort("task", "run", "id")
    # A task with several outputs was drawn once for each of them.
    place = pl.int_range(pl.len()).over("task", "run")
    share = REPORTS // pl.col("run").n_unique().over("task")
    return History(sizes.select(list(SIZES)), times_of(store, joined.filter(place < share)))


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = cast("pl.DataFrame", pl.from_arrow(table))
    return frame.with_columns(
        pl.col(name).cast(pl.Binary) for name in ("quantum", "id") if name in frame.columns
    )


def _some(sizes: pl.DataFrame) -> pl.DataFrame:
    """Choose quanta of each type and run by their ids, which are as good as drawn by lot."""
    ordered = sizes.sort("type", "run", "quantum")
    place = pl.int_range(pl.len()).over("type", "run")
    return ordered.filter(place < REPORTS // pl.col("run").n_unique().over("type"))


def times_of(store: Store, quanta: pl.DataFrame) -> pl.DataFrame:
    """Give the times of quanta by the reports of their attempts, a file each.

    Parameters
    ----------
    quanta : DataFrame
        id, run, task, job, attempt, receipt, inputs.
    """
    rows = []
    # One by one: each is a file of its own, and there is a bounded number of them.
    for row in quanta.iter_rows(named=True):
        found = _entry(store, row["job"], row["attempt"], str(uuid.UUID(bytes=row["id"])))
        if found is not None:
            entry, share = found
            seconds = float(entry.get("seconds", 0.0))
            cpu = float(entry.get("cpu_seconds", seconds))  # reports of old had no CPU of a quantum
            receipt = _size(store, row["receipt"])
            rows.append((row["task"], row["run"], row["inputs"], seconds, cpu, receipt, share))
    return pl.DataFrame(rows, schema=TIMES, orient="row")


def _entry(store: Store, job: str, attempt: str, quantum: str) -> tuple[Mapping[str, float], int] | None:
    """Give what a report says of one of its quanta, and the bytes of it for each."""
    try:
        data = store.read(report_name(job, attempt))
        entries = json.loads(data)["quanta"]
        entry = next((e for e in entries if e.get("quantum") == quantum), None)
    except (PrestowError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return None if entry is None else (entry, len(data) // len(entries))


def _size(store: Store, name: str) -> int | None:
    try:
        return store.size(name)
    except PrestowError:
        return None
