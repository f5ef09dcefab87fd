"""What a rebuilt registry holds depends neither on files that are there nor on the order in which records are read."""

import importlib.util
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prestow.ingest import ingest_outputs
from prestow.ingest.rebuilding import find_sources, rebuild
from prestow.naming.universe import load_universe
from prestow.registry import Registry
from prestow.registry.chaining import last_chains, put_in_front
from prestow.registry.records import put_record, read_records
from prestow.stores import open_store

spec = importlib.util.spec_from_file_location(
    "ingest_campaign", Path(__file__).parents[1] / "ingest_campaign.py"
)
ingest_campaign = importlib.util.module_from_spec(spec)
spec.loader.exec_module(ingest_campaign)


@pytest.fixture(scope="module")
def live(tmp_path_factory):
    """Take a campaign in, whose receipts say metrics; give its store and what its registry says."""
    base = tmp_path_factory.mktemp("live")
    store = open_store(f"file://{base}/store")
    ingest_campaign.campaign(store)
    with Registry.open(f"sqlite:///{base}/a.db", load_universe(), create=True) as registry:
        ingest_outputs(registry, store)
        for child in ("c", "b"):
            registry.register_runs(["a", "b", "c"])
            put_in_front(registry, store, "all", [child, "a"])
        for n, one in enumerate(range(5)):
            facts = {
                "dataset": f"00000000-0000-0000-0000-00000000000{one}",
                "because": f"{n}",
                "tainted": n % 2 == 0,
            }
            put_record(store, "taint", f"{facts['dataset']}.1", facts)
        return base, store


def rebuilt(base, store, name, sources=None):
    with Registry.open(f"sqlite:///{base}/{name}.db", load_universe(), create=True) as registry:
        made = rebuild(registry, store, sources=sources or find_sources(store))
        assert made.problems == ()
        return registry.dump()


@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_any_order_of_records_gives_the_same(live, seed, tmp_path_factory):
    base, store = live
    there = tmp_path_factory.mktemp("order")
    sources = find_sources(store)
    for names in sources.records.values():
        random.Random(seed).shuffle(names)
    tasks = list(sources.receipts.tasks.items())
    random.Random(seed).shuffle(tasks)
    sources.receipts.tasks = dict(tasks)
    assert rebuilt(there, store, "x", sources) == rebuilt(there, store, "y")


def test_what_receipts_of_before_do_not_say_is_read_from_the_products(live, tmp_path):
    base, store = live
    with Registry.open(f"sqlite:///{base}/a.db", load_universe()) as registry:
        known = registry.dump()
    before = rebuilt(tmp_path, store, "before")
    for table in (
        "dataset",
        "artifact",
        "quantum",
        "quantum_input",
        "metric",
        "collection_chain",
        "dataset_type",
    ):
        assert before[table] == known[table], table


@given(
    st.lists(st.lists(st.sampled_from("abcde"), min_size=1, max_size=3, unique=True), min_size=1, max_size=8)
)
@settings(max_examples=25, deadline=None)
def test_chains_come_back_in_the_order_that_they_had(tmp_path_factory, acts):
    base = tmp_path_factory.mktemp("chain")
    store = open_store(f"file://{base}/store")
    with Registry.open(f"sqlite:///{base}/a.db", load_universe(), create=True) as registry:
        registry.register_runs("abcde")
        for members in acts:
            put_in_front(registry, store, "all", members)
        standing = registry.chain_members("all")
        assert last_chains(facts for _, facts in read_records(store, "chain")) == {"all": standing}
    assert standing[-len(acts[-1]) :] == tuple(acts[-1])
