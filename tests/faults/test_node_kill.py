"""Kills, late attempts, lost answers and cleaners between every two store calls of a node.

A store plug-in counts the calls of a real file store and does something at the k-th: kill the
process, run another attempt, seal, clean. Every k is tried; nothing is random.
"""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys
import tempfile
import types
from dataclasses import replace
from pathlib import Path

import pytest

from prestow import plugins
from prestow.commit import clean, read_receipt, settle
from prestow.formats import open_format
from prestow.manifest import Receipt
from prestow.node import run_manifest
from prestow.stores import Put
from prestow.stores.file import FileStore
from prestow.testing.jobs import Jobs

CALLS = ("read", "size", "digest", "fetch", "put_if_absent", "move", "delete")

STEADY = """
def part(quantum):
    quantum.put("y", {"v": 2 * quantum.get("x")["v"]})
    quantum.put("z", {"v": "side"})

def total(quantum):
    used = [i.data_id["visit"] for i in quantum.inputs["x"]]
    quantum.put("y", {"n": len(used), "sum": sum(quantum.get("x", visit=v)["v"] for v in used)})
"""
RESTLESS = """
import os

def part(quantum):
    quantum.put("y", {"v": 2, "attempt": os.urandom(8).hex()})
    quantum.put("z", {"v": "side", "attempt": os.urandom(8).hex()})

def total(quantum):
    used = [i.data_id["visit"] for i in quantum.inputs["x"]]
    quantum.put("y", {"n": len(used), "from": [quantum.get("x", visit=v) for v in used], "attempt": os.urandom(8).hex()})
"""


class Watched:
    """A file store that counts its calls, over all objects, and acts at one of them."""

    calls = 0
    at = None
    act = None
    answers: tuple = ()

    def __init__(self, uri):
        self._store = FileStore("file://" + uri.partition("://")[2])
        self.uri = uri

    def __getattr__(self, name):
        found = getattr(self._store, name)
        return self._counted(found) if name in CALLS else found

    def _counted(self, function):
        def call(*arguments):
            self.step()
            answer = function(*arguments)
            if function.__name__ == "put_if_absent" and Watched.answers and answer is Put.YES:
                answer, *rest = Watched.answers
                Watched.answers = tuple(rest)
            return answer

        return call

    def create(self, name):
        self.step()
        return Creation(self, self._store.create(name))

    @classmethod
    def step(cls):
        here, cls.calls = cls.calls, cls.calls + 1
        if here == cls.at:
            act, cls.act = cls.act, None
            act()


class Creation:
    def __init__(self, store, inner):
        self.store, self.inner = store, inner

    def __enter__(self):
        return self.inner.__enter__()

    def __exit__(self, *error):
        try:
            self.store.step()  # written, and not yet there
        except BaseException:
            self.inner.__exit__(*sys.exc_info())
            raise
        return self.inner.__exit__(*error)


@pytest.fixture(autouse=True)
def watched(monkeypatch):
    module = types.ModuleType("prestow_watched_store")
    module.Watched = Watched
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(plugins.TABLE["stores"], "watched", f"{module.__name__}:Watched")
    yield
    reset()


@pytest.fixture
def tmp_path():
    """A directory in memory where there is one: a thousand runs would wait for the disk otherwise."""
    place = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=place) as name:
        yield Path(name)


def reset(at=None, act=None, answers=()):
    Watched.calls, Watched.at, Watched.act, Watched.answers = 0, at, act, answers


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def make(directory, code=STEADY, minimum="all"):
    jobs = Jobs(directory)
    jobs.stores["output"] = f"watched://{jobs.directory}/store"
    jobs.code(tasks=code)
    raw = [jobs.existing("raw", {"visit": v}, {"v": v}) for v in (1, 2)]
    parts = [
        jobs.quantum(
            "part",
            {"visit": v},
            entry="tasks:part",
            inputs={"x": [raw[v - 1]]},
            outputs={"y": "json", "z": "json"},
        )["y"]
        for v in (1, 2)
    ]
    jobs.quantum("total", {}, entry="tasks:total", inputs={"x": (parts, minimum)}, outputs={"y": "json"})
    return jobs


def run(jobs, *tasks, **more):
    return run_manifest(jobs.manifest(*tasks), scratch=jobs.scratch, **more)


def in_a_process_killed_at(k, jobs, *tasks):
    """Run and kill at the k-th call; whether it came so far."""
    pid = os.fork()
    if pid == 0:
        try:
            reset(k, die)
            run(jobs, *tasks)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL


def store_of(jobs):
    return FileStore(f"file://{jobs.directory}/store")


def receipts_of(jobs):
    store = store_of(jobs)
    return {q.id: read_receipt(store, q.receipt) for q, _, _ in jobs.quanta}


def products(jobs):
    store = store_of(jobs)
    return {name: store.read(name) for name, _ in store.walk(jobs.run)}


def assert_true(jobs, *, ended=True):
    """The two truths, and that every product and every parent is of one committed attempt."""
    store = store_of(jobs)
    receipts = receipts_of(jobs)
    committed = {}
    for receipt in receipts.values():
        if receipt is None or receipt.state != "made":
            continue
        for output in receipt.outputs:
            assert output.aside.split("/")[2] == receipt.attempt
            committed[output.path] = output.sha256
            places = (output.path,) if ended else (output.path, output.aside)
            assert any(store.digest(name) == (output.size, output.sha256) for name in places)
        for parent in receipt.inputs:
            producer = next(
                (r for r in receipts.values() if r and any(o.id == parent.id for o in r.outputs)), None
            )
            if parent.state == "made" and producer is not None:
                assert parent.sha256 == next(o.sha256 for o in producer.outputs if o.id == parent.id)
    for name, data in products(jobs).items():
        assert committed[name] == hashlib.sha256(data).hexdigest()
    if ended:
        assert all(receipts.values())


def calls_of_a_whole_run(tmp_path):
    reset()
    jobs = make(tmp_path / "whole")
    run(jobs)
    return Watched.calls, products(jobs)


def test_a_kill_between_any_two_calls_and_the_next_attempt_ends_as_if_nothing_had_been(tmp_path):
    calls, expected = calls_of_a_whole_run(tmp_path)
    for k in range(calls):
        jobs = make(tmp_path / str(k))
        assert in_a_process_killed_at(k, jobs)
        assert_true(jobs, ended=False)
        reset()
        outcome = run(jobs)

        assert outcome.failures == ()
        assert_true(jobs)
        assert products(jobs) == expected
    assert calls > 30


def test_after_any_kill_a_consumer_reads_what_was_committed_or_waits(tmp_path):
    calls, expected = calls_of_a_whole_run(tmp_path)
    waited = 0
    for k in range(calls):
        jobs = make(tmp_path / str(k))
        if not in_a_process_killed_at(k, jobs, "part"):
            break
        reset()
        consumer = run(jobs, "total")
        waited += bool(consumer.not_yet)

        assert consumer.failures == ()
        assert (list(consumer.states.values()) == ["made"]) == (not consumer.not_yet)
        assert_true(jobs, ended=False)
        run(jobs, "part")
        run(jobs, "total")
        assert products(jobs) == expected
    assert 0 < waited < k


def test_two_attempts_with_other_bytes_never_mix(tmp_path):
    calls, _ = calls_of_a_whole_run(tmp_path)
    for k in range(calls):
        jobs = make(tmp_path / str(k), RESTLESS)
        others = []
        reset(k, lambda jobs=jobs, others=others: others.append(run(jobs)))
        outcome = run(jobs)

        assert outcome.failures == ()
        assert outcome.receipts == others[0].receipts
        assert_true(jobs)
        assert not list(store_of(jobs).walk("_aside"))


def test_an_attempt_overtaken_by_one_that_is_killed_half_way_never_mixes(tmp_path):
    calls, _ = calls_of_a_whole_run(tmp_path)
    for k in range(0, calls, 4):
        for m in range(1, calls, 5):
            jobs = make(tmp_path / f"{k}-{m}", RESTLESS)
            reset(k, lambda m=m, jobs=jobs: in_a_process_killed_at(m, jobs))
            outcome = run(jobs)

            assert outcome.failures == ()
            assert_true(jobs)


@pytest.mark.parametrize("answer", [Put.EXISTS, Put.UNKNOWN])
def test_a_lost_answer_to_the_commit_loses_no_bytes(tmp_path, answer):
    jobs = make(tmp_path, RESTLESS)
    reset(answers=(answer, answer, answer))
    outcome = run(jobs)

    assert {r.attempt for r in outcome.receipts.values()} == {outcome.attempt}
    assert outcome.report["findings"] == []
    assert_true(jobs)


def lost(jobs, n):
    definition = jobs.quanta[n][0]
    receipt = Receipt(
        definition.id, definition.task, jobs.run, definition.data_id, "job", "lost", definition.recipe, None, sealer="engine",
        code="failed",
    )  # fmt: skip
    return settle(store_of(jobs), receipt)[0]


def test_a_seal_at_any_moment_and_a_late_success_agree_with_the_gather(tmp_path):
    calls, _ = calls_of_a_whole_run(tmp_path)
    seen = set()
    for k in range(calls):
        jobs = make(tmp_path / str(k), RESTLESS, minimum=1)
        reset(k, lambda jobs=jobs: lost(jobs, 0))
        outcome = run(jobs)
        states = [str(s) for s in outcome.states.values()]
        path = next(p for p in products(jobs) if "total" in p)
        story = open_format("json").read_story(jobs.directory / "store" / path)
        document = json.loads(products(jobs)[path])

        assert outcome.failures == ()
        assert_true(jobs)
        assert states[0] in ("made", "lost")
        assert states[1:] == ["made", "made"]
        assert document["n"] == story.used == states[:2].count("made")
        assert [i.state for i in story.inputs] == states[:2]
        seen.add(states[0])
    assert seen == {"made", "lost"}


def test_a_gather_killed_and_tried_again_sees_the_same_set_and_gives_the_same_bytes(tmp_path):
    found = []
    for k in range(60):
        jobs = make(tmp_path / str(k), minimum=1)
        lost(jobs, 1)
        reset()
        run(jobs, "part")
        killed = in_a_process_killed_at(k, jobs, "total")
        reset()
        run(jobs, "total")
        found.append(products(jobs))
        if not killed:
            break

    assert len(found) > 8
    assert all(one == found[0] for one in found)


def test_cleaning_at_any_moment_takes_nothing_that_is_needed(tmp_path):
    calls, expected = calls_of_a_whole_run(tmp_path)
    for k in range(calls):
        jobs = make(tmp_path / str(k))
        reset(k, lambda jobs=jobs: clean(store_of(jobs)))
        outcome = run(jobs)

        assert outcome.failures == ()
        assert products(jobs) == expected


FLAKY = """
from pathlib import Path

def part(quantum, config):
    with open(config["book"], "a") as book:
        book.write(f"{quantum.data_id['visit']}\\n")
    if quantum.data_id["visit"] == 2 and not Path(config["good"]).exists():
        raise OSError("no luck yet")
    quantum.put("y", {"v": 1})
"""


@pytest.mark.parametrize("regrouped", [False, True])
def test_what_one_try_settled_no_other_makes_again_also_in_another_job(tmp_path, regrouped):
    jobs = Jobs(tmp_path)
    jobs.code(tasks=FLAKY)
    config = {"book": str(tmp_path / "book"), "good": str(tmp_path / "good")}
    for v in (1, 2):
        raw = jobs.existing("raw", {"visit": v}, {"v": v})
        jobs.quantum(
            "part",
            {"visit": v},
            entry="tasks:part",
            config=config,
            inputs={"x": [raw]},
            outputs={"y": "json"},
        )
    first = run_manifest(jobs.manifest(), scratch=jobs.scratch)
    (tmp_path / "good").touch()
    again = jobs.manifest(job="another" if regrouped else "job")
    if regrouped:
        again = replace(again, plan="1" * 32, quanta=again.quanta[::-1])
    second = run_manifest(again, scratch=jobs.scratch)

    assert [str(s) for s in first.states.values()] == ["made", "failed"]
    assert set(second.states.values()) == {"made"}
    assert (tmp_path / "book").read_text().split() == ["1", "2", "2"]
    assert len([n for n, _ in jobs.store.walk("_receipts")]) == 2


def planned_and_actual(jobs):
    receipts = receipts_of(jobs)
    return {(r.task, str(dict(r.data_id))): (r.planned_recipe, r.actual_recipe) for r in receipts.values()}


def test_after_a_loss_a_repair_makes_again_what_it_touched_and_nothing_else(tmp_path):
    reset()
    whole, lossy, twin = (
        make(tmp_path / "whole", minimum=1),
        make(tmp_path / "lossy", minimum=1),
        make(tmp_path / "twin", minimum=1),
    )
    for jobs in (lossy, twin):
        lost(jobs, 1)
    for jobs in (whole, lossy, twin):
        run(jobs)
    actual = {name: a for name, (_, a) in planned_and_actual(lossy).items()}
    wanted = {name: p for name, (p, _) in planned_and_actual(whole).items()}

    assert wanted == {name: p for name, (p, _) in planned_and_actual(lossy).items()}
    assert {name for name in wanted if actual[name] != wanted[name]} == {
        ("part", "{'visit': 2}"),
        ("total", "{}"),
    }
    assert all(p == a for p, a in planned_and_actual(whole).values())
    assert products(lossy) == products(twin)  # the same actual recipe, the same bytes


def test_a_full_disk_is_said_and_leaves_nothing_half_written(tmp_path):
    calls, expected = calls_of_a_whole_run(tmp_path)

    def full():
        raise OSError(28, "No space left on device")

    told = set()
    for k in range(calls):
        jobs = make(tmp_path / str(k))
        reset(k, full)
        try:
            outcome = run(jobs)
        except OSError:
            outcome = None  # the first looks: nothing was begun
        told |= {f.code for f in outcome.failures} if outcome else set()
        assert_true(jobs, ended=False)
        reset()
        run(jobs)
        assert products(jobs) == expected
    assert told == {"PST-R002"}


def test_after_any_kill_ingest_finishes_what_was_committed_and_takes_in_no_more(tmp_path):
    from prestow.ingest import ingest_outputs
    from prestow.naming.universe import load_universe
    from prestow.registry import Registry

    calls, expected = calls_of_a_whole_run(tmp_path)
    for k in range(0, calls, 2):
        jobs = make(tmp_path / str(k))
        assert in_a_process_killed_at(k, jobs)
        reset()
        committed = [r for r in receipts_of(jobs).values() if r is not None]
        with Registry.open(
            f"sqlite:///{jobs.directory}/registry.db", load_universe(), create=True
        ) as registry:
            report = ingest_outputs(registry, store_of(jobs))

            assert report.problems == ()
            assert report.added == sum(len(r.outputs) for r in committed)
            assert {
                n: d for n, d in products(jobs).items() if n in {o.path for r in committed for o in r.outputs}
            }.keys() == {o.path for r in committed for o in r.outputs}
        assert run(jobs).failures == ()
        assert products(jobs) == expected
