"""What is committed of what landed quanta read: by what was seen before, by the plan, or by looking for it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from hashlib import sha256

from prestow.commit import each_receipt, read_receipt, receipt_names
from prestow.ingest.landing_folder import Folder, stone_in
from prestow.manifest import Receipt, ReceiptInput
from prestow.tombstone import LARGEST

Producers = Callable[[Collection[str]], Mapping[str, str]]
"""Gives the receipts' names of those who make some datasets, by dataset id, as far as it knows them."""

_Key = bytes
"""16 octets: a dataset's id; or what is told of a dataset, so that many fit into memory."""


class Parents:
    """What receipts say of datasets.

    Parameters
    ----------
    folder : Folder
        Without ``producers`` tombstones are looked for there.
    names : iterable of str
        Of the claims that have landed.
    producers : Producers, optional
        Who makes what, as the plan knows it. Without it all receipts of a run are read when it is asked
        for the first time: slower, and right.
    """

    def __init__(self, folder: Folder, names: Iterable[str], producers: Producers | None) -> None:
        self._folder = folder
        self._claims = frozenset(names)
        self._producers = producers
        self._told: dict[_Key, _Key] = {}
        self._names: dict[str, str] = {}
        self._others: dict[str, Receipt] = {}
        self._looked: set[str] = set()

    def learn(self, receipt: Receipt) -> None:
        """Note what a committed receipt says of its outputs."""
        if receipt.state != "made":
            return
        for output in receipt.outputs:
            made = output.state == "made"
            sha = output.sha256 if made else None
            self._told[_id(output.id)] = _told("made" if made else "declined", sha, receipt.actual_recipe)

    def ask(self, inputs: Iterable[ReceiptInput]) -> None:
        """Find out who makes what is not known yet, for many at once."""
        unknown = {i.id: i.run for i in inputs if _id(i.id) not in self._told and i.id not in self._names}
        if not unknown:
            return
        if self._producers is not None:
            self._names.update(self._producers(unknown))
            return
        for run in sorted({*unknown.values()} - self._looked):
            self._looked.add(run)
            self._look(run)

    def _look(self, run: str) -> None:
        store = self._folder.store
        for _, receipt in each_receipt(store, run, wrong=lambda *_: None):
            self.learn(receipt)
        quanta = {name.rsplit("/", 1)[-1].removesuffix(".json"): name for name in receipt_names(store, run)}
        quanta |= {name.rsplit("/", 1)[-1].removesuffix(".json"): name for name in self._claims}
        for name, size in self._folder.others():
            stone = stone_in(store, name) if size < LARGEST else None
            if stone is not None and stone.quantum in quanta:
                self._names[stone.dataset] = quanta[stone.quantum]

    def agrees(self, given: ReceiptInput) -> bool | None:
        """Tell whether an input was read as it is committed; None if it is not settled as far as is known."""
        known = self._told.get(_id(given.id))
        if known is None and (name := self._names.get(given.id)) is not None:
            receipt = self._others.get(name) or read_receipt(self._folder.store, name)
            if receipt is not None and receipt.state != "made":
                self._others[name] = receipt
                known = _told(receipt.state, None, receipt.actual_recipe)
            elif receipt is not None:
                self.learn(receipt)
                known = self._told.get(_id(given.id)) or _told("declined", None, receipt.actual_recipe)
        if known is None:
            return None
        return known == _told(given.state, given.sha256, given.actual_recipe)


def _id(dataset: str) -> _Key:
    try:
        return bytes.fromhex(dataset.replace("-", ""))
    except ValueError:  # a made-up one
        return dataset.encode()


def _told(state: str, sha: str | None, recipe: str | None) -> _Key:
    return sha256(f"{state} {sha or '-'} {recipe or '-'}".encode()).digest()[:16]
