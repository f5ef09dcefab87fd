"""Packs of manifests, written from text: of each job its manifest, found by the index that a pack begins with."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.engines.pegasus.manifests import PACK_BYTES, PACK_JOBS
from prestow.node.packed import PACK_SCHEMA
from prestow.plan.pieces import Texts, commas, escaped, joined

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy.typing as npt

    from prestow.plan.batches import Batch

    Numbers = npt.NDArray[np.int64]


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


def write_packs(texts: Texts, names: pl.Series, packs: Sequence[tuple[int, int]], paths: Sequence[Path]) -> None:
    """Write packs of jobs, byte by byte as `prestow.node.packed.pack` would."""
    names = escaped(names, ascii_only=True)
    for (start, end), path in zip(packs, paths, strict=True):
        data, bounds = texts.octets(start, end)
        places = bounds.tolist()
        # One call for each job, some two microseconds: a digest is of one text.
        digests = [sha256(data[a:b]).hexdigest() for a, b in zip(places[:-1], places[1:], strict=True)]
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            file.write(_index(names[start:end], bounds, digests))
            file.write(data)


def _index(names: pl.Series, bounds: Numbers, digests: list[str]) -> bytes:
    order = names.arg_sort().to_numpy()
    frame = pl.DataFrame({"name": names, "at": bounds[:-1], "size": np.diff(bounds), "digest": digests})[order]
    text = frame.select(
        pl.concat_str(
            commas(np.zeros(len(order), np.int64)), pl.lit('"'), "name", pl.lit('":['), "at", pl.lit(","), "size",
            pl.lit(',"'), "digest", pl.lit('"]'),
        )
    ).to_series()  # fmt: skip
    jobs = joined(1, ['{"jobs":{', (np.zeros(len(order), np.int64), text), f'}},"schema":"{PACK_SCHEMA}"}}\n'])
    return bytes(jobs.octets(0, 1)[0])
