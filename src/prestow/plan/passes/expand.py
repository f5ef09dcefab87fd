"""Expand: existing datasets get the dimensions they imply; of these the request takes what it asks for."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from prestow.plan.choosing import Choice, choose, may_take
from prestow.plan.frames import imply, restrict
from prestow.plan.observations import may_take_part
from prestow.plan.state import State
from prestow.plan.tainted import leave_tainted_out
from prestow.plan.telling import (
    check_data_ids,
    check_exclusions,
    check_selection,
    tell_data_ids,
    tell_exclusions,
)


def expand(state: State) -> State:
    """Join implied values; drop what is excluded, what the request does not select, and what is tainted."""
    return leave_tainted_out(_taken(state))


def _taken(state: State) -> State:
    state = replace(state, problems=(*state.problems, *check_selection(state)))
    selection = state.selections.get(("", ""))
    part = may_take_part(state)
    special = bool(state.exclusions) or state.listed is not None
    frames, whole = {}, {}
    for name, frame in state.existing.items():
        wide = imply(frame, state.request.universe, state.records)
        if part or special:
            whole[name] = wide
        if selection is not None and name not in state.calibrations and not special:  # these go by validity
            wide = restrict(wide, selection, state, keep_unknown=True)
        frames[name] = wide
    if special:
        return _specially(replace(state, existing=whole), part=part)
    return replace(state, existing=frames, whole=whole)


def _specially(state: State, *, part: bool) -> State:
    """Apply exclusions and the table of data IDs with the selection, and tell of them."""
    frames, whole = dict(state.existing), dict(state.existing)
    choices: dict[str, Choice] = {}
    kept: dict[str, pl.Series] = {}
    for name, frame in state.existing.items():
        if name in state.calibrations:
            continue
        choices[name] = choice = choose(frame, state, state.exclusions)
        kept[name] = taken = _selected(state, frame, choice.listed)
        frames[name] = frame.filter(taken)
        if choice.excluded:
            left = ~choice.any_excluded
            frames[name], whole[name] = frame.filter(taken & left), frame.filter(left)
    problems, warnings = check_data_ids(state, choices)
    problems += check_exclusions(state, state.exclusions, choices)
    state = tell_data_ids(tell_exclusions(state, state.exclusions, choices, kept))
    return replace(
        state,
        existing=frames,
        whole=whole if part else {},
        problems=(*state.problems, *problems),
        warnings=(*state.warnings, *warnings),
    )


def _selected(state: State, frame: pl.DataFrame, listed: pl.Series | None) -> pl.Series:
    """Say which rows the selection does not surely leave out, of those that may be in the table."""
    taken = pl.repeat(value=True, n=frame.height, eager=True, dtype=pl.Boolean) if listed is None else listed
    selection = state.selections.get(("", ""))
    if selection is None:
        return taken
    return taken & may_take(frame, selection, state)
