"""From a request to a plan in memory: the passes in order, then tables, digest and counts."""

from __future__ import annotations

from typing import Any

import polars as pl

from prestow.errors import PlanRefusedError, Problem, raise_all
from prestow.model.hashing import canonical_json
from prestow.naming.templates import RUN_NAME
from prestow.pipeline.definition import TaskDefinition
from prestow.plan.document import (
    definition_digest,
    pipeline_digest,
    pipeline_to_plain,
    universe_to_plain,
)
from prestow.plan.passes import PASSES
from prestow.plan.plan import SCHEMA, Plan, Tables
from prestow.plan.request import DatasetSource, Request
from prestow.plan.state import State, outputs_of
from prestow.plan.tables import make_tables, tables_digest


def build_plan(request: Request, source: DatasetSource) -> Plan:
    """Make the plan of a request, in memory; nothing is written, and the same always comes out.

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
    for step in PASSES:
        state = step(state)
        if state.problems and not any(part.quanta.height for part in state.parts.values()):
            break  # nothing is left to prove
    raise_all(state.problems, PlanRefusedError)
    tables = make_tables(state)
    where = state.selections[("", "")].canonical if ("", "") in state.selections else ""
    header = canonical_json(
        {
            "schema": SCHEMA,
            "run": request.run,
            "where": where,
            "child_of": request.child_of,
            "pipeline": definition_digest(request.pipeline),
            "universe": request.universe.canonical_text(),
            **({"identity": dict(state.identity)} if state.identity else {}),
        }
    )
    plan_id = tables_digest(header, tables)[:32]
    document: dict[str, Any] = {  # Any: plain values
        "schema": SCHEMA,
        "id": plan_id,
        "run": request.run,
        "request": {
            "where": where,
            "chain": list(request.chain),
            "child_of": request.child_of,
            "mixed": request.mixed,
            **state.told,
        },
        "pipeline_digest": pipeline_digest(request.pipeline),
        "totals": {name: table.height for name, table in tables.items()},
        "counts": {task.label: _count(state, task) for task in request.pipeline.tasks},
        "warnings": list(state.warnings),
        **({"identity": dict(state.identity)} if state.identity else {}),
        "pipeline": pipeline_to_plain(request.pipeline),
        "universe": universe_to_plain(request.universe),
    }
    return Plan.from_document(document, Tables(tables), bundle=request.pipeline.code)


def _count(state: State, task: TaskDefinition) -> dict[str, Any]:  # Any: plain values
    part, tasks = state.parts[task.label], state.request.pipeline.tasks
    assert state.grouping is not None, "the pass 'group' has run"
    position = next(i for i, t in enumerate(tasks) if t.label == task.label)
    quanta = part.quanta.height
    return {
        "quanta": quanta,
        "jobs": state.grouping.quanta.filter(pl.col("task") == position)["job"].n_unique(),
        "inputs": sum(pairs.height for pairs in part.inputs.values()),
        "outputs": quanta * len(outputs_of(task)),
        "left_out": {drop.reason: drop.count for drop in state.left_out if drop.task == task.label},
        "cpu_seconds": quanta * float(task.hints.get("cpu_seconds", 0)),
        "bytes": round(quanta * float(task.hints.get("output_bytes", 0))),
    }
