"""Reading the sections of a pipeline's file into frozen values, noting each problem at its place."""

from __future__ import annotations

import difflib
import re
import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from prestow.documents import Key, kind_of
from prestow.errors import Problem
from prestow.pipeline.configuration import ConfigField, Entry, WrongValueError, fit, plain
from prestow.pipeline.dataset_types import INLINE
from prestow.pipeline.decorator import KEYS
from prestow.pipeline.definition import (
    HINTS,
    RESOURCES,
    RETAIN,
    InputConnection,
    OnFailure,
    OutputConnection,
    TaskDefinition,
)
from prestow.pipeline.expressions import SIZES, TIMES, ExpressionError, parse_expression
from prestow.pipeline.once import read_prototypes
from prestow.pipeline.reader import Reader
from prestow.sky.angles import HELP, read_angle

_UNITS: Mapping[str, Mapping[str, float]] = {
    "memory": SIZES, "cores": {}, "disk": SIZES, "walltime": TIMES, "cpu_seconds": TIMES, "output_bytes": SIZES,
}  # fmt: skip
_PLACEHOLDER = re.compile(r"\{([A-Za-z_][A-Za-z0-9_.]*)\}")
_TASK_KEYS = ("run", "command", "config", *KEYS, "barrier", "description")
_MADE = ("dimensions", "inputs", "outputs")  # what a task makes of what: said in two places, it must agree


@dataclass(frozen=True, slots=True)
class Override:
    """A value from the command line or a file: ``text`` is YAML, ``place`` is how a person wrote it.

    ``origin`` is ``--set``, or ``file:line``.
    """

    text: str
    value: object
    place: str
    origin: str = "--set"


@dataclass(frozen=True, slots=True)
class Section:
    """What is said of a task: in the pipeline's file, and beside its code.

    ``top`` holds the values that count, ``twice`` the keys of what it makes that stand in both
    places; ``whole`` is false where a place could not be read to its end.
    """

    label: str
    top: Mapping[str, object]
    entry: Entry
    twice: tuple[str, ...] = ()
    whole: bool = True

    @property
    def path(self) -> Key:
        """Where it stands."""
        return ("tasks", self.label)

    def own(self, reader: Reader) -> Reader:
        """Give a reader of the decorator alone."""
        assert self.entry.declared is not None, "something stands in both places"
        return replace(reader, document=self.entry.declared.document, beside={})


def read_section(reader: Reader, label: str, body: object, read_code: Callable[[Key, str], Entry]) -> Section:
    """Join the section of a task with its decorator, if it has one.

    The section may be the entry alone. Policies of the section win.

    Parameters
    ----------
    read_code : callable
        Gives what the source says of an entry, and notes what is wrong with it.
    """
    path: Key = ("tasks", label)
    short = isinstance(body, str)
    top = {"run": body} if short else reader.section(path, body, (), _TASK_KEYS)
    at = path if short else (*path, "run")
    text = reader.text(at, top["run"]) if "run" in top else ""
    entry = read_code(at, text) if text else Entry()
    declared = entry.declared
    beside = {} if declared is None else declared.values
    for key in beside:
        if key not in top:
            reader.beside[(*path, key)] = declared.document  # type: ignore[union-attr]  # it has keys
    whole = entry.readable and (declared is None or declared.whole)
    for key in ("dimensions", "outputs"):
        if key in top or key in beside or not whole or not isinstance(body, dict | str):
            continue
        whole = False
        if declared is not None:
            fix = f"add {key}=…"
            reader.problems.append(
                declared.document.problem("PST-C012", path, f"key '{key}' is missing", fix)
            )
        elif short:
            what = f"'{body}' says neither here nor beside its code what it makes"
            fix = "write @task(dimensions=[…], outputs={…}) above it: from prestow.tasks import task"
            reader.note("PST-C012", path, what, fix)
            break
        else:
            reader.note("PST-C012", path, f"key '{key}' is missing", f"add '{key}:'")
    twice = tuple(key for key in _MADE if key in top and key in beside)
    return Section(label, {**beside, **top}, entry, twice, whole)


def read_task(
    reader: Reader, section: Section, types: Mapping[str, tuple[str, ...]], overrides: Mapping[str, Override]
) -> TaskDefinition:
    """Read what is said of one task.

    Parameters
    ----------
    types : mapping
        The dimensions of each dataset type that is defined.
    overrides : mapping
        Values of this task's configuration from the command line.
    """
    label, path, top, found = section.label, section.path, section.top, section.entry
    before = len(reader.problems)
    dimensions = reader.dimensions((*path, "dimensions"), top.get("dimensions", []))
    if len(reader.problems) > before or "dimensions" not in top:
        reader.doubtful.add(("task", label))
    inputs = tuple(_inputs(reader, (*path, "inputs"), top.get("inputs"), types))
    outputs = tuple(_outputs(reader, (*path, "outputs"), top.get("outputs")))
    if section.twice:
        _agree(reader, section, types, {"dimensions": dimensions, "inputs": inputs, "outputs": outputs})
    for name in {i.name for i in inputs} & {o.name for o in outputs}:
        what = f"'{name}' is an input too; a task asks for both by name"
        reader.note("PST-C013", (*path, "outputs", name), what, "choose another name", at_key=True)
    prototypes, once = read_prototypes(reader, (*path, "prototypes"), top.get("prototypes", []))
    if (
        "outputs" in top
        and not outputs
        and not (prototypes or once)
        and isinstance(top["outputs"], dict | None)
    ):
        reader.note("PST-C013", (*path, "outputs"), "a task writes something", "name an output")
    entry = str(top["run"]) if isinstance(top.get("run"), str) else None
    if "run" in top and "command" in top:
        what, fix = "a task has 'run' or 'command', not both", "leave one of them out"
        reader.note("PST-C013", (*path, "command"), what, fix, at_key=True)
    elif "run" not in top and "command" not in top and top:
        fix = "add 'run: module:function' or 'command: …'"
        reader.note("PST-C012", path, "key 'run' or 'command' is missing", fix)
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
    names = _columns(reader, dimensions, inputs)
    barrier = top.get("barrier", False)
    reader.problems += reader.of(path).check_type((*path, "barrier"), barrier, bool)
    resources, texts = _amounts(reader, (*path, "resources"), top.get("resources"), RESOURCES, names)
    hints, more = _amounts(reader, (*path, "hints"), top.get("hints"), HINTS, names)
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
        tries=reader.count((*path, "tries"), top.get("tries", 1), "write 1 for a single try"),
        ignore=_patterns(reader, (*path, "ignore"), top.get("ignore", [])),
        prototypes=prototypes,
        resources=resources,
        hints=hints,
        expressions={**texts, **more},
        preflight=reader.text((*path, "preflight"), top.get("preflight", "")),
        barrier=barrier is True,
        origin={key: _origin(reader, (*path, key)) for key in (*KEYS, "command", "run") if key in top},
    )


def _agree(
    reader: Reader,
    section: Section,
    types: Mapping[str, tuple[str, ...]],
    here: Mapping[str, tuple[str | InputConnection | OutputConnection, ...]],
) -> None:
    """Note where the pipeline's file and the decorator say different things of what a task makes."""
    own, path = section.own(reader), section.path
    for key in section.twice:
        said = section.entry.declared.values[key] if section.entry.declared else None
        there: tuple[str | InputConnection | OutputConnection, ...]
        if key == "dimensions":
            there = own.dimensions((*path, key), said)
        elif key == "inputs":
            there = tuple(_inputs(own, (*path, key), said, types))
        else:
            there = tuple(_outputs(own, (*path, key), said))
        if set(here[key]) != set(there):
            what = f"not what the decorator says at {own.place((*path, key))}"
            fix = "leave it out here: it stands beside the code"
            reader.note("PST-C031", (*path, key), what, fix, at_key=True)
            both = (*here[key], *there)
            reader.doubtful.update(("type", c.type) for c in both if not isinstance(c, str))


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
        top = reader.section(here, body, ("type",), ("minimum", "where", "prerequisite", "padding", *INLINE))
        kind = reader.text((*here, "type"), top["type"]) if "type" in top else ""
        minimum = _minimum(reader, (*here, "minimum"), top.get("minimum", "all"))
        where = reader.text((*here, "where"), top.get("where", ""))
        if kind in types:
            reader.where((*here, "where"), where, types[kind])
        needed = top.get("prerequisite", False)
        reader.problems += reader.of(path).check_type((*here, "prerequisite"), needed, bool)
        if needed is True and minimum == 0:
            what, fix = "an optional input is no prerequisite", "leave out 'minimum: 0', or 'prerequisite'"
            reader.note("PST-C013", (*here, "prerequisite"), what, fix)
        padding = _padding(reader, (*here, "padding"), top.get("padding", "0 deg"))
        yield InputConnection(str(name), kind, minimum, where, prerequisite=needed is True, padding=padding)


def _padding(reader: Reader, path: Key, value: object) -> float:
    """Give an angle in degrees, at least 0."""
    try:
        padding = read_angle(value)
    except ValueError as error:
        reader.note("PST-C013", path, str(error), HELP)
        return 0.0
    if padding < 0:
        reader.note("PST-C013", path, "a padding is not negative", HELP)
    return padding


def _outputs(reader: Reader, path: Key, value: object) -> Iterable[OutputConnection]:
    for name, body in reader.mapping(path, value).items():
        here: Key = (*path, str(name))
        if not reader.word(here, name, "a connection"):
            continue
        if isinstance(body, str):
            yield OutputConnection(str(name), body)
            continue
        top = reader.section(here, body, ("type",), ("optional", "retained", "retain", *INLINE))
        kind = reader.text((*here, "type"), top["type"]) if "type" in top else ""
        optional = top.get("optional", False)
        reader.problems += reader.of(path).check_type((*here, "optional"), optional, bool)
        retained = top.get("retained", True)
        reader.problems += reader.of(path).check_type((*here, "retained"), retained, bool)
        retain = top.get("retain", RETAIN[-1])
        if retain not in RETAIN:
            reader.note("PST-C013", (*here, "retain"), f"is {retain!r}", f"write one of {', '.join(RETAIN)}")
            retain = RETAIN[-1]
        consumed = retain == RETAIN[0]
        if consumed and top.get("retained") is True:
            what = "what goes once it is consumed is not retained for itself"
            reader.note(
                "PST-C013", (*here, "retained"), what, f"leave 'retained' out, or write retain: {RETAIN[1]}"
            )
        yield OutputConnection(
            str(name), kind, optional is True, retained is not False and not consumed, retain
        )


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


def _patterns(reader: Reader, path: Key, value: object) -> tuple[str, ...]:
    found = reader.texts(path, value)
    for i, pattern in enumerate(found):
        if pattern.startswith("/") or ".." in pattern.split("/"):
            what = f"'{pattern}' leads out of the task's directory"
            reader.note("PST-C013", (*path, i), what, "write a pattern such as '*.tmp'")
    return found


def _amounts(
    reader: Reader, path: Key, value: object, known: tuple[str, ...], names: Sequence[str]
) -> tuple[dict[str, Any], dict[str, str]]:  # Any: JSON values
    """Give what is a number, and what depends on the quantum: expressions over ``names``."""
    top = reader.section(path, value or {}, (), known)
    found: dict[str, Any] = {}
    texts: dict[str, str] = {}
    for key in known:
        if key not in top:
            continue
        here: Key = (*path, key)
        units, given = _UNITS[key], top[key]
        if isinstance(given, str) and not reader.is_quantity(given) and not _is_odd_word(given, names):
            try:
                texts[key] = parse_expression(given, units, names).text
            except ExpressionError as error:
                reader.note_within("PST-C075", here, given, error.offset, error.what, error.fix)
        elif key == "cores":
            found[key] = reader.count(here, given, "write 1 for a single core")
        else:
            number = reader.quantity(here, given, {"": 1, **units})
            if number is not None:
                found[key] = round(number) if key in ("memory", "disk") else number
    return found, texts


def _is_odd_word(text: str, names: Sequence[str]) -> bool:
    """Say whether a text is a word that nobody can have meant as an expression."""
    return text.isalpha() and not difflib.get_close_matches(text, names, 1)


def _columns(reader: Reader, dimensions: Iterable[str], inputs: Sequence[InputConnection]) -> tuple[str, ...]:
    """Give what an expression of a task may speak of."""
    kinds = reader.universe.dimensions
    connections = [c.name for c in inputs]
    whole = [d for d in dimensions if d in kinds and kinds[d].type == "int"]
    names = ["n_inputs", "n_outputs", "input_bytes", *whole]
    for prefix in ("n_inputs.", "n_", "input_bytes."):
        names += [prefix + c for c in connections]
    return tuple(dict.fromkeys(names))


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
        reader.problems += reader.of(path).check_type(path, value, list, str)
        for i, word in enumerate(value if isinstance(value, list) else ()):
            bad = reader.of(path).check_type((*path, i), word, str)
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
    return reader.place(path).rpartition(":")[0]


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
        origin[name] = override.origin
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
                config[name] = fit(one.kind, overrides[name].value)
                origin[name] = overrides[name].origin
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
