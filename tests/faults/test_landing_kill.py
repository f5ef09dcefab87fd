"""A process that commits a landing dies before any of its store calls; who comes then makes all of it good."""

import importlib.util
import os
import shutil
import signal
from pathlib import Path

import pytest

from prestow.commit import clean, each_receipt, landing_name, promote
from prestow.ingest.landing import land
from prestow.stores.file import FileStore
from prestow.testing.carrier import Carrier
from prestow.testing.jobs import Jobs

spec = importlib.util.spec_from_file_location("killing", Path(__file__).with_name("killing.py"))
killing = importlib.util.module_from_spec(spec)
spec.loader.exec_module(killing)

CALLS = ("read", "size", "digest", "put_if_absent", "move", "delete", "walk", "walk_names")
PLAN = "0f" * 16

TASKS = """
from prestow.tasks import NothingToDo

def part(quantum, config):
    if config["what"] == "fail":
        raise ValueError("no stars")
    if config["what"] == "decline":
        raise NothingToDo("no_stars")
    quantum.put("y", {"v": 2 * quantum.get("x")["v"]})
    quantum.put("z", {"v": "side"})

def total(quantum):
    quantum.put("y", {"n": len(quantum.inputs["x"])})
"""


class Watched:
    """A file store whose process dies before its k-th call."""

    def __init__(self, root, at=None):
        self._store = FileStore(f"file://{root}")
        self.uri = self._store.uri
        self.calls = 0
        self.at = at

    def __getattr__(self, name):
        found = getattr(self._store, name)
        if name not in CALLS:
            return found

        def call(*arguments):
            if self.calls == self.at:
                os.kill(os.getpid(), signal.SIGKILL)
            self.calls += 1
            return found(*arguments)

        return call

    def local_path(self, name):
        return self._store.local_path(name)


@pytest.fixture(scope="module")
def landed(tmp_path_factory):
    """Give a store with what four real jobs landed, one of them lost and one declined."""
    jobs = Jobs(tmp_path_factory.mktemp("landed"))
    jobs.code(tasks=TASKS)
    made = []
    for visit, what in ((1, ""), (2, "fail"), (3, "decline")):
        raw = jobs.existing("raw", {"visit": visit}, {"v": visit})
        made.append(
            jobs.quantum("part", {"visit": visit}, entry="tasks:part", inputs={"x": [raw]}, outputs={"y": "json", "z": "json"},
                         config={"what": what}, tolerate=True)["y"]
        )  # fmt: skip
    jobs.quantum("total", {"band": "g"}, entry="tasks:total", inputs={"x": (made, 1)}, outputs={"y": "json"})
    carrier = Carrier([jobs.manifest()], jobs.directory / "carried", words=["--final"])
    assert carrier.run(), carrier.logs
    carrier.land(jobs.directory / "store" / landing_name(PLAN, 1))
    makers = {i.id: str(i.receipt) for i in jobs.manifest("total").inputs}
    return jobs.directory / "store", lambda datasets: {d: makers[d] for d in datasets if d in makers}


def whole(root):
    """Look whether the archive has all that is committed, and nothing else."""
    store = FileStore(f"file://{root}")
    made = {}
    for _, receipt in each_receipt(store, "demo"):
        for output in receipt.outputs:
            places = [
                name
                for name in (output.path, output.aside)
                if store.digest(name) == (output.size, output.sha256)
            ]
            assert places, f"the bytes of {output.path} are nowhere"
            made[output.path] = output
    for name, _ in store.walk("demo"):
        assert name in made, f"{name} is in the archive, and no receipt commits it"
        assert store.digest(name) == (made[name].size, made[name].sha256)
    return {r.quantum: r.state for _, r in each_receipt(store, "demo")}


@pytest.mark.parametrize("then", ["again", "a cleaner, and again"])
def test_killed_before_any_call_it_is_made_good_by_the_next(landed, then):
    landed, makers = landed
    makers = None if then == "again" else makers  # as a plan says it, where claims and tombstones are gone
    with killing.in_memory() as directory:
        count = Watched(killing.copied(landed, f"{directory}/whole"))
        assert land(count, PLAN, 1, threads=1).committed == 4
        expected = whole(f"{directory}/whole")
        assert sorted(expected.values()) == ["declined", "lost", "made", "made"]
        assert count.calls > 40
        for k in range(0 if killing.FULL or then == "again" else 1, count.calls, 1 if killing.FULL else 3):
            root = killing.copied(landed, f"{directory}/{k}")
            pid = os.fork()
            if pid == 0:
                land(Watched(root, k), PLAN, 1, threads=1)
                os._exit(1)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
            before = whole(root)
            assert before.items() <= expected.items()
            store = FileStore(f"file://{root}")
            if then != "again":
                clean(store)
            found = land(store, PLAN, 1, threads=1, producers=makers)
            assert found.findings == (), k
            assert whole(root) == expected, k
            if then != "again":  # where the claim is gone, ingest promotes: by the receipt
                for _, receipt in each_receipt(store, "demo"):
                    promote(store, receipt)
            assert sum(1 for _ in store.walk("demo")) == 3
            clean(store)
            assert not list(store.walk("_landing")), k
            shutil.rmtree(root)
