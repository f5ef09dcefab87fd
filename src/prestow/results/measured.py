"""What was measured when datasets were made: by receipts, and by the metrics that the registry has."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import polars as pl

from prestow.results.lineage import Point
from prestow.results.plan_rows import among

if TYPE_CHECKING:
    from prestow.results.recorded import Recorded

Measures = dict[str, dict[str, object]]


def measures_of(recorded: Recorded, points: Iterable[Point]) -> Measures:
    """Give for each dataset what its quantum measured, and the metrics of all that its quantum made."""
    points = [point for point in points if point.quantum]
    found: Measures = {}
    unread = 0
    for point in points:  # a receipt is a file: one for each dataset that is compared
        receipt = recorded.receipt_of(point)
        unread += receipt is None and point.there
        found[point.id] = dict(receipt.measures) if receipt is not None else {}
    if unread:
        recorded.note(f"{unread} receipts are not there: what was measured is known in part")
    for key, values in _metrics(recorded, points).items():
        found[key] = {**values, **found[key]}
    return found


def _metrics(recorded: Recorded, points: Sequence[Point]) -> Measures:
    known = recorded.products(points)
    if recorded.registry is None or not known:
        return {}
    types, runs = sorted({p.type for p in known}), sorted({p.run for p in known})
    frame = pl.from_arrow(recorded.registry.metrics(types, runs))
    assert isinstance(frame, pl.DataFrame)
    frame = frame.with_columns(pl.col("id").cast(pl.Binary)).filter(among("id", [p.id for p in known]))
    makers = {uuid.UUID(p.id).bytes: p.quantum for p in known}
    by_quantum: Measures = {}
    for key, name, value in frame.select("id", "name", "value").iter_rows():
        by_quantum.setdefault(makers[key], {})[name] = value
    return {p.id: by_quantum[p.quantum] for p in points if p.quantum in by_quantum}
