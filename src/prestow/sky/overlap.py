"""Which polygons meet which: a search among centres, then the exact test, chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from prestow.errors import ConfigurationError, Problem
from prestow.sky.geometry import Array, Polygons, separations

PAIRS = 16_384
"""Candidates looked at in one go: as many as stay in the cache, which also bounds the memory."""

Index = NDArray[np.int64]


class Searcher:
    """Polygons among which others are looked up; made once, asked often.

    Examples
    --------
    >>> field = Polygons.at([[359.5, 0.5, 0.5, 359.5]], [[-1, -1, 1, 1]])
    >>> ccd = Polygons.at([[0.4, 0.8, 0.8, 0.4], [0.6, 0.8, 0.8, 0.6]], [[0, 0, 0.2, 0.2]] * 2)
    >>> i, j, separation = Searcher(field).pairs(ccd, padding=0.2)
    >>> i.tolist(), j.tolist(), separation.round(3).tolist()
    ([0, 1], [0, 0], [0.0, 0.1])
    """

    def __init__(self, polygons: Polygons) -> None:
        self.polygons = polygons
        self._widest = float(polygons.radii.max(initial=0.0))
        self._tree = tree_of(polygons.centres)

    def pairs(self, asked: Polygons, padding: float = 0.0) -> tuple[Index, Index, Array]:
        """Give all pairs (asked, known) at most ``padding`` degrees apart, sorted, and how far they are."""
        found = list(self.chunks(asked, padding))
        if not found:
            return np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0)
        i, j, separation = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.lexsort((j, i))
        return i[order], j[order], separation[order]

    def chunks(
        self, asked: Polygons, padding: float = 0.0, progress: Callable[[int], None] | None = None
    ) -> Iterator[tuple[Index, Index, Array]]:
        """Give the same in chunks of bounded memory; ``progress`` is told how many are done."""
        start, step = 0, 256
        while start < len(asked):
            stop = min(start + step, len(asked))
            part = asked.take(slice(start, stop))
            reach = np.radians(np.minimum(part.radii + self._widest + padding + 1e-9, 180.0))
            lists = self._tree.query_ball_point(part.centres, 2.0 * np.sin(reach / 2.0))
            counts = np.fromiter(map(len, lists), np.int64, len(lists))
            total = int(counts.sum())
            j = np.fromiter(chain.from_iterable(lists), np.int64, total)
            i = np.repeat(np.arange(len(part)), counts)
            for first in range(0, total, PAIRS):
                rows = slice(first, first + PAIRS)
                separation = separations(part, i[rows], self.polygons, j[rows], padding)
                near = separation <= padding
                yield i[rows][near] + start, j[rows][near], separation[near]
            start = stop
            # As many next time as keep the number of candidates near the bound.
            step = int(np.clip(PAIRS * len(part) // max(total, 1), 1, 4 * len(part)))
            if progress is not None:
                progress(stop)


def tree_of(points: Array) -> Any:  # scipy's, which has no types
    """Give a tree of unit vectors; `ConfigurationError` if scipy is not installed."""
    try:
        from scipy.spatial import cKDTree
    except ImportError as error:
        raise missing("scipy") from error
    return cKDTree(points)


def missing(package: str) -> ConfigurationError:
    """Give the error of a package that looking at the sky needs and that is not installed."""
    what = f"the package {package} is not installed: sky maps and overlaps need it"
    return ConfigurationError(Problem("PST-S010", what, "environment", "pip install 'prestow[sky]'"))
