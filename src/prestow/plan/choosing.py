"""What a request takes of what exists, besides its selection: exclusions, and a table of data IDs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import polars as pl

from prestow.errors import PrestowError, Problem, ProjectError, raise_all
from prestow.plan.frames import describe
from prestow.plan.linking import link
from prestow.plan.request import Exclusion, Request
from prestow.plan.state import State
from prestow.query import Selection, parse_selection
from prestow.query.selection import Both, Not

EXCLUDED = ("", "excluded")
"""The key of the selection that takes what no exclusion takes."""


ROW_NUMBER = "_n"
"""Of a frame that is linked: the row that a row comes from."""


def read_exclusions(pairs: Iterable[tuple[str, str]]) -> tuple[Exclusion, ...]:
    """Give exclusions of selections and reasons, each of which must say something.

    Raises
    ------
    ProjectError
        PST-C063, if one does not.

    Examples
    --------
    >>> read_exclusions([("visit = 12", "clouds")])
    (Exclusion(where='visit = 12', because='clouds'),)
    """
    found = tuple(Exclusion(where.strip(), because.strip()) for where, because in pairs)
    problems = [
        Problem(
            "PST-C063",
            f"'{one.where}' is excluded, and nobody says why" if one.where else "an exclusion of nothing",
            "--exclude",
            "prestow plan --exclude SELECTION --because TEXT",
        )
        for one in found
        if not one.because or not one.where
    ]
    raise_all(problems, ProjectError)
    return found


def parse_exclusions(request: Request) -> tuple[tuple[Selection, ...], list[Problem]]:
    """Parse the exclusions of a request: all of them, or what is wrong with them."""
    found: list[Selection] = []
    problems: list[Problem] = []
    for one in request.excluded:
        try:
            found.append(parse_selection(one.where, request.universe, place="--exclude"))
        except PrestowError as error:
            problems += error.problems
    return () if problems else tuple(found), problems


def not_excluded(exclusions: Sequence[Selection]) -> dict[tuple[str, str], Selection]:
    """Give the selection that takes what no exclusion takes, under its key; nothing without exclusions."""
    trees = [one.tree for one in exclusions if one.tree is not None]
    if not trees:
        return {}
    return {EXCLUDED: Selection(Not(trees[0] if len(trees) == 1 else Both("or", tuple(trees))))}


def named_dimensions(selection: Selection, state: State) -> tuple[str, ...]:
    """Give the dimensions that a selection names, itself or by a column of theirs."""
    universe = state.request.universe
    named = {name.rpartition(".")[0] or name for name in selection.columns}
    return universe.close(sorted(named & set(universe.dimensions)))


def among(frame: pl.DataFrame, data_ids: pl.DataFrame) -> pl.Series:
    """Say of each row whether it agrees with a row of a table, in the dimensions that both have.

    What is null agrees with anything: it is not known to be another.
    """
    shared = [c for c in data_ids.columns if c in frame.columns]
    rows = frame.select(shared).with_row_index(ROW_NUMBER)
    found = pl.Series(ROW_NUMBER, [], rows.schema[ROW_NUMBER])
    nulls = rows.select(ROW_NUMBER, pl.struct(pl.col(shared).is_null()).alias("_nulls")) if shared else rows
    if not shared:
        return pl.repeat(value=True, n=frame.height, eager=True, dtype=pl.Boolean)
    for (pattern,), part in rows.with_columns(nulls["_nulls"]).group_by("_nulls", maintain_order=True):
        on = [c for c in shared if not pattern[c]]
        if not on:
            found = found.append(part[ROW_NUMBER])
            continue
        table = data_ids.select(pl.col(c).cast(frame.schema[c], strict=False) for c in on).unique()
        found = found.append(part.join(table, on=on, how="semi")[ROW_NUMBER])
    return pl.repeat(value=False, n=frame.height, eager=True, dtype=pl.Boolean).scatter(found, values=True)


def narrow(linked: pl.DataFrame, state: State, free: str = "") -> pl.DataFrame:
    """Drop rows that the request does not take, once they have dimensions that relations give.

    Rows that are true in the column ``free`` are taken although the table has them not.
    """
    if state.listed is not None:
        taken = among(linked, state.listed)
        linked = linked.filter(taken | linked[free] if free and free in linked.columns else taken)
    if EXCLUDED in state.selections:
        selection = state.selections[EXCLUDED]
        wide = describe(linked, state.request.universe, state.records, selection.columns)
        linked = linked.filter(
            wide.select(selection.expression(wide.columns).fill_null(value=True)).to_series()
        )
    return linked


@dataclass(frozen=True, slots=True)
class Choice:
    """Which rows of a frame a request's exclusions and table take.

    Parameters
    ----------
    excluded : tuple of Series
        For each exclusion, which rows it surely takes.
    decided : tuple of bool
        Whether this frame has all that each exclusion names.
    listed : Series or None
        Which rows may be in the table of data IDs.
    """

    excluded: tuple[pl.Series, ...]
    decided: tuple[bool, ...]
    listed: pl.Series | None

    @property
    def any_excluded(self) -> pl.Series:
        """Which rows any exclusion takes."""
        result = self.excluded[0]
        for one in self.excluded[1:]:
            result |= one
        return result


def choose(frame: pl.DataFrame, state: State, exclusions: Sequence[Selection]) -> Choice:
    """Decide on each row of a frame; by relations, where it lacks a dimension that is named."""
    taken = [surely(frame, one, state) for one in exclusions]
    listed = None if state.listed is None else _listed(frame, state.listed, state)
    return Choice(tuple(t for t, _ in taken), tuple(d for _, d in taken), listed)


def linked_frame(frame: pl.DataFrame, named: Iterable[str], state: State) -> pl.DataFrame:
    """Give a frame with its rows numbered, and the dimensions of these that a relation gives."""
    numbered = frame.with_row_index(ROW_NUMBER)
    lacking = [d for d in named if d not in frame.columns]
    padding = max((c.padding for task in state.request.pipeline.tasks for c in task.inputs), default=0.0)
    return link(numbered, lacking, state, padding=padding)[0] if lacking else numbered


def surely(frame: pl.DataFrame, selection: Selection, state: State) -> tuple[pl.Series, bool]:
    """Say which rows a selection surely takes, by all their links, and whether all it names is there."""
    linked = linked_frame(frame, named_dimensions(selection, state), state)
    wide = describe(linked, state.request.universe, state.records, selection.columns)
    verdict = wide.select(
        ROW_NUMBER, selection.expression(wide.columns).fill_null(value=False).alias("_taken")
    )
    if linked.height != frame.height or linked.width != frame.width + 1:
        verdict = verdict.group_by(ROW_NUMBER).agg(pl.col("_taken").all())
    rows = verdict.filter("_taken")[ROW_NUMBER]
    none = pl.repeat(value=False, n=frame.height, eager=True, dtype=pl.Boolean)
    return none.scatter(rows, values=True), set(selection.columns) <= set(wide.columns)


def may_take(frame: pl.DataFrame, selection: Selection, state: State) -> pl.Series:
    """Say which rows a selection does not surely leave out: by any of their links, if there are links."""

    def verdict(rows: pl.DataFrame) -> pl.Series:
        wide = describe(rows, state.request.universe, state.records, selection.columns)
        taken = selection.expression(wide.columns).fill_null(value=True)
        return wide.with_columns(taken.alias("_taken"))["_taken"]

    alone = verdict(frame)
    linked = linked_frame(frame, named_dimensions(selection, state), state)
    if linked.width == frame.width + 1:
        return alone
    return _by_links(linked, verdict(linked), alone)


def _by_links(linked: pl.DataFrame, taken: pl.Series, alone: pl.Series) -> pl.Series:
    """Say which rows have a link that is taken, or none and are taken alone."""
    without = pl.repeat(value=True, n=alone.len(), eager=True, dtype=pl.Boolean)
    if linked.height:
        without = without.scatter(linked[ROW_NUMBER].unique(), values=False)
    rows = linked[ROW_NUMBER].filter(taken).unique()
    return (without & alone).scatter(rows, values=True) if rows.len() else without & alone


def _listed(frame: pl.DataFrame, data_ids: pl.DataFrame, state: State) -> pl.Series:
    """Say which rows may be in the table, by any of their links; without a link it is not known."""
    linked = linked_frame(frame, data_ids.columns, state)
    taken = among(linked, data_ids)
    if linked.width == frame.width + 1:
        return taken
    return _by_links(linked, taken, among(frame, data_ids))
