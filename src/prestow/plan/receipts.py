"""Which receipts of a run there are: of many quanta by a listing, for a look at each absent name costs as much as a receipt."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.commit import receipt_names
from prestow.plan.matched_ids import match_ids, words_of
from prestow.stores import Store, Walkable

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.plan import Plan

FEW = 1000  # quanta that are looked at by name, whatever a listing would cost
CHEAPER = 4  # names that a listing gives in the time in which one absent name is looked at


def worth_a_look(
    plan: Plan, store: Store, wanted: npt.NDArray[np.int64], settled: int
) -> npt.NDArray[np.int64]:
    """Give those of some quanta that may have a receipt: all, or, where a listing is cheaper, those that it names.

    What a listing does not name counts as not settled. If that is no longer so, whoever makes the quantum again
    finds its receipt there: the first commit wins.

    Parameters
    ----------
    wanted : array of int64
        Rows of quanta, sorted.
    settled : int
        How many more receipts of the run there are at least.
    """
    if len(wanted) <= FEW or not isinstance(store, Walkable) or settled > CHEAPER * len(wanted):
        return wanted
    names = receipt_names(store, plan.run)
    hexes = pl.Series([name.rpartition("/")[2][:-5].replace("-", "") for name in names], dtype=pl.String)
    ids = hexes.filter(hexes.str.contains("^[0-9a-f]{32}$")).str.decode("hex").unique()
    if not ids.len():
        return wanted[:0]
    quanta = plan.tables.scan("quanta").select("id").collect()["id"]
    return wanted[match_ids(words_of(quanta)[wanted], words_of(ids))[0]]
