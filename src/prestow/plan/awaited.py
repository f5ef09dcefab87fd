"""What of a plan waits for promised inputs: quanta that read one, and all that follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.plan.plan import Plan

    Mask = npt.NDArray[np.bool_]


def promised_datasets(plan: Plan) -> pl.Series:
    """Give the numbers of the datasets that a plan reads and that are only promised."""
    none = pl.Series("dataset", [], pl.UInt32)
    if "promised" not in plan.document["request"]:
        return none
    absent = pl.col("path").is_null() & pl.col("sha256").is_null()
    return plan.tables.scan("locations").filter(absent).select("dataset").collect()["dataset"]


def awaited(plan: Plan) -> Mask | None:
    """Say which quanta wait for promised inputs, with the whole job of each; None if none does.

    A round for each level of the graph, over columns.
    """
    promised = promised_datasets(plan)
    if not promised.len():
        return None
    totals = plan.document["totals"]
    inputs = plan.tables.scan("inputs").select("quantum", "dataset").collect()
    outputs = plan.tables.scan("outputs").select("quantum", "dataset").collect()
    job = plan.tables.scan("quanta").select("job").collect()["job"].to_numpy()
    reader, read = inputs["quantum"].to_numpy(), inputs["dataset"].to_numpy()
    maker, made = outputs["quantum"].to_numpy(), outputs["dataset"].to_numpy()
    absent = np.zeros(totals["datasets"], np.bool_)
    waits: Mask = np.zeros(totals["quanta"], np.bool_)
    jobs = np.zeros(totals["jobs"], np.bool_)
    absent[promised.to_numpy()] = True
    while True:
        jobs[job[reader[absent[read]]]] = True
        before, waits = waits, jobs[job]
        if (before == waits).all():
            return waits
        absent[made[waits[maker]]] = True
