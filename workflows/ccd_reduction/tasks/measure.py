"""What can be said of one reduced frame: sky, seeing, its bright stars."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import Quantum


@dataclass(frozen=True)
class Config:
    """How sources are found and measured."""

    threshold: float = 4.0
    aperture: float = 7.0
    stars: int = 120


def run(quantum: Quantum, config: Config) -> None:
    """Measure a frame and list its bright stars."""
    import numpy as np

    from measuring import images, sky

    frame = images.read_image(quantum.path("isr"))
    level = sky.background(frame.data, frame.mask)
    data, mask = frame.data - level, frame.mask
    found = sky.sources(data, frame.uncertainty.array, mask, threshold=config.threshold)
    flux = sky.fluxes(data, mask, found["x"], found["y"], config.aperture)
    order = [k for k in np.argsort(-np.nan_to_num(flux), kind="stable") if np.isfinite(flux[k])][
        : config.stars
    ]
    bright = order[:40]
    width = 2.3548 * np.sqrt((found["a"][bright] ** 2 + found["b"][bright] ** 2) / 2)
    metrics = {
        "exposure_time": float(frame.meta["EXPTIME"]),
        "sky": round(float(np.median(level)), 3),
        "sky_ramp_before": float(frame.meta["SKYRAMP0"]),
        "sky_ramp": float(frame.meta["SKYRAMP"]),
        "fwhm": round(float(np.median(width)), 4) if len(width) else 0.0,
        "sources": len(found),
        "blank_sky_pull": round(sky.pixel_pull(data, frame.uncertainty.array, mask), 4),
    }
    for name, value in metrics.items():
        quantum.measure(name, value)
    stars = [
        {
            "x": round(float(found["x"][k]), 4),
            "y": round(float(found["y"][k]), 4),
            "flux": round(float(flux[k]), 3),
        }
        for k in order
    ]
    quantum.put("measures", {"metrics": metrics, "stars": stars})
