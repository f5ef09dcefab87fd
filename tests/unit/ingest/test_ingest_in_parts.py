"""Several processes, threads, shards, samples, rounds: in whatever parts, the end is the same."""

import importlib.util
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from prestow.errors import ProjectError, StoreError
from prestow.ingest import Level, ingest_outputs, outputs
from prestow.ingest.following import follow
from prestow.ingest.levels import Checking
from prestow.ingest.outputs import Taking
from prestow.ingest.shards import Shard
from prestow.ingest.workers import Pool, can_travel
from prestow.naming.universe import load_universe
from prestow.registry import Registry
from prestow.stores import open_store
from prestow.stores.file import FileStore

spec = importlib.util.spec_from_file_location(
    "ingest_campaign", Path(__file__).parents[2] / "ingest_campaign.py"
)
ingest_campaign = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ingest_campaign)
campaign, comparable, RUN = (getattr(ingest_campaign, n) for n in ("campaign", "comparable", "RUN"))

UNIVERSE = load_universe()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A campaign of which all is promoted, and what an undisturbed ingest makes of it."""
    root = tmp_path_factory.mktemp("made")
    store = FileStore(f"file://{root}/store")
    receipts = campaign(store, visits=8)
    with Registry.open(f"sqlite:///{root}/once.db", UNIVERSE, create=True) as once:
        ingest_outputs(once, store, processes=1)
        return store, receipts, comparable(once)


@pytest.fixture
def registry(tmp_path):
    with Registry.open(f"sqlite:///{tmp_path}/r.db", UNIVERSE, create=True) as registry:
        yield registry


@pytest.fixture
def small_portions(monkeypatch):
    monkeypatch.setattr(outputs, "BATCH", 7)
    monkeypatch.setattr(outputs, "PORTION", 3)


@pytest.mark.parametrize("level", list(Level))
@pytest.mark.usefixtures("small_portions")
def test_two_processes_make_what_one_makes(made, registry, level):
    store, receipts, expected = made
    report = ingest_outputs(registry, store, level=level, processes=2)
    assert (report.quanta, report.problems) == (len(receipts), ())
    assert comparable(registry) == expected
    assert sum(report.verified.values()) == report.added
    sequence = registry.committed()["type"].to_pylist()
    assert sequence[-2:] == ["coadd", "summary"]


@pytest.mark.usefixtures("small_portions")
def test_a_process_that_is_killed_is_told_and_the_same_again_goes_on(made, registry, monkeypatch):
    store, _, expected = made
    begun = []
    first = Pool.judged

    def judged(self, *arguments):
        for number, answer in enumerate(first(self, *arguments)):
            if number == 10:  # after a batch is in
                begun.append(self._processes[0].pid)
                for process in self._processes:
                    os.kill(process.pid, signal.SIGKILL)
            yield answer

    monkeypatch.setattr(Pool, "judged", judged)
    monkeypatch.setattr(outputs, "PORTION", 1)  # more portions than workers may be ahead by
    with pytest.raises(StoreError) as raised:
        ingest_outputs(registry, store, processes=2)
    assert raised.value.problems[0].code == "PST-I020"
    assert "by signal 9" in raised.value.problems[0].what
    with pytest.raises(ProcessLookupError):
        os.kill(begun[0], 0)
    assert 0 < registry.counts()["quantum"] < len(expected["quantum"])
    monkeypatch.setattr(Pool, "judged", first)
    ingest_outputs(registry, store, processes=2)
    assert comparable(registry) == expected


def test_a_worker_ends_with_its_parent(made):
    store = made[0]
    code = (
        "import os, sys; from prestow.ingest.workers import Pool, Work; from prestow.ingest.levels import Checking;"
        "from prestow.stores.file import FileStore;"
        "pool = Pool(Work(FileStore(sys.argv[1]), Checking.of('full'), frozenset(), {}), 1);"
        "print(pool._processes[0].pid, flush=True); os.kill(os.getpid(), 9)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, store.uri], capture_output=True, text=True, check=False
    )
    worker = int(done.stdout)
    for _ in range(200):
        try:
            os.kill(worker, 0)
        except ProcessLookupError:
            return
        if Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
            return
        time.sleep(0.05)
    raise AssertionError(f"{worker} lives on")


class Slow(FileStore):
    def read(self, name):
        time.sleep(0.02)
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        time.sleep(0.005)
        with self.lock:
            self.now -= 1
        return super().read(name)


def test_a_slow_store_has_many_calls_in_flight(made, registry):
    slow = Slow(made[0].uri)
    slow.lock, slow.now, slow.most = threading.Lock(), 0, 0
    assert not can_travel(slow)
    assert ingest_outputs(registry, slow).problems == ()
    assert comparable(registry) == made[2]
    assert slow.most > 1


def test_only_what_another_process_can_open_travels(made):
    assert can_travel(made[0])
    assert not can_travel(open_store("memory://travel"))


def test_shards_share_the_work_and_together_make_the_whole(made, registry):
    store, receipts, expected = made
    counts = []
    for number in (2, 0, 1):  # children may well come before their parents
        report = ingest_outputs(registry, store, shard=Shard(number, 3))
        assert (report.problems, report.unexpected) == ((), ())
        counts.append(report.quanta)
    assert sum(counts) == len(receipts)
    assert all(0 < count < len(receipts) for count in counts)
    assert comparable(registry) == expected
    for text in ("3/3", "1", "-1/3", "a/b", "0/0"):
        with pytest.raises(ProjectError):
            Shard.of(text)


def test_a_sample_is_the_same_each_time_and_of_its_share(made, registry):
    store, receipts, _ = made
    report = ingest_outputs(registry, store, level="sample:40%")
    again = ingest_outputs(registry, store, level="sample:40%", reverify=True)
    ids = [o.id for r in receipts for o in r.outputs if o.state == "made"]
    full = sum(map(Checking.of("sample:0.4").in_full, ids))
    assert report.verified == again.verified == {"receipt": len(ids) - full, "full": full}
    assert 0 < full < len(ids)
    assert report.level is Level.SAMPLE
    many = [f"{n:032x}{n * 2654435761 % 2**32:08x}" for n in range(20_000)]
    assert 0.045 < sum(map(Checking.of("sample").in_full, many)) / len(many) < 0.055
    for text in ("sample:0", "sample:101%", "full:5%", "some", "sample:x"):
        with pytest.raises(ProjectError) as raised:
            Checking.of(text)
        assert raised.value.problems[0].code == "PST-G005"


def test_what_is_in_the_registry_is_not_read_again(made, registry):
    store = made[0]
    ingest_outputs(registry, store)
    read = []

    class Told(FileStore):
        def read(self, name):
            read.append(name)
            return super().read(name)

        def local_path(self, name):
            read.append(name)
            return super().local_path(name)

    told = Told(store.uri)
    report = ingest_outputs(registry, told, level="full")
    assert [name for name in read if not name.startswith("_records/")] == []
    assert (report.added, report.present, report.verified) == (0, registry.counts()["dataset"], {})
    assert report.states["made"] == len([q for q in registry.quanta(RUN)["state"].to_pylist() if q == "made"])
    report = ingest_outputs(registry, told, level="full", reverify=True)
    assert report.verified == {"full": report.present}
    assert len(read) > report.present


def test_a_known_file_of_another_size_is_looked_at_and_told(tmp_path, registry):
    store = FileStore(f"file://{tmp_path}/store")
    receipts = campaign(store, visits=1)
    ingest_outputs(registry, store)
    path = store.local_path(receipts[0].outputs[0].path)
    path.chmod(0o644)
    path.write_bytes(b"{}")
    store.delete(receipts[0].outputs[1].path)
    report = ingest_outputs(registry, store)
    assert {p.where for p in report.faulty} == {o.path for o in receipts[0].outputs}
    assert report.unexpected == ()


def test_following_takes_in_what_appears_and_ends_when_all_is_settled(made, registry, tmp_path):
    source, receipts, expected = made
    growing = FileStore(f"file://{tmp_path}/growing")
    names = [name for name, _ in source.walk() if name.startswith(("_receipts/", f"{RUN}/"))]
    names.sort(key=lambda name: name.startswith("_receipts/"))
    receipts_left = [name for name in names if name.startswith("_receipts/")]
    for name in names:
        if not name.startswith("_receipts/"):
            growing.put_if_absent(name, source.read(name))
    rounds, told = [], []

    def settled():
        for name in receipts_left[len(rounds) * 8 :][:8]:
            growing.put_if_absent(name, source.read(name))
        rounds.append(1)
        return len(rounds) * 8 >= len(receipts_left)

    with Taking(registry, growing) as taking:
        report = follow(taking, [RUN], settled=settled, told=told.append, sleep=lambda _: None)
    assert (report.quanta, report.present, report.problems, report.unexpected) == (len(receipts), 0, (), ())
    assert report.states == {"declined": 1, "lost": 1, "made": len(receipts) - 2}
    assert len(told) > 1
    assert comparable(registry) == expected


def test_following_ends_where_nothing_comes_any_more_and_on_ctrl_c(made, registry):
    store = made[0]
    with Taking(registry, store) as taking:
        report = follow(taking, [RUN], settled=lambda: False, until_idle=0.0, sleep=lambda _: None)
    assert comparable(registry) == made[2]
    assert report.added == registry.counts()["dataset"]

    def interrupted(_):
        raise KeyboardInterrupt

    with Taking(registry, store) as taking:
        report = follow(taking, [RUN], settled=lambda: False, sleep=interrupted)
    assert (report.added, report.present) == (0, registry.counts()["dataset"])
