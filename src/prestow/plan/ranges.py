"""Numbers of rows that stand together, for many groups at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]
    Integers = npt.NDArray[np.integer]


def numbers_of(first: Integers, count: Integers) -> Numbers:
    """Give all numbers of some ranges, one range after the other.

    Examples
    --------
    >>> numbers_of(np.array([7, 2]), np.array([2, 3])).tolist()
    [7, 8, 2, 3, 4]
    """
    count = count.astype(np.int64)
    steps = np.arange(count.sum()) - np.repeat(np.cumsum(count) - count, count)
    numbers: Numbers = np.repeat(first.astype(np.int64), count) + steps
    return numbers


def places_of(keys: Integers, wanted: Integers) -> Numbers:
    """Give where rows with these keys stand, key after key; ``keys`` are sorted.

    Examples
    --------
    >>> places_of(np.array([1, 1, 2, 5, 5]), np.array([5, 1])).tolist()
    [3, 4, 0, 1]
    """
    low, high = np.searchsorted(keys, wanted), np.searchsorted(keys, wanted, "right")
    return numbers_of(low, high - low)


def once(numbers: Numbers) -> Numbers:
    """Give numbers sorted, each once; faster than `numpy.unique` where most are different.

    Examples
    --------
    >>> once(np.array([4, 1, 4])).tolist()
    [1, 4]
    """
    ordered = np.sort(numbers)
    first = np.ones(len(ordered), np.bool_)
    np.not_equal(ordered[1:], ordered[:-1], out=first[1:])
    found: Numbers = ordered[first]
    return found


def distinct(numbers: Numbers, end: int) -> tuple[Numbers, Numbers]:
    """Give those of some numbers below ``end``, sorted, each once, and the place of each number among them.

    Examples
    --------
    >>> [found.tolist() for found in distinct(np.array([4, 1, 4]), 5)]
    [[1, 4], [1, 0, 1]]
    """
    there = np.zeros(end, np.bool_)
    there[numbers] = True
    known: Numbers = np.flatnonzero(there)
    place = np.empty(end, np.int64)
    place[known] = np.arange(len(known))
    return known, place[numbers]
