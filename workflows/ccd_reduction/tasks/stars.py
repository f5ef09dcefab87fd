"""Matching of star lists of two frames: the transformation, the pairs, the ratio of light."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any
from unittest import mock

import numpy as np

_ONE_AT_A_TIME = Lock()


class NoMatchError(Exception):
    """Two star lists have too little in common."""


@dataclass(frozen=True)
class Match:
    """How one list lies on another.

    ``transform`` takes pixels of the first to pixels of the second; ``pairs`` are indices into both;
    ``rms`` is what is left between the brightest of them, in pixels (of both axes together); faint stars
    tell of their own noise only.
    """

    transform: Any
    pairs: Any
    rms: float


def match(
    own: Any, other: Any, *, seed: int, within: float = 1.0, fewest: int = 6, brightest: int = 60
) -> Match:
    """Match two lists of (x, y), brightest first.

    astroalign finds the transformation from triangles of the brightest; it is then refined on all stars
    that have one neighbour in the other list.
    """
    import astroalign
    from scipy.spatial import KDTree

    if min(len(own), len(other)) < fewest:
        raise NoMatchError
    try:
        with _seeded(seed):
            transform, _ = astroalign.find_transform(
                own[:brightest], other[:brightest], max_control_points=brightest
            )
    except (astroalign.MaxIterError, TypeError, ValueError) as error:
        raise NoMatchError from error
    tree = KDTree(other)
    pairs = np.empty((0, 2), dtype=int)
    for reach in (3 * within, within, within, within):
        distance, nearest = tree.query(transform(own), distance_upper_bound=reach)
        mine = np.flatnonzero(np.isfinite(distance))
        theirs, counts = np.unique(nearest[mine], return_counts=True)
        mine = mine[np.isin(nearest[mine], theirs[counts == 1])]
        pairs = np.column_stack([mine, nearest[mine]])
        if len(pairs) < fewest:
            raise NoMatchError
        transform = astroalign.estimate_transform("similarity", own[pairs[:, 0]], other[pairs[:, 1]])
    pairs = pairs[np.argsort(pairs[:, 0], kind="stable")]
    left = (transform(own[pairs[:, 0]]) - other[pairs[:, 1]])[:brightest]
    return Match(transform, pairs, float(np.sqrt((left**2).sum(axis=1).mean())))


def light_ratio(own: Any, other: Any) -> float:
    """Give how much more light ``other`` has than ``own``: the median ratio over stars that both have."""
    good = np.isfinite(own) & np.isfinite(other) & (own > 0) & (other > 0)
    return float(np.median(other[good] / own[good])) if good.any() else float("nan")


@contextmanager
def _seeded(seed: int) -> Iterator[None]:
    """Seed the generators that are made without a seed: astroalign shuffles with one of its own."""
    with _ONE_AT_A_TIME:
        make = np.random.default_rng

        def seeded(*given: Any) -> np.random.Generator:
            return make(*(given or (seed,)))

        with mock.patch.object(np.random, "default_rng", seeded):
            yield
