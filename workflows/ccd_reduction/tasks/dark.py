"""Master dark: what a detector gathers in the dark in a given time, in electrons."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import Quantum


@dataclass(frozen=True)
class Config:
    """How dark frames are read and combined; what is ``hot_sigma`` above the rest is marked."""

    data_sections: tuple[str, ...] = ("DATASEC1", "DATASEC2")
    bias_sections: tuple[str, ...] = ("BIASSEC1", "BIASSEC2")
    gains: tuple[str, ...] = ("GAIN1", "GAIN2")
    read_noises: tuple[str, ...] = ("RDNOISE1", "RDNOISE2")
    read_noise: float | None = None
    saturation_key: str = "SATURATE"
    saturation: float | None = None
    hot_sigma: float = 30.0


def run(quantum: Quantum, config: Config) -> None:
    """Combine all dark frames of a detector: their median, or their mean below three.

    Frames of other exposure times are scaled to the first one's, whose ``EXPTIME`` the dark has.
    """
    import ccdproc
    import numpy as np
    from astropy.nddata import CCDData
    from astropy.stats import mad_std

    from measuring import images
    from tasks.calibration import without_bias_and_dark
    from tasks.raw import Amplifiers, read_raw

    amplifiers = Amplifiers.of(config)
    frames = [read_raw(path, amplifiers) for path in quantum.paths("raw")]
    seconds = float(frames[0].header["EXPTIME"])
    scaled, variances = [], []
    flags = np.zeros(frames[0].electrons.shape, dtype=np.uint8)
    for frame in frames:
        signal, variance, marked = without_bias_and_dark(frame, quantum)
        scale = seconds / float(frame.header["EXPTIME"])
        scaled.append(CCDData(scale * signal, unit="electron"))
        variances.append(scale**2 * variance)
        flags |= marked
        flags[frame.saturated] |= images.BAD
    count = len(scaled)
    combiner = ccdproc.Combiner(scaled)
    level = (combiner.median_combine() if count > 2 else combiner.average_combine()).data
    variance = np.sum(variances, axis=0) / count**2 * (np.pi / 2 if count > 2 else 1.0)
    noise = max(mad_std(level), float(np.sqrt(np.median(variance))))
    flags[level - np.median(level) > config.hot_sigma * noise] |= images.BAD
    header = frames[0].header
    header["NCOMBINE"] = (count, "dark frames combined")
    images.write_image(quantum.path("dark"), images.image(level, variance, flags, header))
    quantum.measure("electrons_per_second", float(np.median(level)) / seconds)
    quantum.measure("scatter", float(level.std()))
    quantum.measure("bad_pixels", int((flags != 0).sum()))
