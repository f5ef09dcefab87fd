"""The jobs that the engine has: each try with its manifest and what it is handed on."""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from prestow.engines import Engine, JobSpec
from prestow.engines.submission import Submission
from prestow.manifest import Manifest
from prestow.plan.retrying import Change, Retries

if TYPE_CHECKING:
    import polars as pl

KEPT_TEXT = 64 << 20
"""How many characters of receipts are kept to be handed on; nodes read the others from the store."""

HANDED_ON = 200
"""How many receipts are handed to one job; it reads the others from the store."""


_AS_PLANNED = Change(0)


@dataclass(slots=True)
class Flight:
    """One try of a job that the engine has."""

    job: int
    tries: int
    begin: float


@dataclass
class Flights:
    """What flies, by handle and by job, and what flew."""

    submission: Submission
    engine: Engine
    store_name: str
    stores: Mapping[str, str]
    reuse: pl.DataFrame | None
    retries: Retries = field(default_factory=Retries)
    layout: str = "tree"
    id: str = field(default_factory=lambda: os.urandom(4).hex())
    flying: dict[object, Flight] = field(default_factory=dict)
    handles: dict[int, object] = field(default_factory=dict)  # job -> handle, while it flies
    tries: Counter[int] = field(default_factory=Counter)  # of jobs that flew at least once
    texts: dict[int, str] = field(default_factory=dict)  # receipts to be handed on
    kept: int = 0

    def manifests(self, jobs: Sequence[int]) -> Iterator[Manifest]:
        """Give the manifests of jobs, in their order."""
        from prestow.plan.manifests import manifests

        return manifests(
            self.submission.plan,
            jobs,
            store=self.store_name,
            stores=self.stores,
            reuse=self.reuse,
            layout=self.layout,
        )

    def submit(self, batch: Sequence[int]) -> None:
        """Hand jobs to the engine, each with the handles and receipts of its parents."""
        if not batch:
            return
        s = self.submission
        for job, manifest in zip(batch, self.manifests(batch), strict=True):
            self.tries[job] += 1
            parents, receipts = self._parents(job)
            change = self.retries.jobs.get(manifest.job, _AS_PLANNED)
            key = f"{s.job_names[job]}-{self.id}-{self.tries[job]}"
            spec = JobSpec(
                key,
                s.job_names[job],
                self.retries.applied(manifest).to_json(),
                receipts,
                label=s.labels[job],
                again=self.tries[job] > 1,
                priority=s.priority[job],
                memory=change.memory or 0,
                avoid=change.avoid,
            )
            handle = self.engine.submit(spec, parents)
            self.flying[handle] = Flight(job, self.tries[job], time.monotonic())
            self.handles[job] = handle

    def tries_of(self, job: int, task: str) -> int:
        """Give how often a quantum of a task is tried in one run."""
        asked = self.retries.jobs.get(self.submission.job_names[job], _AS_PLANNED).tries
        return asked or self.submission.policies[task].tries

    def _parents(self, job: int) -> tuple[list[object], tuple[str, ...]]:
        s = self.submission
        parents: dict[int, object] = {}
        receipts: list[str] = []
        for producer in s.waits.get(job, ()):
            if producer in s.states:
                text = self.texts.get(producer)
                if text is not None and len(receipts) < HANDED_ON:
                    receipts.append(text)
            else:
                parent = int(s.job[producer])
                if parent in self.handles:
                    parents[parent] = self.handles[parent]
        return list(parents.values()), tuple(receipts)

    def take(self, handle: object) -> Flight:
        """Take out a try that ended."""
        flight = self.flying.pop(handle)
        self.handles.pop(flight.job, None)
        return flight

    def keep(self, row: int, text: str) -> None:
        """Keep a receipt that jobs of this submission wait for, while there is room."""
        if self.kept < KEPT_TEXT and row in self.submission.waiting:
            self.texts[row] = text
            self.kept += len(text)
