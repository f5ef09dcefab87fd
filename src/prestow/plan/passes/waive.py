"""Waive: what is left out is accepted, or refuses the plan; all of it at once."""

from __future__ import annotations

from dataclasses import replace

from prestow.errors import Problem
from prestow.plan.matching.explaining import asked
from prestow.plan.state import State
from prestow.plan.waivers import apply_waivers


def waive(state: State) -> State:
    """Apply the request's waivers to what was left out."""
    state = apply_waivers(state)
    if state.problems or any(part.quanta.height for part in state.parts.values()):
        return state
    what = "nothing remains but what was waived"
    return replace(
        state, problems=(Problem("PST-P001", what, asked(state), "waive less, or widen the selection"),)
    )
