"""Promised: the plan says which of its inputs are named and not there yet."""

from __future__ import annotations

from prestow.plan.promising import tell_promised
from prestow.plan.state import State


def promised(state: State) -> State:
    """Say in the plan which of its inputs are only promised, and by when."""
    return tell_promised(state)
