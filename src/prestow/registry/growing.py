"""A registry whose universe has grown since it was made: which tables and columns it lacks, and what cannot be.

A universe may gain dimensions, relations and metadata. Whatever identifies what is there already stays:
the type of a dimension, what it requires and implies, and the sides of a relation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from prestow.model.universe import Universe, ValueType
from prestow.registry import schema
from prestow.registry.database import Dialect


@dataclass(frozen=True, slots=True)
class Growth:
    """What a registry lacks of a universe.

    Parameters
    ----------
    statements : tuple of str
        That make it.
    told : tuple of str
        What each comes to, for a person.
    obstacles : tuple of str
        Why it cannot be.
    """

    statements: tuple[str, ...] = ()
    told: tuple[str, ...] = ()
    obstacles: tuple[str, ...] = ()


def growth(made_with: str, universe: Universe, dialect: Dialect) -> Growth:
    """Compare the canonical text of the universe that a registry was made with to today's.

    Examples
    --------
    >>> from prestow.model.universe import Dimension
    >>> old = Universe("toy", 1, {"band": Dimension("band", "str")}, {})
    >>> new = Universe("toy", 2, {"band": Dimension("band", "str", metadata={"blue": "float"})}, {})
    >>> growth(old.canonical_text(), new, "sqlite").statements
    ('ALTER TABLE dimension_band ADD COLUMN blue DOUBLE',)
    >>> growth(new.canonical_text(), old, "sqlite").obstacles
    ("dimension 'band' has lost the column 'blue'",)
    """
    if made_with == universe.canonical_text():
        return Growth()
    old = json.loads(made_with)
    if old["name"] != universe.name:
        return Growth(obstacles=(f"it is the universe '{universe.name}', not '{old['name']}'",))
    statements: list[str] = []
    told: list[str] = []
    obstacles: list[str] = []
    known = schema.tables(universe, dialect)

    def new(table: str, what: str) -> None:
        statements.extend(known[table])
        told.append(f"{what} is new")

    def more(table: str, what: str, before: Mapping[str, str], now: Mapping[str, ValueType]) -> None:
        obstacles.extend(f"{what} has lost the column '{name}'" for name in before if name not in now)
        obstacles.extend(
            f"{what}: the column '{name}' is {now[name]} now, and was {kind}"
            for name, kind in before.items()
            if now.get(name, kind) != kind
        )
        for name, kind in now.items():
            if name not in before:
                statements.append(schema.new_column(table, name, kind, dialect))
                told.append(f"{what} has a new column '{name}', which is empty for what is there")

    dimensions = {d[0]: d for d in old["dimensions"]}
    obstacles += [f"dimension '{name}' is gone" for name in dimensions if name not in universe.dimensions]
    for name, dimension in universe.dimensions.items():
        if name not in dimensions:
            new(f"dimension_{name}", f"dimension '{name}'")
            continue
        _, *before, metadata = dimensions[name]
        if before != [dimension.type, sorted(dimension.requires), sorted(dimension.implies)]:
            obstacles.append(f"dimension '{name}' has another type, or requires or implies others")
        more(f"dimension_{name}", f"dimension '{name}'", metadata, dimension.metadata)
    relations = {r[0]: r for r in old["relations"]}
    obstacles += [f"relation '{name}' is gone" for name in relations if name not in universe.relations]
    for name, relation in universe.relations.items():
        if name not in relations:
            new(f"relation_{name}", f"relation '{name}'")
            continue
        sides, metadata = relations[name][1:3], _facts(relations[name])
        if sides != relation.plain()[1:3]:
            obstacles.append(f"relation '{name}' has other sides")
        more(f"relation_{name}", f"relation '{name}'", metadata, relation.metadata)
    return Growth(tuple(statements), tuple(told), tuple(obstacles))


def _facts(relation: list[Any]) -> dict[str, str]:  # Any: JSON values
    return relation[4] if len(relation) > 4 else {}  # noqa: PLR2004 - name, two sides, version, metadata
