"""The grammar of selections, and what is wrong with a text that does not follow it.

The grammar is read by Lark, once and at the first use. What a fault is called depends on what could
have stood in its place.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lark import Lark, Token, Tree

GRAMMAR = r"""
start: any
?any: all ("or"i all)*
?all: negation ("and"i negation)*
?negation: "not"i negation -> negated
    | single
?single: "(" any ")"
    | operand OPERATOR operand -> comparison
    | operand "in"i "(" item ("," item)* ")" -> inside
    | operand "not"i "in"i "(" item ("," item)* ")" -> outside
    | operand "like"i STRING -> like
    | operand "not"i "like"i STRING -> unlike
    | operand "is"i "null"i -> unknown
    | operand "is"i "not"i "null"i -> known
    | operand -> alone
?operand: NAME | value
?value: NUMBER | STRING | TRUE | FALSE
?item: value
    | value ".." value -> span
    | value ".." value ":" value -> span

TRUE: "true"i
FALSE: "false"i
OPERATOR: "<=" | ">=" | "<>" | "!=" | "==" | "=" | "<" | ">"
NUMBER: /-?(?:[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]+)?|\.[0-9]+)/
STRING: /'(?:[^']|'')*'|"[^"]*"/
NAME: /[a-z_][a-z0-9_]*(?:\.[a-z_][a-z0-9_]*)?/i

%ignore /\s+/
"""

DEEPEST = 50
"""Parentheses in parentheses."""

_LITERALS = frozenset({"NUMBER", "STRING"})


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing that is wrong with a text: where it stands (from 0), what, and what to do."""

    at: int
    what: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Parsed:
    """What was understood of a text: its tree, or the whole parts and the names before a fault."""

    trees: tuple[Tree[Token], ...]
    tokens: tuple[Token, ...]
    names: tuple[Token, ...] = ()
    fault: Fault | None = None

    def after(self, token: Token) -> int:
        """Give where the word after a token stands."""
        return _at(self.tokens[bisect_right(self.tokens, _at(token), key=_at)])


@cache
def grammar() -> Lark:
    """Give the parser; it is built once."""
    from lark import Lark

    return Lark(GRAMMAR, parser="lalr", lexer="basic")


def parse(text: str) -> Parsed:
    """Give the tree of a text, or the first fault in it."""
    from lark import Token, Tree, UnexpectedCharacters, UnexpectedToken

    end = Token("$END", "", start_pos=len(text))
    try:
        tokens = (*grammar().lex(text), end)
    except UnexpectedCharacters as error:
        return Parsed((), (), fault=_odd(text, error.pos_in_stream or 0))
    parser = grammar().parse_interactive()
    depth = 0
    for place, token in enumerate(tokens):
        before = tokens[max(0, place - 3) : place]
        if token.type == "RPAR":
            depth -= 1
        elif token.type == "LPAR" and not (before and before[-1].type == "IN"):
            depth += 1
        fault = None
        try:
            result = parser.feed_token(token)
        except UnexpectedToken:
            fault = _fault(token, before, parser.accepts())  # type: ignore[no-untyped-call]  # of lark
        if depth > DEEPEST:
            fault = Fault(_at(tokens[place + 1]), "too many parentheses", "write it flatter")
        if fault is not None:
            there = list(_flat(parser.parser_state.value_stack))
            names = (one for one in there if isinstance(one, Token) and one.type == "NAME")
            return Parsed(tuple(one for one in there if isinstance(one, Tree)), tokens, tuple(names), fault)
    return Parsed((result,), tokens)


def _at(token: Token) -> int:
    assert token.start_pos is not None, "every token knows its place"
    return token.start_pos


def _flat(values: Iterable[object]) -> Iterator[object]:
    """Give what stands on the parser's stack, also what a repetition has collected."""
    for value in values:
        if isinstance(value, list):
            yield from value
        else:
            yield value


def _odd(text: str, at: int) -> Fault:
    if text[at] in "'\"":
        return Fault(at, "the quote is not closed", f"close it with {text[at]}")
    return Fault(at, f"'{text[at]}' is not expected", "text stands in 'quotes'")


def _fault(token: Token, before: Sequence[Token], accepted: Iterable[str]) -> Fault:
    """Say what is wrong with a word, from what could stand there and the words before it."""
    could = set(accepted)
    at = _at(token)
    found = f"'{token}'" if token else "the end"
    last = before[-1] if before else token
    if "NUMBER" in could and token.type == "NULL":
        return Fault(at, "nothing compares with null", "write 'is null' or 'is not null'")
    if "NAME" in could:
        return Fault(at, f"a name or value is expected, not {found}")
    if "NUMBER" in could:
        if token.type == "RPAR" and last.type == "LPAR":
            return Fault(
                at, "the list is empty", "write values between the parentheses, or leave the condition out"
            )
        if token.type == "NAME":
            return Fault(at, f"a value is expected, not the name {found}", f"write '{token}'")
        return Fault(at, f"a value is expected, not {found}")
    if {"IN", "OPERATOR"} <= could and last.type not in ("TRUE", "FALSE"):
        return condition_expected(last, at)
    if "IN" in could and last.type == "NOT":
        return Fault(at, f"'in' or 'like' is expected after '{before[-2]} not'")
    if "COMMA" in could:
        return Fault(at, f"',' or ')' is expected, not {found}")
    if "STRING" in could:
        return Fault(at, f"a text in quotes is expected, not {found}")
    if "NULL" in could:
        return Fault(at, f"'null' is expected, not {found}")
    if "$END" in could:
        return Fault(at, f"'{token}' is not expected here", "join conditions with 'and' or 'or'")
    bracket = "(" if "LPAR" in could else ")"
    return Fault(at, f"'{bracket}' is expected, not {found}")


def condition_expected(operand: Token, at: int) -> Fault:
    """Say that a name, or a value, is no condition by itself; the word after it stands at ``at``."""
    if operand.type in _LITERALS:
        return Fault(_at(operand), f"a condition begins with a name, not with {operand}")
    return Fault(at, f"a comparison is expected after '{operand}'", f"such as {operand} = …")
