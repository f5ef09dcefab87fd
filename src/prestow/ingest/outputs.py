"""Outputs to the registry, from receipts and files alone.

Files are listed first, then receipts are read, so that what is promoted in between never looks
unexpected. Parents go before children, batch by batch, one transaction each; of a quantum all
outputs go in, or none. Whatever interrupts it, or runs beside it, the end is the same.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from prestow.commit import DELETED, RECEIPTS, Promoted, promote, read_receipt
from prestow.errors import Problem, ProjectError, StoreError
from prestow.ingest.registered import learn_type
from prestow.ingest.rows import batch_of
from prestow.ingest.verifying import Level, Verifier, says_what_its_name_says
from prestow.manifest import Receipt
from prestow.model import DatasetType
from prestow.notebook import counted, html_table
from prestow.registry import Registry, StoreKind, put_record
from prestow.registry.columns import uuid_text
from prestow.stores import Store, Walkable

__all__ = ["IngestReport", "Level", "ingest_outputs"]

BATCH = 2000
"""Quanta of one transaction."""

SHOWN = 10
"""Problems that a notebook shows."""


@dataclass(frozen=True, slots=True)
class IngestReport:
    """What taking outputs in came to.

    Parameters
    ----------
    runs : tuple of str
        The runs that were looked at.
    level : Level
        What was checked.
    added, present, deleted : int
        Datasets that are new; that were registered before; and deleted on purpose, which stay so.
    quanta : int
        Settled quanta that are new.
    promoted : int
        Files that had been committed but were not yet at their names.
    size : int
        Bytes of all outputs that were found good.
    states : mapping of state to int
        How the quanta of these runs were settled.
    faulty : tuple of Problem
        Outputs whose content is not what their receipt says (PST-I003); not taken in.
    contradictory : tuple of Problem
        Committed facts that disagree (PST-I006); nothing was changed for them.
    unexpected : tuple of str
        Files in the directories of these runs that no receipt commits; kept.
    """

    runs: tuple[str, ...]
    level: Level
    added: int = 0
    present: int = 0
    deleted: int = 0
    quanta: int = 0
    promoted: int = 0
    size: int = 0
    states: dict[str, int] = field(default_factory=dict)
    faulty: tuple[Problem, ...] = ()
    contradictory: tuple[Problem, ...] = ()
    unexpected: tuple[str, ...] = ()

    @property
    def problems(self) -> tuple[Problem, ...]:
        """All that is wrong."""
        return (*self.faulty, *self.contradictory)

    @property
    def counts(self) -> dict[str, int]:
        """How many datasets, quanta and files came to what."""
        return {
            "added": self.added, "present": self.present, "deleted": self.deleted, "quanta": self.quanta,
            "promoted": self.promoted, "faulty": len(self.faulty), "contradictory": len(self.contradictory),
            "unexpected": len(self.unexpected),
        }  # fmt: skip

    def __repr__(self) -> str:
        return f"<IngestReport of {', '.join(self.runs) or 'no run'}: {counted(self.counts)}>"

    def _repr_html_(self) -> str:
        caption = f"taken in from {', '.join(self.runs) or 'no run'}, checked by {self.level}"
        notes = [f"[{problem.code}] {problem.what}" for problem in self.problems[:SHOWN]]
        rows = [[name, count] for name, count in {**self.counts, "bytes": self.size}.items()]
        return html_table(["what", "count"], rows, caption=caption, notes=notes)


@dataclass(slots=True)
class _Tally:
    """What is counted on the way."""

    counts: Counter[str] = field(default_factory=Counter)
    states: Counter[str] = field(default_factory=Counter)
    faulty: list[Problem] = field(default_factory=list)
    contradictory: list[Problem] = field(default_factory=list)
    committed: set[str] = field(default_factory=set)
    measured: dict[str, Mapping[str, float]] = field(default_factory=dict)  # by dataset; of one batch


def ingest_outputs(
    registry: Registry,
    store: Store,
    *,
    runs: Sequence[str] | None = None,
    level: Level = Level.RECEIPT,
    store_name: str = "archive",
    progress: Callable[[int, int], None] | None = None,
) -> IngestReport:
    """Promote, verify and register what the receipts of some runs commit, or of all.

    Parameters
    ----------
    registry, store : Registry, Store
        Where the facts go, and where receipts and files are; the store must be able to list.
    runs : sequence of str, optional
        All that have receipts, if not given. A run without receipts is fine.
    level : Level
        `Level.RECEIPT`: size and story of each file are its receipt's. `Level.FULL`: also both
        digests are taken anew.
    store_name : str
        The name of the store in the registry.
    progress : callable, optional
        Told how many receipts of how many are done.

    Raises
    ------
    StoreError
        If the store cannot be listed or read. What was taken in until then stays.
    """
    if not isinstance(store, Walkable):
        raise StoreError(Problem("PST-R001", "the store cannot list its names", store.uri))
    if runs is None:
        runs = sorted({name.split("/")[1] for name, _ in store.walk(RECEIPTS)})
    runs = tuple(dict.fromkeys(runs))
    files = [name for run in runs for name, _ in store.walk(run)]
    names = [name for run in runs for name, _ in store.walk(f"{RECEIPTS}/{run}") if name.endswith(".json")]
    tally = _Tally()
    registry.register_store(store_name, store.uri, StoreKind.OUTPUT)
    registry.register_runs(runs)
    for run in runs:
        put_record(store, "run", run, {"run": run})
    deleted = registry.deleted() | {name.rsplit("/", 1)[-1][:-5] for name, _ in store.walk(DELETED)}
    done = 0
    with Verifier(store, level) as verifier:
        ordered = _parents_first(store, names, tally)
        while group := tuple(islice(ordered, BATCH)):
            good = [r for r in (_receipt(store, name, tally) for name in group) if r is not None]
            good = [r for r in good if _types_agree(r, registry, store, tally)]
            good = [r for r in good if _brought_home(r, store, verifier, deleted, tally)]
            _load(registry, good, store_name, deleted, tally)
            done += len(group)
            if progress is not None:
                progress(done, len(names))
    count = tally.counts
    return IngestReport(
        runs=runs, level=level, added=count["added"], present=count["present"], deleted=count["deleted"],
        quanta=count["quanta"], promoted=count["promoted"], size=count["size"], states=dict(sorted(tally.states.items())),
        faulty=tuple(tally.faulty), contradictory=tuple(tally.contradictory),
        unexpected=tuple(name for name in files if name not in tally.committed),
    )  # fmt: skip


def _parents_first(store: Store, names: Iterable[str], tally: _Tally) -> Iterator[str]:
    """Give the names of receipts so that tasks stand after those whose products they read.

    By task and not by quantum: then nothing of a receipt need be kept until its turn.
    """
    groups: dict[tuple[str, str], list[str]] = {}
    makers: dict[tuple[str, str], set[tuple[str, str]]] = {}
    reads: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for name in names:
        receipt = _read(store, name, tally)
        if receipt is None:
            continue
        key = (receipt.run, receipt.task)
        groups.setdefault(key, []).append(name)
        for output in receipt.outputs:
            makers.setdefault((receipt.run, output.type), set()).add(key)
        reads.setdefault(key, set()).update((i.run, i.type) for i in receipt.inputs)
    waiting = {key: {m for what in reads[key] for m in makers.get(what, ())} - {key} for key in groups}
    while waiting:
        ready = sorted(key for key, parents in waiting.items() if not parents & waiting.keys())
        for key in ready or sorted(waiting):  # a cycle of tasks is no pipeline's; it is taken as it comes
            del waiting[key]
            yield from groups[key]


def _read(store: Store, name: str, tally: _Tally) -> Receipt | None:
    try:
        return read_receipt(store, name)
    except StoreError as error:
        tally.contradictory += [
            Problem("PST-I006", p.what, name, "find out who wrote it; prestow never does")
            for p in error.problems
        ]
        return None


def _receipt(store: Store, name: str, tally: _Tally) -> Receipt | None:
    receipt = read_receipt(store, name)
    if receipt is None:  # it was there when names were listed, and none is ever deleted
        raise StoreError(Problem("PST-R001", "a receipt vanished while it was read", f"{store.uri}: {name}"))
    wrong = says_what_its_name_says(receipt, name)
    if wrong:
        tally.contradictory.append(
            Problem("PST-I006", wrong, name, "a receipt is never changed: find out who wrote it")
        )
        return None
    tally.states[receipt.state] += 1
    tally.committed.update(output.path for output in receipt.outputs if output.state == "made")
    return receipt


def _types_agree(receipt: Receipt, registry: Registry, store: Store, tally: _Tally) -> bool:
    """Learn the dataset types of a receipt; a type known otherwise is told."""
    for output in receipt.outputs:
        strange = [
            name for name, value in output.data_id.items()
            if name not in registry.universe.dimensions
            or not isinstance(value, int if registry.universe.dimensions[name].type == "int" else str)
        ]  # fmt: skip
        kind = DatasetType(output.type, tuple(sorted(output.data_id)), output.format)
        what = f"its data ID does not fit the universe: {', '.join(strange)}" if strange else ""
        known = None if what else registry.known_type(kind.name)
        if not what and (known is None or known.dimensions != kind.dimensions):
            try:
                learn_type(registry, store, kind)
            except ProjectError as error:
                what = error.problems[0].what
        if what:
            tally.contradictory.append(
                Problem(
                    "PST-I006",
                    what,
                    f"{output.type} of task {receipt.task}, run {receipt.run}",
                    "use one pipeline per registry, or other names",
                )
            )
            return False
    return True


def _brought_home(
    receipt: Receipt, store: Store, verifier: Verifier, deleted: frozenset[str] | set[str], tally: _Tally
) -> bool:
    """Promote what is not promoted, and verify it all; tell what is wrong."""
    outputs = [o for o in receipt.outputs if o.state == "made" and o.id not in deleted]
    if receipt.state != "made" or not outputs:
        return True
    wrong: list[Problem] = []
    if not all(verifier.looks_promoted(output) for output in outputs):
        for promotion in promote(store, receipt, deleted=deleted):
            if promotion.result is Promoted.MOVED:
                tally.counts["promoted"] += 1
            elif promotion.result is Promoted.TO_RESTORE:
                wrong.append(
                    Problem(
                        "PST-I003", "the committed bytes are neither at their name nor aside", promotion.output.path,
                        f"how they come back: prestow why {promotion.output.path}",
                    )
                )  # fmt: skip
    if not wrong:
        checked = {output.id: verifier.check(receipt, output) for output in outputs}
        wrong = [problem for one in checked.values() for problem in one.problems]
        tally.measured.update({key: one.metrics for key, one in checked.items() if one.metrics and not wrong})
    tally.faulty += wrong
    if not wrong:
        tally.counts["size"] += sum(output.size or 0 for output in outputs)
    return not wrong


def _load(
    registry: Registry,
    receipts: list[Receipt],
    store_name: str,
    deleted: frozenset[str] | set[str],
    tally: _Tally,
) -> None:
    if not receipts:
        return
    batch, left_out = batch_of(receipts, store_name, deleted, tally.measured)
    tally.measured = {}
    inserted = registry.insert_datasets(batch)
    tally.counts.update(
        added=inserted.datasets,
        present=inserted.present,
        deleted=inserted.deleted + left_out,
        quanta=inserted.quanta,
    )
    where: dict[str, Any] = {}  # Any: what to call it
    for receipt in receipts if inserted.contradictory else ():
        where[receipt.quantum] = f"task {receipt.task}, run {receipt.run}"
        where.update({output.id: output.path for output in receipt.outputs})
    tally.contradictory += [
        Problem(
            "PST-I006",
            c.what,
            where.get(uuid_text(c.id), uuid_text(c.id)),
            "compare receipt, file and registry",
        )
        for c in inserted.contradictory
    ]
