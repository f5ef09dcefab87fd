"""Stores that do not keep their word: the probe refuses them, or what they come to is right."""

import importlib.util
import random
import sys
import types
from pathlib import Path

import pytest

from prestow import commit, plugins
from prestow.commit import Promoted, clean, promote, read_receipt, settle
from prestow.errors import Problem, StoreError
from prestow.ingest import ingest_outputs
from prestow.naming.universe import load_universe
from prestow.node import run_manifest
from prestow.registry import Registry
from prestow.stores import Put
from prestow.stores.file import FileStore
from prestow.stores.whole import WholeObjects
from prestow.testing.jobs import Jobs

spec = importlib.util.spec_from_file_location("killing", Path(__file__).with_name("killing.py"))
killing = importlib.util.module_from_spec(spec)
spec.loader.exec_module(killing)

UNIVERSE = load_universe()
STORMS = 60 if killing.FULL else 12
COPY_LIMIT = 5 << 20

TASK = """
import os

def part(quantum):
    quantum.put("y", {"v": 2, "attempt": os.urandom(8).hex()})

def total(quantum):
    quantum.put("y", {"v": quantum.get("x"), "attempt": os.urandom(8).hex()})
"""


class Objects(WholeObjects):
    """A service of whole objects that may answer 409 or 503, before or after it has done what it was asked."""

    def __init__(self, uri="objects://"):
        super().__init__(uri)
        self.objects = {}
        self.storm = lambda: False

    def _answer(self):
        if self.storm():
            raise StoreError(Problem("PST-R001", "503 Slow Down", self.uri, "try again later"))

    def load(self, name):
        self._answer()
        return self.objects.get(name)

    def keep(self, name, data, *, replace):
        self._answer()
        if name in self.objects and not replace:
            return False
        self.objects[name] = data
        self._answer()  # done, and the answer is lost
        return True

    def drop(self, name):
        self._answer()
        self.objects.pop(name, None)

    def names(self):
        return list(self.objects)


class Overwriting(Objects):
    """Ignores ``If-None-Match``."""

    def keep(self, name, data, *, replace):
        return super().keep(name, data, replace=True)


class Conflicting(Objects):
    """Says 409 to some puts: another one was under way; it is not said which of them is there."""

    turn = 0

    def put_if_absent(self, name, data):
        self.turn += 1
        answer = super().put_if_absent(name, data) if self.turn % 3 else Put.UNKNOWN
        return Put.UNKNOWN if self.turn % 2 else answer


class Forgetful:
    """A file store that says for a minute that a name is absent once it has said so; puts it decides at the server."""

    def __init__(self, store):
        self._store, self.uri = store, store.uri
        self.now, self.absent = 0.0, {}

    def sleep(self, seconds):
        self.now += seconds

    def __getattr__(self, name):
        return getattr(self._store, name)

    def _hidden(self, name):
        if self.absent.get(name, -60.0) + 60 > self.now:
            return True
        self.absent.pop(name, None)
        if self._store.size(name) is None:
            self.absent[name] = self.now
        return False

    def read(self, name):
        return self._store.read("_absent" if self._hidden(name) else name)

    def size(self, name):
        return None if self._hidden(name) else self._store.size(name)

    def digest(self, name):
        return None if self._hidden(name) else self._store.digest(name)

    def move(self, source, target):
        self._store.move(source, target)
        self.absent.pop(target, None)  # what one did oneself one sees

    def put_if_absent(self, name, data):
        answer = self._store.put_if_absent(name, data)
        if answer is Put.YES:
            self.absent.pop(name, None)
        return answer


class CopyLimited(Objects):
    """Cannot copy in one piece what is larger than a limit, as it moves: half of it would arrive."""

    def move(self, source, target):
        if len(self.objects.get(source, b"")) > COPY_LIMIT:
            raise StoreError(
                Problem("PST-R001", "the object is too large to be copied", self.uri, "use parts")
            )
        super().move(source, target)


@pytest.fixture
def opened(monkeypatch):
    module = types.ModuleType("prestow_liar_store")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(plugins.TABLE["stores"], "liar", f"{module.__name__}:opened")

    def use(store):
        module.opened = lambda _uri: store
        return store

    return use


def jobs_of(directory):
    jobs = Jobs(directory, output="liar://here")
    jobs.code(tasks=TASK)
    raw = jobs.existing("raw", {"visit": 1}, {"v": 1})
    part = jobs.quantum("part", {"visit": 1}, entry="tasks:part", inputs={"x": [raw]}, outputs={"y": "json"})
    jobs.quantum("total", {}, entry="tasks:total", inputs={"x": [part["y"]]}, outputs={"y": "json"})
    return jobs


def assert_right(store, jobs):
    """Every quantum is settled once, its bytes are at their names, and a child is of its committed parent."""
    receipts = [read_receipt(store, definition.receipt) for definition, _, _ in jobs.quanta]
    assert [r.state for r in receipts] == ["made", "made"]
    made = {o.id: o for r in receipts for o in r.outputs}
    for output in made.values():
        assert store.digest(output.path) == (output.size, output.sha256)
    assert all(made[i.id].sha256 == i.sha256 for r in receipts for i in r.inputs if i.id in made)


def test_a_store_that_overwrites_what_was_put_is_refused_by_its_probe():
    with pytest.raises(StoreError) as caught:
        Overwriting().probe()
    assert caught.value.problems[0].code == "PST-R001"
    assert caught.value.problems[0].fix


def test_a_file_store_that_overwrites_is_refused_by_its_probe(tmp_path):
    class Careless(FileStore):
        def put_if_absent(self, name, data):
            with self.create(name) as sink:
                sink.write(data)
            return Put.YES

    with pytest.raises(StoreError) as caught:
        Careless(f"file://{tmp_path}").probe()
    assert caught.value.problems[0].code == "PST-R001"


def test_storms_of_answers_that_are_none(tmp_path, opened):
    """Any call may be refused, or done and its answer lost; the same job again and again comes to one end."""
    lost = 0
    for seed in range(STORMS):
        chance = random.Random(seed)
        store = opened(Objects(f"liar://{seed}"))
        jobs = jobs_of(tmp_path / str(seed))
        store.storm = lambda chance=chance: chance.random() < 0.12
        for _ in range(4):
            try:
                lost += len(run_manifest(jobs.manifest(), scratch=jobs.scratch).failures)
            except StoreError:  # the first looks: nothing was begun
                lost += 1
        store.storm = lambda: False
        assert run_manifest(jobs.manifest(), scratch=jobs.scratch).failures == ()
        assert_right(store, jobs)
    assert lost


def test_conflicts_of_which_nobody_says_who_won(tmp_path, opened, monkeypatch):
    monkeypatch.setattr(commit, "_WAITS", (0.0,) * 10)
    for turn in range(6):
        store = opened(Conflicting())
        store.turn = turn
        jobs = jobs_of(tmp_path / str(turn))
        outcomes = [run_manifest(jobs.manifest(), scratch=jobs.scratch) for _ in range(2)]
        assert [outcome.failures for outcome in outcomes] == [(), ()]
        assert outcomes[0].receipts == outcomes[1].receipts
        assert_right(store, jobs)


def test_ingest_under_storms_ends_where_an_undisturbed_one_does(tmp_path):
    source = Objects("liar://source")
    receipts = killing.produce(source, 20)
    with Registry.open(f"sqlite:///{tmp_path}/once.db", UNIVERSE, create=True) as once:
        calm = Objects()
        calm.objects = dict(source.objects)
        ingest_outputs(once, calm, processes=1)
        expected = killing.comparable(once)
    refused = 0
    for seed in range(STORMS // 2):
        chance = random.Random(seed)
        store = Objects()
        store.objects = dict(source.objects)
        with Registry.open(f"sqlite:///{tmp_path}/{seed}.db", UNIVERSE, create=True) as registry:
            store.storm = lambda chance=chance: chance.random() < 0.004
            for _ in range(5):
                try:
                    ingest_outputs(registry, store, processes=1)
                except StoreError as error:
                    assert "503" in error.problems[0].what
                    refused += 1
            store.storm = lambda: False
            assert ingest_outputs(registry, store, processes=1, level="full").problems == ()
            assert killing.comparable(registry) == expected
            clean(store)  # what was copied, and whose old name could not be dropped then
            assert store.objects == calm.objects
            assert registry.counts()["dataset"] == len(killing.made(receipts))
    assert refused


def test_who_is_told_for_a_minute_that_the_receipt_is_absent_waits_and_takes_the_winners(tmp_path):
    store = FileStore(f"file://{tmp_path}")
    winner = killing.make(store, "isr", {"visit": 1}, ["postisr"], attempt="first")
    name = commit.receipt_name(winner.run, winner.task, winner.quantum)
    forgetful = Forgetful(store)
    forgetful.absent[name] = 0.0
    assert read_receipt(forgetful, name) is None
    late = killing.make(
        FileStore(f"file://{tmp_path}/other"), "isr", {"visit": 1}, ["postisr"], attempt="second"
    )
    assert settle(forgetful, late, sleep=forgetful.sleep) == (winner, False)
    assert forgetful.now >= 60


def test_a_node_that_sees_nothing_for_a_minute_loses_and_doubles_nothing(tmp_path, opened, monkeypatch):
    store = FileStore(f"file://{tmp_path}/store")
    jobs = jobs_of(tmp_path)
    opened(store)
    first = run_manifest(jobs.manifest(), scratch=jobs.scratch)
    blind = opened(Forgetful(store))
    monkeypatch.setitem(settle.__kwdefaults__, "sleep", blind.sleep)
    for name in [n for n, _ in store.walk()]:
        blind.absent[name] = 0.0
    second = run_manifest(jobs.manifest(), scratch=jobs.scratch)
    assert second.failures == ()
    assert second.receipts == first.receipts
    assert_right(store, jobs)
    assert sum(1 for name, _ in store.walk("_receipts") if name.endswith(".json")) == 2


def test_what_cannot_be_copied_is_named_and_nothing_is_lost(tmp_path):
    store = CopyLimited("liar://")
    receipt = killing.make(
        store, "isr", {"instrument": "sim", "visit": 1}, ["postisr"], home=False,
        suffix="fits", source_bytes=killing.FRAME[:2880].replace(b"20", b"%d" % 20) + bytes(2880),
    )  # fmt: skip
    (output,) = receipt.outputs
    store.objects[output.aside] += bytes(COPY_LIMIT)
    with pytest.raises(StoreError):
        promote(store, receipt)
    assert output.aside in store.objects
    assert output.path not in store.objects
    with Registry.open(f"sqlite:///{tmp_path}/r.db", UNIVERSE, create=True) as registry:
        with pytest.raises(StoreError) as caught:
            ingest_outputs(registry, store, processes=1)
        assert "too large" in caught.value.problems[0].what
        assert registry.counts()["dataset"] == 0


def test_an_aside_that_is_gone_is_told_and_the_rest_goes_in(tmp_path):
    store = Objects("liar://")
    receipts = killing.produce(store, 20)
    gone = next(r for r in receipts if r.outputs[0].aside in store.objects)
    for output in gone.outputs:
        store.drop(output.aside)
    assert {result for _, result in promote(store, gone)} == {Promoted.TO_RESTORE}
    with Registry.open(f"sqlite:///{tmp_path}/r.db", UNIVERSE, create=True) as registry:
        report = ingest_outputs(registry, store, processes=1)
        assert {problem.where for problem in report.problems} == {output.path for output in gone.outputs}
        assert all("neither at their name nor aside" in problem.what for problem in report.problems)
        assert report.added == len(killing.made(receipts)) - len(gone.outputs)
        assert ingest_outputs(registry, store, processes=1).added == 0
