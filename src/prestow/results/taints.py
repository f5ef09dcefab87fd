"""What is tainted, or was made from that, as what finds, follows and explains datasets marks it."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from typing import TYPE_CHECKING

import polars as pl

from prestow.plan.tainted import TAINTED, read_tainted

if TYPE_CHECKING:
    from prestow.registry import Registry


def marks(registry: Registry | None) -> pl.DataFrame:
    """Give ``id`` and ``taint`` of all that is tainted or contaminated: ``tainted: clouds``, or ``contaminated``."""
    known = None if registry is None else read_tainted(registry.tainting)
    if known is None:
        return pl.DataFrame(schema={"id": pl.Binary, "taint": pl.String})
    text = (
        pl.when(pl.col("why") == TAINTED).then(pl.format("{}: {}", "why", "because")).otherwise(pl.col("why"))
    )
    return known.frame.select("id", text.alias("taint"))


def marks_of(registry: Registry | None, ids: Iterable[str]) -> dict[str, str]:
    """Give the marks of some datasets, by UUID, of those that have one."""
    found = marks(registry)
    if not found.height:
        return {}
    keys = pl.Series([uuid.UUID(key).bytes for key in ids], dtype=pl.Binary).implode()
    rows = found.filter(pl.col("id").is_in(keys))
    return {str(uuid.UUID(bytes=key)): text for key, text in rows.iter_rows()}
