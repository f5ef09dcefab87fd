"""Prototypes that are made once per run: what a task's configuration and environment are needs no quantum.

Each becomes a task of no dimensions, ``<label>_once``, that runs nothing: the node writes its files.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from prestow.documents import Key
from prestow.pipeline.definition import OutputConnection, TaskDefinition
from prestow.pipeline.reader import Reader

PROTOTYPES = ("config", "metadata", "log", "environment")
ONCE = ("config", "environment")
_WORDS = ("each", "once")


def read_prototypes(reader: Reader, path: Key, value: object) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Give the prototypes of each quantum, and those that are made once per run.

    A list names those of each quantum; a mapping says ``each`` or ``once`` of every one.
    """
    if not isinstance(value, dict):
        return reader.choices(path, value, PROTOTYPES, "prototype"), ()
    each: list[str] = []
    once: list[str] = []
    for name, word in value.items():
        here: Key = (*path, name)
        if name not in PROTOTYPES:
            reader.unknown("PST-C013", here, "no such prototype:", name, PROTOTYPES)
        elif word not in _WORDS:
            reader.unknown("PST-C013", here, "no such word:", word, _WORDS)
        elif word == "once" and name not in ONCE:
            what = f"each quantum has a {name} of its own"
            reader.note("PST-C013", here, what, f"write '{name}: each'; once may be {' and '.join(ONCE)}")
        else:
            (once if word == "once" else each).append(name)
    return tuple(sorted(each)), tuple(sorted(once))


def with_once(
    reader: Reader, tasks: Sequence[TaskDefinition], said: Mapping[str, object]
) -> list[TaskDefinition]:
    """Add the tasks that make prototypes once per run; ``said`` is what is said of prototypes, by task."""
    return [*tasks, *_once(reader, tasks, said)]


def _once(
    reader: Reader, tasks: Sequence[TaskDefinition], said: Mapping[str, object]
) -> Iterable[TaskDefinition]:
    labels = {task.label for task in tasks}
    for task in tasks:
        value = said.get(task.label)
        names = sorted(p for p in ONCE if isinstance(value, dict) and value.get(p) == "once")
        if not names:
            continue
        label = f"{task.label}_once"
        path: Key = ("tasks", task.label, "prototypes")
        if label in labels:
            what = f"there is a task '{label}', and so is called what makes these"
            reader.note("PST-C013", path, what, "rename that task")
            continue
        yield TaskDefinition(
            label=label,
            dimensions=(),
            inputs=(),
            outputs=tuple(OutputConnection(f"_{p}", f"{task.label}_{p}") for p in names),
            config=task.config,
            config_origin=task.config_origin,
            prototypes=tuple(names),
            origin={"prototypes": task.origin.get("prototypes", "")},
        )
