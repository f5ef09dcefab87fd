"""Tell: a plan that is refused says what hooks vetoed, too, though that alone refuses nothing."""

from __future__ import annotations

import json
from dataclasses import replace

from prestow.errors import Problem
from prestow.model import DataId
from prestow.plan.state import LeftOut, State
from prestow.plan.waivers import SHOWN

VETO = "hook:"
"""How the reason begins of what a task's own hook vetoed."""


def tell(state: State) -> State:
    """Add the vetoes of hooks to what is wrong, if anything is: one pre-flight says it all."""
    if not state.problems:
        return state
    vetoes = [_veto(drop) for drop in state.left_out if drop.reason.startswith(VETO)]
    return replace(state, problems=(*state.problems, *vetoes))


def _veto(drop: LeftOut) -> Problem:
    ids = [str(DataId(json.loads(text))) for text in drop.examples["data_id"].head(SHOWN)]
    more = f"; and {drop.count - len(ids)} more" if drop.count > len(ids) else ""
    quanta = f"{drop.count} {'quantum' if drop.count == 1 else 'quanta'} of {drop.task}"
    what = f"{quanta} vetoed by the task's hook, {drop.reason}: {'; '.join(ids)}{more}"
    return Problem(
        "PST-P029", what, f"task {drop.task}", "nothing, if the hook is right: this alone refuses no plan"
    )
