"""What matching left out, kept for as long as it is not known which of it matters to what is wanted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from prestow.plan.state import LeftOut


@dataclass(frozen=True, slots=True)
class Cause:
    """The quanta that one entry of ``left_out`` counts.

    Parameters
    ----------
    drop : LeftOut
        The entry.
    rows : Series
        Of them: positions in `Unmade.quanta`; with ``made`` in the task's quanta.
    detail : Expr
        What is said of each, over their columns and those of ``facts``.
    facts : DataFrame or None
        A row for each of ``rows``.
    """

    drop: LeftOut
    rows: pl.Series
    detail: pl.Expr
    facts: pl.DataFrame | None = None
    made: bool = False


@dataclass(frozen=True, slots=True)
class Unmade:
    """The quanta of one task that were left out, and what would be read if nothing had been.

    Parameters
    ----------
    quanta : DataFrame
        Those left out: row i is quantum number ``made + i``.
    made : int
        How many quanta the task has.
    inputs : mapping of connection to DataFrame
        Pairs (quantum, dataset) of which a side was left out: numbers from ``made`` on are such quanta,
        and such datasets from the number on that there are of their type.
    causes : tuple of Cause
        What was left out for what.
    """

    quanta: pl.DataFrame
    made: int
    inputs: Mapping[str, pl.DataFrame]
    causes: tuple[Cause, ...] = ()
