"""One pass over a pipeline's files: values by kind, and each problem at its place."""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from prestow.documents import Document, Key, kind_of
from prestow.errors import Problem
from prestow.model import DatasetType
from prestow.model.universe import Universe
from prestow.naming.universe import WORD

SelectionCheck = Callable[[str, Universe, Iterable[str]], Iterable[Problem]]
"""Says what is wrong with a selection on data of these dimensions: `prestow.query.check_selection`."""

_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)\s*([A-Za-z]*)")


@dataclass(frozen=True, slots=True)
class Definition:
    """A dataset type as one place defines it; ``given`` are the keys that stand there."""

    document: Document
    path: Key
    type: DatasetType
    given: frozenset[str]
    good: bool

    def problem(self, code: str, key: str, what: str, fix: str) -> Problem:
        """Make a problem that points at a key of this definition, or at all of it."""
        path = (*self.path, key) if key in self.given else self.path
        return self.document.problem(code, path, what, fix, at_key=not key)


@dataclass(slots=True)
class Reader:
    """One pass over a pipeline's document; what is wrong collects in ``problems``.

    ``beside`` holds, by task and key, the documents of what is declared beside the code, and
    ``defined`` every definition of each dataset type, wherever it stands. What is ``doubtful``, a
    task or dataset type by its name, has a problem already, and is not held against others.
    """

    document: Document
    universe: Universe
    check_where: SelectionCheck | None = None
    problems: list[Problem] = field(default_factory=list)
    beside: dict[Key, Document] = field(default_factory=dict)
    defined: dict[str, list[Definition]] = field(default_factory=dict)
    doubtful: set[tuple[str, str]] = field(default_factory=set)

    def of(self, path: Key) -> Document:
        """Give the document in which a value stands: the pipeline's, or a task's own."""
        return self.beside.get(path[:3], self.document)

    def place(self, path: Key) -> str:
        """Give ``file:line:column`` of a value."""
        document = self.of(path)
        while path and path not in document.marks:
            path = path[:-1]
        line, column = document.marks.get(path, (1, 1))
        return f"{document.source}:{line}:{column}"

    def note(self, code: str, path: Key, what: str, fix: str = "", *, at_key: bool = False) -> None:
        """Add a problem."""
        self.problems.append(self.of(path).problem(code, path, what, fix, at_key=at_key))

    def unknown(self, code: str, path: Key, what: str, name: object, known: Iterable[str]) -> None:
        """Add a problem with a name that is not among the known ones."""
        known = tuple(known)
        near = difflib.get_close_matches(str(name), known, 1)
        fix = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(known)}" if known else ""
        self.note(code, path, f"{what} '{name}'", fix)

    def section(
        self, path: Key, value: object, required: Iterable[str] = (), optional: Iterable[str] = ()
    ) -> dict[str, object]:
        """Give a mapping with these keys; anything else is noted and empty."""
        self.problems += self.of(path).check_keys(path, value, required=required, optional=optional)
        return {str(k): v for k, v in value.items()} if isinstance(value, dict) else {}

    def mapping(self, path: Key, value: object) -> dict[object, object]:
        """Give a mapping with any keys; nothing at all is an empty one."""
        if value is None:
            return {}
        self.problems += self.of(path).check_type(path, value, dict)
        return value if isinstance(value, dict) else {}

    def word(self, path: Key, name: object, what: str) -> bool:
        """Check a key that names something."""
        if isinstance(name, str) and WORD.fullmatch(name):
            return True
        fix = "use small letters, digits and '_', a letter first"
        self.note("PST-C013", path, f"{name!r} cannot be the name of {what}", fix, at_key=True)
        return False

    def text(self, path: Key, value: object) -> str:
        """Give a text."""
        self.problems += self.of(path).check_type(path, value, str)
        return value if isinstance(value, str) else ""

    def texts(self, path: Key, value: object) -> tuple[str, ...]:
        """Give a list of texts, each once."""
        self.problems += self.of(path).check_type(path, value, list)
        found: list[str] = []
        for i, item in enumerate(value if isinstance(value, list) else ()):
            text = self.text((*path, i), item)
            if text in found:
                self.note("PST-C013", (*path, i), f"'{text}' stands twice", "leave one out")
            elif text:
                found.append(text)
        return tuple(found)

    def choices(self, path: Key, value: object, known: Iterable[str], what: str) -> tuple[str, ...]:
        """Give a list of known names."""
        known, found = tuple(known), []
        for i, name in enumerate(self.texts(path, value)):
            if name in known:
                found.append(name)
            else:
                self.unknown("PST-C013", (*path, i), f"unknown {what}", name, known)
        return tuple(found)

    def dimensions(self, path: Key, value: object) -> tuple[str, ...]:
        """Give the dimensions of a list of names or aliases, closed."""
        found: list[str] = []
        for i, name in enumerate(self.texts(path, value)):
            known = self.universe.canonical(name)
            if known is None:
                fix = self.universe.suggest(name)
                self.note("PST-C023", (*path, i), f"unknown dimension '{name}'", fix)
            else:
                found.append(known)
        return self.universe.close(found)

    def where(self, path: Key, value: object, dimensions: Iterable[str]) -> str:
        """Give the text of a selection, checked if there is a check."""
        text = self.text(path, value)
        if self.check_where is not None and text:
            for problem in self.check_where(text, self.universe, dimensions):
                position = problem.where.partition(":")[2]
                what = f"{problem.what} (column {position} of the selection)" if position else problem.what
                self.note(problem.code, path, what, problem.fix)
        return text

    def note_within(self, code: str, path: Key, text: str, offset: int, what: str, fix: str = "") -> None:
        """Add a problem with a character of a text: at its own column, where the text stands on one line."""
        document = self.of(path)
        problem = document.problem(code, path, what, fix)
        line, column = document.marks.get(path, (0, 0))
        whole = document.lines[line - 1] if 0 < line <= len(document.lines) else ""
        begin = whole.find(text, column - 1) if column else -1
        if begin >= 0:
            marks = {**document.marks, path: (line, begin + offset + 1)}
            problem = replace(document, marks=marks).problem(code, path, what, fix)
        self.problems.append(problem)

    @staticmethod
    def is_quantity(text: str) -> bool:
        """Say whether a text is a number with a unit, or meant to be one."""
        return _QUANTITY.fullmatch(text) is not None

    def quantity(self, path: Key, value: object, units: Mapping[str, float]) -> float | None:
        """Give a number of at least 0, with a unit if it is text."""
        number: float | None = None
        if isinstance(value, int | float) and not isinstance(value, bool):
            number = float(value)
        elif isinstance(value, str) and (match := _QUANTITY.fullmatch(value)) and match[2] in units:
            number = float(match[1]) * units[match[2]]
        if number is not None and 0 <= number < float("inf"):
            return number
        known = ", ".join(unit for unit in units if unit)
        fix = f"write a number, with a unit if you like: {known}" if known else "write a number"
        self.note("PST-C011", path, f"must be a number of at least 0, not {kind_of(value)}", fix)
        return None

    def count(self, path: Key, value: object, fix: str) -> int:
        """Give a whole number of at least 1."""
        wrong = self.of(path).check_type(path, value, int)
        self.problems += wrong
        if isinstance(value, int) and not wrong and value >= 1:
            return value
        if not wrong:
            self.note("PST-C013", path, f"must be at least 1, not {value}", fix)
        return 1
