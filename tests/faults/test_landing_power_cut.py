"""The power fails at any act of committing a landing, of which an engine has synced nothing; and without any one sync it does not hold."""

import importlib.util
import inspect
import itertools
import os
import shutil
from pathlib import Path

import pytest

from prestow.commit import landing_name
from prestow.ingest import landing, landing_folder
from prestow.ingest.landing import land
from prestow.stores import file
from prestow.stores.file import FileStore
from prestow.testing.faults import KINDS, Dead, Disk, Promised, anew, calls, without

HERE = Path(__file__).parent
modules = []
for name in ("killing", "landings"):
    spec = importlib.util.spec_from_file_location(name, HERE / f"{name}.py")
    modules.append(importlib.util.module_from_spec(spec))
    spec.loader.exec_module(modules[-1])
killing, landings = modules

PLAN = landings.PLAN
FOLDER = landing_name(PLAN, 1)
STORE, LANDING = inspect.getsource(file), inspect.getsource(landing_folder)
EVERY = 1 if killing.FULL else 17  # of the acts


@pytest.fixture(scope="module")
def landed(tmp_path_factory):
    """Give a store with what four real jobs landed, and what committing that comes to."""
    root, _ = landings.landed_by_jobs(tmp_path_factory.mktemp("landed"))
    once = killing.copied(root, tmp_path_factory.mktemp("once") / "store")
    assert land(FileStore(f"file://{once}"), PLAN, 1).findings == ()
    return root, landings.whole(once)


class Place:
    """A disk with a store on it, of which all but the landing folder is durable."""

    count = itertools.count()

    def __init__(self, root, landed, sources=(STORE, LANDING)):
        self.root, self.landed, self.sources = root, landed, sources
        self.top = root / f"p{next(self.count)}"
        self.top.mkdir()
        killing.copied(landed, self.top / "store")
        shutil.rmtree(self.top / "store" / "_landing")
        self.disk = Disk(self.top)
        self.promised = Promised()
        self.system = self.disk.process()
        self._let_land()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.disk.__exit__()
        shutil.rmtree(self.top)

    def _let_land(self):
        """Write what an engine brings, as programs do that copy files: nothing is synced."""
        target = f"{self.disk.root}/store"
        for directory, folders, names in os.walk(self.landed / "_landing"):
            there = f"{target}/{os.path.relpath(directory, self.landed)}"
            self.system.mkdir(there)
            for name in names:
                handle = self.system.open(f"{there}/{name}", os.O_WRONLY | os.O_CREAT)
                self.system.write(handle, Path(directory, name).read_bytes())
                os.close(handle)
            folders.sort()

    def land(self, at=None):
        """Commit in a process of its own, that dies before one of its acts. Says whether it lived."""
        self.system = self.disk.process()
        self.system.at = at
        store = anew("watched_file_store", self.sources[0], self.system)
        folder = anew("watched_landing_folder", self.sources[1], self.system)
        watched = self.promised.remembering(store.FileStore(f"file://{self.disk.root}/store"))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(landing, "make_durable", folder.make_durable)
            try:
                land(watched, PLAN, 1, threads=1)
            except Dead:
                return False
        return True

    def cuts(self, expected=None):
        """Let the power fail, in each way; give what is wrong with what is left, and with what comes of it."""
        for kind in KINDS:
            left = self.disk.after_power_cut(kind, self.root / f"{kind}-{next(self.count)}") / "store"
            try:
                yield from (f"{kind}: {told}" for told in self._wrong(left, expected))
            finally:
                shutil.rmtree(left.parent)

    def _wrong(self, left, expected):
        # What was landed is the engine's, and no promise of ours: its copy may be torn. What was taken and committed is not.
        for name in self.promised.broken(left):
            if not name.startswith(FOLDER):
                yield f"promised: {name}"
        try:
            before = landings.whole(left)
        except (AssertionError, ValueError) as error:
            yield str(error)
            return
        if expected is None:
            return
        if not before.items() <= expected.items():
            yield f"settled otherwise: {before}"
        for path in (self.landed / "_landing").rglob("*"):  # the engine does it again
            if path.is_file():
                target = left / path.relative_to(self.landed)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.unlink(missing_ok=True)
                shutil.copyfile(path, target)
        store = FileStore(f"file://{left}")
        for problem in land(store, PLAN, 1, threads=1).findings:
            yield f"afterwards: {problem}"
        if landings.whole(left) != expected:
            yield "afterwards not all is committed"


@pytest.fixture
def memory():
    with killing.in_memory() as name:
        yield Path(os.path.realpath(name))


def cut_at(place, at, expected=None):
    """Let the power fail at one act; None if there are not so many."""
    return None if place.land(at) else [f"act {at}, {told}" for told in place.cuts(expected)]


def killed_then_cut(place, at, expected=None):
    """Kill it at one act, let another end it, and let the power fail then."""
    if place.land(at):
        return None
    assert place.land()
    return [f"act {at}, then cut, {told}" for told in place.cuts(expected)]


@pytest.mark.parametrize("trial", [cut_at, killed_then_cut])
def test_the_power_fails_at_any_act_of_committing_a_landing(trial, landed, memory):
    landed, expected = landed
    for at in itertools.count(0, EVERY):
        with Place(memory, landed) as place:
            found = trial(place, at, expected)
        if found is None:
            break
        assert found == []
    assert at > 60


MUTANTS = calls(LANDING, "fsync")


def test_all_syncs_of_landings_are_known_here():
    assert len(MUTANTS) == 1
    assert "fsync" not in inspect.getsource(landing)


@pytest.mark.parametrize("mutant", MUTANTS)
def test_without_any_one_sync_it_does_not_hold(mutant, landed, memory):
    landed, expected = landed
    for at in itertools.count(0, 3):
        with Place(memory, landed, (STORE, without(LANDING, mutant))) as place:
            found = cut_at(place, at, expected)
        if found:
            return
        assert found is not None, "no power cut shows that this sync is missing"
