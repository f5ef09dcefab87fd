"""The papers of quanta and attempts in a store: receipts and reports, each read once."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from prestow.commit import ATTEMPTS, read_receipt, receipt_name
from prestow.errors import PrestowError
from prestow.manifest import Receipt
from prestow.results.lineage import Point
from prestow.stores import Linkable, Store, Walkable

if TYPE_CHECKING:
    import polars as pl

Row = dict[str, Any]  # Any: values of a row, or of a report


class Papers:
    """Receipts and reports of a store, as far as they can be read; ``notes`` says what could not.

    Parameters
    ----------
    store : Store or None
        Where they are.
    """

    def __init__(self, store: Store | None) -> None:
        self.store = store
        self.notes: dict[str, None] = {}
        self._receipts: dict[str, Receipt | None] = {}
        self._copies: Mapping[str, str] = {}
        self._reports: dict[str, tuple[Row, ...]] = {}

    def note(self, text: str) -> None:
        """Say what could not be known."""
        self.notes.setdefault(text)

    def go_by(self, copies: Mapping[str, str]) -> None:
        """Go by copies of receipts, by name and as text, where the store has none."""
        self._copies = copies

    def receipt(self, name: str) -> Receipt | None:
        """Give a receipt, or None if there is none that can be read."""
        if name not in self._receipts:
            found = None
            if self.store is not None and name:
                try:
                    found = read_receipt(self.store, name)
                except PrestowError as error:
                    self.note(f"{name} cannot be read: {error.problems[0].what}")
            if found is None and name in self._copies:
                found = Receipt.from_json(self._copies[name])
            self._receipts[name] = found
        return self._receipts[name]

    def receipt_of(self, point: Point) -> Receipt | None:
        """Give the receipt of the quantum that makes something."""
        if not point.quantum:
            return None
        return self.receipt(point.receipt or receipt_name(point.run, point.task, point.quantum))

    def reports(self, job: str) -> tuple[Row, ...]:
        """Give the reports of a job's attempts, as far as they can be read."""
        if job not in self._reports:
            found: list[Row] = []
            store = self.store
            if store is not None and job:
                found += oldest_first(store, job)
            self._reports[job] = tuple(found)
        return self._reports[job]

    def failures(self, point: Point) -> list[tuple[Row, Row]]:
        """Give the attempts at which the quantum of a point failed: report and failure."""
        found = []
        for report in self.reports(point.job):
            for entry in report.get("quanta", ()):
                if entry.get("quantum") == point.quantum:
                    found += [(report, failure) for failure in entry.get("failures", ())]
        return found


def oldest_first(store: Store, job: str) -> list[Row]:
    """Give the reports of a job's attempts, the oldest first where the files tell."""
    found: list[tuple[float, Row]] = []
    for name, report in read_reports(store, job):
        try:
            written = store.local_path(name).stat().st_mtime if isinstance(store, Linkable) else 0.0
        except OSError:
            continue
        found.append((written, report))
    return [report for _, report in sorted(found, key=lambda pair: pair[0])]


FEW = 1000  # jobs that are looked at one by one, whatever a listing would cost


def jobs_with_reports(store: Store, jobs: pl.Series) -> pl.Series:
    """Give those of some jobs that may have been tried: of many, those that a listing of all reports names."""
    if not isinstance(store, Walkable):
        return jobs.clear()
    if len(jobs) <= FEW:
        return jobs
    tried = {name.split("/", 2)[1] for name, _ in store.walk(ATTEMPTS)}
    return jobs.filter(jobs.is_in(sorted(tried)))


def read_reports(store: Store, job: str) -> Iterator[tuple[str, Row]]:
    """Give names and reports of a job's attempts; one that cannot be read is only information less."""
    if not isinstance(store, Walkable):
        return
    for name, _ in store.walk(f"{ATTEMPTS}/{job}"):
        try:
            report = json.loads(store.read(name))
        except (OSError, ValueError):
            continue
        if isinstance(report, dict):
            yield name, report
