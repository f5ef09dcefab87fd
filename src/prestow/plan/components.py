"""Into how many parts the plan of a request falls, found without making it."""

from __future__ import annotations

from prestow.errors import PlanRefusedError, raise_all
from prestow.plan.passes import PASSES
from prestow.plan.passes.cut import cut
from prestow.plan.request import DatasetSource, Request
from prestow.plan.splitting import Components, components
from prestow.plan.state import State


def components_of(request: Request, source: DatasetSource) -> Components:
    """Find the components of the plan that a request would give; no name is made, and nothing written.

    Raises
    ------
    PlanRefusedError
        If that plan would be refused for what it lacks.
    """
    state = State(request, source)
    for step in PASSES:
        if step is cut:
            break
        state = step(state)
        if state.problems and not any(part.quanta.height for part in state.parts.values()):
            break
    raise_all(state.problems, PlanRefusedError)
    return components(state)
