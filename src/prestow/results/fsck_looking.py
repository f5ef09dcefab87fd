"""The two looks: from what is registered to the disk, and from receipts and records to the registry."""

from __future__ import annotations

import os
import random
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.commit import DELETED as DELETED_RECORDS
from prestow.commit import RECEIPTS, read_receipt, receipt_names
from prestow.errors import PrestowError, Problem, StoreError
from prestow.registry.records import read_facts
from prestow.results.fsck_faults import (
    ABSENT,
    BYTES_GONE,
    CHANGED,
    DELETED,
    MOVED,
    PAPER_GONE,
    RETURNED,
    SIZE,
    UNREGISTERED,
    Fault,
    Sums,
)  # fmt: skip
from prestow.stores import Store, Walkable
from prestow.stores.ahead import ahead

if TYPE_CHECKING:
    from prestow.manifest import Receipt
    from prestow.registry import Registry

Progress = Callable[[str, int, int], None]

_REGISTERED = "_records/registered"


def files_of(store: Store) -> pl.DataFrame:
    """Give ``path`` and ``there`` (the size) of every file of a store that is none of prestow's own papers."""
    found = [(name, size) for name, size in _walk(store, "") if not name.startswith("_")]
    return pl.DataFrame(found, schema={"path": pl.String, "there": pl.Int64}, orient="row")


def _walk(store: Store, prefix: str) -> Sequence[tuple[str, int]]:
    if not isinstance(store, Walkable):
        raise StoreError(Problem("PST-R001", "the store cannot list its names", store.uri))
    return list(store.walk(prefix))


# --- from the registry to the disk -----------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Looked:
    """What is wrong with the places in one store, and how many digests were taken."""

    faults: list[Fault]
    summed: int = 0


def from_registry(
    known: pl.DataFrame, store: Store, name: str, sums: Sums, files: pl.DataFrame | None, tell: Progress
) -> Looked | None:
    """Look for what is registered in a store; None if the whole store is not there.

    Somebody else's store (``files`` is None) is not listed: it may hold a thousand times as much.
    """
    if not known.height:
        return Looked([])
    if files is None:
        files = _asked(store, known)
        if not files.height:
            return None
    both = known.join(files, on="path", how="left", maintain_order="left")
    single = both.filter(pl.col("member").is_null() & pl.col("there").is_not_null())
    faults = _faults(ABSENT, name, both.filter(pl.col("there").is_null()))
    faults += _faults(SIZE, name, single.filter(pl.col("there") != pl.col("size")))
    chosen = _chosen(single.filter(pl.col("there") == pl.col("size")), sums.share)
    changed = []
    digests = ahead(store.digest, chosen["path"].to_list(), chunk=4)
    for n, (sha256, digest) in enumerate(zip(chosen["sha256"], digests, strict=True), 1):
        changed.append(digest is None or digest[1] != sha256.hex())
        tell("digests", n, chosen.height)
    faults += _faults(CHANGED, name, chosen.filter(pl.Series(changed, dtype=pl.Boolean)))
    return Looked(faults, chosen.height)


def _asked(store: Store, known: pl.DataFrame) -> pl.DataFrame:
    names = known["path"].unique(maintain_order=True).to_list()
    if store.uri.startswith("file://") and not os.path.isdir(store.uri.removeprefix("file://")):
        names = []
    schema = {"path": pl.String, "there": pl.Int64}
    return pl.DataFrame({"path": names, "there": list(ahead(store.size, names))}, schema=schema).drop_nulls()


def _chosen(rows: pl.DataFrame, share: float) -> pl.DataFrame:
    """Draw a share by lot, at least one: others each time, so that in the end all were seen."""
    if share in (0.0, 1.0) or not rows.height:
        return rows if share else rows.clear()
    count = min(rows.height, max(1, round(rows.height * share)))
    return rows[sorted(random.sample(range(rows.height), count))]


def _faults(kind: str, store: str, rows: pl.DataFrame) -> list[Fault]:
    named = rows.select("path", "id", "type", "run").iter_rows()
    return [Fault(kind, store, path, _text(key), type_, run) for path, key, type_, run in named]


def _text(key: bytes) -> str:
    return str(uuid.UUID(bytes=key))


def moved(faults: Sequence[Fault], known: pl.DataFrame, store: Store, files: pl.DataFrame) -> list[Fault]:
    """Tell what is absent from what lies at another name, which nobody claims: by size first, then by digest."""
    absent = [fault.path for fault in faults if fault.kind == ABSENT]
    if not absent:
        return list(faults)
    lost = known.filter(pl.col("path").is_in(absent))
    wanted = {
        _text(key): (size, sha256.hex())
        for key, size, sha256 in lost.select("id", "size", "sha256").iter_rows()
    }
    free = files.join(known.select("path").unique(), on="path", how="anti", maintain_order="left")
    near = free.join(lost.select(there="size").unique(), on="there", how="semi", maintain_order="left")[
        "path"
    ].to_list()
    held = {digest: path for path, digest in zip(near, ahead(store.digest, near, chunk=4), strict=True)}
    return [
        replace(fault, kind=MOVED, found=held[wanted[fault.id]])
        if fault.kind == ABSENT and wanted[fault.id] in held
        else fault
        for fault in faults
    ]


# --- from the disk to the registry -----------------------------------------------------------------


@dataclass(slots=True)
class Back:
    """What receipts and records say and the registry does not, and what they claim of the disk."""

    faults: list[Fault] = field(default_factory=list)
    settled: int = 0
    gone: int = 0
    claimed: set[str] = field(default_factory=set)


def from_disk(registry: Registry, store: Store, store_name: str, files: pl.DataFrame, tell: Progress) -> Back:
    """Look for what is committed or recorded, and not registered; and for what is registered without paper."""
    back = Back()
    there = dict(files.iter_rows())
    deleted = {name.rpartition("/")[2][:-5] for name, _ in _walk(store, DELETED_RECORDS)}
    papers = _receipts(store)
    back.settled = papers.height
    settled = pl.DataFrame(registry.artifacts.settled())
    bare = pl.DataFrame(registry.artifacts.bare())
    new = papers.join(settled.select("receipt"), on="receipt", how="anti", maintain_order="left")["receipt"]
    back.faults += [
        Fault(PAPER_GONE, store_name, receipt, _text(key), run=run)
        for key, run, receipt in settled.join(papers, on="receipt", how="anti").iter_rows()
    ]
    _committed(
        back,
        store,
        store_name,
        [*new, *bare["receipt"].drop_nulls().unique()],
        set(new),
        there,
        deleted,
        bare,
    )
    _recorded(back, registry, store, store_name, there, deleted, bare)
    _deleted(back, registry, store_name, deleted)
    returned = {fault.id for fault in back.faults if fault.kind == RETURNED}
    back.gone = sum(_text(key) not in returned for key in bare["id"])
    tell("receipts", back.settled, back.settled)
    return back


def _receipts(store: Store) -> pl.DataFrame:
    runs = sorted({name.split("/")[1] for name, _ in _walk(store, RECEIPTS)})
    names = [name for run in runs for name in receipt_names(store, run)]
    return pl.DataFrame({"receipt": names}, schema={"receipt": pl.String})


def _committed(
    back: Back,
    store: Store,
    store_name: str,
    names: Sequence[str],
    new: set[str],
    there: dict[str, int],
    deleted: set[str],
    bare: pl.DataFrame,
) -> None:
    """Look at the receipts that are new to the registry, or of which something lies nowhere."""

    def read(name: str) -> Receipt | None:
        try:
            return read_receipt(store, name)
        except PrestowError:  # what is no receipt, ingest tells
            return None

    lying_nowhere = {_text(key) for key in bare["id"]}
    for name, receipt in zip(names, ahead(read, names), strict=True):
        if receipt is None:
            continue
        made = [o for o in receipt.outputs if o.state == "made" and o.id not in deleted]
        wanted = made if name in new else [o for o in made if o.id in lying_nowhere]
        if name in new and not made:
            back.faults.append(Fault(UNREGISTERED, store_name, name, receipt.quantum, run=receipt.run))
        for output in wanted:
            at_hand = _is_there(
                store, there, output.path, output.size, None if name in new else output.sha256
            )
            at_hand = at_hand or (output.aside is not None and store.size(output.aside) == output.size)
            if at_hand:
                back.claimed.add(output.path)
            if at_hand or name in new:
                kind = (UNREGISTERED if name in new else RETURNED) if at_hand else BYTES_GONE
                back.faults.append(Fault(kind, store_name, output.path, output.id, output.type, receipt.run))


def _is_there(store: Store, there: dict[str, int], path: str, size: int | None, sha256: str | None) -> bool:
    """Say whether a name has so many bytes; of what was registered once also whether it is those."""
    if there.get(path) != size:
        return False
    return sha256 is None or store.digest(path) == (size, sha256)


def _recorded(
    back: Back,
    registry: Registry,
    store: Store,
    store_name: str,
    there: dict[str, int],
    deleted: set[str],
    bare: pl.DataFrame,
) -> None:
    """Look at the records of raw and foreign files in the same way."""
    records = {
        name.rpartition("/")[2][:-5]: name for name, _ in _walk(store, _REGISTERED) if name.endswith(".json")
    }
    roots = {_text(key): run for key, run in pl.DataFrame(registry.artifacts.roots()).iter_rows()}
    nowhere = {_text(key) for key in bare.filter(pl.col("receipt").is_null())["id"]}
    back.faults += [
        Fault(PAPER_GONE, store_name, f"{_REGISTERED}/…/{key}.json", key, run=run)
        for key, run in sorted(roots.items())
        if key not in records
    ]
    asked = sorted(key for key in records if key not in deleted and (key not in roots or key in nowhere))

    def read(key: str) -> dict[str, Any] | None:  # Any: JSON values
        try:
            return read_facts(store, records[key])[1]
        except (PrestowError, ValueError):
            return None

    for key, facts in zip(asked, ahead(read, asked), strict=True):
        if facts is None:
            continue
        sha256 = facts["sha256"] if key in roots else None
        at_hand = facts["store"] != store_name or _is_there(
            store, there, facts["path"], facts["size"], sha256
        )
        if at_hand and facts["store"] == store_name:
            back.claimed.add(facts["path"])
        if at_hand or key not in roots:
            kind = (RETURNED if key in roots else UNREGISTERED) if at_hand else BYTES_GONE
            back.faults.append(Fault(kind, facts["store"], facts["path"], key, facts["type"], facts["run"]))


def _deleted(back: Back, registry: Registry, store_name: str, deleted: set[str]) -> None:
    known = registry.known(uuid.UUID(key).bytes for key in deleted)
    back.faults += [Fault(DELETED, store_name, "", key) for key in sorted(map(_text, known))]
