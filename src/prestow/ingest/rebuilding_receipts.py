"""Receipts to rows, without a look at their files: what was committed is known, wherever its bytes are now."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby, islice

from prestow.commit import RECEIPTS, each_receipt, read_receipt, receipt_names
from prestow.errors import ObjectNotFoundError, PrestowError, Problem, ProjectError, StoreError
from prestow.formats import Measuring, open_format
from prestow.ingest.rebuilding_records import Into
from prestow.ingest.rows import batch_of, numbers_of
from prestow.ingest.verifying import says_what_its_name_says
from prestow.manifest import Receipt, ReceiptOutput
from prestow.model import DatasetType
from prestow.packs import is_packed
from prestow.registry.columns import uuid_text
from prestow.stores import Store, Walkable
from prestow.stores.ahead import ahead
from prestow.stores.local import local_file

BATCH = 2000
"""Quanta of one transaction."""

Named = tuple[str, Receipt]


@dataclass(slots=True)
class Found:
    """The receipts of a store: how many, and in which order they go in."""

    count: int = 0
    runs: list[str] = field(default_factory=list)
    tasks: dict[tuple[str, str], str] = field(default_factory=dict)  # (run, task) -> the first receipt of it
    packed: set[str] = field(default_factory=set)


def find_receipts(store: Store) -> Found:
    """Count the receipts of a store, by names alone."""
    found = Found()
    if not isinstance(store, Walkable):
        raise StoreError(Problem("PST-R001", "the store cannot list its names", store.uri))
    found.runs = sorted({name.split("/")[1] for name, _ in store.walk(RECEIPTS)})
    for run in found.runs:
        if is_packed(store, run):
            found.packed.add(run)
        for name in receipt_names(store, run):
            found.tasks.setdefault((run, "" if run in found.packed else name.split("/")[2]), name)
            found.count += 1
    return found


def load_receipts(into: Into, found: Found, progress: Callable[[int], None]) -> None:
    """Put in what all receipts say, those of tasks that are read before those of tasks that read them."""
    into.registry.register_runs(found.runs)
    done = 0
    for count in _load(into, each_in_order(into.store, found, into.problems.append)):
        done += count
        progress(done)


def each_in_order(store: Store, found: Found, refuse: Callable[[Problem], object]) -> Iterator[Named]:
    """Give name and receipt of all quanta, those of tasks that are read before those of tasks that read them.

    What is no receipt is told to ``refuse`` and passed over.
    """
    for run, task in _parents_first(store, found):
        if run in found.packed:
            yield from each_receipt(store, run, wrong=lambda name, error: refuse(_problem(name, error)))
        else:
            yield from _single(store, _names(store, run, task), refuse)


def named(store: Store, names: Iterable[str], refuse: Callable[[Problem], object]) -> Iterator[Named]:
    """Give some receipts by their names, run by run."""
    for run, some in groupby(sorted(names), key=lambda name: name.split("/")[1]):
        if not is_packed(store, run):
            yield from _single(store, some, refuse)
            continue
        wanted = set(some)
        for name, receipt in each_receipt(
            store, run, wrong=lambda name, error: refuse(_problem(name, error))
        ):
            if name in wanted:
                yield name, receipt


def load_named(into: Into, names: Iterable[str]) -> None:
    """Put in what some receipts say, by their names."""
    into.registry.register_runs(sorted({name.split("/")[1] for name in names}))
    for _ in _load(into, named(into.store, names, into.problems.append)):
        pass


def _load(into: Into, receipts: Iterator[Named]) -> Iterator[int]:
    """Put receipts in, batch by batch; give how many each time."""
    deleted, numbers = into.registry.deleted(), numbers_of(into.registry.universe)
    while group := tuple(islice(receipts, BATCH)):
        good = [receipt for name, receipt in group if _fits(into, name, receipt)]
        measured = {
            output.id: metrics
            for receipt in good
            for output in receipt.outputs
            if output.state == "made" and output.id not in deleted and (metrics := _metrics(into.store, output))
        }  # fmt: skip
        batch = batch_of(good, into.store_name, deleted, numbers, measured)
        inserted = into.registry.insert_datasets(batch)
        names = {receipt.quantum: name for name, receipt in group}
        names |= {output.id: name for name, receipt in group for output in receipt.outputs}
        for one in inserted.contradictory:
            key = uuid_text(one.id)
            fix = "compare the receipts: one of two was not written by prestow"
            into.problems.append(Problem("PST-I006", one.what, names.get(key, key), fix))
        yield len(group)


def _names(store: Store, run: str, task: str) -> Iterator[str]:
    assert isinstance(store, Walkable)
    return (name for name, _ in store.walk(f"{RECEIPTS}/{run}/{task}") if name.endswith(".json"))


def _single(store: Store, names: Iterable[str], refuse: Callable[[Problem], object]) -> Iterator[Named]:
    def read(name: str) -> tuple[str, Receipt | Problem]:
        try:
            return name, read_receipt(store, name) or _problem(name, None)
        except StoreError as error:
            return name, _problem(name, error)

    for name, receipt in ahead(read, names):
        if isinstance(receipt, Problem):
            refuse(receipt)
        else:
            yield name, receipt


def _problem(name: str, error: StoreError | None) -> Problem:
    what = error.problems[0].what if error else "a receipt vanished while it was read"
    return Problem("PST-I006", what, name, "find out who wrote it; prestow never does")


def _fits(into: Into, name: str, receipt: Receipt) -> bool:
    """Say whether a receipt is what its name says and its types are known as such; learn new ones."""
    what = says_what_its_name_says(receipt, name)
    for output in () if what else receipt.outputs:
        what = what or _learn(into, output)
    if what:
        fix = "a receipt is never changed: find out who wrote it"
        into.problems.append(Problem("PST-I006", what, name, fix))
    return not what


def _learn(into: Into, output: ReceiptOutput) -> str:
    universe = into.registry.universe
    strange = [
        name for name, value in output.data_id.items()
        if name not in universe.dimensions or not isinstance(value, int if universe.dimensions[name].type == "int" else str)
    ]  # fmt: skip
    if strange:
        return f"its data ID does not fit the universe: {', '.join(strange)}"
    kind = DatasetType(output.type, tuple(sorted(output.data_id)), output.format)
    known = into.registry.known_type(kind.name)
    if known is None or known.dimensions != kind.dimensions:
        try:
            into.registry.register_dataset_type(kind)
        except ProjectError as error:
            return error.problems[0].what
    return ""


def _metrics(store: Store, output: ReceiptOutput) -> Mapping[str, float]:
    """Give the metrics that a receipt says; where it is of before they were said, those of the file, if it is there."""
    if output.metrics is not None:
        return output.metrics
    try:
        reader = open_format(output.format)
        if not isinstance(reader, Measuring):
            return {}
        with local_file(store, output.path) as path:
            return reader.inspect(path).metrics
    except (PrestowError, OSError):  # that it is gone, or damaged, is what fsck tells
        return {}


def _parents_first(store: Store, found: Found) -> Iterable[tuple[str, str]]:
    """Give runs and tasks so that what is read stands before what reads it, as the first receipt of each tells.

    So sequence numbers grow from parents to children. A run that is packed is taken as one.
    """
    makers: dict[tuple[str, str], set[tuple[str, str]]] = {}
    reads: dict[tuple[str, str], set[tuple[str, str]]] = {}
    for key, name in found.tasks.items():
        try:
            receipt = read_receipt(store, name)
        except (StoreError, ObjectNotFoundError):
            receipt = None
        reads[key] = set()
        if receipt is not None:
            reads[key] = {(i.run, i.type) for i in receipt.inputs}
            for output in receipt.outputs:
                makers.setdefault((receipt.run, output.type), set()).add(key)
    waiting = {key: {m for what in reads[key] for m in makers.get(what, ())} - {key} for key in reads}
    order: list[tuple[str, str]] = []
    while waiting:
        ready = sorted(key for key, parents in waiting.items() if not parents & waiting.keys())
        for key in ready or sorted(waiting):
            del waiting[key]
            order.append(key)
    return order
