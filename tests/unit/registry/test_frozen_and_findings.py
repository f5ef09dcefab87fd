"""Frozen collections, findings and events, on each database."""

import pyarrow as pa
import pytest

from prestow.errors import ProjectError
from prestow.naming.universe import load_universe
from prestow.registry import CollectionKind, Registry, read_records
from prestow.registry.findings import finding_key
from prestow.stores.memory import MemoryStore


@pytest.fixture
def registry(registry_url):
    with Registry.open(registry_url, load_universe(None), create=True) as found:
        found.register_runs(["a", "b"])
        found.register_chain("all", ["a", "b"])
        yield found


@pytest.fixture
def store(tmp_path):
    return MemoryStore(f"memory://{tmp_path}")


def test_what_is_frozen_is_known_once_and_refused_by_name(registry, store):
    assert registry.frozen.freeze(store, ["a", "all"]) == ("a", "all")
    assert registry.frozen.freeze(store, ["a"]) == ()
    assert registry.frozen.names() == ("a", "all")
    assert registry.frozen.among(["b", "a"]) == ("a",)
    assert sorted(key for key, _ in read_records(store, "frozen")) == ["a", "all"]
    registry.frozen.refuse(["b"], "x")
    with pytest.raises(ProjectError, match="'a' is frozen: nothing goes in"):
        registry.frozen.refuse(["b", "a"], "nothing goes in")
    with pytest.raises(ProjectError, match="PST-I030"):
        registry.register_chain("all", ["a"])
    registry.register_chain("all", ["a", "b"])
    with pytest.raises(ProjectError, match="PST-I030"):
        registry.bind("a", {"pipeline": "x"})
    assert registry.collections()["a"] is CollectionKind.RUN
    assert registry.frozen.runs_of([b"0" * 16]) == ()


def test_a_finding_is_put_once_and_settled_once(registry, store):
    facts = [
        {"kind": "irreproducible", "run": "a", "quantum": "q"},
        {"kind": "contradictory", "run": "b", "what": "two", "where": "there"},
    ]
    key = finding_key(facts[0])

    assert registry.findings.add(store, facts) == 2
    assert registry.findings.add(store, facts) == 0
    assert [one.key for one in registry.findings.open("a")] == [key]
    assert len(registry.findings.open()) == 2

    assert registry.findings.settle(store, key.partition(".")[2][:6], "looked").because == "looked"
    registry.findings.settle(store, key, "looked")
    with pytest.raises(ProjectError, match="settled already"):
        registry.findings.settle(store, key, "otherwise")
    with pytest.raises(ProjectError, match="no finding"):
        registry.findings.settle(store, "irreproducible.zzzz", "x")
    assert registry.findings.open("a") == ()
    assert [one.because for one in registry.findings.all("a")] == ["looked"]
    assert registry.findings.add(store, facts) == 0
    assert len(list(read_records(store, "finding"))) == 3


def test_without_commits_there_are_no_events(registry):
    assert list(registry.events.after(0)) == []
    assert (registry.events.last(), registry.events.sequence_of("0" * 32)) == (0, None)
    assert (
        registry.committed().schema.names
        == pa.schema(
            {"sequence": pa.int64(), "id": pa.binary(), "type": pa.string(), "run": pa.string()}
        ).names
    )
