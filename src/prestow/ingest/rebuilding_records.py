"""Records to rows: one loader for every kind of record, in the order in which they go in.

A loader takes key and facts of all records of its kind, in any order, and gives the same rows whatever
that order was. What is put in twice is there once.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from prestow.errors import IngestError, PrestowError, Problem
from prestow.ingest.registered import even, load_registered
from prestow.model import DatasetType
from prestow.registry import Registry, StoreKind
from prestow.registry.certifying import CERTIFIED, TAGGED
from prestow.registry.chaining import last_chains
from prestow.registry.records import read_facts, record_name
from prestow.stores import Store
from prestow.stores.ahead import ahead

Facts = Mapping[str, Any]  # Any: JSON values
Records = Iterable[tuple[str, Facts]]

_MENDED = "find out who wrote it, and put it back from a copy: records are never changed"

BATCH = 5000
"""Registered datasets of one transaction."""


@dataclass(slots=True)
class Into:
    """A registry that is made again, the store whose records and receipts it is made from, and what was wrong."""

    registry: Registry
    store: Store
    store_name: str
    problems: list[Problem] = field(default_factory=list)

    def refuse(self, what: str, where: str) -> None:
        """Note a fact that cannot go in; the rest goes on."""
        self.problems.append(Problem("PST-B003", what, where, _MENDED))


Loader = Callable[[Into, Records], None]


def _stores(into: Into, records: Records) -> None:
    for _, facts in records:
        into.registry.register_store(facts["name"], facts["uri"], StoreKind(facts["kind"]))


def _dataset_types(into: Into, records: Records) -> None:
    for _, facts in records:
        kind = DatasetType(facts["name"], tuple(facts["dimensions"]), facts["format"])
        into.registry.register_dataset_type(kind)


def _runs(into: Into, records: Records) -> None:
    into.registry.register_runs(sorted({facts.get("run") or facts["name"] for _, facts in records}))


def _bound(into: Into, records: Records) -> None:
    for run, facts in records:
        into.registry.bind(run, facts)


def _child_of(into: Into, records: Records) -> None:
    for _, facts in records:
        into.registry.add_parent(facts["child"], facts["parent"])


def _chains(into: Into, records: Records) -> None:
    for chain, members in last_chains(facts for _, facts in records).items():
        into.registry.register_runs(members)
        into.registry.register_chain(chain, members)


def _removed(into: Into, records: Records) -> None:
    for _, facts in records:
        into.registry.register_run(facts["run"])
        into.registry.holdings.leave_chains(facts["run"])


def _dimensions(into: Into, records: Records) -> None:
    import pyarrow as pa

    rows: dict[str, list[Facts]] = defaultdict(list)
    for _, facts in records:
        rows[facts["element"]].append(facts["row"])
    for element, found in sorted(rows.items()):
        into.registry.insert_dimension_records(element, pa.Table.from_pylist(even(found)))


def _registered(into: Into, records: Records) -> None:
    facts = (facts for _, facts in records)
    while some := tuple(islice(facts, BATCH)):
        into.registry.register_runs(sorted({one["run"] for one in some}))
        try:
            load_registered(into.registry, some)
        except PrestowError:  # of many one is wrong: the others go in
            for one in some:
                try:
                    load_registered(into.registry, [one])
                except PrestowError as error:
                    into.refuse(error.problems[0].what, f"registered {one['id']}")


def _deleted(into: Into, records: Records) -> None:
    into.registry.restoring.delete(uuid.UUID(facts["dataset"]).bytes for _, facts in records)


def _collections(into: Into, records: Records) -> None:
    for _, facts in records:
        into.registry.certified.create(facts["collection"])


def _certified(into: Into, records: Records) -> None:
    pairs = sorted({(facts["collection"], facts["type"]) for _, facts in records})
    for collection, dataset_type in pairs:
        into.registry.certified.create(collection)
        into.registry.certified.apply(into.store, collection, dataset_type)


def _pinned(into: Into, records: Records) -> None:
    for name, facts in records:
        into.registry.certified.pin(name, facts)


def _skymaps(into: Into, records: Records) -> None:
    from prestow.registry.relating import insert_skymap
    from prestow.sky.reading import skymap_from_text

    for _, facts in records:
        skymap = skymap_from_text(facts["text"])
        if into.registry.on_sky.skymaps().get(skymap.name) != skymap.text:
            insert_skymap(into.registry, skymap)


def _relations(into: Into, records: Records) -> None:
    """Add rows of relations that are recorded, and compute those of which it is recorded that somebody asked."""
    import pyarrow as pa

    from prestow.registry.relating import relate
    from prestow.sky.reading import skymap_from_text

    rows: dict[str, list[Facts]] = defaultdict(list)
    computed: set[str | None] = set()
    for _, facts in records:
        if "computed" in facts:
            computed.add(facts["computed"])
        else:
            rows[facts["relation"]].append(facts["row"])
    for name, found in sorted(rows.items()):
        into.registry.insert_relation(name, pa.Table.from_pylist(even(found)))
    maps = into.registry.on_sky.skymaps()
    for skymap in sorted(computed - {None}, key=str):
        if skymap in maps:
            relate(into.registry, skymap_from_text(maps[skymap]))
    if None in computed:
        relate(into.registry, None)


def _tainted(into: Into, records: Records) -> None:
    last: dict[str, tuple[int, Facts]] = {}
    for key, facts in records:
        number = int(key.rpartition(".")[2])
        if number > last.get(facts["dataset"], (0, facts))[0]:
            last[facts["dataset"]] = (number, facts)
    marked = {
        uuid.UUID(dataset).bytes: str(facts["because"])
        for dataset, (_, facts) in sorted(last.items())
        if facts["tainted"]
    }
    into.registry.restoring.taint(marked)


def _frozen(into: Into, records: Records) -> None:
    into.registry.restoring.freeze(sorted({facts["collection"] for _, facts in records}))


def _findings(into: Into, records: Records) -> None:
    into.registry.restoring.find((facts["kind"], key, facts) for key, facts in records)


def _no_rows(into: Into, records: Records) -> None:
    """Take nothing: what these records say is read from the store where it is asked for."""


@dataclass(frozen=True, slots=True)
class Kind:
    """How records of a kind go in, and which facts they must have."""

    load: Loader
    facts: tuple[str, ...] = ()


LOADERS: dict[str, Kind] = {
    "store": Kind(_stores, ("name", "uri", "kind")),
    "dataset-type": Kind(_dataset_types, ("name", "dimensions", "format")),
    "run": Kind(_runs),
    "bound": Kind(_bound, ("pipeline",)),
    "child-of": Kind(_child_of, ("child", "parent")),
    "chain": Kind(_chains, ("chain", "members")),
    "removed": Kind(_removed, ("run",)),
    "deleted": Kind(_deleted, ("dataset",)),
    "dimension": Kind(_dimensions, ("element", "row")),
    "skymap": Kind(_skymaps, ("name", "text")),
    "calibration": Kind(_collections, ("collection",)),
    TAGGED: Kind(_pinned, ("collection", "label", "as_of")),
    "registered": Kind(
        _registered,
        ("type", "run", "data_id", "id", "size", "sha256", "content", "format", "store", "path"),
    ),
    "relation": Kind(_relations),
    "promised": Kind(_no_rows),
    "pixels": Kind(_no_rows),
    "closed": Kind(_no_rows),
    "unexpected": Kind(_no_rows),
    "sandbox": Kind(_no_rows),
    CERTIFIED: Kind(_certified, ("collection", "type", "datasets", "data_id", "known_begin")),
    "taint": Kind(_tainted, ("dataset", "tainted", "because")),
    "finding": Kind(_findings, ("kind",)),
    "frozen": Kind(_frozen, ("collection",)),
}
"""Kind of record -> what puts its facts in. In this order, with the receipts before `AFTER_RECEIPTS`."""

AFTER_RECEIPTS = (CERTIFIED, "taint", "finding", "frozen")
"""Kinds that speak of products: what the registry does not hold has no calibration, and what is frozen takes nothing."""


def load_kind(into: Into, kind: str, names: Iterable[str]) -> int:
    """Put all records of a kind in; give how many there are. What is none is told, and the rest goes on."""
    count = 0

    def counted() -> Iterator[tuple[str, Facts]]:
        nonlocal count
        for found in _read(into, kind, names):
            count += 1
            yield found

    try:
        LOADERS[kind].load(into, counted())
    except IngestError as error:
        into.problems += error.problems
    except (ValueError, TypeError, AttributeError) as error:
        into.refuse(f"a record says what it cannot say: {error}", f"records of kind {kind}")
    return count


def _read(into: Into, kind: str, names: Iterable[str]) -> Iterator[tuple[str, Facts]]:
    wanted = LOADERS[kind].facts

    def read(name: str) -> tuple[str, Facts] | Problem:
        try:
            key, facts = read_facts(into.store, name)
            lacking = [fact for fact in wanted if fact not in facts]
            what = f"it does not say its {', '.join(lacking)}" if lacking else ""
            if not what and record_name(kind, key) != name:
                what = "it is the record of another key than its name"
        except PrestowError as error:
            what = error.problems[0].what
        except (ValueError, KeyError, TypeError):
            what = "it is no record"
        return Problem("PST-B003", what, name, _MENDED) if what else (key, facts)

    for found in ahead(read, names):
        if isinstance(found, Problem):
            into.problems.append(found)
        else:
            yield found
