"""Prove: what can be said of names and of the run before the first name is made.

The names themselves are proved while they are made, by `prestow.plan.naming_proof`: each is seen once.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import polars as pl

from prestow.errors import Problem
from prestow.naming.templates import CROWDED, OVERCROWDED, Template
from prestow.plan.document import pipeline_digest
from prestow.plan.naming_proof import templates_of
from prestow.plan.state import State

SHOWN = 5


def prove(state: State) -> State:
    """Find every reason why this plan must not be written, and what will hurt."""
    if any(problem.code == "PST-C030" for problem in state.problems):
        return replace(state, problems=(*state.problems, *_bound(state)))
    directories = _directories(state)
    full = directories.filter(pl.col("entries").is_between(CROWDED + 1, OVERCROWDED))
    warnings = tuple(f"{entries} entries in directory {directory}" for directory, entries in full.iter_rows())
    return replace(
        state,
        problems=(*state.problems, *_crowded(directories), *_bound(state)),
        warnings=(*state.warnings, *warnings),
        directories=directories["directory"],
    )


def _directories(state: State) -> pl.DataFrame:
    """Give every directory with its number of entries, fullest first; the topmost is empty."""
    schema = {"directory": pl.String, "entries": pl.UInt32}
    files = [pl.DataFrame(schema=schema)]
    # Of a template only the fields above its last '/' count: few values, and no name is made for them.
    files += [
        _of_type(template, state.planned[kind.name], state.request.run)
        for kind, template in templates_of(state)
        if set(template.columns) <= set(state.planned[kind.name].columns)
    ]
    return _with_those_above(pl.concat(files))


def _with_those_above(files: pl.DataFrame) -> pl.DataFrame:
    """Give directories with their entries, from how many files are in each: directories are entries, too."""
    counted = files.group_by("directory").agg(pl.col("entries").sum())
    level = found = counted["directory"]
    while (level := _above(level.filter(level != "")).unique()).len():
        found = pl.concat([found, level]).unique()
    inside = _above(found.filter(found != "")).value_counts(name="entries")
    whole = pl.concat([counted, inside.select("directory", pl.col("entries").cast(pl.UInt32))])
    counted = whole.group_by("directory").agg(pl.col("entries").sum())
    return counted.sort(["entries", "directory"], descending=[True, False])


def _of_type(template: Template, frame: pl.DataFrame, run: str) -> pl.DataFrame:
    above = template.directory
    if not frame.height:
        return pl.DataFrame(schema={"directory": pl.String, "entries": pl.UInt32})
    keys = list(above.columns)
    if not keys:
        return pl.DataFrame(
            {"directory": [pl.select(above.column(run)).item()], "entries": [frame.height]},
            schema={"directory": pl.String, "entries": pl.UInt32},
        )
    counted = frame.select(keys).group_by(keys).agg(pl.len().cast(pl.UInt32).alias("entries"))
    return counted.select(above.column(run).alias("directory"), "entries").drop_nulls()


def _above(paths: pl.Series) -> pl.Series:
    return paths.str.replace(r"(^|/)[^/]*$", "").alias("directory")


def _crowded(directories: pl.DataFrame) -> Iterator[Problem]:
    for directory, entries in directories.filter(pl.col("entries") > OVERCROWDED).head(SHOWN).iter_rows():
        what = f"{entries} entries in one directory, {OVERCROWDED} are allowed"
        yield Problem("PST-P007", what, directory, "put a dimension and '/' into the template")


def _bound(state: State) -> Iterator[Problem]:
    request = state.request
    facts = state.source.binding(request.run)
    if request.mixed or not facts or "pipeline" not in facts:
        return
    whole = None if request.stage is None else request.stage.pipeline
    here, there = whole or pipeline_digest(request.pipeline), str(facts["pipeline"])
    if here != there:
        what = f"run {request.run} is bound to pipeline {there}, this is {here}"
        yield Problem("PST-P006", what, f"run {request.run}", "choose another run, or say --mixed")
