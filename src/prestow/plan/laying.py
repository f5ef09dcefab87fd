"""Whether the files of a plan can be laid out for jobs as somebody asks."""

from __future__ import annotations

from typing import TYPE_CHECKING

import polars as pl

from prestow.errors import PlanRefusedError
from prestow.model.flat import LONGEST, flat_path, too_long
from prestow.naming.flat import flat_names

if TYPE_CHECKING:
    from prestow.plan.plan import Plan

SHOWN = 5


def check_layout(plan: Plan, layout: str) -> None:
    """Refuse, before any job runs, a flat layout in which a name would be longer than a file may have.

    Raises
    ------
    PlanRefusedError
        PST-N070, with the first of them.
    """
    if layout != "flat":
        return
    datasets = plan.tables.scan("datasets").select("dataset", "type", "path")
    places = plan.tables.scan("locations").select("dataset", place="path")
    local = pl.concat_str("type", pl.lit("/"), pl.coalesce("place", "path"))
    names = (
        datasets.join(places, on="dataset", how="left", maintain_order="left")
        .select(name=flat_names(local.cast(pl.String)))
        .filter(pl.col("name").str.len_bytes() > LONGEST)
        .head(SHOWN)
        .collect()
    )
    if names.height:
        raise PlanRefusedError(*(too_long(flat_path(name), name) for name in names["name"]))
