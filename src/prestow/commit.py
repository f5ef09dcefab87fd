"""Settle and promote: how outputs become products, exactly once.

Owns the names of receipts, asides and reports, and the four acts on them: settle, read, promote,
clean. Serves the node, the engines and ingest. Never decides what a quantum's state ought to be.

Truths: settled is for ever; a made receipt means that its bytes are at the planned name or aside;
a packed receipt counts before a single file. So a reader looks at the single file first and for a
pack then, and who has put a single file looks for a pack before it believes that it won.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from enum import StrEnum
from itertools import chain, islice
from typing import NamedTuple, TypeVar

from prestow.errors import ObjectNotFoundError, PrestowError, Problem, StoreError
from prestow.manifest import Receipt, ReceiptOutput
from prestow.packs import RECEIPTS, Packed, is_packed
from prestow.stores import Put, Store, Walkable, names_below

__all__ = [
    "ASIDE", "ATTEMPTS", "CODE", "DELETED", "DIFFERENCES", "LANDING", "RECEIPTS", "TAKEN", "Promoted", "Promotion", "aside_name", "clean",
    "code_name", "deleted_name", "difference_name", "each_receipt", "landing_name", "promote", "read_receipt", "receipt_name", "receipt_names", "receipt_texts",
    "report_name", "settle", "verifies",
]  # fmt: skip

ASIDE = "_aside"
ATTEMPTS = "_attempts"
CODE = "_code"
DIFFERENCES = "_differences"
DELETED = "_records/deleted"
LANDING = "_landing"
TAKEN = "_taken"

_WAITS = (0.0, 0.05, 0.2, 0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0)
"""Seconds between tries to read a receipt back: past the life of an NFS cache of absences."""


def receipt_name(run: str, task: str, quantum: str) -> str:
    """Give the name of a quantum's receipt: never a function of job, plan or attempt.

    Examples
    --------
    >>> receipt_name("demo", "isr", "0f3a")
    '_receipts/demo/isr/0f/0f3a.json'
    """
    return f"{RECEIPTS}/{run}/{task}/{quantum[:2]}/{quantum}.json"


def aside_name(quantum: str, attempt: str, n: int) -> str:
    """Give the name that the n-th output of an attempt has until it is promoted."""
    return f"{ASIDE}/{quantum}/{attempt}/{n}"


def report_name(job: str, attempt: str) -> str:
    """Give the name of an attempt's report."""
    return f"{ATTEMPTS}/{job}/{attempt}.json"


def difference_name(run: str, quantum: str, attempt: str) -> str:
    """Give the name of what an attempt notes that came to other content than the committed one."""
    return f"{DIFFERENCES}/{run}/{quantum}.{attempt}.json"


def code_name(sha256: str) -> str:
    """Give the name of a workflow's code, a zip known by its digest."""
    return f"{CODE}/{sha256}.zip"


def landing_name(plan: str, submission: int) -> str:
    """Give the folder in which an engine lands what the jobs of a submission made; an aside, like any other.

    Examples
    --------
    >>> landing_name("0f3a", 2)
    '_landing/0f3a/2'
    """
    return f"{LANDING}/{plan}/{submission}"


def deleted_name(dataset: str) -> str:
    """Give the name of the record that says a dataset was deleted on purpose."""
    return f"{DELETED}/{dataset[:2]}/{dataset}.json"


def read_receipt(store: Store, name: str) -> Receipt | None:
    """Give the receipt of that name, or None: then it is not settled as far as can be seen.

    Raises
    ------
    StoreError
        If something is there that is not a receipt (PST-R001): receipts are never torn, so a
        person has to look.
    """
    data = _single(store, name)
    packed = Packed.of(store, run) if (run := _run_of(name)) else None
    if packed is not None:
        data = packed.read(name) or data
    return None if data is None else _parsed(store, name, data)


def _single(store: Store, name: str) -> bytes | None:
    try:
        return store.read(name)
    except ObjectNotFoundError:
        return None


def _run_of(name: str) -> str | None:
    top, _, rest = name.partition("/")
    return rest.partition("/")[0] if top == RECEIPTS else None


def _parsed(store: Store, name: str, data: bytes) -> Receipt:
    try:
        return Receipt.from_json(data.decode())
    except ValueError as error:
        raise StoreError(
            Problem(
                "PST-R001",
                f"not a receipt: {error}",
                f"{store.uri}: {name}",
                "find out who wrote it; prestow never does",
            )
        ) from error


_AT_ONCE = 1000  # names of single files between two looks for a pack


def receipt_texts(store: Store, run: str, names: Iterable[str]) -> Iterator[tuple[str, bytes | None]]:
    """Give these names of receipts of a run with their bytes, in this order; None of what is not settled.

    As `read_receipt` for each, but with few looks for packs, and unparsed.
    """
    waiting, packed = iter(names), Packed.of(store, run)
    while group := list(islice(waiting, _AT_ONCE)):
        found = [] if packed is not None else [(name, _single(store, name)) for name in group]
        if packed is None:
            packed = Packed.of(store, run)
        if packed is not None:
            found = [(name, packed.read(name) or _single(store, name)) for name in group]
        yield from found


_Found = TypeVar("_Found")


def receipt_names(store: Store, run: str) -> Iterator[str]:
    """Give the names of all receipts of a run, sorted: those of single files and of packed ones.

    Raises
    ------
    StoreError
        If the store cannot be listed (PST-R001), or a pack is damaged.
    """

    def packed() -> Iterator[tuple[str, str]]:
        found = Packed.of(store, run)
        return ((name, name) for name in (found.names() if found else ()))

    return (name for name, _ in _in_order(store, run, lambda name: name, packed))


def each_receipt(
    store: Store, run: str, *, wrong: Callable[[str, StoreError], object] | None = None
) -> Iterator[tuple[str, Receipt]]:
    """Give name and receipt of all quanta of a run that are settled, sorted by name.

    Memory does not grow with their number.

    Parameters
    ----------
    store, run : Store, str
        Where, and of which run. One without receipts is fine.
    wrong : callable, optional
        Told the name and the error of what is there and no receipt, which is then passed over;
        without it that is raised.

    Raises
    ------
    StoreError
        If the store cannot be listed or read, or a pack is damaged (PST-R001).
    """

    def single(name: str) -> bytes | None:
        return _single(store, name)

    def packed() -> Iterator[tuple[str, bytes]]:
        found = Packed.of(store, run)
        return found.receipts() if found else iter(())

    for name, data in _in_order(store, run, single, packed):
        try:
            yield name, _parsed(store, name, data)
        except StoreError as error:
            if wrong is None:
                raise
            wrong(name, error)


def _in_order(
    store: Store,
    run: str,
    load: Callable[[str], _Found | None],
    packed: Callable[[], Iterator[tuple[str, _Found]]],
) -> Iterator[tuple[str, _Found]]:
    """Give single files and packed receipts in one order; of both of one name the packed one.

    A run may be packed while this goes on. So single files count only once a look after them has
    found no pack; from where it has found one, packed receipts go first.
    """
    if not isinstance(store, Walkable):
        raise StoreError(Problem("PST-R001", "this store cannot be listed", store.uri))
    walked = (name for name in names_below(store, f"{RECEIPTS}/{run}") if name.endswith(".json"))
    last, group = "", list[str]()
    found_pack = is_packed(store, run)
    while not found_pack:
        group = list(islice(walked, _AT_ONCE))
        found = [(name, load(name)) for name in group]
        found_pack = is_packed(store, run)
        if found_pack:
            break
        for name, item in found:
            if item is None:
                raise StoreError(
                    Problem("PST-R001", "a receipt vanished while it was read", f"{store.uri}: {name}")
                )
            yield name, item
        if not group:
            return
        last = group[-1]
    names = chain(group, walked)
    single = next(names, None)
    for known, content in packed():
        if known <= last:
            continue
        while single is not None and single < known:
            yield from _late(single, load)
            single = next(names, None)
        if single == known:
            single = next(names, None)
        yield known, content
    while single is not None:
        yield from _late(single, load)
        single = next(names, None)


def _late(name: str, load: Callable[[str], _Found | None]) -> Iterator[tuple[str, _Found]]:
    """Give a single file beside packs, whose quantum they do not have: put after its run was packed."""
    item = load(name)
    if item is not None:
        yield name, item


def settle(
    store: Store, receipt: Receipt, *, sleep: Callable[[float], object] = time.sleep
) -> tuple[Receipt, bool]:
    """Commit a receipt, and give the winner's and whether it is this one.

    Any answer but a clean yes is read back: an acknowledgement can be lost, and the refusal can
    be of one's own earlier try.

    Raises
    ------
    StoreError
        If the store neither takes the receipt nor shows one (PST-R001). It may have been
        committed nevertheless, so nothing of the attempt may be removed then.
    """
    name = receipt_name(receipt.run, receipt.task, receipt.quantum)
    data = receipt.to_json().encode()
    for wait in _WAITS:
        if wait:
            sleep(wait)
        if store.put_if_absent(name, data) is Put.YES:
            packed = Packed.of(store, receipt.run)
            body = packed.read(name) if packed is not None else None
            if body is None:
                return receipt, True
            store.delete(name)  # the winner's had this name until it was packed
            winner: Receipt | None = _parsed(store, name, body)
        else:
            winner = read_receipt(store, name)
        if winner is not None:
            return winner, (winner.attempt, winner.sealer) == (receipt.attempt, receipt.sealer)
    raise StoreError(
        Problem(
            "PST-R001",
            f"the receipt is refused but cannot be read back, after {len(_WAITS)} tries",
            f"{store.uri}: {name}",
            "see whether the store can be read and written, then run the job again",
        )
    )


class Promoted(StrEnum):
    """What promoting one output came to."""

    DONE = "done"  # the planned name had the bytes already
    MOVED = "moved"  # it has them now
    DELETED = "deleted"  # removed on purpose; stays so
    TO_RESTORE = "to_restore"  # the bytes are neither here nor aside: make them again


class Promotion(NamedTuple):
    """One made output and what promoting it came to."""

    output: ReceiptOutput
    result: Promoted


def verifies(store: Store, name: str, output: ReceiptOutput) -> bool:
    """Tell whether a name holds the bytes that an output's receipt commits to."""
    return store.size(name) == output.size and store.digest(name) == (output.size, output.sha256)


def promote(
    store: Store, receipt: Receipt, *, deleted: Container[str] = (), fresh: bool = False
) -> list[Promotion]:
    """Make every planned name hold the bytes of its receipt, from wherever they are.

    Anyone may do this, any number of times, at the same time. What else is at a planned name is
    debris and overwritten. Nothing is moved before the receipt is durable: who put it may have been
    killed before it was, and seeing it is no proof.

    Parameters
    ----------
    store : Store
        The output store.
    receipt : Receipt
        A committed one: what `settle` or `read_receipt` gave.
    deleted : container of str
        Ids of datasets under a ``deleted`` record.
    fresh : bool
        The bytes were written and committed by this very process: once moved, their size is
        looked at, but they are not read a third time.
    """
    if receipt.state != "made":
        return []
    results, durable = list[Promotion](), fresh
    for output in receipt.outputs:
        if output.state != "made":
            continue
        result = _as_it_is(store, output, deleted)
        if result is None:
            if not durable:
                settle(store, receipt)
                durable = True
            result = _moved(store, output, fresh=fresh)
        results.append(Promotion(output, result))
    return results


def _as_it_is(store: Store, output: ReceiptOutput, deleted: Container[str]) -> Promoted | None:
    """Say what an output came to that is not to be moved; None if it is."""
    if output.id in deleted:
        return Promoted.DELETED
    return Promoted.DONE if verifies(store, output.path, output) else None


def _moved(store: Store, output: ReceiptOutput, *, fresh: bool) -> Promoted:
    try:
        store.move(str(output.aside), output.path)
    except ObjectNotFoundError:
        # somebody else may have promoted it between the two looks
        return Promoted.DONE if verifies(store, output.path, output) else Promoted.TO_RESTORE
    good = store.size(output.path) == output.size if fresh else verifies(store, output.path, output)
    return Promoted.MOVED if good else Promoted.TO_RESTORE


def clean(store: Store, *, runs: Iterable[str] = ()) -> tuple[str, ...]:
    """Remove asides that nobody can need any more, and give their names.

    An aside goes only when its quantum is settled, and by another attempt or with the planned
    name verified. What is not settled stays, however old: its attempt may only be asleep. What
    has landed is an aside, too. Only quanta of these runs are looked at, or of all.
    """
    if not isinstance(store, Walkable):
        raise StoreError(Problem("PST-R001", "this store cannot be listed", store.uri))
    asides = [name for name, _ in store.walk(ASIDE)]  # first: what comes later is not looked at
    landed = list(store.walk(LANDING))
    if not asides and not landed:
        return ()
    attempts = {name: name.split("/")[1:3] for name in asides}
    attempts |= {
        n: [n.rsplit("/", 1)[-1].split(".")[0], ""] for n, _ in landed if n.split("/")[3:4] == [TAKEN]
    }
    rest = [(name, size) for name, size in landed if name not in attempts]
    owners = {name: quantum for name, size in rest if (quantum := _owner(store, name, size))}
    wanted = {quantum for quantum, _ in attempts.values()} | {*owners.values()}
    every = runs or sorted({name.split("/")[1] for name, _ in store.walk(RECEIPTS)})
    receipts = {
        quantum: name
        for run in every
        for name in receipt_names(store, run)
        if (quantum := name.rsplit("/", 1)[-1].removesuffix(".json")) in wanted
    }
    done = list(_cleaned(store, attempts, receipts))
    settled = [name for name, quantum in owners.items() if quantum in receipts]
    nameless = [name for name, _ in rest if name not in owners]
    for name in (
        *_of_settled(store, every, nameless, settled),
        *settled,
    ):  # claims last: they tell whose others are
        store.delete(name)
        done.append(name)
    return tuple(done)


def _cleaned(store: Store, attempts: Mapping[str, Sequence[str]], receipts: dict[str, str]) -> Iterator[str]:
    known: dict[str, Receipt | None] = {}
    for name, (quantum, attempt) in attempts.items():
        if quantum not in known:
            known[quantum] = read_receipt(store, receipts[quantum]) if quantum in receipts else None
        receipt = known[quantum]
        if receipt is not None and _spare(store, receipt, attempt, name):
            store.delete(name)
            yield name


def _owner(store: Store, name: str, size: int) -> str:
    """Give the quantum of a claim or a tombstone that landed; nothing for what does not say."""
    from prestow.tombstone import LARGEST, read_tombstone  # no node that sees its store needs it

    own = _path_of_landed(name)
    if own.startswith(f"{RECEIPTS}/"):
        return own.rsplit("/", 1)[-1].removesuffix(".json")
    data = _single(store, name) if size < LARGEST else None
    stone = read_tombstone(data) if data is not None else None
    return stone.quantum if stone is not None else ""


def _of_settled(
    store: Store, runs: Iterable[str], landed: Iterable[str], settled: Iterable[str]
) -> Iterator[str]:
    """Give what landed under the planned paths of settled quanta, as their claims or receipts tell these."""
    waiting: dict[str, list[str]] = {}
    for name in landed:
        waiting.setdefault(_path_of_landed(name), []).append(name)
    for name in settled if waiting else ():
        data = _single(store, name) if RECEIPTS in name else None
        try:
            claim = Receipt.from_json(data.decode()) if data is not None else None
        except ValueError:
            continue
        for output in claim.outputs if claim is not None else ():
            yield from waiting.pop(output.path, ())
    for run in runs if waiting else ():
        for _, receipt in each_receipt(store, run, wrong=lambda *_: None):
            for output in receipt.outputs:
                yield from waiting.pop(output.path, ())


def _path_of_landed(name: str) -> str:
    """Give the path in the output store of what landed under a name, also under a flat one."""
    from prestow.model.flat import flat_path  # no node needs it

    own = name.split("/", 3)[-1]
    try:
        return own if "/" in own else flat_path(own)
    except PrestowError:
        return own


def _spare(store: Store, receipt: Receipt, attempt: str, name: str) -> bool:
    if receipt.state != "made" or (attempt and receipt.attempt != attempt):
        return True
    mine = next((o for o in receipt.outputs if o.aside == name), None)
    return mine is None or verifies(store, mine.path, mine)
