"""The universe: which dimensions there are, what they require and imply, and their aliases."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, NewType

from prestow.errors import ConfigurationError, Problem
from prestow.model.data_id import DataId, check_value
from prestow.model.hashing import Scalar, canonical_json

RawDataId = NewType("RawDataId", dict[str, object])
"""What a person typed: names may be aliases, values may be text. Cannot name a file."""

ValueType = Literal["int", "str", "float", "bool", "time"]
"""Types of dimension values (int, str) and of metadata; time is TAI, int64 nanoseconds."""


@dataclass(frozen=True, slots=True)
class Dimension:
    """An axis of identity.

    Parameters
    ----------
    name, type : str
        Type is ``int`` or ``str``.
    requires : tuple of str
        Dimensions whose values a value of this one needs to be unique, closed.
    implies : tuple of str
        Dimensions whose values follow from one of this one (by its record); may be null.
    aliases : tuple of str
        Other names a person may type.
    metadata : mapping of str to ValueType
        Further columns of this dimension's records.
    date : bool
        Whether its integers are days as YYYYMMDD, so that a person may write '2026-11-21'.
    """

    name: str
    type: Literal["int", "str"]
    requires: tuple[str, ...] = ()
    implies: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    metadata: Mapping[str, ValueType] = field(default_factory=dict)
    date: bool = False


@dataclass(frozen=True, slots=True)
class Relation:
    """A named many-to-many table between two sides: dimensions, and what they require.

    Parameters
    ----------
    name : str
        Its name.
    between : pair of tuples of str
        The two sides, each one dimension or more.
    version : int
        Raised when the way its rows are found changes.
    metadata : mapping of str to ValueType
        Columns of a row besides the keys of both sides, such as a ``separation`` on the sky.

    Examples
    --------
    >>> overlap = Relation("sky_overlap", (("visit", "detector"), ("patch",)))
    >>> overlap.dimensions
    ('visit', 'detector', 'patch')
    """

    name: str
    between: tuple[tuple[str, ...], tuple[str, ...]]
    version: int = 1
    metadata: Mapping[str, ValueType] = field(default_factory=dict)

    @property
    def dimensions(self) -> tuple[str, ...]:
        """The dimensions of both sides, in their order."""
        return self.between[0] + self.between[1]

    def plain(self) -> list[object]:
        """Give the relation as plain values: its name and sides, and the rest only where it says more."""
        sides = [side[0] if len(side) == 1 else list(side) for side in self.between]
        more = [self.version, dict(sorted(self.metadata.items()))]
        return [self.name, *sides, *(more if more != [1, {}] else ())]


@dataclass(frozen=True, slots=True)
class Universe:
    """All dimensions and relations, in the order of their file.

    Examples
    --------
    >>> u = Universe("toy", 1, {
    ...     "instrument": Dimension("instrument", "str"),
    ...     "band": Dimension("band", "str"),
    ...     "visit": Dimension("visit", "int", ("instrument",), ("band",)),
    ...     "detector": Dimension("detector", "int", ("instrument",), aliases=("ccd",)),
    ... }, {})
    >>> u.close(["visit"]), u.expand(["visit"])
    (('instrument', 'visit'), ('band', 'instrument', 'visit'))
    >>> str(u.normalise(RawDataId({"ccd": "004", "instrument": "sim"})))
    'detector=4,instrument=sim'
    """

    name: str
    version: int
    dimensions: Mapping[str, Dimension]
    relations: Mapping[str, Relation]

    def canonical(self, name: str) -> str | None:
        """Give the dimension that a name or alias means, or None."""
        if name in self.dimensions:
            return name
        for dimension in self.dimensions.values():
            if name in dimension.aliases:
                return dimension.name
        return None

    def suggest(self, name: str) -> str:
        """Give a hint with the nearest known names, for an error."""
        known = [*self.dimensions, *(a for d in self.dimensions.values() for a in d.aliases)]
        near = difflib.get_close_matches(name, known, 1)
        return f"did you mean '{near[0]}'?" if near else f"known: {', '.join(self.dimensions)}"

    def close(self, names: Iterable[str]) -> tuple[str, ...]:
        """Give the dimensions with all they require, sorted by name.

        Raises
        ------
        ConfigurationError
            If a name is not a dimension.
        """
        found: set[str] = set()
        for name in names:
            if name not in self.dimensions:
                raise ConfigurationError(
                    Problem("PST-C023", f"unknown dimension '{name}'", fix=self.suggest(name))
                )
            found.add(name)
            found.update(self.dimensions[name].requires)
        return tuple(sorted(found))

    def expand(self, names: Iterable[str]) -> tuple[str, ...]:
        """Give the dimensions with all they require and imply, sorted by name."""
        found = set(self.close(names))
        todo = list(found)
        while todo:
            for implied in self.dimensions[todo.pop()].implies:
                for name in self.close([implied]):
                    if name not in found:
                        found.add(name)
                        todo.append(name)
        return tuple(sorted(found))

    def normalise(self, raw: RawDataId, dimensions: Iterable[str] | None = None) -> DataId:
        """Turn what a person typed into a data ID: aliases resolved, types converted.

        Parameters
        ----------
        raw : RawDataId
            For example ``{"ccd": "004"}``.
        dimensions : iterable of str, optional
            If given, exactly these (closed) must be there; else any.

        Raises
        ------
        ConfigurationError
            With every problem found: unknown or repeated names, wrong types, missing values.
        """
        problems: list[Problem] = []
        values: dict[str, Scalar] = {}
        for typed, value in raw.items():
            name = self.canonical(typed)
            if name is None:
                problems.append(
                    Problem("PST-C023", f"unknown dimension '{typed}'", "data ID", self.suggest(typed))
                )
                continue
            if name in values:
                problems.append(Problem("PST-C026", f"'{typed}' gives {name} twice", "data ID"))
                continue
            converted = self.convert(name, value)
            if isinstance(converted, Problem):
                problems.append(converted)
            else:
                values[name] = converted
        if dimensions is not None and not problems:
            wanted = self.close(dimensions)
            problems += [
                Problem("PST-C026", f"no value for {n}", f"data ID {_typed(values)}", f"add {n}=…")
                for n in wanted
                if n not in values
            ]
            problems += [
                Problem(
                    "PST-C026", f"{n} does not belong here", f"data ID {_typed(values)}", f"leave out {n}"
                )
                for n in values
                if n not in wanted
            ]
        if problems:
            raise ConfigurationError(*problems)
        return DataId(values)

    def convert(self, name: str, value: object) -> Scalar | Problem:
        """Give a value in the type of a dimension, or the problem with it."""
        dimension = self.dimensions[name]
        result: Scalar
        if dimension.type == "int":
            try:
                if isinstance(value, bool) or not isinstance(value, int | str):
                    raise ValueError  # noqa: TRY004, TRY301 - one place says what is wrong
                result = int(value)
            except ValueError:
                return Problem("PST-C026", f"{name} must be an integer, not {value!r}", "data ID")
        else:
            if not isinstance(value, str):
                return Problem("PST-C026", f"{name} must be text, not {value!r}", "data ID")
            result = value.strip()
        wrong = check_value(result)
        return Problem("PST-C026", f"{name} {wrong}: {value!r}", "data ID") if wrong else result

    def canonical_text(self) -> str:
        """Give the logical content as one text, for a plan's hash."""
        return canonical_json(
            {
                "name": self.name,
                "version": self.version,
                "dimensions": [
                    [d.name, d.type, sorted(d.requires), sorted(d.implies), dict(d.metadata)]
                    for _, d in sorted(self.dimensions.items())
                ],
                "relations": [r.plain() for _, r in sorted(self.relations.items())],
            }
        )


def _typed(values: Mapping[str, str | int]) -> str:
    """Give values as a person types them."""
    return " ".join(f"{name}={value}" for name, value in values.items())
