"""Matching task by task, forward from what exists."""

from __future__ import annotations

import re
from dataclasses import replace

import polars as pl

from prestow.errors import Problem
from prestow.pipeline.definition import InputConnection, TaskDefinition
from prestow.plan.calibrations import as_needed, choose, is_looked_up, table_of, without_moment
from prestow.plan.hooks import apply_hook
from prestow.plan.keys import ROW
from prestow.plan.linking import facts_of_relations
from prestow.plan.matching.candidates import PAIRS, find_candidates, find_pairs
from prestow.plan.matching.dropping import Gone, Sieve, drop_missing, drop_too_few, drop_unselected
from prestow.plan.matching.explaining import explain
from prestow.plan.matching.sides import ASKED, Side, make_side
from prestow.plan.state import State, TaskPart, outputs_of
from prestow.plan.wanting import needed_tasks

_FIELD = re.compile(r"\{([a-z][a-z0-9_]*)")  # of a template


def match_all(state: State) -> State:
    """Find the quanta of every task, in the order of the pipeline."""
    lost: dict[str, pl.DataFrame] = {}  # what would be made if nothing were left out
    pipeline = state.request.pipeline
    needed = needed_tasks(state.wanted, pipeline) if state.wanted else {task.label for task in pipeline.tasks}
    for task in pipeline.tasks:
        state = _match_task(state, task, lost) if task.label in needed else _no_quanta(state, task)
    if state.calibrations:
        state = replace(state, extra={**state.extra, "calibrations": table_of(state)})
    relations = [name.partition(":")[2] for name in state.identity if name.startswith("relation:")]
    return narrow(replace(state, identity={**state.identity, **facts_of_relations(state, relations)}))


def _match_task(state: State, task: TaskDefinition, lost: dict[str, pl.DataFrame]) -> State:
    sides = [make_side(state, task, as_needed(state, task, connection), lost) for connection in task.inputs]
    used = {f"relation:{name}": "" for side in sides for name in side.relations}
    quanta = find_candidates(state, task, sides)
    if "_row" not in quanta.columns:
        quanta = quanta.with_columns(pl.int_range(pl.len(), dtype=ROW).alias("_row"))
    problems = without_moment(state, task)
    inputs: dict[str, pl.DataFrame] = {}
    gaps: list[Gone] = []
    by_moment: list[Side] = []
    for side in sides:
        name = side.connection.name
        if problems or not is_looked_up(state, task, side.connection):
            inputs[name] = find_pairs(task, quanta, side)
            continue
        by_moment.append(side)
        made = find_pairs(task, quanta, side) if side.connection.type in state.planned else None
        chosen = choose(state, task, side.connection, quanta, made)
        inputs[name] = chosen.pairs
        for reason, rows, severity in (
            (f"calibration_overlap:{name}", chosen.overlaps, "blocking"),
            (f"calibration_gap:{name}", chosen.gaps, "waivable"),
        ):
            gaps.append(Gone(reason, rows["quantum"], pl.col("_told"), rows.select(_told="detail"), severity))
    sieve = Sieve(task, quanta, inputs)
    drop_missing(sieve, [side for side in sides if not any(side is other for other in by_moment)])
    drop_unselected(sieve, state)
    for gap in gaps:
        sieve.leave(gap)
    drop_missing(sieve, by_moment)
    problems += apply_hook(sieve, state, sides) if task.preflight else []
    drop_too_few(sieve, sides, {c.name: _most(state, task, c) for c in task.inputs})
    kept, inputs, gone = sieve.close(sides)
    if not kept.height and not problems:
        problems = explain(state, task, sides, quanta.height, sieve.left_out)
    planned, more = planned_of(state, task, kept)
    for name, frame in (planned_of(state, task, gone)[0] if gone.height else {}).items():
        columns = [*(c for c in frame.columns if c != "_row"), gone[ASKED]]
        lost[name] = frame.select(columns)
    if state.wanted:
        state = replace(state, unmade={**state.unmade, task.label: sieve.unmade(sides, gone)})
    return replace(
        state,
        parts={**state.parts, task.label: TaskPart(kept, inputs)},
        planned={**state.planned, **planned},
        left_out=(*state.left_out, *sieve.left_out),
        problems=(*state.problems, *problems, *more),
        identity={**state.identity, **used},
    )


def _no_quanta(state: State, task: TaskDefinition) -> State:
    """Give the state with a task that nothing wanted needs."""
    dimensions = state.request.universe.expand(task.dimensions)
    quanta = pl.DataFrame(schema={"_row": ROW, **{d: state.kinds[d] for d in dimensions}})
    planned, problems = planned_of(state, task, quanta)
    part = TaskPart(quanta, {connection.name: pl.DataFrame(schema=PAIRS) for connection in task.inputs})
    return replace(
        state,
        parts={**state.parts, task.label: part},
        planned={**state.planned, **planned},
        problems=(*state.problems, *problems),
    )


def _most(state: State, task: TaskDefinition, connection: InputConnection) -> int | None:
    """Give how many datasets of a connection one quantum could ever have, or None where nobody knows."""
    own = state.request.universe.expand(task.dimensions)
    many = 1
    for element in state.request.pipeline.dataset_types[connection.type].dimensions:
        if element not in own:
            if element not in state.records:
                return None
            many *= state.records[element].height
    return many


def planned_of(
    state: State, task: TaskDefinition, quanta: pl.DataFrame
) -> tuple[dict[str, pl.DataFrame], list[Problem]]:
    """Give the datasets of a task's outputs: one a quantum, in the order of the quanta."""
    universe = state.request.universe
    frames: dict[str, pl.DataFrame] = {}
    problems = []
    for output in outputs_of(task):
        dimensions = state.request.pipeline.dataset_types[output.type].dimensions
        lacking = [d for d in dimensions if d not in quanta.columns]
        if lacking:
            what = f"{task.label} cannot name its {output.type}: its quanta have no {', '.join(lacking)}"
            fix = f"add {', '.join(lacking)} to the task's dimensions, or take it from the type's"
            problems.append(Problem("PST-P003", what, f"task {task.label}, output {output.name}", fix))
        wanted = [d for d in universe.expand(dimensions) if d in quanta.columns]
        frames[output.type] = quanta.select("_row", *wanted).drop("_row") if wanted else quanta.select("_row")
    return frames, problems


def narrow(state: State) -> State:
    """Drop the implied columns: what is matched needs its data IDs, what names say, and what clusters group by."""
    pipeline, universe = state.request.pipeline, state.request.universe
    grouped = {d for cluster in pipeline.clusters for d in universe.close(cluster.dimensions)}
    parts, planned = dict(state.parts), dict(state.planned)
    for task in pipeline.tasks:
        part = parts[task.label]
        wanted = {"_row", *task.dimensions, *grouped}
        for output in outputs_of(task):
            kind = pipeline.dataset_types[output.type]
            wanted.update(kind.dimensions)
            frame = planned[output.type]
            named = {"_row", *kind.dimensions, *_FIELD.findall(kind.template)}
            planned[output.type] = frame.select(c for c in frame.columns if c in named)
        parts[task.label] = replace(
            part, quanta=part.quanta.select(c for c in part.quanta.columns if c in wanted)
        )
    return replace(state, parts=parts, planned=planned)
