"""A sample of a campaign: a few of its visits, chosen so that every gather has something to gather.

The rule, in full, for a sample of N visits:

1. The visits of the campaign are those in quanta that would be planned; a visit that goes through
   more tasks stands before one that is dropped on its way, then the smaller number first.
2. Of each task that gathers visits, the one quantum that reads most of them counts (the first, of
   equals). Tasks are taken with the largest such gather first, and each narrows the choice to what
   its best quantum reads, as long as two visits remain.
3. The sample is filled from the narrowest choice outwards, each in the order of 1.

So three visits are three of one band where bands are added up, and of one night where nights are
measured. Universes without visits are sampled by another dimension, see `leading_dimension`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import polars as pl

from prestow.errors import PlanRefusedError, Problem
from prestow.model import DataId
from prestow.model.universe import Universe
from prestow.naming.identity import data_id_json
from prestow.pipeline.definition import Pipeline, TaskDefinition
from prestow.plan.passes.expand import expand
from prestow.plan.passes.match import match
from prestow.plan.passes.select import select
from prestow.plan.passes.waive import waive
from prestow.plan.request import DatasetSource, Request
from prestow.plan.state import ROW, State
from prestow.query.selection import quote

VISIT = "visit"

FEWEST = 2
"""Visits below which a choice is not narrowed any more: one alone is no gather."""

_ITEMS = "_items"


@dataclass(frozen=True, slots=True)
class Sample:
    """Which part of a campaign was chosen.

    Parameters
    ----------
    dimension : str
        What was sampled: ``visit``, as a rule.
    chosen : tuple of str
        Data IDs, such as ``instrument=sim,visit=12``.
    total : int
        How many there were to choose from.
    asked : int
        How many were asked for.
    where : str
        The selection that takes these and what has no such dimension, with the request's own.
    reason : str
        Why these.
    """

    dimension: str
    chosen: tuple[str, ...]
    total: int
    asked: int
    where: str
    reason: str

    @property
    def text(self) -> str:
        """The choice in one line for people."""
        values = ", ".join(text.rpartition("=")[2] for text in self.chosen)
        few = f" (fewer than the {self.asked} asked for)" if self.total < self.asked else ""
        which = "all" if self.total == len(self.chosen) else f"{len(self.chosen)} of"
        return f"{which} {self.total:,} {self.dimension}s{few}: {values}; {self.reason}"


@dataclass(frozen=True, slots=True)
class _Gather:
    """The quantum of a task that reads most: its data ID, and the keys of what it reads."""

    task: str
    data_id: str
    members: pl.DataFrame


def choose_sample(request: Request, source: DatasetSource, count: int) -> Sample:
    """Choose some visits of what a request would come to; the same always comes out.

    Parameters
    ----------
    count : int
        How many, at least 1.

    Raises
    ------
    PlanRefusedError
        PST-G020 if no task goes by visit or its like; else what planning itself would refuse when
        nothing matches.
    """
    if count < 1:
        raise PlanRefusedError(
            Problem("PST-G020", f"a sample of {count} is none", "--sample", "ask for 1 or more")
        )
    state = State(request, source)
    for step in (select, expand, match):
        state = step(state)
    if not any(part.quanta.height for part in state.parts.values()):
        raise PlanRefusedError(*waive(state).problems)
    dimension = leading_dimension(request.pipeline, request.universe)
    keys = request.universe.close([dimension])
    ranked = _ranked(state, keys, dimension)
    if not ranked.height:
        what = f"nothing to sample: no quantum of any task has a {dimension}"
        raise PlanRefusedError(
            Problem("PST-G020", what, "--sample", "leave --sample out, or choose with --where")
        )
    chosen, reason = _choose(ranked, sorted(_gathers(state, keys, dimension), key=_size), keys, count)
    kept = pl.DataFrame() if dimension == VISIT else _read_otherwise(state, ranked, keys, dimension)
    own = f"({request.where}) and " if request.where.strip() else ""
    several = _sources(ranked, keys, dimension) > 1
    return Sample(
        dimension=dimension,
        chosen=tuple(",".join(f"{k}={v}" for k, v in row.items()) for row in chosen.iter_rows(named=True)),
        total=ranked.height,
        asked=count,
        where=own
        + _selection(pl.concat([chosen, kept]) if kept.height else chosen, keys, dimension, several=several),
        reason=reason,
    )


def leading_dimension(pipeline: Pipeline, universe: Universe) -> str:
    """Give the dimension by which a campaign is sampled.

    ``visit``, where a task or an external input has it. Else, of the dimensions that tasks and external
    inputs both have (of external inputs alone, if there is none), the first in the order of the universe
    that implies others, as an exposure does; else the first that requires another; else the first.

    Raises
    ------
    PlanRefusedError
        PST-G020 if there is none.
    """
    of_tasks = {d for task in pipeline.tasks for d in task.dimensions}
    written = pipeline.producers()
    external = {
        d
        for task in pipeline.tasks
        for c in task.inputs
        if c.type not in written
        for d in pipeline.dataset_types[c.type].dimensions
    }
    if VISIT in of_tasks | external:
        return VISIT
    shared = [d for name, d in universe.dimensions.items() if name in (of_tasks & external or external)]
    for better in (
        [d for d in shared if d.implies and d.requires],
        [d for d in shared if d.implies],
        [d for d in shared if d.requires],
        shared,
    ):
        if better:
            return better[0].name
    what = "nothing to sample: no task goes by visit, nor by any dimension of what exists"
    raise PlanRefusedError(
        Problem("PST-G020", what, "--sample", "leave --sample out, or choose with --where")
    )


def _by_item(state: State, dimension: str) -> Iterator[TaskDefinition]:
    return (t for t in state.request.pipeline.tasks if dimension in t.dimensions)


def _ranked(state: State, keys: Sequence[str], dimension: str) -> pl.DataFrame:
    """Give the keys of all visits in quanta: those in most tasks first, then by value.

    Where no task goes by visit, what tasks read has them.
    """
    parts = [state.parts[t.label].quanta.select(keys).unique() for t in _by_item(state, dimension)]
    if not parts:
        parts = [_read(state, t, dimension, keys).select(keys).unique() for t in state.request.pipeline.tasks]
    every = pl.concat(parts).group_by(keys).len("_tasks")
    return every.sort("_tasks", *keys, descending=[True, *(False for _ in keys)]).select(keys)


def _gathers(state: State, keys: Sequence[str], dimension: str) -> Iterator[_Gather]:
    """Give, for each task that gathers visits, its largest gather."""
    calibrations_too = dimension != VISIT and any(True for _ in _by_item(state, dimension))
    for task in state.request.pipeline.tasks:
        if dimension in task.dimensions:
            continue
        part = state.parts[task.label]
        members = _read(state, task, dimension, keys, only_planned=calibrations_too)
        if not members.height:
            continue
        sizes = members.group_by("quantum").len(_ITEMS).sort(_ITEMS, "quantum", descending=[True, False])
        row = sizes["quantum"][0]
        ids = part.quanta.filter(pl.col("_row") == row).select(
            data_id_json(task.dimensions, part.quanta.schema)
        )
        own = members.filter(pl.col("quantum") == row).select(keys)
        yield _Gather(task.label, str(DataId(json.loads(ids.item()))), own)


def _read(
    state: State, task: TaskDefinition, dimension: str, keys: Sequence[str], *, only_planned: bool = False
) -> pl.DataFrame:
    """Give which visits each quantum of a task reads: ``quantum`` and the keys."""
    kinds = {key: state.kinds[key] for key in sorted(keys)}
    pairs = [pl.DataFrame(schema={**kinds, "quantum": ROW})]
    for connection in task.inputs:
        if dimension not in state.request.pipeline.dataset_types[connection.type].dimensions:
            continue
        if only_planned and connection.type not in state.planned:
            continue
        edges = state.parts[task.label].inputs[connection.name]
        rows = state.frame(connection.type).select(*kinds)[edges["dataset"].to_numpy()]
        pairs.append(rows.with_columns(edges["quantum"]))
    return pl.concat(pairs).unique()


def _size(gather: _Gather) -> int:
    return -gather.members.height


def _choose(
    ranked: pl.DataFrame, gathers: Sequence[_Gather], keys: Sequence[str], count: int
) -> tuple[pl.DataFrame, str]:
    choices, named = [ranked], list[_Gather]()
    for gather in gathers:
        narrower = choices[-1].join(gather.members, on=list(keys), how="semi", maintain_order="left")
        if FEWEST <= narrower.height < choices[-1].height:
            choices.append(narrower)
            named.append(gather)
    chosen = pl.concat(reversed(choices)).unique(maintain_order=True).head(count)
    if count >= ranked.height:
        return chosen.sort(keys), "that is every one"
    if not named:
        return chosen.sort(keys), "the first of those that go through most tasks"
    named.reverse()  # the narrowest first, as they were taken
    return chosen.sort(
        keys
    ), f"of the largest gather of {' and '.join(f'{g.task}({g.data_id})' for g in named)}"


def _read_otherwise(state: State, ranked: pl.DataFrame, keys: Sequence[str], dimension: str) -> pl.DataFrame:
    """Give what has the dimension but is read by tasks without it: calibrations are exposures, too."""
    found = []
    for task in state.request.pipeline.tasks:
        for connection in task.inputs:
            frame = state.frame(connection.type)
            if (
                dimension in task.dimensions
                or connection.type in state.planned
                or dimension not in frame.columns
            ):
                continue
            edges = state.parts[task.label].inputs[connection.name]
            found.append(frame.select(keys)[edges["dataset"].unique().sort().to_numpy()])
    if not found:
        return ranked.clear()
    return pl.concat(found).unique().join(ranked, on=list(keys), how="anti").sort(keys)


def _sources(ranked: pl.DataFrame, keys: Sequence[str], dimension: str) -> int:
    others = [k for k in keys if k != dimension]
    return ranked.select(others).unique().height if others else 1


def _selection(rows: pl.DataFrame, keys: Sequence[str], dimension: str, *, several: bool) -> str:
    """Write the rows as a selection; what they require is named only where it could be mistaken."""
    others = [k for k in keys if k != dimension]
    if not several:
        return _inside(dimension, rows[dimension].unique().sort())
    parts = [
        " and ".join((*(f"{k} = {_literal(v)}" for k, v in zip(others, values, strict=True)), _inside(dimension, part[dimension].sort())))
        for values, part in sorted(rows.partition_by(others, as_dict=True).items())
    ]  # fmt: skip
    return parts[0] if len(parts) == 1 else "(" + " or ".join(f"({part})" for part in parts) + ")"


def _inside(dimension: str, values: pl.Series) -> str:
    return f"{dimension} in ({', '.join(map(_literal, values.to_list()))})"


def _literal(value: str | int) -> str:
    return quote(value) if isinstance(value, str) else str(value)
