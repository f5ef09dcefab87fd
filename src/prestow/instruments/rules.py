"""The language of header rules: a source, then steps from a fixed set. Nothing is evaluated."""

from __future__ import annotations

import math
import operator
import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prestow.documents import Document, Key, kind_of
from prestow.errors import Problem
from prestow.instruments.time import observing_day, tai, tai_from_utc

Value = str | int | float | None

SOURCES = ("keyword", "constant", "format", "file_name", "after")
PLAIN_STEPS = ("strip", "lower", "upper", "int", "float", "str", "utc", "tai", "day")
ARGUMENT_STEPS = ("regex", "table", "digits", "plus", "times")
_FIELD = re.compile(r"0?[0-9]*d?")


class RuleError(ValueError):
    """A header does not give what a rule asks for."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How one value is had from a header.

    Parameters
    ----------
    name : str
        The dimension, metadata column, or (with a leading ``_``) a word for later rules.
    keywords : tuple of str
        The first one that the header has is taken.
    source, argument : str, object
        Which of `SOURCES`, and what stands there.
    steps : tuple of (name, argument)
        Done in order. The argument of ``plus`` and ``times`` is a number or an earlier value.
    when, unless : mapping of earlier value to those it must, or must not, have
        Otherwise the value is null.
    optional, default : bool, value
        What to take if the header has none of the keywords.
    """

    name: str
    source: str
    argument: Any = None  # Any: of the source
    keywords: tuple[str, ...] = ()
    steps: tuple[tuple[str, Any], ...] = ()  # Any: of the step
    when: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    unless: Mapping[str, tuple[Value, ...]] = field(default_factory=dict)
    optional: bool = False
    default: Value = None

    def value(
        self, cards: Mapping[str, object], file_name: str, earlier: Mapping[str, Value], begins: float
    ) -> Value:
        """Give the value; `RuleError` says what the header lacks."""
        if any(earlier.get(name) not in values for name, values in self.when.items()):
            return None
        if any(earlier.get(name) in values for name, values in self.unless.items()):
            return None
        value, label = self._start(cards, file_name, earlier)
        if value is None:
            return self.default
        for step, argument in self.steps:
            if step in _ARITHMETIC and isinstance(argument, str):
                argument = earlier[argument]  # noqa: PLW2901 - the value that the word stands for
                if argument is None:
                    return self.default
            try:
                value = _apply(step, argument, value, begins)
            except ValueError as error:
                raise RuleError(f"{label} is {_show(cards, self.keywords, value)}: {error}") from error
            if value is None:
                return None
        return value

    def _start(
        self, cards: Mapping[str, object], file_name: str, earlier: Mapping[str, Value]
    ) -> tuple[Value, str]:
        if self.source == "constant":
            return self.argument, "the constant"
        if self.source == "file_name":
            return file_name, "the file's name"
        if self.source == "format":
            if any(earlier[name] is None for name in _fields(self.argument)):
                return None, ""
            return self.argument.format(**earlier), "the text"
        if self.source == "after":
            begin, seconds = (earlier[name] for name in self.argument)
            if not isinstance(begin, int) or not isinstance(seconds, int | float):
                return None, ""
            return begin + round(seconds * 1e9), "the time"
        for keyword in self.keywords:
            card = cards.get(keyword)
            if isinstance(card, str | int | float) and card != "":
                return card, keyword
        if self.optional:
            return None, ""
        raise RuleError(f"the header has no {' or '.join(self.keywords)}")


def _show(cards: Mapping[str, object], keywords: tuple[str, ...], value: Value) -> str:
    return next((repr(cards[k]) for k in keywords if k in cards), repr(value))


def _fields(text: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]


def _apply(step: str, argument: Any, value: Value, begins: float) -> Value:
    if step in _SIMPLE:
        return _SIMPLE[step](value)
    if step == "day":
        return observing_day(_text(value), begins)
    if step in _ARITHMETIC:
        return _ARITHMETIC[step](_amount(value), _amount(argument))
    if step == "regex":
        match = argument.fullmatch(_text(value))
        if match is None:
            raise ValueError(f"does not match {argument.pattern}")
        return str(match[1]) if argument.groups else str(match[0])
    if step == "digits":
        digits = "".join(c for c in _text(value) if c in string.digits)
        if len(digits) < argument:
            raise ValueError(f"has fewer than {argument} digits")
        return digits[:argument]
    table, otherwise = argument
    if value in table:
        result: Value = table[value]
        return result
    if otherwise == "keep":
        return value
    if otherwise == "null":
        return None
    raise ValueError(f"not in the table ({', '.join(map(str, table))})")


def _text(value: Value) -> str:
    if not isinstance(value, str):
        raise ValueError("not text")  # noqa: TRY004 - a header's mistake, told like the others
    return value


def _integer(value: Value) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and value != int(value)):
        raise ValueError("not an integer")
    try:
        return int(value)  # type: ignore[arg-type]  # None is caught
    except (TypeError, ValueError):
        raise ValueError("not an integer") from None


def _number(value: Value) -> float:
    try:
        result = math.nan if isinstance(value, bool) else float(value)  # type: ignore[arg-type]  # None is caught
    except (TypeError, ValueError):
        result = math.nan
    if not math.isfinite(result):
        raise ValueError("not a number")
    return result


def _amount(value: Value) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("not a number")  # noqa: TRY004 - a header's mistake, told like the others
    return value


_ARITHMETIC: dict[str, Callable[[int | float, int | float], int | float]] = {
    "plus": operator.add,
    "times": operator.mul,
}

_SIMPLE: dict[str, Callable[[Value], Value]] = {
    "strip": lambda value: _text(value).strip(),
    "lower": lambda value: _text(value).lower(),
    "upper": lambda value: _text(value).upper(),
    "int": _integer,
    "float": _number,
    "str": str,
    "utc": lambda value: tai_from_utc(_text(value)),
    "tai": lambda value: tai(_text(value)),
}


class Rules:
    """Rules in the order in which they are applied."""

    def __init__(self, rules: tuple[Rule, ...], day_begins: float) -> None:
        self.rules = rules
        self.day_begins = day_begins

    def apply(self, cards: Mapping[str, object], file_name: str) -> tuple[dict[str, Value], list[str]]:
        """Give all values, and all that is wrong with the header."""
        values: dict[str, Value] = {}
        wrong: dict[str, list[str]] = {}
        for rule in self.rules:
            values[rule.name] = None
            try:
                values[rule.name] = rule.value(cards, file_name, values, self.day_begins)
            except RuleError as error:
                wrong.setdefault(str(error), []).append(rule.name)
        return values, [f"{', '.join(names)}: {what}" for what, names in wrong.items()]


def read_rule(
    document: Document, path: Key, value: object, earlier: tuple[str, ...]
) -> tuple[Rule | None, list[Problem]]:
    """Read one rule of a document; give it, or all that is wrong with it."""
    problems = document.check_keys(
        path, value, optional=(*SOURCES, "seconds", "steps", "when", "unless", "default")
    )
    if not isinstance(value, dict):
        return None, problems
    name = str(path[-1])
    sources = [source for source in SOURCES if source in value]
    if len(sources) != 1:
        what = f"one source is needed, of {', '.join(SOURCES)}; here: {', '.join(sources) or 'none'}"
        return None, [*problems, document.problem("PST-C012", path, what)]
    source = sources[0]
    argument = value[source]
    keywords: tuple[str, ...] = ()
    at = (*path, source)

    def known(word: object, where: Key) -> None:
        if word not in earlier:
            problems.append(
                document.problem(
                    "PST-C013",
                    where,
                    f"'{word}' is no earlier value",
                    f"earlier: {', '.join(earlier) or 'none'}",
                )
            )

    if source == "keyword":
        given = argument if isinstance(argument, list) else [argument]
        if not given or not all(isinstance(k, str) and k for k in given):
            problems.append(document.problem("PST-C011", at, "must be a keyword or a list of keywords"))
        keywords = tuple(str(k).upper() for k in given)
    elif source == "format":
        problems += document.check_type(at, argument, str)
        if isinstance(argument, str):
            problems += _check_format(document, at, argument, known)
    elif source == "after":
        seconds = value.get("seconds")
        known(argument, at)
        known(seconds, (*path, "seconds"))
        argument = (argument, seconds)
    elif source == "constant":
        problems += document.check_type(at, argument, str, int, float)
    if "seconds" in value and source != "after":
        problems.append(document.problem("PST-C013", (*path, "seconds"), "belongs to 'after' alone"))
    conditions = {}
    for word in ("when", "unless"):
        conditions[word], more = _read_condition(document, (*path, word), value.get(word, {}), known)
        problems += more
    steps, more = _read_steps(document, (*path, "steps"), value.get("steps", []), known)
    problems += more
    if problems:
        return None, problems
    return (
        Rule(
            name, source, argument, keywords, steps, conditions["when"], conditions["unless"],
            optional="default" in value, default=value.get("default"),
        ), [],
    )  # fmt: skip


def _check_format(
    document: Document, at: Key, text: str, known: Callable[[object, Key], None]
) -> list[Problem]:
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError as error:
        return [document.problem("PST-C013", at, str(error))]
    problems = []
    for _, name, spec, conversion in parts:
        if name is not None:
            known(name, at)
            if conversion or not _FIELD.fullmatch(spec or ""):
                problems.append(
                    document.problem(
                        "PST-C013", at, f"'{{{name}:{spec}}}' is not allowed", "write {name} or {name:04d}"
                    )
                )
    return problems


def _read_condition(
    document: Document, path: Key, value: object, known: Callable[[object, Key], None]
) -> tuple[dict[str, tuple[Value, ...]], list[Problem]]:
    if not isinstance(value, dict):
        return {}, [document.problem("PST-C011", path, f"must be a mapping, not {kind_of(value)}")]
    for word in value:
        known(word, (*path, word))
    return {w: tuple(v) if isinstance(v, list) else (v,) for w, v in value.items()}, []


def _read_steps(
    document: Document, path: Key, value: object, known: Callable[[object, Key], None]
) -> tuple[tuple[tuple[str, Any], ...], list[Problem]]:
    if not isinstance(value, list):
        return (), [document.problem("PST-C011", path, f"must be a list, not {kind_of(value)}")]
    steps: list[tuple[str, Any]] = []  # Any: of the step
    problems: list[Problem] = []
    for position, item in enumerate(value):
        at: Key = (*path, position)
        if isinstance(item, str) and item in PLAIN_STEPS:
            steps.append((item, None))
            continue
        word = next((w for w in ARGUMENT_STEPS if isinstance(item, dict) and w in item), None)
        if word is None:
            what = f"unknown step {kind_of(item)}"
            problems.append(
                document.problem("PST-C013", at, what, f"known: {', '.join((*PLAIN_STEPS, *ARGUMENT_STEPS))}")
            )
            continue
        problems += document.check_keys(
            at, item, required=(word,), optional=("otherwise",) if word == "table" else ()
        )
        argument = item[word]
        if word == "regex":
            try:
                argument = re.compile(argument)
            except (re.error, TypeError) as error:
                problems.append(
                    document.problem("PST-C013", (*at, word), f"not a regular expression: {error}")
                )
        elif word == "digits":
            problems += document.check_type((*at, word), argument, int)
        elif word in _ARITHMETIC:
            problems += document.check_type((*at, word), argument, int, float, str)
            if isinstance(argument, str):
                known(argument, (*at, word))
        elif not isinstance(argument, dict) or not argument:
            problems.append(document.problem("PST-C011", (*at, word), "must be a mapping with entries"))
        elif item.get("otherwise", "refuse") not in ("refuse", "keep", "null"):
            problems.append(
                document.problem("PST-C013", (*at, "otherwise"), "must be refuse, keep or 'null'")
            )
        else:
            argument = (argument, item.get("otherwise", "refuse"))
        steps.append((word, argument))
    return tuple(steps), problems
