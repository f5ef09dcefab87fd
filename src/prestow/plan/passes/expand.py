"""Expand: existing datasets get the dimensions they imply; the request's selection is applied."""

from __future__ import annotations

from dataclasses import replace

from prestow.plan.frames import imply, restrict
from prestow.plan.observations import may_take_part
from prestow.plan.state import State


def expand(state: State) -> State:
    """Join implied values, drop what the request does not select."""
    selection = state.selections.get(("", ""))
    part = may_take_part(state)
    frames, whole = {}, {}
    for name, frame in state.existing.items():
        wide = imply(frame, state.request.universe, state.records)
        if part:
            whole[name] = wide
        if selection is not None and name not in state.calibrations:  # these go by validity
            wide = restrict(wide, selection, state, keep_unknown=True)
        frames[name] = wide
    return replace(state, existing=frames, whole=whole)
