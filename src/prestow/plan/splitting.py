"""A plan cut into parts that share no planned dataset: along its own connected components."""

from __future__ import annotations

import heapq
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prestow.errors import PlanRefusedError, Problem
from prestow.plan.state import State

if TYPE_CHECKING:
    import numpy.typing as npt

    Rows = npt.NDArray[np.int64]

LARGE = 64  # components for each part that are placed one by one


@dataclass(frozen=True, slots=True)
class Components:
    """The connected components of a plan.

    Parameters
    ----------
    of_quantum : array of int64
        The component of each quantum, tasks in the order of the pipeline, rows in theirs. Components are
        numbered in the order of their first quanta.
    sizes : array of int64
        How many quanta each has.
    """

    of_quantum: Rows
    sizes: Rows

    @property
    def count(self) -> int:
        """How many there are: into more parts the plan cannot be cut."""
        return len(self.sizes)

    def histogram(self) -> list[tuple[int, int, int, int]]:
        """Give how many components have from so many to so many quanta, by decades.

        Returns
        -------
        list of (least, most, components, quanta)
            Rows in which there are any.
        """
        rows = []
        if self.count:
            decade = np.floor(np.log10(self.sizes) + 1e-9).astype(np.int64)
            for one in np.unique(decade):
                sizes = self.sizes[decade == one]
                rows.append((10 ** int(one), 10 ** int(one + 1) - 1, len(sizes), int(sizes.sum())))
        return rows


def components(state: State) -> Components:
    """Find the components of the quanta of a state; what exists already connects nothing."""
    makers = state.makers()
    begins, total = {}, 0
    for task in state.request.pipeline.tasks:
        begins[task.label] = total
        total += state.parts[task.label].quanta.height
    readers, written = [np.empty(0, np.int64)], [np.empty(0, np.int64)]
    for task in state.request.pipeline.tasks:
        for connection in task.inputs:
            if connection.type in makers:
                pairs = state.parts[task.label].inputs[connection.name]
                readers.append(pairs["quantum"].to_numpy().astype(np.int64) + begins[task.label])
                written.append(pairs["dataset"].to_numpy().astype(np.int64) + begins[makers[connection.type]])
    least = connected(total, np.concatenate(readers), np.concatenate(written))
    _, number, sizes = np.unique(least, return_inverse=True, return_counts=True)
    return Components(number.astype(np.int64), sizes.astype(np.int64))


def connected(count: int, one: Rows, other: Rows) -> Rows:
    """Give for each of ``count`` nodes the least node that it is connected with, by whatever way.

    Notes
    -----
    Each round hangs the greater root of an edge below the least root at its other end, and makes every
    way to a root short; edges inside a tree are forgotten. Rounds grow with the logarithm of the count.

    Examples
    --------
    >>> connected(5, np.array([0, 3, 4]), np.array([3, 2, 4])).tolist()
    [0, 1, 0, 0, 4]
    """
    root = np.arange(count, dtype=np.int64)
    while len(one):
        low, high = np.minimum(root[one], root[other]), np.maximum(root[one], root[other])
        apart = low != high
        one, other = one[apart], other[apart]
        np.minimum.at(root, high[apart], low[apart])
        while (root[root] != root).any():
            root = root[root]
    return root


def pack(sizes: Rows, parts: int) -> Rows:
    """Give the part, from 0 on, of each component: parts of much the same size, and the same each time.

    Large components go where least is, the largest first; small ones, in their order, fill what is
    missing, so that neighbours stay together.

    Examples
    --------
    >>> pack(np.array([5, 1, 1, 1, 4, 2]), 2).tolist()
    [0, 0, 0, 1, 1, 1]
    """
    order = np.argsort(-sizes, kind="stable")
    large, small = order[: LARGE * parts], np.sort(order[LARGE * parts :])
    result = np.zeros(len(sizes), np.int64)
    loads = [(0, part) for part in range(parts)]
    for row in large.tolist():  # few: LARGE for each part
        load, part = heapq.heappop(loads)
        result[row] = part
        heapq.heappush(loads, (load + int(sizes[row]), part))
    have = np.array([load for load, _ in sorted(loads, key=lambda pair: pair[1])], np.float64)
    if len(small):
        mean = max(sizes.sum() / parts, 1.0)
        room = np.maximum(mean - have, 0.0)
        ends = np.cumsum(room) / max(room.sum(), 1e-9) * sizes[small].sum()
        middle = np.cumsum(sizes[small]) - sizes[small] / 2
        result[small] = np.minimum(np.searchsorted(ends, middle), parts - 1)
    return result


def read_part(text: str) -> tuple[int, int]:
    """Read ``K/N``.

    Raises
    ------
    PlanRefusedError
        PST-P052, if it is no part.

    Examples
    --------
    >>> read_part("2/5")
    (2, 5)
    """
    match = re.fullmatch(r"\s*([0-9]{1,9})\s*/\s*([0-9]{1,9})\s*", text)
    part, parts = (int(match[1]), int(match[2])) if match else (0, 0)
    if not 1 <= part <= parts:
        what = f"'{text}' is no part"
        raise PlanRefusedError(
            Problem("PST-P052", what, "--part", "write K/N, such as 2/5 for the second of five")
        )
    return part, parts
