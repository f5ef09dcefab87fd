"""Name: that the template of every output can name each of its datasets, and read each name back.

No name is made here: what fields can hold is looked at, and row by row only where that leaves a doubt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from prestow.errors import PrestowError, Problem
from prestow.naming import identity
from prestow.naming.templates import Template, bad_names, compile_template
from prestow.plan.state import State, outputs_of

SHOWN = 5  # datasets named for one thing that is wrong


def name(state: State) -> State:
    """Find what cannot be named, or not be read back."""
    request = state.request
    problems: list[Problem] = []
    for task in request.pipeline.tasks:
        for output in outputs_of(task):
            kind, frame = request.pipeline.dataset_types[output.type], state.planned[output.type]
            if not set(kind.dimensions) <= set(frame.columns):
                continue  # said when it was matched
            try:
                template = compile_template(
                    kind.template, kind.dimensions, request.universe, dataset_type=output.type
                )
            except PrestowError as error:
                problems += error.problems
                continue
            if not template.surely_names(frame, request.run):
                problems += _wrong(template, frame, request.run)
    return replace(state, problems=(*state.problems, *problems))


def _wrong(template: Template, frame: pl.DataFrame, run: str) -> Iterator[Problem]:
    data_id = identity.data_id_json(template.required, frame.schema)
    named = frame.with_columns(data_id.alias("_data_id"), template.column(run).alias("_path"))
    bad = bad_names(named["_path"])
    for row, _, reason in bad.head(SHOWN).iter_rows():
        yield Problem(
            "PST-P003",
            f"cannot name {bad.height} of {frame.height} {template.dataset_type} datasets: {reason}",
            f"{template.dataset_type}{named['_data_id'][row]}",
            f"change the value, or the template '{template.text}'",
        )
    unread = named.filter(~template.reads_back(run)).filter(pl.col("_path").is_not_null())
    for wrong, path in unread.select("_data_id", "_path").head(1).iter_rows():
        yield Problem(
            "PST-P004",
            f"{unread.height} names cannot be read back, such as '{path}': another dataset could have it",
            f"{template.dataset_type}{wrong}",
            f"put '/' between the fields of the template '{template.text}'",
        )
