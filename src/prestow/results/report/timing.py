"""What ran where and when, and what took longest: timeline, slowest jobs, critical path, times by task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.plan.states import WORDS
from prestow.results.report.facts import JobTime, Lane, TaskTimes, Timeline
from prestow.results.report.reading import Journal

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.floating]

SINGLE = 2000
"""Tries up to which each has a bar of its own."""

BINS = 150
LANES = 60
"""Lanes at most: of more processes those of a host are one, of more hosts the first."""

SLOWEST = 20
STATIONS = 30
QUARTILES = (0.0, 0.25, 0.5, 0.75, 1.0)


def attempts_of(tries: pl.DataFrame) -> pl.DataFrame:
    """Give attempts from the tries of their quanta: ``job attempt host pid seconds end state failed``."""
    return (
        tries.group_by("job", "attempt", maintain_order=True)
        .agg(
            pl.col("host").first(), pl.col("pid").first(), pl.col("seconds").sum(), pl.col("end").first(),
            pl.col("cpu_seconds").sum(),
            failed=(pl.col("code") != "").any(),
            state=pl.when((pl.col("state") == "failed").any()).then(pl.lit("failed")).otherwise(pl.col("state").last()),
        )
        .sort("end", "job", "attempt", nulls_last=True)
    )  # fmt: skip


def timeline_of(attempts: pl.DataFrame, journal: Journal) -> Timeline | None:
    """Give what ran where and when; None if nobody knows."""
    known = attempts.filter(
        pl.col("end").is_not_null() & pl.col("seconds").is_not_null() & (pl.col("host") != "")
    )
    if not known.height:
        return None
    known = known.with_columns(begin=pl.col("end") - pl.col("seconds"))
    begin = min([float(known["begin"].min()), *(span[0] for span in journal.spans)])  # type: ignore[arg-type]  # of floats
    end = max([float(known["end"].max()), *(span[1] for span in journal.spans)])  # type: ignore[arg-type]
    seconds = max(end - begin, 1e-3)
    known = known.with_columns(pl.col("begin") - begin, pl.col("end") - begin)
    processes = known.select("host", "pid").unique()
    binned = known.height > SINGLE or processes.height > LANES
    by_host = processes.height > LANES
    keys = ["host"] if by_host else ["host", "pid"]
    lanes = []
    for key, part in known.partition_by(keys, maintain_order=True, as_dict=True).items():
        host, pid = str(key[0]), key[1] if len(key) > 1 else None
        name = host if pid is None else f"{host} · {pid}"
        workers = part["pid"].n_unique() if by_host else 1
        lanes.append(_binned(name, workers, part, seconds) if binned else _single(name, part))
    lanes.sort(key=lambda lane: lane.name)
    deaths = tuple((max(at - begin, 0.0), job, why) for at, job, why in journal.deaths)
    return Timeline(begin, seconds, tuple(lanes[:LANES]), deaths, known.height, max(len(lanes) - LANES, 0))


def _single(name: str, part: pl.DataFrame) -> Lane:
    rows = part.sort("begin", "job").select("begin", "seconds", "state", "job").iter_rows()
    return Lane(name, 1, tuple((round(b, 3), round(s, 3), state, job) for b, s, state, job in rows))


def _binned(name: str, workers: int, part: pl.DataFrame, seconds: float) -> Lane:
    """Add up how long each bin of the time was worked: each try gives to the bins that it overlaps."""
    width = seconds / BINS
    begin, end = part["begin"].to_numpy(), part["end"].to_numpy()
    edges = np.linspace(0.0, seconds, BINS + 1)
    # time worked up to each edge, of all tries: sum of min(edge, end) - min(edge, begin)
    worked = _up_to(edges, end) - _up_to(edges, begin)
    busy = np.diff(worked) / (width * workers)
    last = np.minimum((end[part["failed"].to_numpy()] / width).astype(np.int64), BINS - 1)
    failed = np.bincount(last, minlength=BINS)
    return Lane(
        name,
        workers,
        busy=tuple(round(float(b), 3) for b in np.clip(busy, 0, 1)),
        failed=tuple(failed.tolist()),
    )


def _up_to(edges: Numbers, at: Numbers) -> Numbers:
    """Give for each edge the sum of ``min(edge, at)`` over all moments."""
    ordered = np.sort(at)
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    below = np.searchsorted(ordered, edges)
    result: Numbers = sums[below] + edges * (len(at) - below)
    return result


def times_by_task(
    tries: pl.DataFrame, quanta: pl.DataFrame, jobs: pl.DataFrame, tasks: Sequence[str]
) -> tuple[TaskTimes, ...]:
    """Give time and memory of the tries of each task that went well, against what was asked."""
    well = tries.filter((pl.col("code") == "") & pl.col("seconds").is_not_null())
    parts = {str(key[0]): part for key, part in well.partition_by("task", as_dict=True).items()}
    asked = (
        quanta.select("task", "job")
        .unique()
        .join(jobs, on="job")
        .group_by("task")
        .agg(
            pl.col("memory").max(),
            pl.col("walltime").max(),
            pl.col("cpu_seconds").sum(),
            pl.col("count").sum(),
        )
    )
    wanted = {row["task"]: row for row in asked.to_dicts()}
    spent = dict(tries.group_by("task").agg(pl.col("cpu_seconds").sum()).iter_rows())
    found = []
    for task in tasks:
        part, want = parts.get(task), wanted.get(task, {})
        if part is None and not want:
            continue
        cpu = want.get("cpu_seconds")
        seconds, cpu_seconds, memory = (
            _five(part[name]) if part is not None else ()
            for name in ("seconds", "cpu_seconds", "peak_memory")
        )
        found.append(TaskTimes(
            task, part.height if part is not None else 0, seconds, cpu_seconds, memory,
            asked_memory=want.get("memory"), asked_seconds=want.get("walltime"),
            expected_cpu=cpu / want["count"] if cpu and want["count"] else None, total_cpu=float(spent.get(task) or 0.0),
        ))  # fmt: skip
    return tuple(found)


def _five(column: pl.Series) -> tuple[float, ...]:
    known = column.drop_nulls().cast(pl.Float64)
    if not known.len():
        return ()
    return tuple(float(known.quantile(q, "linear") or 0.0) for q in QUARTILES)


def job_states(quanta: pl.DataFrame, jobs: int, rank: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Give the worst code of the quanta of each job; ``rank`` says how bad a code is."""
    codes, own = quanta["code"].to_numpy(), quanta["job"].to_numpy()
    worst = np.zeros(jobs, np.uint8)
    np.maximum.at(worst, own, rank[codes])
    return worst


def last_times(attempts: pl.DataFrame, jobs: pl.DataFrame) -> pl.DataFrame:
    """Give all jobs with ``seconds``, ``host`` and ``tries`` of the last attempt; nulls where nothing was tried."""
    last = attempts.group_by("job", maintain_order=True).agg(
        pl.col("seconds").last(), pl.col("host").last(), tries=pl.len()
    )
    return jobs.join(last, left_on="name", right_on="job", how="left", maintain_order="left")


def slowest_of(timed: pl.DataFrame) -> tuple[JobTime, ...]:
    """Give the jobs that took longest."""
    known = timed.filter(pl.col("seconds").is_not_null())
    return _stations(known.sort("seconds", "name", descending=[True, False]).head(SLOWEST))


def critical_path(timed: pl.DataFrame, edges: pl.DataFrame) -> tuple[float, tuple[JobTime, ...]]:
    """Give the chain of jobs that took longest in all, from the first to the last: its seconds, and its jobs.

    Jobs that were not tried count nothing. Level by level of depth: a parent is always less deep.
    """
    seconds = timed["seconds"].fill_null(0).to_numpy()
    if not len(seconds):
        return 0.0, ()
    depth = timed["depth"].to_numpy()
    parent, child = (edges[name].to_numpy() for name in ("parent", "child"))
    order = np.argsort(depth[child], kind="stable")
    parent, child = parent[order], child[order]
    bounds = np.searchsorted(depth[child], np.arange(int(depth.max()) + 2))
    finish = seconds.copy()
    for level in range(1, len(bounds) - 1):
        rows = slice(bounds[level], bounds[level + 1])
        before = np.zeros(len(seconds))
        np.maximum.at(before, child[rows], finish[parent[rows]])
        deeper = np.unique(child[rows])
        finish[deeper] = before[deeper] + seconds[deeper]
    at = int(np.argmax(finish))
    total = float(finish[at])
    parents_first, starts = parent[np.argsort(child, kind="stable")], np.sort(child)
    chain = [at]
    while True:
        own = parents_first[np.searchsorted(starts, at) : np.searchsorted(starts, at, "right")]
        if not len(own):
            break
        at = int(own[np.argmax(finish[own])])
        chain.append(at)
    stations = _stations(timed[chain[::-1]].filter(pl.col("seconds").is_not_null()))
    return total, stations if total else ()


def _stations(rows: pl.DataFrame) -> tuple[JobTime, ...]:
    columns = rows.select(
        "name", "label", "state", "seconds", pl.col("host").fill_null(""), pl.col("tries").fill_null(0)
    )
    return tuple(JobTime(*row) for row in columns.iter_rows())


def word_column(codes: npt.NDArray[np.uint8], words: Sequence[str] = WORDS) -> pl.Series:
    """Give words for codes."""
    return pl.Series("state", np.array(words)[codes], dtype=pl.String)
