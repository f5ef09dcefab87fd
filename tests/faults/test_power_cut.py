"""What was not synced is lost when the power fails, at any act of the node, of ingest, clean and of packing.

The store's own code runs over a real directory that is watched (`prestow.testing.faults`). At every one of its
acts the power fails, or a process is killed and the power fails later; what is left is looked at, and gone on
from. And without any one of its syncs, the code does not pass.
"""

import gc
import importlib.util
import inspect
import itertools
import os
import sys
import types
import warnings
from pathlib import Path

import pytest

from prestow import plugins
from prestow.commit import clean, each_receipt, read_receipt
from prestow.ingest import ingest_outputs
from prestow.ingest.packing import remove_singles, write_packs
from prestow.naming.universe import load_universe
from prestow.node import run_manifest
from prestow.packs import Packed
from prestow.registry import Registry
from prestow.stores import file, linking
from prestow.stores.file import FileStore
from prestow.testing.faults import KINDS, Dead, Disk, Promised, anew, calls, without
from prestow.testing.jobs import Jobs

spec = importlib.util.spec_from_file_location("killing", Path(__file__).with_name("killing.py"))
killing = importlib.util.module_from_spec(spec)
spec.loader.exec_module(killing)

pytestmark = [  # who is killed closes nothing
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

UNIVERSE = load_universe()
SOURCE = inspect.getsource(file)
SYNCS = ("fsync", "_sync", "_commit")
MUTANTS = calls(SOURCE, *SYNCS)
EVERY = 1 if killing.FULL else 7  # of the acts

STEADY = """
def part(quantum):
    quantum.put("y", {"v": 2})
    quantum.put("z", {"v": "side"})

def total(quantum):
    quantum.put("y", {"v": quantum.get("x")})
"""
RESTLESS = """
import os

def part(quantum):
    quantum.put("y", {"v": 2, "attempt": os.urandom(8).hex()})
    quantum.put("z", {"v": "side", "attempt": os.urandom(8).hex()})

def total(quantum):
    quantum.put("y", {"v": quantum.get("x"), "attempt": os.urandom(8).hex()})
"""


@pytest.fixture
def tmp_path():
    with killing.in_memory() as name:
        yield Path(os.path.realpath(name))


class Place:
    """A disk, the processes on it, and what its stores have promised."""

    count = itertools.count()

    def __init__(self, root, source=SOURCE):
        self.root = root / f"p{next(self.count)}"
        (self.root / "disk").mkdir(parents=True)
        self.source = source
        self.disk = Disk(self.root / "disk")
        self.promised = Promised()
        self.system = None
        self.jobs = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.disk.__exit__()

    def begin(self, at=None, what=None):
        """Begin a new process, to which something happens at one of its acts."""
        self.system = self.disk.process()
        self.system.at, self.system.what = at, what or Dead()
        self.module = anew("watched_file_store", self.source, self.system)
        return self.system

    def store(self, uri=None):
        """Open the store anew, in the process that runs."""
        return self.promised.remembering(self.module.FileStore(f"file://{self.disk.root}/store"))

    def cuts(self):
        """Let the power fail, in each way. Gives the kind, and a store of what is left."""
        for kind in KINDS:
            left = self.disk.after_power_cut(kind, self.root / f"{kind}-{next(self.count)}")
            yield kind, left / "store"


@pytest.fixture(autouse=True)
def opened(monkeypatch):
    """Open stores of the scheme ``forgetful`` at the place that runs."""
    module = types.ModuleType("prestow_forgetful_store")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(plugins.TABLE["stores"], "forgetful", f"{module.__name__}:opened")

    def set_place(place):
        module.opened = place.store
        return place

    yield set_place
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def jobs_of(place, code=STEADY):
    jobs = Jobs(place.root, output="forgetful://here")
    jobs.code(tasks=code)
    raw = jobs.existing("raw", {"visit": 1}, {"v": 1})
    part = jobs.quantum(
        "part", {"visit": 1}, entry="tasks:part", inputs={"x": [raw]}, outputs={"y": "json", "z": "json"}
    )
    jobs.quantum("total", {}, entry="tasks:total", inputs={"x": [part["y"]]}, outputs={"y": "json"})
    return jobs


def attempt(jobs):
    """Run; say whether it lived."""
    try:
        run_manifest(jobs.manifest(), scratch=jobs.scratch)
    except Dead:
        return False
    return True


def wrong(place, left, *, asides=True):
    """Give the promises that are broken in a store that is left, and what is made without its bytes."""
    store = FileStore(f"file://{left}")
    broken = place.promised.broken(left)
    found = [f"promised: {name}" for name in broken if asides or not name.startswith("_aside/")]
    for name, _ in store.walk("_receipts"):
        if not name.endswith(".json"):
            continue
        try:
            receipt = read_receipt(store, name)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is torn
            found.append(f"torn: {name}: {error}")
            continue
        for output in receipt.outputs if receipt.state == "made" else ():
            if not any(
                store.digest(at) == (output.size, output.sha256) for at in (output.path, output.aside) if at
            ):
                found.append(f"made, and nowhere: {output.path}")
    return found


def gone_on_from(place, left):
    """Run the same job on what is left; give what is wrong then."""
    jobs = place.jobs
    jobs.stores["output"] = f"file://{left}"
    outcome = run_manifest(jobs.manifest(), scratch=jobs.scratch)
    store = FileStore(f"file://{left}")
    receipts = [receipt for _, receipt in each_receipt(store, jobs.run)]
    found = [str(f) for f in outcome.failures] + wrong(place, left, asides=False)
    if {r.state for r in receipts} != {"made"} or len(receipts) != 2:
        found.append(f"not made: {outcome.states}")
    parent = {o.id: o.sha256 for r in receipts for o in r.outputs}
    found += [
        f"of another parent: {i}"
        for r in receipts
        for i in r.inputs
        if parent.get(i.id, i.sha256) != i.sha256
    ]
    return found + [
        f"not at its name: {o.path}"
        for r in receipts for o in r.outputs if store.digest(o.path) != (o.size, o.sha256)
    ]  # fmt: skip


def acts_of_a_run(root, opened, source=SOURCE):
    with opened(Place(root, source)) as place:
        place.begin()
        assert attempt(jobs_of(place))
        return place.system.acts


def cut_at(root, opened, at, source=SOURCE, *, on=False):
    """Let the power fail at one act of a job; with ``on``, run it again on what is left."""
    with opened(Place(root, source)) as place:
        place.begin(at)
        place.jobs = jobs_of(place, RESTLESS)
        assert not attempt(place.jobs)
        return [
            f"act {at}, {kind}: {told}"
            for kind, left in place.cuts()
            for told in wrong(place, left) + (gone_on_from(place, left) if on else [])
        ]


def killed_then_cut(root, opened, at, source=SOURCE):
    """Kill a job at one act, let another attempt end it, and let the power fail then."""
    with opened(Place(root, source)) as place:
        place.begin(at)
        jobs = jobs_of(place, RESTLESS)
        assert not attempt(jobs)
        place.begin()
        assert attempt(jobs)
        return [f"act {at}, {kind}: {told}" for kind, left in place.cuts() for told in wrong(place, left)]


def overtaken_then_cut(root, opened, at, source=SOURCE):
    """Let an attempt be overtaken, as it settles, by one that is killed at an act; the power fails at the end.

    None if that one has not so many acts.
    """
    with opened(Place(root, source)) as place:
        jobs = jobs_of(place, RESTLESS)
        place.begin()
        whole = place.module.FileStore.put_if_absent
        lived = []

        def overtaken(store, name, data):
            if name.startswith("_receipts/") and not lived:
                mine = place.module, place.system
                place.begin(at)
                lived.append(attempt(jobs))
                place.module, place.system = mine
            return whole(store, name, data)

        place.module.FileStore.put_if_absent = overtaken
        assert attempt(jobs)
        if lived == [True]:
            return None
        return [f"act {at}, {kind}: {told}" for kind, left in place.cuts() for told in wrong(place, left)]


def test_the_power_fails_at_any_act_of_a_job(tmp_path, opened):
    acts = acts_of_a_run(tmp_path, opened)
    assert acts > 100
    for at in range(0, acts, EVERY):
        assert cut_at(tmp_path, opened, at, on=True) == []


def test_the_power_fails_after_another_attempt_ended_what_one_that_was_killed_began(tmp_path, opened):
    acts = acts_of_a_run(tmp_path, opened)
    for at in range(0, acts, EVERY):
        assert killed_then_cut(tmp_path, opened, at) == []
    for at in itertools.count(0, EVERY):
        found = overtaken_then_cut(tmp_path, opened, at)
        if found is None:
            break
        assert found == []
    assert at > acts // 2


def produced(place):
    """Commit a small campaign on the disk, in part not promoted, with an aside of a loser. Gives its receipts."""
    place.begin()
    store = place.store()
    receipts = killing.produce(store, 6)
    with store.create(f"_aside/{receipts[0].quantum}/loser/0") as sink:
        sink.write(b"other bytes")
    return receipts


def ingested(place, store, name):
    """Take in; give the registry's paths, or nothing if killed."""
    url = f"sqlite:///{place.root}/{name}.db"
    with Registry.open(url, UNIVERSE, create=True) as registry:
        try:
            report = ingest_outputs(registry, store, processes=1)
            assert report.problems == ()
        except Dead:
            report = None
    return report


def test_the_power_fails_at_any_act_of_ingest(tmp_path, opened):
    for at in itertools.count(0, EVERY):
        with opened(Place(tmp_path)) as place:
            receipts = produced(place)
            place.begin(at)
            if ingested(place, place.store(), "r") is not None:
                break
            for kind, left in place.cuts():
                assert wrong(place, left) == []
                url = f"sqlite:///{place.root}/r.db"
                with Registry.open(url, UNIVERSE, create=True) as registry:
                    report = ingest_outputs(
                        registry, FileStore(f"file://{left}"), level="full", reverify=True
                    )
                assert (report.problems, report.added + report.present) == (
                    (),
                    len(killing.made(receipts)),
                ), kind
    assert at > 30


@pytest.mark.parametrize("act", ["clean", "pack"])
def test_the_power_fails_at_any_act_of_cleaning_and_packing(tmp_path, opened, act):
    def pack(store):
        found = Packed.of(store, killing.RUN)
        remove_singles(store, found if found is not None else write_packs(store, killing.RUN))

    do = clean if act == "clean" else pack
    for at in itertools.count(0, 1 if act == "clean" else EVERY):
        with opened(Place(tmp_path)) as place:
            receipts = produced(place)
            place.begin()
            wanted = list(each_receipt(place.store(), killing.RUN))
            assert len(wanted) == len(receipts)
            place.begin(at)
            try:
                do(place.store())
                break
            except Dead:
                pass
            for _, left in place.cuts():
                store = FileStore(f"file://{left}")
                assert wrong(place, left) == []
                assert list(each_receipt(store, killing.RUN)) == wanted
                do(store)
                assert list(each_receipt(store, killing.RUN)) == wanted
                # single receipts go as they are packed, and what is cleaned was promised once
                assert act == "pack" or wrong(place, left, asides=False) == []
    assert at > (1 if act == "clean" else 20)


def linked_then_cut(root, source):
    """Give a file that nobody has synced a name in a store; the power fails. Gives what is left of that name."""
    with Place(root) as place:
        place.begin()
        place.store().put_if_absent("first", b"")
        given = place.disk.root + "/given"
        Path(given).write_bytes(b"bytes")
        module = anew("watched_linking", source, place.system)
        module.link_into(given, FileStore(f"file://{place.disk.root}/store"), "run/type/deep/x")
        left = [left / "run/type/deep/x" for _, left in place.cuts()]
        return [path.read_bytes() if path.exists() else None for path in left]


def test_a_file_that_is_linked_outlives_a_power_cut_and_without_any_one_sync_does_not(tmp_path):
    source = inspect.getsource(linking)
    assert linked_then_cut(tmp_path, source) == [b"bytes"] * 3
    mutants = calls(source, "fsync", "_sync")
    assert len(mutants) == 3
    for place in mutants:
        assert linked_then_cut(tmp_path, without(source, place)) != [b"bytes"] * 3


def test_all_syncs_of_the_store_are_known_here():
    assert len(MUTANTS) >= 9
    assert SOURCE.count("fsync(") == len(calls(SOURCE, "fsync"))


@pytest.mark.skipif(not killing.FULL, reason="mutants: make faults")
@pytest.mark.parametrize("place_", MUTANTS)
def test_without_any_one_sync_it_does_not_hold(tmp_path, opened, place_):
    mutant = without(SOURCE, place_)
    for trial in (cut_at, killed_then_cut, overtaken_then_cut):
        acts = acts_of_a_run(tmp_path, opened, mutant)
        for at in sorted(range(acts), key=lambda at: (at % 5, at)):  # it shows at more than one
            if trial(tmp_path, opened, at, mutant):
                return
    pytest.fail("no power cut shows that this sync is missing")
