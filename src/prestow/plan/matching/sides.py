"""What a task sees of each of its inputs: datasets, those that will not be made, and how they join."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import polars as pl

from prestow.pipeline.definition import InputConnection, TaskDefinition
from prestow.plan.choosing import narrow
from prestow.plan.frames import join_keys, restrict
from prestow.plan.keys import ROW
from prestow.plan.linking import link, select_by_relation
from prestow.plan.state import State

ASKED = "_asked"
"""Of a dataset that will not be made: whether that is what a person asked for."""

WHOLE = "_whole"
"""Of an existing dataset: taken to make an observation whole, whatever the selection says."""

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
    relations : frozenset of str
        Those that were used.
    """

    connection: InputConnection
    frame: pl.DataFrame
    keys: tuple[str, ...]
    real: int
    asked: pl.Series
    single: bool
    relations: frozenset[str] = frozenset()

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
    linked, used = link(frame, task.dimensions, state, padding=connection.padding)
    asked_for = state.selections.get(("", ""))
    if asked_for is not None:
        free = linked.filter(WHOLE) if WHOLE in linked.columns else None
        if linked is not frame:
            # A selection by visit says nothing about a raw until the raw is linked to its visit.
            linked = restrict(linked, asked_for, state, keep_unknown=True)
        if connection.type not in state.planned:
            near, more = select_by_relation(frame, asked_for, state)
            linked, used = (
                linked if near is None else linked.join(near, on="_dataset", how="semi"),
                used | more,
            )
        if free is not None:
            linked = pl.concat([linked.filter(~pl.col(WHOLE)), free]).sort("_dataset", maintain_order=True)
    if linked is not frame:
        linked = narrow(linked, state, free=WHOLE)
    selection = state.selections.get((task.label, connection.name))
    if selection is not None:
        linked = restrict(linked, selection, state, keep_unknown=False)
    own = state.request.pipeline.dataset_types[connection.type].dimensions
    keys = join_keys(universe, task.dimensions, linked.columns, keep=own)
    shown = [c for c in linked.columns if c in {"_dataset", *universe.expand(task.dimensions), *keys}]
    return Side(connection, linked.select(shown), keys, real, asked, set(own) <= set(keys), used)
