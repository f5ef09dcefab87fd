"""The names of a plan as a reservation holds them: 64 bits of each name, folded, and of its recipe."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import polars as pl
import polars_hash as plh

from prestow.plan.awaited import awaited
from prestow.plan.plan import Plan
from prestow.registry.reservations import pack

HALF = 8  # bytes of a recipe


def claim_of(plan: Plan) -> bytes:
    """Give the claim of a plan: 16 bytes an output.

    Paths are folded as file systems do that ignore case; they are ASCII. Two plans of a million names
    each are refused by mere chance once in 18 million times.
    """
    waits = awaited(plan)  # what waits for promised inputs will be made by another plan, of other recipes
    mine = pl.col("planned")
    if waits is not None:
        mine &= ~pl.col("producer").is_in(np.flatnonzero(waits).tolist())
    names = (
        plan.tables.scan("datasets")
        .filter(mine)
        .select(_hashed().alias("name"), pl.col("recipe").bin.slice(0, HALF).alias("recipe"))
        .collect()
        .to_arrow()
    )
    return pack(names["name"], names["recipe"], plan.run, plan.id)


def is_inside(plan: Plan) -> bool:
    """Say whether all names begin with the run, so that those of other runs cannot be among them."""
    return all(
        kind.template.startswith("{run}/") for kind in plan.definition.dataset_types.values() if kind.template
    )


def names_of(plan: Plan) -> Callable[[Sequence[int]], Sequence[str]]:
    """Give a function that gives the names that have these hashes."""

    def shown(hashes: Sequence[int]) -> Sequence[str]:
        wanted = pl.Series("wanted", list(hashes), pl.UInt64)
        rows = plan.tables.scan("datasets").filter("planned").select("path", _hashed().alias("name"))
        return rows.filter(pl.col("name").is_in(wanted.implode())).collect()["path"].sort().to_list()

    return shown


def _hashed() -> pl.Expr:
    # xxHash64 is a published function: the same in every version, unlike Polars' own.
    column = plh.concat_str([pl.col("path").str.to_lowercase()])
    hashed: pl.Expr = column.nchash.xxhash64()
    return hashed
