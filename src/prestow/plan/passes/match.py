"""Match: task by task, forward from what exists, the quanta and what each reads."""

from __future__ import annotations

from dataclasses import replace

from prestow.errors import Problem
from prestow.plan.matching.explaining import asked, unselected
from prestow.plan.matching.parts import match_in_parts
from prestow.plan.state import State


def match(state: State) -> State:
    """Find the quanta of every task, in the order of the pipeline."""
    state = match_in_parts(state)
    told = state.problems or any(drop.severity != "noted" for drop in state.left_out)
    if not told and not any(part.quanta.height for part in state.parts.values()):
        what = "; ".join(["no quantum of any task matches the request", *unselected(state)])
        fix = "widen the selection, or search other collections"
        return replace(state, problems=(Problem("PST-P001", what, asked(state), fix),))
    return state
