"""The sources of an image product."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import Quantum


@dataclass(frozen=True)
class Config:
    """In units of one pixel's noise, after a 3x3 filter; ``minarea`` in pixels.

    ``sky_coordinates`` off: the image has none, and ``ra`` and ``dec`` are nan.
    """

    threshold: float = 2.5
    minarea: int = 5
    sky_coordinates: bool = False


def run(quantum: Quantum, config: Config) -> None:
    """Detect and measure above the sky; an image without sources has an empty table."""
    from measuring import images, sky, sources

    image = images.read_image(quantum.path("image"))
    wcs = None
    if config.sky_coordinates:
        from tasks.celestial import wcs_of

        wcs, unnamed = wcs_of(image.meta)
        quantum.measure("sip_not_named", unnamed)
    table = sources.measure(
        image.data - sky.background(image.data, image.mask),
        image.uncertainty.array,
        image.mask,
        wcs=wcs,
        threshold=config.threshold,
        minarea=config.minarea,
    )
    quantum.put("sources", sources.arrow_table(table, unit="electron"))
    quantum.measure("n_sources", len(table))
    quantum.measure("seeing_pixels", sources.seeing(table))
