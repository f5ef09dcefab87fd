"""What every engine does with receipts at the store: the loss it puts, and what is committed and not promoted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol

from prestow.commit import Promoted, deleted_name, promote, settle
from prestow.manifest import Receipt
from prestow.plan.settled import read_settled

if TYPE_CHECKING:
    from prestow.manifest import Manifest
    from prestow.plan import Plan
    from prestow.stores import Store


class Failing(Protocol):
    """How a quantum failed the last time, and how often it did."""

    @property
    def code(self) -> str:
        """The code of what went wrong."""

    @property
    def message(self) -> str:
        """What went wrong."""

    @property
    def attempt(self) -> str:
        """Of which attempt."""

    @property
    def tries(self) -> int:
        """How often it was tried."""


def put_loss(store: Store, manifest: Manifest, quantum_id: str, failure: Failing) -> Receipt:
    """Seal a quantum as lost, unless a late success was faster; give the receipt that is committed."""
    quantum = next(q for q in manifest.quanta if q.id == quantum_id)
    winner, _ = settle(
        store,
        Receipt(
            quantum=quantum.id, task=quantum.task, run=manifest.run, data_id=quantum.data_id, job=manifest.job, state="lost",
            planned_recipe=quantum.recipe, actual_recipe=None, sealer="engine", code="failed",
            reason=f"{failure.code}: {failure.message} (try {failure.tries}, attempt {failure.attempt})",
            version=manifest.code.sha256 if manifest.code else None,
        ),
    )  # fmt: skip
    promote(store, winner)
    return winner


def promote_settled(plan: Plan, store: Store, row: int) -> list[str]:
    """Promote what the receipt of a quantum commits; give the names whose bytes are nowhere."""
    text = read_settled(plan, store, rows=[row], keep=True).texts.get(row)
    found = () if text is None else promote(store, Receipt.from_json(text))
    return [
        p.output.path
        for p in found
        if p.result is Promoted.TO_RESTORE and store.size(deleted_name(p.output.id)) is None
    ]


def gone_words(names: Sequence[str]) -> tuple[str, ...]:
    """Say that products whose receipts are there are not.

    Examples
    --------
    >>> gone_words([]), gone_words(["demo/a.fits"])
    ((), ('1 product that was made is gone or changed, such as demo/a.fits: prestow why demo/a.fits',))
    """
    if not names:
        return ()
    what = "1 product that was made is" if len(names) == 1 else f"{len(names):,} products that were made are"
    return (f"{what} gone or changed, such as {names[0]}: prestow why {names[0]}",)
