"""What a registry can decide of a selection by itself.

That is own dimensions, what they imply, what a relation joins with them, and their metadata.

The rules are those of the planner: a value follows from the record of the first dimension, in the
order of the universe, that implies it; a name of metadata without its dimension is that of the first
dimension, by name, that has it; a related dimension that is named is joined. What is not known here is NULL, so that whoever knows more decides.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from prestow.model.universe import Universe

EVERYTHING = "(1 = 1)"
"""The condition of an empty selection."""


class Condition(Protocol):
    """A condition in SQL, as `prestow.query.sql.Condition`."""

    @property
    def text(self) -> str:
        """With parameters ``$n``."""

    @property
    def values(self) -> tuple[int | float | str, ...]:
        """Of the parameters."""


class Choice(Protocol):
    """What a registry asks of a selection; `prestow.query.Selection` is one.

    Ingest has a registry and no planner, so that the language itself is not known here.
    """

    @property
    def columns(self) -> tuple[str, ...]:
        """The names it uses."""

    def sql(self, columns: Mapping[str, str], first: int = 1, dialect: str = "sqlite") -> Condition | None:
        """Give it as a condition, by what stands for each name that is known."""


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a statement: joins of tables, a condition or nothing, and its values."""

    joins: str = ""
    condition: str = ""
    values: tuple[int | float | str, ...] = ()


def restriction(
    selection: Choice | None,
    universe: Universe,
    dimensions: Iterable[str],
    *,
    first: int,
    unknown: bool,
    besides: Collection[str] = (),
    dialect: str = "sqlite",
) -> Part:
    """Give what a selection comes to on a table ``g`` that has these dimensions.

    Parameters
    ----------
    first : int
        The number of the first parameter.
    unknown : bool
        Whether rows are kept of which the selection says nothing, or something that depends on what
        is not known here.
    besides : collection of str
        Names in the selection that mean something else than what a registry knows.
    dialect : str
        Whose SQL.

    Raises
    ------
    ValueError
        If it has too many values, and rows of which nothing is known shall not be kept.

    Examples
    --------
    >>> from prestow.naming.universe import load_universe
    >>> from prestow.query import parse_selection
    >>> u = load_universe()
    >>> part = restriction(parse_selection("band = 'r'", u), u, ("visit", "instrument"), first=1, unknown=False)
    >>> part.condition, part.values
    ('(r_dimension_physical_filter."band" = $1)', ('r',))
    """
    if selection is None:
        return Part()
    columns, joins = _reached(universe, dimensions, [c for c in selection.columns if c not in besides])
    found = selection.sql(columns, first, dialect)
    if found is not None and found.text == EVERYTHING:
        return Part()
    if found is None:
        if unknown:
            return Part()
        raise ValueError("the selection has more values than one statement can take")
    text = f"{found.text} IS NOT FALSE" if unknown else found.text
    return Part(joins, text, found.values)


def _reached(
    universe: Universe, dimensions: Iterable[str], names: Iterable[str]
) -> tuple[dict[str, str], str]:
    """Give what stands for each name that the records of these dimensions tell, and the joins it takes."""
    names = tuple(names)
    at = {d: f'g."{d}"' for d in dimensions}
    through: dict[str, str] = {}  # what is joined to have a dimension
    on: dict[str, str] = {}
    for relation, new in _related(universe, tuple(at), names):
        keys = [d for d in universe.close(universe.relations[relation].dimensions) if d in at]
        on[f"relation_{relation}"] = _equal(f"relation_{relation}", keys, at)
        for name in new:
            at[name], through[name] = f'r_relation_{relation}."{name}"', f"relation_{relation}"
    done: set[str] = set()
    while todo := [d for d in universe.dimensions if d in at and d not in done]:
        for element in todo:
            done.add(element)
            keys = list(universe.close([element]))
            if not set(keys) <= set(at):
                continue
            on[f"dimension_{element}"] = _equal(f"dimension_{element}", keys, at)
            for name in universe.dimensions[element].implies:
                if name not in at:
                    at[name], through[name] = f'r_dimension_{element}."{name}"', f"dimension_{element}"
    found: dict[str, str] = {}
    tables: dict[str, None] = {}  # in the order in which they are joined

    def join(table: str) -> None:
        kind, _, name = table.partition("_")
        for key in universe.close([name] if kind == "dimension" else universe.relations[name].dimensions):
            if through.get(key, table) != table:
                join(through[key])
        tables[table] = None

    for name in names:
        if name in at:
            found[name] = at[name]
            if name in through:
                join(through[name])
            continue
        owner, dot, column = name.rpartition(".")
        for element in [owner] if dot else sorted(universe.dimensions):
            if f"dimension_{element}" in on and column in universe.dimensions[element].metadata:
                join(f"dimension_{element}")
                found[name] = f'r_dimension_{element}."{column}"'
                break
    return found, " ".join(f"LEFT JOIN {table} r_{table} ON {on[table]}" for table in tables)


def _equal(table: str, keys: Iterable[str], at: Mapping[str, str]) -> str:
    return " AND ".join(f'r_{table}."{key}" = {at[key]}' for key in keys)


def _related(
    universe: Universe, dimensions: Collection[str], names: Iterable[str]
) -> Iterator[tuple[str, list[str]]]:
    """Give relations that join a dimension which is named with these, and the dimensions they bring."""
    wanted = [name for name in names if name in universe.dimensions]
    there = set(universe.expand(dimensions))
    for name, relation in universe.relations.items():
        for here, other in (relation.between, relation.between[::-1]):
            new = [d for d in universe.close(other) if d not in there]
            if set(here) <= set(dimensions) and any(d in wanted for d in new):
                there.update(new)
                yield name, new
