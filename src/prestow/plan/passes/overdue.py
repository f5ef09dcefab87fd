"""Overdue: promised inputs that did not come by their deadline are left out, which must be waived."""

from __future__ import annotations

from prestow.plan.promising import leave_late_out
from prestow.plan.state import State


def overdue(state: State) -> State:
    """Take out what did not come by its deadline."""
    return leave_late_out(state)
