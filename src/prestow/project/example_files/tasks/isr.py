"""Take the bias level off a raw frame, and give electrons."""

from dataclasses import dataclass

import numpy as np

from prestow.tasks import Quantum


@dataclass(frozen=True)
class Config:
    """What can be set: in pipeline.yaml, or by ``prestow plan --set isr.gain=1.5``."""

    bias_level: float = 1000.0
    gain: float = 2.0


def run(quantum: Quantum, config: Config) -> None:
    """Make ``isr`` from ``raw``."""
    counts = np.asarray(quantum.get("raw", "array"), dtype=np.float32)
    quantum.put("isr", (counts - np.float32(config.bias_level)) * np.float32(config.gain))
