"""Why a job reads what it reads under one connection: what was chosen, and what was not, and why not."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.errors import Problem, ProjectError
from prestow.model.instants import FOREVER, instant, instant_text, interval_text, observation, timeless
from prestow.results.lineage import Point
from prestow.results.reason import FEW, Reason, inputs_text

if TYPE_CHECKING:
    from prestow.pipeline.definition import InputConnection
    from prestow.plan import Plan
    from prestow.registry import Registry
    from prestow.results.recorded import Recorded

Row = Mapping[str, Any]  # Any: values of a row


@dataclass(frozen=True, slots=True)
class _Asked:
    """One quantum and one connection of it, and how its plan looked calibrations up."""

    point: Point
    connection: InputConnection
    moment: int | None
    as_of: int | None
    collections: tuple[str, ...]


def of_connection(recorded: Recorded, points: Sequence[Point], name: str) -> Reason:
    """Say why the quanta of a job read what they read under a connection.

    Raises
    ------
    ProjectError
        PST-G012 if no quantum of the job has such a connection, or there is no plan.
    """
    plan = recorded.plan
    job = points[0].job
    if plan is None:
        what = "without the plan nothing tells how an input was chosen"
        raise ProjectError(Problem("PST-G012", what, f"job {job}", "plan again: prestow plan"))
    tasks = {task.label: task for task in plan.definition.tasks}
    reason = Reason(f"{job} {name}", "", facts={"job": job, "connection": name, "quanta": []})
    known = {c.name for point in points for c in tasks[point.task].inputs}
    if name not in known:
        fix = f"inputs of this job: {', '.join(sorted(known)) or 'none'}"
        raise ProjectError(
            Problem("PST-G012", f"job {job} reads nothing as '{name}'", f"plan {plan.id[:8]}", fix)
        )
    for point in points:
        for connection in tasks[point.task].inputs:
            if connection.name == name:
                _tell(recorded, plan, point, connection, reason)
    states = [one["state"] for one in reason.facts["quanta"]]
    reason.state = ",".join(dict.fromkeys(states))
    reason.following = (
        f"prestow trace {recorded.typed(points[0])} --up" if not reason.following else reason.following
    )
    return reason


def _tell(recorded: Recorded, plan: Plan, point: Point, connection: InputConnection, reason: Reason) -> None:
    steps, told = recorded.reads([point])
    ids = list(dict.fromkeys(s.input for s in steps if s.connection == connection.name))
    inputs = recorded.points(ids, told)
    kind = plan.definition.dataset_types[connection.type]
    planned = connection.type in plan.definition.producers()
    if kind.calibration and not planned and recorded.registry is not None:
        facts = _calibrations(recorded, plan, point, connection, [inputs[i] for i in ids], reason)
    else:
        facts = _plain(plan, point, connection, [inputs[i] for i in ids], reason)
    reason.facts["quanta"].append({"quantum": str(_quantum(point)), **facts})


def _quantum(point: Point) -> str:
    return f"{point.task}{{{','.join(f'{k}={v}' for k, v in point.values.items())}}}"


def _plain(
    plan: Plan, point: Point, connection: InputConnection, inputs: Sequence[Point], reason: Reason
) -> dict[str, Any]:  # Any: JSON values
    """Say that what agrees in its data ID is read."""
    made = connection.type in plan.definition.producers()
    how = (
        "made by this plan"
        if made
        else "first found in " + (", ".join(plan.document["request"]["chain"]) or "no collection")
    )
    reason.lines.append(
        f"{_quantum(point)} reads {inputs_text(len(inputs))} as {connection.name}: {how}, by data ID"
    )
    reason.lines += [f"  {one} = {_name(one.path)}  run {one.run}" for one in inputs[:FEW]]
    if len(inputs) > FEW:
        reason.lines.append(f"  and {len(inputs) - FEW:,} more")
    return {
        "state": "chosen" if inputs else "none",
        "rule": how,
        "chosen": [one.as_dict() for one in inputs],
        "rejected": [],
    }


def _calibrations(
    recorded: Recorded,
    plan: Plan,
    point: Point,
    connection: InputConnection,
    inputs: Sequence[Point],
    reason: Reason,
) -> dict[str, Any]:  # Any: JSON values
    """Say which calibration was chosen by its validity, and why none of the others was."""
    registry = recorded.registry
    assert registry is not None, "asked only where there is one"
    request = plan.document["request"]
    asked = _Asked(
        point,
        connection,
        _moment(registry, point),
        instant(request["as_of"]) if "as_of" in request else None,
        tuple(request.get("calibrations", ())),
    )
    same, others = _history(registry, asked)
    when = "at a moment that is not known" if asked.moment is None else f"at {instant_text(asked.moment)} TAI"
    as_of = "" if asked.as_of is None else f", as known on {instant_text(asked.as_of)}"
    reason.lines.append(f"{_quantum(point)} reads {connection.type} by validity {when}{as_of}:")
    taken = {one.id.replace("-", ""): one for one in inputs}
    chosen = []
    for one in inputs:
        row = _row_of(same, one.id.replace("-", ""), asked)
        chosen.append({**one.as_dict(), **(_facts(row) if row is not None else {})})
        valid = "  what it was valid for is not in the registry any more"
        if row is not None:
            valid = (
                f"  valid {_valid(row)} known since {instant_text(row['known_begin'])}  {row['collection']}"
            )
        reason.lines.append(f"  {one} = {_name(one.path)}{valid}")
    if not inputs:
        reason.lines.append("  none")
    rejected, seen = [], set()
    for row in sorted(same, key=lambda r: (r["valid_begin"], r["known_begin"], r["dataset"])):
        why = _why_not(row, same, taken, asked)
        if row["dataset"] in taken and (why is None or _row_of(same, row["dataset"], asked) is row):
            continue
        word = why or "known only since this plan was made"
        if (row["dataset"], word) not in seen:
            seen.add((row["dataset"], word))
            rejected.append({**_facts(row), "id": row["dataset"], "path": row["path"], "why": word})
    for entry in rejected[:FEW]:
        reason.lines.append(
            f"  rejected: {_name(entry['path'])}  valid {entry['valid']} known since {entry['known_since']}: {entry['why']}"
        )
    if len(rejected) > FEW:
        reason.lines.append(f"  and {len(rejected) - FEW:,} more that were rejected (--json lists them)")
    if others:
        reason.lines.append(f"  {others:,} more {connection.type} have another data ID")
    return {
        "state": "chosen" if inputs else "none", "moment": asked.moment, "as_of": asked.as_of, "chosen": chosen,
        "rejected": rejected, "other_data_ids": others,
    }  # fmt: skip


def _moment(registry: Registry, point: Point) -> int | None:
    """Give when the observation of a quantum began."""
    element = observation(registry.universe, point.values)
    if element is None:
        return None
    record = registry.dimension_record(element, point.values)
    return None if record is None else record["begin"]


def _history(registry: Registry, asked: _Asked) -> tuple[list[dict[str, Any]], int]:  # Any: values of a row
    """Give all that was ever certified for the data ID of a quantum; and how many datasets there are for others."""
    kind = registry.known_type(asked.connection.type)
    table = pl.from_arrow(
        registry.certified.history(asked.connection.type, asked.collections, None, registry.datasets)
    )
    assert isinstance(table, pl.DataFrame)
    values = _values(registry, asked.point)
    names = timeless(registry.universe, kind.dimensions) if kind is not None else ()
    agrees = pl.all_horizontal(pl.lit(value=True), *(pl.col(d) == values[d] for d in names if d in values))
    same = table.filter(agrees).with_columns(pl.col("id").cast(pl.Binary).bin.encode("hex").alias("dataset"))
    return _certifications(same.to_dicts(), asked), table["id"].n_unique() - same["id"].n_unique()


def _values(registry: Registry, point: Point) -> dict[str, Any]:  # Any: of a data ID
    """Give the data ID of a quantum with what it implies."""
    universe = registry.universe
    values: dict[str, Any] = dict(point.values)  # Any: of a data ID
    todo = list(values)
    while todo:
        element = todo.pop()
        implies = universe.dimensions[element].implies
        if not implies or not set(universe.close([element])) <= set(values):
            continue
        record = registry.dimension_record(element, values)
        for implied in implies:
            if implied not in values:
                values[implied] = None if record is None else record[implied]
                todo.append(implied)
    return values


def _certifications(rows: Sequence[Row], asked: _Asked) -> list[dict[str, Any]]:  # Any: values of a row
    """Join what one certification came to: where it was superseded in part, the registry has it in slices.

    Since when and until when it was known is that of the slice of the moment.
    """
    found: list[dict[str, Any]] = []  # Any: values of a row
    order = ("collection", "dataset", "known_begin", "valid_begin")
    for row in sorted(rows, key=lambda r: tuple(r[name] for name in order)):
        last = found[-1] if found else None
        if last and all(last[n] == row[n] for n in order[:3]) and last["valid_end"] == row["valid_begin"]:
            if _valid_then(row, asked):
                last["known_end"] = row["known_end"]
            last["valid_end"] = row["valid_end"]
        else:
            found.append(dict(row))
    return found


def _row_of(rows: Sequence[Row], dataset: str, asked: _Asked) -> Row | None:
    """Give the validity by which a dataset was chosen: of several the one that was known the latest."""
    fits = [r for r in rows if r["dataset"] == dataset and _valid_then(r, asked)]
    fits = [
        r for r in fits if asked.as_of is None or r["known_begin"] <= asked.as_of < r["known_end"]
    ] or fits
    return max(fits, key=lambda r: (r["known_begin"], -r["rank"]), default=None)


def _valid_then(row: Row, asked: _Asked) -> bool:
    return asked.moment is not None and row["valid_begin"] <= asked.moment < row["valid_end"]


def _why_not(row: Row, rows: Sequence[Row], taken: Mapping[str, Point], asked: _Asked) -> str | None:
    """Say why a validity was not the one, or None if it fits as well."""
    if not _valid_then(row, asked):
        return "not valid then"
    if asked.as_of is not None and row["known_begin"] > asked.as_of:
        return f"not yet known on {instant_text(asked.as_of)}"
    ended = row["known_end"] != FOREVER and (asked.as_of is None or row["known_end"] <= asked.as_of)
    if ended:
        later = [
            r
            for r in rows
            if r["known_begin"] == row["known_end"]
            and r["collection"] == row["collection"]
            and _valid_then(r, asked)
        ]
        if later:
            return f"superseded by {_name(later[0]['path'])}"
        return f"taken back on {instant_text(row['known_end'])}"
    ranks = [r["rank"] for r in rows if r["dataset"] in taken]
    if ranks and row["rank"] > min(ranks):
        return "an earlier collection has one"
    return None


def _facts(row: Row) -> dict[str, Any]:  # Any: JSON values
    return {
        "collection": row["collection"], "valid": _valid(row), "valid_begin": row["valid_begin"], "valid_end": row["valid_end"],
        "known_since": instant_text(row["known_begin"]),
        "known_until": None if row["known_end"] == FOREVER else instant_text(row["known_end"]),
    }  # fmt: skip


def _valid(row: Row) -> str:
    return interval_text(row["valid_begin"], row["valid_end"])


def _name(path: str | None) -> str:
    return os.path.basename(path or "") or "?"
