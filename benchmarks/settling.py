"""A registry in which nearly all of a plan has been taken in, as after a run of which a little failed."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import polars as pl
import survey

from prestow.naming import identity
from prestow.plan import open_plan
from prestow.registry import DatasetBatch

FAILED = 0.01


def settled(kept: Path, plan_path: Path) -> Path:
    """Give the directory of a copy of the survey's registry, with 99 of 100 quanta of the plan made.

    Which ones failed is drawn at random. What the quanta made and read is not filled in: none of their
    outputs is optional, so no submission asks for it. The copy is kept, too.
    """
    plan = open_plan(plan_path)
    path = survey.scratch() / f"settled-{kept.name}-{plan.id[:12]}"
    if (path / "registry.db").is_file():
        return path
    for older in survey.scratch().glob(f"settled-{kept.name}-*"):
        shutil.rmtree(older)
    making = survey.scratch() / f"making-{path.name}"
    shutil.rmtree(making, ignore_errors=True)
    (making / "store").mkdir(parents=True)
    shutil.copy(kept / "registry.db", making / "registry.db")
    failed = np.random.default_rng(2).random(plan.document["totals"]["quanta"]) < FAILED
    rows = plan.tables.scan("quanta").select("task", "data_id", "id", "recipe", "job").collect()
    jobs = plan.tables.scan("jobs").select("job", "name").collect()
    rows = rows.join(jobs, on="job", maintain_order="left").filter(~pl.Series(failed))
    uuid = identity.uuid_text(pl.col("id"))
    parts = (pl.lit(plan.run), pl.col("task").cast(pl.String), uuid.str.slice(0, 2), uuid)
    quanta = rows.select(
        "id", "data_id", pl.lit(plan.run).alias("run"), pl.col("task").cast(pl.String),
        pl.col("name").cast(pl.String).alias("job"), pl.lit("made").alias("state"),
        pl.col("recipe").alias("planned_recipe"), pl.col("recipe").alias("actual_recipe"),
        pl.lit("1").alias("attempt"), pl.lit("1").alias("version"),
        pl.format("_receipts/{}/{}/{}/{}.json", *parts).alias("receipt"),
    )  # fmt: skip
    with survey.opened(making, read_only=False) as registry:
        registry.register_run(plan.run)
        registry.insert_datasets(DatasetBatch({}, None, quanta.to_arrow()))
    making.rename(path)
    return path
