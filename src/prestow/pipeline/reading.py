"""Reading the sections of a pipeline's file into frozen values, noting each problem at its place."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from prestow.documents import Document, Key, kind_of
from prestow.errors import Problem
from prestow.model.universe import Universe
from prestow.naming.universe import WORD
from prestow.pipeline.configuration import ConfigField, Entry, WrongValueError, fit, plain
from prestow.pipeline.definition import InputConnection, OnFailure, OutputConnection, TaskDefinition

SelectionCheck = Callable[[str, Universe, Iterable[str]], Iterable[Problem]]
"""Says what is wrong with a selection on data of these dimensions: `prestow.query.check_selection`."""

PROTOTYPES = ("config", "metadata", "log")

_UNITS = {
    "": 1, "B": 1,
    "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
    "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40,
}  # fmt: skip
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?)\s*([A-Za-z]*)")
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.]*)\}")
_TASK_KEYS = (
    "run", "command", "config", "where", "inputs", "outputs", "on_failure", "tries", "ignore", "prototypes",
    "resources", "hints", "description",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Override:
    """A value from the command line: ``text`` is YAML, ``place`` is how a person wrote it."""

    text: str
    value: object
    place: str


@dataclass(slots=True)
class Reader:
    """One pass over a pipeline's document; what is wrong collects in ``problems``."""

    document: Document
    universe: Universe
    check_where: SelectionCheck | None = None
    problems: list[Problem] = field(default_factory=list)

    def note(self, code: str, path: Key, what: str, fix: str = "", *, at_key: bool = False) -> None:
        """Add a problem."""
        self.problems.append(self.document.problem(code, path, what, fix, at_key=at_key))

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
        self.problems += self.document.check_keys(path, value, required=required, optional=optional)
        return {str(k): v for k, v in value.items()} if isinstance(value, dict) else {}

    def mapping(self, path: Key, value: object) -> dict[object, object]:
        """Give a mapping with any keys; nothing at all is an empty one."""
        if value is None:
            return {}
        self.problems += self.document.check_type(path, value, dict)
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
        self.problems += self.document.check_type(path, value, str)
        return value if isinstance(value, str) else ""

    def texts(self, path: Key, value: object) -> tuple[str, ...]:
        """Give a list of texts, each once."""
        self.problems += self.document.check_type(path, value, list)
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

    def quantity(self, path: Key, value: object, units: Mapping[str, int]) -> float | None:
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


def read_task(
    reader: Reader,
    label: str,
    body: object,
    *,
    types: Mapping[str, tuple[str, ...]],
    read_code: Callable[[Key, str], Entry],
    overrides: Mapping[str, Override],
) -> TaskDefinition:
    """Read the section of one task.

    Parameters
    ----------
    types : mapping
        The dimensions of each declared dataset type.
    read_code : callable
        Gives what the source says of an entry, and notes what is wrong with it.
    overrides : mapping
        Values of this task's configuration from the command line.
    """
    path: Key = ("tasks", label)
    top = reader.section(path, body, ("dimensions", "outputs"), _TASK_KEYS)
    dimensions = reader.dimensions((*path, "dimensions"), top.get("dimensions", []))
    inputs = tuple(_inputs(reader, (*path, "inputs"), top.get("inputs"), types))
    outputs = tuple(_outputs(reader, (*path, "outputs"), top.get("outputs")))
    for name in {i.name for i in inputs} & {o.name for o in outputs}:
        what = f"'{name}' is an input too; a task asks for both by name"
        reader.note("PST-C013", (*path, "outputs", name), what, "choose another name", at_key=True)
    prototypes = reader.choices((*path, "prototypes"), top.get("prototypes", []), PROTOTYPES, "prototype")
    if "outputs" in top and not outputs and not prototypes and isinstance(top["outputs"], dict | None):
        reader.note("PST-C013", (*path, "outputs"), "a task writes something", "name an output")
    entry = reader.text((*path, "run"), top["run"]) if "run" in top else None
    if "run" in top and "command" in top:
        what, fix = "a task has 'run' or 'command', not both", "leave one of them out"
        reader.note("PST-C013", (*path, "command"), what, fix, at_key=True)
    elif isinstance(body, dict) and "run" not in top and "command" not in top:
        fix = "add 'run: module:function' or 'command: …'"
        reader.note("PST-C012", path, "key 'run' or 'command' is missing", fix)
    found = read_code((*path, "run"), entry) if entry else Entry()
    given = reader.mapping((*path, "config"), top.get("config"))
    config, origin = (
        _free_config(reader, path, given, overrides)
        if entry is None
        else _config(reader, path, found, given, overrides)
    )
    command = None
    if "command" in top:
        known = {
            "inputs": [i.name for i in inputs],
            "outputs": [o.name for o in outputs],
            "config": list(config),
            "data_id": list(dimensions),
        }
        command = _command(reader, (*path, "command"), top["command"], known)
    return TaskDefinition(
        label=label,
        dimensions=dimensions,
        inputs=inputs,
        outputs=(*outputs, *(OutputConnection(f"_{p}", f"{label}_{p}") for p in prototypes)),
        entry=entry,
        command=command,
        config_class=found.config_class,
        config=config,
        config_origin=origin,
        where=reader.where((*path, "where"), top.get("where", ""), dimensions),
        on_failure=_on_failure(reader, (*path, "on_failure"), top.get("on_failure", "stop")),
        tries=_count(reader, (*path, "tries"), top.get("tries", 1)),
        ignore=_patterns(reader, (*path, "ignore"), top.get("ignore", [])),
        prototypes=prototypes,
        resources=_resources(reader, (*path, "resources"), top.get("resources")),
        hints=_hints(reader, (*path, "hints"), top.get("hints")),
    )


def _inputs(
    reader: Reader, path: Key, value: object, types: Mapping[str, tuple[str, ...]]
) -> Iterable[InputConnection]:
    for name, body in reader.mapping(path, value).items():
        here: Key = (*path, str(name))
        if not reader.word(here, name, "a connection"):
            continue
        if isinstance(body, str):
            yield InputConnection(str(name), body)
            continue
        top = reader.section(here, body, ("type",), ("minimum", "where"))
        kind = reader.text((*here, "type"), top["type"]) if "type" in top else ""
        minimum = _minimum(reader, (*here, "minimum"), top.get("minimum", "all"))
        where = reader.where((*here, "where"), top.get("where", ""), types.get(kind, ()))
        yield InputConnection(str(name), kind, minimum, where)


def _outputs(reader: Reader, path: Key, value: object) -> Iterable[OutputConnection]:
    for name, body in reader.mapping(path, value).items():
        here: Key = (*path, str(name))
        if not reader.word(here, name, "a connection"):
            continue
        if isinstance(body, str):
            yield OutputConnection(str(name), body)
            continue
        top = reader.section(here, body, ("type",), ("optional",))
        kind = reader.text((*here, "type"), top["type"]) if "type" in top else ""
        optional = top.get("optional", False)
        reader.problems += reader.document.check_type((*here, "optional"), optional, bool)
        yield OutputConnection(str(name), kind, optional is True)


def _minimum(reader: Reader, path: Key, value: object) -> str | int | float:
    if value == "all":
        return "all"
    fix = "write all, a whole number, or a fraction below 1"
    if isinstance(value, bool) or not isinstance(value, int | float):
        reader.note("PST-C011", path, f"must be all or a number, not {kind_of(value)}", fix)
    elif value < 0 or (isinstance(value, float) and not value < 1):
        reader.note("PST-C013", path, f"{value} is not a minimum", fix)
    else:
        return value
    return "all"


def _on_failure(reader: Reader, path: Key, value: object) -> OnFailure:
    if value in tuple(OnFailure):
        return OnFailure(str(value))
    reader.unknown("PST-C013", path, "no such policy:", value, tuple(OnFailure))
    return OnFailure.STOP


def _count(reader: Reader, path: Key, value: object) -> int:
    wrong = reader.document.check_type(path, value, int)
    reader.problems += wrong
    if isinstance(value, int) and not wrong and value >= 1:
        return value
    if not wrong:
        reader.note("PST-C013", path, f"must be at least 1, not {value}", "write 1 for a single try")
    return 1


def _patterns(reader: Reader, path: Key, value: object) -> tuple[str, ...]:
    found = reader.texts(path, value)
    for i, pattern in enumerate(found):
        if pattern.startswith("/") or ".." in pattern.split("/"):
            what = f"'{pattern}' leads out of the task's directory"
            reader.note("PST-C013", (*path, i), what, "write a pattern such as '*.tmp'")
    return found


def _resources(reader: Reader, path: Key, value: object) -> dict[str, Any]:  # Any: JSON values
    top = reader.section(path, value or {}, (), ("memory", "cores"))
    found: dict[str, Any] = {}
    if "memory" in top:
        memory = reader.quantity((*path, "memory"), top["memory"], _UNITS)
        found |= {} if memory is None else {"memory": round(memory)}
    if "cores" in top:
        found["cores"] = _count(reader, (*path, "cores"), top["cores"])
    return found


def _hints(reader: Reader, path: Key, value: object) -> dict[str, float]:
    top = reader.section(path, value or {}, (), ("cpu_seconds", "output_bytes"))
    units = {"cpu_seconds": {"": 1, "s": 1}, "output_bytes": _UNITS}
    found = {k: reader.quantity((*path, k), top[k], units[k]) for k in units if k in top}
    return {k: v for k, v in found.items() if v is not None}


def _command(reader: Reader, path: Key, value: object, known: Mapping[str, list[str]]) -> tuple[str, ...]:
    """Give the words of a command, each placeholder in them checked."""
    words: list[tuple[Key, str]] = []
    if isinstance(value, str):
        try:
            words = [(path, word) for word in shlex.split(value)]
        except ValueError as error:
            reader.note("PST-C013", path, f"cannot be split into words: {error}", "close the quote")
            return ()
    else:
        reader.problems += reader.document.check_type(path, value, list, str)
        for i, word in enumerate(value if isinstance(value, list) else ()):
            bad = reader.document.check_type((*path, i), word, str)
            reader.problems += bad
            words += [] if bad else [((*path, i), word)]
    if not words and isinstance(value, list | str):
        reader.note("PST-C013", path, "the command is empty", "name a program")
    for place, word in words:
        for match in _PLACEHOLDER.finditer(word):
            _check_placeholder(reader, place, match[1], known)
    return tuple(word for _, word in words)


def _check_placeholder(reader: Reader, path: Key, name: str, known: Mapping[str, list[str]]) -> None:
    group, dot, member = name.partition(".")
    if name in {"seed", "code"} or (dot and member in known.get(group, ())):
        return
    everything = [*(f"{g}.{n}" for g, names in known.items() for n in names), "seed", "code"]
    near = difflib.get_close_matches(name, everything, 1)
    fix = f"did you mean {{{near[0]}}}?" if near else f"known: {', '.join(f'{{{n}}}' for n in everything)}"
    reader.note("PST-C013", path, f"unknown placeholder {{{name}}}", fix)


def _origin(reader: Reader, path: Key) -> str:
    line = reader.document.marks.get(path, (1, 1))[0]
    return f"{reader.document.source}:{line}"


def _free_config(
    reader: Reader, path: Key, given: Mapping[object, object], overrides: Mapping[str, Override]
) -> tuple[dict[str, Any], dict[str, str]]:  # Any: JSON values
    """Give the configuration of a command: any plain values."""
    config: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for key, value in given.items():
        here: Key = (*path, "config", str(key))
        try:
            config[str(key)] = plain(value)
            origin[str(key)] = _origin(reader, here)
        except WrongValueError as error:
            reader.note("PST-C011", (*here, *error.path), error.what)
    for name, override in overrides.items():
        config[name] = override.value
        origin[name] = "--set"
    return config, origin


def _config(
    reader: Reader,
    path: Key,
    entry: Entry,
    given: Mapping[object, object],
    overrides: Mapping[str, Override],
) -> tuple[dict[str, Any], dict[str, str]]:  # Any: JSON values
    """Give the configuration of a Python task: each field of its dataclass with its value."""
    label = path[-1]
    fields = {f.name: f for f in entry.fields}
    config_class = entry.config_class or "this task, which takes no configuration"
    for key in given:
        if key not in fields and entry.readable:
            near = difflib.get_close_matches(str(key), fields, 1)
            fix = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(fields) or 'nothing'}"
            what = f"unknown key '{key}' of {config_class}"
            reader.note("PST-C010", (*path, "config", str(key)), what, fix, at_key=True)
    for key, override in overrides.items():
        if key not in fields and entry.readable:
            near = difflib.get_close_matches(key, fields, 1)
            fix = f"did you mean '{near[0]}'?" if near else f"known here: {', '.join(fields) or 'nothing'}"
            what = f"unknown key '{key}' of {config_class}"
            reader.problems.append(Problem("PST-C010", what, override.place, fix))
    config: dict[str, Any] = {}
    origin: dict[str, str] = {}
    for name, one in fields.items():
        here: Key = (*path, "config", name)
        try:
            if name in overrides:
                config[name], origin[name] = fit(one.kind, overrides[name].value), "--set"
            elif name in given:
                config[name], origin[name] = fit(one.kind, given[name]), _origin(reader, here)
            elif one.has_default:
                config[name], origin[name] = one.default, "default"
            else:
                reader.note("PST-C012", path, *_missing(str(label), one))
        except WrongValueError as error:
            if name in overrides:
                what = f"{label}.{name}: {error.what}"
                reader.problems.append(Problem("PST-C011", what, overrides[name].place))
            else:
                reader.note("PST-C011", (*here, *error.path), error.what)
    return config, origin


def _missing(label: str, one: ConfigField) -> tuple[str, str]:
    what = f"config.{one.name} is missing, and has no default"
    if one.unreadable:
        what = f"config.{one.name} is missing; its default at {one.unreadable} is not a literal"
    return what, f"add '{one.name}:' ({one.kind}) under 'config:', or --set {label}.{one.name}=…"
