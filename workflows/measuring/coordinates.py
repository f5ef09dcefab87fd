"""Sky coordinates of images: WCS cards in and out, and stars of an image among those of a catalogue."""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, FITSFixedWarning
from numpy.lib import recfunctions

_CARDS = re.compile(
    r"(WCSAXES|CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA|LONPOLE|LATPOLE|RADESYS|RADECSYS|EQUINOX)\d?|(CD|PC|PV)\d_\d+"
)
ARCSEC = 3600.0


def wcs_of(header: fits.Header) -> WCS:
    """Give the WCS of a header by its cards of place alone.

    Cards of time are not looked at: from a date without a time astropy would make a midnight. Only
    projections without distortion are read.
    """
    cards = fits.Header([c for c in header.cards if _CARDS.fullmatch(c.keyword)])
    if "RADECSYS" in cards:
        cards["RADESYS"] = cards.pop("RADECSYS")
    for axis in ("CTYPE1", "CTYPE2"):
        if len(str(header.get(axis, "")).strip()) != 8:  # RA---TAN-SIP has more
            raise ValueError(f"{axis} = {header.get(axis)!r} is not a projection without distortion")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FITSFixedWarning)
        return WCS(cards, naxis=2)


def read_wcs(path: Path) -> WCS:
    """Give the WCS of an image product."""
    return wcs_of(fits.getheader(path, "SCI"))


def cards_of(wcs: WCS) -> fits.Header:
    """Give the cards that say a WCS, and nothing of time."""
    matrix = wcs.pixel_scale_matrix
    header = fits.Header()
    header["WCSAXES"] = 2
    for k in (0, 1):
        header[f"CTYPE{k + 1}"] = wcs.wcs.ctype[k]
        header[f"CUNIT{k + 1}"] = "deg"
        header[f"CRVAL{k + 1}"] = float(wcs.wcs.crval[k])
        header[f"CRPIX{k + 1}"] = float(wcs.wcs.crpix[k])
        for j in (0, 1):
            header[f"CD{k + 1}_{j + 1}"] = float(matrix[k, j])
    header["RADESYS"] = "ICRS"
    return header


def shifted(wcs: WCS, east: float, north: float) -> WCS:
    """Give the WCS moved on the sky by arcseconds to the east and north."""
    moved = wcs.deepcopy()
    ra, dec = wcs.wcs.crval
    moved.wcs.crval = [ra + east / ARCSEC / np.cos(np.radians(dec)), dec + north / ARCSEC]
    moved.wcs.set()
    return moved


def vectors(ra: Any, dec: Any) -> Any:
    """Give unit vectors of places on the sky in degrees."""
    ra, dec = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)], axis=-1)


def place_of(vector: Any) -> tuple[float, float]:
    """Give right ascension (0 to 360) and declination of a vector, in degrees."""
    x, y, z = vector / np.linalg.norm(vector)
    return float(np.degrees(np.arctan2(y, x)) % 360), float(np.degrees(np.arcsin(z)))


def offsets(ra: Any, dec: Any, ra0: Any, dec0: Any) -> tuple[Any, Any]:
    """Give small distances to the east and north from (ra0, dec0), in arcsec."""
    turn = (np.asarray(ra) - ra0 + 180.0) % 360.0 - 180.0
    return turn * np.cos(np.radians(dec0)) * ARCSEC, (np.asarray(dec) - dec0) * ARCSEC


def read_reference(path: Path, band: str, *, faintest: float, brightest: float) -> Any:
    """Give the stars of a reference source catalogue: ra (0 to 360), dec, magnitude of one band.

    A FITS table with columns ra, dec (degrees), one column of magnitudes for each band under its name, and,
    if there is one, ``starnotgal`` that is 1 for stars.
    """
    with fits.open(path, memmap=False) as hdus:
        rows = next(h.data for h in hdus if isinstance(h, fits.BinTableHDU) and h.name != "PSTINPUT")
        names = rows.names
        if missing := [n for n in ("ra", "dec", band) if n not in names]:
            raise KeyError(
                f"the reference catalogue has no column {', '.join(missing)}; it has {', '.join(names)}"
            )
        magnitude = np.asarray(rows[band], dtype=np.float64)
        good = np.isfinite(magnitude) & (magnitude > brightest) & (magnitude < faintest)
        if "starnotgal" in names:
            good &= np.asarray(rows["starnotgal"]) == 1
        columns = [
            np.asarray(rows["ra"], dtype=np.float64)[good] % 360.0,
            np.asarray(rows["dec"], dtype=np.float64)[good],
            magnitude[good],
        ]
    return recfunctions.unstructured_to_structured(
        np.column_stack(columns), np.dtype([("ra", "f8"), ("dec", "f8"), ("magnitude", "f8")])
    )


@dataclass(frozen=True)
class Pairs:
    """Which rows of a list are which of a catalogue, and where they lie from them (arcsec)."""

    mine: Any
    theirs: Any
    east: Any
    north: Any

    @property
    def offset(self) -> tuple[float, float]:
        """The middle offset to the east and north; to be taken off."""
        return float(np.median(self.east)), float(np.median(self.north))

    @property
    def scatter(self) -> tuple[float, float]:
        """The root mean square about it, of each axis."""
        east, north = self.offset
        return (
            float(np.sqrt(np.mean((self.east - east) ** 2))),
            float(np.sqrt(np.mean((self.north - north) ** 2))),
        )


def match(ra: Any, dec: Any, ra0: Any, dec0: Any, *, within: float, clip: float = 4.0) -> Pairs:
    """Pair two lists on the sky: each with its nearest, both ways, within so many arcsec.

    What lies further from the common offset than ``clip`` times the scatter (by the median absolute
    deviation) is left out.
    """
    from astropy.stats import mad_std
    from scipy.spatial import KDTree

    none = np.empty(0, dtype=int)
    if not len(ra) or not len(ra0):
        return Pairs(none, none, np.empty(0), np.empty(0))
    own, other = vectors(ra, dec), vectors(ra0, dec0)
    distance, nearest = KDTree(other).query(own)
    _, back = KDTree(own).query(other)
    chosen = (distance < np.radians(within / ARCSEC)) & (back[nearest] == np.arange(len(own)))
    mine = np.flatnonzero(chosen)
    theirs = nearest[mine]
    east, north = offsets(ra[mine], dec[mine], ra0[theirs], dec0[theirs])
    for _ in range(3):
        if len(mine) < 4:
            break
        fine = np.ones(len(mine), dtype=bool)
        for axis in (east, north):
            away = axis - np.median(axis)
            fine &= np.abs(away) <= clip * max(float(mad_std(axis)), 1e-3)
        mine, theirs, east, north = mine[fine], theirs[fine], east[fine], north[fine]
    return Pairs(mine, theirs, east, north)
