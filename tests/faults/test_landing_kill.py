"""A process that commits a landing dies before any of its store calls, or something else goes on there; who comes then makes all of it good."""

import contextlib
import importlib.util
import os
import shutil
import signal
from pathlib import Path

import pytest

from prestow.commit import clean, each_receipt, landing_name, promote
from prestow.errors import StoreError
from prestow.ingest.landing import land
from prestow.stores.file import FileStore

HERE = Path(__file__).parent
modules = []
for name in ("killing", "landings"):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    modules.append(importlib.util.module_from_spec(spec))
    spec.loader.exec_module(modules[-1])
killing, landings = modules
PLAN, whole = landings.PLAN, landings.whole

CALLS = ("read", "size", "digest", "put_if_absent", "move", "delete", "walk", "walk_names")


class Watched:
    """A file store whose process dies before its k-th call, or to which something else happens then."""

    def __init__(self, root, at=None, what=lambda: os.kill(os.getpid(), signal.SIGKILL)):
        self._store = FileStore(f"file://{root}")
        self.uri = self._store.uri
        self.calls = 0
        self.at = at
        self.what = what

    def __getattr__(self, name):
        found = getattr(self._store, name)
        if name not in CALLS:
            return found

        def call(*arguments):
            if self.calls == self.at:
                self.what()
            self.calls += 1
            return found(*arguments)

        return call

    def local_path(self, name):
        return self._store.local_path(name)


@pytest.fixture(scope="module")
def landed(tmp_path_factory):
    return landings.landed_by_jobs(tmp_path_factory.mktemp("landed"))


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


def again(landed, root):
    """Let the engine bring once more what it brought, over whatever is there."""
    for path in (landed / "_landing").rglob("*"):
        if path.is_file():
            target = Path(root, path.relative_to(landed))
            target.parent.mkdir(parents=True, exist_ok=True)
            target.unlink(missing_ok=True)
            shutil.copyfile(path, target)


def another_lands(landed, root):
    land(FileStore(f"file://{root}"), PLAN, 1, threads=1)


def the_engine_lands_it_again(landed, root):
    again(landed, root)


def the_engine_lands_another_execution(landed, root):
    """Half of it: products without their claims."""
    again(landed, root)
    folder = Path(root, landing_name(PLAN, 1))
    for path in folder.rglob("demo/**/*.json"):
        path.write_bytes(b'{"v": "of another execution"}')


def the_folder_is_deleted(landed, root):
    shutil.rmtree(Path(root, "_landing"), ignore_errors=True)


def what_was_not_looked_at_is_deleted(landed, root):
    """Products go, claims stay, and what was taken."""
    for path in Path(root, landing_name(PLAN, 1)).glob("demo/**/*.json"):
        path.unlink()


EVENTS = (
    another_lands, the_engine_lands_it_again, the_engine_lands_another_execution, the_folder_is_deleted, what_was_not_looked_at_is_deleted,
)  # fmt: skip


@pytest.mark.parametrize("event", EVENTS, ids=lambda e: e.__name__.replace("_", " "))
def test_whatever_goes_on_between_any_two_calls_nothing_uncommitted_is_in_the_archive(landed, event):
    landed, _ = landed
    with killing.in_memory() as directory:
        count = Watched(killing.copied(landed, f"{directory}/whole"))
        land(count, PLAN, 1, threads=1)
        expected = whole(f"{directory}/whole")
        products = killing.tree(f"{directory}/whole/demo")
        gone = {f"demo/{name}" for name in products} if event is the_folder_is_deleted else ()
        for k in range(0, count.calls, 1 if killing.FULL else 7):
            root = killing.copied(landed, f"{directory}/{k}")
            first = Watched(root, k, lambda root=root: event(landed, root))
            with contextlib.suppress(StoreError):
                land(first, PLAN, 1, threads=1)
            before = whole(root, gone=gone)
            assert before.items() <= expected.items(), k
            if event is another_lands:
                assert before == expected, k
            again(landed, root)
            found = land(FileStore(f"file://{root}"), PLAN, 1, threads=1)
            assert (found.findings, found.elsewhere) == ((), 0), k
            assert whole(root) == expected, k
            assert killing.tree(f"{root}/demo") == products, k
            clean(FileStore(f"file://{root}"))
            assert not list(FileStore(f"file://{root}").walk("_landing")), k
            shutil.rmtree(root)


def test_several_processes_commit_one_landing_at_once(landed):
    landed, _ = landed
    with killing.in_memory() as directory:
        land(FileStore(f"file://{killing.copied(landed, f'{directory}/whole')}"), PLAN, 1)
        expected = whole(f"{directory}/whole")
        for trial in range(20 if killing.FULL else 4):
            root = killing.copied(landed, f"{directory}/{trial}")
            begin, go = os.pipe()
            landers = []
            for _ in range(3):
                landers.append(os.fork())
                if landers[-1] == 0:
                    os.close(go)
                    os.read(begin, 1)  # until all are there
                    found = land(FileStore(f"file://{root}"), PLAN, 1, threads=1)
                    os._exit(len(found.findings))
            os.close(go)
            os.close(begin)
            codes = [os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) for pid in landers]
            assert codes == [0, 0, 0], trial
            assert whole(root) == expected, trial
            assert not list(FileStore(f"file://{root}").walk("_landing")), trial
