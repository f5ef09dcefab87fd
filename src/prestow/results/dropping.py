"""A plan given up: forgotten if nothing was made of it, else only the names that it still holds are freed."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from prestow.commit import receipt_name, receipt_names, receipt_texts
from prestow.naming import identity
from prestow.registry.reservations import release
from prestow.results.removing import remove_plan
from prestow.stores import Store, Walkable

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.registry import Registry


@dataclass(frozen=True, slots=True)
class Dropped:
    """What dropping a plan did.

    Parameters
    ----------
    plan, run : str
        Which.
    quanta, settled : int
        Of the plan, and those of them that have a receipt; 0 where there is no plan any more.
    forgotten : bool
        Whether the plan itself is gone; it stays where something is settled.
    freed : bool
        Whether it held names.
    """

    plan: str
    run: str
    quanta: int
    settled: int
    forgotten: bool
    freed: bool

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return asdict(self)


def drop(plan: Plan, directory: Path, registry: Registry, store: Store) -> Dropped:
    """Give a plan up. The caller holds the lock of its runs.

    The plan goes first, its names last: a name is never free while the plan could still be run. Killed
    on the way, the same again ends it.
    """
    settled = count_settled(plan, registry, store)
    if not settled:
        remove_plan(directory)
    freed = release(store, plan.run, plan.id)
    return Dropped(plan.id, plan.run, int(plan.document["totals"]["quanta"]), settled, not settled, freed)


def count_settled(plan: Plan, registry: Registry, store: Store) -> int:
    """Count the quanta that are settled under the plan's own recipes; those of others are not its."""
    plan.tables.file("quanta")  # refused here, if it is damaged
    quanta = plan.tables.scan("quanta").select("id", "task", "recipe").collect()
    quanta = quanta.with_columns(pl.col("id", "recipe").cast(pl.Binary))
    known = cast("pl.DataFrame", pl.from_arrow(registry.settled(plan.run)))
    known = known.select(
        pl.col("id").cast(pl.Binary), pl.col("planned_recipe").cast(pl.Binary).alias("recipe")
    )
    own = quanta.join(known, on=["id", "recipe"], how="semi")
    left = quanta.join(known, on="id", how="anti")
    if not isinstance(store, Walkable) or not left.height:
        return own.height
    there = pl.Series("name", list(receipt_names(store, plan.run)), pl.String)
    uuids = there.str.extract(r"([0-9a-f-]{36})\.json$").alias("uuid").to_frame()
    waiting = left.with_columns(identity.uuid_text(pl.col("id")).alias("uuid")).join(
        uuids, on="uuid", how="semi"
    )
    # One read for each receipt that is not taken in yet; of a plan that is dropped, most often none.
    same = 0
    names = [receipt_name(plan.run, task, uuid) for task, uuid in waiting.select("task", "uuid").iter_rows()]
    read = receipt_texts(store, plan.run, names)
    for recipe, (_, data) in zip(waiting["recipe"], read, strict=True):
        same += data is not None and json.loads(data)["planned_recipe"] == recipe.hex()
    return own.height + same
