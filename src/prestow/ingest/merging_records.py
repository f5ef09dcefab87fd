"""Records of several stores into one: each is put if absent, and what stands there otherwise is named."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

from prestow.errors import ObjectNotFoundError, PrestowError, Problem, StoreError
from prestow.ingest.carrying import place_in_store
from prestow.ingest.merging_bytes import copy_object
from prestow.ingest.rebuilding_records import LOADERS
from prestow.registry.chaining import last_chains
from prestow.registry.records import put_record, read_facts, read_record
from prestow.stores import Put, Store, Walkable

Facts = Mapping[str, Any]  # Any: JSON values

LEFT = ("closed", "sandbox")
"""Kinds that speak of their own store alone: which of its receipts are packed, what was regenerated beside it."""

_SHARED = (
    "store", "dataset-type", "dimension", "relation", "skymap", "calibration", "certified", "calibration-tag", "taint",
)  # fmt: skip

_ORDER = ("store", "dataset-type", "bound", "deleted", "registered")


@dataclass(frozen=True, slots=True)
class Conflict:
    """What two sources disagree in; nothing of it was taken from the later one.

    Parameters
    ----------
    kind : str
        ``quantum``, ``input``, ``bytes``, ``run``, or the kind of a record.
    what : str
        Which dataset, run or record.
    a, b : str
        What there was before, and what the later source has, each with its store.
    name : str
        The receipt or record.
    """

    kind: str
    what: str
    a: str
    b: str
    name: str

    def as_dict(self) -> dict[str, str]:
        """Give it as plain values."""
        return {name: getattr(self, name) for name in ("kind", "what", "a", "b", "name")}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A part of a store: receipts by their names, raw and foreign datasets by their ids, and the runs of both."""

    receipts: frozenset[str]
    datasets: frozenset[str]
    runs: frozenset[str]

    def takes(self, kind: str, name: str) -> bool:
        """Say whether a record is needed for it."""
        key = unquote(name.rpartition("/")[2].removesuffix(".json"))
        if kind == "registered":
            return key in self.datasets
        if kind in ("run", "bound", "child-of", "frozen"):
            return key in self.runs
        return kind in _SHARED


@dataclass(slots=True)
class MergedRecords:
    """What merging records came to, and of each source what must not be taken because of it."""

    taken: Counter[str] = field(default_factory=Counter)
    known: Counter[str] = field(default_factory=Counter)
    conflicts: list[Conflict] = field(default_factory=list)
    problems: list[Problem] = field(default_factory=list)
    refused: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))  # source -> datasets
    runs: dict[str, set[str]] = field(
        default_factory=lambda: defaultdict(set)
    )  # source -> runs bound otherwise


def merge_records(
    sources: list[Store],
    into: Store,
    *,
    store_name: str,
    link: bool,
    dry_run: bool,
    wanted: Wanted | None,
    progress: Callable[[str, int, int], None],
) -> MergedRecords:
    """Merge the records of all sources, with the raw and foreign files that they speak of."""
    work = _Records(sources, into, store_name, link=link, dry_run=dry_run)
    for source in sources:
        names = _by_kind(source, work.found, wanted)
        done = 0
        total = sum(map(len, names.values()))
        for kind in sorted(names, key=lambda k: (_ORDER.index(k) if k in _ORDER else len(_ORDER), k)):
            for name in names[kind]:
                work.merge(source, kind, name)
                done += 1
                progress("records", done, total)
    if wanted is None:
        work.merge_chains()
    return work.found


def _by_kind(source: Store, found: MergedRecords, wanted: Wanted | None) -> dict[str, list[str]]:
    if not isinstance(source, Walkable):
        raise StoreError(Problem("PST-R001", "the store cannot list its names", source.uri))
    names: dict[str, list[str]] = defaultdict(list)
    for name, _ in source.walk("_records"):
        kind = name.split("/")[1]
        if kind in LEFT or kind == "chain":
            continue
        if kind not in LOADERS:
            what = "no record of a kind that this prestow knows"
            found.problems.append(Problem("PST-B003", what, f"{source.uri}: {name}", "find out who wrote it"))
            continue
        if wanted is None or wanted.takes(kind, name):
            names[kind].append(name)
    return names


class _Records:
    """One merge of records on its way."""

    def __init__(
        self, sources: list[Store], into: Store, store_name: str, *, link: bool, dry_run: bool
    ) -> None:
        self.sources = sources
        self.into = into
        self.store_name = store_name
        self.link = link
        self.dry_run = dry_run
        self.found = MergedRecords()
        self.planned: dict[tuple[str, str], Facts] = {}
        self.origin: dict[tuple[str, str], str] = {}

    def merge(self, source: Store, kind: str, name: str) -> None:
        """Take one record, or say what stands there."""
        facts: Facts
        try:
            key, facts = read_facts(source, name)
        except (PrestowError, ValueError, KeyError, TypeError):
            what = "it is no record"
            self.found.problems.append(
                Problem("PST-B003", what, f"{source.uri}: {name}", "find out who wrote it")
            )
            return
        if kind == "registered" and facts.get("store") == self.store_name:
            wanted = self._carried(source, key, facts)
            if wanted is None:
                self.found.refused[source.uri].add(key)
                return
            facts = wanted
        standing = self._put(kind, key, facts)
        if standing is None:
            self.found.taken["records"] += 1
            self.origin[kind, key] = source.uri
        elif self._agree(kind, standing, facts):
            self.found.known["records"] += 1
        else:
            self._refuse(source, kind, key, standing, facts, name)

    def _put(self, kind: str, key: str, facts: Facts) -> Facts | None:
        """Put a record; give the facts that stand there before it, or None if it is new."""
        known = self.planned.get((kind, key)) or _standing(self.into, kind, key)
        if known is not None:
            return known
        if self.dry_run:
            self.planned[kind, key] = facts
            return None
        return None if put_record(self.into, kind, key, facts) is Put.YES else _standing(self.into, kind, key)

    def _agree(self, kind: str, standing: Facts, facts: Facts) -> bool:
        if kind == "registered":
            return bool(standing["sha256"] == facts["sha256"])
        if kind == "dataset-type":
            return bool(standing["dimensions"] == facts["dimensions"])
        if kind == "run":
            return True
        return dict(standing) == dict(facts)

    def _refuse(self, source: Store, kind: str, key: str, standing: Facts, facts: Facts, name: str) -> None:
        differing = sorted(n for n in {*standing, *facts} if standing.get(n) != facts.get(n))
        a, b = (", ".join(f"{n} {str(one.get(n))[:60]}" for n in differing) for one in (standing, facts))
        origin = self.origin.get((kind, key), self.into.uri)
        shown = "run" if kind == "bound" else kind
        self.found.conflicts.append(Conflict(shown, key, f"{origin}: {a}", f"{source.uri}: {b}", name))
        if kind == "bound":
            self.found.runs[source.uri].add(key)
        if kind == "registered":
            self.found.refused[source.uri].add(key)

    def _carried(self, source: Store, key: str, facts: Facts) -> Facts | None:
        """Bring the bytes of a raw or foreign file; give its facts with the name that it has here."""
        standing = self.planned.get(("registered", key)) or _standing(self.into, "registered", key)
        if standing is not None:
            if standing["sha256"] == facts["sha256"] and not self.dry_run:
                self._copy(source, facts, str(standing["path"]))
            return facts
        folder = str(facts["path"]).rpartition("/")[0]
        path = place_in_store(self.into, folder, str(facts["path"]), str(facts["sha256"]))
        if source.digest(str(facts["path"])) != (facts["size"], facts["sha256"]):
            told = f"{source.uri}: the bytes of {facts['path']} are gone, or are others"
            self.found.conflicts.append(Conflict("bytes", f"{facts['type']} {key}", "not taken", told, key))
            return None
        self.found.taken["raw"] += 1
        if not self.dry_run:
            self._copy(source, facts, path)
        return {**facts, "path": path}

    def _copy(self, source: Store, facts: Facts, path: str) -> None:
        wanted = (facts["size"], facts["sha256"])
        if self.into.digest(path) != wanted and source.digest(str(facts["path"])) == wanted:
            copy_object(source, str(facts["path"]), self.into, path, link=self.link)

    def merge_chains(self) -> None:
        """Give every chain the members of all: those of the first source, then what others have besides."""
        last = [last_chains(_facts(store, "chain")) for store in (self.into, *self.sources)]
        for chain in sorted({name for chains in last for name in chains}):
            members = tuple(dict.fromkeys(run for chains in last for run in chains.get(chain, ())))
            if members == last[0].get(chain):
                continue
            self.found.taken["records"] += 1
            if self.dry_run:
                continue
            numbers = [int(f.get("number", 0)) for f in _facts(self.into, "chain") if f["chain"] == chain]
            number = max(numbers, default=0) + 1
            facts = {"chain": chain, "number": number, "members": list(members)}
            put_record(self.into, "chain", f"{chain} {number}", facts)


def _standing(store: Store, kind: str, key: str) -> Facts | None:
    try:
        return read_record(store, kind, key)
    except ObjectNotFoundError:
        return None


def _facts(store: Store, kind: str) -> Iterable[Facts]:
    if not isinstance(store, Walkable):
        return
    for name, _ in store.walk(f"_records/{kind}"):
        yield read_facts(store, name)[1]
