"""Master bias: what a detector reads out without light, in electrons."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import Quantum


@dataclass(frozen=True)
class Config:
    """How bias frames are read and combined."""

    data_sections: tuple[str, ...] = ("DATASEC1", "DATASEC2")
    bias_sections: tuple[str, ...] = ("BIASSEC1", "BIASSEC2")
    gains: tuple[str, ...] = ("GAIN1", "GAIN2")
    read_noises: tuple[str, ...] = ("RDNOISE1", "RDNOISE2")
    read_noise: float | None = None
    saturation_key: str = "SATURATE"
    saturation: float | None = None
    hot_sigma: float = 30.0
    disagree_sigma: float = 7.0


def run(quantum: Quantum, config: Config) -> None:
    """Combine all bias frames of a detector: their median, or of two their mean."""
    import ccdproc
    import numpy as np
    from astropy.nddata import CCDData
    from astropy.stats import mad_std

    from measuring import images
    from tasks.raw import Amplifiers, read_raw

    amplifiers = Amplifiers.of(config)
    frames = [read_raw(path, amplifiers) for path in quantum.paths("raw")]
    combiner = ccdproc.Combiner([CCDData(frame.electrons, unit="electron") for frame in frames])
    count = len(frames)
    noise = frames[0].read_noise
    if count > 2:
        level = combiner.median_combine().data
        variance = np.pi / 2 * noise**2 / count
    else:
        level = combiner.average_combine().data
        variance = noise**2 / count
    flags = np.zeros(level.shape, dtype=np.uint8)
    flags[np.abs(level - np.median(level)) > config.hot_sigma * max(mad_std(level), noise.min())] |= (
        images.BAD
    )
    if count == 2:
        # a mean of two cannot tell a cosmic ray from the truth, but it can say that they disagree
        apart = np.abs(frames[0].electrons - frames[1].electrons)
        flags[apart > config.disagree_sigma * np.sqrt(2) * noise] |= images.BAD
    header = frames[0].header
    header["NCOMBINE"] = (count, "bias frames combined")
    images.write_image(quantum.path("bias"), images.image(level, variance, flags, header))
    if count > 1:
        quantum.measure("read_noise", float(mad_std(frames[0].electrons - frames[1].electrons) / np.sqrt(2)))
    quantum.measure("bad_pixels", int((flags != 0).sum()))
