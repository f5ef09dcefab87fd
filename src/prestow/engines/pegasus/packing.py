"""Packs of manifests, written from text: of each job its manifest, found by the index that a pack begins with."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.engines.pegasus.manifests import PACK_BYTES, PACK_JOBS
from prestow.node.packed import PACK_SCHEMA
from prestow.plan.pieces import escaped

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from prestow.plan.batches import Batch
    from prestow.plan.manifest_text import Packed


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
    texts: Packed, names: pl.Series, packs: Sequence[tuple[int, int]], paths: Sequence[Path]
) -> None:
    """Write packs of jobs, byte by byte as `prestow.node.packed.pack` would."""
    data, bounds = texts.own.octets(0, len(names))
    firsts = [shared.encode() for shared in texts.shared]
    sizes = [end - start for start, end in packs]
    start_of = np.repeat(bounds[[start for start, _ in packs]] - [len(first) for first in firsts], sizes)
    index = pl.select(
        pl.concat_str(
            pl.lit('"'), pl.lit(escaped(names)), pl.lit('":['), pl.Series(bounds[:-1] - start_of), pl.lit(","),
            pl.Series(np.diff(bounds)), pl.lit("]"),
        ).alias("")
    ).to_series()  # fmt: skip
    for (start, end), first, path in zip(packs, firsts, paths, strict=True):
        told = ",".join(index[start:end][names[start:end].arg_sort()].to_list())
        body = data[bounds[start] : bounds[end]]
        digest = sha256(first)
        digest.update(body)
        head = f'{{"jobs":{{{told}}},"schema":"{PACK_SCHEMA}","sha256":"{digest.hexdigest()}"}}\n'
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.writelines((head.encode(), first, body))
