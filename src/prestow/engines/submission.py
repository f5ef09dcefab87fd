"""A submission: what remains of a plan, and who waits for whom in it.

It is the plan minus what is settled here, minus what can be taken from elsewhere. It is worked out
in columns; Python objects are made only for what remains.
"""

from __future__ import annotations

import difflib
import uuid
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import polars as pl

from prestow.engines.sealing import Need, Standing
from prestow.errors import Problem, ProjectError, raise_all
from prestow.manifest import needed
from prestow.model import State
from prestow.pipeline.definition import OnFailure

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.plan.settled import Settled


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
    states : dict of row to State
        Settled quanta.
    reused : frozenset of int
        Quanta whose outputs are taken from elsewhere.
    rows : list of int
        Quanta to settle, in order.
    jobs : list of int
        Jobs that have such quanta, in order.
    unasked : list of int
        Quanta that are unsettled, and that nobody asked for.
    """

    plan: Plan
    states: dict[int, State]
    reused: frozenset[int]
    rows: list[int]
    jobs: list[int]
    policies: dict[str, Policy]
    unasked: list[int] = field(default_factory=list)
    absent: set[str] = field(default_factory=set)
    lacking: frozenset[int] = frozenset()  # datasets of reused quanta that were not made there

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
        reused = (
            frozenset[int]()
            if reuse is None
            else frozenset(reuse["quantum"].to_list()) - settled.states.keys()
        )
        lacking = (
            frozenset[int]()
            if reuse is None
            else frozenset(reuse.filter(pl.col("sha256").is_null())["dataset"].to_list())
        )
        result = cls(
            plan, dict(settled.states), reused, [], [], known, absent=set(settled.absent), lacking=lacking
        )
        height = plan.tables["quanta"].height
        if len(settled.states) + len(reused) < height:
            rows = [row for row in range(height) if row not in settled.states and row not in reused]
            if labels:
                wanted = result._with_ancestors(labels, rows)
                result.unasked = sorted(set(rows).difference(wanted))
                rows = wanted
            result.rows = rows
            job = plan.tables["quanta"]["job"].to_list()
            result.jobs = sorted({job[row] for row in rows})
        return result

    def _with_ancestors(self, labels: Collection[str], rows: list[int]) -> list[int]:
        tasks = self.plan.tables["quanta"]["task"].to_list()
        wanted = {row for row in rows if tasks[row] in labels}
        climb = list(wanted)
        unsettled = set(rows)
        while climb:
            for need in self.needs(climb.pop()):
                for producer, _ in need.planned:
                    if producer in unsettled and producer not in wanted:
                        wanted.add(producer)
                        climb.append(producer)
        return sorted(wanted)

    # ------------------------------------------------------------------ the graph

    @cached_property
    def task(self) -> list[str]:
        """The task of each quantum."""
        result: list[str] = self.plan.tables["quanta"]["task"].to_list()
        return result

    @cached_property
    def job(self) -> list[int]:
        """The job of each quantum."""
        result: list[int] = self.plan.tables["quanta"]["job"].to_list()
        return result

    @cached_property
    def ids(self) -> list[str]:
        """The id of each quantum, as text."""
        return [str(uuid.UUID(bytes=raw)) for raw in self.plan.tables["quanta"]["id"].to_list()]

    @cached_property
    def row_of(self) -> dict[str, int]:
        """The row of a quantum's id."""
        return {name: row for row, name in enumerate(self.ids)}

    @cached_property
    def _edges(self) -> pl.DataFrame:
        """One row for each input of an unsettled quantum: quantum, connection, dataset, producer."""
        unsettled = pl.Series("quantum", self._unsettled(), dtype=pl.UInt32)
        return (
            self.plan.tables["inputs"]
            .join(unsettled.to_frame(), on="quantum", how="semi", maintain_order="left")
            .join(
                self.plan.tables["datasets"].select("dataset", "producer"),
                on="dataset",
                how="left",
                maintain_order="left",
            )
        )

    def _unsettled(self) -> list[int]:
        return [
            row
            for row in range(self.plan.tables["quanta"].height)
            if row not in self.states and row not in self.reused
        ]

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
        job = pl.Series("job", self.job, dtype=pl.UInt32)
        unsettled = pl.Series("producer", self._unsettled(), dtype=pl.UInt32)
        edges = self._edges.filter(pl.col("producer").is_not_null()).select("producer", "quantum")
        pairs = edges.join(unsettled.to_frame(), on="producer", how="semi")
        pairs = pairs.select(
            "producer",
            child=job.gather(pairs["quantum"]),
            parent=job.gather(pairs["producer"]),
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
        first, count = self._spans[job]
        return range(first, first + count)

    @cached_property
    def _spans(self) -> list[tuple[int, int]]:
        return list(self.plan.tables["jobs"].select("first", "count").iter_rows())

    @cached_property
    def job_names(self) -> list[str]:
        """The name of each job."""
        result: list[str] = self.plan.tables["jobs"]["name"].to_list()
        return result

    @cached_property
    def labels(self) -> list[str]:
        """The task or cluster of each job."""
        result: list[str] = self.plan.tables["jobs"]["label"].to_list()
        return result

    @cached_property
    def _dataset_ids(self) -> list[bytes]:
        result: list[bytes] = self.plan.tables["datasets"]["id"].to_list()
        return result

    def standing(self, producer: int, dataset: int) -> Standing:
        """Tell what a planned input is."""
        if producer in self.reused:
            return Standing.ABSENT if dataset in self.lacking else Standing.PRESENT
        state = self.states.get(producer)
        if state is None:
            return Standing.OPEN
        if state is not State.MADE:
            return Standing.ABSENT
        if self.absent and str(uuid.UUID(bytes=self._dataset_ids[dataset])) in self.absent:
            return Standing.ABSENT
        return Standing.PRESENT


def _no_task(label: str, known: Iterable[str]) -> Problem:
    near = difflib.get_close_matches(label, known, 1)
    fix = f"did you mean '{near[0]}'?" if near else f"tasks: {', '.join(known)}"
    return Problem("PST-G005", f"no task '{label}' in this plan", "--only", fix)


def count_states(
    order: Iterable[str], tasks: Iterable[str], words: Mapping[int, str]
) -> dict[str, dict[str, int]]:
    """Count states by task, tasks in this order; a quantum (by its row) without a word is pending."""
    result: dict[str, dict[str, int]] = {task: {} for task in order}
    for row, task in enumerate(tasks):
        counts = result[task]
        word = words.get(row, "pending")
        counts[word] = counts.get(word, 0) + 1
    return result
