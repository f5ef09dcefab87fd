"""Unexpected files by policy: kept in a tar, dropped, refused; and nothing is lost, wherever it is killed."""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from prestow.engines import open_engine
from prestow.errors import PrestowError
from prestow.ingest import ingest_outputs
from prestow.plan import Plan
from prestow.registry.records import read_records
from prestow.results.account import Account, account
from prestow.results.unexpected import describe, put_away
from prestow.stores import open_store
from prestow.stores.file import FileStore
from prestow.testing.campaigns import Campaign

JUNK = {"toy/core": b"dumped", "toy/doubled/notes/a b.txt": b"x" * 70_000, "toy/shifted/empty": b""}


@pytest.fixture(scope="module")
def clean(tmp_path_factory: pytest.TempPathFactory) -> tuple[Campaign, Plan]:
    campaign = Campaign(tmp_path_factory.mktemp("unexpected") / "c", visits=2)
    campaign.run(open_engine("local"))
    with campaign.registry() as registry:
        ingest_outputs(registry, open_store(campaign.stores["archive"]), runs=["toy"])
    return campaign, campaign.plan()


@pytest.fixture
def root(clean: tuple[Campaign, Plan], tmp_path: Path) -> Iterator[Path]:
    path = tmp_path / "store"
    shutil.copytree(clean[0].directory / "store", path)
    for name, data in JUNK.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    yield path
    for top, _, _ in os.walk(path):
        Path(top).chmod(0o755)


def take(root: Path, plan: Plan) -> Account:
    return account("toy", open_store(f"file://{root}"), plan=plan, level="full")


def tars(root: Path) -> dict[str, bytes]:
    """Give what all tars that a record vouches for hold, by name."""
    store, found = open_store(f"file://{root}"), {}
    for _, facts in read_records(store, "unexpected"):
        if facts.get("tar"):
            assert store.digest(facts["tar"]["path"]) == (facts["tar"]["size"], facts["tar"]["sha256"])
            with tarfile.open(fileobj=io.BytesIO(store.read(facts["tar"]["path"]))) as tar:
                for member in tar:
                    body = tar.extractfile(member) if member.isfile() else None
                    found[member.name] = body.read() if body else member.linkname.encode()
    return {name.removeprefix("files/"): data for name, data in found.items() if name != "index.json"}


def test_kept_in_a_tar_of_its_own_name_and_the_account_closes(
    root: Path, clean: tuple[Campaign, Plan]
) -> None:
    store, plan = open_store(f"file://{root}"), clean[1]
    before = take(root, plan)
    assert {note.path for note in before.of("unexpected")} == set(JUNK)
    looked = put_away(store, "toy", before.notes, "tar", plan=plan.id, dry_run=True)
    assert (looked.done, tars(root)) == (False, {})
    put = put_away(store, "toy", before.notes, "tar", plan=plan.id)
    assert (put.tar, {s.path for s in put.taken}) == (looked.tar, set(JUNK))
    assert tars(root) == JUNK
    assert {one["path"]: one["size"] for one in describe(store, put.tar)} == {
        n: len(d) for n, d in JUNK.items()
    }
    after = take(root, plan)
    assert (after.closes, after.found) == (True, 6)
    assert not put_away(store, "toy", after.notes, "tar", plan=plan.id).taken
    (root / put.tar).write_bytes(b"other")
    assert [note.why for note in take(root, plan).of("faulty")] == ["changed"]


def test_dropped_after_a_record_of_what_they_were(root: Path, clean: tuple[Campaign, Plan]) -> None:
    store, plan = open_store(f"file://{root}"), clean[1]
    put = put_away(store, "toy", take(root, plan).notes, "drop", plan=plan.id)
    assert (len(put.taken), put.tar, take(root, plan).closes) == (3, "", True)
    [(_, facts)] = read_records(store, "unexpected")
    assert {one["path"]: one["size"] for one in facts["files"]} == {n: len(d) for n, d in JUNK.items()}
    (root / "toy/core").write_bytes(b"another")  # the same name is no licence
    assert not take(root, plan).closes


def test_refused_by_policy_and_named_one_by_one(root: Path, clean: tuple[Campaign, Plan]) -> None:
    with pytest.raises(PrestowError) as error:
        put_away(open_store(f"file://{root}"), "toy", take(root, clean[1]).notes, "fail")
    assert {problem.where for problem in error.value.problems} == set(JUNK)
    assert {problem.code for problem in error.value.problems} == {"PST-A010"}


@pytest.mark.parametrize("policy", ["tar", "drop"])
def test_what_is_planned_or_linked_to_is_left(root: Path, clean: tuple[Campaign, Plan], policy: str) -> None:
    store, plan = open_store(f"file://{root}"), clean[1]
    shutil.rmtree(root / "_receipts/toy/gather")  # its product is debris at a planned name now
    (root / "toy/link").symlink_to("core")
    (root / "toy/outside").symlink_to("/etc/hostname")
    (root / "toy/.prestow-tmp-1").write_bytes(b"half")
    put = put_away(store, "toy", take(root, plan).notes, policy, plan=plan.id)
    left = {note.path for note in take(root, plan).of("unexpected")}
    assert left == {note.path for note in put.left}
    assert left == {"toy/total/total-toy.json", "toy/core", "toy/.prestow-tmp-1"}
    assert Path("/etc/hostname").exists()
    if policy == "tar":
        rest = {name: data for name, data in JUNK.items() if name != "toy/core"}
        assert tars(root) == {**rest, "toy/link": b"core", "toy/outside": b"/etc/hostname"}


def test_an_error_while_saving_stops_with_everything_still_there(
    root: Path, clean: tuple[Campaign, Plan]
) -> None:
    store, plan = open_store(f"file://{root}"), clean[1]
    os.mkfifo(root / "toy/pipe")
    before = take(root, plan)
    for policy in ("tar", "drop"):
        with pytest.raises(PrestowError, match="PST-A011"):
            put_away(store, "toy", before.notes, policy)
    assert take(root, plan).notes == before.notes
    (root / "toy/pipe").unlink()
    full = Full(f"file://{root}")
    with pytest.raises(PrestowError, match="PST-A011"):
        put_away(full, "toy", take(root, plan).notes, "tar")
    assert {n: (root / n).read_bytes() for n in JUNK} == JUNK
    assert not (root / "_unexpected").exists() or not list((root / "_unexpected").rglob("*.tar"))


class Full(FileStore):
    """A store that takes no more than so much in one file."""

    def create(self, name: str):  # noqa: ANN201 - as the store's
        creation = super().create(name)

        class Sink:
            def __enter__(self):  # noqa: ANN204
                self.file = creation.__enter__()
                return self

            def __exit__(self, *error):  # noqa: ANN002, ANN204
                return creation.__exit__(*error)

            def write(self, data: bytes) -> int:
                if self.file.tell() + len(data) > 30_000:
                    raise OSError(28, "No space left on device")
                return self.file.write(data)

        return Sink()


class Killed(BaseException):
    """Kills like a signal: nobody catches it."""


class Mortal(FileStore):
    """A store under which a process dies at its k-th call, before or after it was done."""

    def __init__(self, uri: str, at: int, *, after: bool) -> None:
        super().__init__(uri)
        self.left, self.after = at, after

    def _call(self, name: str, *args: object):  # noqa: ANN202
        self.left -= 1
        if not self.left and not self.after:
            raise Killed
        result = getattr(FileStore, name)(self, *args)
        if not self.left:
            raise Killed
        return result

    def digest(self, name: str):  # noqa: ANN201
        return self._call("digest", name)

    def create(self, name: str):  # noqa: ANN201
        return self._call("create", name)

    def put_if_absent(self, name: str, data: bytes):  # noqa: ANN201
        return self._call("put_if_absent", name, data)

    def delete(self, name: str) -> None:
        self._call("delete", name)


@pytest.mark.parametrize("policy", ["tar", "drop"])
@pytest.mark.parametrize("after", [False, True])
def test_killed_at_any_step_nothing_is_lost(
    root: Path, clean: tuple[Campaign, Plan], policy: str, after: bool
) -> None:
    plan = clean[1]
    begun = root.with_name("begun")
    root.rename(begun)
    for at in range(1, 200):
        shutil.rmtree(root, ignore_errors=True)
        shutil.copytree(begun, root)
        notes = take(root, plan).notes
        try:
            put_away(Mortal(f"file://{root}", at, after=after), "toy", notes, policy)
        except Killed:
            pass
        else:
            break
        there = {name: (root / name).read_bytes() for name in JUNK if (root / name).exists()}
        if policy == "tar":
            assert {**tars(root), **there} == JUNK
        elif len(there) < len(JUNK):
            assert list(read_records(open_store(f"file://{root}"), "unexpected"))
        put_away(open_store(f"file://{root}"), "toy", take(root, plan).notes, policy)
        assert take(root, plan).closes
        assert policy == "drop" or tars(root) == JUNK
    assert at > 5


def test_the_tar_is_the_same_whoever_writes_it(root: Path, clean: tuple[Campaign, Plan]) -> None:
    second = root.with_name("second")
    shutil.copytree(root, second)
    os.utime(second / "toy/core", (1, 1))
    (second / "toy/core").chmod(0o600)
    names = [
        put_away(open_store(f"file://{r}"), "toy", take(r, clean[1]).notes, "tar").tar for r in (root, second)
    ]
    assert names[0] == names[1]
    assert (root / names[0]).read_bytes() == (second / names[0]).read_bytes()
    assert json.loads(
        (root / next((root / "_records/unexpected").rglob("*.json")).relative_to(root)).read_text()
    )
