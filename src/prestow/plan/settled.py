"""What of a plan is settled, as a registry and receipts say. State of the store, never part of a plan."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import polars as pl

from prestow.commit import receipt_name, receipt_texts
from prestow.errors import PlanRefusedError, Problem, StoreError
from prestow.manifest import RECEIPT_SCHEMA
from prestow.model import DataId, State
from prestow.naming import identity
from prestow.plan.matched_ids import match_ids, words_of
from prestow.plan.receipts import worth_a_look
from prestow.plan.slices import rows_at
from prestow.plan.states import CODES, States

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    from prestow.plan import Plan
    from prestow.stores import Store

SHOWN = 10
LOOKED_AT = 10_000  # made quanta that a registry settled: each is several requests to a store


@dataclass(frozen=True, slots=True)
class _Conflict:
    """A quantum that is settled under another recipe; ``place`` says where."""

    task: str
    data_id: str
    there: str
    here: str
    place: str


class Register(Protocol):
    """What is asked of a registry; `prestow.registry.Registry` is one."""

    def settled(self, run: str) -> pa.Table:
        """Give ``id``, ``state`` and ``planned_recipe`` of the settled quanta of a run."""

    def datasets(self, types: Sequence[str], collections: Sequence[str], *, first: bool = True) -> pa.Table:
        """Give datasets, with ``id``."""


@dataclass(frozen=True, slots=True)
class Settled:
    """What is settled of a plan's quanta, by row.

    Parameters
    ----------
    states : States
        Only settled quanta are in it.
    texts : mapping of row to str
        Receipts that were read, if they were asked for.
    absent : set of str
        Ids of outputs that a *made* quantum left out, as its receipt says.
    lacking : Series
        Datasets (rows of the plan) of the same kind, as the registry says.
    unpromoted : tuple of int
        Made quanta of which an output is not at its planned name in its size.
    """

    states: States
    texts: dict[int, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    lacking: pl.Series = field(default_factory=lambda: pl.Series("dataset", [], pl.UInt32))
    unpromoted: tuple[int, ...] = ()


def read_settled(
    plan: Plan,
    store: Store,
    *,
    rows: Iterable[int] | None = None,
    look: bool = False,
    keep: bool = False,
    registry: Register | None = None,
) -> Settled:
    """Tell what is settled of all quanta, or of these rows.

    What a registry has taken in is read from it, in columns; of the rest the receipts are read.

    Parameters
    ----------
    look : bool
        Also look whether made outputs are at their planned names: where receipts are read, and of what
        a registry has taken in if that is not more than `LOOKED_AT` quanta.
    keep : bool
        Keep the receipts' texts.

    Raises
    ------
    PlanRefusedError
        If something is settled under another planned recipe than the plan's (PST-P005): the name is taken.
    StoreError
        If something that is not a receipt is at a receipt's name (PST-R001).
    """
    height = plan.document["totals"]["quanta"]
    result = Settled(States(height))
    lacking, conflicts = result.lacking, []
    made = np.zeros(0, np.int64)
    if registry is not None:
        conflicts = _read_registry(plan, registry, result.states)
        lacking = _not_registered(plan, registry, result.states)
        made = np.flatnonzero(result.states.codes == CODES[State.MADE])
    if rows is None:
        wanted = np.flatnonzero(result.states.codes == 0).astype(np.int64)
        wanted = worth_a_look(plan, store, wanted, height - len(wanted))
    else:
        wanted = np.array([row for row in sorted(rows) if not result.states.codes[row]], np.int64)
    unpromoted, others = _read_receipts(plan, store, wanted, result, look=look, keep=keep)
    conflicts += others
    if look and rows is None:
        unpromoted += _torn(plan, store, made)
    if conflicts:
        raise PlanRefusedError(*_conflicts(conflicts, plan.run))
    return Settled(result.states, result.texts, result.absent, lacking, tuple(unpromoted))


def _read_registry(plan: Plan, registry: Register, states: States) -> list[_Conflict | None]:
    """Put in what a registry says; give what it has under other recipes."""
    there = registry.settled(plan.run)
    if not there.num_rows:
        return []
    quanta = plan.tables.scan("quanta").select("id", "recipe").collect()
    ids, recipes = words_of(quanta["id"]), words_of(quanta["recipe"])
    ours, theirs = match_ids(ids, words_of(there["id"]))
    states.codes[ours] = _codes(there["state"])[theirs]
    planned, found = recipes[ours], words_of(there["planned_recipe"])[theirs]
    other = np.flatnonzero((planned[:, 0] != found[:, 0]) | (planned[:, 1] != found[:, 1]))
    if not len(other):
        return []
    shown = []
    for i in other[:SHOWN].tolist():
        row = plan.tables.scan("quanta").slice(int(ours[i]), 1).select("task", "data_id").collect()
        recipe, here = found[i].tobytes().hex(), planned[i].tobytes().hex()
        shown.append(_Conflict(row["task"][0], row["data_id"][0], recipe, here, "the registry"))
    return [*shown, *[None] * (len(other) - SHOWN)]


def _codes(states: pa.ChunkedArray) -> npt.NDArray[np.uint8]:
    """Give the codes of states; 0 for a word that is none of them."""
    encoded = states.combine_chunks().dictionary_encode()
    words = [CODES.get(word, 0) for word in encoded.dictionary.to_pylist()]
    codes: npt.NDArray[np.uint8] = np.array(words, np.uint8)[encoded.indices.to_numpy()]
    return codes


def _torn(plan: Plan, store: Store, made: npt.NDArray[np.integer]) -> list[int]:
    """Give those of the quanta that were taken in of which an output is not at its name in its size."""
    if len(made) > LOOKED_AT:
        return []
    there = Settled(States(plan.document["totals"]["quanta"]))
    unpromoted, _ = _read_receipts(plan, store, made.astype(np.int64), there, look=True, keep=False)
    return unpromoted


def _not_registered(plan: Plan, registry: Register, states: States) -> pl.Series:
    """Give optional outputs that a registry does not have though their quanta are made."""
    none = pl.Series("dataset", [], pl.UInt32)
    made = states.codes == CODES[State.MADE]
    types = sorted(o.type for t in plan.definition.tasks for o in t.outputs if o.optional)
    if not types or not made.any():
        return none
    optional = plan.tables.scan("outputs").filter("optional").select("quantum", "dataset").collect()
    optional = optional.filter(pl.Series(made[optional["quantum"].to_numpy()]))
    ids = plan.tables.scan("datasets").select("id").collect()["id"].gather(optional["dataset"])
    there = pl.DataFrame(registry.datasets(types, (plan.run,), first=False))
    known = _bytes(there["id"]) if there.height else pl.Series([], dtype=pl.Binary)
    return optional["dataset"].filter(~ids.cast(pl.Binary).is_in(known.implode()))


def _bytes(ids: pl.Series) -> pl.Series:
    if ids.dtype == pl.String:
        return ids.str.replace_all("-", "", literal=True).str.decode("hex")
    return ids.cast(pl.Binary)


def _read_receipts(
    plan: Plan, store: Store, wanted: npt.NDArray[np.int64], result: Settled, *, look: bool, keep: bool
) -> tuple[list[int], list[_Conflict | None]]:
    """Read receipts one by one: each is a file of its own."""
    unpromoted: list[int] = []
    conflicts: list[_Conflict | None] = []
    if not len(wanted):
        return unpromoted, conflicts
    quanta = rows_at(plan.tables, "quanta", wanted, ("task", "id", "recipe"))
    texts = identity.uuid_text(pl.col("id")), identity.recipe_text(pl.col("recipe"))
    columns = (column.to_list() for column in quanta.select("task", *texts))
    tasks, ids, recipes = columns
    names = [receipt_name(plan.run, task, quantum) for task, quantum in zip(tasks, ids, strict=True)]
    read = receipt_texts(store, plan.run, names)
    for row, task, recipe, (name, data) in zip(wanted.tolist(), tasks, recipes, read, strict=True):
        if data is None:
            continue
        text = data.decode()
        receipt = _parse(text, store, name)
        if receipt["planned_recipe"] != recipe:
            conflicts.append(
                _Conflict(task, json.dumps(receipt["data_id"]), receipt["planned_recipe"], recipe, name)
            )
            continue
        state = result.states[row] = State(receipt["state"])
        if keep:
            result.texts[row] = text
        if state is State.MADE:
            promoted = True
            for output in receipt["outputs"]:
                if output["state"] != "made":
                    result.absent.add(output["id"])
                elif look and promoted:
                    promoted = store.size(output["path"]) == output["size"]
            if not promoted:
                unpromoted.append(row)
    return unpromoted, conflicts


def _parse(text: str, store: Store, name: str) -> dict[str, Any]:  # Any: parsed JSON
    try:
        receipt: dict[str, Any] = json.loads(text)
        if receipt["schema"] != RECEIPT_SCHEMA:
            raise ValueError("another schema")  # noqa: TRY301 - one place says what is wrong
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError(
            Problem(
                "PST-R001",
                f"not a receipt: {error}",
                f"{store.uri}: {name}",
                "find out who wrote it; prestow never does",
            )
        ) from error
    return receipt


def _conflicts(found: Sequence[_Conflict | None], run: str) -> list[Problem]:
    problems = [
        Problem(
            "PST-P005",
            f"{one.task}({DataId.from_json(one.data_id)}) stands in run {run} with recipe {one.there}; "
            f"this plan would make it with recipe {one.here}",
            one.place,
            "plan it into another run: --run NAME",
        )
        for one in found[:SHOWN]
        if one is not None
    ]
    if len(found) > SHOWN:
        problems.append(Problem("PST-P005", f"and {len(found) - SHOWN} quanta more", f"run {run}"))
    return problems
