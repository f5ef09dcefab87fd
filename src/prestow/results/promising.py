"""Promises: inputs that will come, by name and deadline, as records in the store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import polars as pl

from prestow.errors import ConfigurationError, Problem, raise_all
from prestow.instruments.time import tai_from_utc
from prestow.model import DatasetType
from prestow.model.hashing import canonical_json, sha256_hex
from prestow.model.instants import begins
from prestow.model.universe import Universe
from prestow.plan.promising import TIMES, Promised
from prestow.registry import Registry, put_record
from prestow.registry.records import read_records
from prestow.stores import Store

KIND = "promised"


@dataclass(frozen=True, slots=True)
class Promise:
    """One promise as it was made: so many datasets of a type, by a moment in nanoseconds of TAI."""

    key: str
    type: str
    by: int
    datasets: int
    columns: tuple[str, ...]


def now() -> int:
    """Give this moment in nanoseconds of TAI."""
    return tai_from_utc(datetime.fromtimestamp(time.time(), UTC).strftime("%Y-%m-%dT%H:%M:%S"))


def promise(
    store: Store,
    registry: Registry,
    kind: DatasetType,
    data_ids: pl.DataFrame,
    by: int,
    *,
    observed: tuple[int, int] | None = None,
) -> Promise:
    """Record that datasets of a type will be there by a moment; the same again is done once.

    Parameters
    ----------
    data_ids : DataFrame
        A column for each dimension of the type, and for what nobody knows of them yet: what they imply, and
        the visit of an exposure.
    by : int
        The deadline, in nanoseconds of TAI. Of several promises of one dataset the latest counts.
    observed : (begin, end), optional
        When they will be observed, in nanoseconds of TAI: by this calibrations are chosen.

    Raises
    ------
    ConfigurationError
        PST-P055 with everything that is wrong.
    """
    universe = registry.universe
    problems = list(_problems(universe, registry, kind, data_ids, by, observed))
    raise_all(problems, ConfigurationError)
    frame = data_ids.select(sorted(data_ids.columns)).unique().sort(sorted(data_ids.columns))
    facts = {
        "type": kind.name,
        "by": by,
        "observed": None if observed is None else list(observed),
        "columns": list(frame.columns),
        "data_ids": [list(row) for row in frame.iter_rows()],  # a person, or a scheduler, names these
    }
    key = sha256_hex(canonical_json(facts).encode())[:32]
    put_record(store, KIND, key, facts)
    return _of(key, facts)


def _of(key: str, facts: Mapping[str, Any]) -> Promise:  # Any: JSON values
    return Promise(key, facts["type"], facts["by"], len(facts["data_ids"]), tuple(facts["columns"]))


def _problems(
    universe: Universe,
    registry: Registry,
    kind: DatasetType,
    frame: pl.DataFrame,
    by: int,
    observed: tuple[int, int] | None,
) -> Sequence[Problem]:
    found: list[Problem] = []
    where = f"promise of {kind.name}"
    if kind.calibration:
        what = f"'{kind.name}' is a calibration: it counts when it is certified"
        found.append(Problem("PST-P055", what, where, "certify it when it is there: prestow calib certify"))
    if by <= now():
        found.append(Problem("PST-P055", "the deadline is past", "--by", "give a later one"))
    if observed is not None and not observed[0] < observed[1]:
        found.append(Problem("PST-P055", "its observation ends before it begins", "--end", "exchange them"))
    lacking = sorted(set(kind.dimensions) - set(frame.columns))
    if lacking:
        what = f"a {kind.name} has {', '.join(kind.dimensions)}; {', '.join(lacking)} is missing"
        found.append(Problem("PST-P055", what, where, f"add {', '.join(lacking)}"))
        return found
    for element in universe.expand(kind.dimensions):
        keys = list(universe.close([element]))
        if not set(keys) <= set(frame.columns):
            continue
        wanted = [d for d in universe.dimensions[element].implies if d not in frame.columns]
        wanted += [d for d in _observed_as(universe, element) if d not in frame.columns]
        unknown = _unknown(registry, element, keys, frame) if wanted else 0
        if unknown:
            what = (
                f"{unknown} {element} values are known to nobody, and {', '.join(wanted)} is not said of them"
            )
            found.append(Problem("PST-P055", what, where, f"add {', '.join(wanted)}"))
    return found


def _observed_as(universe: Universe, element: str) -> list[str]:
    """Give the observations that one of this kind belongs to: the visit of an exposure."""
    if not begins(universe, element):
        return []
    return [
        other[0]
        for relation in universe.relations.values()
        for own, other in (relation.between, relation.between[::-1])
        if own == (element,) and len(other) == 1 and begins(universe, other[0]) and element != other[0]
        and relation.between[1] == own
    ]  # fmt: skip


def _unknown(registry: Registry, element: str, keys: list[str], frame: pl.DataFrame) -> int:
    there = pl.DataFrame(registry.dimension_records(element))
    if not there.height:
        return frame.select(keys).unique().height
    same = there.select(pl.col(k).cast(frame.schema[k]) for k in keys)
    return frame.select(keys).unique().join(same, on=keys, how="anti").height


def promises(store: Store) -> tuple[Promise, ...]:
    """Give every promise that was made, by deadline."""
    found = [_of(key, facts) for key, facts in read_records(store, KIND)]
    return tuple(sorted(found, key=lambda one: (one.by, one.type, one.key)))


def read_promised(store: Store, universe: Universe) -> Promised:
    """Give all that is promised, for a plan. Of several promises of one dataset the latest deadline counts."""
    frames: dict[str, list[pl.DataFrame]] = {}
    for _, facts in read_records(store, KIND):
        schema = {
            name: pl.Int64 if universe.dimensions[name].type == "int" else pl.String
            for name in facts["columns"]
            if name in universe.dimensions
        }
        frame = pl.DataFrame(facts["data_ids"], schema=schema, orient="row")
        observed = facts["observed"] or (None, None)
        times = [pl.lit(t, pl.Int64).alias(name) for name, t in zip(TIMES, observed, strict=True)]
        frames.setdefault(facts["type"], []).append(
            frame.with_columns(*times, pl.lit(facts["by"], pl.Int64).alias("by"))
        )
    whole = {
        name: pl.concat(parts, how="diagonal").sort("by", descending=True) for name, parts in frames.items()
    }
    return Promised(whole, now())
