"""Files that a person wrote: YAML with the place of every value, and errors that point at it.

Owns reading YAML with line and column. Serves every room that has a file format for people. Never
knows what the keys mean, beyond checking a mapping against a list of them.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import yaml

from prestow.errors import ConfigurationError, Problem


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc] # one of two, as PyYAML was built
    """The safe loader with a table of its own: a library in the same process may change PyYAML's for all.

    Pegasus's API does so when it is imported: ``off`` is a text after it, and a date is, too.
    """

    yaml_constructors: ClassVar = dict(yaml.constructor.SafeConstructor.yaml_constructors)


Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Document:
    """A YAML file: its plain values, and for each value and key the line and column (from 1).

    Parameters
    ----------
    source : str
        The file as a person would name it.
    data : object
        Plain values.
    marks : mapping of path to (line, column)
        The place of a value, by its path in the document: ``("tasks", "isr", "inputs")``.
    key_marks : mapping of path to (line, column)
        The place of the key that leads to the value.
    lines : tuple of str
        The text, for excerpts.
    """

    source: str
    data: object
    marks: Mapping[Key, tuple[int, int]]
    key_marks: Mapping[Key, tuple[int, int]]
    lines: tuple[str, ...]

    def problem(self, code: str, path: Key, what: str, fix: str = "", *, at_key: bool = False) -> Problem:
        """Make a problem that points at a value (or its key) of this document."""
        marks = self.key_marks if at_key else self.marks
        probe = path
        while probe not in marks and probe:
            probe = probe[:-1]
            marks = self.marks
        line, column = marks.get(probe, (1, 1))
        excerpt = ""
        if 0 < line <= len(self.lines):
            number = f"{line:4d}| "
            excerpt = f"{number}{self.lines[line - 1]}\n{' ' * 4}| {' ' * (column - 1)}^"
        dotted = ".".join(str(part) for part in path)
        return Problem(
            code, f"{dotted}: {what}" if dotted else what, f"{self.source}:{line}:{column}", fix, excerpt
        )

    def check_keys(
        self, path: Key, value: object, *, required: Iterable[str] = (), optional: Iterable[str] = ()
    ) -> list[Problem]:
        """Check that a value is a mapping with these keys; give every problem found."""
        required, optional = tuple(required), tuple(optional)
        if not isinstance(value, dict):
            return [self.problem("PST-C011", path, f"must be a mapping, not {kind_of(value)}")]
        known = (*required, *optional)
        problems = []
        for key in value:
            if key not in known:
                near = difflib.get_close_matches(str(key), known, 1)
                fix = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(known)}"
                problems.append(
                    self.problem("PST-C010", (*path, key), f"unknown key '{key}'", fix, at_key=True)
                )
        problems += [
            self.problem("PST-C012", path, f"key '{key}' is missing", f"add '{key}:'")
            for key in required
            if key not in value
        ]
        return problems

    def check_type(self, path: Key, value: object, *kinds: type) -> list[Problem]:
        """Check that a value is of one of these types (bool is not an int here)."""
        good = isinstance(value, kinds) and not (isinstance(value, bool) and bool not in kinds)
        if good:
            return []
        names = " or ".join(_KINDS.get(kind, kind.__name__) for kind in kinds)
        return [self.problem("PST-C011", path, f"must be {names}, not {kind_of(value)}")]


_KINDS = {
    dict: "a mapping",
    list: "a list",
    str: "text",
    int: "an integer",
    float: "a number",
    bool: "true or false",
    type(None): "null",
}


def kind_of(value: object) -> str:
    """Say in words what kind of YAML value this is."""
    name = _KINDS.get(type(value), type(value).__name__)
    return f"{name} ({value!r})" if isinstance(value, str | int | float) else name


def read_document(path: Path, *, source: str | None = None) -> Document:
    """Read a YAML file with the place of every value.

    Raises
    ------
    ConfigurationError
        If the file cannot be read (PST-C001), is not YAML (PST-C002), or repeats keys
        (PST-C003, every one of them).
    """
    name = source or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise ConfigurationError(
            Problem("PST-C001", f"cannot read the file: {reason}", name, "check the path and its permissions")
        ) from error
    return parse_document(text, name)


def parse_document(text: str, source: str = "<text>") -> Document:
    """Read YAML text with the place of every value; errors as for `read_document`."""
    lines = tuple(text.splitlines())
    marks: dict[Key, tuple[int, int]] = {}
    key_marks: dict[Key, tuple[int, int]] = {}
    problems: list[Problem] = []
    loader = Loader(text)
    try:
        node = loader.get_single_node()
        data = _walk(loader, node, (), marks, key_marks, problems, source, 0) if node is not None else {}
    except yaml.MarkedYAMLError as error:
        mark, what = (
            error.problem_mark or error.context_mark,
            f"not valid YAML: {error.problem or error.context}",
        )
        if mark is not None and mark.line >= len(lines) and error.context_mark is not None:
            mark, what = error.context_mark, f"{what}, to the end of the file, for what begins here"
        line, column = (mark.line + 1, mark.column + 1) if mark else (1, 1)
        document = Document(source, None, {(): (line, column)}, {}, lines)
        raise ConfigurationError(document.problem("PST-C002", (), what)) from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigurationError(Problem("PST-C002", f"not valid YAML: {error}", source)) from error
    finally:
        loader.dispose()
    if problems:
        raise ConfigurationError(*problems)
    return Document(source, data, marks, key_marks, lines)


def _walk(
    loader: yaml.SafeLoader,
    node: yaml.Node,
    path: Key,
    marks: dict[Key, tuple[int, int]],
    key_marks: dict[Key, tuple[int, int]],
    problems: list[Problem],
    source: str,
    depth: int,
) -> object:
    marks[path] = (node.start_mark.line + 1, node.start_mark.column + 1)
    if depth > 100:  # noqa: PLR2004 - no file a person wrote is deeper; aliases can be endless
        raise yaml.MarkedYAMLError(problem="nested too deeply", problem_mark=node.start_mark)
    if isinstance(node, yaml.MappingNode):
        result: dict[object, object] = {}
        for key_node, value_node in node.value:
            key = loader.construct_object(key_node, deep=True)
            place = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if not isinstance(key, str | int):
                problems.append(
                    Problem(
                        "PST-C011",
                        f"a key must be text, not {kind_of(key)}",
                        f"{source}:{place[0]}:{place[1]}",
                    )
                )
                continue
            if key in result:
                problems.append(
                    Problem(
                        "PST-C003",
                        f"key '{key}' stands twice",
                        f"{source}:{place[0]}:{place[1]}",
                        "leave one of them out",
                    )
                )
            key_marks[(*path, key)] = place
            result[key] = _walk(
                loader, value_node, (*path, key), marks, key_marks, problems, source, depth + 1
            )
        return result
    if isinstance(node, yaml.SequenceNode):
        return [
            _walk(loader, child, (*path, i), marks, key_marks, problems, source, depth + 1)
            for i, child in enumerate(node.value)
        ]
    return loader.construct_object(node, deep=True)


def check_schema(document: Document, top: Mapping[str, object], schema: str) -> list[Problem]:
    """Give a problem if the document says it follows another schema."""
    if "schema" not in top or top["schema"] == schema:
        return []
    return [
        document.problem(
            "PST-C014", ("schema",), f"schema '{top['schema']}' is not read here", f"write 'schema: {schema}'"
        )
    ]
