"""Which jobs come first: those with the longest way still before them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from prestow.plan.state import JobLabel

Values = npt.NDArray[np.float64]

MANY = 1000  # jobs of a label from which on grouping is worth a word
SHORT = 60.0  # seconds
WORTHWHILE = 300.0  # seconds that a job should have
LARGEST = 2**31 - 1


def find_priorities(jobs: pl.DataFrame, edges: pl.DataFrame, seconds: Values) -> pl.Series:
    """Give the seconds of the longest way from each job to the end, itself included; rounded up.

    Parameters
    ----------
    jobs : DataFrame
        Sorted by ``depth``.
    edges : DataFrame
        Sorted by ``parent``; each leads to a greater depth.
    seconds : array
        Of each job.

    Examples
    --------
    >>> jobs = pl.DataFrame({"depth": [0, 0, 1]})
    >>> find_priorities(jobs, pl.DataFrame({"parent": [1], "child": [2]}), np.array([1.0, 2.0, 5.0])).to_list()
    [1, 7, 5]
    """
    longest = seconds.astype(np.float64)
    depth = jobs["depth"].to_numpy()
    parents, children = edges["parent"].to_numpy(), edges["child"].to_numpy()
    deepest = int(depth.max(initial=0))
    levels = np.searchsorted(depth, np.arange(deepest + 2))
    places = np.searchsorted(parents, levels)
    for level in range(deepest, -1, -1):
        first, last = places[level], places[level + 1]
        if first == last:
            continue
        mine = parents[first:last]
        begins = np.flatnonzero(np.concatenate(([True], mine[1:] != mine[:-1])))
        longest[mine[begins]] += np.maximum.reduceat(longest[children[first:last]], begins)
    whole = np.minimum(np.ceil(longest - 1e-6), LARGEST).astype(np.int32)
    return pl.Series("priority", whole)


def advice(labels: Sequence[JobLabel], jobs: pl.DataFrame) -> list[str]:
    """Say where jobs are many and short, and what to write against it."""
    counted = jobs.group_by("label").agg(pl.len().alias("jobs"), pl.col("cpu_seconds").mean().alias("mean"))
    words = []
    for number, count, mean in counted.sort("label").iter_rows():
        if count < MANY or mean is None or mean >= SHORT:
            continue
        label = labels[number]
        together = min(count, math.ceil(WORTHWHILE / max(mean, 0.1)))
        tasks = ", ".join(label.tasks)
        name = label.name if label.groups is not None else f"many_{label.name}"
        by = f", dimensions: [{', '.join(label.dimensions)}]" if label.groups is not None else ""
        words.append(
            f"{label.name}: {count:,} jobs of about {mean:.2g} s; fewer cost less: "
            f"clusters: {{{name}: {{tasks: [{tasks}]{by}, maximum: {together}}}}}"
        )
    return words
