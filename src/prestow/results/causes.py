"""Why a job, a dataset or a file is as it is: its state in words, the first cause, and what to type next."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

import polars as pl

from prestow.errors import PrestowError, Problem, ProjectError
from prestow.plan.tainted import CONTAMINATED
from prestow.results.calibration_reasons import of_connection
from prestow.results.file_causes import of_dataset, of_file
from prestow.results.lineage import Point, counted
from prestow.results.naming_words import parse_dataset
from prestow.results.point_causes import of_point
from prestow.results.reason import FEW, Reason
from prestow.results.resolving import Found, find_dataset, nearest
from prestow.results.taints import marks_of

if TYPE_CHECKING:
    from prestow.results.recorded import Recorded

__all__ = ["Reason", "why"]


def why(recorded: Recorded, words: Sequence[str], *, run: str | None = None) -> Reason:
    """Say why the job, dataset or file that some words mean is as it is.

    Raises
    ------
    ProjectError
        PST-G012 if nothing knows it, with the nearest names; PST-G014 if several are meant.
    """
    if len(words) == 2 and not set("=/") & set("".join(words)):  # noqa: PLR2004 - a job and an input of it
        points = recorded.of_job(words[0])
        if points:
            return of_connection(recorded, points, words[1])
    job = words[0] if len(words) == 1 else ""
    points = recorded.of_job(job) if job and "/" not in job else []
    if not points:
        try:
            found = find_dataset(recorded, words, run=run)
        except PrestowError as error:
            points, reason = _otherwise(recorded, words, error)
            if reason is not None:
                return reason
        else:
            reason = (
                of_file(recorded, found) if found.file is not None else of_dataset(recorded, _sure(found))
            )
            return _with_taint(recorded, found, reason)
    reasons = [of_point(recorded, point) for point in points]
    if len(reasons) == 1:
        return reasons[0]
    return _joined(points[0].job, points, reasons)


def _with_taint(recorded: Recorded, found: Found, reason: Reason) -> Reason:
    """Say that a dataset is known to be bad, or was made from such."""
    key = found.point.id if found.point is not None and found.point.type else ""
    mark = marks_of(recorded.registry, [key]).get(key) if key else None
    if mark is None or found.point is None:
        return reason
    if mark == CONTAMINATED:
        bad = [p for p in recorded.roots(found.point) if p.id in marks_of(recorded.registry, [p.id])]
        from_what = f", such as {bad[0]}" if bad else ""
        reason.lines.append(f"  contaminated: it was made from what is tainted{from_what}")
    else:
        reason.lines.append(f"  {mark}")
    reason.facts["taint"] = mark
    return reason


def _sure(found: Found) -> Point:
    assert found.point is not None, "what is no file is a dataset"
    return found.point


def _otherwise(
    recorded: Recorded, words: Sequence[str], error: PrestowError
) -> tuple[list[Point], Reason | None]:
    """Look whether words that name no dataset mean a job, or what was left out; else raise the error with a hint."""
    text = " ".join(words)
    if error.problems[0].code not in ("PST-G006", "PST-G007", "PST-G012"):
        raise error
    if recorded.plan is not None and len(words) == 1:
        try:
            number = recorded.plan.find_job(text)
        except PrestowError:
            pass
        else:
            return recorded.of_job(str(recorded.plan.tables["jobs"]["name"][number])), None
    left_out = _left_out(recorded, words)
    if left_out is not None:
        return [], left_out
    if "=" in text or error.problems[0].code == "PST-G012":
        raise error
    raise ProjectError(
        Problem("PST-G012", f"no job, file or dataset '{text}'", _searched(recorded), nearest(recorded, text))
    ) from error


def _searched(recorded: Recorded) -> str:
    places = [f"plan {recorded.plan.id[:8]}"] if recorded.plan is not None else []
    return ", ".join([*places, *(["the registry"] if recorded.registry is not None else [])])


def _left_out(recorded: Recorded, words: Sequence[str]) -> Reason | None:
    """Give the reason why the planner left something out, if it did."""
    if recorded.plan is None:
        return None
    try:
        named = parse_dataset(words, recorded.universe)
    except PrestowError:
        return None
    tasks = [
        task.label for task in recorded.plan.definition.tasks
        if task.label == named.type or any(output.type == named.type for output in task.outputs)
    ]  # fmt: skip
    rows = recorded.plan.tables["left_out"].filter(pl.col("task").is_in(tasks))
    for name, value in named.data_id.items():
        part = json.dumps({name: value}, separators=(",", ":"), ensure_ascii=False)[1:-1]
        rows = rows.filter(
            pl.col("data_id").str.contains(f"{part},", literal=True)
            | pl.col("data_id").str.ends_with(f"{part}}}")
        )
    if not rows.height or not named.data_id:
        return None
    facts = [
        {"task": r["task"], "data_id": json.loads(r["data_id"]), "reason": r["reason"], "detail": r["detail"]}
        for r in rows.head(FEW).iter_rows(named=True)
    ]
    lines = [f"{named}  not planned: left out of plan {recorded.plan.id[:8]}"]
    lines += [
        f"  {f['task']}{{{','.join(f'{k}={v}' for k, v in f['data_id'].items())}}}  {f['reason']}{': ' + f['detail'] if f['detail'] else ''}"
        for f in facts
    ]
    if rows.height > FEW:
        lines.append(f"  and {rows.height - FEW:,} more")
    return Reason(
        str(named), "left_out", lines, {"left_out": facts, "count": rows.height}, "prestow plan --dry-run"
    )


def _joined(job: str, points: Sequence[Point], reasons: Sequence[Reason]) -> Reason:
    """Give one answer for the quanta of a job; what needs no word is one line."""
    bad = [r for p, r in zip(points, reasons, strict=True) if not p.there]
    lines = [f"job {job}: {counted(p.state for p in points)}"]
    for point, reason in zip(points, reasons, strict=True):
        lines += [reason.lines[0]] if point.there else reason.lines
    facts = {"job": job, "quanta": [r.as_dict() for r in reasons]}
    states = ",".join(dict.fromkeys(p.state for p in points))
    return Reason(job, states, lines, facts, (bad or reasons)[0].following)
