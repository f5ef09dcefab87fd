"""A selection as a condition in SQL: text with numbered parameters, and the values apart.

By the same logic of three values as `Selection.expression`: what SQL calls NULL is what a column
expression calls null. Of names only the columns that the caller gives stand in the text. Two things
SQLite and PostgreSQL say each in its own words: a pattern of text, and a long list as one value.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from prestow.query.selection import (
    Both,
    Column,
    Compare,
    In,
    IsNull,
    Like,
    Literal,
    Node,
    Not,
    Span,
    Value,
)

MOST_VALUES = 30_000
"""Values that one statement can take; SQLite refuses more than 32766."""

LONG = 500
"""Integers or texts in a list that are given as one value."""

_MIXED = {"int", "float"}


@dataclass(frozen=True, slots=True)
class Condition:
    """A condition in SQL.

    Parameters
    ----------
    text : str
        With parameters ``$n``. NULL where it is not known whether it holds.
    values : tuple
        Of the parameters, in the order of their numbers; truth is 0 or 1.
    """

    text: str
    values: tuple[int | float | str, ...] = ()


@dataclass(slots=True)
class _Writer:
    columns: Mapping[str, str]
    first: int
    dialect: str
    values: list[int | float | str] = field(default_factory=list)

    def parameter(self, value: Value) -> str:
        self.values.append(int(value) if isinstance(value, bool) else value)
        return f"${self.first + len(self.values) - 1}"

    def column(self, column: Column) -> str:
        return self.columns.get(column.name, "NULL")

    def text(self, node: Node) -> str:
        match node:
            case Column():
                return f"({self.column(node)} <> 0)"
            case Literal(value):
                return "(1 = 1)" if value else "(1 = 0)"
            case Compare(left, operator, right):
                return self.comparison(left, operator, right)
            case In(column, items):
                return self.inside(self.column(column), items)
            case Like(column, pattern) if self.dialect == "postgresql":
                return f"({self.column(column)} LIKE {self.parameter(pattern)} ESCAPE '')"
            case Like(column, pattern):
                return f"({self.column(column)} GLOB {self.parameter(glob_pattern(pattern))})"
            case IsNull(column) if column.name not in self.columns:
                return "(NULL = 1)"  # whether it is null is not known either
            case IsNull(column):
                return f"({self.columns[column.name]} IS NULL)"
            case Not(inner):
                return f"(NOT {self.text(inner)})"
            case Both(word, several):
                return _balanced([self.text(one) for one in several], word.upper())

    def comparison(self, left: Column, operator: str, right: Column | Literal) -> str:
        sign = "<>" if operator == "!=" else operator
        if isinstance(right, Literal):
            return f"({self.column(left)} {sign} {self.parameter(right.value)})"
        sides = [self.column(left), self.column(right)]
        if {left.type, right.type} == _MIXED:
            sides = [f"CAST({side} AS DOUBLE PRECISION)" for side in sides]
        return f"({sides[0]} {sign} {sides[1]})"

    def inside(self, column: str, items: Sequence[Literal | Span]) -> str:
        literals = [item.value for item in items if isinstance(item, Literal)]
        parts = []
        if len(literals) > LONG and not any(isinstance(value, float) for value in literals):
            parts = [f"({column} IN ({self.long_list(literals)}))"]
        elif literals:
            parts = [f"({column} IN ({', '.join(map(self.parameter, literals))}))"]
        for item in items:
            if isinstance(item, Span):
                low, high = self.parameter(item.first), self.parameter(item.last)
                part = f"{column} BETWEEN {low} AND {high}"
                if item.step != 1:
                    part += f" AND ({column} - {low}) % {self.parameter(item.step)} = 0"
                parts.append(f"({part})")
        return _balanced(parts, "OR")

    def long_list(self, literals: Sequence[Value]) -> str:
        given = self.parameter(json.dumps(literals))
        if self.dialect == "sqlite":
            return f"SELECT value FROM json_each({given})"
        kind = "TEXT" if isinstance(literals[0], str) else "BIGINT"
        return f"SELECT CAST(value AS {kind}) FROM jsonb_array_elements_text(CAST({given} AS jsonb))"


def condition(
    tree: Node | None, columns: Mapping[str, str], first: int = 1, dialect: str = "sqlite"
) -> Condition | None:
    """Give a tree as a condition, or None if it has more values than a statement can take."""
    if tree is None:
        return Condition("(1 = 1)")
    writer = _Writer(columns, first, dialect)
    text = writer.text(tree)
    return Condition(text, tuple(writer.values)) if len(writer.values) <= MOST_VALUES else None


def glob_pattern(pattern: str) -> str:
    """Give a ``like`` pattern as one of GLOB, which unlike SQLite's LIKE tells small from capital letters."""
    words = {"%": "*", "_": "?", "*": "[*]", "?": "[?]", "[": "[[]"}
    return "".join(words.get(c, c) for c in pattern)


def _balanced(parts: Sequence[str], word: str) -> str:
    """Join conditions as a tree of little depth: databases bound that of an expression."""
    if len(parts) == 1:
        return parts[0]
    middle = len(parts) // 2
    return f"({_balanced(parts[:middle], word)} {word} {_balanced(parts[middle:], word)})"
