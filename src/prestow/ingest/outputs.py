"""Outputs to the registry, from receipts and files alone.

Files are listed first, then receipts are read, so that what is promoted in between never looks
unexpected. Parents go before children, batch by batch, one transaction each; of a quantum all
outputs go in, or none. Whatever interrupts it, or runs beside it, the end is the same.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from typing import Final, Self

from prestow.commit import ASIDE, DELETED, LANDING, TAKEN, receipt_names
from prestow.errors import Problem, ProjectError, StoreError
from prestow.ingest.judging import Row
from prestow.ingest.known import Known, left_over, unexpected
from prestow.ingest.levels import Checking, Level
from prestow.ingest.ordering import Order, runs_of
from prestow.ingest.portions import Portion, Reader, quantum_of
from prestow.ingest.registered import learn_type
from prestow.ingest.report import IngestReport
from prestow.ingest.rows import batch_of_portions, numbers_of
from prestow.ingest.shards import Shard
from prestow.ingest.workers import Pool, Work, can_travel
from prestow.model import DatasetType
from prestow.registry import Registry, StoreKind, put_record
from prestow.registry.batches import Inserted
from prestow.registry.columns import uuid_text
from prestow.registry.digests import OTHER_BYTES
from prestow.stores import Store, Walkable, names_below

__all__ = ["IngestReport", "Level", "Taking", "ingest_outputs"]

BATCH = 2000
"""Quanta of one transaction."""

PORTION: Final = 250
"""Quanta that are handed to a process at once."""

MANY: Final = 600
"""Quanta from which on other processes are worth their start."""


def ingest_outputs(
    registry: Registry,
    store: Store,
    *,
    runs: Sequence[str] | None = None,
    level: Level | str = Level.RECEIPT,
    store_name: str = "archive",
    progress: Callable[[int, int], None] | None = None,
    processes: int | None = None,
    shard: Shard | None = None,
    reverify: bool = False,
) -> IngestReport:
    """Promote, verify and register what the receipts of some runs commit, or of all.

    What is registered already, with its files at their names in their sizes, is not looked at again.

    Parameters
    ----------
    registry, store : Registry, Store
        Where the facts go, and where receipts and files are; the store must be able to list.
    runs : sequence of str, optional
        All that have receipts, if not given. A run without receipts is fine.
    level : Level or str
        ``receipt``: size and story of each file are its receipt's. ``full``: also its SHA-256 is
        taken anew. ``sample`` or ``sample:5%``: of such a share ``full``, of the others ``receipt``.
    store_name : str
        The name of the store in the registry.
    progress : callable, optional
        Told how many receipts of how many are done.
    processes : int, optional
        Of how many processes to make use beside this one; by default as many as there are processors,
        where there is enough to do, else none. 1 is none.
    shard : Shard, optional
        Only this part of the quanta; then unexpected files are not told.
    reverify : bool
        Look also at what is registered already.

    Raises
    ------
    StoreError
        If the store cannot be listed or read. What was taken in until then stays.
    ProjectError
        PST-G005 for a level that there is none of.
    """
    taking = Taking(
        registry, store, level=level, store_name=store_name, processes=processes, progress=progress
    )
    with taking:
        taking.take(runs, shard=shard, reverify=reverify)
        return taking.report()


@dataclass(slots=True)
class _Tally:
    """What is counted on the way."""

    counts: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    faulty: list[Problem] = field(default_factory=list)
    contradictory: list[Problem] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)  # committed paths that are not in the registry


class Taking:
    """Taking in, once or again and again with the same processes; a context.

    Parameters are those of `ingest_outputs`.
    """

    def __init__(
        self,
        registry: Registry,
        store: Store,
        *,
        level: Level | str = Level.RECEIPT,
        store_name: str = "archive",
        processes: int | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> None:
        if not isinstance(store, Walkable):
            raise StoreError(Problem("PST-R001", "the store cannot list its names", store.uri))
        self._registry = registry
        self._store: Store = store
        self._walk = store.walk
        self._names = partial(names_below, store)
        self._checking = Checking.of(level)
        self._store_name = store_name
        self._processes = processes
        self._progress = progress
        self._numbers = numbers_of(registry.universe)
        self._kinds: dict[Row, str] = {}  # what the registry says against a dataset type, or nothing
        self._tally = _Tally()
        self._runs: tuple[str, ...] = ()
        self._stack = ExitStack()
        self._pool: Pool | None = None
        self._known_runs: set[str] = set()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    def take(
        self,
        runs: Sequence[str] | None,
        *,
        shard: Shard | None = None,
        reverify: bool = False,
        files: bool = True,
        seen: set[str] | None = None,
    ) -> int:
        """Take in what is there now; give how many receipts were looked at.

        Without ``files`` no file is listed: what is unexpected is not told, and what is registered is
        not held to its size. ``seen`` are receipts that were looked at before, and are not again; those
        that are looked at now join them.
        """
        self._runs = runs = tuple(dict.fromkeys(runs_of(self._store) if runs is None else runs))
        self._tally = tally = _Tally()
        listed = {name: size for run in runs for name, size in self._walk(run)} if files else None
        names = [
            name
            for run in runs
            for name in receipt_names(self._store, run)
            if (seen is None or name not in seen) and (shard is None or quantum_of(name) in shard)
        ]
        waiting = {name.split("/", 2)[1] for name in self._names(ASIDE)}  # after receipts: see `Reader.read`
        waiting |= {n.rsplit("/", 1)[-1].partition(".")[0] for n in self._names(LANDING) if f"/{TAKEN}/" in n}
        self._begin(runs)
        known = Known(names)
        if not reverify and (names or files):
            known = left_over(self._registry, runs, self._store_name, names, listed)
        tally.states.update(known.states)
        tally.counts["present"] += known.present
        self._tell(len(names) - len(known.names), len(names))
        if known.names:
            self._take(known.names, waiting, len(names))
        if seen is not None:
            seen.update(names)
        if listed is not None and shard is None:
            tally.unexpected = self._unexpected(runs, listed, names, known)
        return len(known.names)

    def report(self) -> IngestReport:
        """Give what the last `take` came to."""
        tally = self._tally
        count = tally.counts
        return IngestReport(
            runs=self._runs, level=self._checking.level,
            verified={name: count[name] for name in ("receipt", "full") if count[name]},
            added=count["added"], present=count["present"], deleted=count["deleted"], quanta=count["quanta"],
            promoted=count["promoted"], size=count["size"], states=dict(sorted(tally.states.items())),
            refused=count["refused"], faulty=tuple(tally.faulty), contradictory=tuple(tally.contradictory), unexpected=tuple(tally.unexpected),
        )  # fmt: skip

    # --- inside ------------------------------------------------------------------------------

    def _begin(self, runs: Sequence[str]) -> None:
        """Make store and runs known, each once."""
        new = [run for run in runs if run not in self._known_runs]
        if not self._known_runs:
            self._registry.register_store(self._store_name, self._store.uri, StoreKind.OUTPUT)
        self._registry.register_runs(new)
        for run in new:
            put_record(self._store, "run", run, {"run": run})
        self._known_runs.update(new)

    def _deleted(self) -> frozenset[str]:
        recorded = {name.rsplit("/", 1)[-1][:-5] for name in self._names(DELETED)}
        return self._registry.deleted() | recorded

    def _tell(self, done: int, total: int) -> None:
        if self._progress is not None and total:
            self._progress(done, total)

    def _take(self, names: Sequence[str], waiting: set[str], total: int) -> None:
        """Judge and load some receipts."""
        order = Order(self._store, names)
        work = Work(self._store, self._checking, self._deleted(), self._numbers)
        reader = work.reader()
        self._stack.callback(reader.close)
        done = total - len(names)
        batch: list[tuple[Sequence[str], Portion]] = []
        held: list[tuple[Sequence[str], Portion]] = []
        for portion in self._judged(order.names(), len(names), waiting, work, reader):
            judged = self._agreed(*portion, waiting, reader)
            if order.too_early(judged[1].reads, judged[0]):
                held.append(judged)
                continue
            batch.append(judged)
            order.passed(judged[0])
            if sum(len(part) for part, _ in batch) >= BATCH:
                done += self._load(batch)
                batch = []
                self._tell(done, total)
        for judged in held:
            batch.append(judged)
            if sum(len(part) for part, _ in batch) >= BATCH:
                done += self._load(batch)
                batch = []
        done += self._load(batch)
        self._tell(done, total)

    def _judged(
        self, names: Iterator[str], count: int, waiting: set[str], work: Work, reader: Reader
    ) -> Iterator[tuple[Sequence[str], Portion]]:
        """Give names and outcome of portion after portion, in order."""
        size = min(PORTION, BATCH)
        portions = iter(lambda: tuple(islice(names, size)), ())
        processes = self._processes or os.cpu_count() or 1
        if processes > 1 and (count >= MANY or self._processes) and can_travel(self._store):
            with Pool(work, processes) as pool:
                yield from pool.judged(portions, waiting)
        else:
            for portion in portions:
                yield portion, reader.read(portion, waiting)

    def _agreed(
        self, names: Sequence[str], portion: Portion, waiting: set[str], reader: Reader
    ) -> tuple[Sequence[str], Portion]:
        """Learn the dataset types of a portion; where one is refused, judge it again without its quanta."""
        for kind in portion.kinds:
            if kind not in self._kinds:
                self._kinds[kind] = self._learnt(DatasetType(*kind))
        refused = {kind: what for kind in portion.kinds if (what := self._kinds[kind])}
        return names, reader.read(names, waiting, refused) if refused else portion

    def _learnt(self, kind: DatasetType) -> str:
        known = self._registry.known_type(kind.name)
        if known is not None and known.dimensions == kind.dimensions:
            return ""
        try:
            learn_type(self._registry, self._store, kind)
        except ProjectError as error:
            return error.problems[0].what
        return ""

    def _load(self, judged: Sequence[tuple[Sequence[str], Portion]]) -> int:
        """Load some portions in one transaction, and count; give how many receipts they are of."""
        portions = [portion for _, portion in judged]
        tally = self._tally
        if any(portion.quanta for portion in portions):
            batch = batch_of_portions(portions, self._store_name, self._numbers)
            inserted = self._registry.insert_datasets(batch)
            tally.counts.update(
                added=inserted.datasets,
                present=inserted.present,
                deleted=inserted.deleted,
                quanta=inserted.quanta,
            )
            tally.contradictory += _contradictory(inserted, portions)
            bad = {c.id for c in inserted.contradictory}
            tally.counts["refused"] += sum(row[0] in bad for p in portions for row in p.quanta) if bad else 0
            tally.elsewhere += (
                [row[1] for p in portions for row in p.artifacts] if bad or inserted.deleted else []
            )
        for portion in portions:
            tally.counts.update(portion.counts)
            tally.states.update(portion.states)
            tally.faulty += [Problem("PST-I003", *told) for told in portion.faulty]
            tally.contradictory += [Problem("PST-I006", *told) for told in portion.contradictory]
            tally.elsewhere += portion.paths
        return sum(len(names) for names, _ in judged)

    def _unexpected(
        self, runs: Sequence[str], files: Mapping[str, int], names: Sequence[str], known: Known
    ) -> list[str]:
        """Give the files that no receipt commits."""
        strange = unexpected(self._registry, runs, self._store_name, files, self._tally.elsewhere)
        if not strange or len(names) == len(known.names):
            return strange
        # What was deleted on purpose and is still there has a receipt that was not read again.
        work = Work(self._store, self._checking, self._deleted(), self._numbers)
        if not work.deleted:
            return strange
        left = set(known.names)
        paths = work.reader().paths(name for name in names if name not in left)
        return [name for name in strange if name not in paths]


def _contradictory(inserted: Inserted, portions: Sequence[Portion]) -> list[Problem]:
    """Give what the registry found contradictory, as problems."""
    where: dict[bytes, str] = {}
    for portion in portions if inserted.contradictory else ():
        where.update({row[0]: f"task {row[2]}, run {row[1]}, data ID {row[3]}" for row in portion.quanta})
        where.update({row[0]: row[1] for row in portion.artifacts})
    return [
        Problem("PST-I021" if c.what == OTHER_BYTES else "PST-I006", c.what, where.get(c.id, uuid_text(c.id)),
                "compare receipt, file and registry")
        for c in inserted.contradictory
    ]  # fmt: skip
