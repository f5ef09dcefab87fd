"""Pipeline and universe as the plain values of ``plan.yaml``, and their digests."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from prestow.model import DatasetType
from prestow.model.hashing import canonical_json, sha256_hex
from prestow.model.universe import Dimension, Relation, Universe
from prestow.pipeline.definition import (
    HINTS,
    RESOURCES,
    RETAIN,
    Cluster,
    InputConnection,
    OnFailure,
    OutputConnection,
    Pipeline,
    TaskDefinition,
)

Plain = dict[str, Any]  # Any: whatever JSON holds
"""Plain values, as JSON and YAML hold them."""

_POLICY = (
    "on_failure",
    "tries",
    "resources",
    "hints",
    "unretained",
    "retain",
)  # of a task: how it is run, not what it makes


def pipeline_to_plain(pipeline: Pipeline) -> Plain:
    """Give a pipeline as plain values, without its code and without where its values came from."""
    return {
        "name": pipeline.name,
        "code": None
        if pipeline.code is None
        else {"sha256": pipeline.code.sha256, "size": len(pipeline.code.data)},
        "dataset_types": {name: _type_to_plain(t) for name, t in sorted(pipeline.dataset_types.items())},
        "tasks": [_task_to_plain(task) for task in pipeline.tasks],
        "clusters": [
            {"name": c.name, "tasks": list(c.tasks), "dimensions": list(c.dimensions)}
            | ({"maximum": c.maximum} if c.maximum != 1 else {})
            | ({"limits": dict(c.limits)} if c.limits else {})
            for c in pipeline.clusters
        ],
    }


def _type_to_plain(kind: DatasetType) -> Plain:
    plain: Plain = {"dimensions": list(kind.dimensions), "format": kind.format, "template": kind.template}
    if kind.columns:
        plain["columns"] = [list(column) for column in kind.columns]
    if kind.calibration:
        plain["calibration"] = True
    if kind.certifies:
        plain["certifies"] = list(kind.certifies)
    return plain


def _task_to_plain(task: TaskDefinition) -> Plain:
    unretained = [c.name for c in task.outputs if not c.retained]
    retain = {c.name: c.retain for c in task.outputs if c.retain != RETAIN[-1]}
    return {
        "label": task.label,
        "dimensions": list(task.dimensions),
        "entry": task.entry,
        "command": None if task.command is None else list(task.command),
        "config_class": task.config_class,
        "config": dict(task.config),
        "where": task.where,
        "inputs": [_input_to_plain(c) for c in task.inputs],
        "outputs": [{"name": c.name, "type": c.type, "optional": c.optional} for c in task.outputs],
        "on_failure": str(task.on_failure),
        "tries": task.tries,
        "ignore": list(task.ignore),
        "prototypes": list(task.prototypes),
        "resources": {**task.resources, **_own(task, RESOURCES)},
        "hints": {**task.hints, **_own(task, HINTS)},
        **({"preflight": task.preflight} if task.preflight else {}),
        **({"barrier": True} if task.barrier else {}),
        **({"unretained": unretained} if unretained else {}),
        **({"retain": retain} if retain else {}),
    }


def _input_to_plain(connection: InputConnection) -> Plain:
    plain: Plain = {"name": connection.name, "type": connection.type, "minimum": connection.minimum}
    more: Plain = {"prerequisite": True} if connection.prerequisite else {}
    more |= {"padding": connection.padding} if connection.padding else {}
    return {**plain, "where": connection.where, **more}


def _own(task: TaskDefinition, names: tuple[str, ...]) -> dict[str, str]:
    return {name: text for name, text in task.expressions.items() if name in names}


def pipeline_from_plain(plain: Mapping[str, Any]) -> Pipeline:
    """Read what `pipeline_to_plain` gave; the code is left out."""
    return Pipeline(
        name=plain["name"],
        source="",
        tasks=tuple(_task_from_plain(task) for task in plain["tasks"]),
        dataset_types={
            name: DatasetType(
                name,
                tuple(t["dimensions"]),
                t["format"],
                t["template"],
                tuple((column, kind) for column, kind in t.get("columns", ())),
                t.get("calibration", False),
                (t["certifies"][0], t["certifies"][1]) if "certifies" in t else None,
            )
            for name, t in plain["dataset_types"].items()
        },
        clusters=tuple(
            Cluster(
                c["name"], tuple(c["tasks"]), tuple(c["dimensions"]), c.get("maximum", 1), c.get("limits", {})
            )
            for c in plain["clusters"]
        ),
    )


def _task_from_plain(plain: Mapping[str, Any]) -> TaskDefinition:
    unretained, retain = plain.get("unretained", ()), plain.get("retain", {})
    return TaskDefinition(
        **{
            **{key: value for key, value in plain.items() if key not in ("unretained", "retain")},
            "dimensions": tuple(plain["dimensions"]),
            "command": None if plain["command"] is None else tuple(plain["command"]),
            "inputs": tuple(InputConnection(**c) for c in plain["inputs"]),
            "outputs": tuple(
                OutputConnection(
                    **c, retained=c["name"] not in unretained, retain=retain.get(c["name"], RETAIN[-1])
                )
                for c in plain["outputs"]
            ),
            "on_failure": OnFailure(plain["on_failure"]),
            "ignore": tuple(plain["ignore"]),
            "prototypes": tuple(plain["prototypes"]),
            "resources": {k: v for k, v in plain["resources"].items() if not isinstance(v, str)},
            "hints": {k: v for k, v in plain["hints"].items() if not isinstance(v, str)},
            "expressions": {
                k: v for k, v in {**plain["resources"], **plain["hints"]}.items() if isinstance(v, str)
            },
        }
    )


def pipeline_digest(pipeline: Pipeline) -> str:
    """Give the digest of what a pipeline makes: to this a run is bound.

    How it is run (policy on failures, tries, resources, what is retained, clusters) is not in it: more memory needs no
    new run.
    """
    plain = pipeline_to_plain(pipeline)
    del plain["clusters"]
    for task in plain["tasks"]:
        for name in _POLICY:
            task.pop(name, None)
    return sha256_hex(canonical_json(plain).encode())


def definition_digest(pipeline: Pipeline) -> str:
    """Give the digest of all of a pipeline that a plan depends on: all but the forecasts."""
    plain = pipeline_to_plain(pipeline)
    for task in plain["tasks"]:
        del task["hints"]
    return sha256_hex(canonical_json(plain).encode())


def universe_to_plain(universe: Universe) -> Plain:
    """Give a universe as plain values, aliases too."""
    return {
        "name": universe.name,
        "version": universe.version,
        "dimensions": {
            d.name: {
                "type": d.type,
                "requires": list(d.requires),
                "implies": list(d.implies),
                "aliases": list(d.aliases),
                "metadata": dict(d.metadata),
                **({"date": True} if d.date else {}),
            }
            for d in universe.dimensions.values()
        },
        "relations": {r.name: r.plain()[1:] for r in universe.relations.values()},
    }


def universe_from_plain(plain: Mapping[str, Any]) -> Universe:
    """Read what `universe_to_plain` gave."""
    return Universe(
        plain["name"],
        plain["version"],
        {
            name: Dimension(
                name,
                d["type"],
                tuple(d["requires"]),
                tuple(d["implies"]),
                tuple(d["aliases"]),
                dict(d["metadata"]),
                d.get("date", False),
            )
            for name, d in plain["dimensions"].items()
        },
        {name: _relation(name, values) for name, values in plain["relations"].items()},
    )


def _relation(name: str, values: Sequence[Any]) -> Relation:  # Any: what `Relation.plain` gives
    """Read the sides of a relation, and its version and metadata where they are told."""
    here, there = ((side,) if isinstance(side, str) else tuple(side) for side in values[:2])
    return Relation(name, (here, there), *values[2:])
