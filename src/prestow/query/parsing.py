"""Parsing a selection: words, grammar, and the meaning of each name."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from prestow.errors import ConfigurationError, Problem, raise_all
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
    Selection,
    Span,
    parse_time,
    quote,
)

_CODE = "PST-C027"
_DEEPEST = 50  # parentheses in parentheses
_LARGEST = 1 << 63
_TOKEN = re.compile(
    r"""\s*(?:
      (?P<number>-?(?:[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+))
    | (?P<string>'(?:[^']|'')*'|"[^"]*")
    | (?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?)
    | (?P<mark>\.\.|<=|>=|<>|!=|==|[=<>(),:])
    | (?P<end>$)
    )""",
    re.VERBOSE,
)
_WORDS = frozenset({"and", "or", "not", "in", "like", "is", "null", "true", "false"})
_OPERATORS = {"=": "=", "==": "=", "!=": "!=", "<>": "!=", "<": "<", "<=": "<=", ">": ">", ">=": ">="}
_TURNED = {"=": "=", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
_IN_WORDS: dict[str, str] = {
    "int": "an integer",
    "str": "text",
    "float": "a number",
    "bool": "true or false",
    "time": "a time",
}


@dataclass(frozen=True, slots=True)
class Token:
    """A word of the text; ``kind`` is number, string, name, end, or the mark or keyword itself."""

    kind: str
    text: str
    at: int


class _Syntax(Exception):  # noqa: N818 - never leaves this module
    """The text cannot be read on."""


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


def parse_selection(
    text: str,
    universe: Universe,
    *,
    columns: Mapping[str, ValueType] | None = None,
    dimensions: Iterable[str] | None = None,
    place: str = "selection",
    known: str = "",
) -> Selection:
    """Parse a selection; an empty text chooses everything.

    Parameters
    ----------
    columns : mapping of name to type, optional
        Further columns that may be named.
    dimensions : iterable of str, optional
        If given, only these, what they require and imply, and their metadata may be named, and
        a name must mean one of them alone.
    place : str
        Where the text stands, for errors.
    known : str
        What to say of further columns where a name is unknown.

    Raises
    ------
    ConfigurationError
        PST-C027 with the column in the text: the first fault of grammar, or all names and types
        that do not fit.

    Examples
    --------
    >>> from prestow.naming.universe import load_universe
    >>> s = parse_selection("night == 20261121 AND ccd in (7, 2..4)", load_universe())
    >>> s.canonical, s.columns
    ('day_obs = 20261121 and detector in (2..4, 7)', ('day_obs', 'detector'))
    """
    scope = Scope(
        universe,
        tuple(universe.dimensions) if dimensions is None else universe.expand(dimensions),
        dimensions is not None,
        columns or {},
        known,
    )
    if not text.strip():
        return Selection()
    parser = _Parser(text, scope, place)
    tree = parser.parse()
    raise_all(parser.problems)
    return Selection(tree)


def check_selection(text: str, universe: Universe, dimensions: Iterable[str]) -> tuple[Problem, ...]:
    """Give what is wrong with a selection on data of these dimensions."""
    try:
        parse_selection(text, universe, dimensions=dimensions)
    except ConfigurationError as error:
        return error.problems
    return ()


class _Parser:
    """Recursive descent; `_Syntax` ends it, other problems collect."""

    def __init__(self, text: str, scope: Scope, place: str) -> None:
        self.text = text
        self.scope = scope
        self.place = place
        self.problems: list[Problem] = []
        self.tokens: list[Token] = []
        self.position = 0
        self.depth = 0

    def parse(self) -> Node | None:
        try:
            self.tokens = self._split()
            tree = self._any()
            if self.here.kind != "end":
                raise self._fault(
                    f"'{self.here.text}' is not expected here", "join conditions with 'and' or 'or'"
                )
        except _Syntax:
            return None
        return tree

    @property
    def here(self) -> Token:
        return self.tokens[self.position]

    def _note(self, at: int, what: str, fix: str = "") -> None:
        excerpt = f"   1| {self.text}\n    | {' ' * at}^" if "\n" not in self.text else ""
        self.problems.append(Problem(_CODE, what, f"{self.place}:{at + 1}", fix, excerpt))

    def _fault(self, what: str, fix: str = "", at: int | None = None) -> _Syntax:
        """Note a fault of grammar; the caller raises it."""
        self._note(self.here.at if at is None else at, what, fix)
        return _Syntax()

    def _split(self) -> list[Token]:
        tokens: list[Token] = []
        at = 0
        while not tokens or tokens[-1].kind != "end":
            match = _TOKEN.match(self.text, at)
            if match is None:
                at += len(self.text[at:]) - len(self.text[at:].lstrip())
                odd = self.text[at]
                open_quote = odd in "'\""
                fix = f"close it with {odd}" if open_quote else "text stands in 'quotes'"
                raise self._fault(
                    "the quote is not closed" if open_quote else f"'{odd}' is not expected", fix, at
                )
            kind = str(match.lastgroup)
            word = match[kind]
            low = word.lower()
            kind = word if kind == "mark" else low if kind == "name" and low in _WORDS else kind
            tokens.append(Token(kind, word, match.start(str(match.lastgroup))))
            at = match.end()
        return tokens

    def _take(self, kind: str) -> bool:
        if self.here.kind != kind:
            return False
        self.position += 1
        return True

    def _need(self, kind: str, what: str) -> Token:
        token = self.here
        if not self._take(kind):
            found = f"'{token.text}'" if token.text else "the end"
            raise self._fault(f"{what} is expected, not {found}")
        return token

    def _any(self) -> Node:
        return self._joined("or", lambda: self._joined("and", self._not))

    def _joined(self, word: str, inner: Callable[[], Node]) -> Node:
        sides = [inner()]
        while self._take(word):
            sides.append(inner())
        flat: list[Node] = []
        for side in sides:
            flat += side.inner if isinstance(side, Both) and side.word == word else [side]
        return flat[0] if len(flat) == 1 else Both(word, tuple(flat))

    def _not(self) -> Node:
        times = 0
        while self._take("not"):
            times += 1
        inner = self._single()
        return _negated(inner, negative=times % 2 == 1)

    def _single(self) -> Node:
        if self._take("("):
            self.depth += 1
            if self.depth > _DEEPEST:
                raise self._fault("too many parentheses", "write it flatter")
            inner = self._any()
            self._need(")", "')'")
            self.depth -= 1
            return inner
        start = self.here
        left = self._operand()
        negative = self._take("not")
        if self.here.kind in _OPERATORS and not negative:
            return self._comparison(start, left)
        if not isinstance(left, Column):
            if isinstance(left.value, bool) and not negative:
                return left
            raise self._fault(f"a condition begins with a name, not with {start.text}", at=start.at)
        if self._take("in"):
            return _negated(In(left, self._items(left)), negative=negative)
        if self._take("like"):
            pattern = self._need("string", "a text in quotes")
            if left.type != "str":
                self._note(start.at, f"{start.text} is {_IN_WORDS[left.type]}, and 'like' is for text")
            return _negated(Like(left, _unquoted(pattern.text)), negative=negative)
        if negative:
            raise self._fault(f"'in' or 'like' is expected after '{start.text} not'")
        if self._take("is"):
            contrary = self._take("not")
            self._need("null", "'null'")
            return _negated(IsNull(left), negative=contrary)
        if left.type != "bool" and left.name:
            raise self._fault(f"a comparison is expected after '{start.text}'", f"such as {start.text} = …")
        return left

    def _comparison(self, start: Token, left: Column | Literal) -> Node:
        operator = _OPERATORS[self.here.kind]
        self.position += 1
        other = self.here
        right = self._operand()
        if isinstance(left, Literal):
            if isinstance(right, Literal):
                raise self._fault("neither side is a name", "name a dimension or column", start.at)
            return self._typed(right, other, _TURNED[operator], left, start)
        if isinstance(right, Literal):
            return self._typed(left, start, operator, right, other)
        if left.name and right.name and _family(left.type) != _family(right.type):
            what = f"{start.text} is {_IN_WORDS[left.type]}, {other.text} is {_IN_WORDS[right.type]}"
            self._note(other.at, what)
        return Compare(left, operator, right)

    def _typed(self, column: Column, name: Token, operator: str, literal: Literal, token: Token) -> Node:
        if column.type == "bool" and operator not in ("=", "!="):
            self._note(name.at, f"{name.text} is true or false", "compare it with = or !=")
        return Compare(column, operator, self._fitted(column, name.text, literal, token))

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
            case "float" if number:
                return Literal(float(value), "float")
            case "time" if isinstance(value, int) and number:
                return Literal(value, "time")
            case "time" if isinstance(value, str):
                try:
                    return Literal(parse_time(value), "time")
                except ValueError:
                    fix = "write '2026-11-21T04:00:00' (TAI)"
                    self._note(token.at, f"{token.text} is not a time", fix)
                    return literal
        if column.name:
            fix = {"str": f"write {quote(token.text)}", "time": "write '2026-11-21T04:00:00' (TAI)"}.get(
                column.type, f"write {_unquoted(token.text)} without quotes" if isinstance(value, str) else ""
            )
            self._note(token.at, f"{name} is {_IN_WORDS[column.type]}, {token.text} is not", fix)
        return literal

    def _items(self, column: Column) -> tuple[Literal | Span, ...]:
        name = self.tokens[self.position - 1]
        self._need("(", "'('")
        if self.here.kind == ")":
            raise self._fault("the list is empty", f"nothing is {name.text} ()")
        found = [self._item(column)]
        while self._take(","):
            found.append(self._item(column))
        self._need(")", "',' or ')'")
        return tuple(sorted(set(found), key=_order))

    def _item(self, column: Column) -> Literal | Span:
        token = self.here
        first = self._value()
        if not self._take(".."):
            fitted = self._fitted(column, column.name, first, token)
            if column.type == "int" and isinstance(fitted.value, float):
                self._note(token.at, f"{column.name} is an integer, {token.text} is not")
            return fitted
        last_token = self.here
        last = self._value()
        step: Literal = Literal(1, "int")
        if self._take(":"):
            step = self._value()
        bounds = [first.value, last.value, step.value]
        if column.name and column.type != "int":
            self._note(token.at, f"{column.name} is {_IN_WORDS[column.type]}, and a range is of integers")
        numbers = [b for b in bounds if isinstance(b, int) and not isinstance(b, bool)]
        if len(numbers) < len(bounds):
            self._note(token.at, "a range is of integers", "write 4..9 or 4..20:2")
            return Span(0, 0)
        low, high, by = numbers
        if low > high or by < 1:
            self._note(last_token.at, f"nothing is in the range {low}..{high}:{by}", "write 4..9 or 4..20:2")
            return Span(0, 0)
        high -= (high - low) % by
        return Literal(low, "int") if low == high else Span(low, high, by)

    def _value(self) -> Literal:
        token = self.here
        operand = None if token.kind == "name" else self._operand()
        if isinstance(operand, Literal):
            return operand
        raise self._fault(f"a value is expected, not the name '{token.text}'", f"write {quote(token.text)}")

    def _operand(self) -> Column | Literal:
        token = self.here
        self.position += 1
        match token.kind:
            case "number":
                return self._number(token)
            case "string":
                return Literal(_unquoted(token.text), "str")
            case "true" | "false":
                return Literal(token.kind == "true", "bool")
            case "name":
                return self._column(token)
        self.position -= 1
        if token.kind == "null":
            raise self._fault("nothing compares with null", "write 'is null' or 'is not null'")
        found = f"'{token.text}'" if token.text else "the end"
        raise self._fault(f"a name or value is expected, not {found}")

    def _number(self, token: Token) -> Literal:
        if re.fullmatch(r"-?[0-9]+", token.text):
            if len(token.text) <= len(str(_LARGEST)) + 1 and -_LARGEST <= int(token.text) < _LARGEST:
                return Literal(int(token.text), "int")
            raise self._fault(f"{token.text} does not fit 64 bits", at=token.at)
        value = float(token.text)
        if not math.isfinite(value):
            raise self._fault(f"{token.text} is too large", at=token.at)
        return Literal(value + 0.0, "float")

    def _column(self, token: Token) -> Column:
        """Give the column a name means; a name that means none is noted, and has no name."""
        scope, name = self.scope, token.text.lower()
        if token.text in scope.columns:
            return Column(token.text, scope.columns[token.text])
        if "." in name:
            return self._qualified(token, *name.split("."))
        dimension = scope.universe.canonical(name)
        if dimension is not None and dimension in scope.dimensions:
            return Column(dimension, scope.universe.dimensions[dimension].type)
        owners = [d for d in scope.dimensions if name in scope.universe.dimensions[d].metadata]
        kinds = {scope.universe.dimensions[d].metadata[name] for d in owners}
        if len(kinds) > 1 or (scope.narrow and len(owners) > 1):
            choices = " or ".join(f"{d}.{name}" for d in owners)
            self._note(token.at, f"'{token.text}' could mean several things", f"write {choices}")
            return Column("", "str")
        if owners:
            return Column(name, kinds.pop())
        if dimension is not None:
            fix = f"dimensions here: {', '.join(scope.dimensions) or 'none'}"
            self._note(token.at, f"'{token.text}' does not belong to this data", fix)
            return Column("", "str")
        near = difflib.get_close_matches(name, scope.names(), 1)
        fix = f"{f'did you mean {near[0]}? ' if near else ''}if it is text, write {quote(token.text)}"
        fix += f"; {scope.known}" if scope.known and not near else ""
        self._note(token.at, f"unknown name '{token.text}'", fix)
        return Column("", "str")

    def _qualified(self, token: Token, owner: str, column: str) -> Column:
        scope = self.scope
        dimension = scope.universe.canonical(owner)
        if dimension is None or dimension not in scope.dimensions:
            near = difflib.get_close_matches(owner, scope.dimensions, 1)
            fix = f"did you mean '{near[0]}.{column}'?" if near else f"known: {', '.join(scope.dimensions)}"
            self._note(token.at, f"there is no dimension '{owner}' here", fix)
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
        self._note(token.at, f"{dimension} has no '{column}'", fix)
        return Column("", "str")


def _negated(node: Node, *, negative: bool) -> Node:
    if not negative:
        return node
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
