"""Registry and disk held against each other, both ways; the files are what counts.

What is registered must lie where it is said to lie; what is committed and lies there must be registered.
Files that no receipt commits are the account's. Nothing on disk is ever changed.
"""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import polars as pl

from prestow.results.fsck_faults import (
    ABSENT,
    CHANGED,
    DELETED,
    KINDS,
    MOVED,
    SIZE,
    STORE_GONE,
    Checked,
    Fault,
    Sums,
)  # fmt: skip
from prestow.results.fsck_looking import Progress, files_of, from_disk, from_registry, moved
from prestow.stores import Store, open_store

if TYPE_CHECKING:
    from prestow.registry import Registry

__all__ = ["Checked", "Fault", "Progress", "Sums", "check", "follow"]


def check(
    registry: Registry,
    store: Store,
    *,
    store_name: str,
    sums: Sums = Sums(),  # noqa: B008 - frozen
    progress: Progress | None = None,
) -> Checked:
    """Hold a registry against its stores, and its output store against it. Nothing is changed.

    Raises
    ------
    StoreError
        PST-R001 if the output store cannot be listed.
    """
    tell = progress or (lambda _what, _done, _total: None)
    files = files_of(store)
    faults: list[Fault] = []
    registered = size = summed = 0
    claimed: set[str] = set()
    for name, (uri, _) in registry.stores().items():
        known = pl.DataFrame(registry.artifacts.places(name))
        registered += known.height
        size += int(known["size"].sum())
        own = name == store_name
        looked = from_registry(
            known, store if own else open_store(uri), name, sums, files if own else None, tell
        )
        if looked is None:
            faults.append(Fault(STORE_GONE, name, "", found=uri))
            continue
        summed += looked.summed
        if own:
            claimed = set(known["path"])
            faults += moved(looked.faults, known, store, files)
        else:
            faults += looked.faults
    back = from_disk(registry, store, store_name, files, tell)
    found = {fault.found for fault in faults}
    deleted = {fault.id for fault in back.faults if fault.kind == DELETED}
    faults = [fault for fault in faults if not fault.id or fault.id not in deleted]
    return Checked(
        sums.text, registered, size, summed, back.settled, back.gone, len(set(files["path"]) - claimed - back.claimed - found),
        tuple(sorted((*faults, *back.faults), key=lambda f: (KINDS.index(f.kind), f.store, f.path, f.id))),
    )  # fmt: skip


def follow(registry: Registry, checked: Checked) -> None:
    """Follow the files, as far as rows are only taken away or pointed elsewhere.

    What is to be taken in, ingest takes in.
    """
    by_store: dict[str, list[Fault]] = {}
    for fault in checked.faults:
        by_store.setdefault(fault.store, []).append(fault)
    for store, faults in by_store.items():
        gone = [f for f in faults if f.kind in (ABSENT, SIZE, CHANGED)]
        moved = [f for f in faults if f.kind == MOVED]
        if gone:
            registry.artifacts.forget(store, [uuid.UUID(f.id).bytes for f in gone])
        if moved:
            registry.artifacts.point(store, {uuid.UUID(f.id).bytes: f.found for f in moved})
    deleted = [f for f in checked.faults if f.kind == DELETED]
    if deleted:
        registry.delete_datasets([uuid.UUID(f.id).bytes for f in deleted])
