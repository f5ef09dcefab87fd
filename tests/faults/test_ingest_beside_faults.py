"""Full, failing and read-only disks, files that change under one's hands, others who do the same: named, and gone on from."""

import contextlib
import errno
import importlib.util
import json
import os
import signal
import subprocess
import sys
import uuid
from pathlib import Path

import pytest

from prestow.errors import PrestowError
from prestow.ingest import ingest_outputs, outputs
from prestow.naming.universe import load_universe
from prestow.registry import Registry, put_record
from prestow.stores import file, open_store
from prestow.stores.file import FileStore
from prestow.testing.faults import Disk, anew

spec = importlib.util.spec_from_file_location("killing", Path(__file__).with_name("killing.py"))
killing = importlib.util.module_from_spec(spec)
spec.loader.exec_module(killing)
RUN, comparable = killing.RUN, killing.comparable

UNIVERSE = load_universe()
MANY, BATCHES = (20_000, 20) if killing.FULL else (400, 10)

INGEST = """
import sys
from prestow.ingest import ingest_outputs, outputs
from prestow.naming.universe import load_universe
from prestow.registry import Registry
from prestow.stores import open_store
import pyarrow, adbc_driver_sqlite
url, uri, number, level = sys.argv[1:]
outputs.BATCH = outputs.PORTION = int(number)
with Registry.open(url, load_universe(), create=True) as registry:
    print("begin", flush=True)
    sys.stdin.readline()
    whole = Registry.insert_datasets

    def insert(self, batch):
        print("loading", flush=True)
        return whole(self, batch)

    Registry.insert_datasets = insert
    report = ingest_outputs(registry, open_store(uri), level=level, processes=1)
    print("problems", len(report.problems), "added", report.added, flush=True)
"""


def begun(url, uri, *, number=40, level="full"):
    """Start a process that waits for a word to take in."""
    words = [sys.executable, "-c", INGEST, url, uri, str(number), level]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begin\n"
    return process


def go(process):
    process.stdin.write("\n")
    process.stdin.flush()


def ended(process):
    """Give how many problems there were, and how many datasets were added."""
    out, _ = process.communicate()
    assert process.returncode == 0, out
    words = out.splitlines()[-1].split()
    return int(words[1]), int(words[3])


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A campaign of 60 outputs, and what an undisturbed ingest makes of it."""
    root = tmp_path_factory.mktemp("made")
    receipts = killing.produce(open_store(f"file://{root}/pristine"), 60)
    killing.copied(root / "pristine", root / "once")
    with Registry.open(f"sqlite:///{root}/once.db", UNIVERSE, create=True) as registry:
        assert ingest_outputs(registry, open_store(f"file://{root}/once")).problems == ()
        return root / "pristine", receipts, comparable(registry), killing.tree(root / "once")


@pytest.fixture
def store(made, tmp_path):
    return FileStore(f"file://{killing.copied(made[0], tmp_path / 'store')}")


@pytest.fixture
def small_batches(monkeypatch):
    monkeypatch.setattr(outputs, "BATCH", 10)
    monkeypatch.setattr(outputs, "PORTION", 5)


def is_whole(made, registry, root):
    assert comparable(registry) == made[2]
    assert killing.tree(root) == made[3]
    sequence = registry.committed()["sequence"].to_pylist()
    assert sequence == list(range(1, len(sequence) + 1))


@contextlib.contextmanager
def mounted(place, options):
    place.mkdir(exist_ok=True)
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", options, "tmpfs", place], capture_output=True, check=False
    )
    if done.returncode:
        pytest.skip(f"NOT TESTED: only root can mount a small disk: {done.stderr.decode().strip()}")
    try:
        yield place
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def prestow(*words, cwd):
    done = subprocess.run(
        [sys.executable, "-m", "prestow", *words], cwd=cwd, capture_output=True, text=True, check=False
    )
    assert "Traceback" not in done.stderr
    return done


def project(root, store, registry):
    """Make a project whose outputs are in a store."""
    (root / "prestow.yaml").write_text(
        f"schema: prestow.project/1\nregistry: {registry}\nstore: file://{store}\npipeline: none.yaml\n"
    )


def test_the_disk_of_the_registry_is_full_and_the_same_command_goes_on(made, tmp_path):
    project_ = tmp_path / "project"
    project_.mkdir()
    with mounted(tmp_path / "small", "size=2m") as small:
        store = killing.copied(made[0], tmp_path / "store")
        project(project_, store, f"sqlite:///{small}/r.db")
        Registry.open(f"sqlite:///{small}/r.db", UNIVERSE, create=True).close()
        filler = small / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as stream:
            while True:
                stream.write(b"x" * 4096)
        full = prestow("ingest", "--run", RUN, "--json", cwd=project_)
        assert full.returncode != 0
        assert [problem["code"] for problem in json.loads(full.stdout)["problems"]] == ["PST-R002"]
        filler.unlink()
        again = prestow("ingest", "--run", RUN, cwd=project_)
        assert again.returncode == 0, again.stderr
        with Registry.open(f"sqlite:///{small}/r.db", UNIVERSE) as registry:
            is_whole(made, registry, store)


def test_the_disk_of_the_store_is_full_and_the_same_command_goes_on(made, tmp_path):
    project_ = tmp_path / "project"
    project_.mkdir()
    with mounted(tmp_path / "small", "size=3m,nr_inodes=500") as small:
        store = killing.copied(made[0], small / "store")
        project(project_, store, f"sqlite:///{tmp_path}/r.db")
        Registry.open(f"sqlite:///{tmp_path}/r.db", UNIVERSE, create=True).close()
        taken = 0
        with contextlib.suppress(OSError):
            while True:  # neither a file nor a directory more
                (small / f"filler-{taken}").mkdir()
                taken += 1
        full = prestow("ingest", "--run", RUN, "--json", cwd=project_)
        assert full.returncode != 0
        (problem,) = json.loads(full.stdout)["problems"]
        assert problem["code"] == "PST-R002"
        assert str(small) in problem["where"]
        for number in range(taken):
            (small / f"filler-{number}").rmdir()
        again = prestow("ingest", "--run", RUN, cwd=project_)
        assert again.returncode == 0, again.stderr
        with Registry.open(f"sqlite:///{tmp_path}/r.db", UNIVERSE) as registry:
            is_whole(made, registry, store)


def test_a_store_that_is_read_only_is_named_and_taken_in_once_it_can_be_written(made, tmp_path):
    project_ = tmp_path / "project"
    project_.mkdir()
    with mounted(tmp_path / "disk", "size=30m") as disk:
        store = killing.copied(made[0], disk / "store")
        project(project_, store, f"sqlite:///{tmp_path}/r.db")
        Registry.open(f"sqlite:///{tmp_path}/r.db", UNIVERSE, create=True).close()
        subprocess.run(["mount", "-o", "remount,ro", disk], check=True)
        before = killing.tree(store)
        refused = prestow("ingest", "--run", RUN, "--json", cwd=project_)
        assert refused.returncode != 0
        (problem,) = json.loads(refused.stdout)["problems"]
        assert problem["code"] == "PST-R001"
        assert "Read-only file system" in problem["what"]
        assert killing.tree(store) == before
        subprocess.run(["mount", "-o", "remount,rw", disk], check=True)
        assert prestow("ingest", "--run", RUN, cwd=project_).returncode == 0
        with Registry.open(f"sqlite:///{tmp_path}/r.db", UNIVERSE) as registry:
            is_whole(made, registry, store)


@pytest.mark.usefixtures("small_batches")
@pytest.mark.parametrize("number", [errno.EIO, errno.ENOSPC, errno.EROFS, errno.ESTALE])
def test_any_act_of_the_disk_that_fails_is_named_and_the_same_again_goes_on(made, tmp_path, number):
    """What the store does to its disk fails at one act after another, once each."""
    with killing.in_memory() as place:
        told = set()
        for at in range(0, 10**6, 17 if killing.FULL else 83):
            root = killing.copied(made[0], f"{place}/{at}")
            with (
                Disk(root) as disk,
                Registry.open(f"sqlite:///{place}/{at}.db", UNIVERSE, create=True) as registry,
            ):
                system = disk.process()
                system.at, system.what = at, OSError(number, os.strerror(number))
                module = anew("failing_file_store", Path(file.__file__).read_text(), system)
                try:
                    report = ingest_outputs(registry, module.FileStore(f"file://{root}"), processes=1)
                    told |= {problem.code for problem in report.problems}
                except PrestowError as error:
                    (problem,) = error.problems
                    assert problem.where
                    assert problem.fix
                    told.add(problem.code)
                again = ingest_outputs(registry, FileStore(f"file://{root}"))
                assert again.problems == ()
                is_whole(made, registry, root)
                if system.acts <= at:
                    break
        assert at > 100
        assert told == {"PST-R002" if number == errno.ENOSPC else "PST-R001"}


class Changing(FileStore):
    """A store in which something happens after the files are listed, and before they are read."""

    happens = None

    def walk(self, prefix=""):
        yield from list(super().walk(prefix))
        self.listed(prefix)

    def walk_names(self, prefix=""):
        yield from list(super().walk_names(prefix))
        self.listed(prefix)

    def listed(self, prefix):
        if prefix.startswith("_aside") and self.happens is not None:
            self.happens, happens = None, self.happens
            happens(self)


def vanish(path):
    path.unlink()


def tear(path):
    path.chmod(0o644)
    os.truncate(path, path.stat().st_size // 2)


def flip(path):
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[-10] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("kind", ["fits", "json"])
@pytest.mark.parametrize(
    ("fault", "said"),
    [(vanish, "neither at their name nor aside"), (tear, "neither at their name nor aside"), (flip, "")],
)
def test_a_file_that_changes_between_list_and_read_is_refused_with_its_quantum_alone(
    made, store, tmp_path, fault, said, kind
):
    home = next(
        r for r in made[1]
        if r.state == "made" and r.outputs[0].format == kind and store.size(r.outputs[0].path) and r.task != "coadd"
    )  # fmt: skip
    path = store.local_path(home.outputs[0].path)
    good = path.read_bytes()
    changing = Changing(store.uri)
    changing.happens = lambda _: fault(path)
    with Registry.open(f"sqlite:///{tmp_path}/r.db", UNIVERSE, create=True) as registry:
        report = ingest_outputs(registry, changing, level="full", processes=1)
        refused = {p.where for p in report.problems}
        assert refused == {home.outputs[0].path}
        assert any(said in p.what for p in report.problems)
        assert report.added == len(killing.made(made[1])) - len(home.outputs)
        path.unlink(missing_ok=True)
        path.write_bytes(good)
        path.chmod(0o444)
        assert ingest_outputs(registry, FileStore(store.uri), level="full").problems == ()
        is_whole(made, registry, tmp_path / "store")


def test_two_who_take_in_the_same_at_once_take_it_in_once(made, store, registry_url, tmp_path):
    two = [begun(registry_url, store.uri, number=10) for _ in range(2)]
    for process in two:
        go(process)
    told = [ended(process) for process in two]
    assert [problems for problems, _ in told] == [0, 0]
    assert sum(added for _, added in told) == len(killing.made(made[1]))
    with Registry.open(registry_url, UNIVERSE) as registry:
        is_whole(made, registry, tmp_path / "store")


LATE = INGEST.replace(
    'print("loading", flush=True)', 'print("loading", flush=True); sys.stdin.readline()'
)  # it sleeps at the very place


def asleep(url, uri):
    """Give an ingester that has judged all files and sleeps, and is stopped, before it loads their rows."""
    words = [sys.executable, "-c", LATE, url, uri, "1000", "full"]
    process = subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "begin\n"
    go(process)
    assert process.stdout.readline() == "loading\n"
    process.send_signal(signal.SIGSTOP)
    return process


def wake(process):
    process.send_signal(signal.SIGCONT)
    go(process)
    return ended(process)


def test_one_that_wakes_up_late_after_another_has_finished_adds_nothing(made, store, registry_url, tmp_path):
    Registry.open(registry_url, UNIVERSE, create=True).close()
    sleeper = asleep(registry_url, store.uri)
    with Registry.open(registry_url, UNIVERSE) as registry:
        ingest_outputs(registry, store)
        assert wake(sleeper) == (0, 0)
        is_whole(made, registry, tmp_path / "store")


def test_one_that_wakes_up_late_brings_back_nothing_that_was_deleted(made, store, registry_url):
    Registry.open(registry_url, UNIVERSE, create=True).close()
    sleeper = asleep(registry_url, store.uri)
    gone = next(o for o in killing.made(made[1]) if o.type == "postisr")
    with Registry.open(registry_url, UNIVERSE) as registry:
        ingest_outputs(registry, store)
        put_record(store, "deleted", gone.id, {"dataset": gone.id})
        store.delete(gone.path)
        registry.delete_datasets([uuid.UUID(gone.id).bytes])
        before = comparable(registry)
        assert wake(sleeper) == (0, 0)
        assert comparable(registry) == before
        assert gone.path not in registry.datasets(["postisr"], [RUN])["path"].to_pylist()
        assert store.size(gone.path) is None


def test_one_that_wakes_up_late_beside_a_deletion_that_was_killed(made, store, registry_url):
    """It was killed after its record and its file, before it told the registry; the same command ends it."""
    Registry.open(registry_url, UNIVERSE, create=True).close()
    sleeper = asleep(registry_url, store.uri)
    gone = next(o for o in killing.made(made[1]) if o.type == "postisr")
    put_record(store, "deleted", gone.id, {"dataset": gone.id})
    store.delete(gone.path)
    wake(sleeper)
    with Registry.open(registry_url, UNIVERSE) as registry:
        registry.delete_datasets([uuid.UUID(gone.id).bytes])
        report = ingest_outputs(registry, store, level="full", reverify=True)
        assert (report.problems, report.added) == ((), 0)
        assert gone.path not in registry.datasets(["postisr"], [RUN])["path"].to_pylist()
        assert store.size(gone.path) is None


EIGHT = """
import os, signal, sys
import pyarrow, adbc_driver_sqlite, adbc_driver_sqlite.dbapi
from prestow.ingest import ingest_outputs, outputs
from prestow.naming.universe import load_universe
from prestow.registry import Registry
from prestow.stores.file import FileStore
url, root, number = sys.argv[1:]
universe, children = load_universe(), []
outputs.BATCH = outputs.PORTION = int(number)
for n in range(8):
    children.append(os.fork())
    if children[-1]:
        continue
    try:
        if not n:
            whole, seen = Registry.insert_datasets, []

            def insert(self, batch):
                if seen:
                    os.kill(os.getpid(), signal.SIGKILL)
                seen.append(1)
                return whole(self, batch)

            Registry.insert_datasets = insert
        with Registry.open(url, universe) as registry:
            report = ingest_outputs(registry, FileStore(f"file://{root}"), level="full", processes=1)
        os.write(1, f"{len(report.problems)} {report.added}\\n".encode())
    finally:
        os._exit(0)
print(os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]), 0, flush=True)
for child in children[1:]:
    os.waitpid(child, 0)
"""


@pytest.fixture(scope="module")
def many():
    with killing.in_memory() as place:
        store = FileStore(f"file://{place}/store")
        yield store, [o for r in killing.produce_many(store, MANY) for o in r.outputs]


def test_eight_processes_take_in_many_files_nothing_lost_and_nothing_double(many, registry_url):
    """All of them take in all of it at once; one is killed on the way."""
    store, files = many
    Registry.open(registry_url, UNIVERSE, create=True).close()
    words = [
        sys.executable,
        "-c",
        EIGHT,
        registry_url,
        store.uri.removeprefix("file://"),
        str(MANY // BATCHES),
    ]
    done = subprocess.run(words, stdout=subprocess.PIPE, text=True, check=True)
    told = sorted(tuple(map(int, line.split())) for line in done.stdout.splitlines())
    assert told[0] == (-signal.SIGKILL, 0)
    assert [problems for problems, _ in told[1:]] == [0] * 7
    assert sum(added for _, added in told) <= len(files)  # the one that was killed has told nothing
    with Registry.open(registry_url, UNIVERSE) as registry:
        table = registry.datasets(["postisr"], [RUN])
        assert sorted(table["path"].to_pylist()) == sorted(o.path for o in files)
        sequence = registry.committed()["sequence"].to_pylist()
        assert sequence == list(range(1, len(files) + 1))
        again = ingest_outputs(registry, store)
        assert (again.added, again.problems, again.unexpected) == (0, (), ())
