"""Master flat of one filter: the response of each pixel relative to the median one, with its variance."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import Quantum


@dataclass(frozen=True)
class Config:
    """How flat frames are read and combined; a pixel below ``lowest`` is marked."""

    data_sections: tuple[str, ...] = ("DATASEC1", "DATASEC2")
    bias_sections: tuple[str, ...] = ("BIASSEC1", "BIASSEC2")
    gains: tuple[str, ...] = ("GAIN1", "GAIN2")
    read_noises: tuple[str, ...] = ("RDNOISE1", "RDNOISE2")
    read_noise: float | None = None
    saturation_key: str = "SATURATE"
    saturation: float | None = None
    lowest: float = 0.5
    least_light: float = 100.0


def run(quantum: Quantum, config: Config) -> None:
    """Combine all flat frames of one filter and detector: their median, or their mean below three.

    A detector that no light reached gets a flat in which every pixel is marked: it is below ``lowest``.
    """
    import ccdproc
    import numpy as np
    from astropy.nddata import CCDData

    from measuring import images
    from tasks.calibration import without_bias_and_dark
    from tasks.raw import Amplifiers, read_raw

    amplifiers = Amplifiers.of(config)
    scaled, variances, light = [], [], []
    header = None
    flags = np.uint8(0)
    for path in quantum.paths("raw"):
        frame = read_raw(path, amplifiers)
        header = header or frame.header
        signal, noise, marked = without_bias_and_dark(frame, quantum)
        flags = flags | marked
        flags[frame.saturated] |= images.SATURATED
        level = float(np.median(signal[flags == 0]))
        light.append(level)
        level = max(level, config.least_light)
        scaled.append(CCDData(signal / level, unit=""))
        variances.append(noise / level**2)
    count = len(scaled)
    combiner = ccdproc.Combiner(scaled)
    response = (combiner.median_combine() if count > 2 else combiner.average_combine()).data
    variance = np.sum(variances, axis=0) / count**2 * (np.pi / 2 if count > 2 else 1.0)
    flags[response < config.lowest] |= images.LOW_FLAT
    assert header is not None  # the plan has at least one frame
    header["NCOMBINE"] = (count, "flat frames combined")
    header["FLATMED"] = (round(float(np.median(light)), 3), "[electron] median light of a frame")
    images.write_image(quantum.path("flat"), images.image(response, variance, flags, header, ""))
    quantum.measure("median_light", float(np.median(light)))
    quantum.measure("low_pixels", int(((flags & images.LOW_FLAT) != 0).sum()))
