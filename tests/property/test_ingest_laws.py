"""Laws of taking in: how often, when and in which portions does not matter."""

import contextlib
import importlib.util
import itertools
import tempfile
from pathlib import Path

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prestow.commit import promote, read_receipt
from prestow.ingest import Level, ingest_outputs, outputs
from prestow.naming.universe import load_universe
from prestow.registry import Registry
from prestow.stores import open_store
from prestow.testing.databases import empty

spec = importlib.util.spec_from_file_location(
    "ingest_campaign", Path(__file__).parents[1] / "ingest_campaign.py"
)
ingest_campaign = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ingest_campaign)

UNIVERSE = load_universe()
NUMBERS = itertools.count()


@contextlib.contextmanager
def registry_of(dialect, directory, name):
    with empty(dialect, directory, name) as url, Registry.open(url, UNIVERSE, create=True) as registry:
        yield registry


def store_with(home):
    store = open_store(f"memory://ingest-laws-{next(NUMBERS)}")
    receipts = ingest_campaign.campaign(store, visits=3, home=lambda n: n in home)
    return store, receipts


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    home=st.sets(st.integers(0, 13)),
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=3),
    level=st.sampled_from(Level),
)
def test_ingest_in_any_portions_and_any_number_of_times_equals_once(dialect, home, sizes, level):
    store, receipts = store_with(home)
    with tempfile.TemporaryDirectory() as directory:
        with registry_of(dialect, directory, "once") as once:
            ingest_outputs(once, store)
            expected = once.dump()
        whole = outputs.BATCH
        try:
            with registry_of(dialect, directory, "often") as often:
                for outputs.BATCH in sizes:
                    report = ingest_outputs(often, store, level=level)
                    assert report.problems == ()
                assert often.dump() == expected
                sequence = often.committed()["sequence"].to_pylist()
                assert sequence == list(range(1, len(sequence) + 1))
        finally:
            outputs.BATCH = whole
        for output in (o for r in receipts for o in r.outputs if o.state == "made"):
            assert store.digest(output.path) == (output.size, output.sha256)


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.data())
def test_ingest_at_any_moments_of_a_run_equals_once_at_its_end(dialect, data):
    """Receipts appear one after the other, promotion later or never; ingest runs in between."""
    complete, receipts = store_with(())
    names = [name for name, _ in complete.walk("_receipts")]
    order = data.draw(st.permutations(names))
    moments = data.draw(st.sets(st.integers(0, len(names)), max_size=3))
    growing = open_store(f"memory://ingest-laws-{next(NUMBERS)}")
    for name, _ in complete.walk("_aside"):
        growing.put_if_absent(name, complete.read(name))
    with tempfile.TemporaryDirectory() as directory, registry_of(dialect, directory, "growing") as registry:
        for moment, name in enumerate(order):
            if moment in moments:
                assert ingest_outputs(registry, growing).problems == ()
            growing.put_if_absent(name, complete.read(name))
            if data.draw(st.booleans()):
                promote(growing, read_receipt(growing, name))
        ingest_outputs(registry, growing)
        with registry_of(dialect, directory, "once") as once:
            ingest_outputs(once, complete)
            assert ingest_campaign.comparable(once) == ingest_campaign.comparable(registry)


def test_stopped_before_any_call_of_the_store_the_next_ingest_ends_the_same(dialect):
    class Stop(BaseException):
        pass

    with tempfile.TemporaryDirectory() as directory:
        store, _ = store_with(())
        with registry_of(dialect, directory, "once") as once:
            calls = itertools.count()
            store.on_call = lambda *_: next(calls)
            ingest_outputs(once, store)
            expected, total = ingest_campaign.comparable(once), next(calls)
        assert total > 100
        whole = outputs.BATCH
        outputs.BATCH = 4
        try:
            for stop in range(
                0, total, 9 if dialect == "sqlite" else 60
            ):  # every ninth: the moves of a quantum and their neighbours are all met
                store, _ = store_with(())
                left = itertools.count()

                def on_call(operation, name, left=left, stop=stop):
                    if next(left) >= stop:
                        raise Stop

                store.on_call = on_call
                with registry_of(dialect, directory, f"stopped-{stop}") as registry:
                    try:
                        ingest_outputs(registry, store)
                    except Stop:
                        pass
                    store.on_call = None
                    assert ingest_outputs(registry, store).problems == ()
                    assert ingest_campaign.comparable(registry) == expected
        finally:
            outputs.BATCH = whole
