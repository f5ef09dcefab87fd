"""Ingest killed at random moments and at its own steps, on each database; then again: all is as if nothing had been.

`make faults` kills an ingest of 500 outputs at 310 points on SQLite and at 110 on PostgreSQL, where each costs three times
as much, and one of 20 outputs before every single step: on PostgreSQL before one of each kind of step after each kind that
it follows on (statements, acts on the disk, calls of the store). `make test` kills one of 150 outputs, in smaller batches, at
a seeded 40 of them.
"""

import importlib.util
import random
import shutil
import signal
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from queue import SimpleQueue

import pytest

from prestow.naming.universe import load_universe
from prestow.registry import Registry
from prestow.stores import open_store
from prestow.testing.databases import DIALECTS, available, empty, fresh

spec = importlib.util.spec_from_file_location("killing", Path(__file__).with_name("killing.py"))
killing = importlib.util.module_from_spec(spec)
spec.loader.exec_module(killing)

UNIVERSE = load_universe()
SEED = 20251121
TIMES = {"sqlite": 160, "postgresql": 60} if killing.FULL else dict.fromkeys(DIALECTS, 10)
STEPS = {"sqlite": 150, "postgresql": 50} if killing.FULL else dict.fromkeys(DIALECTS, 10)
OUTPUTS, BATCH = (500, 60) if killing.FULL else (150, 20)  # so that it is of as many batches


@pytest.fixture(scope="module")
def place():
    with killing.in_memory() as directory:
        yield directory


@pytest.fixture(scope="module")
def servers():
    """Two that fork ingests: each costs its imports."""
    with killing.Children() as first, killing.Children() as second:
        yield first, second


class Undisturbed:
    """A campaign, and what an ingest that nobody disturbs makes of it."""

    def __init__(self, root, outputs, children):
        self.root = root
        self.receipts = killing.produce(open_store(f"file://{root}/pristine"), outputs)
        killing.copied(f"{root}/pristine", f"{root}/once")
        Registry.open(f"sqlite:///{root}/empty.db", UNIVERSE, create=True).close()
        shutil.copy(f"{root}/empty.db", f"{root}/once.db")
        done = children.ingest(f"sqlite:///{root}/once.db", f"{root}/once")
        assert (done["code"], done["problems"]) == (0, [])
        assert done["added"] == len(killing.made(self.receipts))
        self.tree = killing.tree(f"{root}/once")
        with Registry.open(f"sqlite:///{root}/once.db", UNIVERSE, read_only=True) as registry:
            self.dump = killing.comparable(registry)


@pytest.fixture(scope="module")
def large(place, servers):
    return Undisturbed(f"{place}/large", OUTPUTS, servers[0])


@pytest.fixture(scope="module")
def small(place, servers):
    return Undisturbed(f"{place}/small", 20, servers[0])


def check(undisturbed, url, store, trial):
    """Hold registry and store, after the ingest that came through, to those of the undisturbed one."""
    with Registry.open(url, UNIVERSE, read_only=True) as registry:
        assert killing.comparable(registry) == undisturbed.dump, trial
        sequence = registry.committed()["sequence"].to_pylist()
        assert sequence == list(range(1, len(sequence) + 1)), trial
    assert killing.tree(store) == undisturbed.tree, trial


def killed_and_again(servers, undisturbed, place, opened, trials, **how):
    """Kill one ingest at each point, give the same command again, and look. Gives how many were killed."""
    idle = SimpleQueue()

    def one(numbered):
        number, point = numbered
        children = idle.get()
        store = f"{place}/{number}"
        killing.copied(f"{undisturbed.root}/pristine", store)
        try:
            with opened(place, f"r{number}") as url:
                first = children.ingest(url, store, **how, **point)
                again = children.ingest(url, store, **how)
                assert (again["code"], again.get("problems")) == (0, []), (point, again)
                check(undisturbed, url, store, point)
        finally:
            idle.put(children)
            shutil.rmtree(store)
        assert first["code"] in (0, -signal.SIGKILL), (point, first)
        return first["code"] != 0

    for server in servers:
        idle.put(server)
    with ThreadPoolExecutor(len(servers)) as pool:
        return sum(pool.map(one, enumerate(trials)))


def ready(dialect, undisturbed):
    """Give how to get a registry that is there and empty."""

    def opened(place, name):
        if dialect == "sqlite":
            shutil.copy(f"{undisturbed.root}/empty.db", f"{place}/{name}.db")
        return empty(dialect, place, name)

    return opened


@pytest.fixture(scope="module", params=[name for name in DIALECTS if available(name)])
def dialect(request):
    return request.param


@pytest.fixture(scope="module")
def whole(large, dialect, servers, tmp_path_factory):
    """How long an undisturbed ingest takes on this database, and of how many steps it is."""
    root = tmp_path_factory.mktemp(dialect)
    killing.copied(f"{large.root}/pristine", root / "store")
    with ready(dialect, large)(root, "whole") as url:
        return servers[0].ingest(url, root / "store", batch=BATCH)


def test_killed_at_random_moments(servers, large, dialect, whole, tmp_path_factory):
    chance = random.Random(SEED)
    times = TIMES[dialect]
    width = whole["steps"] / times
    moments = [  # anywhere within a step, or within some of those that follow
        {"step": int(width * (n + chance.random())), "after": chance.random() * 10 ** -chance.randint(2, 4)}
        for n in range(times)
    ]
    with killing.in_memory() as place:
        killed = killed_and_again(servers, large, place, ready(dialect, large), moments, batch=BATCH)
    assert killed >= times // 2


def test_killed_before_its_own_steps(servers, large, dialect, whole):
    chance = random.Random(SEED + 1)
    count = STEPS[dialect]
    width = whole["steps"] / count
    points = [{"step": int(width * (n + chance.random()))} for n in range(count)]
    with killing.in_memory() as place:
        assert killed_and_again(servers, large, place, ready(dialect, large), points, batch=BATCH) == count


def kind_of(step):
    """Give the kind of a step: each statement is one of its own, but for those that make a table or an index."""
    return " ".join(step.split()[:2]) if step.startswith("CREATE") else step


def one_of_each_kind(steps):
    """Give a step of each kind after each kind that it follows on, somewhere in the ingest."""
    found = defaultdict(list)
    for number, kinds in enumerate(pairwise(["begin", *map(kind_of, steps)])):
        found[kinds].append(number)
    chance = random.Random(SEED + 2)
    return sorted(chance.choice(numbers) for numbers in found.values())


@pytest.mark.skipif(not killing.FULL, reason="all steps: make faults")
@pytest.mark.parametrize("making", [True, False], ids=["making the registry", "all else"])
def test_killed_before_every_single_step(servers, small, dialect, making):
    opens = {True: lambda where, name: fresh(dialect, where, name), False: ready(dialect, small)}
    how, steps = {"batch": 6}, {}
    for new, opened in opens.items():
        with killing.in_memory() as place, opened(place, "whole") as url:
            killing.copied(f"{small.root}/pristine", f"{place}/whole")
            steps[new] = servers[0].ingest(url, f"{place}/whole", kinds=True, **how)["kinds"]
    assert len(steps[False]) > 300
    found = steps[True][: len(steps[True]) - len(steps[False]) + 10] if making else steps[False]
    wanted = range(len(found)) if dialect == "sqlite" else one_of_each_kind(found)
    assert {kind_of(found[n]) for n in wanted} == {*map(kind_of, found)}
    with killing.in_memory() as place:
        points = [{"step": n} for n in wanted]
        assert killed_and_again(servers, small, place, opens[making], points, **how) == len(wanted)


@pytest.mark.skipif(not killing.FULL, reason="with processes of its own: make faults")
def test_killed_with_processes_that_verify(servers, large, dialect):
    moments = [{"step": 8 * n, "after": 0.01 * (n % 3)} for n in range(20)]
    with killing.in_memory() as place:
        assert killed_and_again(servers, large, place, ready(dialect, large), moments, processes=2) > 0
