"""The names in a landing folder: claims, products under their planned paths, and what was taken out of the engine's reach."""

from __future__ import annotations

import os
from collections.abc import Iterator

from prestow.commit import TAKEN, landing_name
from prestow.errors import ObjectNotFoundError, PrestowError
from prestow.manifest import Receipt
from prestow.model.flat import flat_name, flat_path
from prestow.packs import RECEIPTS
from prestow.stores import Linkable, Store, Walkable, names_below
from prestow.tombstone import Tombstone, read_tombstone

FLAT = flat_name(f"{RECEIPTS}/")


class Folder:
    """The landing folder of one submission; an engine may still write into it.

    Names are as in the output store; where the engine's logical names are flat, the files have these.
    """

    def __init__(self, store: Store, plan: str, submission: int) -> None:
        self.store = store
        self.uri = store.uri
        self.prefix = landing_name(plan, submission)
        self._flat = False
        self._taken: dict[str, list[str]] = {}

    def claims(self) -> list[str]:
        """Give the names of all claims that have landed, sorted: those of the receipts they would be."""
        assert isinstance(self.store, Walkable)
        tree, flat = [], []
        for name in names_below(self.store, self.prefix):
            own = name[len(self.prefix) + 1 :]
            if own.startswith(f"{TAKEN}/"):
                self.note(name)
            elif own.startswith(f"{RECEIPTS}/") and own.endswith(".json"):
                tree.append(own)
            elif own.startswith(FLAT) and own.endswith(".json"):
                try:
                    flat.append(flat_path(own))
                except PrestowError:
                    continue  # nobody of ours named it so
        self._flat = bool(flat) and not tree
        return sorted(flat if self._flat else tree)

    def place(self, name: str) -> str:
        """Give the name in the store under which something landed."""
        return f"{self.prefix}/{flat_name(name) if self._flat else name}"

    def aside(self, claim: Receipt, k: int, token: str) -> str:
        """Give the name in the store to which the k-th output of a claim is taken, under a fresh token."""
        return f"{self.prefix}/{TAKEN}/{claim.quantum[:2]}/{claim.quantum}.{k}.{token}"

    def taken(self, claim: Receipt, k: int) -> list[str]:
        """Give the names to which the k-th output of a quantum was taken, by whom ever, as far as was seen."""
        return self._taken.get(f"{claim.quantum}.{k}", [])

    def look(self, claim: Receipt) -> None:
        """See what others have taken of a quantum since."""
        assert isinstance(self.store, Walkable)
        for name in names_below(self.store, f"{self.prefix}/{TAKEN}/{claim.quantum[:2]}"):
            self.note(name)

    def note(self, name: str) -> None:
        """Note that something was taken to a name."""
        known = self._taken.setdefault(name.rsplit("/", 1)[-1].rpartition(".")[0], [])
        if name not in known:
            known.append(name)

    def read(self, name: str) -> bytes:
        """Give the bytes that landed under a name."""
        return self.store.read(self.place(name))

    def others(self) -> Iterator[tuple[str, int]]:
        """Give what is there besides claims and what was taken, with sizes, under the names in the store."""
        assert isinstance(self.store, Walkable)
        for name, size in self.store.walk(self.prefix):
            if not name.startswith((self.place(f"{RECEIPTS}/"), f"{self.prefix}/{TAKEN}/")):
                yield name, size


def landings(store: Store) -> list[tuple[str, int]]:
    """Give plan and number of each submission that has something in its landing folder, in order."""
    if not isinstance(store, Walkable):
        return []
    found = set()
    for name in names_below(store, landing_name("", 0).partition("/")[0]):
        parts = name.split("/", 3)
        if len(parts) > 3 and parts[2].isdecimal():  # noqa: PLR2004 - folder, plan, number, name
            found.add((parts[1], int(parts[2])))
    return sorted(found)


def run_of_landing(store: Store, plan: str, submission: int) -> str | None:
    """Give the run of the claims that have landed of a submission; None where none has."""
    if not isinstance(store, Walkable):
        return None
    prefix = landing_name(plan, submission)
    for place in (f"{prefix}/{RECEIPTS}", prefix):
        for name in names_below(store, place):
            own = name[len(prefix) + 1 :]
            if own.startswith(FLAT):
                own = own.replace(FLAT, f"{RECEIPTS}/", 1).replace("+", "/")
            if own.startswith(f"{RECEIPTS}/"):
                return own.split("/")[1]
    return None


def stone_in(store: Store, name: str) -> Tombstone | None:
    """Give the tombstone that lies at a name in the store, if one does."""
    try:
        return read_tombstone(store.read(name))
    except ObjectNotFoundError:
        return None


def make_durable(store: Store, name: str) -> None:
    """Make the bytes durable that somebody else wrote; where a store is no file system, they are."""
    if not isinstance(store, Linkable):
        return
    descriptor = os.open(store.local_path(name), os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def stamp_of(store: Store, name: str) -> object:
    """Give what changes when a file becomes another one or is written again; None if it is not there."""
    if not isinstance(store, Linkable):
        return store.digest(name)
    try:
        status = os.stat(store.local_path(name), follow_symlinks=False)
    except OSError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns
