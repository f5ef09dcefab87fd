"""Arithmetic over columns of a plan: ``2 GB + 60 MB * n_inputs``. Parsed here, never evaluated by Python.

sum     = product (("+" | "-") product)*
product = factor (("*" | "/") factor)*
factor  = "-" factor | number [unit] | name | ("min" | "max") "(" sum ("," sum)+ ")" | "(" sum ")"
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Values: TypeAlias = npt.NDArray[np.float64]

SIZES = {
    "B": 1,
    "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
TIMES = {"ms": 0.001, "s": 1, "min": 60, "h": 3600, "d": 86400}

_TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)*)"
    r"|(?P<sign>[-+*/(),])|(?P<end>$)|(?P<odd>.))"
)
_FUNCTIONS = ("min", "max")
_DEEPEST = 50


class ExpressionError(Exception):
    """What is wrong with an expression, at which character of it (from 0), and what to do."""

    def __init__(self, what: str, offset: int, fix: str = "") -> None:
        super().__init__(what)
        self.what, self.offset, self.fix = what, offset, fix


@dataclass(frozen=True, slots=True)
class _Node:
    """A number, a name, or an operation on other nodes."""

    kind: str
    number: float = 0.0
    name: str = ""
    parts: tuple[_Node, ...] = ()


@dataclass(frozen=True, slots=True)
class Expression:
    """An expression that was parsed and whose names are known.

    Examples
    --------
    >>> import numpy as np
    >>> memory = parse_expression("2 GB + 60 MB * n_inputs", SIZES, ["n_inputs"])
    >>> memory.names
    frozenset({'n_inputs'})
    >>> memory.evaluate({"n_inputs": np.array([1.0, 10.0])}).tolist()
    [2060000000.0, 2600000000.0]
    """

    text: str
    names: frozenset[str]
    _root: _Node

    def evaluate(self, columns: Mapping[str, Values]) -> Values:
        """Give its values; a column for each of ``names``. What is divided by 0 is not finite."""
        import numpy as np

        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(_evaluate(self._root, columns), np.float64)


def parse_expression(text: str, units: Mapping[str, float], names: Iterable[str]) -> Expression:
    """Parse an expression.

    Parameters
    ----------
    units : mapping of str to float
        What may stand behind a number, and how much it is.
    names : iterable of str
        The columns that it may speak of.

    Raises
    ------
    ExpressionError
        If it cannot be parsed, or has a unit or name that is not known.
    """
    parser = _Parser(text, units, tuple(names))
    root = parser.sum()
    parser.expect("end", "", "an operator: + - * /")
    return Expression(text.strip(), frozenset(parser.found), root)


class _Parser:
    def __init__(self, text: str, units: Mapping[str, float], names: tuple[str, ...]) -> None:
        self.units, self.names = units, names
        self.found: set[str] = set()
        self.tokens = list(_tokens(text))
        self.place = 0
        self.depth = 0

    def expect(self, kind: str, text: str, meant: str) -> None:
        """Take the next token, which must be this one."""
        found, word, offset = self.tokens[self.place]
        if found != kind or (text and word != text):
            shown = f"'{word}'" if word else "the end"
            raise ExpressionError(f"{meant} is expected, not {shown}", offset, self._fix(word))
        self.place += 1

    def _fix(self, word: str) -> str:
        before = self.tokens[self.place - 1] if self.place else None
        if before is not None and before[0] == "number" and word[:1].isalpha():
            near = difflib.get_close_matches(word, (*self.units, *self.names), 1, 0.5)
            known = ", ".join(self.units)
            return (
                f"did you mean '{near[0]}'?" if near else f"units here: {known}" if known else "no unit here"
            )
        return "such as: 2 + 3 * n_inputs"

    def take(self, *signs: str) -> str:
        """Take the next token if it is one of these signs."""
        kind, word, _ = self.tokens[self.place]
        if kind == "sign" and word in signs:
            self.place += 1
            return word
        return ""

    def sum(self) -> _Node:
        node = self.product()
        while sign := self.take("+", "-"):
            node = _Node(sign, parts=(node, self.product()))
        return node

    def product(self) -> _Node:
        node = self.factor()
        while sign := self.take("*", "/"):
            node = _Node(sign, parts=(node, self.factor()))
        return node

    def factor(self) -> _Node:
        kind, word, offset = self.tokens[self.place]
        self.depth += 1
        if self.depth > _DEEPEST:
            raise ExpressionError("it is nested too deeply", offset, "write it more simply")
        try:
            if self.take("-"):
                return _Node("*", parts=(_Node("number", -1.0), self.factor()))
            if self.take("("):
                node = self.sum()
                self.expect("sign", ")", "')'")
                return node
            if kind == "number":
                return self.number(word)
            if kind == "name" and word in _FUNCTIONS:
                return self.call(word)
            if kind == "name":
                return self.name(word, offset)
        finally:
            self.depth -= 1
        shown = f"'{word}'" if word else "the end"
        raise ExpressionError(
            f"a number or a name is expected, not {shown}", offset, "such as: 2 + 3 * n_inputs"
        )

    def number(self, word: str) -> _Node:
        self.place += 1
        kind, unit, _ = self.tokens[self.place]
        if kind == "name" and unit in self.units:
            self.place += 1
            return _Node("number", float(word) * self.units[unit])
        return _Node("number", float(word))

    def call(self, word: str) -> _Node:
        self.place += 1
        self.expect("sign", "(", "'('")
        node = self.sum()
        self.expect("sign", ",", "','")
        while True:
            node = _Node(word, parts=(node, self.sum()))
            if not self.take(","):
                self.expect("sign", ")", "')'")
                return node

    def name(self, word: str, offset: int) -> _Node:
        if word not in self.names:
            near = difflib.get_close_matches(word, (*self.names, *_FUNCTIONS), 1)
            fix = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(self.names)}"
            raise ExpressionError(f"unknown name '{word}'", offset, fix)
        self.place += 1
        self.found.add(word)
        return _Node("name", name=word)


def _tokens(text: str) -> Iterator[tuple[str, str, int]]:
    for match in _TOKEN.finditer(text):
        kind = match.lastgroup or "end"
        offset = match.start(kind)
        if kind == "odd":
            raise ExpressionError(f"'{match[kind]}' has no meaning here", offset, "use + - * / ( ) min max")
        yield kind, match[kind], offset
        if kind == "end":
            return


def _evaluate(node: _Node, columns: Mapping[str, Values]) -> Values:
    import numpy as np

    if node.kind == "number":
        return np.float64(node.number)  # type: ignore[return-value]  # of any shape
    if node.kind == "name":
        return columns[node.name]
    left, right = (_evaluate(part, columns) for part in node.parts)
    if node.kind == "+":
        return left + right
    if node.kind == "-":
        return left - right
    if node.kind == "*":
        return left * right
    if node.kind == "/":
        return np.true_divide(left, right)
    return np.minimum(left, right) if node.kind == "min" else np.maximum(left, right)
