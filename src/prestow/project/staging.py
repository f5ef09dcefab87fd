"""Which stage of a pipeline with barriers is planned: the first that is not settled and taken in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.plan.matched_ids import match_ids, words_of
from prestow.plan.retaining import not_needed
from prestow.plan.stages import at_stage, last_stage, stages_in

if TYPE_CHECKING:
    from prestow.plan import Plan, Request
    from prestow.registry import Registry


def build_stage(
    request: Request,
    registry: Registry,
    *,
    beside: Path | None,
    reusable: Callable[[Plan], pl.DataFrame | None],
) -> Plan:
    """Make the plan of a request, or of its first stage that is not settled and taken in.

    Earlier stages are planned anew to look whether all of them is there: what came since belongs to them.

    Parameters
    ----------
    reusable : callable
        Gives what a plan takes from elsewhere: it is as good as settled.
    """
    from prestow.plan import build_plan

    stage, plan = _find_stage(request, registry, beside=beside, reusable=reusable)
    return build_plan(stage, registry, beside=beside) if plan is None or stage.part else plan


def stage_now(
    request: Request, registry: Registry, *, reusable: Callable[[Plan], pl.DataFrame | None]
) -> Request:
    """Give the request of the stage that `build_stage` would plan."""
    return _find_stage(request, registry, beside=None, reusable=reusable)[0]


def _find_stage(
    request: Request,
    registry: Registry,
    *,
    beside: Path | None,
    reusable: Callable[[Plan], pl.DataFrame | None],
) -> tuple[Request, Plan | None]:
    """Give the first stage that is not done, and its whole plan where that was made to look.

    A stage is done when all of it is, not only the part that is asked for.
    """
    from prestow.plan import build_plan

    if stages_in(request.pipeline) == 1:
        return request, None
    last = last_stage(request)
    for number in range(1, last):
        stage = at_stage(request, number)
        plan = build_plan(replace(stage, part=""), registry, beside=beside)
        if not _is_done(plan, registry, reusable):
            return stage, plan
    return at_stage(request, last), None


def _is_done(plan: Plan, registry: Registry, reusable: Callable[[Plan], pl.DataFrame | None]) -> bool:
    there = registry.settled(plan.run) if plan.run in registry.collections() else None
    quanta = plan.tables.scan("quanta").select("id", "recipe").collect()
    done = np.zeros(quanta.height, np.bool_)
    if there is not None and there.num_rows:
        ours, theirs = match_ids(words_of(quanta["id"]), words_of(there["id"]))
        same = words_of(quanta["recipe"])[ours] == words_of(there["planned_recipe"])[theirs]
        done[ours[same.all(axis=1)]] = True
    if not done.all() and plan.document["request"]["child_of"]:
        reuse = reusable(plan)
        if reuse is not None:
            done[reuse["quantum"].to_numpy()] = True
    return bool((done | not_needed(plan, ~done)).all())
