"""What losses touched in a run, and what of it a child run made again: that supersedes it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.model import DataId
from prestow.plan.settled import read_settled
from prestow.plan.states import WORDS

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.plan import Plan
    from prestow.plan.settled import Settled
    from prestow.registry import Registry
    from prestow.stores import Store

    Mask = npt.NDArray[np.bool_]

KINDS = ("lost", "blocked", "without")
"""What losses do to a quantum: it is lost, blocked, or settled without something that was lost."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """A quantum of a run that a child run settled again.

    Parameters
    ----------
    task, data_id : str
    before : str
        One of `KINDS`.
    after : str
        Its state in the child run.
    """

    task: str
    data_id: str
    before: str
    after: str

    def __str__(self) -> str:
        before = "made without what was lost" if self.before == "without" else self.before
        return f"{self.task}{{{self.data_id}}}  {before} -> {self.after}"


def touched(
    plan: Plan, settled: Settled, registry: Registry, reuse: pl.DataFrame | None = None
) -> dict[str, Mask]:
    """Say which quanta of a plan losses touched, by `KINDS`; what a parent lost and is kept so counts.

    What is settled and not taken in yet counts as made as planned.
    """
    words = np.array(WORDS)[settled.states.codes]
    lost, blocked = words == "lost", words == "blocked"
    if reuse is not None:
        for word, mask in (("lost", lost), ("blocked", blocked)):
            mask[reuse.filter(pl.col("state") == word)["quantum"].to_numpy()] = True
    there = pl.DataFrame(registry.settled(plan.run, "actual_recipe"))
    known = there.select(
        id=pl.col("id").cast(pl.Binary), actual=pl.col("actual_recipe").cast(pl.Binary), known=True
    )
    quanta = plan.tables.scan("quanta").select(
        id=pl.col("id").cast(pl.Binary), planned=pl.col("recipe").cast(pl.Binary)
    )
    both = quanta.collect().join(known, on="id", how="left", maintain_order="left")
    other = both.select(
        pl.col("known").fill_null(value=False)
        & (pl.col("actual").is_null() | (pl.col("actual") != pl.col("planned")))
    ).to_series()
    return {"lost": lost, "blocked": blocked, "without": other.to_numpy() & ~lost & ~blocked}


def pairs_of(parent: Plan, child: Plan) -> pl.DataFrame:
    """Give the quanta that two plans share, by task and data ID: rows ``parent`` and ``child``, and whether recipes are ``same``."""
    keys = [
        plan.tables.scan("quanta")
        .select(
            pl.col("task").cast(pl.String), "data_id", recipe=pl.col("recipe").cast(pl.Binary), row="quantum"
        )
        .collect()
        for plan in (parent, child)
    ]
    both = keys[0].join(keys[1], on=["task", "data_id"], how="inner", maintain_order="left")
    return both.select(
        "task", "data_id", parent="row", child="row_right", same=pl.col("recipe") == pl.col("recipe_right")
    )


def superseded(parent: Plan, child: Plan, store: Store, registry: Registry) -> tuple[Superseded, ...]:
    """List the quanta that losses touched in one run and that its child run settled again, in the order of the plan."""
    marks: Mapping[str, Mask] = touched(parent, read_settled(parent, store, registry=registry), registry)
    if not any(mask.any() for mask in marks.values()):
        return ()
    after = np.array(WORDS)[read_settled(child, store, registry=registry).states.codes]
    before = np.full(len(next(iter(marks.values()))), "", dtype="<U8")
    for kind, mask in marks.items():
        before[mask] = kind
    pairs = pairs_of(parent, child)
    pairs = pairs.with_columns(
        before=pl.Series(before[pairs["parent"].to_numpy()]),
        after=pl.Series(after[pairs["child"].to_numpy()]),
    ).filter((pl.col("before") != "") & (pl.col("after") != "pending"))
    rows = pairs.sort("parent").select("task", "data_id", "before", "after").iter_rows()
    return tuple(
        Superseded(task, str(DataId(json.loads(data_id))), was, now) for task, data_id, was, now in rows
    )
