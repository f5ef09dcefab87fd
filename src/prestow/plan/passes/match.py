"""Match: task by task, forward from what exists, the quanta and what each reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import polars as pl

from prestow.errors import Problem
from prestow.model.universe import Universe
from prestow.naming.identity import data_id_json
from prestow.pipeline.definition import InputConnection, TaskDefinition
from prestow.plan.frames import imply, join_keys, restrict
from prestow.plan.linking import facts_of_relations, link, select_by_relation
from prestow.plan.state import ROW, LeftOut, State, TaskPart, outputs_of

EXAMPLES = 1000  # rows of left_out kept for each task and reason; the count is always whole
SHOWN = 5  # data IDs named in one problem


@dataclass(frozen=True, slots=True)
class _Side:
    """A connection's datasets as one task sees them: filtered, linked, with its join keys."""

    connection: InputConnection
    frame: pl.DataFrame  # keys and ``_dataset``
    keys: tuple[str, ...]
    relations: frozenset[str] = frozenset()  # those that were used

    @property
    def required(self) -> bool:
        return self.connection.minimum != 0


def match(state: State) -> State:
    """Find the quanta of every task, in the order of the pipeline."""
    for task in state.request.pipeline.tasks:
        state = _match_task(state, task)
    if not state.problems and not any(part.quanta.height for part in state.parts.values()):
        what = "no quantum of any task matches the request"
        fix = "widen the selection, or search other collections"
        state = replace(state, problems=(Problem("PST-P001", what, _asked(state), fix),))
    relations = [name.partition(":")[2] for name in state.identity if name.startswith("relation:")]
    state = replace(state, identity={**state.identity, **facts_of_relations(state, relations)})
    return _narrow(state)


def _narrow(state: State) -> State:
    """Drop the implied columns: what is matched needs its data IDs, and what clusters group by."""
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
            planned[output.type] = frame.select(c for c in frame.columns if c in {"_row", *kind.dimensions})
        parts[task.label] = replace(
            part, quanta=part.quanta.select(c for c in part.quanta.columns if c in wanted)
        )
    return replace(state, parts=parts, planned=planned)


def _asked(state: State) -> str:
    return f"where {state.request.where!r} in collections {', '.join(state.request.chain) or '(none)'}"


def _match_task(state: State, task: TaskDefinition) -> State:
    sides = [_side(state, task, connection) for connection in task.inputs]
    used = {f"relation:{name}": "" for side in sides for name in side.relations}
    quanta = _candidates(state, task, sides)
    candidates = quanta.height
    inputs = {side.connection.name: _edges(quanta, side) for side in sides}
    quanta, inputs, left_out = _drop(state, task, quanta, inputs, sides)
    problems = () if quanta.height else tuple(_explain(state, task, sides, candidates, left_out))
    planned, more = _planned(state, task, quanta)
    return replace(
        state,
        parts={**state.parts, task.label: TaskPart(quanta, inputs)},
        planned={**state.planned, **planned},
        left_out=(*state.left_out, *left_out),
        problems=(*state.problems, *problems, *more),
        identity={**state.identity, **used},
    )


# ---- what a task sees of a connection


def _side(state: State, task: TaskDefinition, connection: InputConnection) -> _Side:
    universe = state.request.universe
    frame = state.frame(connection.type).with_row_index("_dataset")
    linked, used = link(frame, task.dimensions, state, padding=connection.padding)
    asked = state.selections.get(("", ""))
    if asked is not None:
        if linked is not frame:
            # A selection by visit says nothing about a raw until the raw is linked to its visit.
            linked = restrict(linked, asked, state, keep_unknown=True)
        if connection.type not in state.planned:
            near, more = select_by_relation(frame, asked, state)
            linked, used = linked if near is None else linked.join(near, on="_dataset", how="semi"), used | more
    selection = state.selections.get((task.label, connection.name))
    if selection is not None:
        linked = restrict(linked, selection, state, keep_unknown=False)
    own = state.request.pipeline.dataset_types[connection.type].dimensions
    keys = join_keys(universe, task.dimensions, linked.columns, keep=own)
    return _Side(connection, linked.select(pl.col("_dataset").cast(ROW), *keys), keys, used)


# ---- candidates


def _candidates(state: State, task: TaskDefinition, sides: Sequence[_Side]) -> pl.DataFrame:
    """Give the distinct data IDs of the join of what the required connections say about them."""
    universe, dimensions = state.request.universe, task.dimensions
    wanted = universe.expand(dimensions)
    drivers = sorted(
        (side for side in sides if side.required),
        key=lambda side: -len(set(side.keys).intersection(dimensions)),
    )
    frame: pl.DataFrame | None = None
    for side in drivers:
        covered = set() if frame is None else set(frame.columns)
        if not (set(side.keys) & set(dimensions)) - covered:
            continue
        known = side.frame.select(side.keys).drop_nulls(list(set(side.keys) & set(dimensions))).unique()
        frame = _cross(universe, frame, imply(known, universe, state.records, wanted))
        frame = imply(frame, universe, state.records, wanted)
    # The records of a visit know its instrument: what requires most comes first.
    for element in sorted(dimensions, key=lambda d: -len(universe.close([d]))):
        if frame is None or element not in frame.columns:
            frame = _cross(universe, frame, _from_records(state, element, wanted))
            frame = imply(frame, universe, state.records, wanted)
    if frame is None:
        # No dimensions: one quantum, if there is something to read or nothing is asked for.
        alone = all(side.frame.height for side in drivers)
        return pl.DataFrame({"_row": [0] if alone else []}, schema={"_row": ROW})
    quanta = imply(frame.select(dimensions).unique().sort(dimensions), universe, state.records, wanted)
    return quanta.with_row_index("_row").with_columns(pl.col("_row").cast(ROW))


def _from_records(state: State, element: str, wanted: Iterable[str]) -> pl.DataFrame:
    """Give the values of a dimension that no connection tells about."""
    universe = state.request.universe
    keys = universe.close([element])
    frame = imply(state.records[element].select(keys), universe, state.records, wanted)
    selection = state.selections.get(("", ""))
    return frame if selection is None else restrict(frame, selection, state, keep_unknown=True)


def _cross(universe: Universe, left: pl.DataFrame | None, right: pl.DataFrame) -> pl.DataFrame:
    if left is None:
        return right
    shared = [d for d in right.columns if d in left.columns]
    follows = {d for e in shared for d in universe.expand([e]) if d not in universe.close([e])}
    on = [d for d in shared if d not in follows]
    right = right.drop(follows.intersection(shared))
    return left.join(right, on=on, how="inner") if on else left.join(right, how="cross")


def _edges(quanta: pl.DataFrame, side: _Side) -> pl.DataFrame:
    """Give the pairs (quantum, dataset) that agree; null agrees with nothing."""
    left = quanta.select(pl.col("_row").alias("quantum"), *side.keys)
    on = list(side.keys)
    pairs = left.join(side.frame, on=on, how="inner") if on else left.join(side.frame, how="cross")
    return pairs.select("quantum", pl.col("_dataset").alias("dataset"))


# ---- what is dropped


def _drop(
    state: State,
    task: TaskDefinition,
    quanta: pl.DataFrame,
    inputs: Mapping[str, pl.DataFrame],
    sides: Sequence[_Side],
) -> tuple[pl.DataFrame, dict[str, pl.DataFrame], list[LeftOut]]:
    left_out: list[LeftOut] = []
    kept = quanta.select("_row")
    counts = {name: pairs.group_by("quantum").len("_n") for name, pairs in inputs.items()}

    def leave(gone: pl.DataFrame, reason: str, detail: pl.Expr) -> None:
        nonlocal kept
        if not gone.height:
            return
        kept = kept.join(gone, left_on="_row", right_on=gone.columns[0], how="anti", maintain_order="left")
        rows = quanta.join(gone, left_on="_row", right_on=gone.columns[0], how="inner", maintain_order="left")
        shown = rows.head(EXAMPLES).select(
            data_id_json(task.dimensions, quanta.schema), detail.alias("detail")
        )
        left_out.append(LeftOut(task.label, reason, gone.height, shown))

    for side in sides:
        if side.required:
            name = side.connection.name
            gone = kept.join(
                counts[name], left_on="_row", right_on="quantum", how="anti", maintain_order="left"
            )
            leave(gone, f"missing:{name}", _needs(side.connection.type, side.keys))
    selection = state.selections.get((task.label, ""))
    if selection is not None:
        taken = restrict(quanta, selection, state, keep_unknown=False)
        leave(kept.join(taken, on="_row", how="anti", maintain_order="left"), "where", pl.lit(task.where))
    for side in sides:
        minimum = side.connection.minimum
        if isinstance(minimum, int) and minimum > 1:
            few = kept.join(counts[side.connection.name], left_on="_row", right_on="quantum", how="left")
            few = few.filter(pl.col("_n").fill_null(0) < minimum)
            text = pl.format("{} of at least {}", pl.col("_n").fill_null(0), pl.lit(minimum))
            leave(few, f"minimum:{side.connection.name}", text)
    if kept.height == quanta.height:
        return quanta, dict(inputs), left_out
    renumber = kept.with_columns(_new=pl.int_range(pl.len(), dtype=ROW))
    quanta = quanta.join(renumber, on="_row", how="inner", maintain_order="left")
    quanta = quanta.with_columns(_row="_new").drop("_new")
    remapped = {
        name: pairs.join(
            renumber, left_on="quantum", right_on="_row", how="inner", maintain_order="left"
        ).select(quantum="_new", dataset="dataset")
        for name, pairs in inputs.items()
    }
    return quanta, remapped, left_out


def _needs(dataset_type: str, keys: Sequence[str]) -> pl.Expr:
    if not keys:
        return pl.lit(f"no {dataset_type}")
    parts = [pl.format(f"{key}={{}}", pl.col(key).cast(pl.String).fill_null("none")) for key in keys]
    return pl.concat_str([pl.lit(f"no {dataset_type} with "), pl.concat_str(parts, separator=",")])


def _explain(
    state: State, task: TaskDefinition, sides: Sequence[_Side], candidates: int, left_out: Sequence[LeftOut]
) -> list[Problem]:
    """Say why a task has no quanta at all, if what is missing is not another task's to make."""
    if any(
        s.required and s.connection.type in state.planned and not state.frame(s.connection.type).height
        for s in sides
    ):
        return []  # said already, upstream
    problems = []
    where = f"task {task.label}"
    chain = ", ".join(state.request.chain) or "(none)"
    for side in sides:
        name = side.connection.type
        if not side.required or name in state.planned or side.frame.height:
            continue
        if state.found[name]:
            what = (
                f"of {state.found[name]} {name} datasets in collections {chain} none is selected and has "
                f"the task's dimensions ({', '.join(task.dimensions)})"
            )
            problems.append(Problem("PST-P001", what, where, "widen the selections"))
        else:
            what = f"there is no {name} at all in collections {chain}"
            problems.append(
                Problem("PST-P002", what, where, f"take in or make {name}, or search other collections")
            )
    if problems or not candidates:
        return problems
    for drop in left_out:
        lacking = [s.connection.type for s in sides if drop.reason == f"missing:{s.connection.name}"]
        if not lacking or lacking[0] in state.planned:
            continue
        needs = drop.examples["detail"].unique(maintain_order=True)
        shown = "; ".join(needs.head(SHOWN)) + (
            f"; and {needs.len() - SHOWN} more" if needs.len() > SHOWN else ""
        )
        what = f"all {candidates} quanta of {task.label} lack an input; {drop.count} of them: {shown}"
        problems.append(Problem("PST-P002", what, where, f"take in or make the missing {lacking[0]}"))
    return problems


# ---- what it makes


def _planned(
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
