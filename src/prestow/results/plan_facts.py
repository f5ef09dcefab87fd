"""What two plans were asked and declare otherwise: selections, configuration, code, types, how it is run."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prestow.plan import Plan

# how a task is run, not what it makes
POLICY = ("on_failure", "tries", "resources", "hints", "ignore", "unretained", "retain")
MAKING = ("entry", "command", "config_class", "dimensions", "where", "inputs", "outputs", "prototypes")


@dataclass(frozen=True, slots=True)
class Fact:
    """One thing that is said otherwise.

    Parameters
    ----------
    kind : str
        ``request``, ``config``, ``code``, ``task``, ``type``, ``template``, ``policy``, ``relation``, ``universe``,
        ``left_out``.
    name : str
        Of what: ``task.key``, a dataset type, a key of the request.
    a, b : str or None
        As text; None where there is none.
    origin_a, origin_b : str
        Where a value came from, if that is known.
    """

    kind: str
    name: str
    a: str | None
    b: str | None
    origin_a: str = ""
    origin_b: str = ""

    @property
    def text(self) -> str:
        """Give it for people."""
        sides = [
            "nothing" if value is None else f"{value} ({origin})" if origin else value
            for value, origin in ((self.a, self.origin_a), (self.b, self.origin_b))
        ]
        return f"{self.kind} {self.name}: {sides[0]} -> {sides[1]}"


Plain = Mapping[str, Any]  # Any: plain values


def facts_of(a: Plan, b: Plan, overrides: Mapping[str, Sequence[str]]) -> tuple[Fact, ...]:
    """Give all that is said otherwise, as the documents of two plans have it."""
    one, other = a.document, b.document
    given = [tuple(overrides.get(plan.run, ())) for plan in (a, b)]
    return (
        *_mapping("request", _request(one), _request(other)),
        *_code(one["pipeline"], other["pipeline"]),
        *_tasks(one["pipeline"], other["pipeline"], given),
        *_types(one["pipeline"], other["pipeline"]),
        *_mapping(
            "policy", {"clusters": one["pipeline"]["clusters"]}, {"clusters": other["pipeline"]["clusters"]}
        ),
        *_mapping("universe", one["universe"], other["universe"], only=("name", "version")),
        *_identities(one.get("identity", {}), other.get("identity", {})),
        *_left_out(one["counts"], other["counts"]),
    )


def _identities(a: Plain, b: Plain) -> Iterator[Fact]:
    """Give relations that are others, and the rows of a table of data IDs; all else the requests say in words."""
    for key in sorted({*a, *b}):
        kind, _, name = key.rpartition(":")
        if a.get(key) != b.get(key) and (kind == "relation" or key == "data_ids"):
            one, other = (values[key][:12] if key in values else None for values in (a, b))
            yield Fact(kind, name, one, other) if kind else Fact("request", "rows of data_ids", one, other)


def makes_otherwise(a: Plan, b: Plan, label: str) -> bool:
    """Say whether a task by itself makes something else: entry, configuration, code, outputs, formats, columns."""
    found = []
    for plan in (a, b):
        pipeline = plan.document["pipeline"]
        task = next((t for t in pipeline["tasks"] if t["label"] == label), None)
        if task is None:
            return True
        kinds = pipeline["dataset_types"]
        outputs = sorted(
            [
                o["name"],
                o["type"],
                kinds[o["type"]]["format"],
                o["optional"],
                kinds[o["type"]].get("columns", []),
            ]
            for o in task["outputs"]
        )
        code = pipeline["code"]["sha256"] if pipeline["code"] else None
        found.append([task["entry"], task["command"], task["config"], outputs, code])
    return bool(found[0] != found[1])


def _request(document: Plain) -> dict[str, Any]:  # Any: plain values
    request = {key: value for key, value in document["request"].items() if key != "chain"}
    if request.get("excluded"):
        request["excluded"] = "; ".join(
            f"{x['where']} (because: {x['because']})" for x in request["excluded"]
        )
    if request.get("waived"):
        request["waived"] = ", ".join(f"{x['reason']}@{x['task']}" for x in request["waived"])
    return {"run": document["run"], **request}


def _mapping(
    kind: str, a: Plain, b: Plain, *, only: Sequence[str] | None = None, head: str = ""
) -> Iterator[Fact]:
    for key in sorted({*a, *b}) if only is None else only:
        if a.get(key) != b.get(key):
            yield Fact(kind, f"{head}{key}", _shown(a, key), _shown(b, key))


def _shown(values: Plain, key: str) -> str | None:
    if key not in values:
        return None
    value = values[key]
    return (
        value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, sort_keys=True)
    )


def _code(a: Plain, b: Plain) -> Iterator[Fact]:
    one, other = (p["code"]["sha256"][:12] if p["code"] else None for p in (a, b))
    if one != other:
        yield Fact("code", "of the workflow", one, other)


def _tasks(a: Plain, b: Plain, given: Sequence[Sequence[str]]) -> Iterator[Fact]:
    tasks = [{t["label"]: t for t in p["tasks"]} for p in (a, b)]
    for label in dict.fromkeys([*tasks[0], *tasks[1]]):
        one, other = tasks[0].get(label), tasks[1].get(label)
        if one is None or other is None:
            yield Fact("task", label, "there" if one else None, "there" if other else None)
            continue
        yield from _mapping("task", one, other, only=MAKING, head=f"{label}.")
        for key in sorted({*one["config"], *other["config"]}):
            if one["config"].get(key) != other["config"].get(key):
                before, after = _shown(one["config"], key), _shown(other["config"], key)
                origins = _origin(one, key, given[0]), _origin(other, key, given[1])
                yield Fact("config", f"{label}.{key}", before, after, *origins)
        yield from _mapping("policy", one, other, only=POLICY, head=f"{label}.")


def _origin(task: Plain, key: str, given: Sequence[str]) -> str:
    """Say where a value came from: as the plan has it, else as the run was bound."""
    told = (task.get("config_origin") or {}).get(key)
    if told:
        return str(told)
    return "--set" if any(text.startswith(f"{task['label']}.{key}=") for text in given) else ""


def _types(a: Plain, b: Plain) -> Iterator[Fact]:
    for name in sorted({*a["dataset_types"], *b["dataset_types"]}):
        one, other = (p["dataset_types"].get(name) for p in (a, b))
        if one is None or other is None:
            yield Fact("type", name, "there" if one else None, "there" if other else None)
            continue
        yield from _mapping("type", one, other, only=("dimensions", "format", "columns"), head=f"{name}.")
        if one["template"] != other["template"]:
            yield Fact("template", name, one["template"], other["template"])


def _left_out(a: Plain, b: Plain) -> Iterator[Fact]:
    for label in dict.fromkeys([*a, *b]):
        sides = [p.get(label, {}).get("left_out", {}) for p in (a, b)]
        yield from _mapping("left_out", *sides, head=f"{label}, ")
