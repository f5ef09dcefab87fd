"""Every store of the table keeps the contract."""

import pytest

from prestow import plugins
from prestow.stores import Store, open_store
from prestow.testing.stores import StoreContract

URIS = {"file": "file://{0}/a store #1 100% [it's] é", "memory": "memory://{0}"}


class TestStoresOfTheTable(StoreContract):
    @pytest.fixture(params=plugins.names("stores"))
    def store(self, request, tmp_path_factory) -> Store:
        return open_store(URIS[request.param].format(tmp_path_factory.mktemp("store")))
