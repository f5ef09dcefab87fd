"""A calibrated frame as a product: sky subtracted, with variance, mask, place and time."""

from __future__ import annotations

from dataclasses import dataclass, field

from prestow.tasks import NothingToDo, Quantum


@dataclass(frozen=True)
class Config:
    """How the frames of a camera are read.

    ``bands`` are by filter, where they have other names. ``gains`` and ``saturation`` are by band: electrons
    for an ADU, and the level (ADU, soft bias taken off) above which a pixel is marked; a band that is not
    named has gain 1 and no such level. ``soft_bias_key`` may be empty. ``box`` is that of the sky, in pixels.
    ``keep`` are the cards that stay true.
    """

    bands: dict[str, str] = field(default_factory=dict)
    gains: dict[str, float] = field(default_factory=dict)
    saturation: dict[str, float] = field(default_factory=dict)
    soft_bias_key: str = "SOFTBIAS"
    edge_pixels: int = 4
    box: int = 128
    least_good: float = 0.05
    keep: tuple[str, ...] = (
        "ORIGIN",
        "TELESCOP",
        "FILTER",
        "OBJECT",
        "RUN",
        "CAMCOL",
        "FRAME",
        "STRIPE",
        "STRIP",
        "CCDMODE",
    )


def run(quantum: Quantum, config: Config) -> None:
    """Take off soft bias and sky, say what each pixel is worth, and give light a second.

    The variance of the sky is what the source-free pixels scatter by; sources add their photons.
    """
    import numpy as np
    from astropy.io import fits
    from astropy.stats import mad_std

    from measuring import coordinates, images, sky
    from tasks import times

    with fits.open(quantum.path("raw"), memmap=False) as hdus:
        raw = hdus[0].header.copy()
        counts = hdus[0].data.astype(np.float64)
    if config.soft_bias_key:
        counts -= float(raw[config.soft_bias_key])
    filter_ = str(raw["FILTER"]).strip()
    band = config.bands.get(filter_, filter_)
    exposure = float(raw["EXPTIME"])  # a text in some headers
    gain = config.gains.get(band, 1.0)
    flags = np.zeros(counts.shape, dtype=np.uint8)
    flags[counts >= config.saturation.get(band, np.inf)] |= images.SATURATED
    edge = config.edge_pixels
    border = np.ones(flags.shape, dtype=bool)
    border[edge : flags.shape[0] - edge, edge : flags.shape[1] - edge] = False
    flags[border] |= images.BAD
    mask = flags != 0
    if (~mask).mean() < config.least_good:
        raise NothingToDo("no_data", "nearly no pixel is of use")
    level = sky.background(counts, mask, box=config.box)
    signal = counts - level
    first = np.full(signal.shape, max(float(mad_std(signal[~mask])) ** 2, 1e-12))
    blank = sky.blank(signal, first, mask)
    noise = float(mad_std(signal[blank if blank.any() else ~mask])) ** 2
    variance = noise + np.clip(signal, 0, None) / gain
    header = fits.Header([raw.cards[k] for k in config.keep if k in raw])
    header["BAND"] = (band, "of the filter")
    header["EXPTIME"] = (exposure, "[s] of every pixel")
    header["GAIN"] = (gain, "[electron/adu] that the variance goes by")
    header["SKYLEVEL"] = (round(float(np.median(level)), 4), "[adu] median sky that was taken off")
    header["SKYNOISE"] = (round(noise**0.5, 4), "[adu] scatter of source-free pixels")
    times.write(header, *times.interval(raw, exposure))
    wcs = coordinates.wcs_of(raw)
    images.write_image(
        quantum.path("frame"),
        images.image(signal / exposure, variance / exposure**2, flags, header, "adu / s"),
        cards=coordinates.cards_of(wcs),
    )
    quantum.measure("sky", float(np.median(level)))
    quantum.measure("sky_noise", noise**0.5)
    quantum.measure("masked_share", float(mask.mean()))
