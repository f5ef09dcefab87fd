"""How tasks join by dataset types: who writes what, what is external, and in which order."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping

from prestow.documents import Key
from prestow.model import DatasetType
from prestow.pipeline.definition import OutputConnection, TaskDefinition
from prestow.pipeline.reader import Reader


def check_wiring(
    reader: Reader, tasks: Iterable[TaskDefinition], types: Mapping[str, DatasetType]
) -> dict[str, str]:
    """Note what is wrong between tasks; give, for each dataset type that is written, its task."""
    tasks = tuple(tasks)
    writers: dict[str, str] = {}
    used: set[str] = set()
    for task in tasks:
        for connection in task.inputs:
            used.add(connection.type)
            _check_declared(reader, _place(reader, task, "inputs", connection.name), connection.type, types)
        for output in task.outputs:
            used.add(output.type)
            path = _place(reader, task, "outputs", output.name)
            if not _check_declared(reader, path, output.type, types):
                continue
            if output.type in writers:
                what = f"'{output.type}' is written by {writers[output.type]} already"
                fix = "one task writes a dataset type: declare another"
                reader.note("PST-C021", path, what, fix)
                continue
            writers[output.type] = task.label
            if not reader.doubtful & {("task", task.label), ("type", output.type)}:
                _check_dimensions(reader, path, task, output, types[output.type])
    for name, definitions in reader.defined.items():
        if ("type", name) in reader.doubtful:
            continue
        if name not in used:
            what = f"'{name}' is neither read nor written"
            reader.problems.append(definitions[0].problem("PST-C013", "", what, "leave it out"))
        elif name not in writers:
            what = f"no task writes '{name}', so prestow does not name it"
            reader.problems += [
                d.problem("PST-C013", "template", what, "leave out 'template'")
                for d in definitions
                if d.type.template
            ]
    return writers


def _place(reader: Reader, task: TaskDefinition, side: str, connection: str) -> Key:
    path: Key = ("tasks", task.label, side, connection)
    if connection.startswith("_"):
        return ("tasks", task.label, "prototypes")
    return (*path, "type") if (*path, "type") in reader.of(path).marks else path


def _check_declared(reader: Reader, path: Key, name: str, types: Mapping[str, DatasetType]) -> bool:
    if name in types:
        return True
    if name:
        reader.unknown("PST-C020", path, "unknown dataset type", name, types)
    return False


def _check_dimensions(
    reader: Reader, path: Key, task: TaskDefinition, output: OutputConnection, kind: DatasetType
) -> None:
    """Check that each quantum of a task has exactly one dataset of an output to write."""
    universe = reader.universe
    foreign = sorted(set(kind.dimensions) - set(universe.expand(task.dimensions)))
    if foreign:
        what = f"'{output.type}' has {', '.join(foreign)}, which {task.label} does not have"
        fix = f"a quantum of {task.label} has one value each of: {', '.join(task.dimensions) or 'nothing'}"
        reader.note("PST-C013", path, what, fix)
    shared = sorted(set(task.dimensions) - set(universe.expand(kind.dimensions)))
    if shared:
        what = f"quanta that differ in {', '.join(shared)} would write one dataset of '{output.type}'"
        fix = f"give '{output.type}' the dimensions [{', '.join(task.dimensions)}], or {task.label} fewer"
        reader.note("PST-C013", path, what, fix)


def in_order(
    reader: Reader, tasks: Iterable[TaskDefinition], writers: Mapping[str, str]
) -> tuple[TaskDefinition, ...]:
    """Give tasks so that each stands after what it reads, ties by label; note a cycle."""
    by_label = {task.label: task for task in tasks}
    needs = {
        label: {writers[i.type] for i in task.inputs if i.type in writers} for label, task in by_label.items()
    }
    waiting = {label: len(need) for label, need in needs.items()}
    ready = sorted(label for label, count in waiting.items() if count == 0)
    ordered: list[TaskDefinition] = []
    while ready:
        label = heapq.heappop(ready)
        ordered.append(by_label[label])
        for other, need in needs.items():
            if label in need:
                waiting[other] -= 1
                if waiting[other] == 0:
                    heapq.heappush(ready, other)
    rest = {label: needs[label] for label, count in waiting.items() if count > 0}
    if rest:
        cycle = _cycle(rest)
        steps = " -> ".join([*cycle, cycle[0]])
        what = f"the tasks form a cycle, each reading what the one before it writes: {steps}"
        fix = "let one of them read something else"
        reader.note("PST-C022", ("tasks", cycle[0]), what, fix, at_key=True)
    return tuple(ordered)


def _cycle(needs: Mapping[str, set[str]]) -> list[str]:
    """Give the labels of one cycle, the first by name first, each writing for the next."""
    seen: list[str] = []
    label = min(needs)
    while label not in seen:
        seen.append(label)
        label = min(n for n in needs[label] if n in needs)
    cycle = seen[seen.index(label) :][::-1]
    first = cycle.index(min(cycle))
    return cycle[first:] + cycle[:first]
