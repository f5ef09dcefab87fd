"""Reading a pipeline: every problem of its file at once, each at its line and column."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import yaml

from prestow.documents import Key, check_schema, read_document
from prestow.errors import Problem, raise_all
from prestow.model.hashing import task_digest
from prestow.model.universe import Universe
from prestow.naming.templates import Template, compile_template
from prestow.pipeline.barriers import check_barriers
from prestow.pipeline.code import bundle, collect
from prestow.pipeline.config_file import FileOverride
from prestow.pipeline.configuration import Entry, WrongValueError, plain, read_entry
from prestow.pipeline.dataset_types import (
    define_at_connections,
    define_in_section,
    joined,
    prototype_types,
    with_templates,
)
from prestow.pipeline.definition import Cluster, Pipeline, TaskDefinition
from prestow.pipeline.expressions import SIZES, TIMES
from prestow.pipeline.once import with_once
from prestow.pipeline.preflight import check_hook
from prestow.pipeline.reader import Reader, SelectionCheck
from prestow.pipeline.reading import Override, read_section, read_task
from prestow.pipeline.type_overrides import TypeOverride, type_override, with_overrides
from prestow.pipeline.wiring import check_wiring, in_order
from prestow.plugins import names as plugin_names

SCHEMA = "prestow.pipeline/1"


def load_pipeline(
    path: Path,
    universe: Universe,
    *,
    overrides: Mapping[str, str] | Sequence[str] = (),
    check_where: SelectionCheck | None = None,
) -> Pipeline:
    """Read a pipeline and all that it names: configuration from source, templates, code.

    Parameters
    ----------
    path : Path
        Its YAML; files under ``code:`` are relative to it.
    overrides : mapping or sequence of str
        Values of configuration, ``task.key=value``; a value is YAML. Also ``types.NAME.format=…`` and
        ``types.NAME.template=…`` of a dataset type that is written.
    check_where : callable, optional
        `prestow.query.check_selection`, to have selections checked too.

    Raises
    ------
    ConfigurationError
        With every problem found, each at its place.
    """
    reader = Reader(read_document(path), universe, check_where)
    top = reader.section(
        (),
        reader.document.data,
        ("schema", "name", "tasks"),
        ("dataset_types", "code", "clusters", "description"),
    )
    reader.problems += check_schema(reader.document, top, SCHEMA)
    name = reader.text(("name",), top.get("name", "")) if "name" in top else ""
    files, places = _code(reader, path.parent, top.get("code", []))
    formats = plugin_names("formats")

    def read_code(at: Key, entry: str) -> Entry:
        found = read_entry(entry, files, places, reader.problems, at[:2])
        if isinstance(found, str):
            reader.note("PST-C025", at, found, "check 'run:' and the files under 'code:'")
            return Entry(readable=False)
        return found

    sections = [
        read_section(reader, str(label), body, read_code)
        for label, body in reader.mapping(("tasks",), top.get("tasks")).items()
        if reader.word(("tasks", str(label)), label, "a task")
    ]
    define_in_section(reader, top.get("dataset_types"), formats)
    for section in sections:
        for side in ("inputs", "outputs"):
            define_at_connections(reader, (*section.path, side), section.top.get(side), formats)
            if side in section.twice and section.entry.declared is not None:
                beside = section.entry.declared.values[side]
                define_at_connections(section.own(reader), (*section.path, side), beside, formats)
    declared = joined(reader)
    dimensions = {n: t.dimensions for n, t in declared.items()}
    given, chosen = _overrides(reader, overrides)
    for section in sections:
        check_hook(reader, section, files, places)
    tasks = [read_task(reader, s, dimensions, given.pop(s.label, {})) for s in sections]
    if "tasks" in top and not tasks:
        reader.note("PST-C013", ("tasks",), "a pipeline has at least one task", "add one")
    tasks = with_once(reader, tasks, {s.label: s.top.get("prototypes") for s in sections})
    for label, values in given.items():
        for override in values.values():
            known = ", ".join(task.label for task in tasks)
            if label == "types":
                known += "; of a dataset type: types.NAME.format=… or types.NAME.template=…"
            what = f"there is no task '{label}'"
            reader.problems.append(Problem("PST-C010", what, override.place, f"known: {known}"))
    if not all(section.whole or "outputs" in section.top for section in sections):
        raise_all(reader.problems)  # what such a task writes is not known: others would seem to lack it
    own = prototype_types(reader, tasks)
    types = {**declared, **own}
    writers = check_wiring(reader, tasks, types)
    ordered = in_order(reader, tasks, writers)
    types, places = with_overrides(types, chosen, writers, own, formats, reader.problems)
    types = with_templates(reader, types, writers, formats, places)
    clusters = _clusters(reader, top.get("clusters"), tasks)
    check_barriers(reader, ordered, clusters)
    raise_all(reader.problems)
    code = bundle(files) if files else None
    return Pipeline(name, reader.document.source, ordered, dict(sorted(types.items())), clusters, code)


def _code(reader: Reader, directory: Path, section: object) -> tuple[dict[str, bytes], dict[str, str]]:
    """Give contents, and names for people, of the code's files by their names in the zip."""
    files: dict[str, bytes] = {}
    places: dict[str, str] = {}
    owners: dict[str, str] = {}
    for i, listed in enumerate(reader.texts(("code",), section)):
        found, problems = collect(directory / listed)
        for problem in problems:
            reader.note(problem.code, ("code", i), problem.what, problem.fix)
        if not found and not problems:
            reader.note("PST-C025", ("code", i), f"there are no files in '{listed}'", "leave it out")
        base = next(iter(found), "").partition("/")[0]
        if base and base in owners:
            what = f"'{listed}' and '{owners[base]}' would both be '{base}' on the node"
            reader.note("PST-C013", ("code", i), what, "rename one of them")
        owners[base] = listed
        files |= found
        places |= {n: str(directory / listed) + n[len(base) :] for n in found}
    return files, places


def _overrides(
    reader: Reader, overrides: Mapping[str, str] | Sequence[str]
) -> tuple[dict[str, dict[str, Override]], list[TypeOverride]]:
    """Give values from the command line: of tasks, by task and key, and of dataset types."""
    lines = [f"{k}={v}" for k, v in overrides.items()] if isinstance(overrides, Mapping) else overrides
    found: dict[str, dict[str, Override]] = {}
    chosen: list[TypeOverride] = []
    for line in lines:
        if isinstance(line, FileOverride):
            label, _, key = line.partition("=")[0].partition(".")
            found.setdefault(label, {})[key] = Override(line, line.value, line.place, line.origin)
            continue
        of_type = type_override(line)
        if of_type is not None:
            chosen.append(of_type)
            continue
        place = f"--set {line}"
        target, equals, text = line.partition("=")
        label, dot, key = target.strip().partition(".")
        if not (equals and dot and label and key):
            what = f"'{line}' is not a value for a task's configuration"
            reader.problems.append(Problem("PST-G005", what, place, "write task.key=value"))
            continue
        try:
            value = plain(yaml.safe_load(text))
        except (yaml.YAMLError, ValueError) as error:
            reason = error.what if isinstance(error, WrongValueError) else "it is not YAML"
            what = f"'{text}' cannot be read as a value: {reason}"
            reader.problems.append(Problem("PST-C011", what, place, "put text in quotes"))
            continue
        found.setdefault(label, {})[key] = Override(text, value, place)
    return found, chosen


def _clusters(reader: Reader, section: object, tasks: Sequence[TaskDefinition]) -> tuple[Cluster, ...]:
    by_label = {task.label: task for task in tasks}
    taken: dict[str, str] = {}
    found: list[Cluster] = []
    for name, body in reader.mapping(("clusters",), section).items():
        path: Key = ("clusters", str(name))
        if not reader.word(path, name, "a cluster"):
            continue
        if name in by_label:
            reader.note("PST-C013", path, f"'{name}' is a task too", "choose another name", at_key=True)
        top = reader.section(path, body, ("tasks",), ("dimensions", "maximum"))
        members = reader.choices((*path, "tasks"), top.get("tasks", []), by_label, "task")
        # Tasks in a chain have one data ID: then nothing needs to be said.
        first = by_label[members[0]].dimensions if members else ()
        dimensions = reader.dimensions((*path, "dimensions"), top.get("dimensions", list(first)))
        if "tasks" in top and not members:
            reader.note("PST-C013", (*path, "tasks"), "a cluster has at least one task", "name them")
        for member in members:
            if member in taken:
                what = f"'{member}' is in the cluster '{taken[member]}' already"
                reader.note("PST-C013", (*path, "tasks"), what, "leave it out of one of them")
            taken[member] = str(name)
            lacking = set(dimensions) - set(reader.universe.expand(by_label[member].dimensions))
            if lacking:
                what = f"'{member}' does not have {', '.join(sorted(lacking))}"
                fix = "a cluster's tasks share its dimensions"
                reader.note("PST-C013", (*path, "dimensions"), what, fix)
        maximum, limits = _maximum(reader, (*path, "maximum"), top.get("maximum", 1))
        found.append(Cluster(str(name), members, dimensions, maximum, limits))
    return tuple(found)


def _maximum(reader: Reader, path: Key, value: object) -> tuple[int, dict[str, float]]:
    """Give how many groups a job has at most, 0 for any number, and how much of anything else."""
    if not isinstance(value, dict):
        return reader.count(path, value, "write 1 for one group a job"), {}
    top = reader.section(path, value, (), ("groups", "quanta", "inputs", "cpu", "bytes"))
    if not top:
        what = "says nothing"
        reader.note("PST-C076", path, what, "give one of groups, quanta, inputs, cpu, bytes")
    groups, limits = 0, {}
    for key, given in top.items():
        here: Key = (*path, key)
        if key == "groups":
            groups = reader.count(here, given, "write 1 for one group a job")
        elif key in ("quanta", "inputs"):
            limits[key] = float(reader.count(here, given, f"write 1000 for a thousand {key}"))
        else:
            units = {"": 1, **(TIMES if key == "cpu" else SIZES)}
            number = reader.quantity(here, given, units)
            limits["cpu_seconds" if key == "cpu" else "bytes"] = number or 0.0
            if number == 0:
                reader.note("PST-C076", here, "a job needs room for something", "write more than 0")
    return groups, limits


def compile_templates(pipeline: Pipeline, universe: Universe) -> dict[str, Template]:
    """Give the template of each dataset type that the pipeline writes."""
    return {
        name: compile_template(kind.template, kind.dimensions, universe, dataset_type=name)
        for name, kind in pipeline.dataset_types.items()
        if kind.template
    }


def task_digests(pipeline: Pipeline) -> dict[str, str]:
    """Give for each task the digest that its planned recipes begin with.

    It covers what decides a quantum's products: entry or command, configuration, code, and which
    outputs of which format and columns there are; not its policies, resources, or the names it lies under.
    """
    code = pipeline.code.sha256 if pipeline.code else None
    return {task.label: task_digest(task.label, _making(pipeline, task), code) for task in pipeline.tasks}


def _making(pipeline: Pipeline, task: TaskDefinition) -> dict[str, object]:
    columns = {o.type: [list(c) for c in pipeline.dataset_types[o.type].columns] for o in task.outputs}
    declared = {name: found for name, found in columns.items() if found}  # none: as it was without them
    return {
        **({"columns": declared} if declared else {}),
        "entry": task.entry,
        "command": list(task.command) if task.command is not None else None,
        "config": dict(task.config),
        "outputs": sorted(
            [o.name, o.type, pipeline.dataset_types[o.type].format, o.optional] for o in task.outputs
        ),
    }
