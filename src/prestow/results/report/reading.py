"""Reports of attempts, and the journal, read once: tries of quanta in columns, and when a run went on."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from prestow.commit import ATTEMPTS
from prestow.results.failures import tries_of
from prestow.stores import Linkable, Store, Walkable

FEW = 1000
"""Jobs that are looked at one by one, whatever a listing of all reports would cost."""

LATE = 60.0
"""Seconds that the file of a report may be younger than the last line of the journal."""

Row = Mapping[str, Any]  # Any: JSON values


@dataclass(frozen=True, slots=True)
class Journal:
    """What journal lines tell.

    Parameters
    ----------
    spans : tuple of (begin, end)
        Each run of the plan, seconds since 1970.
    ended : mapping of attempt to float
        When the engine heard of it.
    deaths : tuple of (at, job, why)
        Workers that vanished.
    """

    spans: tuple[tuple[float, float], ...] = ()
    ended: Mapping[str, float] = field(default_factory=dict)
    deaths: tuple[tuple[float, str, str], ...] = ()

    @property
    def seconds(self) -> float:
        """How long runs went on, in all."""
        return sum(end - begin for begin, end in self.spans)


def read_lines(lines: Iterable[Row]) -> Journal:
    """Read a journal's lines."""
    spans: list[list[float]] = []
    ended: dict[str, float] = {}
    deaths = []
    for line in lines:
        at, event = line.get("at"), line.get("event")
        if not isinstance(at, int | float):
            continue
        if event == "begin":
            spans.append([at, at])
        elif spans:
            spans[-1][1] = max(spans[-1][1], at)
        if event == "ended" and "attempt" in line:
            ended[line["attempt"]] = at
        elif event == "lost":
            deaths.append((float(at), str(line.get("job", "")), str(line.get("why", ""))))
    return Journal(tuple((begin, end) for begin, end in spans), ended, tuple(deaths))


def read_tries(
    store: Store, run: str, jobs: pl.Series, journal: Journal, versions: dict[str, set[str]]
) -> pl.DataFrame:
    """Give the tries of quanta that the reports of some jobs of a run tell, by `failures.SCHEMA`.

    Parameters
    ----------
    jobs : Series
        Names.
    versions : dict
        Gets the versions of libraries that reports name.
    """
    return tries_of(_reports(store, run, jobs, journal, versions))


def _reports(
    store: Store, run: str, jobs: pl.Series, journal: Journal, versions: dict[str, set[str]]
) -> Iterator[Row]:
    first = min((begin for begin, _ in journal.spans), default=0.0)
    last = max((end for _, end in journal.spans), default=0.0) + LATE
    local = (
        store if isinstance(store, Linkable) else None
    )  # asked once: it takes longer than a look at a file
    for name in _names(store, jobs):
        try:
            report = json.loads(store.read(name))
        except (OSError, ValueError):
            continue  # information less, and no more
        if not isinstance(report, dict) or report.get("run", run) != run:
            continue
        for library, version in (report.get("versions") or {}).items():
            versions.setdefault(library, set()).add(str(version))
        heard = journal.ended.get(str(report.get("attempt")))
        written = _written(local, name) if local is not None else None
        sure = written is not None and (not journal.spans or first <= written <= last)
        report["end"] = written if sure else heard
        yield report


def _names(store: Store, jobs: pl.Series) -> Iterator[str]:
    if not isinstance(store, Walkable):
        return
    if len(jobs) <= FEW:
        for job in jobs:
            yield from (name for name, _ in store.walk(f"{ATTEMPTS}/{job}"))
        return
    wanted = set(jobs)
    yield from (name for name, _ in store.walk(ATTEMPTS) if name.split("/", 2)[1] in wanted)


def _written(store: Linkable, name: str) -> float | None:
    try:
        return store.local_path(name).stat().st_mtime
    except OSError:
        return None
