"""The configuration of a Python task, read from its source without running it.

The entry function's second parameter is annotated with a dataclass of the same module; its fields,
their types and literal defaults are read from the syntax tree, so that a plan is made where the
task's own libraries are not installed.
"""

from __future__ import annotations

import ast
import difflib
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, cast

from prestow.documents import Key, kind_of
from prestow.errors import Problem
from prestow.pipeline.decorator import Declaration, read_decorator
from prestow.pipeline.source import Source

ENTRY = re.compile(r"([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*):([A-Za-z_]\w*)", re.ASCII)
_EXPONENT = re.compile(r"[-+]?[0-9]+(?:\.[0-9]*)?[eE][-+]?[0-9]+")
_SCALARS = {"int": "an integer", "float": "a number", "str": "text", "bool": "true or false"}
_LISTS = {"list", "tuple", "Sequence"}
_MAPPINGS = {"dict", "Mapping"}


@dataclass(frozen=True, slots=True)
class Kind:
    """The type of a field: ``name``, and for a container or choice what it holds.

    ``name`` is int, float, str, bool, None, any, list, tuple (of fixed length), dict, union or
    literal.
    """

    name: str
    of: tuple[Kind, ...] = ()
    values: tuple[object, ...] = ()

    def __str__(self) -> str:
        match self.name:
            case "union":
                return " or ".join(map(str, self.of))
            case "literal":
                return "one of " + ", ".join(map(repr, self.values))
            case "list":
                return f"a list, each {self.of[0]}" if self.of else "a list"
            case "tuple":
                return f"a list of {len(self.of)} values"
            case "dict":
                return "a mapping"
            case "None":
                return "null"
            case "any":
                return "a plain value"
        return _SCALARS[self.name]


@dataclass(frozen=True, slots=True)
class ConfigField:
    """One field of a configuration.

    ``default`` counts if ``has_default``; ``unreadable`` says where a default stands that only
    running the code would give.
    """

    name: str
    kind: Kind
    has_default: bool = False
    default: object = None
    unreadable: str = ""


@dataclass(frozen=True, slots=True)
class Entry:
    """What can be told of an entry function from its source; not ``readable``: nothing can.

    ``declared`` is what its decorator says, or None if it has none.
    """

    config_class: str | None = None
    fields: tuple[ConfigField, ...] = ()
    readable: bool = True
    declared: Declaration | None = None


class WrongValueError(ValueError):
    """A value does not fit its field; ``path`` leads to it inside the value."""

    def __init__(self, path: tuple[str | int, ...], what: str) -> None:
        super().__init__(what)
        self.path = path
        self.what = what


def fit(kind: Kind, value: object, path: tuple[str | int, ...] = ()) -> Any:
    """Give a value as the plain JSON value of its kind, so that equal ones are written equally.

    An integer becomes a float where a float is asked for (3 and 3.0 are one configuration), a
    tuple a list.

    Raises
    ------
    WrongValueError
        If it does not fit.
    """
    match kind.name:
        case "any":
            return plain(value, path)
        case "union":
            exact = [k for k in kind.of if k.name == _own_kind(value)]
            for option in (*exact, *kind.of):
                try:
                    return fit(option, value, path)
                except WrongValueError as error:
                    if len(error.path) > len(path):
                        raise  # the right kind of container with a wrong item: say that
        case "literal":
            if any(type(v) is type(value) and v == value for v in kind.values):
                return value
        case "list" | "tuple" if isinstance(value, list | tuple):
            if kind.name == "tuple" and len(value) != len(kind.of):
                raise WrongValueError(path, f"must be {kind}, not of {len(value)}")
            kinds = kind.of if kind.name == "tuple" else (kind.of or (Kind("any"),)) * len(value)
            return [fit(k, v, (*path, i)) for i, (k, v) in enumerate(zip(kinds, value, strict=True))]
        case "dict" if isinstance(value, Mapping):
            item = kind.of[0] if kind.of else Kind("any")
            return {_key(k, path): fit(item, v, (*path, k)) for k, v in value.items()}
        case "float" if isinstance(value, int | float) and not isinstance(value, bool):
            return _finite(float(value), path)
        case "float" if isinstance(value, str) and _EXPONENT.fullmatch(value):
            return _finite(float(value), path)  # YAML reads 1e-3, without a point, as text
        case "int" | "str" | "bool" | "None" if _own_kind(value) == kind.name:
            return value
    raise WrongValueError(path, f"must be {kind}, not {kind_of(value)}")


def plain(value: object, path: tuple[str | int, ...] = ()) -> Any:
    """Give any value as plain JSON, or raise `WrongValueError`."""
    if isinstance(value, float):
        return _finite(value, path)
    if value is None or isinstance(value, bool | int | str):
        return value
    if isinstance(value, list | tuple):
        return [plain(v, (*path, i)) for i, v in enumerate(value)]
    if isinstance(value, Mapping):
        return {_key(k, path): plain(v, (*path, k)) for k, v in value.items()}
    raise WrongValueError(path, f"{kind_of(value)} is not a plain value; put it in quotes")


def _own_kind(value: object) -> str:
    return "None" if value is None else type(value).__name__


def _key(key: object, path: tuple[str | int, ...]) -> str:
    if not isinstance(key, str):
        raise WrongValueError(path, f"a key must be text, not {kind_of(key)}; put it in quotes")
    return key


def _finite(value: float, path: tuple[str | int, ...]) -> float:
    if not math.isfinite(value):
        raise WrongValueError(path, f"must be a finite number, not {value}")
    return value + 0.0  # minus zero becomes zero


def read_entry(
    entry: str,
    files: Mapping[str, bytes],
    places: Mapping[str, str],
    problems: list[Problem],
    path: Key = (),
) -> Entry | str:
    """Read the configuration of an entry function, or say what is wrong with the entry itself.

    Parameters
    ----------
    entry : str
        ``module:function``.
    files, places : mapping
        Contents, and names for people, of the code's files by their names in the zip.
    problems : list
        What is wrong inside the source is added here, at its own place.
    path : tuple
        Where the task stands in the pipeline: the marks of its decorator begin with it.
    """
    match = ENTRY.fullmatch(entry)
    if match is None:
        return f"'{entry}' is not an entry; write module:function"
    module, function = match[1], match[2]
    member = member_of(module, files)
    if member is None:
        known = sorted(_module_name(m) for m in files if m.endswith(".py"))
        near = difflib.get_close_matches(module, known, 1)
        hint = f"; did you mean '{near[0]}'?" if near else f"; known: {', '.join(known)}" if known else ""
        return f"there is no module '{module}' in the code{hint}"
    try:
        source = Source(places[member], files[member])
    except (SyntaxError, ValueError) as error:
        line = getattr(error, "lineno", None) or 1
        column = getattr(error, "offset", None) or 1
        where = f"{places[member]}:{line}:{column}"
        reason = getattr(error, "msg", None) or "not UTF-8 text"
        problems.append(Problem("PST-C025", f"not valid Python: {reason}", where, "correct the module"))
        return Entry(readable=False)
    node = source.find(function)
    if not isinstance(node, ast.FunctionDef):
        known = [n.name for n in source.tree.body if isinstance(n, ast.FunctionDef)]
        near = difflib.get_close_matches(function, known, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        return f"there is no function '{function}' in {places[member]}{hint}"
    declared = read_decorator(source, node, path, problems)
    parameters = [*node.args.posonlyargs, *node.args.args]
    if not parameters:
        fix = f"write def {function}(quantum: Quantum, config: Config) -> None"
        problems.append(source.problem(node, f"'{function}' takes no quantum", fix))
        return Entry(readable=False, declared=declared)
    if len(parameters) == 1:
        return Entry(declared=declared)
    return replace(_configuration(source, parameters[1], problems), declared=declared)


def member_of(module: str, files: Mapping[str, bytes]) -> str | None:
    """Give the name in the zip of a module's file, or None if there is none."""
    stem = module.replace(".", "/")
    return next((m for m in (f"{stem}.py", f"{stem}/__init__.py") if m in files), None)


def _module_name(member: str) -> str:
    return member.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


def _configuration(source: Source, parameter: ast.arg, problems: list[Problem]) -> Entry:
    annotation = _unquote(parameter.annotation)
    found = source.find(annotation.id) if isinstance(annotation, ast.Name) else None
    if not isinstance(found, ast.ClassDef) or not _is_dataclass(found):
        what = f"'{parameter.arg}' is not annotated with a dataclass of this module"
        problems.append(source.problem(parameter, what, f"write {parameter.arg}: Config, a @dataclass"))
        return Entry(readable=False)
    return Entry(found.name, tuple(_fields(source, found, problems).values()))


def _unquote(node: ast.expr | None) -> ast.expr | None:
    """Read an annotation that stands in quotes."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        try:
            inner = ast.parse(node.value, mode="eval").body
        except SyntaxError:
            return node
        return ast.copy_location(inner, node)
    return node


def _is_dataclass(node: ast.ClassDef) -> bool:
    return any(
        _last_name(d.func if isinstance(d, ast.Call) else d) == "dataclass" for d in node.decorator_list
    )


def _last_name(node: ast.AST | None) -> str:
    """Give ``dataclass`` for both ``dataclass`` and ``dataclasses.dataclass``."""
    return node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""


def _fields(source: Source, node: ast.ClassDef, problems: list[Problem]) -> dict[str, ConfigField]:
    found: dict[str, ConfigField] = {}
    for base in node.bases:
        parent = source.find(_last_name(base))
        if isinstance(parent, ast.ClassDef) and parent.lineno < node.lineno and _is_dataclass(parent):
            found |= _fields(source, parent, problems)
        elif _last_name(base) != "object":
            what = f"the fields of '{_last_name(base)}' cannot be read here"
            problems.append(source.problem(base, what, "let it be a dataclass of this module"))
    for statement in node.body:
        if not isinstance(statement, ast.AnnAssign) or not isinstance(statement.target, ast.Name):
            continue
        if _last_name(statement.annotation) == "KW_ONLY" or _is_class_variable(statement.annotation):
            continue
        made = _field(source, statement.target.id, statement, problems)
        if made is not None:
            found[made.name] = made
    return found


def _is_class_variable(node: ast.expr) -> bool:
    inner = _unquote(node)
    return _last_name(inner.value if isinstance(inner, ast.Subscript) else inner) == "ClassVar"


def _field(
    source: Source, name: str, statement: ast.AnnAssign, problems: list[Problem]
) -> ConfigField | None:
    kind = _kind(statement.annotation)
    if kind is None:
        what = f"the type of '{name}' is not one of a configuration: {ast.unparse(statement.annotation)}"
        fix = "use int, float, str, bool, list[…], tuple[…], dict[str, …], Literal[…], X | None"
        problems.append(source.problem(statement.annotation, what, fix))
        kind = Kind("any")
    made = ConfigField(name, kind)
    if statement.value is None:
        return made
    value = statement.value
    if isinstance(value, ast.Call) and _last_name(value.func) == "field":
        arguments = {k.arg: k.value for k in value.keywords}
        init = arguments.get("init")
        if isinstance(init, ast.Constant) and init.value is False:
            return None
        if "default_factory" in arguments:
            value = _factory(arguments["default_factory"])
        elif "default" in arguments:
            value = arguments["default"]
        else:
            return made
    try:
        default = fit(kind, ast.literal_eval(value))
    except WrongValueError as error:
        what = f"the default of '{name}' {error.what}"
        problems.append(source.problem(statement.value, what, "correct the type or the default", "PST-C011"))
        default = None
    except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
        return replace(made, unreadable=source.at(statement.value))
    return replace(made, has_default=True, default=default)


def _factory(node: ast.expr) -> ast.expr:
    """Give what a factory makes, where it is plain: ``list``, ``dict``, ``tuple``, ``lambda: […]``."""
    if isinstance(node, ast.Lambda) and not node.args.args:
        return node.body
    empty = {"list": "[]", "tuple": "()", "dict": "{}"}.get(_last_name(node))
    return ast.parse(empty, mode="eval").body if empty else node


def _kind(node: ast.expr | None) -> Kind | None:
    """Give the kind that an annotation means, or None if it is none of a configuration."""
    node = _unquote(node)
    if isinstance(node, ast.Constant) and node.value is None:
        return Kind("None")
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        return _union([node.left, node.right])
    if isinstance(node, ast.Subscript):
        inner = node.slice.elts if isinstance(node.slice, ast.Tuple) else [node.slice]
        return _container(_last_name(node.value), inner)
    name = _last_name(node)
    if name in _SCALARS:
        return Kind(name)
    if name in {"Any", "object"}:
        return Kind("any")
    return Kind("list") if name in _LISTS else Kind("dict") if name in _MAPPINGS else None


def _union(nodes: list[ast.expr]) -> Kind | None:
    kinds = [_kind(node) for node in nodes]
    if any(kind is None for kind in kinds):
        return None
    flat: list[Kind] = []
    for kind in cast("list[Kind]", kinds):
        flat += kind.of if kind.name == "union" else [kind]
    return Kind("union", tuple(flat))


def _container(name: str, inner: list[ast.expr]) -> Kind | None:
    if name == "Literal":
        values = [node.value for node in inner if isinstance(node, ast.Constant)]
        return Kind("literal", values=tuple(values)) if len(values) == len(inner) else None
    if name in {"Optional", "Union"}:
        none: list[ast.expr] = [ast.Constant(None)] if name == "Optional" else []
        return _union([*inner, *none])
    if name == "Annotated":
        return _kind(inner[0])
    many = name == "tuple" and isinstance(inner[-1], ast.Constant) and inner[-1].value is Ellipsis
    if name == "tuple" and not many:
        kinds = [_kind(node) for node in inner]
        return None if None in kinds else Kind("tuple", tuple(cast("list[Kind]", kinds)))
    item = _kind(inner[-1] if name in _MAPPINGS else inner[0])
    if item is None or name not in _LISTS | _MAPPINGS:
        return None
    return Kind("dict" if name in _MAPPINGS else "list", (item,))
