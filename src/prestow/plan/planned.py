"""Facts of planned datasets, by number: few are read, most follow from their data IDs.

A plan says by which rule its names were made. By the same rule they are made again, by the code that made
them; a plan of another rule is read word for word.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from prestow.model import DatasetType
from prestow.naming import identity
from prestow.naming.templates import compile_template
from prestow.plan.slices import rows_at
from prestow.plan.state import outputs_of
from prestow.plan.texts import texts_of

if TYPE_CHECKING:
    from prestow.pipeline.definition import TaskDefinition
    from prestow.plan.plan import Plan
    from prestow.plan.slices import Numbers

FACTS = ("dataset", "type", "data_id", "id", "run", "planned", "format", "recipe", "path", "task", "quantum")


def planned(plan: Plan, numbers: Numbers) -> pl.DataFrame:
    """Give planned datasets: `FACTS`, ids as text; ``task`` and ``quantum`` make them."""
    if not len(numbers):
        return pl.DataFrame(schema=dict.fromkeys(FACTS, pl.String))
    if plan.document.get("naming") != identity.RULE:
        return _as_written(plan, numbers)
    kinds = plan.definition.dataset_types
    makers = {o.type: task for task in plan.definition.tasks for o in outputs_of(task)}
    dimensions = sorted({d for name in makers for d in kinds[name].dimensions})
    columns = ["dataset", "type", "recipe", "producer", *dimensions]
    frame = rows_at(plan.tables, "datasets", numbers, columns)
    parts = [
        _named(plan, kinds[name], makers[name], part)
        for (name,), part in frame.partition_by("type", as_dict=True, maintain_order=True).items()
    ]
    return pl.concat(parts)


def _named(plan: Plan, kind: DatasetType, task: TaskDefinition, frame: pl.DataFrame) -> pl.DataFrame:
    template = compile_template(kind.template, kind.dimensions, plan.universe, dataset_type=kind.name)
    numbers = frame["dataset"].to_numpy().astype("int64")
    if set(template.columns) <= set(kind.dimensions):
        path = texts_of(frame, template.column(plan.run))
    else:
        path = rows_at(plan.tables, "datasets", numbers, ("path",))["path"]
    if kind.dimensions == task.dimensions:
        quantum = texts_of(frame, identity.quantum_uuids(task.label, plan.run, task.dimensions))
    else:
        quantum = _ids_of(plan, frame["producer"])
    texts = {
        "data_id": texts_of(frame, identity.data_id_json(kind.dimensions, frame.schema)),
        "id": texts_of(frame, identity.dataset_uuids(kind.name, plan.run, kind.dimensions)),
        "path": path,
        "quantum": quantum,
    }
    return frame.select(
        "dataset",
        "type",
        texts["data_id"].alias("data_id"),
        texts["id"].alias("id"),
        pl.lit(plan.run).alias("run"),
        pl.lit(value=True).alias("planned"),
        pl.lit(kind.format).alias("format"),
        identity.recipe_text(pl.col("recipe")),
        texts["path"].alias("path"),
        pl.lit(task.label).alias("task"),
        texts["quantum"].alias("quantum"),
    )


def _ids_of(plan: Plan, quanta: pl.Series) -> pl.Series:
    rows = quanta.unique().sort()
    ids = rows_at(plan.tables, "quanta", rows.to_numpy().astype("int64"), ("quantum", "id"))
    named = ids.select(producer="quantum", text=identity.uuid_text(pl.col("id")))
    return quanta.to_frame().join(named, on="producer", how="left", maintain_order="left")["text"]


def _as_written(plan: Plan, numbers: Numbers) -> pl.DataFrame:
    columns = ("dataset", "type", "data_id", "id", "run", "planned", "format", "recipe", "path", "producer")
    frame = rows_at(plan.tables, "datasets", numbers, columns)
    frame = frame.with_columns(identity.uuid_text(pl.col("id")), identity.recipe_text(pl.col("recipe")))
    makers = {o.type: task.label for task in plan.definition.tasks for o in outputs_of(task)}
    return frame.with_columns(
        pl.col("type").cast(pl.String).replace_strict(makers).alias("task"),
        _ids_of(plan, frame["producer"]).alias("quantum"),
    ).select(FACTS)
