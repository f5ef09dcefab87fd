"""The source catalogue of a coadd, as Parquet and as a FITS table: the same rows."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import Quantum


@dataclass(frozen=True)
class Config:
    """As for single frames, so that the numbers of sources can be compared."""

    threshold: float = 1.5
    minarea: int = 5


def run(quantum: Quantum, config: Config) -> None:
    """Detect and measure; fluxes are in nanojansky, so a magnitude is 31.4 - 2.5 log10(flux)."""
    from measuring import sources

    table = sources.measure_file(quantum.path("coadd"), threshold=config.threshold, minarea=config.minarea)
    quantum.put("catalogue", sources.arrow_table(table, unit="nJy"))
    quantum.put("catalogue_table", sources.fits_table(table, unit="nJy"))
    quantum.measure("n_sources", len(table))
    quantum.measure("seeing_pixels", sources.seeing(table))
