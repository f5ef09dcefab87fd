"""Name: the id of every quantum, the id and path of every output, each path read back."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from prestow.errors import PrestowError, Problem
from prestow.naming import identity
from prestow.naming.templates import Template, bad_names, compile_template
from prestow.plan.state import State, outputs_of

SHOWN = 5  # datasets named for one thing that is wrong


def name(state: State) -> State:
    """Add ``_id`` to quanta, ``_id`` and ``_path`` to planned datasets."""
    request = state.request
    problems: list[Problem] = []
    parts, planned = dict(state.parts), dict(state.planned)
    for task in request.pipeline.tasks:
        part = parts[task.label]
        ids = identity.quantum_ids(task.label, request.run, task.dimensions).alias("_id")
        parts[task.label] = replace(part, quanta=part.quanta.with_columns(ids))
        for output in outputs_of(task):
            if "_data_id" in planned[output.type].columns:
                planned[output.type], more = _named(state, output.type)
                problems += more
    return replace(state, parts=parts, planned=planned, problems=(*state.problems, *problems))


def _named(state: State, dataset_type: str) -> tuple[pl.DataFrame, list[Problem]]:
    request = state.request
    kind = request.pipeline.dataset_types[dataset_type]
    ids = identity.dataset_ids(dataset_type, request.run, kind.dimensions).alias("_id")
    frame = state.planned[dataset_type].with_columns(ids)
    try:
        template = compile_template(
            kind.template, kind.dimensions, request.universe, dataset_type=dataset_type
        )
    except PrestowError as error:
        return frame.with_columns(pl.lit(None, pl.String).alias("_path")), list(error.problems)
    named = frame.with_columns(template.column(request.run).alias("_path"))
    return named, _wrong(template, named, request.run)


def _wrong(template: Template, frame: pl.DataFrame, run: str) -> list[Problem]:
    bad = bad_names(frame["_path"])
    problems = [
        Problem(
            "PST-P003",
            f"cannot name {bad.height} of {frame.height} {template.dataset_type} datasets: {reason}",
            f"{template.dataset_type}{frame['_data_id'][row]}",
            f"change the value, or the template '{template.text}'",
        )
        for row, _, reason in bad.head(SHOWN).iter_rows()
    ]
    unread = frame.filter(~template.reads_back(run)).filter(pl.col("_path").is_not_null())
    problems += [
        Problem(
            "PST-P004",
            f"{unread.height} names cannot be read back, such as '{path}': another dataset could have it",
            f"{template.dataset_type}{data_id}",
            f"put '/' between the fields of the template '{template.text}'",
        )
        for data_id, path in unread.select("_data_id", "_path").head(1).iter_rows()
    ]
    return problems
