"""What bias and dark take off a raw frame, and what they add to its variance."""

from __future__ import annotations

from typing import Any

from prestow.tasks import Quantum


def without_bias_and_dark(frame: Any, quantum: Quantum) -> tuple[Any, Any, Any]:
    """Give signal and variance in electrons, and the flags of what was taken off.

    A dark is taken off where the task has such an input, scaled to the frame's exposure time. The electrons
    that it takes off have made noise all the same: the variance is that of the light before.
    """
    import ccdproc
    import numpy as np
    from astropy.nddata import CCDData

    from measuring import images

    bias = images.read_image(quantum.path("bias"))
    signal = ccdproc.subtract_bias(CCDData(frame.electrons, unit="electron"), bias, add_keyword=None).data
    variance = np.clip(signal, 0, None) + frame.read_noise**2 + bias.uncertainty.array
    flags = bias.flags.copy()
    if quantum.inputs.get("dark"):
        dark = images.read_image(quantum.path("dark"))
        scale = float(frame.header["EXPTIME"]) / float(dark.meta["EXPTIME"])
        signal = signal - scale * dark.data
        variance = variance + scale**2 * dark.uncertainty.array
        flags |= dark.flags
    return signal, variance, flags
