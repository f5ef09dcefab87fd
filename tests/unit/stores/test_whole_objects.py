"""A store from four functions keeps the contract, and an unfit one is told."""

import threading

import pytest

from prestow.errors import StoreError
from prestow.stores.whole import WholeObjects
from prestow.testing.stores import StoreContract


class Shelf(WholeObjects):
    def __init__(self, uri):
        super().__init__(uri)
        self.objects = {}
        self.lock = threading.Lock()

    def load(self, name):
        return self.objects.get(name)

    def keep(self, name, data, *, replace):
        with self.lock:
            if name in self.objects and not replace:
                return False
            self.objects[name] = data
            return True

    def drop(self, name):
        self.objects.pop(name, None)

    def names(self):
        return list(self.objects)


class TestShelf(StoreContract):
    @pytest.fixture
    def store(self):
        return Shelf("shelf://")


def test_a_store_that_overwrites_is_unfit():
    class Careless(Shelf):
        def keep(self, name, data, *, replace):
            return super().keep(name, data, replace=True)

    store = Careless("shelf://")
    with pytest.raises(StoreError) as caught:
        store.probe()
    assert caught.value.problems[0].code == "PST-R001"
    assert store.objects == {}
