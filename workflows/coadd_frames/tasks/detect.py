"""The sources of one frame."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import Quantum


@dataclass(frozen=True)
class Config:
    """In units of one pixel's noise, after a 3x3 filter; ``minarea`` in pixels."""

    threshold: float = 1.5
    minarea: int = 5


def run(quantum: Quantum, config: Config) -> None:
    """Detect and measure; a frame without sources has an empty table."""
    from measuring import sources

    table = sources.measure_file(quantum.path("frame"), threshold=config.threshold, minarea=config.minarea)
    quantum.put("sources", sources.arrow_table(table, unit="adu / s"))
    quantum.measure("n_sources", len(table))
    quantum.measure("seeing_pixels", sources.seeing(table))
