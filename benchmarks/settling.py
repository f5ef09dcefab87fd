"""A registry in which nearly all of a plan has been taken in, as after a run of which a little failed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import survey

from prestow.model import DatasetType
from prestow.naming import identity
from prestow.plan import Plan, open_plan
from prestow.registry import DatasetBatch, Registry

FAILED = 0.01
ROWS = 2_000_000  # quanta that go into the registry at once: sorted once, they go in faster


def settle(kept: Path, plan_path: Path, into: Path) -> Path:
    """Give the directory of a copy of the survey's registry, with 99 of 100 quanta of the plan made.

    Which ones failed is drawn at random. What the quanta read is not filled in: no submission asks for it.
    """
    into.mkdir(exist_ok=True)
    shutil.copy(kept / "registry.db", into / "registry.db")
    plan = open_plan(plan_path)
    with survey.opened(into, read_only=False) as registry:
        registry.register_run(plan.run)
        registry.register_store("output", f"file://{into}")
        for kind in plan.definition.dataset_types.values():
            registry.register_dataset_type(DatasetType(kind.name, kind.dimensions, kind.format))
        height = plan.document["totals"]["quanta"]
        failed = pl.Series(np.random.default_rng(2).random(height) < FAILED)
        for start in range(0, height, ROWS):
            _insert(registry, plan, start, failed[start : start + ROWS])
    return into


def _insert(registry: Registry, plan: Plan, start: int, failed: pl.Series) -> None:
    tables = plan.tables
    rows = tables.scan("quanta").slice(start, failed.len()).collect()
    jobs = tables.scan("jobs").select("job", pl.col("name")).collect()
    rows = rows.join(jobs, on="job", maintain_order="left").filter(~failed)
    uuid = identity.uuid_text(pl.col("id"))
    receipt = pl.format("_receipts/{}/{}/{}/{}.json", pl.lit(plan.run), "task", uuid.str.slice(0, 2), uuid)
    quanta = rows.select(
        "id", pl.lit(plan.run).alias("run"), pl.col("task").cast(pl.String), "data_id", pl.col("name").alias("job"),
        pl.lit("made").alias("state"), pl.col("recipe").alias("planned_recipe"), pl.col("recipe").alias("actual_recipe"),
        pl.lit("1").alias("attempt"), pl.lit("1").alias("version"), receipt.alias("receipt"),
    )  # fmt: skip
    makers = rows.select("quantum", maker="id")
    made = (
        tables.scan("datasets")
        .filter(pl.col("producer").is_between(start, start + failed.len() - 1))
        .collect()
    )
    made = made.join(makers, left_on="producer", right_on="quantum")
    datasets = {}
    for (name,), part in made.partition_by("type", as_dict=True).items():
        dimensions = plan.definition.dataset_types[str(name)].dimensions
        datasets[str(name)] = part.select(
            *dimensions, "id", pl.lit(plan.run).alias("run"), "recipe", pl.col("recipe").alias("planned_recipe"),
            pl.col("maker").alias("quantum"),
        ).to_arrow()  # fmt: skip
    digest = pl.concat_str(identity.recipe_text(pl.col("recipe")), identity.recipe_text(pl.col("recipe")))
    artifacts = made.select(
        pl.lit("output").alias("store"), "path", pl.lit(8_000_000).alias("size"), digest.str.decode("hex").alias("sha256"),
        digest.str.decode("hex").alias("content"), pl.col("format").cast(pl.String), dataset="id",
    )  # fmt: skip
    registry.insert_datasets(DatasetBatch(datasets, artifacts.to_arrow(), quanta.to_arrow()))
