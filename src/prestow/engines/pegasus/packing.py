"""Packs of manifests, written from text: of each job its manifest, found by the index that a pack begins with."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np

from prestow.engines.pegasus.manifests import PACK_BYTES, PACK_JOBS
from prestow.node.packed import PACK_SCHEMA
from prestow.plan.pieces import Texts, escaped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import polars as pl

    from prestow.plan.batches import Batch


def packs_of(batch: Batch) -> list[tuple[int, int]]:
    """Cut the jobs of a batch into packs, each of so many jobs and about so many bytes at most: first rows, and ends."""
    jobs = batch.jobs.height
    size = 400 + 200 * sum(
        np.bincount(frame["job"].to_numpy(), minlength=jobs) for frame in (batch.items, batch.writes)
    )
    size = size + 400 * np.bincount(batch.quanta["job"].to_numpy(), minlength=jobs)
    ends = np.cumsum(size)
    found, start = [], 0
    while start < jobs:
        before = ends[start - 1] if start else 0
        full = int(np.searchsorted(ends, before + PACK_BYTES)) + 1
        end = min(full, start + PACK_JOBS, jobs)
        found.append((start, end))
        start = end
    return found


def write_packs(
    texts: Texts, names: pl.Series, packs: Sequence[tuple[int, int]], paths: Sequence[Path]
) -> None:
    """Write packs of jobs, byte by byte as `prestow.node.packed.pack` would."""
    names = escaped(names, ascii_only=True)
    for (start, end), path in zip(packs, paths, strict=True):
        data, bounds = texts.octets(start, end)
        places = bounds.tolist()
        # Three microseconds for each job: a digest is of one text, so there is no column to be had.
        jobs = [
            f'"{name}":[{a},{b - a},"{sha256(data[a:b]).hexdigest()}"]'
            for name, a, b in zip(names[start:end].to_list(), places[:-1], places[1:], strict=True)
        ]
        order = names[start:end].arg_sort().to_list()
        index = f'{{"jobs":{{{",".join([jobs[i] for i in order])}}},"schema":"{PACK_SCHEMA}"}}\n'
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(index.encode())
            file.write(data)
