"""An exhaustive model of the commit protocol that drives the real settle, promote, clean and pack.

Actors are plain functions over a store. Between any two store calls the scheduler may run any
other actor, or none ever again (a kill). An actor's state is what its store calls have answered so
far: to go one call further it is run again from its beginning on those answers, so every
interleaving is explored with the real code and without threads. Contents differ by attempt.

Mutants are the same actors with one rule of the protocol broken; each must be convicted.
"""

from __future__ import annotations

import functools
import hashlib
from dataclasses import dataclass, field, replace

import pytest

from prestow import commit, packs
from prestow.errors import ObjectNotFoundError, Problem
from prestow.ingest import landing, packing
from prestow.manifest import Receipt, ReceiptInput, ReceiptOutput
from prestow.stores import Put
from prestow.stores.memory import MemoryStore
from prestow.tombstone import tombstone_of

QUANTA = (0, 1)  # the second reads what the first makes
IDS = ("00000000-0000-5000-8000-000000000000", "11111111-0000-5000-8000-000000000000")
NAMES = tuple(commit.receipt_name("run", "task", q) for q in IDS)
PLANNED = ("run/p0", "run/p1")
INDEX = packs.index_name("run")
JUNK = b"junk of long ago"


# -- the store an actor sees ----------------------------------------------------------------------


class Pending(BaseException):
    """The next store call, of which there is no answer yet."""

    def __init__(self, *call):
        super().__init__(*call)
        self.call = call


class Absent(str):
    """The answer of a read or move of a name that is not there."""

    __slots__ = ()


class Replay:
    """A store that gives the answers known so far, then stops at the first unknown one."""

    uri = "memory://model"

    def __init__(self, answers):
        self.answers = answers
        self.at = 0

    def _ask(self, *call):
        if self.at == len(self.answers):
            raise Pending(*call)
        answer = self.answers[self.at]
        self.at += 1
        if isinstance(answer, Absent):
            raise ObjectNotFoundError(Problem("PST-R007", f"no object {answer}"))
        return answer

    def read(self, name):
        return self._ask("read", name)

    def size(self, name):
        return self._ask("size", name)

    def digest(self, name):
        return self._ask("digest", name)

    def put_if_absent(self, name, data):
        return self._ask("put_if_absent", name, data)

    def move(self, source, target):
        return self._ask("move", source, target)

    def delete(self, name):
        return self._ask("delete", name)

    def walk(self, prefix=""):
        return iter(self._ask("walk", prefix))

    def create(self, name, data):
        """Aside files are written in one go here: nobody reads half of one."""
        return self._ask("create", name, data)


# -- the actors -----------------------------------------------------------------------------------


def settle(store, receipt, mutants):
    if "no read-back" in mutants:
        answer = store.put_if_absent(NAMES[IDS.index(receipt.quantum)], receipt.to_json().encode())
        if answer is Put.YES:
            return receipt, True
        winner = commit.read_receipt(store, NAMES[IDS.index(receipt.quantum)])
        return winner or receipt, False
    if "a late attempt looks for no pack" in mutants:
        if store.put_if_absent(NAMES[IDS.index(receipt.quantum)], receipt.to_json().encode()) is Put.YES:
            return receipt, True
    return commit.settle(store, receipt, sleep=lambda seconds: None)


def product(who, q, parent):
    return f"{who}{q}<{parent}".encode()


def made(who, q, data, parent_digest):
    output = ReceiptOutput(
        f"d{q}",
        "t",
        {},
        "json",
        PLANNED[q],
        "made",
        commit.aside_name(IDS[q], who, 0),
        len(data),
        hashlib.sha256(data).hexdigest(),
        "c",
    )
    inputs = (
        () if q == 0 else (ReceiptInput("x", "d0", "t", {}, "run", "made", None, parent_digest, "P0", "P0"),)
    )
    return replace(paper(q, "made"), attempt=who, inputs=inputs, outputs=(output,))


def paper(q, state):
    return Receipt(IDS[q], "task", "run", {}, "job", state, f"P{q}", None)


def by_receipt(store, output):
    """Read as a node does: planned name, else aside, else the planned name again; verified."""
    for name in (output.path, output.aside, output.path):
        try:
            data = store.read(name)
        except ObjectNotFoundError:
            continue
        if hashlib.sha256(data).hexdigest() == output.sha256:
            return data
    return None


def attempt(store, who, mutants):
    """One execution of a job of both quanta: the steps of the node."""
    settled = {}
    own = None
    for q in QUANTA:
        receipt = commit.read_receipt(store, NAMES[q])
        if receipt is not None:
            settled[q] = receipt
            commit.promote(store, receipt)
    for q in QUANTA:
        if q in settled:
            continue
        parent, parent_digest = b"raw", ""
        if q == 1:
            if settled[0].state != "made":
                settled[1], _ = settle(store, replace(paper(1, "blocked"), attempt=who), mutants)
                continue
            if "child reads its own uncommitted parent" in mutants and own is not None:
                parent = own
            else:
                parent = by_receipt(store, settled[0].outputs[0])
                if parent is None:
                    return "input gone"
            parent_digest = hashlib.sha256(parent).hexdigest()
        data = product(who, q, hashlib.sha256(parent).hexdigest()[:4])
        if q == 0:
            own = data
        receipt = made(who, q, data, parent_digest)
        store.create(receipt.outputs[0].aside, data)
        if "direct put" in mutants:
            store.create(PLANNED[q], data)
        winner, mine = settle(store, receipt, mutants)
        if not mine:
            store.delete(receipt.outputs[0].aside)
            if "loser promotes" in mutants:
                store.create(PLANNED[q], data)
        settled[q] = winner
        commit.promote(store, winner, fresh=mine)
    return "done"


def sealer(store, mutants):
    """The engine: seals both quanta as lost, in order, at any moment."""
    for q in QUANTA:
        if "no seal" not in mutants:
            settle(store, replace(paper(q, "lost"), sealer="engine"), mutants)
    return "done"


def gather(store, mutants):
    """A consumer of both: reads receipts, then bytes by receipt; nothing while one is unsettled."""
    receipts = []
    for q in QUANTA:
        receipt = None
        if "a single file counts before a pack" in mutants:
            try:
                receipt = Receipt.from_json(store.read(NAMES[q]).decode())
            except ObjectNotFoundError:
                pass
        receipt = receipt or commit.read_receipt(store, NAMES[q])
        if receipt is None and "no seal" not in mutants:
            return "not yet"
        receipts.append(receipt)
    used = []
    for q, receipt in zip(QUANTA, receipts, strict=True):
        if receipt is None or receipt.state != "made":
            used.append(None)
        elif "blind read" in mutants:
            try:
                used.append(store.read(PLANNED[q]))
            except ObjectNotFoundError:
                return "not there"
        else:
            data = by_receipt(store, receipt.outputs[0])
            if data is None:
                return "bytes gone"
            used.append(data)
    return ("gathered", *used)


def ingester(store, mutants):
    """List files first, then read receipts; promote; verify; one row for each."""
    for q in QUANTA:
        found = list(store.walk(PLANNED[q]))
        receipt = commit.read_receipt(store, NAMES[q])
        if receipt is not None:
            results = commit.promote(store, receipt)
            if results and all(r.result is not commit.Promoted.TO_RESTORE for r in results):
                store.put_if_absent(f"_registry/{q}", store.read(PLANNED[q]))
        elif "ingest without receipts" in mutants and found:
            data = store.read(PLANNED[q])
            if data != JUNK:
                store.put_if_absent(f"_registry/{q}", data)
    return "done"


def cleaner(store, mutants):
    """Remove what nobody can need any more."""
    if "cleaning of unsettled asides" in mutants:
        for name, _ in list(store.walk("_aside")):
            quantum, who = name.split("/")[1:3]
            receipt = commit.read_receipt(store, NAMES[IDS.index(quantum)])
            if receipt is None or receipt.attempt != who:
                store.delete(name)
        return "done"
    if "dropping of debris" in mutants:
        receipts = [commit.read_receipt(store, name) for name in NAMES]
        for q in QUANTA:
            if receipts[q] is None and store.size(PLANNED[q]) is not None:
                store.delete(PLANNED[q])
        return "done"
    commit.clean(store)
    return "done"


def packer(store, mutants):
    """Close the run once all of it is settled: packs first, then the single files go."""
    if any(commit.read_receipt(store, name) is None for name in NAMES):
        return "not yet"
    if "single files go before packs count" in mutants:
        for name in NAMES:
            data = store.read(name)
            pack, body = packs.encode_pack([(name, data)], "run")
            store.put_if_absent(pack.name, body)
            store.delete(name)
        return "done"
    packing.remove_singles(store, packing.write_packs(store, "run"))
    return "done"


def engine(store, who, n, order):
    """An engine that lands one execution of a job in a folder of submission n, over whatever is there.

    The consumer was made from what the same execution made: engines know nothing of commits.
    """
    folder = commit.landing_name("plan", n)
    data = product(who, 0, hashlib.sha256(b"raw").hexdigest()[:4])
    claims = [made(who, 0, data, "")]
    files = [data, product(who, 1, hashlib.sha256(data).hexdigest()[:4])]
    claims.append(made(who, 1, files[1], claims[0].outputs[0].sha256))
    if who == "Z":  # lost in its last try, with tombstones
        claims = [replace(paper(0, "lost"), attempt=who), replace(paper(1, "blocked"), attempt=who)]
        files = [tombstone_of(claim, f"d{q}", "t", {}).to_json().encode() for q, claim in enumerate(claims)]
    for kind, q in order:
        name, content = PLANNED[q], files[q]
        if kind == "claim":
            outputs = tuple(replace(o, aside=None) for o in claims[q].outputs)
            name, content = NAMES[q], replace(claims[q], outputs=outputs).to_json().encode()
        store.create(f"{folder}/{name}", content)
    return "landed"


CLAIM_LAST = (("file", 0), ("claim", 0), ("file", 1), ("claim", 1))
CLAIMS_FIRST = (("claim", 0), ("claim", 1), ("file", 0), ("file", 1))
ONE = (("claim", 0), ("file", 0))


class Careless(landing._Lander):
    """Takes claims at their word."""

    def _take(self, claim):
        outputs = list(claim.outputs)
        for k, output in enumerate(outputs):
            aside = self.folder.aside(claim, k, next(self._names))
            try:
                self.store.move(self.folder.place(output.path), aside)
            except ObjectNotFoundError:
                return [Problem("PST-I040", "not there")]
            outputs[k] = replace(output, aside=aside)
        return landing._Taken(tuple(outputs))


class Direct(landing._Lander):
    """Moves what was landed to its planned name, and commits then."""

    def _take(self, claim):
        told = super()._take(claim)
        for output in getattr(told, "outputs", ()):
            self.store.move(output.aside, output.path)
        return told


class Orphaning(landing._Lander):
    """Commits a child whatever became of its parent."""

    def _read_otherwise(self, claim, *, last):
        return []


class Staying(landing._Lander):
    """Lets what landed be the aside, where the engine may write over it."""

    def _taken(self, claim, k, landed, stamp):
        return landed


class Shared(landing._Lander):
    """Takes to names that all landers use."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self._names = iter(["same"] * 99)


LANDERS = {
    "a landing is committed without a look at its digests": Careless,
    "promoted to the planned name before the receipt": Direct,
    "a child is committed with another parent's digest": Orphaning,
    "an aside that the engine knows": Staying,
    "an aside that two landers use": Shared,
}


def lander(store, who, n, mutants):
    """Commit what has landed, with the real code."""
    real = landing._Lander
    try:
        landing._Lander = next((LANDERS[m] for m in mutants if m in LANDERS), real)
        landed = landing.land(store, "plan", n, threads=1, token=who)
    finally:
        landing._Lander = real
    return f"committed {landed.committed}"


ACTORS = {
    "X": lambda s, m: engine(s, "X", 1, CLAIM_LAST),
    "Y": lambda s, m: engine(s, "Y", 1, CLAIMS_FIRST),
    "x": lambda s, m: engine(s, "X", 1, ONE),
    "y": lambda s, m: engine(s, "Y", 1, ONE[::-1]),
    "Z": lambda s, m: engine(s, "Z", 2, CLAIMS_FIRST),
    "W": lambda s, m: engine(s, "W", 2, CLAIMS_FIRST),
    "L": lambda s, m: lander(s, "L", 1, m),
    "M": lambda s, m: lander(s, "M", 1, m),
    "N": lambda s, m: lander(s, "N", 2, m),
    "A": lambda s, m: attempt(s, "A", m),
    "B": lambda s, m: attempt(s, "B", m),
    "R": sealer,
    "G": gather,
    "H": gather,
    "I": ingester,
    "C": cleaner,
    "P": packer,
    "Q": packer,
}


# -- the explorer ---------------------------------------------------------------------------------


@dataclass
class Explorer:
    """All states that a set of actors can reach, each one looked at."""

    who: str
    mutants: frozenset = frozenset()
    lost_acknowledgements: bool = True
    store: MemoryStore = field(default_factory=lambda: MemoryStore("memory://commit-model"))
    violations: set = field(default_factory=set)
    states: int = 0

    def __post_init__(self):
        self.nodes = []  # (actor, answers, pending call or None, result)
        self.node_of = {}
        self.worlds = []
        self.world_of = {}
        self.effects = {}
        self.steps = {}
        self.known = {}
        self.judged = set()

    def node(self, actor, answers):
        key = (actor, answers)
        if key not in self.node_of:
            try:
                call, result = None, ACTORS[actor](Replay(answers), self.mutants)
            except Pending as pending:
                call, result = pending.call, None
            self.node_of[key] = len(self.nodes)
            self.nodes.append((actor, answers, call, result))
        return self.node_of[key]

    def world(self, objects):
        key = frozenset(objects.items())
        if key not in self.world_of:
            self.world_of[key] = len(self.worlds)
            self.worlds.append(dict(objects))
            self.violations |= wrong_in(objects)
        return self.world_of[key]

    def effect(self, call, world):
        """Do one call on the real memory store: (answer, world after)."""
        key = (call, world)
        if key not in self.effects:
            operation, *arguments = call
            self.store.restore(self.worlds[world])
            answer = None
            try:
                if operation == "create":
                    with self.store.create(arguments[0]) as sink:
                        sink.write(arguments[1])
                elif operation == "walk":
                    answer = tuple(self.store.walk(*arguments))
                else:
                    answer = getattr(self.store, operation)(*arguments)
            except ObjectNotFoundError:
                answer = Absent(arguments[0])
            after = self.store.snapshot()
            for q in QUANTA:
                before = receipt_in(self.worlds[world], q)
                if before is not None and receipt_in(after, q) != before:
                    self.violations.add("a receipt was changed")
            for name in PLANNED:
                if self.committed(world, name) and after.get(name) != self.worlds[world][name]:
                    self.violations.add("a committed product was changed")
            self.effects[key] = answer, self.world(after)
        return self.effects[key]

    def successors(self, node, world):
        key = (node, world)
        if key not in self.steps:
            actor, answers, call, _ = self.nodes[node]
            found = []
            if call is not None:
                answer, after = self.effect(call, world)
                found.append((self.node(actor, (*answers, answer)), after))
                if call[0] == "put_if_absent" and answer is Put.YES and self.lost_acknowledgements:
                    # done, but the answer is lost, or is that of a repeated request
                    found.append((self.node(actor, (*answers, Put.EXISTS)), after))
                    if Put.UNKNOWN not in answers:
                        found.append((self.node(actor, (*answers, Put.UNKNOWN)), after))
                        found.append((self.node(actor, (*answers, Put.UNKNOWN)), world))
            self.steps[key] = found
        return self.steps[key]

    def stable(self, call, world):
        """Whether a call commutes with all that others may do: then it is done at once, alone.

        That a receipt, and a planned name with committed bytes, never change is itself looked at
        in `effect`; until the first such change the order of these calls cannot matter.
        """
        operation, name = call[:2]
        objects = self.worlds[world]
        if name == INDEX:
            return name in objects or not {"P", "Q"} & set(self.who)
        if operation in ("read", "size", "digest", "put_if_absent") and name in NAMES:
            return name in objects and not {"P", "Q"} & set(self.who)
        if name.endswith(".pack"):
            return operation in ("read", "digest") and INDEX in objects
        if operation in ("read", "size", "digest") and name in PLANNED:
            return self.committed(world, name)
        return operation == "create" and name.startswith("_aside") and "C" not in self.who

    def committed(self, world, name):
        key = (world, name)
        if key not in self.known:
            q = PLANNED.index(name)
            receipt = receipt_in(self.worlds[world], q)
            self.known[key] = (
                receipt is not None
                and receipt.state == "made"
                and self.worlds[world].get(name) == bytes_of(self.worlds[world], q)
            )
        return self.known[key]

    def run(self, limit=400_000, *, until_convicted=False):
        start = (self.world({PLANNED[1]: JUNK}), *(self.node(actor, ()) for actor in self.who))
        seen, todo = {start}, [start]
        while todo:
            state = todo.pop()
            self.states += 1
            assert self.states <= limit, "the model has become too large"
            world, *nodes = state
            ended = tuple(n for n in nodes if self.nodes[n][2] is None)
            if ended and (world, ended) not in self.judged:
                self.judged.add((world, ended))
                self.judge(world, ended)
            if self.violations and until_convicted:
                break
            active = [(i, n) for i, n in enumerate(nodes) if self.nodes[n][2] is not None]
            alone = next(((i, n) for i, n in active if self.stable(self.nodes[n][2], world)), None)
            for i, node in [alone] if alone else active:
                for next_node, after in self.successors(node, world):
                    new = (after, *nodes[:i], next_node, *nodes[i + 1 :])
                    if new not in seen:
                        seen.add(new)
                        todo.append(new)
        return self

    def judge(self, world, nodes):
        """Look at what actors have come to, besides what lies in the store."""
        objects = self.worlds[world]
        gathered = []
        for node in nodes:
            actor, _, call, result = self.nodes[node]
            if call is not None:
                continue
            if actor in "AB" and result == "done":
                for q in QUANTA:
                    receipt = receipt_in(objects, q)
                    if receipt is None:
                        self.violations.add("an attempt ended well and left a quantum unsettled")
                    elif receipt.state == "made" and objects.get(PLANNED[q]) != bytes_of(objects, q):
                        self.violations.add("an attempt ended well and the product is not at its name")
            if actor in "AB" and result == "input gone":
                self.violations.add("an attempt found the bytes of a committed input nowhere")
            if isinstance(result, tuple):
                gathered.append(result[1:])
                for q, data in enumerate(result[1:]):
                    receipt = receipt_in(objects, q)
                    state = receipt.state if receipt else None
                    if (state == "made") != (data is not None) or (
                        data is not None and hashlib.sha256(data).hexdigest() != receipt.outputs[0].sha256
                    ):
                        self.violations.add("a gather used another set than the settled one")
            if result == "bytes gone":
                self.violations.add("a gather found the bytes of a committed input nowhere")
        if len(set(gathered)) > 1:
            self.violations.add("a gather saw another set on its second try")


@functools.cache
def parsed(data):
    return Receipt.from_json(data.decode())


class Objects(dict):
    """Names and bytes that can be read as a store's."""

    uri = "memory://model"

    def size(self, name):
        return len(self[name]) if name in self else None

    def read(self, name):
        return self[name]


@functools.cache
def packed_in(found):
    return dict(packs.Packed.of(Objects(found), "run").receipts())


def receipt_in(objects, q):
    """Give what is settled: by the pack, if its index is there, else by a single file."""
    data = objects.get(NAMES[q])
    if INDEX in objects:
        found = frozenset((n, d) for n, d in objects.items() if n.startswith("_receipts/run/_packed/"))
        data = packed_in(found).get(NAMES[q], data)
    return None if data is None else parsed(data)


def bytes_of(objects, q):
    receipt = receipt_in(objects, q)
    for name in (receipt.outputs[0].path, receipt.outputs[0].aside):
        data = objects.get(name)
        if data is not None and hashlib.sha256(data).hexdigest() == receipt.outputs[0].sha256:
            return data
    return None


def wrong_in(objects):
    """The two truths, and what follows from them, in one state of the store."""
    found = set()
    receipts = [receipt_in(objects, q) for q in QUANTA]
    for q in QUANTA:
        receipt = receipts[q]
        committed = bytes_of(objects, q) if receipt and receipt.state == "made" else None
        if receipt and receipt.state == "made" and committed is None:
            found.add("committed bytes exist nowhere")
        if objects.get(PLANNED[q], JUNK) not in (JUNK, committed):
            found.add("a planned name holds bytes that no receipt committed")
        row = objects.get(f"_registry/{q}")
        if row is not None and row != committed:
            found.add("the registry holds bytes that no receipt committed")
    if receipts[1] and receipts[1].state == "made":
        parent = receipts[0].outputs[0].sha256 if receipts[0] and receipts[0].state == "made" else None
        if receipts[1].inputs[0].sha256 != parent:
            found.add("a child was committed with a parent that was not")
    return found


CONFIGURATIONS = {  # and whether acknowledgements may be lost
    "AB": True,
    "ARGH": True,
    "ARC": True,
    "ARI": True,
    "AC": True,
    "AI": True,
    "ARIC": False,
    "ABG": False,
    "ABC": False,
    "ABI": False,
    "AP": True,
    "ARPG": False,
    "APC": False,
    "ABP": False,
    "APQ": False,
    # landings: one execution, two in one folder, a late one in another folder, with all that goes on beside them
    "xLR": True,
    "xLP": True,
    "xLM": False,
    "xyLC": False,
    "XRL": True,
    "XLC": False,
    "XLI": False,
    "AXL": False,
    "XGLR": False,
    "XZLN": False,
}

MUTANTS = {
    "no read-back": ("A", "AB"),
    "loser promotes": ("AB",),
    "direct put": ("A", "AB"),
    "child reads its own uncommitted parent": ("AB",),
    "no seal": ("AGH",),
    "blind read": ("AG",),
    "ingest without receipts": ("AI",),
    "cleaning of unsettled asides": ("AC",),
    "dropping of debris": ("AC",),
    "a late attempt looks for no pack": ("ARPG",),
    "a single file counts before a pack": ("ARPG",),
    "single files go before packs count": ("AP",),
    "a landing is committed without a look at its digests": ("xyL",),
    "promoted to the planned name before the receipt": ("xL",),
    "a child is committed with another parent's digest": ("AXL",),
    "an aside that the engine knows": ("xyL",),
    "an aside that two landers use": ("xyLM",),
}


@pytest.mark.parametrize("who", CONFIGURATIONS)
def test_no_interleaving_of_the_real_code_breaks_the_protocol(who):
    explorer = Explorer(who, lost_acknowledgements=CONFIGURATIONS[who]).run()

    assert explorer.violations == set()
    assert explorer.states > 100


@pytest.mark.parametrize("mutant", MUTANTS)
def test_every_mutant_is_convicted(mutant):
    broken = {mutant, "direct put"} if mutant == "ingest without receipts" else {mutant}

    found = [
        Explorer(who, frozenset(broken), lost_acknowledgements=not {"P", "L"} & set(who))
        .run(until_convicted=mutant != "ingest without receipts")
        .violations
        for who in MUTANTS[mutant]
    ]

    assert any(found)
    if mutant == "ingest without receipts":
        assert "the registry holds bytes that no receipt committed" in set().union(*found)
