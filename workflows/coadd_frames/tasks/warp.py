"""One frame on the output pixels, in nanojansky."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from prestow.tasks import NothingToDo, Quantum

ZERO_POINT = 31.4
"""The magnitude of 1 nJy."""


@dataclass(frozen=True)
class Config:
    """A frame whose stars scatter by more than ``worst_scatter`` (arcsec) about the catalogue is left out."""

    worst_scatter: float = 0.15
    correct_offset: bool = True


def run(quantum: Quantum, config: Config) -> None:
    """Resample by cubic splines, scaled to the common zero point.

    reproject interpolates surface brightness; times the ratio of pixel areas it is flux, so that the light
    of a star is kept. VAR is interpolated as a level would be, so that sums over areas have right errors;
    neighbouring pixels are correlated and scatter somewhat less than VAR says.
    """
    import numpy as np
    from astropy.io import fits
    from astropy.wcs.utils import proj_plane_pixel_area

    from measuring import coordinates, images

    placed = quantum.get("astrometry")["metrics"]
    if placed["astrometric_scatter"] > config.worst_scatter:
        raise NothingToDo("astrometry", f"scatter {placed['astrometric_scatter']} arcsec")
    zero_point = quantum.get("zero_point")["metrics"]["zero_point"]
    grid = quantum.get("grid")
    path = quantum.path("frame")
    frame, wcs = images.read_image(path), coordinates.read_wcs(path)
    if config.correct_offset:
        wcs = coordinates.shifted(wcs, -placed["offset_ra"], -placed["offset_dec"])
    target = coordinates.wcs_of(fits.Header(grid["wcs"]))
    factor = 10 ** (0.4 * (ZERO_POINT - zero_point))
    area = float(proj_plane_pixel_area(target) / proj_plane_pixel_area(wcs))
    data, variance, flags = resample(
        frame.data, frame.uncertainty.array, frame.flags, wcs, target, tuple(grid["shape"])
    )
    if (flags & images.NO_DATA).all():
        raise NothingToDo("outside", "the frame does not reach the output pixels")
    header = frame.meta
    header["MAGZERO"] = (ZERO_POINT, "[mag] of a flux of 1 in this image")
    header["ZEROPT"] = (zero_point, "[mag] of 1 adu/s in the frame, before")
    header["SKYSHFT1"] = (-placed["offset_ra"] * config.correct_offset, "[arcsec] moved east")
    header["SKYSHFT2"] = (-placed["offset_dec"] * config.correct_offset, "[arcsec] moved north")
    header["SEEING"] = (placed["seeing"], "[arcsec] FWHM of the stars")
    header["ASTSCAT"] = (placed["astrometric_scatter"], "[arcsec] rms of an axis, worse one")
    # the flux of a pixel goes with its area, and so does the variance of a sum over an area
    images.write_image(
        quantum.path("warp"),
        images.image(data * factor * area, variance * factor**2 * area, flags, header, "nJy"),
        cards=coordinates.cards_of(target),
    )
    quantum.measure("zero_point", zero_point)
    quantum.measure("seeing", placed["seeing"])
    quantum.measure("covered_share", float(np.mean((flags & images.NO_DATA) == 0)))


def resample(
    data: Any, variance: Any, flags: Any, wcs: Any, target: Any, shape: tuple[int, int]
) -> tuple[Any, Any, Any]:
    """Give the three planes on other pixels: each flag where a marked pixel is near, and where nothing is.

    All planes go together, since most of the time is spent on where each pixel comes from.
    """
    import numpy as np
    from reproject import reproject_interp
    from scipy.ndimage import binary_dilation

    from measuring import images

    bits = [bit for bit in range(8) if (flags >> bit & 1).any()]
    # a cubic spline reaches two pixels far
    marked = [binary_dilation(flags >> bit & 1, np.ones((3, 3)), iterations=2) for bit in bits]
    planes = np.stack([data, variance, *marked]).astype(np.float64)
    laid, inside = reproject_interp(
        (planes, wcs), target, shape_out=shape, order="bicubic", roundtrip_coords=False
    )
    nothing = ~(inside[0] > 0) | ~np.isfinite(laid[:2]).all(axis=0)
    out = np.zeros(shape, dtype=np.uint8)
    for bit, share in zip(bits, laid[2:], strict=True):
        out |= (np.nan_to_num(share) > 0.5).astype(np.uint8) << bit
    out[nothing] |= images.NO_DATA
    level = np.maximum(laid[1], variance.min())  # a spline swings below what it runs through
    return np.where(nothing, 0.0, laid[0]), np.where(nothing, 0.0, level), out
