"""Cut: one of so many parts that share no planned dataset, where a part is asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.errors import PlanRefusedError, Problem
from prestow.plan.keys import ROW
from prestow.plan.matching.dropping import examples
from prestow.plan.pruning import keep_only
from prestow.plan.splitting import components, pack, read_part
from prestow.plan.state import LeftOut, State

if TYPE_CHECKING:
    import numpy.typing as npt

OTHER_PART = "other_part"
"""The reason that counts what is in another part."""

SHOWN = 5  # quanta of other parts that are named


def cut(state: State) -> State:
    """Keep the part of the request; what the whole leaves out is on record in every part."""
    if not state.request.part:
        return state
    try:
        part, parts = read_part(state.request.part)
    except PlanRefusedError as error:
        return replace(state, problems=(*state.problems, *error.problems))
    found = components(state)
    if parts > found.count:
        what = f"the plan falls into {found.count:,} parts that share nothing, not into {parts:,}"
        fix = "look how they are: prestow plan --components"
        return replace(state, problems=(*state.problems, Problem("PST-P052", what, "--part", fix)))
    mine = pack(found.sizes, parts)[found.of_quantum] == part - 1
    masks, begin = {}, 0
    for task in state.request.pipeline.tasks:
        end = begin + state.parts[task.label].quanta.height
        masks[task.label], begin = mine[begin:end], end
    text = f"{part}/{parts}"
    return replace(
        keep_only(state, masks),
        left_out=(*state.left_out, *_others(state, masks)),
        told={**state.told, "part": text},
        identity={**state.identity, "part": text},
    )


def _others(state: State, masks: Mapping[str, npt.NDArray[np.bool_]]) -> Iterator[LeftOut]:
    for task in state.request.pipeline.tasks:
        gone = np.flatnonzero(~masks[task.label])
        if len(gone):
            first = state.parts[task.label].quanta[pl.Series(gone[:SHOWN], dtype=ROW)]
            yield LeftOut(task.label, OTHER_PART, len(gone), examples(task, first, pl.lit("in another part")))
