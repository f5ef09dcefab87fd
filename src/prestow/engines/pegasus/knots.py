"""Who waits for whom in a circle; in arrays, and linear however deep the graph is."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.integer]

LEVELS = 200


def knot(parents: Numbers, children: Numbers, *, levels: int = LEVELS) -> Numbers:
    """Give the nodes on cycles and between cycles, sorted; none if there is no cycle.

    Parameters
    ----------
    parents, children : array of int
        The ends of each edge.
    levels : int
        So many levels are taken off whole; what is deeper goes node by node.

    Examples
    --------
    >>> knot(np.array([0, 1, 2], np.uint32), np.array([1, 2, 3], np.uint32)).tolist()
    []
    >>> knot(np.array([0, 1, 2], np.uint32), np.array([1, 0, 0], np.uint32)).tolist()
    [0, 1]
    """
    if not len(parents) or bool((parents < children).all()):
        return parents[:0]
    for _ in range(2):  # first what waits for no knot, then that for which none waits
        kept = _unreached(parents, children, levels)
        if not len(kept):
            return kept
        inside = np.isin(parents, kept) & np.isin(children, kept)
        parents, children = children[inside], parents[inside]
    return np.unique(parents)


def _unreached(parents: Numbers, children: Numbers, levels: int) -> Numbers:
    """Give the nodes that taking off what has no parent, again and again, leaves."""
    names, ends = np.unique(np.concatenate([parents, children]), return_inverse=True)
    count = len(names)
    tails, heads = ends[: len(parents)], ends[len(parents) :]
    heads = heads[np.argsort(tails, kind="stable")]
    starts = np.concatenate([[0], np.cumsum(np.bincount(tails, minlength=count))])
    waits = np.bincount(heads, minlength=count)
    gone = np.zeros(count, bool)
    front = np.flatnonzero(waits == 0)
    for _ in range(levels):
        gone[front] = True
        sizes = starts[front + 1] - starts[front]
        total = int(sizes.sum())
        if not total:
            front = front[:0]
            break
        at = np.repeat(starts[front] - np.cumsum(sizes) + sizes, sizes) + np.arange(total)
        reached, times = np.unique(heads[at], return_counts=True)
        waits[reached] -= times
        front = reached[waits[reached] == 0]
    if len(front):
        _one_by_one(front, starts, heads, waits, gone)
    return names[~gone]


def _one_by_one(front: Numbers, starts: Numbers, heads: Numbers, waits: Numbers, gone: Numbers) -> None:
    # Python objects: a graph so deep has few nodes on a level, and each costs less so than an array would.
    todo, first, of, left = front.tolist(), starts.tolist(), heads.tolist(), waits.tolist()
    while todo:
        node = todo.pop()
        gone[node] = True
        for child in of[first[node] : first[node + 1]]:
            left[child] -= 1
            if not left[child]:
                todo.append(child)
