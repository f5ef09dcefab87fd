"""Recipe: what each quantum makes from what by which code, as one value, in columns."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from prestow.naming import identity
from prestow.pipeline import TaskDefinition, task_digests
from prestow.plan.state import State, TaskPart, outputs_of


def recipe(state: State) -> State:
    """Add ``_data_id`` (canonical JSON) and ``_recipe`` (planned, 16 bytes) to quanta and datasets."""
    pipeline = state.request.pipeline
    existing = {
        name: _with_data_id(frame, pipeline.dataset_types[name].dimensions)
        for name, frame in state.existing.items()
    }
    state = replace(state, existing=existing)
    for task in pipeline.tasks:
        part = state.parts[task.label]
        quanta = _with_data_id(part.quanta, task.dimensions)
        quanta = _planned_recipes(state, task, replace(part, quanta=quanta))
        planned = {}
        for output in outputs_of(task):
            dimensions = pipeline.dataset_types[output.type].dimensions
            frame = state.planned[output.type]
            if set(dimensions) <= set(frame.columns):
                # One text in memory where output and quantum have one data ID.
                same = dimensions == task.dimensions
                named = frame.with_columns(quanta["_data_id"]) if same else _with_data_id(frame, dimensions)
                planned[output.type] = named.with_columns(quanta["_recipe"])
        state = replace(
            state,
            parts={**state.parts, task.label: replace(part, quanta=quanta)},
            planned={**state.planned, **planned},
        )
    return state


def _with_data_id(frame: pl.DataFrame, dimensions: tuple[str, ...]) -> pl.DataFrame:
    return frame.with_columns(identity.data_id_json(dimensions, frame.schema).alias("_data_id"))


def _planned_recipes(state: State, task: TaskDefinition, part: TaskPart) -> pl.DataFrame:
    terms = []
    for connection in task.inputs:
        # A dataset adds the same term wherever it is read: hashed once, then gathered.
        frame = state.frame(connection.type)
        digits = identity.recipe_text(pl.col("_recipe"))
        term = identity.input_terms(connection.name, connection.type, pl.col("_data_id"), digits)
        words = frame.lazy().select(term).select(identity.term_words(pl.col("term"))).collect()
        pairs = part.inputs[connection.name]
        terms.append(words[pairs["dataset"]].with_columns(pairs["quantum"]).lazy())
    quanta = part.quanta
    if terms:
        sums = identity.sum_words(pl.concat(terms), "quantum").collect()
        quanta = quanta.join(sums, left_on="_row", right_on="quantum", how="left", maintain_order="left")
    else:
        quanta = quanta.with_columns(sum=pl.lit(None, pl.String))
    total = pl.col("sum").fill_null(identity.NO_TERMS)
    digest = task_digests(state.request.pipeline)[task.label]
    made = identity.planned_recipes(digest, pl.col("_data_id"), total)
    return quanta.with_columns(identity.recipe_bytes(made).alias("_recipe")).drop("sum")
