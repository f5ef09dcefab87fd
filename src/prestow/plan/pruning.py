"""A state with some of its quanta alone: numbered anew, with what they read and make."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.plan.calibrations import table_of
from prestow.plan.keys import ROW
from prestow.plan.state import State, outputs_of

if TYPE_CHECKING:
    import numpy.typing as npt

    Mask = npt.NDArray[np.bool_]


def keep_only(state: State, masks: Mapping[str, Mask]) -> State:
    """Keep the quanta of each task that a mask says, with their inputs and outputs.

    What a kept quantum reads of other tasks must be kept, too. The order of everything stays.
    """
    if all(mask.all() for mask in masks.values()):
        return state
    makers = state.makers()
    numbers = {label: np.cumsum(mask, dtype=np.uint32) - np.uint32(1) for label, mask in masks.items()}
    parts, planned = dict(state.parts), dict(state.planned)
    for task in state.request.pipeline.tasks:
        label, mask = task.label, masks[task.label]
        part, whole = state.parts[label], bool(mask.all())
        inputs: dict[str, pl.DataFrame] = {}
        for connection in task.inputs:
            pairs = part.inputs[connection.name]
            quantum, dataset = pairs["quantum"].to_numpy(), pairs["dataset"].to_numpy()
            if not whole:
                kept = mask[quantum]
                quantum, dataset = numbers[label][quantum[kept]], dataset[kept]
            maker = makers.get(connection.type)
            if maker is not None and not masks[maker].all():
                dataset = numbers[maker][dataset]
            inputs[connection.name] = pl.DataFrame(
                {"quantum": quantum, "dataset": dataset}, schema={"quantum": ROW, "dataset": ROW}
            )
        if not whole:
            rows = pl.Series(mask)
            for output in outputs_of(task):
                planned[output.type] = _renumbered(state.planned[output.type].filter(rows))
            part = replace(part, quanta=_renumbered(part.quanta.filter(rows)))
        parts[label] = replace(part, inputs=inputs)
    state = replace(state, parts=parts, planned=planned)
    if state.calibrations:
        state = replace(state, extra={**state.extra, "calibrations": table_of(state)})
    return state


def _renumbered(frame: pl.DataFrame) -> pl.DataFrame:
    if "_row" not in frame.columns:
        return frame
    return frame.with_columns(pl.int_range(pl.len(), dtype=ROW).alias("_row"))
