"""A selection, understood: its tree, its one text, and the column expression it means."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import reduce
from typing import TYPE_CHECKING

import polars as pl

from prestow.model.universe import ValueType

if TYPE_CHECKING:
    from prestow.query.sql import Condition

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_TYPES: dict[ValueType, type[pl.DataType]] = {
    "int": pl.Int64,
    "str": pl.String,
    "float": pl.Float64,
    "bool": pl.Boolean,
    "time": pl.Int64,
}

Value = int | float | str | bool


@dataclass(frozen=True, slots=True)
class Column:
    """A named column: a dimension, ``column`` or ``dimension.column``."""

    name: str
    type: ValueType


@dataclass(frozen=True, slots=True)
class Literal:
    """A value; a time is its nanoseconds."""

    value: Value
    type: ValueType


@dataclass(frozen=True, slots=True)
class Span:
    """Integers from ``first`` to ``last``, both in, by ``step``."""

    first: int
    last: int
    step: int = 1


@dataclass(frozen=True, slots=True)
class Compare:
    """``left operator right``; the operator is one of ``= != < <= > >=``."""

    left: Column
    operator: str
    right: Column | Literal


@dataclass(frozen=True, slots=True)
class In:
    """Whether a column has one of these values."""

    column: Column
    items: tuple[Literal | Span, ...]


@dataclass(frozen=True, slots=True)
class Like:
    """Whether a text has a form: ``%`` is any text, ``_`` any one character."""

    column: Column
    pattern: str


@dataclass(frozen=True, slots=True)
class IsNull:
    """Whether a value is unknown."""

    column: Column


@dataclass(frozen=True, slots=True)
class Not:
    """The contrary."""

    inner: Node


@dataclass(frozen=True, slots=True)
class Both:
    """``and`` of all, or ``or`` of all."""

    word: str
    inner: tuple[Node, ...]


Node = Column | Literal | Compare | In | Like | IsNull | Not | Both


@dataclass(frozen=True, slots=True)
class Selection:
    """What a person chose. Without a tree: everything."""

    tree: Node | None = None

    @property
    def columns(self) -> tuple[str, ...]:
        """The names it uses, sorted: dimensions, ``column``, ``dimension.column``."""
        return tuple(sorted({c.name for c in _columns(self.tree)})) if self.tree is not None else ()

    @property
    def canonical(self) -> str:
        """Its one text: aliases resolved, items in order, no needless blank. It parses back."""
        return "" if self.tree is None else text_of(self.tree)

    def expression(self, available: Collection[str]) -> pl.Expr:
        """Give the condition on a frame that has these columns, by the logic of three values.

        A column that is not there is unknown, as a null is: ``filter(e)`` keeps what is surely
        chosen, ``filter(e.fill_null(True))`` all that is not surely left out.
        """
        return pl.lit(value=True) if self.tree is None else _expression(self.tree, available)

    def sql(self, columns: Mapping[str, str], first: int = 1, dialect: str = "sqlite") -> Condition | None:
        """Give the same condition in SQL, or None if it has more values than a statement can take.

        Parameters
        ----------
        columns : mapping of name to str
            For each name that is there, what stands for it in the statement: from the universe, never
            from what a person typed. A name that is not there is unknown, as in `expression`.
        first : int
            The number of the first parameter.
        dialect : str
            Whose SQL: ``sqlite`` or ``postgresql``.

        Examples
        --------
        >>> Selection(Like(Column("object", "str"), "NGC%")).sql({"object": 'v."object"'})
        Condition(text='(v."object" GLOB $1)', values=('NGC*',))
        """
        from prestow.query.sql import condition

        return condition(self.tree, columns, first, dialect)

    @property
    def terms(self) -> tuple[Selection, ...]:
        """The conditions that it joins by ``and``, each alone; none of an empty one."""
        if self.tree is None:
            return ()
        several = self.tree.inner if isinstance(self.tree, Both) and self.tree.word == "and" else (self.tree,)
        return tuple(Selection(one) for one in several)


def _columns(node: Node) -> Iterator[Column]:
    match node:
        case Column():
            yield node
        case Compare(left, _, right):
            yield from (side for side in (left, right) if isinstance(side, Column))
        case In(column) | Like(column) | IsNull(column):
            yield column
        case Not(inner):
            yield from _columns(inner)
        case Both(_, several):
            for one in several:
                yield from _columns(one)


def quote(text: str) -> str:
    """Give a text as it stands in a selection."""
    return "'" + text.replace("'", "''") + "'"


def parse_time(text: str) -> int:
    """Give nanoseconds of TAI since 1970 of an ISO 8601 text, or raise ValueError."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is not None:
        raise ValueError("a time is TAI and has no zone")
    return (moment.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1) * 1000


def literal_text(literal: Literal) -> str:
    """Give the one text of a value."""
    value = literal.value
    if isinstance(value, bool):
        return "true" if value else "false"
    if literal.type == "time" and isinstance(value, int) and value % 1000 == 0:
        moment = _EPOCH + timedelta(microseconds=value // 1000)
        return quote(moment.replace(tzinfo=None).isoformat())
    return quote(value) if isinstance(value, str) else repr(value)


def _item_text(item: Literal | Span) -> str:
    if isinstance(item, Literal):
        return literal_text(item)
    return f"{item.first}..{item.last}" + (f":{item.step}" if item.step != 1 else "")


def _side(side: Column | Literal) -> str:
    return side.name if isinstance(side, Column) else literal_text(side)


def text_of(node: Node, parent: str = "") -> str:
    """Give the one text of a tree, in parentheses where the word above it binds tighter."""
    match node:
        case Column():
            return node.name
        case Literal():
            return literal_text(node)
        case Compare(left, operator, right):
            return f"{left.name} {operator} {_side(right)}"
        case In(column, items):
            return f"{column.name} in ({', '.join(_item_text(item) for item in items)})"
        case Like(column, pattern):
            return f"{column.name} like {quote(pattern)}"
        case IsNull(column):
            return f"{column.name} is null"
        case Not(In(column, items)):
            return f"{column.name} not in ({', '.join(_item_text(item) for item in items)})"
        case Not(Like(column, pattern)):
            return f"{column.name} not like {quote(pattern)}"
        case Not(IsNull(column)):
            return f"{column.name} is not null"
        case Not(inner):
            return f"not {text_of(inner, 'not')}"
        case Both(word, several):
            text = f" {word} ".join(text_of(one, word) for one in several)
            return f"({text})" if parent == "not" or (parent == "and" and word == "or") else text


def _reference(column: Column, available: Collection[str]) -> pl.Expr:
    kind = _TYPES[column.type]
    return pl.col(column.name) if column.name in available else pl.lit(None, dtype=kind)


def _plain(column: Column, expression: pl.Expr) -> pl.Expr:
    """Give text as text: a column of categories has neither its order nor its parts."""
    return expression.cast(pl.String) if column.type == "str" else expression


def _expression(node: Node, available: Collection[str]) -> pl.Expr:
    match node:
        case Column():
            return _reference(node, available)
        case Literal(value):
            return pl.lit(value)
        case Compare(left, operator, right):
            here = _reference(left, available)
            if isinstance(right, Column):
                return _compare(_plain(left, here), operator, _plain(right, _reference(right, available)))
            # Only equality is on codes, where a text column has them.
            side = here if operator in ("=", "!=") else _plain(left, here)
            return _compare(side, operator, pl.lit(right.value))
        case In(column, items):
            return _inside(_reference(column, available), items)
        case Like(column, pattern):
            return _plain(column, _reference(column, available)).str.contains(like_pattern(pattern))
        case IsNull(column) if column.name not in available:
            return pl.lit(None, dtype=pl.Boolean)  # whether it is null is not known either
        case IsNull(column):
            return pl.col(column.name).is_null()
        case Not(inner):
            return _expression(inner, available).not_()
        case Both(word, several):
            sides = [_expression(one, available) for one in several]
            return reduce((lambda a, b: a & b) if word == "and" else (lambda a, b: a | b), sides)


def _compare(left: pl.Expr, operator: str, right: pl.Expr) -> pl.Expr:
    match operator:
        case "=":
            return left == right
        case "!=":
            return left != right
        case "<":
            return left < right
        case "<=":
            return left <= right
        case ">":
            return left > right
    return left >= right


def _inside(column: pl.Expr, items: tuple[Literal | Span, ...]) -> pl.Expr:
    values = [item.value for item in items if isinstance(item, Literal)]
    parts = [column.is_in(values)] if values else []
    for item in items:
        if isinstance(item, Span):
            part = column.is_between(item.first, item.last)
            parts.append(part if item.step == 1 else part & ((column - item.first) % item.step == 0))
    return reduce(lambda a, b: a | b, parts)


def like_pattern(pattern: str) -> str:
    """Give the regular expression of a ``like`` pattern."""
    words = {"%": ".*", "_": "."}
    return (
        "(?s)^" + "".join(words.get(c) or (c if c.isalnum() else f"\\x{{{ord(c):x}}}") for c in pattern) + "$"
    )
