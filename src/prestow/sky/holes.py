"""Holes of a sky map: what no patch covers, though it should."""

from __future__ import annotations

import numpy as np

from prestow.sky.geometry import Array, Polygons, frames, positions
from prestow.sky.skymap import Index, SkyMap
from prestow.sky.tracts import Layout

_RAYS = 24  # on each edge of a tract
_STEPS = 12  # along a ray
_CELLS = 400  # along the longer side of a cluster of tracts


def uncovered(skymap: SkyMap, layout: Layout) -> tuple[int, float, float] | None:
    """Give the first tract whose patches do not cover what it must, with a point (ra, dec) that nobody covers."""
    if layout.half_width is None or layout.half_height is None or layout.farthest is None:
        return None
    have = (skymap.columns * skymap.inner[0] / 2, skymap.rows * skymap.inner[1] / 2)
    short = (layout.half_width > have[0] * (1 + 1e-12)) | (layout.half_height > have[1] * (1 + 1e-12))
    if not short.any():
        return None
    tract = int(np.argmax(np.maximum(layout.half_width - have[0], layout.half_height - have[1])))
    return int(layout.numbers[tract]), float(layout.farthest[0][tract]), float(layout.farthest[1][tract])


def needed(layout: Layout, columns: int, rows: int) -> tuple[float, float]:
    """Give the least inner width and height of patches with which each tract covers what it must."""
    assert layout.half_width is not None
    assert layout.half_height is not None
    return 2 * float(layout.half_width.max()) / columns, 2 * float(layout.half_height.max()) / rows


def gap(skymap: SkyMap) -> tuple[int, int, float, float] | None:
    """Give two listed tracts with a gap between them, and a point (ra, dec) in it; or None.

    A gap is what lies uncovered between an edge of a tract and another tract straight across, less than
    the inner size of a patch away; and any area that tracts enclose. Tracts farther apart are fields of
    their own.
    """
    tracts = skymap.tract_polygons()
    if len(tracts) < 2:  # noqa: PLR2004 - one has no neighbour
        return None
    return _across(skymap, tracts) or _enclosed(skymap, tracts)


def _neighbours(tracts: Polygons, reach: float) -> list[list[int]]:
    from prestow.sky.overlap import tree_of

    angle = np.radians(min(2 * float(tracts.radii.max()) + reach, 180.0))
    tree = tree_of(tracts.centres)
    return [sorted(found) for found in tree.query_ball_point(tracts.centres, 2 * np.sin(angle / 2))]


def _across(skymap: SkyMap, tracts: Polygons) -> tuple[int, int, float, float] | None:
    """Look straight outwards from the edges of each tract, up to the size of a patch."""
    reach = np.radians(max(skymap.inner))
    steps = np.concatenate([[1e-9], np.linspace(0, reach, _STEPS + 1)[1:]])
    share = (np.arange(_RAYS) + 0.5) / _RAYS
    # A Python loop over tracts of a list, each with its few neighbours.
    for here, near in enumerate(_neighbours(tracts, float(np.degrees(reach)))):
        others = [n for n in near if n != here]
        if not others:
            continue
        corners, normals = tracts.corners[here], tracts.normals[here]
        start = (
            corners[:, None] * (1 - share)[None, :, None]
            + np.roll(corners, -1, 0)[:, None] * share[None, :, None]
        )
        start /= np.linalg.norm(start, axis=2, keepdims=True)
        points = start[:, :, None] * np.cos(steps)[:, None] - normals[:, None, None] * np.sin(steps)[:, None]
        inside = tracts.take(others).contain(points.reshape(-1, 3)).reshape(len(others), -1, len(steps))
        covered = np.asarray(inside.any(axis=0))
        met = ~covered[:, 0] & covered.any(axis=1)
        if met.any():
            firsts = np.where(met, np.argmax(covered, axis=1), 0)
            ray = int(np.argmax(firsts))  # where the gap is widest
            first = int(firsts[ray])
            other = others[int(np.argmax(inside[:, ray, first]))]
            from_, out = start.reshape(-1, 3)[ray], -np.repeat(normals, _RAYS, axis=0)[ray]
            width = _entry(tracts.take([other]), from_, out, float(steps[first - 1]), float(steps[first]))
            ra, dec = positions(from_ * np.cos(width / 2) + out * np.sin(width / 2))
            return int(skymap.tracts[here]), int(skymap.tracts[other]), float(ra), float(dec)
    return None


def _entry(tract: Polygons, start: Array, out: Array, low: float, high: float) -> float:
    """Give how far along a ray (radians) a tract is entered, between two places."""
    for _ in range(40):
        middle = (low + high) / 2
        if tract.contain((start * np.cos(middle) + out * np.sin(middle))[None])[0, 0]:
            high = middle
        else:
            low = middle
    return low


def _enclosed(skymap: SkyMap, tracts: Polygons) -> tuple[int, int, float, float] | None:
    """Look for what is enclosed, on a grid over each cluster of tracts that meet."""
    from scipy import ndimage

    from prestow.sky.overlap import Searcher

    first, second, _ = Searcher(tracts).pairs(tracts)
    cluster = _clusters(len(tracts), first, second)
    for label in np.unique(cluster):
        members = np.flatnonzero(cluster == label)
        if len(members) < 3:  # noqa: PLR2004 - convex ones enclose nothing below it
            continue
        points, shape = _grid(tracts.take(members))
        covered = np.zeros(len(points), bool)
        for member in members:
            near = np.flatnonzero(
                points @ tracts.centres[member] >= np.cos(np.radians(tracts.radii[member] + 1e-6))
            )
            covered[near] |= tracts.take([member]).contain(points[near])[0]
        parts, count = ndimage.label(~covered.reshape(shape))
        outside = {0, *np.unique(np.concatenate([parts[0], parts[-1], parts[:, 0], parts[:, -1]])).tolist()}
        holes = [n for n in range(1, count + 1) if n not in outside]
        if holes:
            cells = np.flatnonzero(parts.ravel() == holes[0])
            point = points[cells[len(cells) // 2]]
            nearest = members[np.argsort(-(tracts.centres[members] @ point))][:2]
            ra, dec = positions(point)
            return int(skymap.tracts[nearest[0]]), int(skymap.tracts[nearest[1]]), float(ra), float(dec)
    return None


def _clusters(count: int, first: Index, second: Index) -> Index:
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    graph = coo_array((np.ones(len(first), bool), (first, second)), shape=(count, count))
    return np.asarray(connected_components(graph, directed=False)[1])


def _grid(tracts: Polygons) -> tuple[Array, tuple[int, int]]:
    """Give points over all of some tracts and a little more, on a plane of equal areas."""
    centre = tracts.centres.sum(axis=0)
    ra, dec = positions(centre / np.linalg.norm(centre))
    frame = frames(ra, dec)
    corners = tracts.corners.reshape(-1, 3) @ frame.T
    # Lambert's equal-area projection holds all of the sphere but one point.
    scale = np.sqrt(2 / np.maximum(1 + corners[:, 2], 1e-12))
    x, y = corners[:, 0] * scale, corners[:, 1] * scale
    size = max(np.ptp(x), np.ptp(y)) * 1.02
    step = size / _CELLS
    xs = np.arange(x.min() - 2 * step, x.max() + 3 * step, step)
    ys = np.arange(y.min() - 2 * step, y.max() + 3 * step, step)
    gx, gy = np.meshgrid(xs, ys, indexing="ij")
    r2 = np.minimum(gx**2 + gy**2, 4.0)
    k = np.sqrt(1 - r2 / 4)
    unit = np.stack([gx * k, gy * k, 1 - r2 / 2], -1)
    unit /= np.linalg.norm(unit, axis=-1, keepdims=True)
    return np.asarray(unit.reshape(-1, 3) @ frame), gx.shape
