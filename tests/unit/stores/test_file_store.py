"""The store in a directory: durable, exclusive, read-only, hidden until whole."""

import errno
import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

import prestow
from prestow.errors import ObjectNotFoundError, StoreError
from prestow.stores import TEMPORARY, Put, open_store
from prestow.stores import file as file_module
from prestow.stores.file import FileStore

ENVIRONMENT = os.environ | {"PYTHONPATH": str(Path(prestow.__file__).parents[1])}


@pytest.fixture
def store(tmp_path):
    return FileStore(f"file://{tmp_path}/store")


def files_below(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


def start(code, *arguments):
    return subprocess.Popen(
        [sys.executable, "-c", code, *map(str, arguments)], env=ENVIRONMENT, stdout=subprocess.PIPE, text=True
    )


@pytest.mark.parametrize("name", ["a b", "a#b?c=d", "100%25", "[it's]", "é", "a:b", "a&b", 'q"q'])
def test_uri_is_the_path_as_it_is(tmp_path, name):
    store = open_store(f"file://{tmp_path}/{name}")
    store.put_if_absent("x", b"y")
    assert (tmp_path / name / "x").read_bytes() == b"y"
    assert store.uri == f"file://{tmp_path}/{name}"
    assert store.local_path("x") == tmp_path / name / "x"


def test_plain_path_is_a_uri_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert open_store("here").uri == f"file://{tmp_path}/here"
    assert open_store(f"file://{tmp_path}//a/../b/").uri == f"file://{tmp_path}/b"


@pytest.mark.parametrize("uri", ["file://relative", "file://", "http://x/y"])
def test_other_uris_are_refused(uri):
    with pytest.raises(StoreError, match="not the URI of a directory"):
        FileStore(uri)


def test_files_are_read_only_under_any_umask(store):
    before = os.umask(0o077)
    try:
        store.put_if_absent("put", b"x")
        with store.create("created") as sink:
            sink.write(b"x")
    finally:
        os.umask(before)
    (store.local_path("put").parent / "foreign").write_bytes(b"x")
    store.move("foreign", "moved")
    for name in ("put", "created", "moved"):
        assert stat.S_IMODE(store.local_path(name).stat().st_mode) == 0o444


def test_directories_come_and_go_with_their_names(store, tmp_path):
    store.put_if_absent("_aside/q/a/0", b"x")
    store.put_if_absent("_aside/q/a/1", b"y")
    store.move("_aside/q/a/0", "run/x")
    assert files_below(tmp_path / "store") == [
        "_aside",
        "_aside/q",
        "_aside/q/a",
        "_aside/q/a/1",
        "run",
        "run/x",
    ]
    store.delete("_aside/q/a/1")
    assert files_below(tmp_path / "store") == ["run", "run/x"]
    store.delete("run/x")
    assert (tmp_path / "store").is_dir()


def test_vanished_directories_are_made_again(store, tmp_path):
    store.put_if_absent("a/b/c", b"x")
    os.unlink(tmp_path / "store/a/b/c")
    os.removedirs(tmp_path / "store/a/b")
    assert store.put_if_absent("a/b/c", b"y") is Put.YES
    os.unlink(tmp_path / "store/a/b/c")
    os.removedirs(tmp_path / "store/a/b")
    with store.create("a/b/c") as sink:
        sink.write(b"z")
    os.rename(tmp_path / "store/a/b/c", tmp_path / "kept")
    os.removedirs(tmp_path / "store/a/b")
    store.put_if_absent("x", b"moved")
    store.move("x", "a/b/c")
    assert store.read("a/b/c") == b"moved"


def test_every_byte_and_entry_is_synced_before_it_counts(store, tmp_path, monkeypatch):
    """What a power cut would take: the names whose file or directory was not synced after."""
    synced = []
    real = os.fsync

    def fsync(descriptor):
        synced.append(os.path.realpath(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    root = f"{tmp_path}/store"
    store.put_if_absent("r/t/x", b"1")
    assert {str(tmp_path), root, f"{root}/r", f"{root}/r/t"} <= set(synced)
    assert any(TEMPORARY in path for path in synced)

    synced.clear()
    store.put_if_absent("r/t/x", b"2")  # exists: whoever reads it goes on from it
    assert synced == [f"{root}/r/t"]

    synced.clear()
    with store.create("aside/0") as sink:
        sink.write(b"x")
    assert TEMPORARY in synced[0]
    assert {root, f"{root}/aside"} <= set(synced[1:])

    synced.clear()
    store.move("aside/0", "run/x")
    assert {root, f"{root}/run"} <= set(synced)


def test_directory_left_by_a_dead_process_is_synced_by_the_next(tmp_path, monkeypatch):
    (tmp_path / "store/r/t").mkdir(parents=True)
    synced = []
    real = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda d: (synced.append(os.path.realpath(f"/proc/self/fd/{d}")), real(d))
    )
    FileStore(f"file://{tmp_path}/store").put_if_absent("r/t/x", b"1")
    assert {f"{tmp_path}/store", f"{tmp_path}/store/r"} <= set(synced)


def test_a_file_in_the_way_of_a_directory_is_told(store):
    store.put_if_absent("a", b"x")
    for act in (lambda: store.put_if_absent("a/b", b"y"), lambda: store.create("a/b").__enter__()):
        with pytest.raises(StoreError) as caught:
            act()
        assert caught.value.problems[0].code == "PST-R001"
    store.put_if_absent("d/e", b"x")
    with pytest.raises(StoreError, match="directory"):
        store.put_if_absent("d", b"x")


def test_two_names_of_one_file_move_too(store, tmp_path):
    store.put_if_absent("a", b"x")
    os.link(tmp_path / "store/a", tmp_path / "store/b")
    store.move("a", "b")
    assert store.size("a") is None
    assert store.read("b") == b"x"


def test_walk_follows_nothing_outside(store, tmp_path):
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/secret").write_bytes(b"x")
    store.put_if_absent("a/b", b"y")
    root = tmp_path / "store"
    (root / "directory").symlink_to(tmp_path / "outside")
    (root / "file").symlink_to(tmp_path / "outside/secret")
    (root / "loop").symlink_to(root)
    (root / "dangling").symlink_to(root / "none")
    (root / "inside").symlink_to(root / "a/b")
    (root / f"{TEMPORARY}0").write_bytes(b"half")
    assert list(store.walk()) == [("a/b", 1), ("inside", 1)]


def test_walk_of_no_store_is_empty(tmp_path):
    assert list(FileStore(f"file://{tmp_path}/none").walk()) == []


def test_a_liar_is_found_out(store, monkeypatch):
    """A file system on which link replaces what is there."""
    monkeypatch.setattr(os, "link", os.replace)
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    with pytest.raises(StoreError) as caught:
        store.probe()
    assert caught.value.problems[0].code == "PST-R001"


def test_without_links_a_rename_does_not_replace(store, monkeypatch):
    def refuse(*_):
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    assert store.put_if_absent("a/b", b"first") is Put.YES
    monkeypatch.setattr(os.path, "lexists", lambda _: False)
    assert store.put_if_absent("a/b", b"second") is Put.EXISTS
    assert list(store.walk()) == [("a/b", 5)]
    assert store.read("a/b") == b"first"
    store.probe()


def test_no_answer_is_said_to_be_none(store, monkeypatch):
    def link(*_):
        raise OSError(errno.ETIMEDOUT, "timed out")

    monkeypatch.setattr(os, "link", link)
    assert store.put_if_absent("a", b"x") is Put.UNKNOWN


RACE = """
import sys, time
from prestow.stores import open_store
store, me = open_store(sys.argv[1]), sys.argv[2]
print("ready", flush=True)
while store.size("go") is None: time.sleep(0.001)
print(*[n for n in range(40) if store.put_if_absent(f"race/{n % 7}/{n}", me.encode() * 5000) == "yes"])
"""


def test_of_many_processes_exactly_one_wins(store):
    racers = [start(RACE, store.uri, letter) for letter in "abcdef"]
    for racer in racers:
        assert racer.stdout.readline() == "ready\n"
    store.put_if_absent("go", b"")
    won = {}
    for letter, racer in zip("abcdef", racers, strict=True):
        for name in racer.communicate(timeout=60)[0].split():
            assert name not in won
            won[name] = letter
    assert len(won) == 40
    for name, letter in won.items():
        assert store.read(f"race/{int(name) % 7}/{name}") == letter.encode() * 5000
    assert len(list(store.walk())) == 41
    assert not [p for p in store.local_path("go").parent.rglob(f"{TEMPORARY}*")]


WRITER = """
import sys
from prestow.stores import open_store
store = open_store(sys.argv[1])
for n in range(10**6):
    store.put_if_absent(f"{sys.argv[2]}/put/{n}", bytes([n % 256]) * 300_000)
    if n == 0:
        print("ready", flush=True)
    with store.create(f"{sys.argv[2]}/create/{n}") as sink:
        for _ in range(3):
            sink.write(bytes([n % 256]) * 100_000)
    store.move(f"{sys.argv[2]}/create/{n}", f"{sys.argv[2]}/moved/{n}")
"""


def test_kill_leaves_no_half_file(store):
    for turn in range(6):
        writer = start(WRITER, store.uri, turn)
        assert writer.stdout.readline() == "ready\n"
        time.sleep(0.02 + 0.013 * turn)
        writer.send_signal(signal.SIGKILL)
        writer.wait()
        writer.stdout.close()
    found = list(store.walk())
    assert found
    for name, size in found:
        assert size == 300_000
        assert store.read(name) == bytes([int(name.rpartition("/")[2]) % 256]) * 300_000


@pytest.fixture
def small_disk(tmp_path):
    mount = tmp_path / "small"
    mount.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "prestow-test", mount], capture_output=True, text=True, check=False
    ) if os.geteuid() == 0 else None  # fmt: skip
    if done is None or done.returncode:
        pytest.skip(f"no right to mount a small disk{': ' + done.stderr.strip() if done else ''}")
    yield mount
    subprocess.run(["umount", mount], check=True)


def test_full_disk_is_one_clear_error(small_disk, store, tmp_path):
    full = FileStore(f"file://{small_disk}/store")
    full.put_if_absent("kept", b"x" * 1000)
    big = b"x" * 1_000_000

    def create():
        with full.create("a/b") as sink:
            sink.write(big[:100])
            sink.write(big)

    store.put_if_absent("big", big)
    for act in (
        lambda: full.put_if_absent("a/b", big),
        create,
        lambda: store.fetch("big", small_disk / "local"),
    ):
        with pytest.raises(StoreError) as caught:
            act()
        problem = caught.value.problems[0]
        assert problem.code == "PST-R002"
        assert "no space left" in problem.what
        assert problem.fix
    assert list(full.walk()) == [("kept", 1000)]
    assert not [p for p in small_disk.rglob("*") if p.is_file() and p.name != "kept"]
    assert full.put_if_absent("a/c", b"y" * 1000) is Put.YES


def test_full_disk_at_the_last_flush_is_one_clear_error(small_disk):
    full = FileStore(f"file://{small_disk}")
    (small_disk / "filler").write_bytes(b"x" * 252 * 1024)
    with pytest.raises(StoreError) as caught, full.create("a") as sink:
        for _ in range(20):
            sink.write(b"x" * 1000)
    assert caught.value.problems[0].code == "PST-R002"
    assert [name for name, _ in full.walk()] == ["filler"]


def test_unreadable_is_told_with_its_place(store, tmp_path):
    store.put_if_absent("a", b"x")
    os.chmod(tmp_path / "store/a", 0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)  # root reads everything
    try:
        with pytest.raises(StoreError, match="Permission denied") as caught:
            store.read("a")
    finally:
        os.seteuid(user)
    assert not isinstance(caught.value, ObjectNotFoundError)
    assert caught.value.problems[0].where == store.uri


def test_a_process_opens_stores_again_without_syncing_again(tmp_path):
    uri = f"file://{tmp_path}/store"
    FileStore(uri).put_if_absent("a/b/c", b"x")
    assert f"{tmp_path}/store/a/b" in file_module._durable
