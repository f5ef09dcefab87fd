"""What a task sees of each of its inputs: datasets, those that will not be made, and how they join."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from prestow.model.universe import Universe
from prestow.pipeline.definition import InputConnection, TaskDefinition
from prestow.plan.frames import join_keys, restrict
from prestow.plan.matching.keys import ROW, find, pack
from prestow.plan.state import State

ASKED = "_asked"
"""Of a dataset that will not be made: whether that is what a person asked for."""

Lost = Mapping[str, pl.DataFrame]
"""By dataset type those that would be made if their quanta were not left out, with `ASKED`."""


@dataclass(frozen=True, slots=True)
class Side:
    """A connection's datasets as one task sees them: filtered, linked, with its join keys.

    Parameters
    ----------
    frame : DataFrame
        Keys and ``_dataset``. From ``real`` on they are datasets that will not be made: position
        ``_dataset - real`` of ``asked``.
    single : bool
        No two of its rows have the same keys.
    """

    connection: InputConnection
    frame: pl.DataFrame
    keys: tuple[str, ...]
    real: int
    asked: pl.Series
    single: bool

    @property
    def required(self) -> bool:
        """Whether a quantum needs at least one."""
        return self.connection.minimum != 0

    @property
    def constrains(self) -> bool:
        """Whether it says which quanta there are."""
        return self.required and not self.connection.prerequisite

    @property
    def found(self) -> int:
        """How many there are, of those that exist or will be made."""
        return self.frame.height if not self.asked.len() else int((self.frame["_dataset"] < self.real).sum())


def make_side(state: State, task: TaskDefinition, connection: InputConnection, lost: Lost) -> Side:
    """Give what a task sees of one connection."""
    universe = state.request.universe
    frame = state.frame(connection.type)
    real, asked = frame.height, pl.Series(ASKED, [], pl.Boolean)
    if connection.type in lost:
        gone = lost[connection.type]
        asked = gone[ASKED]
        shared = [c for c in frame.columns if c in gone.columns]
        frame = pl.concat([frame.select(shared), gone.select(shared)])
    frame = frame.with_columns(pl.int_range(pl.len(), dtype=ROW).alias("_dataset"))
    linked = link(frame, task.dimensions, state.relations, universe)
    if linked is not frame and ("", "") in state.selections and connection.type not in state.planned:
        # A selection by visit says nothing about a raw until the raw is linked to its visit.
        linked = restrict(linked, state.selections["", ""], state, keep_unknown=True)
    selection = state.selections.get((task.label, connection.name))
    if selection is not None:
        linked = restrict(linked, selection, state, keep_unknown=False)
    own = state.request.pipeline.dataset_types[connection.type].dimensions
    keys = join_keys(universe, task.dimensions, linked.columns, keep=own)
    shown = [c for c in linked.columns if c in {"_dataset", *universe.expand(task.dimensions), *keys}]
    return Side(connection, linked.select(shown), keys, real, asked, set(own) <= set(keys))


def link(
    frame: pl.DataFrame, dimensions: Sequence[str], relations: Mapping[str, pl.DataFrame], universe: Universe
) -> pl.DataFrame:
    """Add dimensions of a task that relations give: the visit of an exposure.

    A relation is used where a frame has all of one side, and the task wants something of the other
    that the frame does not have.
    """
    for name, table in relations.items():
        for here, there in both_ways(universe, name):
            new = set(there) - set(frame.columns)
            if new.intersection(dimensions) and set(here) <= set(frame.columns):
                frame = _related(frame, table, [c for c in table.columns if c in frame.columns], universe)
    return frame


def both_ways(universe: Universe, name: str) -> tuple[tuple[tuple[str, ...], tuple[str, ...]], ...]:
    """Give the two sides of a relation, each as dimensions, in both orders."""
    one, other = (
        (side,) if isinstance(side, str) else tuple(side) for side in universe.relations[name].between
    )
    return (one, other), (other, one)


def _related(
    frame: pl.DataFrame, table: pl.DataFrame, on: list[str], universe: Universe
) -> pl.DataFrame:
    new = [c for c in table.columns if c in universe.dimensions and c not in on]
    (mine, known), below = pack([frame, table], on)
    if known.null_count() or known.n_unique() != known.len():
        return frame.join(table.select(*on, *new), on=on, how="inner", maintain_order="left_right")
    rows = find(mine, known, below)
    added = [table[c].gather(rows) for c in new]
    linked = frame.with_columns(added)
    return linked.filter(rows.is_not_null()) if rows.null_count() else linked
