"""The normal form of a data ID that a person typed, and where each of its values came from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from prestow.errors import ConfigurationError, Problem, ProjectError, raise_all
from prestow.model import DataId, DatasetType
from prestow.model.universe import Universe
from prestow.results.naming_words import merge

Values = Mapping[str, str | int]


class Records(Protocol):
    """What is asked of a registry; `prestow.registry.Registry` is one."""

    def dimension_record(self, element: str, key: Values) -> dict[str, Any] | None:
        """Give the one record at a key, or None."""

    def only_value(self, element: str, given: Values) -> str | int | None:
        """Give the one value that a dimension has beside what is given, or None."""


class Origin(StrEnum):
    """Where a value came from."""

    GIVEN = "given"
    ALIAS = "alias"  # given under another name
    CONVERTED = "converted"  # given in another spelling
    CONSTANT = "constant"  # there is only one
    LOOKED_UP = "looked up"  # implied by another value, as its record says


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a data ID.

    Parameters
    ----------
    name : str
        The dimension.
    value : str or int
        In the dimension's type.
    origin : Origin
        Where it came from.
    detail : str
        What was typed, or the record.
    """

    name: str
    value: str | int
    origin: Origin
    detail: str

    def as_dict(self) -> dict[str, str | int]:
        """Give it as plain values."""
        return {"name": self.name, "value": self.value, "origin": str(self.origin), "detail": self.detail}


@dataclass(frozen=True, slots=True)
class Identified:
    """A data ID in its normal form.

    Parameters
    ----------
    data_id : DataId
        What was given and what that requires; for a dataset type, what the type has.
    values : tuple of Value
        Every value known, also those that are only implied, by name.
    missing : tuple of str
        Dimensions of the type for which there is no value.
    steps : tuple of str
        Each rule that fired, in order.
    type : str
        The dataset type, or empty.
    """

    data_id: DataId
    values: tuple[Value, ...]
    missing: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    type: str = ""

    def __str__(self) -> str:
        return f"{self.type}{{{self.data_id}}}" if self.type else str(self.data_id)

    def as_dict(self) -> dict[str, object]:
        """Give it as plain values."""
        return {
            "type": self.type or None,
            "data_id": dict(self.data_id),
            "values": [value.as_dict() for value in self.values],
            "missing": list(self.missing),
            "steps": list(self.steps),
        }


def identify(
    pairs: Iterable[tuple[str, object]],
    universe: Universe,
    records: Records,
    kind: DatasetType | None = None,
) -> Identified:
    """Give the normal form of names and values that a person typed.

    Aliases are resolved, values take the types of their dimensions, what a dimension requires and
    has only one value is filled in, and what is implied is looked up. Doing it again with what came
    out changes nothing.

    Parameters
    ----------
    pairs : iterable of (name, value)
        As typed, in order.
    records : Registry
        Where implied values are looked up.
    kind : DatasetType, optional
        For a data ID of this type.

    Raises
    ------
    ConfigurationError
        With every unknown name and wrong value.
    ProjectError
        PST-G008 if values contradict each other or a record, or do not belong to the type.
    """
    typed = list(pairs)
    found, problems = merge(typed, universe)
    raise_all(problems, _kind_of(problems))
    work = _Work(universe, records)
    for name, (written, value) in found.items():
        work.take(name, value, written, _typed_value(typed, written))
    raise_all(_strange(found, kind, universe), ProjectError)
    work.fill(kind.dimensions if kind is not None else universe.close(found))
    work.look_up()
    raise_all(work.problems, ProjectError)
    return work.result(kind, found)


class _Work:
    """What is known so far, and how it came to be known."""

    def __init__(self, universe: Universe, records: Records) -> None:
        self.universe = universe
        self.records = records
        self.known: dict[str, Value] = {}
        self.steps: list[str] = []
        self.problems: list[Problem] = []

    @property
    def plain(self) -> dict[str, str | int]:
        return {name: value.value for name, value in self.known.items()}

    def take(self, name: str, value: str | int, written: str, text: object) -> None:
        origin, detail = Origin.GIVEN, f"{written}={text}"
        if str(value) != str(text):
            origin = Origin.CONVERTED
            kind = "an integer" if isinstance(value, int) else "text without blanks around it"
            self.steps.append(f"type: {name} is {kind}, so {text!r} is {value!r}")
        if written != name:
            origin = Origin.ALIAS
            self.steps.insert(len(self.steps), f"alias: {written} means {name}")
        if origin is Origin.GIVEN:
            self.steps.append(f"given: {name}={value}")
        self.known[name] = Value(name, value, origin, detail)

    def fill(self, wanted: Sequence[str]) -> None:
        """Fill in what others require and of which there is only one, such as the instrument."""
        required = {r for name in {*wanted, *self.known} for r in self.universe.close([name]) if r != name}
        for name in self.universe.dimensions:
            if name not in required or name in self.known:
                continue
            only = self.records.only_value(name, self.plain)
            if only is None:
                self.steps.append(f"not filled in: {name}, the registry has none, or several")
                continue
            self.known[name] = Value(name, only, Origin.CONSTANT, f"the registry has one {name}")
            self.steps.append(f"constant: {name}={only}, because the registry has one {name}")

    def look_up(self) -> None:
        """Add what is implied, also through others, and compare it with what was given."""
        done: set[str] = set()
        while todo := [e for e in self.universe.dimensions if e not in done and self._ready(e)]:
            for element in todo:
                done.add(element)
                self._one_record(element)

    def _ready(self, element: str) -> bool:
        implies = self.universe.dimensions[element].implies
        return bool(implies) and set(self.universe.close([element])) <= set(self.known)

    def _one_record(self, element: str) -> None:
        key = {name: self.known[name].value for name in self.universe.close([element])}
        shown = f"{element}{{{DataId(key)}}}"
        record = self.records.dimension_record(element, key)
        if record is None:
            self.steps.append(f"not looked up: there is no record {shown}")
            return
        for name in self.universe.dimensions[element].implies:
            value = record[name]
            if value is None:
                self.steps.append(f"looked up: the record {shown} has no {name}")
            elif name not in self.known:
                self.known[name] = Value(name, value, Origin.LOOKED_UP, shown)
                self.steps.append(f"looked up: {name}={value}, in the record {shown}")
            elif self.known[name].value == value:
                self.steps.append(f"agrees: {name}={value}, with the record {shown}")
            else:
                given = self.known[name]
                what = f"{given.detail} contradicts the record {shown}: its {name} is {value}"
                by = self.known[element]
                where = (
                    f"{element}={by.value}, from {by.detail}" if by.origin is Origin.LOOKED_UP else "data ID"
                )
                fix = f"write {name}={value}, or leave it out"
                self.problems.append(Problem("PST-G008", what, where, fix))

    def result(self, kind: DatasetType | None, found: Mapping[str, object]) -> Identified:
        values = tuple(self.known[name] for name in sorted(self.known))
        wanted = self.universe.close(found) if kind is None else kind.dimensions
        for name in sorted(set(found) - set(wanted)):
            self.steps.append(
                f"left out: {name} follows from the rest, and is no dimension of {kind and kind.name}"
            )
        data_id = DataId({name: self.known[name].value for name in wanted if name in self.known})
        missing = tuple(name for name in wanted if name not in self.known)
        return Identified(data_id, values, missing, tuple(self.steps), kind.name if kind else "")


def _typed_value(pairs: Sequence[tuple[str, object]], written: str) -> object:
    return next(value for name, value in pairs if name == written)


def _kind_of(problems: Sequence[Problem]) -> type[ConfigurationError | ProjectError]:
    return ProjectError if problems and problems[0].code == "PST-G008" else ConfigurationError


def _strange(found: Iterable[str], kind: DatasetType | None, universe: Universe) -> list[Problem]:
    """Find what neither is a dimension of the type nor follows from one."""
    if kind is None:
        return []
    follows = universe.expand(kind.dimensions)
    return [not_of(name, kind, follows) for name in found if name not in follows]


def not_of(name: str, kind: DatasetType, others: Iterable[str], relation: str | None = None) -> Problem:
    """Give the problem that a type has no such dimension, with those it has; ``relation`` has no rows."""
    has = ", ".join(kind.dimensions) or "no dimensions at all"
    more = ", ".join(sorted(set(others) - set(kind.dimensions)))
    also = f"; and by them {more}" if more else ""
    why = f": the relation {relation}, which could join them, has no rows" if relation else ""
    return Problem("PST-G008", f"{kind.name} has no {name}{why}", "data ID", f"it has {has}{also}")
