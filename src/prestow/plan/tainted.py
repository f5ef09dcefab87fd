"""Existing inputs that are known to be bad, or were made from such: left out, or taken and told of."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, cast

import polars as pl

from prestow.naming.identity import data_id_json
from prestow.plan.state import LeftOut, State

if TYPE_CHECKING:
    import pyarrow as pa

TAINTED, CONTAMINATED = "tainted", "contaminated"
EXAMPLES = 1000  # rows of left_out kept; the count is always whole
FEW = 5


class Taints(Protocol):
    """What is asked of a registry; `prestow.registry.tainting.Tainting` is one."""

    def reasons(self) -> Mapping[bytes, str]:
        """Give why datasets are tainted."""

    def touched(self, ids: Collection[bytes]) -> pa.Table:
        """Give what was made from these, with ``id``."""


@dataclass(frozen=True, slots=True)
class Tainted:
    """What is tainted or contaminated when a plan is made.

    Parameters
    ----------
    frame : DataFrame
        ``id``, ``why`` (``tainted`` or ``contaminated``), ``because``.
    taken : bool
        It is taken all the same, because a person said so.
    """

    frame: pl.DataFrame = field(compare=False, repr=False)
    taken: bool = False


def read_tainted(taints: Taints, *, taken: bool = False) -> Tainted | None:
    """Give all that is tainted or contaminated, or None where nothing is."""
    reasons = taints.reasons()
    if not reasons:
        return None
    bad = pl.DataFrame(
        {"id": list(reasons), "why": TAINTED, "because": list(reasons.values())},
        schema={"id": pl.Binary, "why": pl.String, "because": pl.String},
    )
    touched = cast("pl.DataFrame", pl.from_arrow(taints.touched(list(reasons))))
    made = touched.select(
        pl.col("id").cast(pl.Binary), pl.lit(CONTAMINATED).alias("why"), pl.lit("made from what is tainted").alias("because")
    )  # fmt: skip
    return Tainted(pl.concat([bad, made]).unique("id", keep="first", maintain_order=True), taken)


def leave_tainted_out(state: State) -> State:
    """Take out what is tainted or contaminated, and count it; or leave it in, and tell that it is in.

    A tainted calibration keeps its row, and is valid never.
    """
    known = state.request.tainted
    if known is None:
        return state
    existing, whole, calibrations = dict(state.existing), dict(state.whole), dict(state.calibrations)
    found: list[tuple[str, pl.DataFrame]] = []
    for name, frame in state.existing.items():
        marked = _marked(frame, known)
        bad = marked["_why"].is_not_null()
        if not bad.any():
            continue
        found.append((name, marked.filter(bad)))
        if known.taken:
            continue
        if name in calibrations:
            rows = bad.arg_true().implode()
            calibrations[name] = calibrations[name].filter(~pl.col("dataset").is_in(rows))
        else:
            existing[name] = frame.filter(~bad)
    for name, frame in state.whole.items():
        if not known.taken:
            whole[name] = frame.filter(_marked(frame, known)["_why"].is_null())
    told = {"taken": known.taken, **_counts(state, found)}
    if known.taken or found:
        state = replace(state, told={**state.told, "tainted": told})
    if known.taken:
        return replace(state, warnings=(*state.warnings, *_warnings(told)))
    return replace(
        state,
        existing=existing,
        whole=whole,
        calibrations=calibrations,
        left_out=(*state.left_out, *_left_out(state, found)),
    )


def _marked(frame: pl.DataFrame, known: Tainted) -> pl.DataFrame:
    marks = known.frame.select(
        pl.col("id").alias("_id"), pl.col("why").alias("_why"), pl.col("because").alias("_because")
    )
    return frame.join(marks, on="_id", how="left", maintain_order="left")


def _left_out(state: State, found: Iterable[tuple[str, pl.DataFrame]]) -> list[LeftOut]:
    readers: dict[str, str] = {}
    for reader in state.request.pipeline.tasks:
        for connection in reader.inputs:
            readers.setdefault(connection.type, reader.label)
    counts: dict[tuple[str, str], int] = {}
    shown: dict[tuple[str, str], list[pl.DataFrame]] = {}
    for name, marked in found:
        for why in (TAINTED, CONTAMINATED):
            rows = marked.filter(pl.col("_why") == why)
            if rows.height:
                key = readers[name], why
                counts[key] = counts.get(key, 0) + rows.height
                shown.setdefault(key, []).append(_examples(state, name, rows.head(EXAMPLES)))
    return [
        LeftOut(task, why, number, pl.concat(shown[task, why]).head(EXAMPLES))
        for (task, why), number in counts.items()
    ]


def _examples(state: State, name: str, rows: pl.DataFrame) -> pl.DataFrame:
    dimensions = state.request.pipeline.dataset_types[name].dimensions
    detail = pl.format("{}: {}", pl.lit(name), "_because").alias("detail")
    return rows.select(data_id_json(dimensions, rows.schema), detail)


def _counts(state: State, found: Iterable[tuple[str, pl.DataFrame]]) -> dict[str, Any]:  # Any: plain values
    counts: dict[str, Any] = {TAINTED: 0, CONTAMINATED: 0, "first": []}
    for name, marked in found:
        for why, number in marked.group_by("_why").len().iter_rows():
            counts[why] += number
        first = _examples(state, name, marked.head(FEW - len(counts["first"])))
        counts["first"] += [
            {"type": name, "data_id": data_id, "because": detail.removeprefix(f"{name}: ")}
            for data_id, detail in first.iter_rows()
        ]
    return counts


def _warnings(told: Mapping[str, Any]) -> list[str]:  # Any: plain values
    taken = [f"{told[why]:,} {why}" for why in (TAINTED, CONTAMINATED) if told[why]]
    return [f"{' and '.join(taken)} inputs are taken, as asked for (--with-tainted)"] if taken else []
