"""Packing groups into jobs, in the order of their data IDs: as many as there is room for."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

Values = npt.NDArray[np.float64]


def pack(weights: Mapping[str, Values], limits: Mapping[str, float], groups: int, total: int) -> list[int]:
    """Give the first group of each job.

    A job takes groups in a row while it keeps to every limit. One that exceeds a limit by itself is
    alone in its job.

    Parameters
    ----------
    weights : mapping of limit to array
        How much each group has.
    limits : mapping of limit to float
        How much a job has at most.
    groups : int
        How many groups a job has at most; 0: any number.
    total : int
        How many groups there are.

    Examples
    --------
    >>> pack({"cpu": np.array([3.0, 4.0, 5.0, 9.0, 1.0])}, {"cpu": 8.0}, 0, 5)
    [0, 2, 3, 4]
    """
    end = np.arange(total) + (groups or total)
    for name, limit in limits.items():
        sums = np.cumsum(weights[name])
        before = sums - weights[name]
        end = np.minimum(end, np.searchsorted(sums, before + limit * (1 + 1e-12), side="right"))
    after = np.clip(np.maximum(end, np.arange(total) + 1), 0, total).tolist()
    firsts, place = [], 0
    while place < total:  # a step a job: where it ends is known for every group
        firsts.append(place)
        place = after[place]
    return firsts
