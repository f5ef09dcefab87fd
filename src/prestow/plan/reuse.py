"""What a child run need not make again, because a parent run has it under the wanted recipe."""

from __future__ import annotations

import json
import uuid
from typing import TYPE_CHECKING, Protocol

import polars as pl

from prestow.model.hashing import dataset_id

if TYPE_CHECKING:
    from collections.abc import Sequence

    import pyarrow as pa

    from prestow.plan import Plan

COLUMNS = (
    "quantum",
    "dataset",
    "id",
    "run",
    "store",
    "path",
    "size",
    "sha256",
    "content",
    "receipt",
    "producer",
    "state",
)


class Ancestry(Protocol):
    """What is asked of a registry; `prestow.registry.Registry` is one."""

    def parents(self, run: str) -> tuple[str, ...]:
        """Give the parents of a run."""

    def quanta(self, run: str) -> pa.Table:
        """Give the settled quanta of a run."""

    def datasets(self, types: Sequence[str], collections: Sequence[str], *, first: bool = True) -> pa.Table:
        """Give datasets with their location and quantum."""


def reusable(plan: Plan, registry: Ancestry) -> pl.DataFrame | None:
    """Give the outputs that are taken from a parent run, or None if this run has no parent.

    A quantum is taken when a parent settled it as made or declined, and its *actual* recipe there
    is the planned one here: so whatever a loss touched is made again, and nothing else. The nearest
    parent wins. A made quantum of which a required output is not in the registry is not taken.

    Returns
    -------
    DataFrame
        One row for each output: ``quantum`` and ``dataset`` (rows of the plan's tables), then what
        stands in its place: ``id run store path size sha256 content``, null from ``store`` on where
        the output was declined, ``receipt``, ``producer`` (id of the parent's quantum), ``state``.
    """
    runs = _ancestors(plan, registry)
    if not runs:
        return None
    wanted = plan.tables["quanta"].select("quantum", "task", "data_id", "recipe")
    matched = (
        wanted.join(_settled(registry, runs), on=["task", "data_id", "recipe"], how="inner")
        .sort("quantum", "position")
        .unique("quantum", keep="first", maintain_order=True)
    )
    datasets = plan.tables["datasets"].filter("planned").select("dataset", "type", output="data_id")
    outputs = (
        plan.tables["outputs"]
        .select("quantum", "dataset", "optional")
        .join(matched, on="quantum", how="inner")
        .join(datasets, on="dataset", how="inner")
    )
    types = outputs["type"].unique().sort().to_list()
    artifacts = _frame(registry.datasets(types, runs, first=False)).select(
        "type", "id", "store", "path", "size", "sha256", "content", old=pl.col("quantum").cast(pl.Binary)
    )
    found = outputs.join(artifacts, on=["old", "type"], how="left")
    broken = found.filter((pl.col("state") == "made") & ~pl.col("optional") & pl.col("id").is_null())[
        "quantum"
    ].unique()
    found = found.filter(~pl.col("quantum").is_in(broken.implode())).sort("quantum", "dataset")
    ids = [
        raw if raw is not None else uuid.UUID(dataset_id(kind, run, json.loads(data_id))).bytes
        for raw, kind, run, data_id in found.select("id", "type", "run", "output").iter_rows()
    ]
    producers = [str(uuid.UUID(bytes=raw)) for raw in found["old"].to_list()]
    return found.with_columns(
        pl.Series("id", ids, dtype=pl.Binary), pl.Series("producer", producers, dtype=pl.String)
    ).select(COLUMNS)


def _ancestors(plan: Plan, registry: Ancestry) -> list[str]:
    named = plan.document["request"].get("child_of")
    level = list(dict.fromkeys([*([named] if named else []), *registry.parents(plan.run)]))
    found: dict[str, None] = {}
    while level:
        found.update(dict.fromkeys(level))
        level = [parent for run in level for parent in registry.parents(run) if parent not in found]
    found.pop(plan.run, None)
    return list(found)


def _settled(registry: Ancestry, runs: Sequence[str]) -> pl.DataFrame:
    parts = []
    for position, run in enumerate(runs):
        frame = _frame(registry.quanta(run)).filter(pl.col("state").is_in(["made", "declined"]))
        parts.append(
            frame.select(
                "task", "data_id", "state", "receipt", recipe=pl.col("actual_recipe").cast(pl.Binary),
                old=pl.col("id").cast(pl.Binary), run=pl.lit(run), position=pl.lit(position, pl.UInt32),
            )
        )  # fmt: skip
    return pl.concat(parts)


def _frame(table: pa.Table) -> pl.DataFrame:
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    return frame
