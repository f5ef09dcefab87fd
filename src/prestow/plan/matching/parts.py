"""Half visits: gathers of which a selection took part, found, or made whole.

A selection such as ``detector < 5`` takes part of every visit. A task that gathers a visit's detectors
would see part of them, and say so nowhere. To find that, the tasks are matched a second time, on
the same observations without the selection; what a gather reads there and not here is missing.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import polars as pl

from prestow.plan.keys import ROW, find, pack
from prestow.plan.linking import link
from prestow.plan.matching.dropping import EXAMPLES, examples
from prestow.plan.matching.sides import WHOLE
from prestow.plan.matching.tasks import match_all
from prestow.plan.observations import gathers, observations_of
from prestow.plan.state import LeftOut, State
from prestow.plan.unmade import Cause

TIMES = 5  # that a plan is made whole: what is added may be gathered, too


@dataclass(frozen=True, slots=True)
class _Part:
    """A gather of which the selection took part, and its quanta in the matching without it."""

    drop: LeftOut
    task: str
    whole: pl.Series
    cause: Cause


def match_in_parts(state: State) -> State:
    """Match, and find the gathers that see part of an observation; or take these observations whole."""
    matched = match_all(state)
    for _ in range(TIMES if state.request.whole else 1):
        if not state.whole:
            break
        unselected = _unselected(state, matched)
        if unselected is None:
            break
        shadow = match_all(unselected)
        parts = list(_parts(matched, shadow))
        if not parts:
            break
        if not state.request.whole:
            found = tuple(part.drop for part in parts)
            matched = replace(matched, left_out=(*matched.left_out, *found))
            for part in parts if matched.wanted else ():
                unmade = matched.unmade[part.task]
                unmade = replace(unmade, causes=(*unmade.causes, part.cause))
                matched = replace(matched, unmade={**matched.unmade, part.task: unmade})
            break
        state = replace(state, existing=_with(state, shadow, _traced(shadow, parts)))
        matched = match_all(state)
    return replace(matched, whole={})


def _unselected(state: State, matched: State) -> State | None:
    """Give the state without its selection, on the observations that are in quanta; None if it is no other."""
    kept = _observations(matched)
    existing, more = dict(state.existing), False
    for name, frame in state.whole.items():
        if name in state.calibrations:
            continue
        near = _near(state, frame.with_row_index("_at"), kept)
        existing[name] = frame if near is None else frame[near]
        if near is not None:
            used = [
                matched.parts[task.label].inputs[c.name]["dataset"]
                for task in state.request.pipeline.tasks
                for c in task.inputs
                if c.type == name
            ]
            more |= near.len() > (pl.concat(used).n_unique() if used else 0)
    if not more:
        return None
    selections = {key: one for key, one in state.selections.items() if key != ("", "")}
    return replace(state, existing=existing, selections=selections, whole={}, listed=None)


def _observations(matched: State) -> dict[str, pl.DataFrame]:
    """Give the observations in quanta of tasks that gather, by dimension."""
    universe = matched.request.universe
    found: dict[str, list[pl.DataFrame]] = {}
    for task in {task.label: task for task, _ in gathers(matched)}.values():
        for element in observations_of(universe, task):
            quanta = matched.parts[task.label].quanta
            found.setdefault(element, []).append(quanta.select(universe.close([element])).unique())
    return {element: pl.concat(frames).unique() for element, frames in found.items()}


def _near(state: State, frame: pl.DataFrame, kept: Mapping[str, pl.DataFrame]) -> pl.Series | None:
    """Give the rows of these observations; None if the datasets are of no observation."""
    found = []
    for element, observed in kept.items():
        linked, _ = link(frame, [element], state)
        if set(observed.columns) <= set(linked.columns):
            found.append(linked.join(observed, on=observed.columns, how="semi")["_at"])
    return pl.concat(found).unique().sort() if found else None


def _parts(matched: State, shadow: State) -> Iterator[_Part]:
    """Give the gathers that read less than they would without the selection."""
    for task, connection in gathers(matched):
        mine, theirs = matched.parts[task.label], shadow.parts[task.label]
        if not mine.quanta.height or not theirs.quanta.height:
            continue
        (own, others), below = pack([mine.quanta, theirs.quanta], task.dimensions)
        rows = find(own, others, below)
        have = _counts(mine.inputs[connection.name], mine.quanta.height)
        there = _counts(theirs.inputs[connection.name], theirs.quanta.height).gather(rows)
        less = (have < there).fill_null(value=False).arg_true()
        if not less.len():
            continue
        facts = pl.DataFrame({"have": have.gather(less), "there": there.gather(less)})
        shown = mine.quanta[less.head(EXAMPLES)].hstack(facts.head(EXAMPLES))
        text = pl.format("{} of {} {}", "have", "there", pl.lit(connection.type))
        named = examples(task, shown, text)
        drop = LeftOut(task.label, f"partial:{connection.name}", less.len(), named, "waivable")
        yield _Part(drop, task.label, rows.gather(less), Cause(drop, less, text, facts, made=True))


def _counts(pairs: pl.DataFrame, height: int) -> pl.Series:
    runs = pairs["quantum"].rle().struct.unnest()
    zeros = pl.repeat(0, height, dtype=ROW, eager=True)
    return zeros.scatter(runs["value"], runs["len"]) if runs.height else zeros


def _traced(shadow: State, parts: list[_Part]) -> dict[str, pl.Series]:
    """Give the existing datasets that these gathers go back to, by type, as rows in the shadow."""
    pipeline = shadow.request.pipeline
    producers = pipeline.producers()
    wanted = {task.label: _none(shadow.parts[task.label].quanta.height) for task in pipeline.tasks}
    for part in parts:
        wanted[part.task] = wanted[part.task].scatter(part.whole, values=True)
    found: dict[str, list[pl.Series]] = {}
    for task in reversed(pipeline.tasks):
        if not wanted[task.label].any():
            continue
        for connection in task.inputs:
            pairs = shadow.parts[task.label].inputs[connection.name]
            rows = pairs["dataset"].filter(wanted[task.label].gather(pairs["quantum"])).unique()
            if not rows.len():
                continue
            if connection.type in producers:
                maker = producers[connection.type]
                wanted[maker] = wanted[maker].scatter(rows, values=True)
            else:
                found.setdefault(connection.type, []).append(rows)
    return {name: pl.concat(several).unique() for name, several in found.items()}


def _none(height: int) -> pl.Series:
    return pl.repeat(value=False, n=height, eager=True, dtype=pl.Boolean)


def _with(state: State, shadow: State, traced: Mapping[str, pl.Series]) -> dict[str, pl.DataFrame]:
    """Give the existing datasets with those that make observations whole, in their order."""
    existing = dict(state.existing)
    for name, rows in traced.items():
        if name in state.calibrations:
            continue
        frame = shadow.existing[name]
        ids = frame["_id"].gather(rows)
        chosen = state.existing[name]["_id"]
        taken = state.existing[name]
        already = taken["_id"].filter(taken[WHOLE]) if WHOLE in taken.columns else ids.clear()
        every = state.whole[name]
        forced = every["_id"].is_in(pl.concat([ids, already]).implode())
        keep = forced | every["_id"].is_in(chosen.implode())
        existing[name] = every.with_columns(forced.alias(WHOLE)).filter(keep)
    return existing
