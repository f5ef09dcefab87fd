"""Reading a universe: which dimensions there are, from YAML, checked as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Literal, cast, get_args

from prestow.documents import Document, Key, check_schema, parse_document, read_document
from prestow.errors import Problem, raise_all
from prestow.model.universe import Dimension, Relation, Universe, ValueType

SCHEMA = "prestow.universe/1"
WORD = re.compile(r"[a-z][a-z0-9_]*")
VALUE_TYPES: tuple[str, ...] = get_args(ValueType)
RESERVED = frozenset(
    {"run", "type"}  # fields of templates
    | {"and", "or", "not", "in", "like", "is", "null", "true", "false"}  # words of selections
    | {"dataset", "quantum", "task", "job", "id", "data_id", "planned", "root", "format", "recipe"}
    | {"path", "producer", "store", "size", "sha256", "content", "receipt", "connection"}
)
"""Names that no dimension may have."""


def load_universe(path: Path | None = None) -> Universe:
    """Read a universe from YAML; without a path, the survey universe that prestow ships.

    Raises
    ------
    ConfigurationError
        With every problem of the file, each at its line and column.

    Examples
    --------
    >>> load_universe().expand(["patch", "visit"])
    ('band', 'day_obs', 'instrument', 'patch', 'physical_filter', 'skymap', 'tract', 'visit')
    """
    if path is not None:
        return read_universe(read_document(path))
    text = files("prestow.naming").joinpath("survey.yaml").read_text(encoding="utf-8")
    return read_universe(parse_document(text, "survey.yaml"))


def read_universe(document: Document) -> Universe:
    """Turn a document into a universe, or raise with every problem in it."""
    problems = document.check_keys(
        (), document.data, required=("schema", "name", "version", "dimensions"), optional=("relations",)
    )
    if not isinstance(document.data, dict):
        raise_all(problems)
    top = cast("dict[str, object]", document.data)
    problems += check_schema(document, top, SCHEMA)
    if "name" in top:
        problems += document.check_type(("name",), top["name"], str)
    if "version" in top:
        problems += document.check_type(("version",), top["version"], int)
    dimensions = dict(_dimensions(document, top.get("dimensions", {}), problems))
    _check_names(document, dimensions, problems)
    closed = _close_requires(document, dimensions, problems)
    _check_implies(document, closed, problems)
    relations = dict(_relations(document, top.get("relations", {}), closed, problems))
    raise_all(problems)
    return Universe(str(top["name"]), cast("int", top["version"]), closed, relations)


def _names(document: Document, path: Key, value: object, problems: list[Problem]) -> tuple[str, ...]:
    """Give the texts of a list, in their order, each once."""
    wrong = document.check_type(path, value, list)
    problems += wrong
    found: list[str] = []
    for i, item in enumerate(value if isinstance(value, list) else ()):
        bad = document.check_type((*path, i), item, str)
        problems += bad
        if bad:
            continue
        if item in found:
            problems.append(
                document.problem("PST-C013", (*path, i), f"'{item}' stands twice", "leave one out")
            )
        else:
            found.append(item)
    return tuple(found)


def _dimensions(
    document: Document, section: object, problems: list[Problem]
) -> Iterator[tuple[str, Dimension]]:
    wrong = document.check_type(("dimensions",), section, dict)
    problems += wrong
    for name, body in section.items() if isinstance(section, dict) else ():
        path: Key = ("dimensions", name)
        problems += _check_word(document, path, name, "a dimension's name")
        if name in RESERVED:
            problems.append(
                document.problem(
                    "PST-C013", path, f"'{name}' has a meaning of its own", "choose another name", at_key=True
                )
            )
        bad = document.check_keys(
            path, body, required=("type",), optional=("requires", "implies", "aliases", "metadata", "date")
        )
        problems += bad
        if not isinstance(body, dict):
            continue
        kind = body.get("type", "str")
        if kind not in ("int", "str"):
            problems.append(
                document.problem("PST-C013", (*path, "type"), f"no such type: {kind!r}", "write int or str")
            )
            kind = "str"
        yield (
            str(name),
            Dimension(
                str(name),
                cast("Literal['int', 'str']", kind),
                _names(document, (*path, "requires"), body.get("requires", []), problems),
                _names(document, (*path, "implies"), body.get("implies", []), problems),
                _names(document, (*path, "aliases"), body.get("aliases", []), problems),
                _metadata(document, (*path, "metadata"), body.get("metadata", {}), problems),
                _date(document, path, body, problems),
            ),
        )


def _date(document: Document, path: Key, body: Mapping[str, object], problems: list[Problem]) -> bool:
    """Say whether a dimension's integers are days; only integers can be."""
    value = body.get("date", False)
    wrong = document.check_type((*path, "date"), value, bool)
    if not wrong and value and body.get("type") != "int":
        what = "only a dimension of type int can be a date, as YYYYMMDD"
        wrong = [document.problem("PST-C013", (*path, "date"), what, "write 'type: int'")]
    problems += wrong
    return value is True and not wrong


def _check_word(document: Document, path: Key, name: object, what: str) -> list[Problem]:
    if isinstance(name, str) and WORD.fullmatch(name):
        return []
    fix = "use small letters, digits and '_', a letter first"
    return [document.problem("PST-C013", path, f"{name!r} cannot be {what}", fix, at_key=True)]


def _metadata(
    document: Document, path: Key, section: object, problems: list[Problem]
) -> dict[str, ValueType]:
    problems += document.check_type(path, section, dict)
    found: dict[str, ValueType] = {}
    for name, kind in section.items() if isinstance(section, dict) else ():
        problems += _check_word(document, (*path, name), name, "a metadata column's name")
        if kind in VALUE_TYPES:
            found[str(name)] = cast("ValueType", kind)
        else:
            problems.append(
                document.problem(
                    "PST-C013", (*path, name), f"no such type: {kind!r}", f"write {', '.join(VALUE_TYPES)}"
                )
            )
    return found


def _check_names(document: Document, dimensions: Mapping[str, Dimension], problems: list[Problem]) -> None:
    """Find names that could mean two things: an alias, or a metadata column, that is a dimension's."""
    owner: dict[str, str] = {name: name for name in dimensions}
    for name, dimension in dimensions.items():
        for i, alias in enumerate(dimension.aliases):
            path: Key = ("dimensions", name, "aliases", i)
            if alias in owner:
                problems.append(
                    document.problem(
                        "PST-C013", path, f"'{alias}' already means {owner[alias]}", "choose another alias"
                    )
                )
            else:
                owner[alias] = name
    for name, dimension in dimensions.items():
        for column in dimension.metadata:
            if column in owner:
                path = ("dimensions", name, "metadata", column)
                what = f"'{column}' already means the dimension {owner[column]}"
                problems.append(document.problem("PST-C013", path, what, "choose another name", at_key=True))


def _close_requires(
    document: Document, dimensions: Mapping[str, Dimension], problems: list[Problem]
) -> dict[str, Dimension]:
    """Give the dimensions with all they require, also through others."""
    for name, dimension in dimensions.items():
        problems += _unknown(document, ("dimensions", name, "requires"), dimension.requires, dimensions)
    closed: dict[str, Dimension] = {}
    for name, dimension in dimensions.items():
        found = _reach(name, {n: d.requires for n, d in dimensions.items()})
        if name in found:
            path: Key = ("dimensions", name, "requires")
            problems.append(
                document.problem("PST-C013", path, f"{name} requires itself", "take out one of the steps")
            )
        closed[name] = Dimension(
            dimension.name,
            dimension.type,
            tuple(sorted(found - {name})),
            dimension.implies,
            dimension.aliases,
            dimension.metadata,
            dimension.date,
        )
    return closed


def _unknown(
    document: Document, path: Key, names: tuple[str, ...], dimensions: Mapping[str, Dimension]
) -> Iterator[Problem]:
    universe = Universe("", 0, dimensions, {})
    for i, name in enumerate(names):
        if name not in dimensions:
            yield document.problem(
                "PST-C023", (*path, i), f"unknown dimension '{name}'", universe.suggest(name)
            )


def _reach(start: str, edges: Mapping[str, tuple[str, ...]]) -> set[str]:
    """Give what can be reached from a name by one step or more; the name itself if on a cycle."""
    found: set[str] = set()
    todo = list(edges.get(start, ()))
    while todo:
        name = todo.pop()
        if name not in found and name in edges:
            found.add(name)
            todo += edges[name]
    return found


def _check_implies(document: Document, dimensions: Mapping[str, Dimension], problems: list[Problem]) -> None:
    edges = {n: d.implies for n, d in dimensions.items()}
    for name, dimension in dimensions.items():
        path: Key = ("dimensions", name, "implies")
        problems += _unknown(document, path, dimension.implies, dimensions)
        if name in _reach(name, edges):
            problems.append(
                document.problem("PST-C013", path, f"{name} implies itself", "take out one of the steps")
            )
        for i, implied in enumerate(dimension.implies):
            if implied not in dimensions:
                continue
            if implied in dimension.requires:
                what = f"{name} requires {implied}; it cannot imply it too"
                problems.append(document.problem("PST-C013", (*path, i), what, "leave it out of 'implies'"))
            # the key of an implied value must be at hand in the record that implies it
            missing = set(dimensions[implied].requires) - {name, *dimension.requires, *dimension.implies}
            if missing:
                what = f"{implied} needs {', '.join(sorted(missing))}, which {name} does not have"
                problems.append(
                    document.problem("PST-C013", (*path, i), what, f"let {name} require or imply it too")
                )


def _relations(
    document: Document, section: object, dimensions: Mapping[str, Dimension], problems: list[Problem]
) -> Iterator[tuple[str, Relation]]:
    problems += document.check_type(("relations",), section, dict)
    for name, body in section.items() if isinstance(section, dict) else ():
        path: Key = ("relations", name)
        problems += _check_word(document, path, name, "a relation's name")
        problems += document.check_keys(path, body, required=("between",), optional=("version", "metadata"))
        if not isinstance(body, dict) or "between" not in body:
            continue
        version = body.get("version", 1)
        problems += document.check_type((*path, "version"), version, int)
        metadata = _metadata(document, (*path, "metadata"), body.get("metadata", {}), problems)
        problems += [
            document.problem(
                "PST-C013", (*path, "metadata", column), f"'{column}' already means the dimension {column}",
                "choose another name", at_key=True,
            )
            for column in metadata
            if column in dimensions
        ]  # fmt: skip
        sides = _sides(document, (*path, "between"), body["between"], dimensions, problems)
        if sides is not None:
            yield str(name), Relation(str(name), sides, version if isinstance(version, int) else 1, metadata)


def _sides(
    document: Document, path: Key, value: object, dimensions: Mapping[str, Dimension], problems: list[Problem]
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Give the two sides of a relation, each a dimension or a list of them."""
    wrong = document.check_type(path, value, list)
    problems += wrong
    if wrong:
        return None
    found: list[tuple[str, ...]] = []
    for i, side in enumerate(value if isinstance(value, list) else ()):
        names = _names(document, (*path, i), side, problems) if isinstance(side, list) else (side,)
        if not isinstance(side, list):
            problems += document.check_type((*path, i), side, str)
        problems += [
            document.problem("PST-C023", (*path, i), f"unknown dimension '{name}'", _near(name, dimensions))
            for name in names
            if name not in dimensions
        ]
        found.append(tuple(str(name) for name in names))
    match found:
        case (first, second) if first and second:
            twice = [name for name in second if name in first]
            if not twice:
                return first, second
            what = f"'{twice[0]}' stands on both sides"
            problems.append(document.problem("PST-C013", path, what, "leave one out"))
        case _:
            fix = "write 'between: [visit, exposure]', or a list of dimensions for a side"
            problems.append(document.problem("PST-C013", path, "a relation is between two sides", fix))
    return None


def _near(name: object, dimensions: Mapping[str, Dimension]) -> str:
    return Universe("", 0, dimensions, {}).suggest(str(name))
