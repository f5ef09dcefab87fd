"""Afford: ask who knows the stores whether they answer, and have room for what comes."""

from __future__ import annotations

from dataclasses import replace

from prestow.plan.state import State


def afford(state: State) -> State:
    """Add what the request's own check finds, so that it is refused with all the rest at once."""
    check = state.request.check
    if check is None:
        return state
    return replace(state, problems=(*state.problems, *check(state)))
