"""Select: what exists of the external dataset types, and the selections, understood."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace
from typing import cast

import polars as pl

from prestow.errors import PrestowError, Problem
from prestow.model.instants import instant_text
from prestow.model.universe import Relation, Universe
from prestow.plan.calibrations import of_source
from prestow.plan.choosing import not_excluded, parse_exclusions
from prestow.plan.frames import column_type, columns_of
from prestow.plan.linking import sky_problems
from prestow.plan.observations import may_take_part
from prestow.plan.promising import with_promised
from prestow.plan.request import Request
from prestow.plan.stages import told_of
from prestow.plan.state import State
from prestow.plan.wanting import read_wanted
from prestow.query import Selection, parse_selection

PLACE = {
    "run": pl.Categorical, "store": pl.Categorical, "path": pl.String, "size": pl.Int64, "receipt": pl.String,
    "format": pl.Categorical,
}  # fmt: skip
OCTETS = ("id", "quantum", "sha256", "content", "recipe")


def select(state: State) -> State:
    """Fetch existing datasets, dimension records and relations; parse every selection."""
    request = state.request
    universe = request.universe
    written = request.pipeline.producers()
    external = sorted({c.type for t in request.pipeline.tasks for c in t.inputs if c.type not in written})
    selections, problems = _selections(state)
    exclusions, more = parse_exclusions(request)
    wanted, wrong = read_wanted(request.want, request.pipeline, universe)
    selections |= not_excluded(exclusions)
    listed = None if request.data_ids is None else request.data_ids.frame
    narrow = _asked_of_source(replace(state, selections=selections))
    existing, validities = {}, {}
    for name in external:
        if request.pipeline.dataset_types[name].calibration:
            told = _frame(state.source.calibrations([name], request.calibrations, request.as_of))
            existing[name] = _existing(state, name, told.unique("id", maintain_order=True))
            validities[name] = told
        else:
            told = _frame(
                state.source.datasets(
                    [name], request.chain, first=True, coded=True, where=narrow, unknown=True
                )
            )
            existing[name] = _existing(state, name, told)
    elements = _elements(state)
    records = {e: _records(state, e) for e in sorted(elements)}
    relations = {
        r.name: _relation(state, r)
        for r in universe.relations.values()
        if _may_link(r, elements.union(() if listed is None else listed.columns), selections)
    }
    existing, records, relations = with_promised(request, existing, records, relations)
    enums = _enums(universe, (*existing.values(), *records.values(), *relations.values()))
    existing = {name: _in_order(_coded(frame, enums)) for name, frame in existing.items()}
    calibrations = {
        name: of_source(told, existing[name], _octets(told, "id")) for name, told in validities.items()
    }
    state = replace(
        state,
        selections=selections,
        exclusions=exclusions,
        listed=listed,
        wanted=wanted,
        problems=(*state.problems, *problems, *more, *wrong, *_other_formats(state, existing)),
        existing=existing,
        calibrations=calibrations,
        told={
            **state.told,
            **_asked_of_calibrations(request),
            **told_of(request.stage),
            **_chosen_values(request),
        },
        found={
            name: frame.height if frame.height or narrow is None else _all_there(state, name)
            for name, frame in existing.items()
        },
        records={e: _coded(frame, enums).sort(*universe.close([e])) for e, frame in records.items()},
        relations={name: _coded(frame, enums) for name, frame in relations.items()},
        kinds={name: enums.get(name, pl.Int64()) for name in universe.dimensions},
    )
    return replace(state, problems=(*state.problems, *sky_problems(state)))


def _asked_of_source(state: State) -> Selection | None:
    """Give the selection that the source may apply by itself; None where what it leaves out counts, too."""
    if state.request.excluded or state.request.data_ids is not None or may_take_part(state):
        return None
    return state.selections.get(("", ""))


def _all_there(state: State, name: str) -> int:
    """Count what exists of a type of which nothing is selected."""
    return _frame(state.source.datasets([name], state.request.chain, first=True, coded=True)).height


def _asked_of_calibrations(request: Request) -> dict[str, object]:
    """Give what the plan's document tells of the request beside what its id covers."""
    told: dict[str, object] = {"calibrations": list(request.calibrations)} if request.calibrations else {}
    return told if request.as_of is None else {**told, "as_of": instant_text(request.as_of)}


def _chosen_values(request: Request) -> dict[str, object]:
    """Give where values of configuration are from that were given for this plan: a file, or ``--set``."""
    given = {
        f"{task.label}.{key}": origin
        for task in request.pipeline.tasks
        for key, origin in sorted(task.config_origin.items())
        if origin in request.origins
    }
    return {"config": given} if given else {}


def _enums(universe: Universe, frames: Iterable[pl.DataFrame]) -> dict[str, pl.Enum]:
    """Give each text dimension all values that it has anywhere, in order: joins and sorts are of codes."""
    found: dict[str, set[str]] = {d.name: set() for d in universe.dimensions.values() if d.type == "str"}
    for frame in frames:
        for name in found.keys() & set(frame.columns):
            found[name].update(frame[name].drop_nulls().unique().to_list())
    return {name: pl.Enum(sorted(values)) for name, values in found.items()}


def _coded(frame: pl.DataFrame, enums: Mapping[str, pl.Enum]) -> pl.DataFrame:
    return frame.with_columns(
        pl.col(name).cast(kind) for name, kind in enums.items() if name in frame.columns
    )


def _in_order(frame: pl.DataFrame) -> pl.DataFrame:
    """Sort by data ID, then id; what comes in order, as from a registry, is not copied."""
    keys = [name for name in frame.columns if not name.startswith("_")]
    order = frame.select(pl.arg_sort_by(*keys, "_id", maintain_order=True)).to_series()
    return frame if order.is_sorted() else frame[order]


def _may_link(
    relation: Relation, elements: Collection[str], selections: Mapping[tuple[str, str], Selection]
) -> bool:
    """Say whether types, tasks and selections have dimensions of both sides: else there is nothing to link."""
    named = {name for selection in selections.values() for name in selection.columns}
    return all(
        any(
            name in elements or name in named or any(c.startswith(f"{name}.") for c in named) for name in side
        )
        for side in relation.between
    )


def _relation(state: State, relation: Relation) -> pl.DataFrame:
    """Give the rows of a relation, with its metadata, each once."""
    universe = state.request.universe
    frame = _frame(state.source.relation(relation.name, coded=True))
    keys = universe.close(relation.dimensions)
    columns = [_typed(frame, d, kind) for d, kind in columns_of(keys, universe).items()]
    columns += [pl.col(m).cast(column_type(kind)) for m, kind in relation.metadata.items()]
    return frame.select(columns)


def _typed(frame: pl.DataFrame, name: str, kind: type[pl.DataType]) -> pl.Expr:
    """Give a dimension's column in its type; a text that is a code stays one."""
    if name not in frame.columns:
        return pl.lit(None, kind).alias(name)
    return pl.col(name) if frame.schema[name] == pl.Categorical else pl.col(name).cast(kind)


def _other_formats(state: State, existing: Mapping[str, pl.DataFrame]) -> Iterator[Problem]:
    """Refuse a format that nothing of a type has; what is read is read in the format that it has."""
    for name, frame in existing.items():
        declared = state.request.pipeline.dataset_types[name].format
        found = sorted(frame["_format"].drop_nulls().unique().to_list())
        if found and declared not in found:
            what = f"'{name}' is read as {declared}, and what there is of it is {' or '.join(found)}"
            yield Problem("PST-C035", what, f"dataset type {name}", f"write 'format: {found[0]}'")


def _frame(table: object) -> pl.DataFrame:
    return cast("pl.DataFrame", pl.from_arrow(cast("pl.DataFrame", table)))


def _existing(state: State, name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """Give the dimensions of existing datasets, and their facts in columns that begin with ``_``."""
    request = state.request
    dimensions = request.pipeline.dataset_types[name].dimensions
    # A source that never heard of a type does not know its dimensions, either.
    columns = [_typed(frame, d, kind) for d, kind in columns_of(dimensions, request.universe).items()]
    columns += [_octets(frame, fact).alias(f"_{fact}") for fact in OCTETS]
    columns += [
        (pl.col(fact) if fact in frame.columns else pl.lit(None)).cast(kind).alias(f"_{fact}")
        for fact, kind in PLACE.items()
    ]
    # A root has no recipe of its own: its content stands for it.
    content = pl.coalesce("_content", "_sha256").bin.slice(0, 16)
    root = pl.col("_quantum").is_null()
    return frame.select(columns).with_columns(
        root.alias("_root"),
        pl.when(root).then(content).otherwise(pl.coalesce("_recipe", content)).alias("_recipe"),
    )


def _octets(frame: pl.DataFrame, name: str) -> pl.Expr:
    """Give a column of octets or of digits as octets."""
    if name not in frame.columns or frame.schema[name] == pl.Null:
        return pl.lit(None, pl.Binary)
    if frame.schema[name] == pl.String:
        return pl.col(name).str.replace_all("-", "", literal=True).str.decode("hex")
    return pl.col(name).cast(pl.Binary)


def _elements(state: State) -> set[str]:
    """Give the dimensions whose records are needed: all that types and tasks can come to have."""
    request = state.request
    universe = request.universe
    names: set[str] = set()
    for dimensions in (
        *(t.dimensions for t in request.pipeline.dataset_types.values()),
        *(t.dimensions for t in request.pipeline.tasks),
    ):
        names.update(universe.expand(dimensions))
    return names


def _records(state: State, element: str) -> pl.DataFrame:
    universe = state.request.universe
    dimension = universe.dimensions[element]
    frame = _frame(state.source.dimension_records(element))
    keys = universe.close([element])
    columns = [pl.col(d).cast(kind) for d, kind in columns_of((*keys, *dimension.implies), universe).items()]
    columns += [pl.col(m).cast(column_type(kind)) for m, kind in dimension.metadata.items()]
    return frame.select(columns).unique(subset=keys, keep="any")


def _selections(state: State) -> tuple[dict[tuple[str, str], Selection], list[Problem]]:
    request = state.request
    texts = {("", ""): (request.where, "selection")}
    for task in request.pipeline.tasks:
        texts[task.label, ""] = (task.where, f"selection of task {task.label}")
        for connection in task.inputs:
            place = f"selection of input {connection.name} of task {task.label}"
            texts[task.label, connection.name] = (connection.where, place)
    found: dict[tuple[str, str], Selection] = {}
    problems: list[Problem] = []
    for key, (text, place) in texts.items():
        if not text.strip():
            continue
        try:
            found[key] = parse_selection(text, request.universe, place=place)
        except PrestowError as error:
            problems += error.problems
    return found, problems
