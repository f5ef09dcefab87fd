"""Take the sky off a frame, and say how good it is."""

from dataclasses import dataclass

import numpy as np

from prestow.tasks import NothingToDo, Quantum


@dataclass(frozen=True)
class Config:
    """What can be set."""

    brightest_sky: float = 5000.0


def run(quantum: Quantum, config: Config) -> None:
    """Make ``calexp`` and ``summary`` from ``isr``."""
    pixels = np.asarray(quantum.get("isr", "array"), dtype=np.float32)
    sky = float(np.median(pixels))
    if sky > config.brightest_sky:
        raise NothingToDo("bright_sky")
    noise = 1.4826 * float(np.median(np.abs(pixels - np.float32(sky))))
    quantum.put("calexp", pixels - np.float32(sky))
    quantum.put("summary", {"sky": round(sky, 3), "noise": round(noise, 3)})
    quantum.measure("sky", round(sky, 3))
    quantum.measure("noise", round(noise, 3))
