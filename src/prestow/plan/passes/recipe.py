"""Recipe: what each quantum makes from what by which code, as one value, in columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.naming import identity, octets
from prestow.pipeline import TaskDefinition, task_digests
from prestow.plan.state import State, TaskPart, outputs_of
from prestow.plan.texts import texts_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.naming.octets import Octets

    Words = npt.NDArray[np.uint32]

CHUNK = 1 << 16  # texts hashed, or terms summed, at a time
_DIGITS = 32


def recipe(state: State) -> State:
    """Add the planned recipes of all quanta; those of existing datasets came with them."""
    digests = task_digests(state.request.pipeline)
    readers = _readers(state)
    terms: dict[tuple[str, str], Words] = {}
    for dataset_type, connections in readers.items():
        if dataset_type in state.existing:
            terms.update(_terms_of_existing(state, dataset_type, connections))
    for task in state.request.pipeline.tasks:
        part = state.parts[task.label]
        sums = np.zeros((part.quanta.height, 4), np.uint64)
        for connection in task.inputs:
            pairs = part.inputs[connection.name]
            if pairs.height:
                add_terms(sums, pairs, terms[connection.name, connection.type])
        made, more = _planned_recipes(state, task, part, digests[task.label], sums, readers)
        terms.update(more)
        state = replace(state, parts={**state.parts, task.label: replace(part, recipes=made)})
    return state


def _readers(state: State) -> dict[str, list[str]]:
    """Give, for each dataset type, the names of the connections that read it."""
    found: dict[str, list[str]] = {}
    for task in state.request.pipeline.tasks:
        for connection in task.inputs:
            names = found.setdefault(connection.type, [])
            if connection.name not in names:
                names.append(connection.name)
    return found


def _planned_recipes(
    state: State,
    task: TaskDefinition,
    part: TaskPart,
    digest: str,
    sums: npt.NDArray[np.uint64],
    readers: Mapping[str, list[str]],
) -> tuple[Octets, dict[tuple[str, str], Words]]:
    """Give the recipes of a task's quanta, and what its outputs add to the recipes of their readers.

    A dataset adds the same term wherever one connection reads it, so it is hashed once; and while its
    data ID is a text, for all of them.
    """
    rows = part.quanta.height
    kinds = [state.request.pipeline.dataset_types[o.type] for o in outputs_of(task) if o.type in readers]
    result = np.empty((rows, 16), np.uint8)
    terms = {
        (name, kind.name): np.empty((rows, 4), np.uint32) for kind in kinds for name in readers[kind.name]
    }
    for start in range(0, rows, CHUNK):
        piece = part.quanta.slice(start, CHUNK)
        total = octets.to_hex(octets.from_words(sums[start : start + CHUNK]))
        data_id = texts_of(piece, identity.data_id_json(task.dimensions, piece.schema))
        named = pl.DataFrame({"data_id": data_id, "sum": total})
        made = named.select(identity.planned_recipes(digest, pl.col("data_id"), pl.col("sum"))).to_series()
        result[start : start + CHUNK] = octets.from_hex(made, _DIGITS)
        for kind in kinds:
            if kind.dimensions != task.dimensions:
                frame = state.planned[kind.name].slice(start, CHUNK)
                data_id = texts_of(frame, identity.data_id_json(kind.dimensions, frame.schema))
            read = pl.DataFrame({"data_id": data_id, "recipe": made})
            for name in readers[kind.name]:
                terms[name, kind.name][start : start + CHUNK] = _terms(name, kind.name, read)
    return result, terms


def _terms_of_existing(
    state: State, dataset_type: str, connections: Iterable[str]
) -> dict[tuple[str, str], Words]:
    """Give what each existing dataset of a type adds to the recipe of whoever reads it there."""
    frame, recipes = state.existing[dataset_type], recipes_of(state, dataset_type)
    dimensions = state.request.pipeline.dataset_types[dataset_type].dimensions
    terms = {(name, dataset_type): np.empty((frame.height, 4), np.uint32) for name in connections}
    for start in range(0, frame.height, CHUNK):
        piece = frame.slice(start, CHUNK)
        data_id = texts_of(piece, identity.data_id_json(dimensions, piece.schema))
        read = pl.DataFrame({"data_id": data_id, "recipe": octets.to_hex(recipes[start : start + CHUNK])})
        for (name, _), values in terms.items():
            values[start : start + CHUNK] = _terms(name, dataset_type, read)
    return terms


def _terms(connection: str, dataset_type: str, read: pl.DataFrame) -> Words:
    term = identity.input_terms(connection, dataset_type, pl.col("data_id"), pl.col("recipe"))
    return octets.to_words(octets.from_hex(read.select(term).to_series(), _DIGITS))


def recipes_of(state: State, dataset_type: str) -> Octets:
    """Give the recipes of the existing datasets of a type, by row."""
    return octets.from_binary(state.existing[dataset_type]["_recipe"])


def add_terms(sums: npt.NDArray[np.uint64], pairs: pl.DataFrame, terms: npt.NDArray[np.uint32]) -> None:
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
