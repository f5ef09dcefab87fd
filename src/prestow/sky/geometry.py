"""Exact geometry on the sphere, in columns: unit vectors and convex polygons bounded by great circles.

Nothing here knows right ascension's seam or the poles: all is done with vectors. A polygon lies within
`MAX_RADIUS` of its centre; within that bound, two polygons are apart if and only if an edge of one of
them has the other one on its outer side, as in the plane.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
MAX_RADIUS = 45.0
"""Degrees; a polygon and what is opposite another one cannot meet below it."""

_CONVEX = 1e-12  # of a unit vector's product: corners in line are convex
_FLAT = 1e-6  # of its radius: what is thinner is a line


def vectors(ra: Any, dec: Any) -> Array:  # Any: whatever numpy takes as numbers
    """Give unit vectors of positions in degrees, along a new last axis.

    Examples
    --------
    >>> vectors(90, 0).round(6).tolist()
    [0.0, 1.0, 0.0]
    """
    a, d = np.radians(np.asarray(ra, float)), np.radians(np.asarray(dec, float))
    return np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.broadcast_to(np.sin(d), a.shape)], -1)


def positions(unit: Array) -> tuple[Array, Array]:
    """Give right ascension (0 to 360) and declination of vectors, in degrees."""
    ra = np.degrees(np.arctan2(unit[..., 1], unit[..., 0])) % 360.0
    dec = np.degrees(np.arctan2(unit[..., 2], np.hypot(unit[..., 0], unit[..., 1])))
    return ra, dec


def distance(a: Array, b: Array) -> Array:
    """Give the angle between unit vectors in degrees, exact for small ones too."""
    chord = np.linalg.norm(a - b, axis=-1)
    return np.asarray(np.degrees(2.0 * np.arcsin(np.minimum(chord / 2.0, 1.0))))


def frames(ra: Any, dec: Any, rotation: Any = 0.0) -> Array:  # Any: whatever numpy takes as numbers
    """Give tangent-plane frames: rows are the directions of xi (east), eta (north) and the centre.

    ``rotation`` turns the axes in degrees, from north over east.
    """
    a, d, r = np.broadcast_arrays(*(np.radians(np.asarray(v, float)) for v in (ra, dec, rotation)))
    zero = np.zeros_like(a)
    east = np.stack([-np.sin(a), np.cos(a), zero], -1)
    north = np.stack([-np.sin(d) * np.cos(a), -np.sin(d) * np.sin(a), np.cos(d)], -1)
    centre = np.stack([np.cos(d) * np.cos(a), np.cos(d) * np.sin(a), np.sin(d)], -1)
    c, s = np.cos(r)[..., None], np.sin(r)[..., None]
    return np.stack([c * east - s * north, s * east + c * north, centre], -2)


def from_plane(frame: Array, xi: Array, eta: Array) -> Array:
    """Give unit vectors of tangent-plane coordinates (degrees; TAN); ``frame`` broadcasts against them."""
    x, y = np.radians(xi)[..., None], np.radians(eta)[..., None]
    v = x * frame[..., 0, :] + y * frame[..., 1, :] + frame[..., 2, :]
    return np.asarray(v / np.linalg.norm(v, axis=-1, keepdims=True))


def to_plane(frame: Array, unit: Array) -> tuple[Array, Array]:
    """Give tangent-plane coordinates in degrees (TAN) of vectors on the near side of the sphere."""
    x, y, z = (np.sum(unit * frame[..., axis, :], axis=-1) for axis in range(3))
    return np.degrees(x / z), np.degrees(y / z)


@dataclass(frozen=True, slots=True)
class Polygons:
    """Convex polygons on the sphere, all with the same number of corners (a corner may be repeated).

    Parameters
    ----------
    corners : array (n, k, 3)
        Unit vectors, counter-clockwise as seen from outside the sphere.
    normals : array (n, k, 3)
        Of the edge from each corner to the next: unit vectors to the inner side; 0 for a repeated corner.
    centres : array (n, 3)
        Unit vectors.
    radii : array (n,)
        Degrees from the centre to the farthest corner.
    """

    corners: Array
    normals: Array
    centres: Array
    radii: Array

    @classmethod
    def of(cls, corners: Array) -> Polygons:
        """Make polygons of their corners, in either sense of rotation.

        Examples
        --------
        >>> square = Polygons.of(vectors([[10, 11, 11, 10]], [[0, 0, 1, 1]]))
        >>> len(square), bool(square.sound().all())
        (1, True)
        """
        corners = np.asarray(corners, float)
        total = corners.sum(axis=1)
        centres = total / np.linalg.norm(total, axis=1, keepdims=True)
        following = np.roll(corners, -1, axis=1)
        normals = np.cross(corners, following - corners)
        turn = np.einsum("nkc,nc->n", normals, centres)
        wrong = turn < 0
        if wrong.any():
            corners = np.where(wrong[:, None, None], corners[:, ::-1], corners)
            following = np.roll(corners, -1, axis=1)
            normals = np.cross(corners, following - corners)
        length = np.linalg.norm(normals, axis=2, keepdims=True)
        normals = np.divide(normals, length, out=np.zeros_like(normals), where=length > 0)
        radii = distance(corners, centres[:, None, :]).max(axis=1, initial=0.0)
        return cls(np.ascontiguousarray(corners), np.ascontiguousarray(normals), centres, radii)

    @classmethod
    def at(cls, ra: Any, dec: Any) -> Polygons:  # Any: whatever numpy takes as numbers
        """Make polygons of corners in degrees, each an array (n, k)."""
        return cls.of(vectors(ra, dec))

    def __len__(self) -> int:
        return len(self.corners)

    def take(self, rows: Any) -> Polygons:  # Any: whatever numpy takes as an index
        """Give some of the polygons."""
        return Polygons(self.corners[rows], self.normals[rows], self.centres[rows], self.radii[rows])

    def sound(self) -> NDArray[np.bool_]:
        """Say which are convex, within the bound, and not a mere point or line."""
        height = np.einsum("nec,nkc->nek", self.normals, self.corners)
        convex = (height >= -_CONVEX).all(axis=(1, 2))
        real = height.max(axis=(1, 2), initial=0.0) > _FLAT * np.radians(self.radii)
        finite = np.isfinite(self.corners).all(axis=(1, 2))
        return np.asarray(convex & real & finite & (self.radii <= MAX_RADIUS))

    def contain(self, unit: Array) -> NDArray[np.bool_]:
        """Say, for each polygon and each of some points, whether the point is in it or on its edge."""
        return np.asarray((np.einsum("nec,pc->npe", self.normals, unit) >= 0).all(axis=2))


def separations(a: Polygons, i: Any, b: Polygons, j: Any, padding: float = np.inf) -> Array:
    """Give the angle in degrees between polygons ``a[i]`` and ``b[j]``, pair by pair; 0 where they meet.

    Where it is surely more than ``padding``, it is infinite.
    """
    i, j = np.asarray(i), np.asarray(j)
    result = np.full(len(i), np.inf)
    between = distance(a.centres[i], b.centres[j]) - a.radii[i] - b.radii[j]
    # Rounding must not lose a pair that touches: a millionth of an arc second is given.
    near = np.flatnonzero(between <= max(padding, 0.0) + 1e-9 if np.isfinite(padding) else between < np.inf)
    ca, na, cb, nb = a.corners[i[near]], a.normals[i[near]], b.corners[j[near]], b.normals[j[near]]
    above, below = _products(na, cb), _products(nb, ca)
    apart = (above.max(axis=2) < 0).any(axis=1) | (below.max(axis=2) < 0).any(axis=1)
    # Far apart, what is opposite could seem to be inside; caps settle it.
    apart |= between[near] > 1e-9  # noqa: PLR2004 - as above
    result[near[~apart]] = 0.0
    if padding > 0 and apart.any():
        far = near[apart]
        closest = np.minimum(
            _to_edges(na[apart], ca[apart], cb[apart], above[apart]),
            _to_edges(nb[apart], cb[apart], ca[apart], below[apart]),
        )
        corners = np.linalg.norm(ca[apart][:, :, None, :] - cb[apart][:, None, :, :], axis=3).min(axis=(1, 2))
        closest = np.minimum(closest, 2.0 * np.arcsin(np.minimum(corners / 2.0, 1.0)))
        result[far] = np.degrees(closest)
    return result


def _products(normals: Array, corners: Array) -> Array:
    """Give the products of each normal and each corner of a pair: (pairs, edges, corners)."""
    n, c = normals[:, :, None, :], corners[:, None, :, :]
    return np.asarray(n[..., 0] * c[..., 0] + n[..., 1] * c[..., 1] + n[..., 2] * c[..., 2])


def _to_edges(normals: Array, corners: Array, points: Array, products: Array) -> Array:
    """Give the least angle (radians) from points to the inside of edges, where their foot is on the edge."""
    along = np.cross(normals, corners)
    back = np.cross(np.roll(corners, -1, axis=1), normals)
    real = (np.abs(normals).sum(axis=2) > 0)[:, :, None]
    on = (_products(along, points) >= 0) & (_products(back, points) >= 0) & real
    angle = np.where(on, np.abs(np.arcsin(np.clip(products, -1.0, 1.0))), np.inf)
    return np.asarray(angle.min(axis=(1, 2)))
