"""Link: the dimensions that relations add to a frame: the visit of an exposure, the patches under a detector."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import polars as pl

from prestow.errors import Problem
from prestow.model.hashing import canonical_json, sha256_hex
from prestow.model.universe import Relation, Universe
from prestow.plan.frames import restrict
from prestow.plan.keys import find, pack
from prestow.plan.state import State
from prestow.query import Selection
from prestow.sky.angles import angle_text

SEPARATION = "separation"
"""The metadata of a relation on the sky: degrees between the two, 0 where they overlap."""

OVERLAP = "sky_overlap"
"""The relation between what was observed and patches."""


def link(
    frame: pl.DataFrame, dimensions: Collection[str], state: State, *, padding: float = 0.0
) -> tuple[pl.DataFrame, frozenset[str]]:
    """Add dimensions to a frame that relations give, and say which relations were used.

    Parameters
    ----------
    frame : DataFrame
        Rows with dimensions; a row comes once for each value that is new to it.
    dimensions : collection of str
        What is wanted. Where no relation gives it at once, one may stand between (an exposure is in
        a visit, and that lies on a patch).
    padding : float
        Degrees that may lie between the two sides of a relation on the sky.

    Returns
    -------
    frame, names
        The same frame and nothing, if no relation adds anything.
    """
    used: set[str] = set()
    wide, own = frame, frame.columns
    while (steps := _steps(set(wide.columns), set(dimensions), state)) is not None:
        for name in steps:
            wide = _join(wide, state.relations[name], padding)
            used.add(name)
    if not used:
        return frame, frozenset()
    gained = [c for c in wide.columns if c in dimensions and c not in own]
    kept = wide.select(*own, *gained)
    # Through a relation of more than is wanted a row comes several times: a tract has many patches.
    return (kept.unique(maintain_order=True) if len(gained) + len(own) < wide.width else kept), frozenset(
        used
    )


def select_by_relation(
    frame: pl.DataFrame, selection: Selection, state: State
) -> tuple[pl.DataFrame | None, frozenset[str]]:
    """Give the datasets (``_dataset``) that a selection takes by dimensions that only relations give.

    A selection by patch says nothing about a raw, until the raw is found on the sky; within the widest
    padding of the pipeline, so that nothing is lost that a task reads. None if it names no such dimension.
    """
    universe = state.request.universe
    named = {name.rpartition(".")[0] or name for name in selection.columns} & set(universe.dimensions)
    lacking = [d for d in universe.close(named) if d not in frame.columns]
    if not lacking:
        return None, frozenset()
    padding = max(c.padding for task in state.request.pipeline.tasks for c in task.inputs)
    wide, used = link(frame, lacking, state, padding=padding)
    if not used:
        return None, used
    return restrict(wide, selection, state, keep_unknown=True).select("_dataset"), used


def facts_of_relations(state: State, names: Collection[str]) -> dict[str, str]:
    """Give what a plan's id covers of the relations that it used: version, and the sky maps it looked at.

    Which rows were used is in the plan's edges already.
    """
    universe = state.request.universe
    skymaps = state.records.get("skymap")
    maps: dict[str, list[object]] = {}
    if skymaps is not None and {"version", "digest"} <= set(skymaps.columns):
        seen = {
            name
            for part in state.parts.values()
            if "skymap" in part.quanta.columns
            for name in part.quanta["skymap"].cast(pl.String).unique().drop_nulls()
        }
        rows = skymaps.select(pl.col("skymap").cast(pl.String), "version", "digest").sort("skymap")
        maps = {name: [version, digest] for name, version, digest in rows.iter_rows() if name in seen}
    found = {}
    for name in sorted(names):
        relation = universe.relations[name]
        content: dict[str, object] = {"relation": relation.plain()}
        if "skymap" in universe.close(relation.dimensions):
            content["skymaps"] = maps
        found[f"relation:{name}"] = sha256_hex(canonical_json(content).encode())
    return found


def sky_problems(state: State) -> tuple[Problem, ...]:
    """Give what is wrong with the sky that tasks ask for: no map at all, or not computed that far out."""
    tasks, types = state.request.pipeline.tasks, state.request.pipeline.dataset_types
    if OVERLAP not in state.relations:
        return ()
    per_tract = [task.label for task in tasks if "tract" in task.dimensions]
    brought = [name for name in state.existing if "tract" in types[name].dimensions]
    tracts = state.records.get("tract")
    if per_tract and not brought and tracts is not None and not tracts.height:
        what = f"{', '.join(per_tract)} run by tract or patch, and no sky map is registered"
        return (Problem("PST-S007", what, f"task {per_tract[0]}", "prestow skymap register FILE"),)
    maps = state.records.get("skymap")
    if maps is None or "padding" not in maps.columns:
        return ()
    used = state.relations[OVERLAP].select("skymap").unique().select(pl.col("skymap").cast(pl.String))
    known = maps.select(pl.col("skymap").cast(pl.String), "padding").drop_nulls("padding")
    rows = known.join(used, on="skymap", how="semi")
    least = rows.sort("padding", "skymap").head(1).to_dicts()
    return tuple(
        Problem(
            "PST-S008",
            f"separations on the sky map '{least[0]['skymap']}' are known up to {angle_text(least[0]['padding'])}, "
            f"and {connection.name} asks for {angle_text(connection.padding)}",
            f"task {task.label}, input {connection.name}",
            "take less, or register a map of another name with a larger 'padding'",
        )
        for task in tasks
        for connection in task.inputs
        if least and connection.padding > least[0]["padding"]
    )


def _steps(columns: set[str], dimensions: set[str], state: State) -> list[str] | None:
    """Give the relations to join next: one that gives something wanted, or two in a row; or None.

    At last also by the first dimension of a side alone, of which the others are parts: a visit lies
    where any of its detectors does.
    """
    universe = state.request.universe
    known = {name: universe.relations[name] for name in state.relations}
    ways = list(_ways(universe, known))
    for name, here, there in ways:
        if here <= columns and (there - columns) & dimensions:
            return [name]
    for name, here, there in ways:
        if not (there - columns) & dimensions or not here & columns:
            continue
        for first, start, end in ways:
            if first != name and start <= columns and here - columns and here - columns <= end:
                return [first, name]
    for name, relation in known.items():
        for side, other in (relation.between, relation.between[::-1]):
            wanted = set(universe.close(other)) - columns
            if wanted & dimensions and set(universe.close(side[:1])) <= columns:
                return [name]
    return None


def _ways(
    universe: Universe, relations: Mapping[str, Relation]
) -> Iterator[tuple[str, frozenset[str], frozenset[str]]]:
    for name, relation in relations.items():
        for here, there in (relation.between, relation.between[::-1]):
            yield name, frozenset(universe.close(here)), frozenset(universe.close(there))


def _join(frame: pl.DataFrame, table: pl.DataFrame, padding: float) -> pl.DataFrame:
    if SEPARATION in table.columns:
        table = table.filter(pl.col(SEPARATION) <= padding).drop(SEPARATION)
    on = [c for c in table.columns if c in frame.columns]
    (mine, known), below = pack([frame, table], on)
    if known.null_count() or known.n_unique() != known.len():
        return frame.join(table, on=on, how="inner", maintain_order="left_right")
    rows = find(mine, known, below)  # one at most for each: nothing to join
    linked = frame.with_columns(table[c].gather(rows) for c in table.columns if c not in on)
    return linked.filter(rows.is_not_null()) if rows.null_count() else linked
