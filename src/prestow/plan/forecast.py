"""The forecast of a plan: bytes in and out, files, CPU, time at a site and scratch, each with an interval.

It lies beside the plan as ``forecast.yaml``, outside its id: the same plan may be forecast again when more runs
have been recorded.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from prestow.documents import Loader
from prestow.plan.forecast_jobs import Jobs, OneJob, Staged, look_at_jobs
from prestow.plan.forecast_model import BYTES, SECONDS, Estimate, Part, add_up, largest, noise, size_text
from prestow.plan.forecast_rules import Needs, make_rules

if TYPE_CHECKING:
    from prestow.plan.forecast_history import History
    from prestow.plan.plan import Plan

SCHEMA = "prestow.forecast/1"
FILE = "forecast.yaml"


@dataclass(frozen=True, slots=True)
class Line:
    """One task or dataset type: how much of it, and what it comes to; None is unknown.

    ``source`` is ``runs``, ``hints``, ``assumed`` or ``unknown``, of bytes and of CPU.
    """

    name: str
    count: int
    bytes: Estimate | None
    cpu_seconds: Estimate | None = None
    source: str = "unknown"
    cpu_source: str = "unknown"


@dataclass(frozen=True, slots=True)
class Room:
    """What a store takes: bytes and files that it has room for, and why it is no more."""

    store: str
    bytes: float | None = None
    files: int | None = None
    bytes_of: str = ""  # "quota", "free space"
    files_of: str = ""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What a plan will come to; an `Estimate` is a value and its 90 % interval.

    Parameters
    ----------
    plan, run : str
        Of which plan it is.
    runs : tuple of str
        Past runs that it was learnt from.
    looked_at : mapping
        How many ``datasets`` and ``attempts`` of them.
    staged, unique : Estimate
        Bytes that are brought to jobs, in all and each file once; ``existing`` of the latter exist.
    staged_files, unique_files, jobs : int
        Files brought to jobs, in all and each once; jobs of the plan.
    written, products, papers : Estimate
        Bytes that the output store gets: in all, of products, and of receipts with reports.
    files : mapping of kind to int
        ``products``, ``receipts``, ``reports``, ``manifests``; ``inodes`` is their sum.
    cpu_seconds, wall_seconds : Estimate
        CPU of all quanta; time by the clock with ``workers`` of them at a time, at the least.
    critical_path_seconds : float
        The longest chain of jobs that wait for each other.
    scratch_typical, scratch_largest : Estimate
        Bytes of inputs and outputs of one job: of the job in the middle, and of the largest, which is ``scratch_job``.
    tasks, types : tuple of Line
        The same by task and by dataset type.
    warnings : tuple of str
        Where it would not fit.
    """

    plan: str
    run: str
    store: str
    runs: tuple[str, ...]
    looked_at: Mapping[str, int]
    jobs: int
    staged: Estimate
    staged_files: int
    unique: Estimate
    unique_files: int
    existing: int
    written: Estimate
    products: Estimate
    papers: Estimate
    files: Mapping[str, int]
    inodes: Estimate
    workers: int
    cpu_seconds: Estimate
    wall_seconds: Estimate
    critical_path_seconds: float
    scratch_typical: Estimate
    scratch_largest: Estimate
    scratch_job: str
    tasks: tuple[Line, ...] = ()
    types: tuple[Line, ...] = ()
    warnings: tuple[str, ...] = ()
    site: str | None = None

    @property
    def unknown_types(self) -> tuple[str, ...]:
        """Dataset types of which nothing is known: their bytes are in no sum."""
        return tuple(line.name for line in self.types if line.bytes is None)

    @property
    def unknown_tasks(self) -> tuple[str, ...]:
        """Tasks of which no CPU is known: it is in no sum."""
        return tuple(line.name for line in self.tasks if line.cpu_seconds is None)

    def as_dict(self) -> dict[str, Any]:  # Any: plain values
        """Give it as plain values: bytes as integers, seconds to the millisecond."""
        return {
            "schema": SCHEMA, "plan": self.plan, "run": self.run, "site": self.site,
            "learnt_from": {"runs": list(self.runs), **self.looked_at},
            "jobs": self.jobs,
            "in": {
                "staged": _bytes(self.staged), "staged_files": self.staged_files, "unique": _bytes(self.unique),
                "unique_files": self.unique_files, "existing": self.existing,
            },
            "out": {self.store: {"bytes": _bytes(self.written), "products": _bytes(self.products), "papers": _bytes(self.papers)}},
            "files": {**self.files, "inodes": _bytes(self.inodes)},
            "time": {
                "workers": self.workers, "cpu_seconds": _seconds(self.cpu_seconds), "wall_seconds": _seconds(self.wall_seconds),
                "critical_path_seconds": round(self.critical_path_seconds, 3),
            },
            "scratch": {
                "typical": _bytes(self.scratch_typical), "largest": _bytes(self.scratch_largest), "largest_job": self.scratch_job,
            },
            "tasks": {
                line.name: {
                    "quanta": line.count, "bytes": line.bytes and _bytes(line.bytes), "bytes_from": line.source,
                    "cpu_seconds": line.cpu_seconds and _seconds(line.cpu_seconds), "cpu_from": line.cpu_source,
                }
                for line in self.tasks
            },
            "types": {
                line.name: {"files": line.count, "bytes": line.bytes and _bytes(line.bytes), "from": line.source}
                for line in self.types
            },
            "warnings": list(self.warnings),
        }  # fmt: skip

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Forecast:  # Any: plain values
        """Read what `as_dict` gave."""
        staged, times, scratch, files = (plain[name] for name in ("in", "time", "scratch", "files"))
        ((store, out),) = plain["out"].items()
        learnt = dict(plain["learnt_from"])
        return cls(
            plain["plan"], plain["run"], store, tuple(learnt.pop("runs")), learnt, plain["jobs"],
            _estimate(staged["staged"]), staged["staged_files"], _estimate(staged["unique"]), staged["unique_files"],
            staged["existing"], _estimate(out["bytes"]), _estimate(out["products"]), _estimate(out["papers"]),
            {name: number for name, number in files.items() if name != "inodes"}, _estimate(files["inodes"]),
            times["workers"], _estimate(times["cpu_seconds"]), _estimate(times["wall_seconds"]), times["critical_path_seconds"],
            _estimate(scratch["typical"]), _estimate(scratch["largest"]), scratch["largest_job"],
            tuple(
                Line(name, v["quanta"], _known(v["bytes"]), _known(v["cpu_seconds"]), v["bytes_from"], v["cpu_from"])
                for name, v in plain["tasks"].items()
            ),
            tuple(Line(name, v["files"], _known(v["bytes"]), source=v["from"]) for name, v in plain["types"].items()),
            tuple(plain["warnings"]), plain["site"],
        )  # fmt: skip


def _bytes(estimate: Estimate) -> dict[str, int]:
    return {name: round(getattr(estimate, name)) for name in ("value", "low", "high")}


def _seconds(estimate: Estimate) -> dict[str, float]:
    return {name: round(getattr(estimate, name), 3) for name in ("value", "low", "high")}


def _estimate(plain: Mapping[str, float]) -> Estimate:
    return Estimate(plain["value"], plain["low"], plain["high"])


def _known(plain: Mapping[str, float] | None) -> Estimate | None:
    return None if plain is None else _estimate(plain)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a plan will run, as far as a forecast cares.

    Parameters
    ----------
    store : str
        Name of the output store.
    workers : int
        Jobs that run at a time.
    rooms : tuple of Room
        What the stores have room for.
    packed : int
        Jobs whose manifests share a file, for engines that are handed files; 0 if manifests travel as values.
    site : str or None
        The name of the site, if one was said.
    """

    store: str
    workers: int = 1
    rooms: tuple[Room, ...] = field(default=())
    packed: int = 0
    site: str | None = None


def make_forecast(plan: Plan, history: History, place: Place) -> Forecast:
    """Say what a plan will come to.

    The same plan, history and place always give the same.

    Examples
    --------
    >>> from prestow.plan.forecast_history import History
    >>> from prestow.testing.surveys import UNIVERSE, Request, Survey, build_plan, reduction
    >>> plan = build_plan(Request("demo", reduction(), UNIVERSE, ("raw",)), Survey.make(4, 2))
    >>> forecast = make_forecast(plan, History(), Place("archive", workers=2))
    >>> forecast.files["products"], forecast.unknown_types, forecast.cpu_seconds.value
    (28, ('isr', 'aligned', 'coadd', 'sources'), 8.0)
    """
    needs = Needs.of_counts(plan.definition, plan.counts)
    rules = make_rules(plan.definition, history, needs)
    products, papers = needs.products(rules), needs.of_tasks(rules.papers)
    cpu, wall = needs.of_tasks(rules.cpu), needs.of_tasks(rules.wall)
    totals = plan.document["totals"]
    jobs = look_at_jobs(plan, rules) if totals["jobs"] else _NO_JOBS
    cpu_seconds, wall_sum = (add_up(list(parts.values()), SECONDS) for parts in (cpu, wall))
    made, told = (add_up(list(parts.values()), BYTES) for parts in (products, papers))
    files = {
        "products": totals["outputs"],
        "receipts": totals["quanta"],
        "reports": totals["jobs"],
        "manifests": -(-totals["jobs"] // place.packed) if place.packed else 0,
    }
    largest_one = _of_job(jobs.largest)
    forecast = Forecast(
        plan=plan.id,
        run=plan.run,
        store=place.store,
        runs=history.runs,
        looked_at={"datasets": history.sizes.height, "attempts": history.times.height},
        jobs=totals["jobs"],
        staged=_of_staged(jobs.total),
        staged_files=jobs.total.files,
        unique=_of_staged(jobs.unique),
        unique_files=jobs.unique.files,
        existing=round(jobs.unique.existing),
        written=made + told,
        products=made,
        papers=told,
        files=files,
        inodes=_inodes(plan, files),
        workers=place.workers,
        cpu_seconds=cpu_seconds,
        wall_seconds=_wall(wall_sum, jobs.critical_path, place.workers),
        critical_path_seconds=jobs.critical_path,
        scratch_typical=_of_job(jobs.typical, alike=jobs.seconds.size),
        scratch_largest=largest(largest_one, noise(jobs.largest.parts), jobs.alike),
        scratch_job=job_name(plan, jobs.largest.number) if totals["jobs"] else "",
        tasks=_tasks(plan, products, cpu),
        types=tuple(
            Line(name, round(p.count), _sum((p,)), source=p.rule.source) for name, p in products.items()
        ),
        site=place.site,
    )
    return _warned(forecast, jobs, place)


def _nothing() -> Jobs:
    import numpy as np

    staged, one = Staged(0, 0.0, ()), OneJob(0, 0.0, ())
    return Jobs(staged, staged, np.zeros(0), np.zeros(0), 0.0, one, one, 0)


_NO_JOBS = _nothing()


def _of_staged(staged: Staged) -> Estimate:
    return add_up(staged.made, BYTES).plus(staged.existing)


def _of_job(job: OneJob, alike: int = 1) -> Estimate:
    """Give what a job holds; of the one in the middle of many, chance evens out."""
    parts = [Part(part.rule, part.expected, part.count * alike) for part in job.parts]
    return add_up(parts, BYTES).plus(job.sure)


def _inodes(plan: Plan, files: Mapping[str, int]) -> Estimate:
    """Give how many files there will be: fewer if what is optional is not made, more if jobs are tried again."""
    tasks = plan.definition.tasks
    optional = sum(
        plan.counts[task.label]["quanta"] for task in tasks for output in task.outputs if output.optional
    )
    tries = max((task.tries for task in tasks), default=1)
    value = sum(files.values())
    return Estimate(value, value - optional, value + (tries - 1) * files["reports"])


def _wall(work: Estimate, chain: float, workers: int) -> Estimate:
    """Give the time by the clock: no less than the longest chain, or than all work shared out.

    At most it is both together: that is how long a list of jobs takes that are begun as soon as they can.
    """
    scale = [end / work.value if work.value else 1.0 for end in (work.low, work.high)]
    low, value = (max(chain * s, w / workers) for s, w in ((scale[0], work.low), (1.0, work.value)))
    return Estimate(value, low, work.high / workers + chain * scale[1] * (1 - 1 / workers))


def _sum(parts: Sequence[Part]) -> Estimate | None:
    """Give what parts of one task come to, or None if nothing of one of them is known."""
    unknown = any(part.rule.source == "unknown" and part.count for part in parts)
    return None if unknown else add_up(parts, BYTES)


def _tasks(plan: Plan, products: Mapping[str, Part], cpu: Mapping[str, Part]) -> tuple[Line, ...]:
    lines = []
    for task in plan.definition.tasks:
        parts = [products[output.type] for output in task.outputs]
        own, spent = add_up(parts, BYTES), cpu[task.label]
        known = bool(parts) and _sum(parts) is not None
        sources = [part.rule.source for part in parts]
        source = next((s for s in ("unknown", "hints", "assumed", "runs") if s in sources), "unknown")
        seconds = None if spent.rule.source == "unknown" and spent.count else add_up([spent], SECONDS)
        lines.append(
            Line(task.label, round(spent.count), own if known else None, seconds, source, spent.rule.source)
        )
    return tuple(lines)


def job_name(plan: Plan, number: int) -> str:
    """Give the name of one job."""
    return str(plan.tables.scan("jobs").select("name").slice(number, 1).collect().item())


def _warned(forecast: Forecast, jobs: Jobs, place: Place) -> Forecast:
    """Give a forecast that says where it would not fit."""
    warnings = []
    for room in place.rooms:
        need = forecast.written
        if room.bytes is not None and need.high > room.bytes:
            where = f"{room.bytes_of} of '{room.store}' has {size_text(room.bytes)} left"
            if need.value > room.bytes:
                stop = min(jobs.stops_at(room.bytes - forecast.papers.value), forecast.jobs)
                warnings.append(f"{where}: would stop near job {stop:,} of {forecast.jobs:,}")
            else:
                warnings.append(
                    f"{where}: it may not be enough, up to {size_text(need.high)} will be written"
                )
        if room.files is not None and forecast.inodes.value > room.files:
            where = f"{room.files_of} of '{room.store}' has room for {max(room.files, 0):,} files"
            warnings.append(f"{where}: {sum(forecast.files.values()):,} will be written")
    return replace(forecast, warnings=tuple(warnings)) if warnings else forecast


def write_forecast(forecast: Forecast, directory: Path) -> Path:
    """Write a forecast beside its plan, whole or not at all; what is the same is left alone."""
    path = directory / FILE
    text = yaml.safe_dump(forecast.as_dict(), sort_keys=False, allow_unicode=True, width=110)
    with contextlib.suppress(OSError):
        if path.read_text(encoding="utf-8") == text:
            return path
    handle, name = tempfile.mkstemp(prefix=f".{FILE}-", dir=directory)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
        mask = os.umask(0)
        os.umask(mask)
        Path(name).chmod(0o666 & ~mask)
        Path(name).replace(path)
    finally:
        Path(name).unlink(missing_ok=True)
    return path


def read_forecast(directory: Path) -> Forecast | None:
    """Read the forecast beside a plan; None if there is none of this schema."""
    try:
        with (directory / FILE).open("rb") as file:
            plain = yaml.load(file, Loader=Loader)  # noqa: S506 - the safe loader, in C where there is one
        return Forecast.from_dict(plain) if plain["schema"] == SCHEMA else None
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError):
        return None


__all__ = [
    "FILE",
    "SCHEMA",
    "Estimate",
    "Forecast",
    "Line",
    "Place",
    "Room",
    "make_forecast",
    "read_forecast",
    "write_forecast",
]
