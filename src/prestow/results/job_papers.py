"""What is left of the running of a job: log, configuration and environment of each quantum."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prestow.errors import PrestowError
from prestow.formats import open_format
from prestow.results.lineage import Point
from prestow.stores import Store
from prestow.stores.local import local_file

if TYPE_CHECKING:
    from prestow.results.recorded import Recorded

KINDS = ("log", "config", "environment")


@dataclass(frozen=True, slots=True)
class Paper:
    """One thing that was recorded of one quantum.

    Parameters
    ----------
    kind, subject : str
        ``log``, ``config`` or ``environment``; the quantum in words.
    source : str
        Where it stands.
    lines : tuple of str
        For people.
    value : object
        As it was recorded.
    missing : str
        Why there is nothing, and how there would be.
    """

    kind: str
    subject: str
    source: str = ""
    lines: tuple[str, ...] = ()
    value: object = None
    missing: str = ""

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__ if name != "lines"}


@dataclass(frozen=True, slots=True)
class _Found:
    """A quantum with its outputs that the node wrote by itself."""

    point: Point
    prototypes: Mapping[str, Point] = field(default_factory=dict)


def papers(recorded: Recorded, job: str, kind: str) -> tuple[Paper, ...]:
    """Give the log, configuration or environment of each quantum of a job.

    What the pipeline asks for as a prototype (``prototypes: [log, config]``) is a product, and read
    as one; else the attempts' reports tell the end of a failure's log, and the plan the configuration.
    """
    return tuple(_paper(recorded, found, kind) for found in _quanta(recorded, job))


def _quanta(recorded: Recorded, job: str) -> Iterator[_Found]:
    for point in recorded.of_job(job):
        outputs = recorded.points(recorded.outputs_of(point))
        yield _Found(point, {k: p for k in KINDS for p in outputs.values() if p.type == f"{point.task}_{k}"})


def _paper(recorded: Recorded, found: _Found, kind: str) -> Paper:
    point = found.point
    subject = str(Point("", point.task, point.data_id))
    product = found.prototypes.get(kind)
    if product is not None and product.there and recorded.store is not None:
        try:
            value = _read(recorded.store, product)
        except PrestowError as error:
            return Paper(kind, subject, product.path, missing=error.problems[0].what)
        return Paper(kind, subject, f"{product.store}:{product.path}", _lines(kind, value), value)
    return {"log": _log, "config": _config, "environment": _environment}[kind](recorded, point, subject)


def _read(store: Store, product: Point) -> Mapping[str, Any]:  # Any: plain values
    with local_file(store, product.path) as path:
        value: Mapping[str, Any] = open_format(product.format).read(path)
    return value


def _lines(kind: str, value: Mapping[str, Any]) -> tuple[str, ...]:  # Any: plain values
    if kind == "log" and isinstance(value.get("lines"), list):
        return tuple(map(str, value["lines"]))
    if kind == "environment" and isinstance(value.get("packages"), Mapping):
        packages = ", ".join(f"{name} {version}" for name, version in value["packages"].items())
        value = {**value, "packages": packages}
    return tuple(f"{name}: {one}" for name, one in value.items())


def _log(recorded: Recorded, point: Point, subject: str) -> Paper:
    for report, failure in reversed(recorded.failures(point)):
        tail = list(failure.get("log_tail", ()))
        if tail:
            source = f"the end of it, in the report of attempt {str(report.get('attempt', ''))[:8]}"
            return Paper("log", subject, source, tuple(tail), {"lines": tail})
    ask = f"ask for it in the pipeline: tasks.{point.task}.prototypes: [log]; now: prestow debug {point.job} --keep"
    return Paper("log", subject, missing=f"no log was kept; {ask}")


def _config(recorded: Recorded, point: Point, subject: str) -> Paper:
    tasks = recorded.plan.definition.tasks if recorded.plan is not None else ()
    task = next((task for task in tasks if task.label == point.task), None)
    if task is None or recorded.plan is None:
        return Paper(
            "config", subject, missing="the plan is not here, and no configuration was kept as a product"
        )
    value = dict(task.config)
    return Paper(
        "config",
        subject,
        f"plan {recorded.plan.id[:8]}",
        _lines("config", value) or ("nothing is set",),
        value,
    )


def _environment(recorded: Recorded, point: Point, subject: str) -> Paper:
    reports = [r for r in recorded.reports(point.job) if r.get("run", point.run) == point.run]
    mine = [r for r in reports if r.get("attempt") == point.attempt] or list(reports)
    if not mine:
        return Paper("environment", subject, missing="no report of an attempt is left")
    report = mine[-1]
    receipt = recorded.receipt_of(point)
    value = {
        "host": report.get("host"), "versions": report.get("versions", {}), "code": receipt.version if receipt is not None else None,
        "seconds": report.get("seconds"), "cpu_seconds": report.get("cpu_seconds_of_process"), "peak_memory": report.get("peak_memory"),
    }  # fmt: skip
    versions = ", ".join(f"{name} {version}" for name, version in dict(value["versions"] or {}).items())
    lines = (
        f"host {value['host']}", f"versions {versions}", f"code sha256 {value['code'] or 'none'}",
        f"took {value['seconds']} s, CPU {value['cpu_seconds']} s, at most {value['peak_memory']} bytes (its process)",
    )  # fmt: skip
    return Paper(
        "environment", subject, f"the report of attempt {str(report.get('attempt', ''))[:8]}", lines, value
    )
