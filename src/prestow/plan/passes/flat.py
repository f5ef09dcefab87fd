"""Flat: where it is asked for, no two files of a job, and no two outputs, have one base name."""

from __future__ import annotations

from dataclasses import replace

from prestow.plan.flat_names import flat_clashes
from prestow.plan.state import State


def flat(state: State) -> State:
    """Refuse base names that clash (PST-P030), if the request says that the layout is flat."""
    if not state.request.flat or state.grouping is None:
        return state
    return replace(state, problems=(*state.problems, *flat_clashes(state)), told={**state.told, "flat": True})
