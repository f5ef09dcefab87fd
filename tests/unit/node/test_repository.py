"""The directory a job works in, handed on to the next job of its process."""

from __future__ import annotations

import os

from prestow.node.repository import Repository


def test_directories_that_pass_for_made_are_there(tmp_path):
    first = Repository(str(tmp_path), "several-quanta", "11111111-0", reuse=True)
    first.directory(first.local("inputs/a/one"))
    first.clear(0, (), keep=False)
    first.directory(first.local("inputs/a/two"))
    first.remove()

    second = Repository(str(tmp_path), "next", "22222222-0", reuse=True)
    for name in ("inputs/a/one", "inputs/a/two", "outputs/b"):
        second.directory(second.local(name))
        assert os.path.isdir(second.local(name))
    assert not list((tmp_path / "next-22222222").rglob("*.*"))
