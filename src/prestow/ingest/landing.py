"""Landings: what jobs made whose nodes do not see the store is committed here, parents first.

An engine writes into the landing folder of a submission whenever it likes, also again and in any order. So nothing
there is a product. A *claim* says what a quantum came to; it is committed if the landed files have its digests, and
if all that it read of its own run was committed just so. Then, for each quantum:

1. its files are taken to names that the engine does not know, made durable: they are asides like any other
2. the receipt, with these asides, is put if absent
3. they are promoted

Anyone may do this at any time, several at once, and again after a kill. What is settled otherwise stays as it is, and
what cannot be committed stays in the folder and is named.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count, groupby, islice
from typing import TYPE_CHECKING, TypeVar, cast

from prestow.commit import (
    Promoted,
    deleted_name,
    promote,
    read_receipt,
    receipt_name,
    report_name,
    settle,
)
from prestow.errors import ObjectNotFoundError, Problem, StoreError
from prestow.ingest.landing_folder import Folder, make_durable, stamp_of, stone_in
from prestow.ingest.landing_parents import Parents, Producers
from prestow.ingest.ordering import Order, task_of
from prestow.manifest import REPORT_SCHEMA, Receipt, ReceiptOutput
from prestow.node.differing import put_difference
from prestow.node.outcome import in_words, put_report
from prestow.stores import Store, Walkable, check_name
from prestow.stores.ahead import THREADS, ahead
from prestow.tombstone import LARGEST

if TYPE_CHECKING:
    from typing import Any

CHUNK = 256
"""Claims of one task that are in memory at a time."""

_STATES = ("made", "declined", "lost", "blocked")
_ATTEMPT = re.compile(r"[A-Za-z0-9-]+")
_ENVIRONMENT = "_environment"

Item = TypeVar("Item")
Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class Landed:
    """What committing a landing came to.

    Parameters
    ----------
    plan : str
        Id of the plan.
    submission : int
        Number of the submission.
    states : mapping of str to int
        How many quanta were committed now, by state.
    known : int
        Quanta whose very claim was committed before.
    elsewhere : int
        Quanta that somebody else settled before; what landed of them is left.
    differing : int
        Of these, how many came to something else than what is committed.
    findings : tuple of Problem
        What was not committed, and why. It stays in the folder.
    """

    plan: str
    submission: int
    states: Mapping[str, int] = field(default_factory=dict)
    known: int = 0
    elsewhere: int = 0
    differing: int = 0
    findings: tuple[Problem, ...] = ()

    @property
    def committed(self) -> int:
        """How many quanta were committed now."""
        return sum(self.states.values())

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "plan": self.plan, "submission": self.submission, "committed": dict(self.states), "known": self.known,
            "elsewhere": self.elsewhere, "differing": self.differing, "findings": [p.as_dict() for p in self.findings],
        }  # fmt: skip


def land(
    store: Store,
    plan: str,
    submission: int,
    *,
    producers: Producers | None = None,
    threads: int = THREADS,
    progress: Callable[[int, int], object] | None = None,
    token: str = "",
) -> Landed:
    """Commit what has landed of a submission.

    Parameters
    ----------
    store : Store
        The output store.
    plan, submission : str, int
        Whose landing folder.
    producers : Producers, optional
        Who makes what, as the plan knows it: it saves looking for those who made what a part of a
        campaign reads of the rest.
    threads : int
        How many quanta are committed at the same time; they wait for the store.
    progress : callable, optional
        Told how many claims of how many were looked at.
    token : str, optional
        What nobody else calls itself who does this now; drawn by lot.

    Raises
    ------
    StoreError
        If the store cannot be listed, read or written (PST-R001, PST-R002). What was committed is, and
        the same call goes on from there.
    """
    if not isinstance(store, Walkable):
        raise StoreError(Problem("PST-R001", "this store cannot be listed", store.uri))
    folder = Folder(store, plan, submission)
    names = folder.claims()
    lander = _Lander(folder, Parents(folder, names, producers), plan, token or os.urandom(8).hex())
    tally, settled, findings = Counter[str](), set[str](), list[Problem]()
    waiting = list(Order(cast("Store", folder), names).names()) if names else []
    last, done = False, 0
    while waiting:
        later: list[str] = []
        for group in _chunks(waiting):
            claims = list(_each(lander.claim, group, threads))
            lander.parents.ask(i for c in claims if isinstance(c, Receipt) for i in lander.own(c))
            pairs = [
                (name, claim, last) for name, claim in zip(group, claims, strict=True) if claim is not None
            ]
            for (name, claim, _), told in zip(pairs, _each(lander.commit, pairs, threads), strict=True):
                if told is None:
                    later.append(name)
                    continue
                done += 1
                tally[told.what] += 1
                tally["differing"] += told.differs
                findings += told.problems
                if told.what != "refused" and isinstance(claim, Receipt):
                    settled.add(claim.quantum)
            if progress is not None:
                progress(done, len(names))
        last, waiting = len(later) == len(waiting), later
    _sweep(folder, settled)
    return Landed(
        plan, submission, {s: tally[s] for s in _STATES if tally[s]}, tally["known"], tally["elsewhere"],
        tally["differing"], tuple(findings),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Told:
    """What one claim came to: a state, ``known``, ``elsewhere`` or ``refused``."""

    what: str
    problems: tuple[Problem, ...] = ()
    differs: bool = False


class _Lander:
    """Commits claims of one folder, one by one; several threads may."""

    def __init__(self, folder: Folder, parents: Parents, plan: str, token: str) -> None:
        self.folder = folder
        self.store = folder.store
        self.parents = parents
        self.plan = plan
        self._names = (f"{token}-{n}" for n in count())

    def claim(self, name: str) -> Receipt | Problem | None:
        """Read a claim; None if it is gone: then somebody else has committed it."""
        try:
            text = self.folder.read(name).decode()
        except ObjectNotFoundError:
            return None
        except UnicodeDecodeError as error:
            return self._no_claim(name, str(error))
        try:
            claim = Receipt.from_json(text)
            wrong = _wrong_with(claim, name)
        except (ValueError, StoreError, TypeError) as error:
            return self._no_claim(name, str(error))
        if wrong:
            return self._no_claim(name, wrong)
        return claim

    def _no_claim(self, name: str, why: str) -> Problem:
        fix = "remove it, and submit again what then remains"
        return Problem("PST-I042", f"not a claim: {why}", f"{self.store.uri}: {self.folder.place(name)}", fix)

    @staticmethod
    def own(claim: Receipt) -> Iterator[Any]:
        """Give the inputs that its own run makes: of them alone it is not known yet what is committed."""
        return (given for given in claim.inputs if given.run == claim.run)

    def commit(self, item: tuple[str, Receipt | Problem, bool]) -> _Told | None:
        """Commit one claim; None if a parent is not settled yet, unless this is the last look."""
        name, claim, last = item
        if isinstance(claim, Problem):
            return _Told("refused", (claim,))
        winner = read_receipt(self.store, name)
        fresh = False
        if winner is not None and winner.state != "made":
            winner, _ = settle(self.store, winner)  # what children are committed upon must not vanish
        elif winner is None:
            told = self._read_otherwise(claim, last=last)
            if told is None or told:
                return None if told is None else self._refuse(claim, told)
            aside = self._take(claim)
            if not isinstance(aside, _Taken):
                winner = read_receipt(self.store, name)
                if winner is None:
                    return self._refuse(claim, aside)
            else:
                winner, fresh = settle(self.store, replace(claim, outputs=aside.outputs))
        self.parents.learn(winner)
        if (winner.attempt, winner.sealer) != (claim.attempt, None):
            if any(self.store.size(o.path) is None for o in winner.outputs if o.state == "made"):
                for result in promote(self.store, winner, deleted=_Deleted(self.store)):
                    if result.result is Promoted.TO_RESTORE:
                        self._put_back(claim, result.output)
            return _Told("elsewhere", differs=self._differs(claim, winner))
        results = promote(self.store, winner, deleted=() if fresh else _Deleted(self.store), fresh=fresh)
        gone = [r.output for r in results if r.result is Promoted.TO_RESTORE]
        gone = [output for output in gone if not self._put_back(claim, output)]
        if gone:
            return _Told("known", tuple(self._gone(claim, output) for output in gone))
        for result in results:
            if result.result is Promoted.DONE and str(result.output.aside).startswith(
                f"{self.folder.prefix}/"
            ):
                self.store.delete(str(result.output.aside))
        if not fresh:
            for output in winner.outputs:
                self.store.delete(self.folder.place(output.path))
        self.store.delete(self.folder.place(name))
        return _Told(winner.state if fresh else "known")

    def _read_otherwise(self, claim: Receipt, *, last: bool) -> list[Problem] | None:
        """Say which inputs are committed otherwise than they were read (PST-I021); None: wait."""
        problems = []
        for given in self.own(claim):
            agrees = self.parents.agrees(given)
            words = in_words(given.type, given.data_id)
            if agrees is None and not last:
                return None
            if agrees is None:
                what, fix = (
                    f"its input {words} is not settled",
                    "submit again: what remains of the plan is made again",
                )
                problems.append(Problem("PST-I043", what, in_words(claim.task, claim.data_id), fix))
            elif not agrees:
                what = f"its input {words} was read as {given.state}{_digest(given.sha256)}, and is committed otherwise"
                fix = "submit again: it is made again from what is committed"
                problems.append(Problem("PST-I021", what, in_words(claim.task, claim.data_id), fix))
        return problems

    def _refuse(self, claim: Receipt, problems: Sequence[Problem]) -> _Told:
        """Leave a claim; one that never can be committed says so in a report, too."""
        if any(p.code == "PST-I021" for p in problems) and "/" not in claim.job:
            failures = [{
                "quantum": claim.quantum, "task": claim.task, "data_id": dict(claim.data_id), "code": p.code,
                "message": p.what, "log_tail": [], "seconds": 0.0,
            } for p in problems]  # fmt: skip
            quantum = {
                "quantum": claim.quantum, "task": claim.task, "data_id": dict(claim.data_id), "state": "failed",
                "failures": failures,
            }  # fmt: skip
            attempt = f"{claim.attempt}-landed"
            report = {
                "schema": REPORT_SCHEMA, "job": claim.job, "plan": self.plan, "run": claim.run, "attempt": attempt,
                "host": "", "quanta": [quantum], "findings": [],
            }  # fmt: skip
            put_report(self.store, report_name(claim.job, attempt), report)
        return _Told("refused", tuple(problems))

    def _take(self, claim: Receipt) -> _Taken | list[Problem]:
        """Verify all files of a claim, then take them out of the engine's reach; or say what is wrong.

        Each name to which something is taken is used once: what was verified there stays so until it is promoted.
        """
        told = self._take_what_is_seen(claim)
        if isinstance(told, _Taken):
            return told
        self.folder.look(claim)  # another may have been faster
        return self._take_what_is_seen(claim)

    def _take_what_is_seen(self, claim: Receipt) -> _Taken | list[Problem]:
        problems: list[Problem] = []
        found: dict[int, tuple[str, object]] = {}
        outputs = list(claim.outputs)
        for k, output in enumerate(outputs):
            if output.state != "made":
                continue
            landed, wrong = self.folder.place(output.path), None
            for name in (*self.folder.taken(claim, k), landed):
                stamp = stamp_of(self.store, name)
                got = self.store.digest(name)
                if got == (output.size, output.sha256):
                    found[k] = name, stamp
                    break
                wrong = got
            else:
                problems.append(self._wrong(claim, output, landed, wrong))
        for k, (name, stamp) in found.items() if not problems else ():
            output, landed = outputs[k], self.folder.place(outputs[k].path)
            taken = name if name != landed else self._taken(claim, k, landed, stamp)
            if taken is None:
                what = f"{output.path} landed again while it was looked at"
                fix = "prestow ingest, once the workflow is over"
                problems.append(Problem("PST-I041", what, in_words(claim.task, claim.data_id), fix))
            outputs[k] = replace(output, aside=taken)
        return problems or _Taken(tuple(outputs))

    def _taken(self, claim: Receipt, k: int, landed: str, stamp: object) -> str | None:
        """Take one file that was verified; None if another one was there by then."""
        taken, output = self.folder.aside(claim, k, next(self._names)), claim.outputs[k]
        try:
            make_durable(self.store, landed)
            self.store.move(landed, taken)
        except (ObjectNotFoundError, FileNotFoundError):
            return None
        self.folder.note(taken)
        if stamp_of(self.store, taken) == stamp or self.store.digest(taken) == (output.size, output.sha256):
            return taken
        return None

    def _put_back(self, claim: Receipt, output: ReceiptOutput) -> bool:
        """Let a committed output whose bytes are gone have those that landed, if they are the same."""
        for k, own in enumerate(claim.outputs):
            if (own.path, own.size, own.sha256) != (output.path, output.size, output.sha256):
                continue
            landed = self.folder.place(own.path)
            stamp = stamp_of(self.store, landed)
            if self.store.digest(landed) != (output.size, output.sha256):
                return False
            taken = self._taken(claim, k, landed, stamp)
            if taken is None:
                return False
            self.store.move(taken, output.path)
            return True
        return False

    def _wrong(
        self, claim: Receipt, output: ReceiptOutput, landed: str, got: tuple[int, str] | None
    ) -> Problem:
        where = in_words(claim.task, claim.data_id)
        fix = "prestow ingest again once the workflow is over, or submit again what remains"
        if got is None:
            return Problem("PST-I040", f"{output.path} has not landed", where, fix)
        stone = stone_in(self.store, landed) if got[0] < LARGEST else None
        if stone is not None:
            what = f"a tombstone of another execution ({stone.state}) landed as {output.path}"
        elif got[0] != output.size:
            what = f"{output.path} landed with {got[0]:,} bytes, and its claim says {output.size:,}: torn, or of another execution"
        else:
            what = f"{output.path} landed with other bytes than its claim says: of another execution"
        return Problem("PST-I041", what, where, fix)

    def _gone(self, claim: Receipt, output: ReceiptOutput) -> Problem:
        what = f"the committed bytes of {output.path} are neither there nor landed"
        fix = "submit again: what is made again with the same bytes is put back"
        return Problem("PST-I044", what, in_words(claim.task, claim.data_id), fix)

    def _differs(self, claim: Receipt, winner: Receipt) -> bool:
        """Tell whether a claim came to something else than what is committed, and note it."""
        if {claim.state, winner.state} & {"lost", "blocked"}:
            return False  # an accident: against it any attempt is late, and none is another's twin
        mine = [o for o in claim.outputs if not o.type.endswith(_ENVIRONMENT)]
        theirs = {o.id: o.sha256 for o in winner.outputs}
        if winner.state == claim.state and all(theirs.get(o.id) == o.sha256 for o in mine):
            return False
        put_difference(self.store, claim, winner, mine)
        return True


def _wrong_with(claim: Receipt, name: str) -> str:
    """Say why a receipt is no claim of the quantum that has this name; nothing if it is one."""
    if receipt_name(claim.run, claim.task, claim.quantum) != name:
        return "its name is another quantum's"
    if claim.state not in _STATES or not _ATTEMPT.fullmatch(str(claim.attempt)) or claim.sealer:
        return "it says of no attempt what that came to"
    for output in claim.outputs:
        check_name(output.path)
        if output.path.startswith("_"):
            return f"no place of products: {output.path}"
    return ""


@dataclass(frozen=True, slots=True)
class _Taken:
    outputs: tuple[ReceiptOutput, ...]


class _Deleted:
    """The datasets under a record that says they were deleted."""

    def __init__(self, store: Store) -> None:
        self.store = store

    def __contains__(self, dataset: object) -> bool:
        return self.store.size(deleted_name(str(dataset))) is not None


def _sweep(folder: Folder, settled: set[str]) -> None:
    """Remove the tombstones of quanta that are settled: their receipts say the same."""
    if not settled:
        return
    for name, size in list(folder.others()):
        if size >= LARGEST:
            continue
        stone = stone_in(folder.store, name)
        if stone is not None and stone.quantum in settled:
            folder.store.delete(name)


def _chunks(names: Iterable[str]) -> Iterator[list[str]]:
    """Give names in groups of one task, and not too many."""
    for _, group in groupby(names, key=task_of):
        while chunk := list(islice(group, CHUNK)):
            yield chunk


def _each(act: Callable[[Item], Found], items: Sequence[Item], threads: int) -> Iterator[Found]:
    return map(act, items) if threads == 1 else ahead(act, items, threads=threads, chunk=4)


def _digest(sha256: str | None) -> str:
    return f" with sha256 {sha256[:12]}…" if sha256 else ""
