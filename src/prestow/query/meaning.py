"""What a parsed selection means: each name a column, each value in that column's type."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from lark import Token, Tree
from lark.visitors import Transformer_NonRecursive

from prestow.model.universe import Universe, ValueType
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
    parse_time,
    quote,
)
from prestow.query.syntax import Fault, Parsed, condition_expected

_LARGEST = 1 << 63
_OPERATORS = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_TURNED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_BARE = re.compile(r"[+-]?[0-9][0-9.eE+-]*|true|false", re.IGNORECASE)  # what quotes make a text of
_IN_WORDS: dict[str, str] = {
    "int": "an integer",
    "str": "text",
    "float": "a number",
    "bool": "true or false",
    "time": "a time",
}


@dataclass(frozen=True, slots=True)
class Scope:
    """What names mean: the universe, of it only some dimensions, and further columns."""

    universe: Universe
    dimensions: tuple[str, ...]
    narrow: bool
    columns: Mapping[str, ValueType]
    known: str = ""

    def names(self) -> list[str]:
        """Give all names that may stand alone, for suggestions."""
        known = [self.universe.dimensions[d] for d in self.dimensions]
        return [
            *self.columns,
            *self.dimensions,
            *(alias for d in known for alias in d.aliases),
            *dict.fromkeys(column for d in known for column in d.metadata),
        ]


def understand(parsed: Parsed, scope: Scope) -> tuple[Node | None, tuple[Fault, ...]]:
    """Give what a text means, and everything that is wrong with it, in its order."""
    meaning = _Meaning(parsed, scope)
    nodes = [meaning.transform(tree) for tree in parsed.trees]
    for name in parsed.names:
        meaning.column(name)
    faults = list(meaning.faults)
    if parsed.fault is not None and parsed.fault.at not in {fault.at for fault in faults}:
        faults.append(parsed.fault)
    node = nodes[0] if nodes and not faults else None
    return node, tuple(sorted(faults, key=lambda fault: fault.at))


class _Meaning(Transformer_NonRecursive[Token, Node]):
    """From the leaves of a tree to its root, without recursion; faults collect."""

    def __init__(self, parsed: Parsed, scope: Scope) -> None:
        super().__init__(visit_tokens=False)
        self.parsed = parsed
        self.scope = scope
        self.faults: list[Fault] = []

    def _note(self, token: Token, what: str, fix: str = "") -> None:
        assert token.start_pos is not None, "every token knows its place"
        self.faults.append(Fault(token.start_pos, what, fix))

    # --- the rules of the grammar

    def start(self, children: Sequence[Node]) -> Node:
        return children[0]

    def any(self, children: Sequence[Node]) -> Node:
        return _joined("or", children)

    def all(self, children: Sequence[Node]) -> Node:
        return _joined("and", children)

    def negated(self, children: Sequence[Node]) -> Node:
        return _negated(children[0])

    def comparison(self, children: Sequence[Token]) -> Node:
        first, word, second = children
        left, right, operator = self._operand(first), self._operand(second), _OPERATORS[word]
        if isinstance(left, Literal):
            if isinstance(right, Literal):
                self._note(first, "neither side is a name", "name a dimension or column")
                return left
            return self._typed(right, second, _TURNED[operator], left, first)
        if isinstance(right, Literal):
            return self._typed(left, first, operator, right, second)
        if left.name and right.name and _family(left.type) != _family(right.type):
            self._note(second, f"{first} is {_IN_WORDS[left.type]}, {second} is {_IN_WORDS[right.type]}")
        return Compare(left, operator, right)

    def inside(self, children: Sequence[Token | Tree[Token]]) -> Node:
        name, *items = children
        assert isinstance(name, Token), "the grammar puts an operand first"
        column = self._column_of(name)
        return In(column, tuple(sorted({self._item(column, item) for item in items}, key=_order)))

    def outside(self, children: Sequence[Token | Tree[Token]]) -> Node:
        return _negated(self.inside(children))

    def span(self, children: Sequence[Token]) -> Tree[Token]:
        return Tree("span", list(children))

    def like(self, children: Sequence[Token]) -> Node:
        name, pattern = children
        column = self._column_of(name)
        if column.name and column.type != "str":
            self._note(name, f"{name} is {_IN_WORDS[column.type]}, and 'like' is for text")
        return Like(column, _unquoted(pattern))

    def unlike(self, children: Sequence[Token]) -> Node:
        return _negated(self.like(children))

    def unknown(self, children: Sequence[Token]) -> Node:
        return IsNull(self._column_of(children[0]))

    def known(self, children: Sequence[Token]) -> Node:
        return _negated(self.unknown(children))

    def alone(self, children: Sequence[Token]) -> Node:
        (token,) = children
        operand = self._operand(token)
        if (
            token.type not in ("TRUE", "FALSE")
            and operand.type != "bool"
            and (isinstance(operand, Literal) or operand.name)
        ):
            self.faults.append(condition_expected(token, self.parsed.after(token)))
        return operand

    # --- operands

    def _operand(self, token: Token) -> Column | Literal:
        match token.type:
            case "NUMBER":
                return self._number(token)
            case "STRING":
                return Literal(_unquoted(token), "str")
            case "TRUE" | "FALSE":
                return Literal(token.type == "TRUE", "bool")
        return self.column(token)

    def _column_of(self, token: Token) -> Column:
        operand = self._operand(token)
        if isinstance(operand, Column):
            return operand
        self.faults.append(condition_expected(token, 0))
        return Column("", "str")

    def _number(self, token: Token) -> Literal:
        if re.fullmatch(r"-?[0-9]+", token):
            if len(token) <= len(str(_LARGEST)) + 1 and -_LARGEST <= int(token) < _LARGEST:
                return Literal(int(token), "int")
            self._note(token, f"{token} does not fit 64 bits")
            return Literal(0, "int")
        value = float(token)
        if not math.isfinite(value):
            self._note(token, f"{token} is too large")
            value = 0.0
        return Literal(value + 0.0, "float")

    def _typed(self, column: Column, name: Token, operator: str, literal: Literal, token: Token) -> Node:
        if column.type == "bool" and operator not in ("=", "!="):
            self._note(name, f"{name} is true or false", "compare it with = or !=")
        return Compare(column, operator, self._fitted(column, name, literal, token))

    def _fitted(self, column: Column, name: str, literal: Literal, token: Token) -> Literal:
        """Give a value in the type of the column it is compared with."""
        value = literal.value
        number = isinstance(value, int | float) and not isinstance(value, bool)
        match column.type:
            case "str" if isinstance(value, str):
                return literal
            case "bool" if isinstance(value, bool):
                return literal
            case "int" if number:
                whole = isinstance(value, float) and value.is_integer() and abs(value) < _LARGEST
                return Literal(int(value), "int") if whole else literal
            case "int" if isinstance(value, str) and self._is_day(column):
                return self._day(value, token)
            case "float" if number:
                return Literal(float(value), "float")
            case "time" if isinstance(value, int) and number:
                return Literal(value, "time")
            case "time" if isinstance(value, str):
                try:
                    return Literal(parse_time(value), "time")
                except ValueError:
                    self._note(token, f"{token} is not a time", "write '2026-11-21T04:00:00' (TAI)")
                    return literal
        if column.name:
            bare = {"bool": "write true or false"}.get(column.type, "write a number")
            if isinstance(value, str) and _BARE.fullmatch(value):
                bare = f"write {value} without quotes"
            fix = {"str": f"write {quote(token)}", "time": "write '2026-11-21T04:00:00' (TAI)"}.get(
                column.type, bare if isinstance(value, str) else ""
            )
            self._note(token, f"{name} is {_IN_WORDS[column.type]}, {token} is not", fix)
        return literal

    def _is_day(self, column: Column) -> bool:
        dimension = self.scope.universe.dimensions.get(column.name)
        return dimension is not None and dimension.date and column.name not in self.scope.columns

    def _day(self, value: str, token: Token) -> Literal:
        """Give a date as the integer that a dimension of days has for it: YYYYMMDD."""
        try:
            day = date.fromisoformat(value) if _DAY.fullmatch(value) else None
        except ValueError:
            day = None
        if day is None:
            self._note(token, f"{token} is not a date", "write '2026-11-21', or 20261121 without quotes")
            return Literal(0, "int")
        return Literal(day.year * 10000 + day.month * 100 + day.day, "int")

    def _item(self, column: Column, item: Token | Tree[Token]) -> Literal | Span:
        if isinstance(item, Tree):
            return self._span(column, [token for token in item.children if isinstance(token, Token)])
        literal = self._operand(item)
        assert isinstance(literal, Literal), "the grammar has no names in lists"
        fitted = self._fitted(column, column.name, literal, item)
        if column.type == "int" and isinstance(fitted.value, float):
            self._note(item, f"{column.name} is an integer, {item} is not")
        return fitted

    def _span(self, column: Column, tokens: Sequence[Token]) -> Literal | Span:
        first, last = tokens[:2]
        if column.name and column.type != "int":
            self._note(first, f"{column.name} is {_IN_WORDS[column.type]}, and a range is of integers")
        days = self._is_day(column)
        bounds = []
        for place, token in enumerate(tokens):
            literal = self._operand(token)
            value = literal.value if isinstance(literal, Literal) else None
            if days and place < len(tokens[:2]) and isinstance(value, str):
                value = self._day(value, token).value
            bounds.append(value)
        numbers = [b for b in bounds if isinstance(b, int) and not isinstance(b, bool)]
        if len(numbers) < len(bounds):
            self._note(first, "a range is of integers", "write 4..9 or 4..20:2")
            return Span(0, 0)
        low, high, by = (*numbers, 1)[:3]
        if low > high or by < 1:
            self._note(last, f"nothing is in the range {low}..{high}:{by}", "write 4..9 or 4..20:2")
            return Span(0, 0)
        high -= (high - low) % by
        return Literal(low, "int") if low == high else Span(low, high, by)

    # --- names

    def column(self, token: Token) -> Column:
        """Give the column a name means; a name that means none is noted, and has no name."""
        scope, name = self.scope, token.lower()
        if token in scope.columns:
            return Column(str(token), scope.columns[token])
        if "." in name:
            return self._qualified(token, *name.split("."))
        dimension = scope.universe.canonical(name)
        if dimension is not None and dimension in scope.dimensions:
            return Column(dimension, scope.universe.dimensions[dimension].type)
        owners = [d for d in scope.dimensions if name in scope.universe.dimensions[d].metadata]
        kinds = {scope.universe.dimensions[d].metadata[name] for d in owners}
        if len(kinds) > 1 or (scope.narrow and len(owners) > 1):
            choices = " or ".join(f"{d}.{name}" for d in owners)
            self._note(token, f"'{token}' could mean several things", f"write {choices}")
            return Column("", "str")
        if owners:
            return Column(name, kinds.pop())
        if dimension is not None:
            fix = f"dimensions here: {', '.join(scope.dimensions) or 'none'}"
            self._note(token, f"'{token}' does not belong to this data", fix)
            return Column("", "str")
        near = difflib.get_close_matches(name, scope.names(), 1) if len(name) > 1 else []
        fix = f"{f'did you mean {near[0]}? ' if near else ''}if it is text, write {quote(token)}"
        fix += f"; {scope.known}" if scope.known and not near else ""
        self._note(token, f"unknown name '{token}'", fix)
        return Column("", "str")

    def _qualified(self, token: Token, owner: str, column: str) -> Column:
        scope = self.scope
        dimension = scope.universe.canonical(owner)
        if dimension is None or dimension not in scope.dimensions:
            near = difflib.get_close_matches(owner, scope.dimensions, 1)
            fix = f"did you mean '{near[0]}.{column}'?" if near else f"known: {', '.join(scope.dimensions)}"
            self._note(token, f"there is no dimension '{owner}' here", fix)
            return Column("", "str")
        definition = scope.universe.dimensions[dimension]
        if column in definition.metadata:
            return Column(f"{dimension}.{column}", definition.metadata[column])
        other = scope.universe.canonical(column)
        if other is not None and other in scope.universe.expand([dimension]):
            return Column(other, scope.universe.dimensions[other].type)
        near = difflib.get_close_matches(column, definition.metadata, 1)
        known = ", ".join(definition.metadata) or "nothing but its values"
        fix = f"did you mean '{dimension}.{near[0]}'?" if near else f"{dimension} has: {known}"
        self._note(token, f"{dimension} has no '{column}'", fix)
        return Column("", "str")


def _joined(word: str, sides: Sequence[Node]) -> Node:
    flat: list[Node] = []
    for side in sides:
        flat += side.inner if isinstance(side, Both) and side.word == word else [side]
    return Both(word, tuple(flat))


def _negated(node: Node) -> Node:
    return node.inner if isinstance(node, Not) else Not(node)


def _family(kind: ValueType) -> str:
    return "number" if kind in ("int", "float") else kind


def _unquoted(text: str) -> str:
    return text[1:-1].replace("''", "'") if text.startswith("'") else text.strip('"')


def _order(item: Literal | Span) -> tuple[bool, float, str]:
    if isinstance(item, Span):
        return (False, item.first, f"{item.last}:{item.step}")
    value = item.value
    return (True, 0, value) if isinstance(value, str) else (False, value, "")
