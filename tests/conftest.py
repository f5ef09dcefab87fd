"""What holds for all tests: no law of hypothesis is held to a time, for a machine may be busy.

And registries on each database: whatever takes `dialect` or `registry_url` is tested on all of them.
"""

from __future__ import annotations

import contextlib
from pathlib import Path

import pytest
from hypothesis import settings

from prestow.testing.databases import DIALECTS, NO_POSTGRES, available, empty, fresh

settings.register_profile("prestow", deadline=None)
settings.load_profile("prestow")


def pytest_terminal_summary(terminalreporter):
    """Say aloud, and once, what was not tested."""
    if not available("postgresql"):
        terminalreporter.section("not tested", yellow=True)
        terminalreporter.line(NO_POSTGRES)


ROOMS = ("faults", "end_to_end", "property", "contract", "unit")
"""Rooms of tests, those with the slowest files first: what comes last must be short, or one processor waits for the other."""


def pytest_collection_modifyitems(items):
    """Put the rooms in that order; within a room nothing changes."""
    place = {name: number for number, name in enumerate(ROOMS)}
    root = Path(__file__).parent

    def order(item):
        inside = item.path.is_relative_to(root) and item.path.relative_to(root).parts[0]
        return place.get(inside, len(ROOMS))

    items.sort(key=order)


@pytest.fixture(scope="module", params=[name for name in DIALECTS if available(name)])
def dialect(request):
    """Each database in turn, as far as there is one."""
    return request.param


@pytest.fixture
def registry_url(dialect, tmp_path):
    """The URL of an empty registry of the default universe, to be opened with ``create=True``."""
    with empty(dialect, tmp_path) as url:
        yield url


@pytest.fixture
def registry_urls(dialect, tmp_path):
    """Give the same as often as wanted, each by a name."""
    with contextlib.ExitStack() as stack:
        yield lambda name: stack.enter_context(empty(dialect, tmp_path, name))


@pytest.fixture
def postgres_url(tmp_path):
    """A URL on PostgreSQL at which there is no registry yet."""
    if not available("postgresql"):
        pytest.skip(NO_POSTGRES)
    with fresh("postgresql", tmp_path) as url:
        yield url
