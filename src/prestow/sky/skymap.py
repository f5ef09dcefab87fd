"""Sky maps: tracts on the sphere, each cut into patches on its own tangent plane."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from prestow.sky.geometry import Array, Polygons, frames, from_plane, positions

Index = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class SkyMap:
    """Where tracts and patches lie; it follows from its file alone.

    Parameters
    ----------
    name : str
        The value of the dimension ``skymap``.
    version : int
        Raised by a person when the map changes: then it needs another name in a registry that has it.
    digest : str
        SHA-256 of its canonical text.
    text : str
        The canonical text: JSON of all that was said, in degrees.
    tracts : array of int
        Their numbers.
    ra, dec, rotation : array of float
        Degrees: the centre of each tract's tangent plane, and its turn from north over east.
    columns, rows : int
        Patches of a tract: patch ``row * columns + column``, from the south-west-most on: columns go east, rows north.
    inner : pair of float
        Width and height of a patch in degrees on the tangent plane: patches touch without overlap.
    border : float
        Degrees by which a patch reaches beyond its inner part on each side.
    padding : float
        Degrees: up to so far apart are separations computed.
    """

    name: str
    version: int
    digest: str
    text: str
    tracts: Index
    ra: Array
    dec: Array
    rotation: Array
    columns: int
    rows: int
    inner: tuple[float, float]
    border: float
    padding: float

    @property
    def patches(self) -> int:
        """How many patches a tract has."""
        return self.columns * self.rows

    def frames(self, which: Index | slice = slice(None)) -> Array:
        """Give the tangent-plane frames of tracts, by their position in the map."""
        return frames(self.ra[which], self.dec[which], self.rotation[which])

    def tract_polygons(self) -> Polygons:
        """Give the area of each tract, borders included."""
        width, height = (n * size for n, size in zip((self.columns, self.rows), self.inner, strict=True))
        x, y = width / 2 + self.border, height / 2 + self.border
        xi, eta = np.array([[-x, x, x, -x]]), np.array([[-y, -y, y, y]])
        return Polygons.of(from_plane(self.frames()[:, None], xi, eta))

    def patch_polygons(self, which: Index | slice = slice(None)) -> tuple[Index, Index, Polygons]:
        """Give tract, patch and area (border included) of each patch of some tracts, or of all.

        Examples
        --------
        >>> from prestow.sky.reading import parse_skymap
        >>> one = parse_skymap('''
        ... schema: prestow.skymap/1
        ... name: deep
        ... version: 1
        ... tracts: {list: [{tract: 7, ra: 150 deg, dec: 2 deg}]}
        ... patches: {columns: 2, rows: 1, inner: 30 arcmin, border: 1 arcmin}
        ... ''')
        >>> tract, patch, polygons = one.patch_polygons()
        >>> tract.tolist(), patch.tolist(), len(polygons)
        ([7, 7], [0, 1], 2)
        """
        w, h = self.inner
        column, row = np.arange(self.patches) % self.columns, np.arange(self.patches) // self.columns
        # xi grows to the east: column 0 is the one with the least xi.
        x = (column - self.columns / 2) * w
        y = (row - self.rows / 2) * h
        b = self.border
        xi = np.stack([x - b, x + w + b, x + w + b, x - b], -1)
        eta = np.stack([y - b, y - b, y + h + b, y + h + b], -1)
        tracts = self.tracts[which]
        corners = from_plane(self.frames(which)[:, None, None], xi[None], eta[None])
        polygons = Polygons.of(corners.reshape(-1, 4, 3))
        return np.repeat(tracts, self.patches), np.tile(np.arange(self.patches), len(tracts)), polygons

    def patch_number(self, typed: str | int) -> int | None:
        """Give the number of a patch that was typed as one or as ``x,y``; None if there is none such.

        Examples
        --------
        >>> from prestow.sky.reading import parse_skymap
        >>> map_ = parse_skymap('''
        ... schema: prestow.skymap/1
        ... name: all
        ... version: 1
        ... tracts: {rings: {number: 12}}
        ... patches: {columns: 7, rows: 5}
        ... ''')
        >>> map_.patch_number("1,2"), map_.patch_number(15), map_.patch_number("7,0")
        (15, 15, None)
        """
        x, comma, y = str(typed).partition(",")
        try:
            numbers = (int(x), int(y)) if comma else divmod(int(x), self.columns)[::-1]
        except ValueError:
            return None
        column, row = numbers
        inside = 0 <= column < self.columns and 0 <= row < self.rows
        return row * self.columns + column if inside else None

    def patch_text(self, number: int) -> str:
        """Give a patch as ``x,y``."""
        return f"{number % self.columns},{number // self.columns}"

    def centre(self, tract: int) -> tuple[float, float] | None:
        """Give right ascension and declination of a tract's centre in degrees, or None if there is none such."""
        found = np.flatnonzero(self.tracts == tract)
        if not len(found):
            return None
        ra, dec = positions(self.frames()[found[0], 2])
        return float(ra), float(dec)
