"""What prestow asks of a backbone: a store and a database, each line of the page a test.

The page is ``docs/explanation/what-prestow-asks-of-a-backbone.md``. Subclass `BackboneContract` in a
test module and override its two fixtures::

    class TestOurs(BackboneContract):
        @pytest.fixture
        def store(self, tmp_path):
            return OurStore(f"ours://{tmp_path}")

        @pytest.fixture
        def registry_url(self):
            return "postgresql://tester@db.example/empty"

Who brings a store alone runs `prestow.testing.stores.StoreContract` and `SharedStoreContract`.
"""

from __future__ import annotations

import copy
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from prestow.errors import ObjectNotFoundError, ProjectError
from prestow.stores import Linkable, Protecting, Put, Store, Walkable, open_store
from prestow.testing.stores import StoreContract

if TYPE_CHECKING:
    from prestow.registry import DatasetBatch, Registry

READ_ONLY = 0o444
LONGEST_PART = 255
"""Bytes of a part of a name: what a planned name may have."""

MANY = 300
LARGE = b"0123456789abcdef" * 65_536

DYING = """
import os, signal, sys
from prestow.stores import open_store
store = open_store(sys.argv[1])
store.put_if_absent("put", b"put")
with store.create("aside/a") as sink:
    sink.write(b"created")
with store.create("aside/b") as sink:
    sink.write(b"moved")
store.move("aside/b", "planned/b")
with store.create("aside/c") as sink:
    sink.write(b"never ended")
    sink.flush()
    os.kill(os.getpid(), signal.SIGKILL)
"""

RACING = """
import sys
from prestow.stores import open_store
store = open_store(sys.argv[1])
print("ready", flush=True)
sys.stdin.readline()
print(*[n for n in range(40) if store.put_if_absent(f"race/{n}", sys.argv[2].encode() * 5000) == "yes"])
"""


def _elsewhere(store: Store) -> str:
    """Give the URI by which another process opens this store; skip where none can."""
    try:
        copy.copy(store)  # as it travels to another process
    except Exception:  # noqa: BLE001 - whatever it raises: it cannot leave
        pytest.skip("this store lives in one process")
    return store.uri


def _reads_while(act: Callable[[], None], read: Callable[[], bytes]) -> set[bytes | None]:
    """Give all that a reader saw while something was done; None is absent."""
    seen: set[bytes | None] = set()
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            try:
                seen.add(read())
            except ObjectNotFoundError:
                seen.add(None)

    reader = threading.Thread(target=look)
    reader.start()
    try:
        act()
    finally:
        done.set()
        reader.join()
    return seen


class SharedStoreContract:
    """What many processes and many days ask of a store; each test gets an empty one from the fixture ``store``."""

    @pytest.fixture
    def store(self) -> Store:
        """Give an empty store; override this."""
        pytest.fail("a subclass of SharedStoreContract gives the fixture 'store'")

    def test_what_is_told_done_is_read_at_once_by_everybody(self, store: Store) -> None:
        """By whoever opens the store, with no wait between."""
        for number in range(20):
            store.put_if_absent(f"put/{number}", b"put")
            with store.create(f"aside/{number}") as sink:
                sink.write(b"created")
            store.move(f"aside/{number}", f"planned/{number}")
            again = open_store(store.uri)
            assert again.read(f"put/{number}") == b"put"
            assert again.read(f"planned/{number}") == b"created"
            assert again.size(f"aside/{number}") is None

    def test_what_is_told_done_outlives_who_did_it(self, store: Store) -> None:
        """A process that is killed leaves all that it was told of, and nothing of what it was not."""
        command = [sys.executable, "-c", DYING, _elsewhere(store)]
        assert subprocess.run(command, timeout=120, check=False).returncode == -signal.SIGKILL
        assert (store.read("put"), store.read("aside/a"), store.read("planned/b")) == (
            b"put", b"created", b"moved",
        )  # fmt: skip
        assert store.size("aside/b") is None
        assert store.size("aside/c") is None
        if isinstance(store, Walkable):
            assert [name for name, _ in store.walk()] == ["aside/a", "planned/b", "put"]

    def test_one_of_many_processes_wins(self, store: Store) -> None:
        """Each name is put by exactly one of them, whole."""
        command = [sys.executable, "-c", RACING, _elsewhere(store)]
        racers = {
            letter: subprocess.Popen([*command, letter], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
            for letter in "abc"
        }  # fmt: skip
        for racer in racers.values():
            assert racer.stdout is not None
            assert racer.stdout.readline() == "ready\n"
        won: dict[str, str] = {}
        for racer in racers.values():
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        for letter, racer in racers.items():
            for name in racer.communicate(timeout=120)[0].split():
                assert name not in won
                won[name] = letter
        assert sorted(map(int, won)) == list(range(40))
        assert all(store.read(f"race/{name}") == who.encode() * 5000 for name, who in won.items())

    def test_a_put_is_never_seen_in_half(self, store: Store) -> None:
        """Who reads meanwhile sees nothing, or all."""

        def put() -> None:
            for number in range(5):
                store.put_if_absent("a", LARGE)
                if number < 4:  # noqa: PLR2004
                    store.delete("a")

        assert _reads_while(put, lambda: store.read("a")) <= {None, LARGE}

    def test_a_move_is_never_seen_in_half(self, store: Store) -> None:
        """Who reads the target sees what was there, or what comes, whole; and never that it is absent."""
        first, second = LARGE + b"1", LARGE + b"2"
        store.put_if_absent("planned", first)

        def move() -> None:
            for number in range(6):
                store.put_if_absent("aside", first if number % 2 else second)
                store.move("aside", "planned")

        assert _reads_while(move, lambda: store.read("planned")) <= {first, second}

    def test_listing_is_complete(self, store: Store) -> None:
        """What many have put at once is listed, each name once, as soon as it is there."""
        if not isinstance(store, Walkable):
            pytest.skip("this store does not walk")
        names = [f"{number % 7}/{number % 11}/{number}" for number in range(MANY)]
        with ThreadPoolExecutor(8) as pool:
            assert set(pool.map(lambda name: store.put_if_absent(name, name.encode()), names)) == {Put.YES}
        other = open_store(store.uri)
        assert isinstance(other, Walkable)
        assert list(other.walk()) == sorted((name, len(name)) for name in names)

    def test_listing_leaves_out_what_is_in_the_making(self, store: Store) -> None:
        """What is not whole has no name yet."""
        if not isinstance(store, Walkable):
            pytest.skip("this store does not walk")
        with store.create("a/b") as sink:
            sink.write(b"x" * 100_000)
            assert list(store.walk()) == []
        assert list(store.walk()) == [("a/b", 100_000)]

    def test_case_is_kept(self, store: Store) -> None:
        """A name is told as it was given; that two differ by case alone is not asked."""
        store.put_if_absent("Run/CalExp-A", b"x")
        assert store.read("Run/CalExp-A") == b"x"
        if isinstance(store, Walkable):
            assert [name for name, _ in store.walk()] == ["Run/CalExp-A"]

    def test_long_names_are_names(self, store: Store, tmp_path: Path) -> None:
        """A part may have 255 bytes, and a name several of them."""
        name = "/".join(["é" * 100, "n" * LONGEST_PART, "m" * LONGEST_PART])
        with store.create(name) as sink:
            sink.write(b"long")
        store.move(name, f"{name[:-1]}x")
        assert store.fetch(f"{name[:-1]}x", tmp_path / "local")[0] == len(b"long")
        assert store.put_if_absent(name, b"again") is Put.YES

    def test_directories_are_no_objects(self, store: Store) -> None:
        """They come with the first name in them and go with the last: then their name is free."""
        store.put_if_absent("a/b/c", b"x")
        store.delete("a/b/c")
        assert store.put_if_absent("a/b", b"y") is Put.YES
        store.move("a/b", "a/b2/c")
        assert store.put_if_absent("a/b", b"z") is Put.YES

    def test_times_of_files_mean_nothing(self, store: Store) -> None:
        """No clock is asked: files of the past and of the future are what they are."""
        if not isinstance(store, Linkable):
            pytest.skip("this store has no files of this machine")
        for name, when in (("past", 0), ("future", 2**32)):
            store.put_if_absent(name, name.encode())
            os.utime(store.local_path(name), (when, when))
            assert store.put_if_absent(name, b"other") is Put.EXISTS
            store.move(name, f"moved/{name}")
            assert store.read(f"moved/{name}") == name.encode()

    def test_what_is_committed_cannot_be_written_by_accident(self, store: Store) -> None:
        """Files are read-only, however they came."""
        if not isinstance(store, Linkable):
            pytest.skip("this store has no files of this machine")
        store.put_if_absent("put", b"x")
        with store.create("aside") as sink:
            sink.write(b"y")
        store.move("aside", "planned")
        modes = {store.local_path(name).stat().st_mode & 0o777 for name in ("put", "planned")}
        assert modes == {READ_ONLY}

    def test_a_link_outlives_the_name(self, store: Store, tmp_path: Path) -> None:
        """What a job has linked stays as it is, whatever becomes of the name."""
        if not isinstance(store, Linkable):
            pytest.skip("this store has no files of this machine")
        store.put_if_absent("planned", b"first")
        try:
            os.link(store.local_path("planned"), tmp_path / "linked")
        except OSError:
            pytest.skip("another file system, or one without links: inputs are copied")
        store.put_if_absent("aside", b"second")
        store.move("aside", "planned")
        assert (tmp_path / "linked").read_bytes() == b"first"
        store.delete("planned")
        assert (tmp_path / "linked").read_bytes() == b"first"

    def test_modes_are_set_and_said(self, store: Store) -> None:
        """A file and its directories get the modes that an archive wants; again is no change."""
        if not isinstance(store, Protecting):
            pytest.skip("this store has no modes")
        store.put_if_absent("run/type/a", b"x")
        assert store.protect("run/type/a", mode=0o440, directory_mode=0o750) is True
        assert store.protect("run/type/a", mode=0o440, directory_mode=0o750) is False
        assert store.protect("none", mode=0o440) is False
        if isinstance(store, Linkable):
            path = store.local_path("run/type/a")
            assert [p.stat().st_mode & 0o777 for p in (path, path.parent)] == [0o440, 0o750]


class BackboneContract(StoreContract, SharedStoreContract):
    """A store, and a database for the registry: the fixtures ``store`` and ``registry_url``."""

    @pytest.fixture
    def store(self) -> Store:
        """Give an empty store; override this."""
        pytest.fail("a subclass of BackboneContract gives the fixture 'store'")

    @pytest.fixture
    def registry_url(self) -> str:
        """Give the URL of a database with no registry in it; override this."""
        pytest.fail("a subclass of BackboneContract gives the fixture 'registry_url'")

    def test_a_transaction_is_whole(self, registry_url: str) -> None:
        """All of its rows, or none."""
        with _opened(registry_url) as registry:
            before = registry.dump()
            with pytest.raises(ZeroDivisionError), registry._db.transaction():  # noqa: PT012, SLF001
                registry._db.execute("INSERT INTO collection (name, kind) VALUES ($1, $2)", "x", "run")  # noqa: SLF001
                raise ZeroDivisionError
            with pytest.raises(ProjectError):
                registry.insert_datasets(_rows(("known", 1), ("nobody knows", 2)))
            assert registry.dump() == before

    def test_a_key_is_there_once(self, registry_url: str) -> None:
        """The same row again is no row; one that says otherwise is refused, and changes nothing."""
        with _opened(registry_url) as registry:
            assert registry.insert_datasets(_rows(("known", 1))).datasets == 1
            before = registry.dump()
            assert registry.insert_datasets(_rows(("known", 1))).datasets == 0
            assert len(registry.insert_datasets(_rows(("known", 1), digest="33")).contradictory) == 1
            assert registry.dump() == before

    def test_what_is_committed_is_seen_by_the_next_who_asks(self, registry_url: str) -> None:
        """Also by one who has had it open all the time."""
        with _opened(registry_url) as writer, _opened(registry_url, read_only=True) as reader:
            for number in range(1, 4):
                writer.insert_datasets(_rows(("known", number)))
                assert reader.counts()["dataset"] == number
                with _opened(registry_url, read_only=True) as fresh:
                    assert fresh.counts()["dataset"] == number

    def test_what_is_not_committed_is_seen_by_nobody(self, registry_url: str) -> None:
        """Until the transaction ends."""
        from prestow.registry.database import Mode, connect

        _opened(registry_url).close()
        ask = "SELECT count(*) FROM collection WHERE name = 'half'"
        with (
            closing(connect(registry_url, Mode.WRITE)) as writer,
            closing(connect(registry_url, Mode.READ)) as reader,
        ):
            with writer.transaction():
                writer.execute("INSERT INTO collection (name, kind) VALUES ('half', 'run')")
                assert reader.rows(ask) == [(0,)]
            assert reader.rows(ask) == [(1,)]

    def test_writers_take_turns(self, registry_url: str) -> None:
        """None is refused because another works; what they agree on is there once."""
        _opened(registry_url).close()

        def write(number: int) -> int:
            with _opened(registry_url) as registry:
                own = [("known", 1000 * number + n) for n in range(10)]
                return sum(registry.insert_datasets(_rows(("known", n), own[n])).datasets for n in range(10))

        with ThreadPoolExecutor(4) as pool:
            added = sum(pool.map(write, range(1, 5)))
        with _opened(registry_url, read_only=True) as registry:
            assert registry.counts()["dataset"] == added == 4 * 10 + 10

    def test_numbers_only_grow_as_they_are_seen(self, registry_url: str) -> None:
        """Who has seen a number never finds a smaller one later: so events are told in order, and none is missed."""
        _opened(registry_url).close()

        def write(number: int) -> None:
            with _opened(registry_url) as registry:
                for n in range(15):
                    registry.insert_datasets(_rows(("known", 1000 * number + n)))

        seen: list[int] = []
        with ThreadPoolExecutor(3) as pool, _opened(registry_url, read_only=True) as reader:
            writers = [pool.submit(write, number) for number in range(1, 4)]
            running = True
            while running:
                running = not all(writer.done() for writer in writers)
                seen += reader.committed(seen[-1] if seen else 0)["sequence"].to_pylist()
            for writer in writers:
                writer.result()
            assert seen == sorted(seen) == reader.committed()["sequence"].to_pylist()
        assert len(seen) == 3 * 15

    def test_who_reads_cannot_write(self, registry_url: str) -> None:
        """By the database itself, whatever is asked of it."""
        _opened(registry_url).close()
        with _opened(registry_url, read_only=True) as reader:
            before = reader.dump()
            for sql in ("INSERT INTO collection (name, kind) VALUES ('x', 'run')", "DROP TABLE artifact"):
                with pytest.raises(ProjectError):
                    reader._db.execute(sql)  # noqa: SLF001
            assert reader.dump() == before

    def test_values_come_back_as_they_were(self, registry_url: str) -> None:
        """Octets, whole numbers of 64 bits, texts of any letters, and nothing is not an empty text."""
        numbers = [0, 1, 2**53 + 1, 2**63 - 1, -(2**63)]
        texts = ["", "a", " a ", "it's", 'say "a"', "é", "e\u0301", "日本", "a\nb", "\\", "%s $1 ?", None]
        octets = [b"", b"\0" * 16, bytes(range(256)), None]
        table: dict[str, list[Any]] = {"n": [*numbers, None], "t": texts, "o": octets}
        import pyarrow as pa

        with _opened(registry_url) as registry, registry._db.scratch():  # noqa: SLF001
            kinds = {"n": pa.int64(), "t": pa.string(), "o": pa.binary()}
            for name, values in table.items():
                rows = pa.table({"k": range(len(values)), "v": pa.array(values, kinds[name])})
                registry._db.stage(f"s_{name}", rows)  # noqa: SLF001
                back = registry._db.rows(f"SELECT v FROM s_{name} ORDER BY k")  # noqa: SLF001
                assert [value for (value,) in back] == values

    def test_texts_differ_and_are_sorted_by_their_octets(self, registry_url: str) -> None:
        """Case, accents and blanks make a difference, and no language has a say in the order."""
        names = ["b", "B", "a b", "a-b", "a/b", "ab", "é", "e\u0301", "Z", "z", "_a", "日本"]
        with _opened(registry_url) as registry:
            registry.register_runs(names)
            rows = registry._db.rows("SELECT name FROM collection WHERE name <> 'known' ORDER BY name")  # noqa: SLF001
        assert [name for (name,) in rows] == sorted(names, key=str.encode)


def _opened(url: str, *, read_only: bool = False) -> Registry:
    from prestow.model import DatasetType
    from prestow.naming.universe import load_universe
    from prestow.registry import Registry

    if read_only:
        return Registry.open(url, load_universe(), read_only=True)
    registry = Registry.open(url, load_universe(), create=True)
    registry.register_dataset_type(DatasetType("bias", ("detector", "instrument"), "fits"))
    registry.register_store("archive", "file:///archive")
    registry.register_run("known")
    return registry


def _rows(*datasets: tuple[str, int], digest: str = "11") -> DatasetBatch:
    """Give rows for datasets, each of a run and a detector."""
    import pyarrow as pa

    from prestow.model import DataId, Dataset
    from prestow.registry import DatasetBatch
    from prestow.registry.columns import uuid_bytes

    ids: Any = uuid_bytes(
        Dataset("bias", DataId({"instrument": "sim", "detector": n}), run).id for run, n in datasets
    )
    many = len(datasets)
    rows = {
        "id": ids, "run": [run for run, _ in datasets], "instrument": ["sim"] * many,
        "detector": [n for _, n in datasets], "recipe": pa.array([b"r" * 16] * many, pa.binary(16)),
    }  # fmt: skip
    files = {
        "dataset": ids, "store": ["archive"] * many, "path": [f"{run}/{n}.fits" for run, n in datasets],
        "size": [10] * many, "sha256": [digest * 32] * many, "content": ["22" * 32] * many, "format": ["fits"] * many,
    }  # fmt: skip
    return DatasetBatch({"bias": pa.table(rows)}, pa.table(files))
