"""Removal of what the instrument did to a frame: electrons with variance and mask."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import NothingToDo, Quantum


@dataclass(frozen=True)
class Config:
    """How a science frame is read and corrected.

    ``apply_flat`` off is a control, not a mode of use. ``edge_pixels`` along each border are marked bad.
    """

    data_sections: tuple[str, ...] = ("DATASEC1", "DATASEC2")
    bias_sections: tuple[str, ...] = ("BIASSEC1", "BIASSEC2")
    gains: tuple[str, ...] = ("GAIN1", "GAIN2")
    read_noises: tuple[str, ...] = ("RDNOISE1", "RDNOISE2")
    read_noise: float | None = None
    saturation_key: str = "SATURATE"
    saturation: float | None = None
    apply_flat: bool = True
    edge_pixels: int = 0
    least_good: float = 0.05
    cosmic_ray_sigma: float = 6.0
    cosmic_ray_contrast: float = 5.0


def run(quantum: Quantum, config: Config) -> None:
    """Reduce one frame, or decline where no light reached the detector."""
    import ccdproc
    import numpy as np

    from measuring import images, sky
    from tasks.calibration import without_bias_and_dark
    from tasks.raw import Amplifiers, read_raw

    amplifiers = Amplifiers.of(config)
    flat = images.read_image(quantum.path("flat"))
    frame = read_raw(quantum.path("raw"), amplifiers)
    signal, variance, flags = without_bias_and_dark(frame, quantum)
    flags |= flat.flags
    if (flags == 0).mean() < config.least_good:
        raise NothingToDo("dead_detector", "nearly no pixel of the flat has light")
    flags[frame.saturated] |= images.SATURATED
    if config.edge_pixels:
        border = np.ones(flags.shape, dtype=bool)
        border[config.edge_pixels : -config.edge_pixels, config.edge_pixels : -config.edge_pixels] = False
        flags[border] |= images.BAD
    if np.median(signal[flags == 0]) < frame.read_noise.mean() / np.sqrt((flags == 0).sum()):
        raise NothingToDo("dead_detector", "the frame has no light")
    before = sky.ramp(signal, flags != 0)
    header = frame.header
    if config.apply_flat:
        level = images.image(signal, variance, flags, header)
        usable = images.image(
            np.where(flat.mask, 1.0, flat.data),
            np.where(flat.mask, 0.0, flat.uncertainty.array),
            flat.flags,
            flat.meta,
            "",
        )
        # norm_value: the flat is normalised already; its own variance goes into the quotient's
        level = ccdproc.flat_correct(level, usable, norm_value=1.0, add_keyword=None)
        signal, variance = level.data, level.uncertainty.array
    before_rays = images.image(signal, variance, flags, header)
    cleaned = ccdproc.cosmicray_lacosmic(
        before_rays,
        sigclip=config.cosmic_ray_sigma,
        objlim=config.cosmic_ray_contrast,
        gain=1.0,
        gain_apply=False,
        readnoise=float(frame.read_noise.mean()) * before_rays.unit,
        satlevel=np.inf,
        invar=variance.astype(np.float32),
    )
    rays = np.asarray(cleaned.mask) & (flags == 0)
    flags[rays] |= images.COSMIC_RAY
    signal = np.where(rays, cleaned.data, signal)
    after = sky.ramp(signal, flags != 0)
    header["SKYRAMP0"] = (round(before, 5), "(max-min)/median of the sky, before the flat")
    header["SKYRAMP"] = (round(after, 5), "the same in this image")
    header["FLATDONE"] = (config.apply_flat, "divided by the flat")
    images.write_image(quantum.path("isr"), images.image(signal, variance, flags, header))
    quantum.measure("sky", float(np.median(signal[flags == 0])))
    quantum.measure("sky_ramp_before", before)
    quantum.measure("sky_ramp", after)
    quantum.measure("cosmic_ray_pixels", int(rays.sum()))
