"""What of a plan waits for promised inputs: quanta that read one, and all that follows from them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.plan.walking import edges_of, jobs_whole, spread

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
    """Say which quanta wait for promised inputs, with the whole job of each; None if none does."""
    promised = promised_datasets(plan)
    if not promised.len():
        return None
    absent = np.zeros(plan.document["totals"]["datasets"], np.bool_)
    absent[promised.to_numpy()] = True
    inputs = plan.tables.scan("inputs").select("quantum", "dataset").collect()
    waits: Mask = np.zeros(plan.document["totals"]["quanta"], np.bool_)
    waits[inputs["quantum"].to_numpy()[absent[inputs["dataset"].to_numpy()]]] = True
    return spread(waits, *edges_of(plan), jobs_whole(plan))
