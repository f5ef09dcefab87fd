"""A reduced frame on the pixels of its band's reference frame, sky subtracted."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prestow.tasks import NothingToDo, Quantum


@dataclass(frozen=True)
class Config:
    """How stars are found and matched."""

    threshold: float = 4.0
    aperture: float = 7.0
    fewest_stars: int = 6
    within: float = 1.0


def run(quantum: Quantum, config: Config) -> None:
    """Resample an accepted frame; decline what the gate left out.

    No celestial coordinates are made up: the header says which visit's pixels these are. VAR is
    interpolated as the sky level would be, so that sums over areas have right errors; the interpolation
    correlates neighbouring pixels, whose own scatter is then somewhat less than VAR says.
    """
    import numpy as np

    from measuring import images
    from tasks import stars

    visit = quantum.data_id["visit"]
    judged = {row["visit"]: row for row in quantum.get("gate")["visits"]}
    row = judged.get(visit, {"accepted": False, "code": "not_measured"})
    if not row["accepted"]:
        raise NothingToDo(row["code"], f"transparency {row.get('transparency')} of the clearest frame")
    frame = images.read_image(quantum.path("isr"))
    target = images.read_image(quantum.path("reference"))
    reference = target.meta["REFVISIT"]
    data, own, own_flux = _stars(frame, config)
    _, other, other_flux = _stars(target, config)
    try:
        found = stars.match(own, other, seed=quantum.seed, within=config.within, fewest=config.fewest_stars)
    except stars.NoMatchError as error:
        raise NothingToDo("no_stars", "too few stars in common with the reference") from error
    mine, theirs = found.pairs[:, 0], found.pairs[:, 1]
    ratio = stars.light_ratio(own_flux[mine], other_flux[theirs])
    if not np.isfinite(ratio):
        raise NothingToDo("no_stars", "no whole star in common with the reference")
    flags = frame.flags
    if reference == visit:
        planes = data, frame.uncertainty.array, flags
    else:
        planes = _resample(data, frame.uncertainty.array, flags, found.transform, target.data.shape)
    header = frame.meta
    header["REFVISIT"] = (reference, "relative: on the pixels of this visit")
    header["FLXSCALE"] = (round(ratio, 6), "times this: star light as in REFVISIT")
    header["ALIGNRMS"] = (round(found.rms, 5), "[pixel] rms between matched stars")
    header["ALIGNN"] = (len(found.pairs), "matched stars")
    images.write_image(quantum.path("aligned"), images.image(*planes, header))
    quantum.measure("alignment_rms", found.rms)
    quantum.measure("flux_scale", ratio)
    quantum.measure("matched", len(found.pairs))


def _stars(frame: Any, config: Config) -> tuple[Any, Any, Any]:
    import numpy as np

    from measuring import sky

    data = frame.data - sky.background(frame.data, frame.mask)
    found = sky.sources(data, frame.uncertainty.array, frame.mask, threshold=config.threshold)
    flux = sky.fluxes(data, frame.mask, found["x"], found["y"], config.aperture)
    order = [k for k in np.argsort(-np.nan_to_num(flux), kind="stable") if np.isfinite(flux[k])]
    return data, np.column_stack([found["x"], found["y"]])[order], flux[order]


def _resample(
    data: Any, variance: Any, flags: Any, transform: Any, shape: tuple[int, int]
) -> tuple[Any, Any, Any]:
    import numpy as np
    from scipy.ndimage import gaussian_filter
    from skimage.transform import warp

    from measuring import images

    # what is bad is filled from its neighbours, or the interpolation would spread it
    fill = (flags & (images.BAD | images.LOW_FLAT)) != 0
    near = gaussian_filter((~fill).astype(np.float64), 1.5, truncate=3.0)
    smooth = gaussian_filter(np.where(fill, 0.0, data), 1.5, truncate=3.0) / np.maximum(near, 1e-3)
    smooth = np.where(fill, smooth, data)
    level = np.where(fill, np.median(variance[~fill]), variance)
    inverse = transform.inverse
    moved = warp(
        smooth,
        inverse,
        output_shape=shape,
        order=3,
        mode="constant",
        cval=0.0,
        clip=True,
        preserve_range=True,
    )
    spread = warp(level, inverse, output_shape=shape, order=1, mode="edge", preserve_range=True)
    bits = np.zeros(shape, dtype=np.uint8)
    for bit in range(8):
        plane = (flags >> bit) & 1
        if plane.any():
            share = warp(
                plane.astype(np.float64), inverse, output_shape=shape, order=1, mode="constant", cval=0.0
            )
            bits |= (share > 0.02).astype(np.uint8) << bit
    inside = warp(np.ones(data.shape), inverse, output_shape=shape, order=1, mode="constant", cval=0.0)
    bits[inside < 0.999] |= images.NO_DATA
    return moved, spread, bits
