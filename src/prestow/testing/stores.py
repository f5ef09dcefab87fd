"""What every store must do.

Subclass `StoreContract` in a test module and override its fixture::

    class TestMine(StoreContract):
        @pytest.fixture
        def store(self, tmp_path):
            return MyStore(f"mine://{tmp_path}")
"""

from __future__ import annotations

import hashlib
import os
import threading
from pathlib import Path

import pytest

from prestow.errors import ObjectNotFoundError, StoreError
from prestow.stores import Linkable, Put, Store, Walkable, names_below

ODD_NAMES = (
    "a b",
    "a#b",
    "a%20b",
    "[a]",
    "it's",
    'say "a"',
    "é/ü",
    "a\\b",
    "-a",
    "a&b;c",
    ".hidden",
    "~",
    "日本",
)
NO_NAMES = ("", "/", "/etc/passwd", "..", "../a", "a/../../b", "a/..", "./a", "a//b", "a/", "a\0b")


class StoreContract:
    """The contract; each test gets an empty store from the fixture ``store``."""

    @pytest.fixture
    def store(self) -> Store:
        """Give an empty store; override this."""
        pytest.fail("a subclass of StoreContract gives the fixture 'store'")

    def test_what_was_put_is_read(self, store: Store) -> None:
        """Bytes come back, with size and digest."""
        assert store.put_if_absent("a/b", b"bytes") is Put.YES
        assert store.read("a/b") == b"bytes"
        assert store.size("a/b") == 5  # noqa: PLR2004
        assert store.digest("a/b") == (5, hashlib.sha256(b"bytes").hexdigest())

    def test_second_put_is_refused(self, store: Store) -> None:
        """The first stays."""
        store.put_if_absent("a", b"first")
        assert store.put_if_absent("a", b"second") is Put.EXISTS
        assert store.read("a") == b"first"

    def test_empty_bytes_are_an_object(self, store: Store) -> None:
        """An empty object is not an absent one."""
        assert store.put_if_absent("a", b"") is Put.YES
        assert store.size("a") == 0
        assert store.put_if_absent("a", b"x") is Put.EXISTS

    def test_one_of_many_threads_wins(self, store: Store) -> None:
        """Exactly one put of a name says yes, and the bytes are its own."""
        answers: dict[int, Put] = {}
        start = threading.Barrier(8)

        def put(number: int) -> None:
            start.wait()
            answers[number] = store.put_if_absent("race/a", f"{number}".encode() * 1000)

        threads = [threading.Thread(target=put, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winners = [number for number, answer in answers.items() if answer is Put.YES]
        assert len(winners) == 1
        assert store.read("race/a") == f"{winners[0]}".encode() * 1000

    def test_absent_is_told(self, store: Store, tmp_path: Path) -> None:
        """Reading what is not there is one error; asking for it is None."""
        assert store.size("none") is None
        assert store.digest("none") is None
        with pytest.raises(ObjectNotFoundError):
            store.read("none")
        with pytest.raises(ObjectNotFoundError):
            store.fetch("none", tmp_path / "local")
        with pytest.raises(ObjectNotFoundError):
            store.move("none", "other")
        assert not (tmp_path / "local").exists()

    def test_part_of_a_name_is_no_object(self, store: Store) -> None:
        """What is a directory elsewhere is absent."""
        store.put_if_absent("a/b/c", b"x")
        assert store.size("a/b") is None
        assert store.digest("a") is None
        with pytest.raises(ObjectNotFoundError):
            store.read("a/b")
        with pytest.raises(ObjectNotFoundError):
            store.read("a/b/c/d")

    def test_created_is_seen_when_the_block_ends(self, store: Store) -> None:
        """Before that the name is absent."""
        with store.create("a/b") as sink:
            sink.write(b"one ")
            sink.write(b"two")
            assert store.size("a/b") is None
        assert store.read("a/b") == b"one two"

    def test_failed_creation_leaves_nothing(self, store: Store) -> None:
        """The error passes; no name and no part of a file stays."""
        with pytest.raises(ZeroDivisionError), store.create("a/b") as sink:  # noqa: PT012 - one block
            sink.write(b"x" * 100_000)
            raise ZeroDivisionError
        assert store.size("a/b") is None
        if isinstance(store, Walkable):
            assert list(store.walk()) == []

    def test_large_object_survives(self, store: Store, tmp_path: Path) -> None:
        """Several blocks are written, digested and fetched."""
        data = os.urandom(1000) * 3000
        digest = (len(data), hashlib.sha256(data).hexdigest())
        with store.create("large") as sink:
            sink.write(data)
        assert store.digest("large") == digest
        assert store.fetch("large", tmp_path / "new" / "directory" / "large") == digest
        assert (tmp_path / "new" / "directory" / "large").read_bytes() == data

    def test_fetch_replaces_nothing(self, store: Store, tmp_path: Path) -> None:
        """A local file that is there stays as it is."""
        store.put_if_absent("a", b"theirs")
        (tmp_path / "local").write_bytes(b"mine")
        with pytest.raises(StoreError):
            store.fetch("a", tmp_path / "local")
        assert (tmp_path / "local").read_bytes() == b"mine"

    def test_move_replaces_and_takes_away(self, store: Store) -> None:
        """The target holds the source's bytes; the source is gone."""
        store.put_if_absent("aside/a", b"right")
        store.put_if_absent("planned/a", b"debris")
        store.move("aside/a", "planned/a")
        assert store.read("planned/a") == b"right"
        assert store.size("aside/a") is None

    def test_move_makes_room(self, store: Store) -> None:
        """The target may be deeper than anything that is there."""
        store.put_if_absent("a", b"x")
        store.move("a", "b/c/d/e")
        assert store.read("b/c/d/e") == b"x"

    def test_move_onto_itself_keeps(self, store: Store) -> None:
        """Doing nothing loses nothing."""
        store.put_if_absent("a", b"x")
        store.move("a", "a")
        assert store.read("a") == b"x"

    def test_deleted_is_absent_and_may_come_again(self, store: Store) -> None:
        """Deleting twice is once."""
        store.put_if_absent("a/b", b"x")
        store.delete("a/b")
        store.delete("a/b")
        assert store.size("a/b") is None
        assert store.put_if_absent("a/b", b"y") is Put.YES

    @pytest.mark.parametrize("name", ODD_NAMES)
    def test_odd_names_are_names(self, store: Store, name: str, tmp_path: Path) -> None:
        """Blanks, quotes, percent signs and other letters stand for themselves."""
        assert store.put_if_absent(f"x/{name}", name.encode()) is Put.YES
        assert store.read(f"x/{name}") == name.encode()
        store.fetch(f"x/{name}", tmp_path / "local")
        if isinstance(store, Walkable):
            assert [found for found, _ in store.walk()] == [f"x/{name}"]
        if isinstance(store, Linkable):
            assert store.local_path(f"x/{name}").read_bytes() == name.encode()

    @pytest.mark.parametrize("name", NO_NAMES)
    def test_names_that_escape_are_refused(self, store: Store, name: str, tmp_path: Path) -> None:
        """By every operation, before anything is done."""
        for act in (
            lambda: store.put_if_absent(name, b""),
            lambda: store.read(name),
            lambda: store.size(name),
            lambda: store.digest(name),
            lambda: store.fetch(name, tmp_path / "local"),
            lambda: store.create(name).__enter__(),
            lambda: store.move(name, "a"),
            lambda: store.delete(name),
        ):
            with pytest.raises(StoreError) as caught:
                act()
            assert caught.value.problems[0].code == "PST-R008"
        store.put_if_absent("a", b"x")
        with pytest.raises(StoreError):
            store.move("a", name)
        assert store.read("a") == b"x"

    def test_walk_is_sorted_and_below_its_prefix(self, store: Store) -> None:
        """By whole names, so that ``a-b`` stands before ``a/b``."""
        if not isinstance(store, Walkable):
            pytest.skip("this store does not walk")
        names = ["a/b/c", "a/b", "a-b", "a.b", "ab", "b/a", "a/é", "a/Z"]
        names.remove("a/b")  # in a directory store a name is a file or a directory
        for name in names:
            store.put_if_absent(name, name.encode())
        assert list(store.walk()) == [(name, len(name.encode())) for name in sorted(names)]
        assert [name for name, _ in store.walk("a")] == ["a/Z", "a/b/c", "a/é"]
        assert [name for name, _ in store.walk("a/")] == ["a/Z", "a/b/c", "a/é"]
        assert [name for name, _ in store.walk("a/b/c")] == ["a/b/c"]
        assert list(store.walk("none")) == []
        for prefix in ("", "a", "a/", "a/b/c", "none"):
            assert list(names_below(store, prefix)) == [name for name, _ in store.walk(prefix)]

    def test_probe_accepts_and_leaves_nothing(self, store: Store) -> None:
        """A fit store is fit twice."""
        store.probe()
        store.probe()
        if isinstance(store, Walkable):
            assert list(store.walk()) == []
