"""Recipe: what each quantum makes from what by which code, as one value, in columns."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.naming import identity, octets
from prestow.pipeline import TaskDefinition, task_digests
from prestow.plan.state import State, TaskPart

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.naming.octets import Octets

CHUNK = 1 << 17  # texts hashed, or terms summed, at a time
_DIGITS = 32


def recipe(state: State) -> State:
    """Add the planned recipes of all quanta; those of existing datasets came with them."""
    digests = task_digests(state.request.pipeline)
    for task in state.request.pipeline.tasks:
        part = state.parts[task.label]
        made = _planned_recipes(state, task, part, digests[task.label])
        state = replace(state, parts={**state.parts, task.label: replace(part, recipes=made)})
    return state


def _planned_recipes(state: State, task: TaskDefinition, part: TaskPart, digest: str) -> Octets:
    rows = part.quanta.height
    sums = np.zeros((rows, 4), np.uint64)
    for connection in task.inputs:
        pairs = part.inputs[connection.name]
        if pairs.height:
            # A dataset adds the same term wherever it is read: hashed once, then gathered.
            _add(sums, pairs, _terms(state, connection.name, connection.type))
    result = np.empty((rows, 16), np.uint8)
    for start in range(0, rows, CHUNK):
        piece = part.quanta.slice(start, CHUNK)
        data_ids = identity.data_id_json(task.dimensions, piece.schema)
        total = octets.to_hex(octets.from_words(sums[start : start + CHUNK])).alias("_sum")
        text = piece.with_columns(total).select(identity.planned_recipes(digest, data_ids, pl.col("_sum")))
        result[start : start + CHUNK] = octets.from_hex(text.to_series(), _DIGITS)
    return result


def _terms(state: State, connection: str, dataset_type: str) -> npt.NDArray[np.uint32]:
    """Give what each dataset of a type adds to the recipe of whoever reads it there, as words."""
    frame, recipes = state.frame(dataset_type), recipes_of(state, dataset_type)
    dimensions = state.request.pipeline.dataset_types[dataset_type].dimensions
    result = np.empty((frame.height, 4), np.uint32)
    for start in range(0, frame.height, CHUNK):
        piece = frame.slice(start, CHUNK)
        digits = octets.to_hex(recipes[start : start + CHUNK]).alias("_recipe")
        data_ids = identity.data_id_json(dimensions, piece.schema)
        text = (
            piece.select(*dimensions)
            .with_columns(digits)
            .select(identity.input_terms(connection, dataset_type, data_ids, pl.col("_recipe")))
        )
        result[start : start + CHUNK] = octets.to_words(octets.from_hex(text.to_series(), _DIGITS))
    return result


def recipes_of(state: State, dataset_type: str) -> Octets:
    """Give the recipes of the datasets of a type, existing or planned, by row."""
    if dataset_type not in state.planned:
        return octets.from_binary(state.existing[dataset_type]["_recipe"])
    found = state.parts[state.makers()[dataset_type]].recipes
    assert found is not None, "who makes it stands before who reads it"
    return found


def _add(sums: npt.NDArray[np.uint64], pairs: pl.DataFrame, terms: npt.NDArray[np.uint32]) -> None:
    """Add to each quantum the terms of what it reads; pairs stand by quantum."""
    quantum, dataset = pairs["quantum"].to_numpy(), pairs["dataset"].to_numpy()
    for start in range(0, len(quantum), 4 * CHUNK):
        readers, taken = quantum[start : start + 4 * CHUNK], terms[dataset[start : start + 4 * CHUNK]]
        last = np.flatnonzero(readers[1:] != readers[:-1])
        if len(last) == len(readers) - 1:
            sums[readers] += taken
            continue
        ends = np.append(last, len(readers) - 1)
        run = np.cumsum(taken, axis=0, dtype=np.uint64)[ends]
        run[1:] -= run[:-1].copy()
        sums[readers[ends]] += run
