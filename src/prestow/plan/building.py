"""From a request to a plan in memory: the passes in order, then tables, digest and counts."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from prestow.errors import PlanRefusedError, Problem, raise_all
from prestow.model.hashing import canonical_json
from prestow.naming.identity import RULE
from prestow.naming.templates import RUN_NAME
from prestow.pipeline.definition import TaskDefinition
from prestow.plan.document import (
    definition_digest,
    pipeline_digest,
    pipeline_to_plain,
    universe_to_plain,
)
from prestow.plan.emitting import emit
from prestow.plan.making import make_directory
from prestow.plan.naming_proof import NameProof
from prestow.plan.passes import PASSES
from prestow.plan.plan import SCHEMA, Plan, Tables
from prestow.plan.request import DatasetSource, Request
from prestow.plan.spool import Spool
from prestow.plan.state import State, outputs_of
from prestow.plan.tables import LOGICAL, TABLES

UNNAMED = frozenset({"PST-C030", "PST-P003"})
"""Problems after which names cannot even be made."""

IN_MEMORY = 50_000  # quanta: the tables of more are files from the first


def build_plan(
    request: Request,
    source: DatasetSource,
    *,
    beside: Path | None = None,
    passes: Sequence[Callable[[State], State]] = PASSES,
) -> Plan:
    """Make the plan of a request; the same always comes out.

    Its tables are in memory, or, if they are large, in a temporary directory that `write_plan` moves to its
    place and that is gone with the plan.

    Parameters
    ----------
    beside : Path, optional
        Where temporary directories are made: on the disk that the plan will be written to.
    passes : sequence of callable
        The planner; see `prestow.plan.given` for another beginning of it.

    Raises
    ------
    PlanRefusedError
        With every problem that was found.
    """
    import re

    state = State(request, source)
    if not re.fullmatch(RUN_NAME, request.run):
        what = f"'{request.run}' cannot be the name of a run"
        raise PlanRefusedError(
            Problem("PST-P003", what, "run", "use letters, digits and . _ + -, a letter or digit first")
        )
    for step in passes:
        request.tell(step.__name__.lstrip("_"))
        state = step(state)
        if state.problems and not any(part.quanta.height for part in state.parts.values()):
            break  # nothing is left to prove
    quanta = sum(part.quanta.height for part in state.parts.values())
    raise_all(state.problems if state.grouping is None else (), PlanRefusedError)
    directory, remove = make_directory(beside) if quanta > IN_MEMORY else (None, None)
    try:
        request.tell(f"tables of {quanta:,} quanta")
        plan_id, tables, heights = _spool(state, directory)
    except BaseException:
        if remove is not None:
            remove()
        raise
    document: dict[str, Any] = {  # Any: plain values
        "schema": SCHEMA,
        "id": plan_id,
        "naming": RULE,
        "run": request.run,
        "request": {
            "where": _where(state),
            "chain": list(request.chain),
            "child_of": request.child_of,
            "mixed": request.mixed,
            **state.told,
        },
        "pipeline_digest": pipeline_digest(request.pipeline),
        "totals": {name: heights[name] for name in TABLES},
        "counts": {task.label: _count(state, task) for task in request.pipeline.tasks},
        "warnings": list(state.warnings),
        **({"identity": dict(state.identity)} if state.identity else {}),
        "pipeline": pipeline_to_plain(request.pipeline),
        "universe": universe_to_plain(request.universe),
    }
    plan = Plan.from_document(
        document, Tables(tables, spool=directory), bundle=request.pipeline.code, extra=dict(state.extra)
    )
    if remove is not None:
        weakref.finalize(plan.tables, remove)
    return plan


def _spool(state: State, directory: Path | None) -> tuple[str, dict[str, pl.DataFrame], dict[str, int]]:
    """Make all tables and prove all names; give the plan's id, tables in memory, and heights."""
    proof = NameProof(state, () if state.directories is None else state.directories)
    spool = Spool(directory, LOGICAL)
    try:
        if not any(problem.code in UNNAMED for problem in state.problems):
            emit(state, spool, proof)
    finally:
        tables = spool.close()
    raise_all((*state.problems, *proof.problems()), PlanRefusedError)
    request = state.request
    header = canonical_json(
        {
            "schema": SCHEMA,
            "run": request.run,
            "where": _where(state),
            "child_of": request.child_of,
            "pipeline": definition_digest(request.pipeline),
            "universe": request.universe.canonical_text(),
            **({"identity": dict(state.identity)} if state.identity else {}),
        }
    )
    return spool.digest(header)[:32], tables, spool.heights


def _where(state: State) -> str:
    return state.selections[("", "")].canonical if ("", "") in state.selections else ""


def _count(state: State, task: TaskDefinition) -> dict[str, Any]:  # Any: plain values
    part, tasks = state.parts[task.label], state.request.pipeline.tasks
    assert state.grouping is not None, "the pass 'group' has run"
    position = next(i for i, t in enumerate(tasks) if t.label == task.label)
    quanta, sums = part.quanta.height, state.grouping.sums.get(task.label, {})
    return {
        "quanta": quanta,
        "jobs": state.grouping.quanta.filter(pl.col("task") == position)["job"].n_unique(),
        "inputs": sum(pairs.height for pairs in part.inputs.values()),
        "outputs": quanta * len(outputs_of(task)),
        "left_out": {drop.reason: drop.count for drop in state.left_out if drop.task == task.label},
        "cpu_seconds": sums.get("cpu_seconds", 0.0),
        "bytes": round(sums.get("output_bytes", 0.0)),
    }
