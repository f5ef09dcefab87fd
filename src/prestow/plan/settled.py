"""What of a plan is settled: its receipts, read in bulk. State of the store, never part of a plan."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from prestow.commit import receipt_name
from prestow.errors import ObjectNotFoundError, PlanRefusedError, Problem, StoreError
from prestow.manifest import RECEIPT_SCHEMA
from prestow.model import DataId, State

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.stores import Store

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Settled:
    """The receipts of a plan's quanta, by row.

    Parameters
    ----------
    states : mapping of row to State
        Only settled quanta are in it.
    texts : mapping of row to str
        Their receipts, for those asked for.
    absent : set of str
        Ids of outputs that a *made* quantum left out.
    unpromoted : tuple of int
        Made quanta of which an output is not at its planned name in its size.
    """

    states: dict[int, State] = field(default_factory=dict)
    texts: dict[int, str] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    unpromoted: tuple[int, ...] = ()


def read_settled(
    plan: Plan, store: Store, *, rows: Iterable[int] | None = None, look: bool = False, keep: bool = False
) -> Settled:
    """Read the receipts of all quanta, or of these rows.

    Parameters
    ----------
    look : bool
        Also look whether made outputs are at their planned names.
    keep : bool
        Keep the receipts' texts.

    Raises
    ------
    PlanRefusedError
        If a receipt has another planned recipe than the plan (PST-P005): the name is taken.
    StoreError
        If something that is not a receipt is at a receipt's name (PST-R001).
    """
    quanta = plan.tables["quanta"]
    wanted = range(quanta.height) if rows is None else sorted(rows)
    if rows is not None:
        quanta = quanta[list(wanted)]
    result, unpromoted, conflicts = Settled(), [], []
    run = plan.run
    columns = (quanta[name].to_list() for name in ("task", "id", "recipe"))
    for row, task, raw, recipe in zip(wanted, *columns, strict=True):
        name = receipt_name(run, task, str(uuid.UUID(bytes=raw)))
        try:
            text = store.read(name).decode()
        except ObjectNotFoundError:
            continue
        receipt = _parse(text, store, name)
        if receipt["planned_recipe"] != recipe.hex():
            conflicts.append((task, receipt, recipe.hex(), name))
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
    if conflicts:
        raise PlanRefusedError(*_conflicts(conflicts, plan.run))
    return Settled(result.states, result.texts, result.absent, tuple(unpromoted))


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


def _conflicts(found: Sequence[tuple[str, dict[str, Any], str, str]], run: str) -> list[Problem]:
    problems = [
        Problem(
            "PST-P005",
            f"{task}({DataId(receipt['data_id'])}) stands in run {run} with recipe {receipt['planned_recipe']}; "
            f"this plan would make it with recipe {recipe}",
            name,
            "plan it into another run: --run NAME",
        )
        for task, receipt, recipe, name in found[:SHOWN]
    ]
    if len(found) > SHOWN:
        problems.append(Problem("PST-P005", f"and {len(found) - SHOWN} quanta more", f"run {run}"))
    return problems
