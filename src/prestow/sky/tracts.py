"""Where tracts lie: in rings of declination, on HEALPix pixels, or where a list says; and how far each must reach."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prestow.sky.geometry import Array, frames, from_plane, positions, to_plane, vectors
from prestow.sky.overlap import missing

_SAMPLED = 1.002  # the edge of a pixel bulges between the points that are looked at


@dataclass(frozen=True, slots=True)
class Layout:
    """Tracts: numbers, centres and turns in degrees, and for a full-sky kind what each has to cover.

    ``half_width`` and ``half_height`` are degrees on the tangent plane; ``farthest`` has the positions
    (ra, dec) that reach it, and is there to name one in an error.
    """

    numbers: NDArray[np.int64]
    ra: Array
    dec: Array
    rotation: Array
    half_width: Array | None = None
    half_height: Array | None = None
    farthest: tuple[Array, Array] | None = None


def rings(number: int, overlap: float) -> Layout:
    """Give tracts in ``number`` rings between two polar caps; ``overlap`` widens each, in degrees.

    Rings are equally high; each has as many tracts as make none wider than high. Tract 0 is the southern
    cap; numbers go north, and in a ring to the east from right ascension 0.

    Examples
    --------
    >>> layout = rings(3, 0.0)
    >>> layout.numbers.tolist()[-1], layout.dec.round(1).tolist()[:2]
    (25, [-90.0, -45.0])
    """
    height = 180.0 / (number + 1)
    ra: list[Array] = [np.zeros(1)]
    dec: list[Array] = [np.array([-90.0])]
    wide: list[Array] = []
    high: list[Array] = []
    far: list[Array] = []
    cap = math.degrees(math.tan(math.radians(height / 2)))
    edge = height / 2 - 90.0
    wide.append(np.array([cap]))
    high.append(np.array([cap]))
    far.append(np.array([[0.0, edge]]))
    for ring in range(1, number + 1):
        centre = -90.0 + ring * height
        nearest = max(abs(centre) - height / 2, 0.0)
        count = max(math.ceil(360.0 * math.cos(math.radians(nearest)) / height - 1e-9), 3)
        half = 180.0 / count
        # Meridians are straight on the plane, and along a parallel both coordinates are monotone from its
        # middle to its ends: the extremes are among these.
        a = np.array([-half, half, -half, half, 0.0, 0.0])
        d = np.array([-1, -1, 1, 1, -1, 1]) * height / 2 + centre
        x, y = to_plane(frames(0.0, centre), vectors(a, d))
        at = np.linspace(0.0, 360.0, count, endpoint=False)
        ra.append(at)
        dec.append(np.zeros(count) + centre)
        wide.append(np.full(count, np.abs(x).max()))
        high.append(np.full(count, np.abs(y).max()))
        worst = int(np.argmax(np.maximum(np.abs(x), np.abs(y))))
        far.append(np.stack([(at + a[worst]) % 360.0, np.full(count, d[worst])], -1))
    ra.append(np.zeros(1))
    dec.append(np.array([90.0]))
    wide.append(np.array([cap]))
    high.append(np.array([cap]))
    far.append(np.array([[0.0, -edge]]))
    all_ra, all_dec, points = np.concatenate(ra), np.concatenate(dec), np.concatenate(far)
    return Layout(
        np.arange(len(all_ra)), all_ra, all_dec, np.zeros(len(all_ra)), np.concatenate(wide) + overlap,
        np.concatenate(high) + overlap, (points[:, 0], points[:, 1]),
    )  # fmt: skip


def healpix(order: int, overlap: float) -> Layout:
    """Give a tract for each HEALPix pixel of an order, numbered as in the nested scheme.

    Raises
    ------
    ConfigurationError
        PST-S010 if astropy-healpix is not installed.
    """
    ra, dec = centres(order)
    numbers = np.arange(len(ra))
    turned = frames(ra, dec, 45.0)  # a pixel stands on its corner
    edge = boundaries(order, numbers, 8)
    x, y = to_plane(turned[:, None], edge)
    worst = np.argmax(np.maximum(np.abs(x), np.abs(y)), axis=1)
    far_ra, far_dec = positions(edge[numbers, worst])
    return Layout(
        numbers, ra, dec, np.full(len(ra), 45.0), np.abs(x).max(axis=1) * _SAMPLED + overlap,
        np.abs(y).max(axis=1) * _SAMPLED + overlap, (far_ra, far_dec),
    )  # fmt: skip


def centres(order: int) -> tuple[Array, Array]:
    """Give the centres of all pixels of an order, nested, in degrees."""
    hp = _astropy_healpix()
    lon, lat = hp.healpix_to_lonlat(np.arange(12 * 4**order), 2**order, order="nested")
    return np.asarray(lon.to_value("deg"), float), np.asarray(lat.to_value("deg"), float)


def boundaries(order: int, pixels: NDArray[np.int64], step: int) -> Array:
    """Give points along the edges of pixels, ``step`` on each of the four, as vectors."""
    hp = _astropy_healpix()
    lon, lat = hp.boundaries_lonlat(pixels, step, 2**order, order="nested")
    return vectors(lon.to_value("deg"), lat.to_value("deg"))


def corner(layout: Layout, tract: int, x: float, y: float) -> tuple[float, float]:
    """Give the position of a point on a tract's plane, in degrees."""
    plane = frames(layout.ra[tract], layout.dec[tract], layout.rotation[tract])
    ra, dec = positions(from_plane(plane, np.asarray(x), np.asarray(y)))
    return float(ra), float(dec)


def _astropy_healpix() -> Any:  # a module without types
    try:
        import astropy_healpix
    except ImportError as error:
        raise missing("astropy-healpix") from error
    return astropy_healpix
