"""The registry again, from files, records and receipts alone.

What is rebuilt is what the records and receipts of a store say, whether their files are there or not: of
a dataset whose bytes are gone the registry knows that it was committed, and `prestow.results.fsck` tells that
they are gone. Nothing in the store is changed. The order in which records are read makes no difference.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from prestow.errors import Problem, StoreError
from prestow.ingest.rebuilding_receipts import Found, find_receipts, load_named, load_receipts
from prestow.ingest.rebuilding_records import AFTER_RECEIPTS, LOADERS, Into, load_kind
from prestow.registry import Registry, StoreKind
from prestow.registry.records import record_name
from prestow.stores import Store, Walkable

Progress = Callable[[str, int, int], None]
"""Told what goes in now, and how many of how many are done."""


@dataclass(frozen=True, slots=True)
class Sources:
    """What a registry is made from: names of records by kind, receipts, and records of kinds that nobody knows."""

    records: dict[str, list[str]]
    receipts: Found
    unknown: tuple[str, ...] = ()

    @property
    def counts(self) -> dict[str, int]:
        """How many records there are of each kind."""
        return {kind: len(names) for kind, names in self.records.items() if names}


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """What making a registry again came to.

    Parameters
    ----------
    records : mapping of kind to int
        Records that went in.
    receipts : int
        How many receipts there are.
    runs : tuple of str
        Runs that have receipts.
    rows : mapping of table to int
        What the registry has now.
    problems : tuple of Problem
        Records and receipts that could not go in; the others did.
    """

    records: dict[str, int]
    receipts: int
    runs: tuple[str, ...]
    rows: dict[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "records": dict(self.records), "receipts": self.receipts, "runs": list(self.runs), "rows": dict(self.rows),
            "problems": [problem.as_dict() for problem in self.problems],
        }  # fmt: skip


def find_sources(store: Store) -> Sources:
    """List what a registry would be made from; nothing is read but names.

    Raises
    ------
    StoreError
        PST-R001 if the store cannot be listed.
    """
    if not isinstance(store, Walkable):
        raise StoreError(Problem("PST-R001", "the store cannot list its names", store.uri))
    records: dict[str, list[str]] = {kind: [] for kind in LOADERS}
    unknown: list[str] = []
    for name, _ in store.walk("_records"):
        parts = name.split("/")
        if len(parts) == 4 and parts[1] in LOADERS and name.endswith(".json"):  # noqa: PLR2004 - _records/kind/xx/key
            records[parts[1]].append(name)
        else:
            unknown.append(name)
    return Sources(records, find_receipts(store), tuple(unknown))


def rebuild(
    registry: Registry,
    store: Store,
    *,
    store_name: str = "archive",
    sources: Sources | None = None,
    progress: Progress | None = None,
) -> Rebuilt:
    """Put into a registry all that the records and receipts of a store say; what is there already stays.

    Raises
    ------
    StoreError
        If the store cannot be listed or read. What was put in until then stays, so the registry is
        not whole: the caller throws it away, or does the same again.
    """
    found = find_sources(store) if sources is None else sources
    into = Into(registry, store, store_name)
    counts: dict[str, int] = defaultdict(int)
    tell = progress or (lambda _what, _done, _total: None)
    for name in found.unknown:
        into.refuse("no record of a kind that this prestow knows", name)
    registry.register_store(store_name, store.uri, StoreKind.OUTPUT)

    def load(kind: str) -> None:
        names = found.records[kind]
        if names:
            tell(kind, 0, len(names))
            counts[kind] = load_kind(into, kind, names)

    for kind in LOADERS:
        if kind not in AFTER_RECEIPTS:
            load(kind)
    total = found.receipts.count
    load_receipts(into, found.receipts, lambda done: tell("receipts", done, total))
    for kind in AFTER_RECEIPTS:
        load(kind)
    return Rebuilt(
        dict(counts), total, tuple(found.receipts.runs), registry.counts(), tuple(into.problems)
    )  # fmt: skip


def put_back(
    registry: Registry,
    store: Store,
    datasets: Iterable[str] = (),
    receipts: Iterable[str] = (),
    *,
    store_name: str = "archive",
) -> tuple[Problem, ...]:
    """Put in what some records and receipts say, and nothing else; give what is wrong with them.

    Parameters
    ----------
    datasets : iterable of str
        Ids of raw and foreign datasets.
    receipts : iterable of str
        Names of receipts; their files were looked at by the caller.
    """
    into = Into(registry, store, store_name)
    registry.register_store(store_name, store.uri, StoreKind.OUTPUT)
    named = [record_name("registered", dataset) for dataset in datasets]
    if named:
        records = find_sources(store).records
        for kind in ("store", "dataset-type", "run", "dimension"):
            load_kind(into, kind, records[kind])
        load_kind(into, "registered", named)
    load_named(into, sorted(receipts))
    return tuple(into.problems)
