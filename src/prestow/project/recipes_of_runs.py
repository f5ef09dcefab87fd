"""By which pipeline, configuration and code a run was made: from its plans, else from the project as it is now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from prestow.commit import code_name
from prestow.errors import ObjectNotFoundError, PrestowError
from prestow.model.hashing import sha256_hex
from prestow.pipeline.definition import CodeBundle, Pipeline
from prestow.plan.document import pipeline_digest, pipeline_from_plain
from prestow.project import binding
from prestow.project import plans as plan_files

if TYPE_CHECKING:
    from prestow.project.opened import OpenedProject
    from prestow.stores import Store


@dataclass(frozen=True, slots=True)
class RunRecipe:
    """How a run is made.

    Parameters
    ----------
    facts : mapping
        What it is bound to.
    parents : tuple of str
        The runs that it is a child of, nearest first.
    pipeline : Pipeline or None
        With its code; None if it cannot be had any more.
    why : str
        Why it cannot.
    """

    run: str
    facts: Mapping[str, Any]  # Any: JSON values
    parents: tuple[str, ...] = ()
    pipeline: Pipeline | None = None
    why: str = ""


def recipes_of(project: OpenedProject, runs: Iterable[str]) -> dict[str, RunRecipe]:
    """Give how each of some runs is made; what is bound to a pipeline is made by that, and by no other."""
    plans = plan_files.plan_directories(project.plans_directory)
    return {run: _recipe_of(project, run, plans) for run in runs}


def _recipe_of(project: OpenedProject, run: str, plans: Iterable[Any]) -> RunRecipe:
    try:
        facts = binding.standing(project.registry, project.store, run)
        parents = binding.ancestors(project.registry, run)
    except PrestowError:
        facts, parents = None, ()
    if facts is None:
        return RunRecipe(run, {}, parents, None, f"what run {run} is bound to is not on record")
    wanted = str(facts.get("pipeline", ""))
    code, why = _code(project.store, str(facts.get("code") or ""))
    if why:
        return RunRecipe(run, facts, parents, None, f"run {run}: {why}")
    found: list[Pipeline] = []
    for path in plans:
        try:
            if plan_files.run_of(path) == run:
                found.append(replace(project.find_plan(path.name).definition, code=code))
        except PrestowError:
            continue
    found += [joined] if (joined := _joined(found)) is not None else []
    pipeline = next((one for one in found if pipeline_digest(one) == wanted), None)
    if pipeline is None:
        pipeline = _as_it_is(project, facts, wanted)
    if pipeline is None:
        what = f"run {run}: neither its plans nor {project.configuration.pipeline.name} have pipeline {wanted[:8]} any more"
        return RunRecipe(run, facts, parents, None, what)
    return RunRecipe(run, facts, parents, pipeline)


def _code(store: Store, sha256: str) -> tuple[CodeBundle | None, str]:
    """Give the code of that digest, and what is wrong with it."""
    if not sha256:
        return None, ""
    try:
        data = store.read(code_name(sha256))
    except ObjectNotFoundError:
        return None, f"its code {sha256[:8]} is not in the store"
    if sha256_hex(data) != sha256:
        return None, f"its code {sha256[:8]} was changed in the store"
    return CodeBundle(data, sha256), ""


def _joined(parts: list[Pipeline]) -> Pipeline | None:
    """Give the pipeline whose stages these are."""
    if len(parts) < 2:  # noqa: PLR2004 - one stage is no pipeline with stages
        return None
    tasks = {task.label: task for part in parts for task in part.tasks}
    types = dict(parts[0].dataset_types)
    for part in parts[1:]:
        for name, kind in part.dataset_types.items():
            if kind.template or name not in types:
                types[name] = kind
    written = {o.type: t.label for t in tasks.values() for o in t.outputs}
    ordered: dict[str, None] = {}
    while waiting := [label for label in tasks if label not in ordered]:
        ready = [x for x in waiting if all(written.get(c.type, x) in (x, *ordered) for c in tasks[x].inputs)]
        ordered.update(dict.fromkeys(ready or waiting))
    clusters = {c.name: c for part in parts for c in part.clusters}
    return replace(
        parts[0], tasks=tuple(tasks[label] for label in ordered), dataset_types=dict(sorted(types.items())),
        clusters=tuple(clusters.values()),
    )  # fmt: skip


def _as_it_is(project: OpenedProject, facts: Mapping[str, Any], wanted: str) -> Pipeline | None:
    """Give the project's own pipeline, with the run's overrides, if it is still the same."""
    try:
        pipeline = project.load_pipeline(tuple(facts.get("overrides", ())))
    except PrestowError:
        return None
    return pipeline if pipeline_digest(pipeline) == wanted else None


def from_plain(plain: Mapping[str, Any], code: CodeBundle | None) -> Pipeline:
    """Read a pipeline that was kept as plain values, with its code."""
    return replace(pipeline_from_plain(plain), code=code)
