"""A pipeline that is on record, written as a file that a person can read, change and plan with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import yaml

from prestow.model.instants import instant_text
from prestow.pipeline.definition import Pipeline, TaskDefinition
from prestow.pipeline.loading import SCHEMA

Plain = dict[str, Any]  # Any: whatever YAML holds


def pipeline_text(pipeline: Pipeline, code: tuple[str, ...], head: str) -> str:
    """Give a pipeline as YAML, every value of its configuration in it.

    Parameters
    ----------
    code : tuple of str
        Files and directories of its code, beside the file.
    head : str
        A comment for its first line.
    """
    own = {o.type for task in pipeline.tasks for o in task.outputs if o.name.startswith("_")}
    once = {
        task.label.removesuffix("_once"): task.prototypes
        for task in pipeline.tasks
        if task.entry is None and task.command is None
    }
    document: Plain = {"schema": SCHEMA, "name": pipeline.name}
    if code:
        document["code"] = list(code)
    document["dataset_types"] = {
        name: {
            "dimensions": list(kind.dimensions), "format": kind.format,
            **({"template": kind.template} if kind.template else {}),
            **({"columns": dict(kind.columns)} if kind.columns else {}),
            **({"calibration": True} if kind.calibration else {}),
            **({"certifies": dict(zip(("begin", "end"), map(instant_text, kind.certifies), strict=True))} if kind.certifies else {}),
        }
        for name, kind in pipeline.dataset_types.items()
        if name not in own
    }  # fmt: skip
    document["tasks"] = {
        task.label: _task(task, once.get(task.label, ()))
        for task in pipeline.tasks
        if task.entry is not None or task.command is not None
    }
    if pipeline.clusters:
        document["clusters"] = {
            c.name: {
                "tasks": list(c.tasks),
                "dimensions": list(c.dimensions),
                "maximum": _maximum(c.maximum, c.limits),
            }
            for c in pipeline.clusters
        }
    return f"# {head}\n" + yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=110)


def _task(task: TaskDefinition, once: tuple[str, ...]) -> Plain:
    said: Plain = {"dimensions": list(task.dimensions)}
    if task.entry is not None:
        said["run"] = task.entry
    if task.command is not None:
        said["command"] = list(task.command)
    said["inputs"] = {
        c.name: {
            "type": c.type,
            **({"minimum": c.minimum} if c.minimum != "all" else {}),
            **({"where": c.where} if c.where else {}),
            **({"padding": f"{c.padding!r} deg"} if c.padding else {}),
            **({"prerequisite": True} if c.prerequisite else {}),
        }
        for c in task.inputs
    }
    said["outputs"] = {
        c.name: {
            "type": c.type,
            **({"optional": True} if c.optional else {}),
            **({} if c.retained else {"retained": False}),
        }
        for c in task.outputs
        if not c.name.startswith("_")
    }
    prototypes: Any = list(task.prototypes)  # Any: a list, or how often each is made
    if once:
        prototypes = dict.fromkeys(task.prototypes, "each") | dict.fromkeys(once, "once")
    more: Plain = {
        "config": dict(task.config), "where": task.where, "ignore": list(task.ignore), "prototypes": prototypes,
        "resources": {**task.resources, **{k: v for k, v in task.expressions.items() if k not in ("cpu_seconds", "output_bytes")}},
        "hints": {**task.hints, **{k: v for k, v in task.expressions.items() if k in ("cpu_seconds", "output_bytes")}},
        "preflight": task.preflight, "barrier": task.barrier,
        "on_failure": str(task.on_failure) if str(task.on_failure) != "stop" else "",
        "tries": task.tries if task.tries != 1 else 0,
    }  # fmt: skip
    return {**said, **{name: value for name, value in more.items() if value}}


def _maximum(groups: int, limits: Mapping[str, float]) -> Any:  # Any: a number, or what limits a job
    if not limits:
        return groups
    words = {"cpu_seconds": "cpu"}
    said: Plain = {words.get(k, k): int(v) if k in ("quanta", "inputs") else v for k, v in limits.items()}
    return {**({"groups": groups} if groups else {}), **said}
