"""Walks over what a plan's quanta make for each other: whole columns of edges, a round for each level."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.plan.plan import Plan

    Mask = npt.NDArray[np.bool_]
    Numbers = npt.NDArray[np.uint32]


def edges_of(plan: Plan) -> tuple[Numbers, Numbers]:
    """Give for each planned dataset that a quantum reads who makes and who reads it."""
    inputs = plan.tables.scan("inputs").select("quantum", "dataset").collect()
    datasets = plan.tables.scan("datasets").select("producer").collect()
    producers = datasets["producer"].gather(inputs["dataset"])
    planned = producers.is_not_null()
    return producers.filter(planned).to_numpy(), inputs["quantum"].filter(planned).to_numpy()


def jobs_whole(plan: Plan) -> Callable[[Mask], Mask]:
    """Give what marks, with a quantum, all others of its job."""
    job = plan.tables.scan("quanta").select("job").collect()["job"].to_numpy()
    if not (job[1:] == job[:-1]).any():
        return lambda marked: marked

    def whole(marked: Mask) -> Mask:
        jobs = np.zeros(plan.document["totals"]["jobs"], np.bool_)
        jobs[job[marked]] = True
        all_of_them: Mask = jobs[job]
        return all_of_them

    return whole


def spread(marked: Mask, here: Numbers, there: Numbers, widen: Callable[[Mask], Mask] | None = None) -> Mask:
    """Mark all that edges lead to from what is marked, also through others.

    Parameters
    ----------
    here, there : array of uint32
        Both ends of each edge.
    widen : callable, optional
        What is marked with what: applied before each round.

    Examples
    --------
    >>> chain = np.array([0, 1, 3]), np.array([1, 2, 4])
    >>> spread(np.array([True, False, False, False, False]), *chain).tolist()
    [True, True, True, False, False]
    """
    while True:  # an edge that was followed is done with
        marked = marked if widen is None else widen(marked)
        reached = marked[here]
        if not reached.any():
            return marked
        marked[there[reached]] = True
        here, there = here[~reached], there[~reached]
