"""Footprints: the corners of a detector on the sky, from a WCS, or from a pointing and the camera's geometry."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from prestow.documents import Document, Key, check_schema, read_document
from prestow.errors import IngestError, Problem, raise_all
from prestow.sky.angles import UNITS
from prestow.sky.geometry import Array, Polygons, frames, from_plane, positions
from prestow.sky.overlap import missing

CAMERA = "prestow.camera/1"
_CORNERS = 4


@dataclass(frozen=True, slots=True)
class Camera:
    """The corners of detectors in the focal plane: degrees on the tangent plane at the boresight.

    With rotation 0, x grows to the east and y to the north.
    """

    detectors: Mapping[int, tuple[tuple[float, float], ...]]

    def footprint(self, detector: int, ra: float, dec: float, rotation: float = 0.0) -> Array:
        """Give the corners (4, 2) of a detector in degrees for a pointing; rotation is from north over east.

        Examples
        --------
        >>> camera = Camera({1: ((-1, -1), (1, -1), (1, 1), (-1, 1))})
        >>> camera.footprint(1, 0.0, 0.0).round(3).tolist()
        [[359.0, -1.0], [1.0, -1.0], [1.0, 1.0], [359.0, 1.0]]
        """
        plane = np.array(self.detectors[detector], float)
        corners = positions(from_plane(frames(ra, dec, rotation), plane[:, 0], plane[:, 1]))
        return np.stack(corners, -1)


def load_camera(path: Path) -> Camera:
    """Read a camera's geometry from a YAML file.

    Raises
    ------
    ConfigurationError
        With every problem of the file.
    """
    document = read_document(path)
    data = document.data
    problems = document.check_keys((), data, required=("schema", "unit", "detectors"))
    if not isinstance(data, dict):
        raise_all(problems)
    top = cast("dict[str, object]", data)
    problems += check_schema(document, top, CAMERA)
    unit = top.get("unit", "deg")
    if unit not in UNITS:
        problems.append(
            document.problem("PST-C013", ("unit",), f"no such unit: {unit!r}", f"write {', '.join(UNITS)}")
        )
        unit = "deg"
    scale = float(UNITS[str(unit)])
    section = top.get("detectors", {})
    problems += document.check_type(("detectors",), section, dict)
    detectors: dict[int, tuple[tuple[float, float], ...]] = {}
    for number, corners in section.items() if isinstance(section, dict) else ():
        path_: Key = ("detectors", number)
        wrong = _corners_wrong(document, path_, number, corners)
        problems += wrong
        if not wrong:
            detectors[number] = tuple((x * scale, y * scale) for x, y in corners)
    raise_all(problems)
    return Camera(detectors)


def _corners_wrong(document: Document, path: Key, number: object, corners: object) -> list[Problem]:
    if not isinstance(number, int):
        return [document.problem("PST-C013", path, "a detector is an integer", at_key=True)]
    good = (
        isinstance(corners, list)
        and len(corners) == _CORNERS
        and all(isinstance(c, list) and len(c) == 2 and all(_is_number(v) for v in c) for c in corners)  # noqa: PLR2004 - x, y
    )
    if not good:
        return [document.problem("PST-C011", path, "must be four corners, each [x, y]")]
    if not Polygons.of(from_plane(frames(0.0, 0.0), *np.array(corners, float).T)[None]).sound()[0]:
        return [
            document.problem(
                "PST-C013", path, "the corners are no convex polygon", "give them in order around"
            )
        ]
    return []


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def footprint_of_wcs(path: Path, hdu: int) -> Array:
    """Give the corners (4, 2) of an image in degrees, by the WCS of its header: the outer edges of its pixels.

    Raises
    ------
    ValueError
        If there is no such HDU, no image in it, or no celestial WCS; or a corner has no place on the sky.
    """
    import warnings

    try:
        from astropy.io import fits
        from astropy.wcs import WCS
    except ImportError as error:
        raise missing("astropy") from error
    with warnings.catch_warnings(), fits.open(path, memmap=True) as file:
        warnings.simplefilter("ignore")
        if hdu >= len(file):
            raise ValueError(f"there is no HDU {hdu}")
        header = file[hdu].header
        try:
            wcs = WCS(header).celestial
        except Exception as error:
            raise ValueError(f"its WCS cannot be read: {error}") from error
        shape = file[hdu].shape
        if not wcs.has_celestial or len(shape) < 2:  # noqa: PLR2004 - an image
            raise ValueError(f"HDU {hdu} has no image with a celestial WCS")
        height, width = shape[-2:]
        x = np.array([0, width, width, 0]) - 0.5
        y = np.array([0, 0, height, height]) - 0.5
        ra, dec = wcs.all_pix2world(x, y, 0)
    corners = np.stack([ra, dec], -1)
    if not np.isfinite(corners).all():
        raise ValueError("a corner has no place on the sky")
    return corners


def sound(corners: Array | Sequence[Sequence[float]]) -> bool:
    """Say whether corners (4, 2) in degrees are a convex polygon that can be a footprint."""
    ra, dec = np.asarray(corners, float).T
    return bool(Polygons.at(ra[None], dec[None]).sound()[0])


def polygons_of(corners: Array) -> Polygons:
    """Make polygons of footprints: rows of ra, dec, ra, dec … in degrees.

    Raises
    ------
    IngestError
        PST-S006 if one is no convex polygon.
    """
    pairs = corners.reshape(len(corners), -1, 2)
    found = Polygons.at(pairs[..., 0], pairs[..., 1])
    wrong = np.flatnonzero(~found.sound())
    if len(wrong):
        shown = ", ".join(f"({ra:.4f}, {dec:+.4f})" for ra, dec in pairs[wrong[0]])
        what = f"{len(wrong):,} of {len(corners):,} footprints are no convex polygons within 45 deg; the first: {shown}"
        raise IngestError(
            Problem("PST-S006", what, "footprints", "mend the WCS or the camera's corners, and take in again")
        )
    return found
