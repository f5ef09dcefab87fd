"""Shards of reference catalogues: the pixels of HEALPix order 5, nested, as polygons that surely hold them."""

from __future__ import annotations

import functools

import numpy as np
from numpy.typing import NDArray

from prestow.sky.geometry import Array, Polygons
from prestow.sky.overlap import Searcher
from prestow.sky.tracts import boundaries

ORDER = 5


@functools.cache
def shards() -> tuple[Searcher, Array]:
    """Give the polygons of all shards, and by how many degrees each pixel may reach beyond its polygon.

    The edges of a pixel are no great circles: what lies between is added to the search, so that no shard
    is missed that is touched.
    """
    pixels = np.arange(12 * 4**ORDER)
    polygons = Polygons.of(boundaries(ORDER, pixels, 1))
    edge = boundaries(ORDER, pixels, 16)
    outside = -np.einsum("nec,npc->nep", polygons.normals, edge)
    beyond = np.degrees(np.arcsin(np.clip(outside.max(axis=(1, 2)), 0.0, 1.0)))
    return Searcher(polygons), np.asarray(beyond * 1.05)


def shards_of(asked: Polygons, padding: float) -> tuple[NDArray[np.int64], NDArray[np.int64], Array]:
    """Give pairs (asked, pixel) at most ``padding`` degrees apart, and how far they are at least."""
    searcher, beyond = shards()
    i, j, separation = searcher.pairs(asked, padding + float(beyond.max()))
    separation = np.maximum(separation - beyond[j], 0.0)
    near = separation <= padding
    return i[near], j[near], separation[near]
