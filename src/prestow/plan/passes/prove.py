"""Prove: one name one dataset, nothing made under another recipe; every problem at once."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import cast

import polars as pl

from prestow.errors import Problem
from prestow.model.data_id import DataId
from prestow.naming import identity
from prestow.naming.templates import CROWDED, OVERCROWDED, twins
from prestow.plan.document import pipeline_digest
from prestow.plan.frames import all_differ
from prestow.plan.state import State, outputs_of

SHOWN = 5


def prove(state: State) -> State:
    """Find every reason why this plan must not be written, and what will hurt."""
    names = _names(state)
    directories = _directories(names["path"])
    problems = [
        *_twins(state, names),
        *_shadowed(names, directories),
        *_crowded(directories),
        *_taken(state, names),
        *_settled_otherwise(state),
        *_bound(state),
    ]
    full = directories.filter(pl.col("entries").is_between(CROWDED + 1, OVERCROWDED))
    warnings = tuple(f"{entries} entries in directory {directory}" for directory, entries in full.iter_rows())
    return replace(state, problems=(*state.problems, *problems), warnings=(*state.warnings, *warnings))


def _names(state: State) -> pl.DataFrame:
    frames = [
        state.planned[output.type].select(
            pl.lit(output.type).alias("type"),
            pl.col("_data_id").alias("data_id"),
            pl.col("_path").alias("path"),
            pl.col("_id").alias("id"),
        )
        for task in state.request.pipeline.tasks
        for output in outputs_of(task)
        if "_path" in state.planned[output.type].columns
    ]
    text = dict.fromkeys(("type", "data_id", "path"), pl.String)
    return pl.concat([pl.DataFrame(schema={**text, "id": pl.Binary}), *frames])


def _shown(dataset_type: str, data_id: str) -> str:
    return f"{dataset_type}{{{DataId.from_json(data_id)}}}"


def _twins(state: State, names: pl.DataFrame) -> Iterator[Problem]:
    if all_differ(names["path"]):
        return
    found = twins(names["path"])
    if not found.height:
        return
    rows = names.gather(found["row"]).with_columns(found["folded"])
    # One problem for each pair of types, with its first pair of datasets: a million twins have few causes.
    pairs = rows.group_by("folded", maintain_order=True).agg(
        pl.col("type", "data_id", "path").head(2), pl.len().alias("n")
    )
    kinds = pairs.with_columns(kind=pl.col("type").list.join("/")).group_by("kind", maintain_order=True)
    causes = kinds.agg(pl.len().alias("clashes"), pl.col("type", "data_id", "path").first())
    for _, clashes, types, data_ids, paths in causes.iter_rows():
        first, second = (_shown(t, d) for t, d in zip(types, data_ids, strict=True))
        how = "one name" if paths[0] == paths[1] else "names that differ only in case"
        template = state.request.pipeline.dataset_types[types[0]].template
        if first == second:
            what = f"two quanta would make {first}"
            fix = f"give {types[0]} the dimensions of its task, or the task those of {types[0]}"
        else:
            what = f"{first} and {second} would have {how}: {paths[0]}"
            fix = f"add {_missing(data_ids, template)} to the template '{template}'"
        more = f" (and {clashes - 1} more such names)" if clashes > 1 else ""
        yield Problem("PST-P004", f"{what}{more}", f"{first} · {second}", fix)


def _missing(data_ids: list[str], template: str) -> str:
    """Give the fields in which two data IDs differ and that a template does not have."""
    first, second = (DataId.from_json(d) for d in data_ids)
    differ = [d for d in first if first[d] != second.get(d) and f"{{{d}" not in template]
    return ", ".join(f"{{{d}}}" for d in differ) or "{type}"


def _directories(paths: pl.Series) -> pl.DataFrame:
    """Give every directory with its number of entries, fullest first; the topmost is empty."""
    inside = [_above(paths.drop_nulls())]
    found = inside[0].unique()
    level = found
    while (level := _above(level.filter(level != "")).unique()).len():
        found = pl.concat([found, level]).unique()
    inside.append(_above(found.filter(found != "")))
    counted = pl.concat(inside).value_counts(name="entries")
    return counted.sort(["entries", "directory"], descending=[True, False])


def _above(paths: pl.Series) -> pl.Series:
    return paths.str.replace(r"(^|/)[^/]*$", "").alias("directory")


def _shadowed(names: pl.DataFrame, directories: pl.DataFrame) -> Iterator[Problem]:
    """Find names that are also directories of others, but for case."""
    folded = directories["directory"].str.to_lowercase().unique()
    found = names.filter(pl.col("path").str.to_lowercase().is_in(folded.implode()))
    for dataset_type, data_id, path in found.select("type", "data_id", "path").head(SHOWN).iter_rows():
        shown = _shown(dataset_type, data_id)
        what = f"the name of {shown} is also a directory of other names: {path}"
        yield Problem("PST-P004", what, shown, "give one of them a directory of its own")


def _crowded(directories: pl.DataFrame) -> Iterator[Problem]:
    for directory, entries in directories.filter(pl.col("entries") > OVERCROWDED).head(SHOWN).iter_rows():
        what = f"{entries} entries in one directory, {OVERCROWDED} are allowed"
        yield Problem("PST-P007", what, directory, "put a dimension and '/' into the template")


def _taken(state: State, names: pl.DataFrame) -> Iterator[Problem]:
    """Find names that the output store has for other datasets."""
    request = state.request
    types = sorted(request.pipeline.dataset_types)
    there = cast("pl.DataFrame", pl.from_arrow(state.source.datasets(types, (request.run,), first=True)))
    if not there.height:
        return
    there = there.filter(pl.col("store") == request.store).select(
        pl.col("path"), pl.col("type").alias("other"), _bytes(there, "id").alias("other_id")
    )
    both = (
        names.join(there, on="path", how="inner")
        .filter(pl.col("id") != pl.col("other_id"))
        .sort("path", "type")
    )
    for row in both.head(SHOWN).iter_rows(named=True):
        shown = _shown(row["type"], row["data_id"])
        other = f"{row['other']} {row['other_id'].hex()}"
        what = (
            f"{shown} and the existing {other} would have one name: {row['path']} ({both.height} such names)"
        )
        yield Problem("PST-P004", what, f"{shown} · {other}", "choose another run")


def _bytes(frame: pl.DataFrame, name: str) -> pl.Expr:
    if frame.schema[name] == pl.String:
        return pl.col(name).str.replace_all("-", "", literal=True).str.decode("hex")
    return pl.col(name).cast(pl.Binary)


def _settled_otherwise(state: State) -> Iterator[Problem]:
    """Find quanta that the run has settled under another planned recipe."""
    run = state.request.run
    there = cast("pl.DataFrame", pl.from_arrow(state.source.quanta(run)))
    if not there.height:
        return
    there = there.select(_bytes(there, "id").alias("_id"), _bytes(there, "planned_recipe").alias("old"))
    for task in state.request.pipeline.tasks:
        quanta = state.parts[task.label].quanta
        both = quanta.select("_id", "_data_id", "_recipe").join(
            there, on="_id", how="inner", maintain_order="left"
        )
        other = both.filter(pl.col("old") != pl.col("_recipe"))
        if not other.height:
            continue
        quantum, data_id, recipe, old = other.select(
            identity.uuid_text(pl.col("_id")),
            "_data_id",
            *(identity.recipe_text(pl.col(c)) for c in ("_recipe", "old")),
        ).row(0)
        shown = _shown(task.label, data_id)
        what = (
            f"{other.height} of {quanta.height} quanta of {task.label} are settled in run {run} "
            f"under another recipe: {shown} is {old} there, {recipe} here"
        )
        fix = "its inputs, configuration or code have changed: choose another run"
        yield Problem("PST-P005", what, f"{shown} · quantum {quantum} · recipes {old} and {recipe}", fix)


def _bound(state: State) -> Iterator[Problem]:
    request = state.request
    facts = state.source.binding(request.run)
    if request.mixed or not facts or "pipeline" not in facts:
        return
    here, there = pipeline_digest(request.pipeline), str(facts["pipeline"])
    if here != there:
        what = f"run {request.run} is bound to pipeline {there}, this is {here}"
        yield Problem("PST-P006", what, f"run {request.run}", "choose another run, or say --mixed")
