"""Records: one small immutable file for each fact."""

import json

import pytest

from prestow.commit import deleted_name
from prestow.registry import put_record, read_records
from prestow.registry.records import KINDS, read_record, record_name
from prestow.stores import Put, open_store


@pytest.fixture(params=["file", "memory"])
def store(request, tmp_path):
    return open_store(
        f"file://{tmp_path}/a b" if request.param == "file" else f"memory://records-{tmp_path.name}"
    )


def test_an_equal_record_may_be_put_again_and_another_may_not(store):
    assert put_record(store, "bound", "demo", {"pipeline": "x", "n": 1}) is Put.YES
    assert put_record(store, "bound", "demo", {"n": 1, "pipeline": "x"}) is Put.YES
    assert put_record(store, "bound", "demo", {"pipeline": "y"}) is Put.EXISTS
    assert read_record(store, "bound", "demo") == {"pipeline": "x", "n": 1}


@pytest.mark.parametrize("key", ["demo", "a/b", "..", "-x", "it's # 100%", "größe", "x" * 300, "demo+1"])
def test_any_key_has_a_name_of_its_own(store, key):
    put_record(store, "chain", key, {"members": ["a"]})
    put_record(store, "chain", key + "x", {"members": ["b"]})
    assert dict(read_records(store, "chain")) == {key: {"members": ["a"]}, key + "x": {"members": ["b"]}}
    name = record_name("chain", key)
    assert len(name.split("/")) == 4
    assert json.loads(store.read(name))["key"] == key


def test_kinds_are_known_and_deleted_ones_are_where_the_node_looks():
    with pytest.raises(ValueError, match="unknown kind"):
        put_record(open_store("memory://records"), "gossip", "x", {})
    ident = "ea49c55a-3728-50b9-9dcd-9f79a977abc2"
    assert record_name("deleted", ident) == deleted_name(ident)
    assert "deleted" in KINDS
