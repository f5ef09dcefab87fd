"""The store in memory: what tests and models need of it."""

import pytest

from prestow.errors import StoreError
from prestow.stores import open_store


@pytest.fixture
def store(request):
    return open_store(f"memory://{request.node.nodeid}")


def test_one_uri_is_one_store(store):
    store.put_if_absent("a", b"x")
    assert open_store(store.uri).read("a") == b"x"
    assert open_store(f"{store.uri}-other").size("a") is None


def test_other_uris_are_refused():
    with pytest.raises(StoreError, match="memory://name"):
        type(open_store("memory://x"))("file:///x")


def test_every_call_can_be_seen_and_stopped_before_it_acts(store):
    seen = []
    store.on_call = lambda *call: seen.append(call)
    store.put_if_absent("a", b"x")
    with store.create("b") as sink:
        sink.write(b"y")
    store.move("b", "c")
    store.read("c")
    assert seen == [("put_if_absent", "a"), ("create", "b"), ("commit", "b"), ("move", "b"), ("read", "c")]

    def stop(operation, name):
        raise KeyboardInterrupt

    store.on_call = stop
    for act in (
        lambda: store.put_if_absent("d", b""),
        lambda: store.move("c", "d"),
        lambda: store.delete("a"),
    ):
        with pytest.raises(KeyboardInterrupt):
            act()
    assert sorted(store.snapshot()) == ["a", "c"]


def test_a_killed_commit_leaves_nothing(store):
    def at_commit(operation, name):
        if operation == "commit":
            raise KeyboardInterrupt

    store.on_call = at_commit
    with pytest.raises(KeyboardInterrupt), store.create("a") as sink:
        sink.write(b"x")
    assert store.snapshot() == {}


def test_a_model_goes_back(store):
    store.put_if_absent("a", b"x")
    before = store.snapshot()
    store.delete("a")
    store.put_if_absent("b", b"y")
    store.restore(before)
    assert store.snapshot() == {"a": b"x"}
