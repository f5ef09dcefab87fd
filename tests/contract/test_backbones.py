"""Every backbone that is shipped keeps the contract, and the page says the contract line by line."""

import re
from pathlib import Path

import pytest

from prestow import plugins
from prestow.stores import Store, open_store
from prestow.testing.backbones import BackboneContract
from prestow.testing.databases import empty

PAGE = Path(__file__).parents[2] / "docs/explanation/what-prestow-asks-of-a-backbone.md"
URIS = {"file": "file://{0}", "memory": "memory://{0}"}


class TestBackbonesThatAreShipped(BackboneContract):
    @pytest.fixture(params=plugins.names("stores"))
    def store(self, request, tmp_path_factory) -> Store:
        return open_store(URIS[request.param].format(tmp_path_factory.mktemp("store")))

    @pytest.fixture
    def registry_url(self, dialect, tmp_path):
        with empty(dialect, tmp_path) as url:
            yield url


def test_each_line_of_the_page_has_a_test_and_each_test_a_line() -> None:
    lines = re.findall(r"^(\d+)\. (.*(?:\n   .*)*)", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert [int(number) for number, _ in lines] == list(range(1, len(lines) + 1))
    named = [re.findall(r"`(test_\w+)`", text) for _, text in lines]
    assert {len(names) for names in named} == {1}
    told = [name for names in named for name in names]
    methods = {name for name in dir(BackboneContract) if name.startswith("test_")}
    assert len(told) == len(set(told)) > 30
    assert set(told) == methods
