"""A submission: what remains of a plan, and who waits for whom in it.

It is the plan minus what is settled here, minus what can be taken from elsewhere, minus intermediates
that nobody needs any more. It is worked out in columns; Python objects are made only for what remains.
"""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt
import polars as pl

from prestow.engines.sealing import Need, Standing
from prestow.errors import Problem, ProjectError, raise_all
from prestow.manifest import needed
from prestow.model import State
from prestow.pipeline.definition import OnFailure
from prestow.plan.awaited import awaited
from prestow.plan.retaining import not_needed
from prestow.plan.states import RowSet, States, Words, tasks_of
from prestow.plan.walking import spread

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.plan.settled import Settled

Mask = npt.NDArray[np.bool_]
Numbers = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Policy:
    """What a plan says about one task."""

    tolerate: bool
    tries: int
    minima: Mapping[str, str | int | float]


def policies(plan: Plan) -> dict[str, Policy]:
    """Give the policy of each task, in the order of the pipeline."""
    return {
        task.label: Policy(
            task.on_failure is OnFailure.TOLERATE, task.tries, {c.name: c.minimum for c in task.inputs}
        )
        for task in plan.definition.tasks
    }


@dataclass
class Submission:
    """What remains, by rows of the plan's tables; `states` grows as quanta settle.

    Parameters
    ----------
    states : States
        Settled quanta.
    reused : RowSet
        Quanta whose outputs are taken from elsewhere.
    unneeded : RowSet
        Quanta that need not run, see `prestow.plan.retaining`.
    rows : list of int
        Quanta to settle, in order.
    jobs : list of int
        Jobs that have such quanta, in order.
    unasked : list of int
        Quanta that are unsettled, and that nobody asked for.
    awaited : int
        Quanta that would be run, and wait for inputs that are only promised.
    absent : set of str
        Ids of datasets that a *made* quantum left out.
    lacking : RowSet
        Datasets that were rightfully not made: of reused quanta, and those that the registry says.
    """

    plan: Plan
    states: States
    reused: RowSet
    rows: list[int]
    jobs: list[int]
    policies: dict[str, Policy]
    absent: set[str]
    lacking: RowSet
    unneeded: RowSet
    unasked: list[int] = field(default_factory=list)
    awaited: int = 0

    @classmethod
    def of(
        cls,
        plan: Plan,
        settled: Settled,
        *,
        reuse: pl.DataFrame | None = None,
        only: str | Sequence[str] = (),
    ) -> Submission:
        """Work out what remains.

        Parameters
        ----------
        reuse : DataFrame or None
            What `reusable` gave.
        only : str or sequence of str
            Labels of tasks: only their quanta, and those that they need; all, if empty.

        Raises
        ------
        ProjectError
            If there is no such task (PST-G005), for each of them.
        """
        known = policies(plan)
        labels = (only,) if isinstance(only, str) else tuple(only)
        raise_all((_no_task(label, known) for label in labels if label not in known), ProjectError)
        total = plan.document["totals"]
        states = settled.states.copy()
        taken = np.zeros(total["quanta"], np.bool_)
        lacking = np.zeros(total["datasets"], np.bool_)
        lacking[settled.lacking.to_numpy()] = True
        if reuse is not None:
            taken[reuse["quantum"].to_numpy()] = True
            taken &= states.codes == 0
            lacking[reuse.filter(pl.col("sha256").is_null())["dataset"].to_numpy()] = True
        unneeded = RowSet(not_needed(plan, (states.codes == 0) & ~taken))
        result = cls(
            plan, states, RowSet(taken), [], [], known, set(settled.absent), RowSet(lacking), unneeded
        )
        rows = np.flatnonzero(result.open)
        if labels and len(rows):
            wanted = result._with_ancestors(labels)
            result.unasked = rows[~wanted[rows]].tolist()
            rows = rows[wanted[rows]]
        waits = awaited(plan)
        if waits is not None:
            result.awaited = int(waits[rows].sum())
            rows = rows[~waits[rows]]
        result.rows = rows.tolist()
        result.jobs = np.unique(result.job[rows]).tolist()
        return result

    def _with_ancestors(self, labels: Collection[str]) -> Mask:
        """Give the unsettled quanta of these tasks, and those whose outputs they need."""
        numbers = [i for i, name in enumerate(self.task.names) if name in labels]
        wanted = np.isin(self.task.numbers, numbers) & self.open
        edges = self._edges.filter(pl.col("producer").is_not_null())
        producers, quanta = edges["producer"].to_numpy(), edges["quantum"].to_numpy()
        alive = self.open[producers]
        producers, quanta = producers[alive], quanta[alive]
        return spread(wanted, quanta, producers)

    # ------------------------------------------------------------------ the graph

    @cached_property
    def open(self) -> Mask:
        """Which quanta were neither settled nor reused at the start, and are needed."""
        mask: Mask = (self.states.codes == 0) & ~self.reused.mask & ~self.unneeded.mask
        return mask

    @cached_property
    def task(self) -> Words:
        """The task of each quantum."""
        return tasks_of(self.plan)

    @cached_property
    def job(self) -> Numbers:
        """The job of each quantum."""
        return self._column("quanta", "job").to_numpy()

    def _column(self, table: str, name: str) -> pl.Series:
        return self.plan.tables.scan(table).select(name).collect()[name]

    @cached_property
    def ids(self) -> Mapping[int, str]:
        """The id, as text, of each quantum of the jobs of this submission."""
        return {row: name for name, row in self.row_of.items()}

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of an id, for the quanta of the jobs of this submission."""
        mine = np.zeros(len(self._firsts), np.bool_)
        mine[self.jobs] = True
        rows = np.flatnonzero(mine[self.job])
        ids = self._column("quanta", "id").gather(rows)
        return {str(uuid.UUID(bytes=raw)): row for raw, row in zip(ids.to_list(), rows.tolist(), strict=True)}

    @cached_property
    def _edges(self) -> pl.DataFrame:
        """One row for each input of an unsettled quantum: quantum, connection, dataset, producer."""
        return inputs_of(self.plan, self.open)

    @cached_property
    def _inputs(self) -> tuple[list[str], list[int], list[int | None], dict[int, tuple[int, int]]]:
        edges = self._edges
        spans: dict[int, tuple[int, int]] = {}
        position = 0
        for row, count in edges.group_by("quantum", maintain_order=True).len().iter_rows():
            spans[row] = (position, position + count)
            position += count
        return edges["connection"].to_list(), edges["dataset"].to_list(), edges["producer"].to_list(), spans

    def needs(self, row: int) -> Iterator[Need]:
        """Give the input connections of a quantum that was unsettled at the start."""
        connections, datasets, producers, spans = self._inputs
        first, last = spans.get(row, (0, 0))
        minima = self.policies[self.task[row]].minima
        grouped: dict[str, list[int]] = {}
        for i in range(first, last):
            grouped.setdefault(connections[i], []).append(i)
        for connection, places in grouped.items():
            planned = [(p, datasets[i]) for i in places if (p := producers[i]) is not None]
            yield Need(
                needed(minima.get(connection, "all"), len(places)), len(places) - len(planned), planned
            )

    @cached_property
    def _consumers(self) -> dict[int, list[int]]:
        grouped = (
            self._edges.filter(pl.col("producer").is_not_null())
            .select("producer", "quantum")
            .unique()
            .sort("producer", "quantum")
            .group_by("producer", maintain_order=True)
            .agg("quantum")
        )
        return dict(grouped.iter_rows())

    def consumers(self, row: int) -> list[int]:
        """Give the unsettled quanta that read what this one makes."""
        return [c for c in self._consumers.get(row, ()) if c not in self.states]

    @cached_property
    def waits(self) -> dict[int, list[int]]:
        """For each job that waits: the unsettled quanta outside it that it reads from."""
        edges = self._edges.filter(pl.col("producer").is_not_null()).select("producer", "quantum")
        edges = edges.filter(pl.Series(self.open[edges["producer"].to_numpy()]))
        job = pl.Series(self.job)
        pairs = edges.select(
            "producer",
            child=job.gather(edges["quantum"]),
            parent=job.gather(edges["producer"]),
        )
        grouped = (
            pairs.filter(pl.col("child") != pl.col("parent"))
            .select("child", "producer")
            .unique()
            .sort("child", "producer")
            .group_by("child", maintain_order=True)
            .agg("producer")
        )
        return dict(grouped.iter_rows())

    @cached_property
    def waiting(self) -> dict[int, list[int]]:
        """For each unsettled quantum: the jobs that wait for it."""
        result: dict[int, list[int]] = {}
        for job, producers in self.waits.items():
            for producer in producers:
                result.setdefault(producer, []).append(job)
        return result

    def quanta_of(self, job: int) -> range:
        """Give the rows of a job's quanta."""
        first, last = (
            self._firsts[job : job + 2] if job + 1 < len(self._firsts) else (self._firsts[job], len(self.job))
        )
        return range(int(first), int(last))

    @cached_property
    def _firsts(self) -> Numbers:
        return self._column("jobs", "first").to_numpy()

    @cached_property
    def _jobs(self) -> pl.DataFrame:
        wanted = pl.Series("job", self.jobs, pl.UInt32)
        jobs = self.plan.tables.scan("jobs").select(pl.col("^job|name|label|priority$")).collect()
        return jobs[wanted] if len(self.jobs) < jobs.height else jobs

    @cached_property
    def job_names(self) -> Mapping[int, str]:
        """The name of each job of this submission."""
        return dict(self._jobs.select("job", "name").iter_rows())

    @cached_property
    def labels(self) -> Mapping[int, str]:
        """The task or cluster of each job of this submission."""
        return dict(self._jobs.select("job", "label").iter_rows())

    @cached_property
    def priority(self) -> dict[int, int]:
        """The priority of each job of this submission: larger comes first."""
        if "priority" not in self._jobs.columns:
            return dict.fromkeys(self.jobs, 0)
        return dict(self._jobs.select("job", "priority").iter_rows())

    @cached_property
    def queue(self) -> list[int]:
        """The jobs of this submission, by priority, then in order: none before one that it waits for."""
        return sorted(self.jobs, key=lambda job: (-self.priority[job], job))

    @cached_property
    def _dataset_ids(self) -> pl.Series:
        return self._column("datasets", "id")

    def standing(self, producer: int, dataset: int) -> Standing:
        """Tell what a planned input is."""
        if producer in self.reused:
            return Standing.ABSENT if dataset in self.lacking else Standing.PRESENT
        state = self.states.get(producer)
        if state is None:
            return Standing.OPEN
        if state is not State.MADE or dataset in self.lacking:
            return Standing.ABSENT
        if self.absent and str(uuid.UUID(bytes=self._dataset_ids[dataset])) in self.absent:
            return Standing.ABSENT
        return Standing.PRESENT


def _no_task(label: str, known: Iterable[str]) -> Problem:
    near = difflib.get_close_matches(label, known, 1)
    fix = f"did you mean '{near[0]}'?" if near else f"tasks: {', '.join(known)}"
    return Problem("PST-G005", f"no task '{label}' in this plan", "--only", fix)


def inputs_of(plan: Plan, some: Mask) -> pl.DataFrame:
    """Give the inputs of some quanta of a plan, in order: quantum, connection, dataset, producer."""
    columns = ("quantum", "connection", "dataset")
    if not some.any():
        inputs = plan.tables.scan("inputs").select(columns).head(0).collect()
    else:
        inputs = plan.tables.scan("inputs").select(columns).collect()
        inputs = inputs.filter(pl.Series(some[inputs["quantum"].to_numpy()]))
    producers = plan.tables.scan("datasets").select("producer").collect()["producer"]
    return inputs.with_columns(producers.gather(inputs["dataset"]))
