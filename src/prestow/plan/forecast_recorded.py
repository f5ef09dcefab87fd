"""How good a forecast was: what a run came to beside what was forecast, and whether it lies in the interval."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from prestow.plan.forecast_history import times_of
from prestow.plan.forecast_model import Estimate

if TYPE_CHECKING:
    from prestow.plan.forecast import Forecast
    from prestow.registry import Registry
    from prestow.stores import Store

REPORTS = 500
"""Reports of a task that are read; of a larger one the rest is taken to be like these."""


@dataclass(frozen=True, slots=True)
class Score:
    """One quantity: what was forecast, what was recorded, in ``unit``: ``bytes``, ``seconds`` or ``files``."""

    name: str
    unit: str
    forecast: Estimate
    recorded: float

    @property
    def ratio(self) -> float | None:
        """What was recorded over what was forecast."""
        return self.recorded / self.forecast.value if self.forecast.value else None

    @property
    def inside(self) -> bool:
        """Whether it lies in the interval."""
        return self.forecast.holds(self.recorded)


@dataclass(frozen=True, slots=True)
class Recorded:
    """A forecast and what became of it.

    Parameters
    ----------
    scores : tuple of Score
        ``out``, ``files``, ``cpu``, and ``wall`` where a journal tells.
    quanta, planned : int
        How many quanta were taken in, of how many; scores are of the whole only if all were.
    """

    scores: tuple[Score, ...]
    quanta: int
    planned: int

    @property
    def whole(self) -> bool:
        """Whether all of the plan is settled and taken in."""
        return self.quanta >= self.planned

    def as_dict(self) -> dict[str, Any]:  # Any: plain values
        """Give it as plain values."""
        return {
            "quanta": self.quanta, "planned": self.planned, "whole": self.whole,
            "scores": {
                s.name: {
                    "unit": s.unit, "forecast": s.forecast.value, "low": s.forecast.low, "high": s.forecast.high,
                    "recorded": s.recorded, "ratio": s.ratio, "inside": s.inside,
                }
                for s in self.scores
            },
        }  # fmt: skip


def recorded(
    forecast: Forecast,
    registry: Registry,
    store: Store,
    *,
    wall_seconds: float | None = None,
    reports: int | None = None,
) -> Recorded | None:
    """Compare a forecast with what its run recorded; None while nothing of it is taken in.

    Parameters
    ----------
    wall_seconds : float, optional
        How long the run took.
    reports : int, optional
        How many attempts there were; one a job, if not given.
    """
    history = registry.history
    states = history.states(forecast.run)
    if not states:
        return None
    products = history.made(forecast.run, forecast.store)
    count = sum(number for number, _ in products.values())
    taken = sum(states.values())
    planned = forecast.files["receipts"]
    tries = forecast.files["reports"] if reports is None else reports
    scores = [
        Score("out", "bytes", forecast.products, float(sum(size for _, size in products.values()))),
        Score("files", "files", forecast.inodes, float(count + taken + tries + forecast.files["manifests"])),
    ]
    cpu = _cpu(
        registry, store, forecast.run, {task: n for (task, state), n in states.items() if state == "made"}
    )
    if cpu is not None:
        scores.append(Score("cpu", "seconds", forecast.cpu_seconds, cpu))
    if wall_seconds is not None:
        scores.append(Score("wall", "seconds", forecast.wall_seconds, wall_seconds))
    return Recorded(tuple(s for s in scores if s.forecast.value), taken, planned)


def _cpu(registry: Registry, store: Store, run: str, made: dict[str, int]) -> float | None:
    """Give the CPU of a run by its reports; None if there are none."""
    total, any_known = 0.0, False
    for task, count in made.items():
        ids = registry.history.some_quanta(run, task, REPORTS)
        papers = cast("pl.DataFrame", pl.from_arrow(registry.history.papers(ids)))
        papers = papers.with_columns(pl.col("id").cast(pl.Binary), inputs=pl.lit(0))
        times = times_of(store, papers)
        if times.height:
            any_known = True
            total += float(times["cpu_seconds"].sum()) / times.height * count
    return total if any_known else None
