"""The plans of a sandbox: for each run all that is on record of it here, so that it can be asked about and made again."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from prestow.errors import PrestowError
from prestow.model.hashing import canonical_json, dataset_id
from prestow.pipeline.definition import OutputConnection
from prestow.plan import Request, write_plan
from prestow.plan.given import Given, GivenDataset, GivenQuantum, build_given
from prestow.plan.stages import at_stage, stages_in
from prestow.plan.state import outputs_of
from prestow.project import plans as plan_files
from prestow.project.binding import chain_name
from prestow.project.opened import STORE
from prestow.project.sandboxes import place_of

if TYPE_CHECKING:
    from prestow.model.universe import Universe
    from prestow.pipeline.definition import Pipeline
    from prestow.plan import Plan
    from prestow.project.recipes_of_runs import RunRecipe
    from prestow.project.sandboxes import Sandbox
    from prestow.results.ancestry import KnownDataset, KnownQuantum


@dataclass(frozen=True, slots=True)
class RunPlan:
    """A plan of a run, or of a stage of it, and which quantum on record each of its rows is.

    ``members`` gives, by (task, data ID), the id of the quantum that is on record: of this run, or of a parent.
    """

    plan: Plan
    members: Mapping[tuple[str, str], str]


def write_plans(root: Path, sandbox: Sandbox, universe: Universe, newest: str) -> list[str]:
    """Write a plan for each run, and give what could not be planned and why."""
    notes: list[str] = []
    directory = root / "plans"
    last = ""
    blind = sandbox.ancestry.blind()
    for run in sandbox.ancestry.runs():
        recipe = sandbox.runs.get(run)
        if recipe is None or recipe.pipeline is None:
            continue
        notes += _left_out(sandbox, run, blind)
        try:
            for one in run_plans(sandbox, recipe, universe, root):
                write_plan(one.plan, directory)
                if run == newest or not last:
                    last = one.plan.id
        except PrestowError as error:
            notes.append(f"run {run} cannot be planned here: {error.problems[0].what}")
    if last:
        plan_files.point_to(directory, last)
    return notes


def _left_out(sandbox: Sandbox, run: str, blind: Mapping[str, KnownDataset]) -> list[str]:
    """Say which quanta of a run are in no plan here, and for what."""
    first = [one for key, one in blind.items() if sandbox.ancestry.quanta[key].run == run]
    if not first:
        return []
    what = f"what {first[0]} was made from is on record neither here nor in {sandbox.source['project']}"
    quanta = "1 quantum" if len(first) == 1 else f"{len(first):,} quanta"
    return [f"run {run}: {quanta} cannot be planned or made again here: {what}"]


def run_plans(sandbox: Sandbox, recipe: RunRecipe, universe: Universe, root: Path) -> Iterator[RunPlan]:
    """Give the plans of a run, stage by stage: what is on record of it, and of its parents, in that order."""
    assert recipe.pipeline is not None, "a run without a pipeline is not planned"
    directory = root / "plans"
    directory.mkdir(parents=True, exist_ok=True)
    request = Request(
        run=recipe.run,
        pipeline=_retaining(recipe.pipeline),
        universe=universe,
        chain=(chain_name((recipe.run, *recipe.parents)[-1]),),
        child_of=next(iter(recipe.parents), None),
        store=STORE,
    )
    stages = stages_in(recipe.pipeline)
    for number in range(1, stages + 1):
        asked = request if stages == 1 else at_stage(request, number)
        members = _members(sandbox, recipe, {task.label for task in asked.pipeline.tasks})
        if members:
            given = _given(sandbox, recipe, asked, members)
            yield RunPlan(build_given(asked, given, beside=directory), {k: q.id for k, q in members.items()})


def _retaining(pipeline: Pipeline) -> Pipeline:
    """Give a pipeline that keeps all: what is absent is to be made, also where it was not kept."""
    tasks = [
        replace(task, outputs=tuple(OutputConnection(o.name, o.type, o.optional) for o in task.outputs))
        for task in pipeline.tasks
    ]
    return replace(pipeline, tasks=tuple(tasks))


def _members(sandbox: Sandbox, recipe: RunRecipe, tasks: set[str]) -> dict[tuple[str, str], KnownQuantum]:
    """Give the quanta of a run, and those of its parents that it takes, by task and data ID; its own go first.

    What goes back to something of which nothing is on record has no planned recipe, and is left out.
    """
    found: dict[tuple[str, str], KnownQuantum] = {}
    blind = sandbox.ancestry.blind()
    for run in (recipe.run, *recipe.parents):
        for quantum in sandbox.ancestry.quanta.values():
            if quantum.run == run and quantum.task in tasks and quantum.id not in blind:
                found.setdefault((quantum.task, canonical_json(dict(quantum.data_id))), quantum)
    own = any(quantum.run == recipe.run for quantum in found.values())
    return found if own else {}


def _given(
    sandbox: Sandbox, recipe: RunRecipe, request: Request, members: Mapping[tuple[str, str], KnownQuantum]
) -> Given:
    known = sandbox.ancestry
    written = {o.type for task in request.pipeline.tasks for o in outputs_of(task)}
    datasets: dict[tuple[str, str], KnownDataset] = {}
    quanta: list[GivenQuantum] = []
    for quantum in members.values():
        inputs: dict[str, dict[tuple[str, str], tuple[str, Mapping[str, str | int]]]] = {}
        for connection, key in quantum.inputs:
            one = known.datasets[key]
            place = (one.type, canonical_json(dict(one.data_id)))
            inputs.setdefault(connection, {})[place] = (one.type, one.data_id)
            if one.type not in written:
                datasets.setdefault(place, one)
        own = quantum.run == recipe.run
        quanta.append(
            GivenQuantum(
                quantum.task, quantum.data_id, {c: tuple(found.values()) for c, found in inputs.items()},
                quantum.id if own else "", quantum.recipe if own else "",
            )
        )  # fmt: skip
    return Given(
        [_dataset(sandbox, one) for one in datasets.values()], quanta, sandbox.records, recipe.facts or None
    )


def _dataset(sandbox: Sandbox, one: KnownDataset) -> GivenDataset:
    maker = sandbox.ancestry.quanta.get(one.quantum)
    return GivenDataset(
        one.id, one.type, one.data_id, one.run, STORE, place_of(one) if one.path else f"_gone/{one.id}", one.size or 0,
        one.sha256, one.content, one.format, one.recipe, one.quantum, "" if maker is None else maker.name,
    )  # fmt: skip


def taken_of(one: RunPlan, sandbox: Sandbox, run: str, make: set[str]) -> pl.DataFrame | None:
    """Give, as `prestow.plan.reuse.reusable` does, what a plan takes as it is on record: all but what is to be made.

    What is of a parent lies where that made it. What is absent, and nothing that is to be made reads it, is taken
    to be as rightfully absent: it is not made for nobody.
    """
    from prestow.plan.reuse import COLUMNS

    known = sandbox.ancestry
    tables = one.plan.tables
    rows = tables["quanta"].select("quantum", pl.col("task").cast(pl.String), "data_id")
    outputs = tables["outputs"].select("quantum", "dataset")
    kinds = tables["datasets"].select("dataset", pl.col("type").cast(pl.String), "data_id")
    by_quantum: dict[int, list[tuple[int, str, str]]] = {}
    for quantum, dataset, kind, data_id in outputs.join(kinds, on="dataset").iter_rows():
        by_quantum.setdefault(quantum, []).append((dataset, kind, data_id))
    found = []
    for row, task, data_id in rows.iter_rows():
        member = known.quanta[one.members[task, data_id]]
        if member.id in make and member.run == run:
            continue
        made = {
            (d.type, canonical_json(dict(d.data_id))): d
            for o in member.outputs
            if (d := known.datasets.get(o)) is not None
        }
        for dataset, kind, values in by_quantum.get(row, ()):
            there = made.get((kind, values))
            bytes_ = there is not None and there.state in ("made", "deleted") and bool(there.sha256)
            found.append(
                {
                    "quantum": row, "dataset": dataset,
                    "id": uuid.UUID(dataset_id(kind, member.run, json.loads(values))).bytes,
                    "run": member.run, "store": STORE if bytes_ else None,
                    "path": place_of(there) if there is not None and bytes_ else None,
                    "size": there.size if there is not None and bytes_ else None,
                    "sha256": there.sha256 if there is not None and bytes_ else None,
                    "content": there.content if there is not None and bytes_ else None,
                    "receipt": member.name, "producer": member.id, "state": member.state or "made",
                }
            )  # fmt: skip
    if not found:
        return None
    schema = {
        "quantum": pl.UInt32, "dataset": pl.UInt32, "id": pl.Binary, "run": pl.String, "store": pl.String, "path": pl.String,
        "size": pl.Int64, "sha256": pl.String, "content": pl.String, "receipt": pl.String, "producer": pl.String,
        "state": pl.String,
    }  # fmt: skip
    return pl.DataFrame(found, schema=schema, orient="row").sort("quantum", "dataset").select(COLUMNS)


__all__ = ["RunPlan", "run_plans", "taken_of", "write_plans"]
