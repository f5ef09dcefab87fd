"""What a forecast needs of every job: what is staged, what it holds at its peak, when it can begin.

A plan's rows are read a slice at a time and a few columns only: inputs stand by quantum, quanta by job,
planned datasets by quantum, and numbers are positions.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
import polars as pl

from prestow.plan.forecast_model import Part
from prestow.plan.forecast_rules import Rules
from prestow.plan.ranges import numbers_of
from prestow.plan.state import outputs_of

if TYPE_CHECKING:
    from prestow.plan.plan import Plan

Numbers = npt.NDArray[np.float64]
Positions = npt.NDArray[np.int64]

ROWS = 4_000_000
"""Rows of inputs that are in memory at one time."""


@dataclass(frozen=True, slots=True)
class Staged:
    """Files brought to jobs: so many, of which those that exist have so many bytes; and those made here."""

    files: int
    existing: float
    made: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class OneJob:
    """What one job holds: files whose sizes are known, and others."""

    number: int
    sure: float
    parts: tuple[Part, ...]


@dataclass(frozen=True, slots=True)
class Jobs:
    """All jobs of a plan, added up.

    Parameters
    ----------
    total : Staged
        What is staged, over all jobs; a file as often as there are jobs that read it.
    unique : Staged
        The same, each file once.
    written : array
        Bytes that each job adds to the output store, expected.
    seconds : array
        How long each job takes, expected.
    critical_path : float
        Seconds of the longest chain of jobs that wait for each other.
    typical, largest : OneJob
        The job in the middle by what it holds, and the one that holds most.
    alike : int
        Jobs that hold nearly as much as the largest.
    """

    total: Staged
    unique: Staged
    written: Numbers
    seconds: Numbers
    critical_path: float
    typical: OneJob
    largest: OneJob
    alike: int

    def stops_at(self, room: float) -> int:
        """Give the number of jobs, in the order of the plan, until this many bytes are written."""
        return int(np.searchsorted(np.cumsum(self.written), room, side="right")) + 1


def look_at_jobs(plan: Plan, rules: Rules) -> Jobs:
    """Add up the jobs of a plan that has any."""
    return _Look(plan, rules).jobs()


class _Look:
    def __init__(self, plan: Plan, rules: Rules) -> None:
        self.plan = plan
        self.rules = rules
        tables = plan.tables
        jobs = tables.scan("jobs").select("first", "count", "depth").collect()
        self.first, self.count, self.depth = (_ints(jobs[name]) for name in ("first", "count", "depth"))
        self.bounds = np.append(self.first, self.first[-1] + self.count[-1])
        labels = [task.label for task in plan.definition.tasks]
        quanta = tables.scan("quanta").select(pl.col("task").cast(pl.Enum(labels)).to_physical()).collect()
        self.task = quanta["task"].to_numpy()
        self.inputs = self._inputs()
        self.offsets = np.concatenate(([0], np.cumsum(self.inputs)))
        twice = np.array([len({c.type for c in t.inputs}) < len(t.inputs) for t in plan.definition.tasks])
        self.closer = (self.count > 1) | twice[self.task[self.first]]
        self.types = sorted({o.type for task in plan.definition.tasks for o in outputs_of(task)})
        self._datasets()

    def _inputs(self) -> npt.NDArray[np.int32]:
        """Count the inputs of each quantum."""
        counts = np.zeros(self.task.size, np.int32)
        rows = self.plan.tables.scan("inputs").select("quantum")
        for start in range(0, self.plan.document["totals"]["inputs"], ROWS):
            found = rows.slice(start, ROWS).collect()["quantum"].to_numpy()
            low = int(found[0])
            own = np.bincount(found - low)
            counts[low : low + own.size] += own.astype(np.int32)
        return counts

    def _datasets(self) -> None:
        """Give each dataset its size, its kind (one more than there are for what exists) and its maker."""
        totals, tables = self.plan.document["totals"], self.plan.tables
        self.size = np.zeros(totals["datasets"])
        self.kind = np.full(totals["datasets"], len(self.types), np.uint16)
        self.maker = np.full(totals["datasets"], -1, np.int64)
        places = tables.scan("locations").select("dataset", "size").collect()
        self.size[_ints(places["dataset"])] = places["size"].fill_null(0).to_numpy()
        kinds = pl.col("type").cast(pl.Enum(self.types)).to_physical()
        planned = tables.scan("datasets").filter("planned").select("dataset", kinds, "producer").collect()
        where = _ints(planned["dataset"])
        kind, maker = planned["type"].to_numpy(), _ints(planned["producer"])
        constant = np.array([self.rules.sizes[name].constant for name in self.types])
        slope = np.array([self.rules.sizes[name].per_input for name in self.types])
        size = constant[kind]
        if slope.any():
            size = size + slope[kind] * self.inputs[maker]
        self.size[where], self.kind[where], self.maker[where] = size, kind, maker
        self.written = self._by_job(_summed(maker, size, self.task.size))

    def _by_job(self, of_quanta: Numbers) -> Numbers:
        if self.first.size == self.task.size:
            return of_quanta
        sums = np.concatenate(([0.0], np.cumsum(of_quanta)))
        by_job: Numbers = np.diff(sums[self.bounds])
        return np.maximum(by_job, 0.0)  # not below by rounding

    def jobs(self) -> Jobs:
        total, unique, held = self._staged()
        held += self.written
        code = self.plan.code
        if code is not None:
            held += code.size
        middle = int(np.argpartition(held, held.size // 2)[held.size // 2])
        top = int(np.argmax(held))
        seconds = self._seconds()
        return Jobs(
            total, unique, self.written, seconds, self._critical_path(seconds), self._one(middle), self._one(top),
            int(np.count_nonzero(held >= 0.8 * held[top])),
        )  # fmt: skip

    def _seconds(self) -> Numbers:
        wall = [self.rules.wall[task.label] for task in self.plan.definition.tasks]
        seconds = np.array([rule.constant for rule in wall])[self.task]
        slope = np.array([rule.per_input for rule in wall])
        return self._by_job(seconds + slope[self.task] * self.inputs if slope.any() else seconds)

    def _staged(self) -> tuple[Staged, Staged, Numbers]:
        """Give what is staged: over all jobs, each file once, and the bytes of each job."""
        held: Numbers = np.zeros(self.first.size)
        reads = np.zeros(self.size.size, np.int32)  # jobs that each dataset is brought to
        rows_at = self.offsets[self.bounds]
        start = 0
        while start < self.first.size:
            stop = int(np.searchsorted(rows_at, rows_at[start] + ROWS, side="right")) - 1
            stop = min(max(stop, start + 1), self.first.size)
            found, again = self._brought(start, stop)
            sizes = self.size[found]
            sizes[again] = 0.0
            sums = np.concatenate(([0.0], np.cumsum(sizes)))
            held[start:stop] = np.diff(sums[rows_at[start : stop + 1] - rows_at[start]])
            once = np.delete(found, again) if again.size else found
            reads += np.bincount(once, minlength=reads.size).astype(np.int32)
            start = stop
        kind, kinds, seen = self.kind.astype(np.intp), len(self.types) + 1, reads > 0
        total = self._sum(_summed(kind, reads, kinds), _summed(kind, reads * self.size, kinds))
        unique = self._sum(_summed(kind, seen, kinds), _summed(kind, seen * self.size, kinds))
        return total, unique, np.maximum(held, 0.0)

    def _brought(self, start: int, stop: int) -> tuple[Positions, Positions]:
        """Give the datasets that some jobs read, and which of these rows bring nothing.

        A job is not brought what it makes itself, nor one file twice.
        """
        low, high = self.offsets[self.bounds[start]], self.offsets[self.bounds[stop]]
        rows = self.plan.tables.scan("inputs").select("dataset").slice(int(low), int(high - low)).collect()
        found = rows["dataset"].to_numpy()
        jobs = start + np.flatnonzero(self.closer[start:stop])
        if not jobs.size:
            return found, jobs
        begin, end = (self.offsets[self.bounds[jobs + i]] - low for i in (0, 1))
        owner = np.repeat(jobs, end - begin)
        place = numbers_of(begin, end - begin)
        maker = self.maker[found[place]]
        inside = (maker >= self.first[owner]) & (maker < self.first[owner] + self.count[owner])
        others = place[~inside]
        _, kept = np.unique(owner[~inside] * self.size.size + found[others], return_index=True)
        return found, np.concatenate((place[inside], np.delete(others, kept)))

    def _sum(self, counts: Numbers, sizes: Numbers) -> Staged:
        made = tuple(
            Part(self.rules.sizes[name], float(sizes[i]), float(counts[i]))
            for i, name in enumerate(self.types)
            if counts[i]
        )
        return Staged(int(sum(counts)), float(sizes[-1]), made)

    def _one(self, job: int) -> OneJob:
        found, again = self._brought(job, job + 1)
        low, high = self.bounds[job], self.bounds[job + 1]
        own = np.flatnonzero((self.maker >= low) & (self.maker < high))
        held = np.concatenate((np.delete(found, again), own))
        kinds = len(self.types) + 1
        kind = self.kind[held]
        staged = self._sum(_counted(kind, kinds), _summed(kind, self.size[held], kinds))
        code = self.plan.code
        return OneJob(job, staged.existing + (code.size if code is not None else 0), staged.made)

    def _critical_path(self, seconds: Numbers) -> float:
        """Give the length of the longest chain, level by level: a job of a level needs only lower ones."""
        edges = self.plan.tables.scan("job_edges").select("parent", "child").collect()
        parent, child = (edges[name].to_numpy() for name in ("parent", "child"))
        level = self.depth[parent]
        if np.any(np.diff(level) < 0):
            order = np.argsort(level, kind="stable")
            parent, child, level = parent[order], child[order], level[order]
        begin = np.zeros(seconds.size)
        cuts = np.flatnonzero(np.diff(level)) + 1
        for low, high in zip([0, *cuts], [*cuts, level.size], strict=True):
            before = parent[low:high]
            np.maximum.at(begin, child[low:high], begin[before] + seconds[before])
        return float((begin + seconds).max(initial=0.0))


def _ints(column: pl.Series) -> Positions:
    return column.to_numpy().astype(np.int64)


def _counted(codes: npt.NDArray[Any], length: int) -> Numbers:
    return np.bincount(codes, minlength=length).astype(np.float64)


def _summed(codes: npt.NDArray[Any], values: npt.NDArray[Any], length: int) -> Numbers:
    return np.bincount(codes, values, minlength=length).astype(np.float64, copy=False)
