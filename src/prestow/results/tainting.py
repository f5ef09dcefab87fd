"""Datasets marked as bad, and all that they touched: by run, task and type, with those that are released."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, cast

import polars as pl

from prestow.errors import Problem, ProjectError
from prestow.model import DataId
from prestow.registry.following import plain_rows
from prestow.results.finding import Only, find
from prestow.results.lineage import Point, data_id_text
from prestow.results.naming_words import parse_dataset
from prestow.results.resolving import find_dataset

if TYPE_CHECKING:
    from prestow.registry import Registry
    from prestow.results.recorded import Recorded

FEW = 3
"""Products of a group that are named."""

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Bad:
    """One dataset that is, or would be, tainted."""

    id: str
    type: str
    data_id: str
    run: str
    because: str = ""
    released: bool = False

    def __str__(self) -> str:
        return f"{self.type}{{{DataId.from_json(self.data_id)}}}"

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "id": self.id, "type": self.type, "data_id": dict(DataId.from_json(self.data_id)), "run": self.run,
            "because": self.because, "released": self.released,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Touched:
    """Products of one type that a task made in one run from what is bad.

    Parameters
    ----------
    released : bool
        The run is frozen: they cannot be changed, and are told of alone.
    first : tuple of str
        Some of them.
    """

    run: str
    task: str
    type: str
    ids: tuple[str, ...] = field(repr=False)
    released: bool = False
    first: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "run": self.run, "task": self.task, "type": self.type, "count": len(self.ids), "released": self.released,
            "first": list(self.first), "ids": list(self.ids),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Unknown:
    """Where it cannot be followed here what was made from what.

    Parameters
    ----------
    cut : int
        Quanta that used what is neither here, nor made by anything here.
    count : int
        Products of which nothing here tells whether they go back to what is asked about.
    first : tuple of str
        Some of them.
    """

    cut: int = 0
    count: int = 0
    first: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {"cut": self.cut, "products": self.count, "first": list(self.first)}


@dataclass(frozen=True, slots=True)
class Taint:
    """What was marked, or only looked at, and what it touched.

    Parameters
    ----------
    datasets : tuple of Bad
        What is tainted.
    touched : tuple of Touched
        What was made from it, at any depth, as far as it is taken in.
    changed : int
        How many of ``datasets`` were marked, or freed of it, just now.
    unknown : Unknown
        Of what it is not known here whether it was made from it.
    """

    datasets: tuple[Bad, ...]
    touched: tuple[Touched, ...]
    changed: int = 0
    unknown: Unknown = field(default_factory=Unknown)

    @property
    def contaminated(self) -> int:
        """How many products were made from what is bad."""
        return sum(len(group.ids) for group in self.touched)

    @property
    def released(self) -> int:
        """How many of them are in a frozen run."""
        return sum(len(group.ids) for group in self.touched if group.released)

    @property
    def runs(self) -> tuple[str, ...]:
        """The runs that they are in."""
        return tuple(dict.fromkeys(group.run for group in self.touched))

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "datasets": [one.as_dict() for one in self.datasets], "contaminated": self.contaminated,
            "released": self.released, "changed": self.changed, "touched": [group.as_dict() for group in self.touched],
            "unknown": self.unknown.as_dict(),
        }  # fmt: skip


def tainted(registry: Registry) -> Taint:
    """Give all that is tainted, and all that it touched."""
    reasons = registry.tainting.reasons()
    return Taint(
        _described(registry, reasons),
        _touched(registry, list(reasons)),
        unknown=_unknown(registry, list(reasons)),
    )


def touched_by(
    recorded: Recorded, registry: Registry, words: Sequence[str], *, run: str | None = None
) -> Taint:
    """Give the datasets that some words mean, and what was made from them; nothing is marked.

    Raises
    ------
    ProjectError
        PST-G012 if nothing of this name is taken in, PST-G014 if several runs have it, PST-T021 if the words name
        a dataset type alone.
    """
    ids = _meant(recorded, registry, words, run)
    reasons = registry.tainting.reasons(ids)
    return Taint(
        _described(registry, {key: reasons.get(key, "") for key in ids}),
        _touched(registry, ids),
        unknown=_unknown(registry, ids),
    )


def _meant(recorded: Recorded, registry: Registry, words: Sequence[str], run: str | None) -> list[bytes]:
    named = parse_dataset(words, recorded.universe)
    if named.kind != "dataset":
        point = find_dataset(recorded, words, run=run).point
        return [_known(registry, point, " ".join(words))]
    if not dict(named.data_id) and recorded.sources.type_of(named.type).dimensions:
        what = f"'{named.type}' alone is every dataset of that type"
        raise ProjectError(Problem("PST-T021", what, "", f"say which: '{named.type}{{k=v,…}}'"))
    found = find(
        recorded.sources, named.type, "", named.data_id.items(), runs=None if run is None else [run], only=Only.MADE
    )  # fmt: skip
    if not found.total:
        what = f"no dataset {named} is taken in"
        raise ProjectError(
            Problem("PST-G012", what, "; ".join(found.notes), f"see: prestow find {named.type}")
        )
    runs = sorted(set(found.frame["run"].to_list()))
    if len(runs) > 1:
        what = f"several runs have {named}"
        raise ProjectError(Problem("PST-G014", what, f"runs: {', '.join(runs)}", "say which: --run NAME"))
    return [uuid.UUID(text).bytes for text in found.frame["id"].to_list()]


def _known(registry: Registry, point: Point | None, words: str) -> bytes:
    key = None if point is None or not point.type else uuid.UUID(point.id).bytes
    if key is None or not registry.following.datasets([key]).num_rows:
        what = "only a dataset that is taken in can be tainted"
        raise ProjectError(Problem("PST-T020", what, words, "take it in first: prestow ingest"))
    return key


def _described(registry: Registry, reasons: Mapping[bytes, str]) -> tuple[Bad, ...]:
    frozen = set(registry.frozen.names())
    rows = plain_rows(registry.following.datasets(list(reasons)))
    return tuple(
        Bad(
            row["id"], row["type"], data_id_text(row["data_id"]), row["run"],
            reasons[uuid.UUID(row["id"]).bytes], row["run"] in frozen,
        )
        for row in rows
    )  # fmt: skip


def _touched(registry: Registry, ids: Sequence[bytes]) -> tuple[Touched, ...]:
    frame = cast("pl.DataFrame", pl.from_arrow(registry.tainting.touched(ids)))
    if not frame.height:
        return ()
    frame = frame.with_columns(pl.col("id").cast(pl.Binary))
    keys = ["run", "task", "type", "frozen"]
    groups = frame.group_by(keys, maintain_order=True).agg("id")
    first = {key for ids in groups["id"].to_list() for key in ids[:FEW]}
    names = {
        row["id"]: f"{row['type']}{{{DataId.from_json(data_id_text(row['data_id']))}}}"
        for row in plain_rows(registry.following.datasets(first))
    }
    return tuple(
        Touched(run, task, kind, texts := tuple(str(uuid.UUID(bytes=key)) for key in members), bool(frozen),
                tuple(names[text] for text in texts[:FEW]))
        for run, task, kind, frozen, members in groups.iter_rows()
    )  # fmt: skip


def _unknown(registry: Registry, ids: Sequence[bytes]) -> Unknown:
    tainting = registry.tainting
    products = tainting.products(tainting.unknown(ids))
    rows = plain_rows(registry.following.datasets(products[:FEW])) if products else []
    first = tuple(f"{row['type']}{{{DataId.from_json(data_id_text(row['data_id']))}}}" for row in rows)
    return Unknown(len(tainting.cut) if ids else 0, len(products), first)


def records_of(found: Taint) -> Iterator[dict[str, Any]]:  # Any: JSON values
    """Give the facts of the records of what is to be marked."""
    for one in found.datasets:
        yield {
            "dataset": one.id, "type": one.type, "data_id": dict(DataId.from_json(one.data_id)), "run": one.run
        }  # fmt: skip
