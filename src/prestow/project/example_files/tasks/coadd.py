"""Take the mean of all frames of one detector in one band."""

from dataclasses import dataclass

import numpy as np

from prestow.tasks import Quantum


@dataclass(frozen=True)
class Config:
    """What can be set: how far from the median a pixel may be, in units of the scatter."""

    clip: float = 4.0


def run(quantum: Quantum, config: Config) -> None:
    """Make ``coadd`` from every ``calexp``."""
    frames = np.stack(
        [
            np.asarray(quantum.get("calexp", "array", **i.data_id), dtype=np.float32)
            for i in quantum.inputs["calexp"]
        ]
    )
    median = np.median(frames, axis=0)
    scatter = 1.4826 * np.median(np.abs(frames - median), axis=0)
    kept = np.ma.masked_where(np.abs(frames - median) > config.clip * np.maximum(scatter, 1), frames)
    quantum.put("coadd", kept.mean(axis=0).filled(0).astype(np.float32))
    quantum.measure("frames", len(frames))
