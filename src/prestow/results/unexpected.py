"""Unexpected files by policy: named, refused, kept in a tar, or dropped. Nothing is lost on the way.

The tar has a name of its own, ``_unexpected/<run>/<digest of its index>.tar``: names that begin with ``_``
are the store's own, so no product can have it, and what it is called follows from what is in it. It is
written whole and read back; then a record says what it holds; only then the originals go. Of what is
dropped the record comes first, too. Killed at any step, the same call goes on.

Never taken: what is at a planned name or committed, files in the making, what another entry links to.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, NamedTuple, cast

import polars as pl

from prestow.errors import ObjectNotFoundError, PrestowError, Problem, ProjectError, StoreError
from prestow.model.hashing import canonical_json, sha256_hex
from prestow.registry.records import put_record, read_records
from prestow.results.account_files import UNEXPECTED, Note
from prestow.stores import Linkable, Store

if TYPE_CHECKING:
    from pathlib import Path

PLACE = "_unexpected"
INDEX = "index.json"

_PIECE = 1 << 20


class Stray(NamedTuple):
    """An unexpected file as it is: bytes with a digest, or a link with what it says."""

    path: str
    size: int
    sha256: str
    link: str = ""

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "path": self.path, "size": self.size, "sha256": self.sha256, **({"link": self.link} if self.link else {}),
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Put:
    """What a policy did with unexpected files, or would do.

    Parameters
    ----------
    policy : str
        ``keep``, ``tar``, ``drop`` or ``fail``.
    taken : tuple of Stray
        What is in the tar, or was dropped.
    left : tuple of Note
        Unexpected files that no policy touches, such as what is at a planned name.
    tar : str
        Its name in the store.
    done : bool
        It was done, and not only looked at.
    """

    policy: str
    taken: tuple[Stray, ...] = ()
    left: tuple[Note, ...] = ()
    tar: str = ""
    done: bool = False

    @property
    def size(self) -> int:
        """Bytes of what was taken."""
        return sum(stray.size for stray in self.taken)

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "policy": self.policy, "done": self.done, "tar": self.tar or None, "size": self.size,
            "taken": [stray.as_dict() for stray in self.taken], "left": [note.path for note in self.left],
        }  # fmt: skip


def kept_files(store: Store, run: str) -> pl.DataFrame:
    """Give ``name, size, sha256`` of the tars that records of a run vouch for."""
    rows = [
        (facts["tar"]["path"], facts["tar"]["size"], bytes.fromhex(facts["tar"]["sha256"]))
        for facts in _records(store, run)
        if facts.get("tar")
    ]
    return pl.DataFrame(
        rows, schema={"name": pl.String, "size": pl.Int64, "sha256": pl.Binary}, orient="row"
    ).unique("name")


def put_away(
    store: Store, run: str, notes: Iterable[Note], policy: str, *, plan: str = "", dry_run: bool = False
) -> Put:
    """Do with unexpected files what a policy says.

    The caller makes sure that every plan of the run was known when the notes were made: what is at a planned
    name is left.

    Raises
    ------
    ProjectError
        PST-A010 with every one, if the policy is ``fail``.
    StoreError
        PST-A011 if something cannot be saved; then everything is still there.
    """
    unexpected = [note for note in notes if note.kind == UNEXPECTED]
    free = [note for note in unexpected if not note.planned]
    left = [note for note in unexpected if note.planned]
    if policy == "fail" and unexpected:
        fix = "look at them: prestow account --unexpected keep; then put them away: --unexpected tar"
        raise ProjectError(*(Problem("PST-A010", note.what, note.path, fix) for note in unexpected))
    if policy in ("keep", "fail"):
        return Put(policy, left=tuple(unexpected))
    targets = _targets(store, notes)
    left += [note for note in free if note.path in targets]
    strays = [_stray(store, note.path) for note in free if note.path not in targets]
    if dry_run:
        return Put(policy, tuple(strays), tuple(left), _tar_name(run, strays) if policy == "tar" else "")
    rest = _finished(store, run, strays, policy)
    _sweep(store, run, left)
    if not rest:
        return Put(policy, tuple(strays), tuple(left), done=True)
    tar = ""
    facts: dict[str, Any] = {"run": run, "plan": plan, "policy": policy}
    facts["files"] = [stray.as_dict() for stray in rest]
    if policy == "tar":
        tar = _tar_name(run, rest)
        facts["tar"] = _write(store, tar, rest)
    put_record(store, "unexpected", f"{run}.{_digest(rest)[:32]}.{policy}", facts)
    for stray in rest:
        _remove(store, stray)
    return Put(policy, tuple(strays), tuple(left), tar, done=True)


def _records(store: Store, run: str) -> Iterator[dict[str, Any]]:  # Any: JSON values
    return (facts for _, facts in read_records(store, "unexpected") if facts.get("run") == run)


def _finished(store: Store, run: str, strays: Sequence[Stray], policy: str) -> list[Stray]:
    """Delete what a killed call had saved, or noted, and not deleted yet; give what is left to do."""
    if not strays:
        return []
    saved = set[tuple[str, str]]()
    for facts in _records(store, run):
        tar = facts.get("tar")
        if facts["policy"] == policy and (
            not tar or store.digest(tar["path"]) == (tar["size"], tar["sha256"])
        ):
            saved |= {(one["path"], one["sha256"]) for one in facts["files"]}
    for stray in strays:
        if (stray.path, stray.sha256) in saved:
            _remove(store, stray)
    return [stray for stray in strays if (stray.path, stray.sha256) not in saved]


def _sweep(store: Store, run: str, left: list[Note]) -> None:
    """Delete tars that no record vouches for: who wrote them was killed before, and deleted nothing."""
    for note in list(left):
        if is_tar(note.path, run) and _is_own(store, note.path):
            store.delete(note.path)
            left.remove(note)


def is_tar(name: str, run: str) -> bool:
    """Say whether a name is one that a tar of unexpected files can have.

    Examples
    --------
    >>> is_tar("_unexpected/demo/" + 32 * "a" + ".tar", "demo"), is_tar("_unexpected/demo/x", "demo")
    (True, False)
    """
    head, _, last = name.rpartition("/")
    return head == f"{PLACE}/{run}" and re.fullmatch(r"[0-9a-f]{32}\.tar", last) is not None


def _is_own(store: Store, name: str) -> bool:
    """Say whether a tar was written here: it is called as the index in it says."""
    try:
        with _opened(store, name) as file, tarfile.open(fileobj=file, mode="r|") as tar:
            first = tar.next()
            inside = tar.extractfile(first) if first is not None and first.name == INDEX else None
            return inside is not None and name.endswith(f"/{sha256_hex(inside.read())[:32]}.tar")
    except (PrestowError, OSError, tarfile.TarError):
        return False


def _targets(store: Store, notes: Iterable[Note]) -> set[str]:
    """Give what links among these lead to, in the store: it is not taken away under them."""
    if not isinstance(store, Linkable):
        return set()
    root = os.path.realpath(store.local_path("x").parent)
    found = set()
    for path in (_local(store, note.path) for note in notes if note.why == "link"):
        if path is not None and path.is_symlink():
            target = os.path.realpath(path)
            if target.startswith(f"{root}/"):
                found.add(target[len(root) + 1 :])
    return found


def _local(store: Store, name: str) -> Path | None:
    if not isinstance(store, Linkable):
        return None
    try:
        return store.local_path(name)
    except StoreError as error:
        raise _unsaved(error.problems[0].what, name) from error


def _stray(store: Store, name: str) -> Stray:
    """Look at a file that is to be put away; what cannot be read stops it all."""
    path = _local(store, name)
    try:
        if path is not None and path.is_symlink():
            link = os.readlink(path)
            return Stray(name, 0, sha256_hex(link.encode()), link)
        if path is not None and not path.is_file():
            raise _unsaved("this is no file, and cannot be saved", name)
        found = store.digest(name)
    except PrestowError as error:
        if any(problem.code == "PST-A011" for problem in error.problems):
            raise
        raise _unsaved(error.problems[0].what, name) from error
    except OSError as error:
        raise _unsaved(str(error), name) from error
    if found is None:
        raise _unsaved("it is no longer there", name)
    return Stray(name, *found)


def _unsaved(what: str, where: str) -> StoreError:
    fix = "nothing was deleted: mend this, then the same command again"
    return StoreError(Problem("PST-A011", what, where, fix))


def _index(strays: Sequence[Stray]) -> bytes:
    return canonical_json({"schema": "prestow.unexpected/1", "files": [s.as_dict() for s in strays]}).encode()


def _digest(strays: Sequence[Stray]) -> str:
    return sha256_hex(_index(strays))


def _tar_name(run: str, strays: Sequence[Stray]) -> str:
    return f"{PLACE}/{run}/{_digest(strays)[:32]}.tar" if strays else ""


def _write(store: Store, name: str, strays: Sequence[Stray]) -> dict[str, Any]:  # Any: JSON values
    """Write the tar whole, read it back, and give its name, size and digest."""
    try:
        with store.create(name) as sink:
            size, sha256 = _pack(store, sink, strays)
        _read_back(store, name, strays)
        found = store.digest(name)
    except PrestowError as error:
        if error.problems[0].code == "PST-A011":
            raise
        raise _unsaved(f"the tar cannot be written: {error.problems[0].what}", name) from error
    except (OSError, tarfile.TarError, ValueError) as error:
        raise _unsaved(f"the tar cannot be written: {error}", name) from error
    if found != (size, sha256):
        raise _unsaved("the tar read back is not what was written", name)
    return {"path": name, "size": size, "sha256": sha256}


class _Counting(io.RawIOBase):
    """A sink that counts and digests what goes through it."""

    def __init__(self, sink: IO[bytes]) -> None:
        self._sink = sink
        self.size = 0
        self.hash = hashlib.sha256()

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:  # Any: a buffer
        self._sink.write(data)
        self.hash.update(data)
        self.size += len(data)
        return len(data)


def _pack(store: Store, sink: IO[bytes], strays: Sequence[Stray]) -> tuple[int, str]:
    counting = _Counting(sink)
    with tarfile.open(fileobj=cast("IO[bytes]", counting), mode="w|", format=tarfile.PAX_FORMAT) as tar:
        index = _index(strays)
        head = tarfile.TarInfo(INDEX)
        head.size = len(index)
        tar.addfile(head, io.BytesIO(index))
        for stray in strays:
            member = tarfile.TarInfo(f"files/{stray.path}")
            if stray.link:
                member.type, member.linkname = tarfile.SYMTYPE, stray.link
                tar.addfile(member)
                continue
            member.size = stray.size
            with _opened(store, stray.path) as file:
                tar.addfile(member, file)
    return counting.size, counting.hash.hexdigest()


@contextlib.contextmanager
def _opened(store: Store, name: str) -> Iterator[IO[bytes]]:
    path = _local(store, name)
    if path is None:
        yield io.BytesIO(store.read(name))
        return
    with open(os.open(path, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
        yield file


def _read_back(store: Store, name: str, strays: Sequence[Stray]) -> None:
    """Hold what is in the tar against what was to be saved, byte for byte."""
    wanted = {f"files/{stray.path}": stray for stray in strays}
    with _opened(store, name) as file, tarfile.open(fileobj=file, mode="r|") as tar:
        for member in tar:
            if member.name == INDEX and member.isfile():
                inside = tar.extractfile(member)
                if inside is None or inside.read() != _index(strays):
                    raise _unsaved("its index is not what was written", name)
                continue
            stray = wanted.pop(member.name, None)
            if stray is None:
                raise _unsaved(f"it holds {member.name}, which nobody put there", name)
            if member.issym():
                same = member.linkname == stray.link
            else:
                body = tar.extractfile(member)
                same = body is not None and _sha256(body) == stray.sha256
            if not same:
                raise _unsaved("it changed while it was saved", stray.path)
    if wanted:
        raise _unsaved(f"{len(wanted):,} files are not in it", name)


def _sha256(file: IO[bytes]) -> str:
    found = hashlib.sha256()
    while piece := file.read(_PIECE):
        found.update(piece)
    return found.hexdigest()


def _remove(store: Store, stray: Stray) -> None:
    """Delete one original, unless it is another one by now; a link itself, never what it leads to."""
    try:
        if _stray(store, stray.path) != stray:
            return
    except StoreError:
        return  # gone, or no longer what it was: the next account tells
    with contextlib.suppress(ObjectNotFoundError):
        store.delete(stray.path)


def describe(store: Store, name: str) -> list[dict[str, Any]]:  # Any: JSON values
    """Give what the index of a tar of unexpected files says: ``path, size, sha256`` of each."""
    with _opened(store, name) as file, tarfile.open(fileobj=file, mode="r|") as tar:
        for member in tar:
            inside = tar.extractfile(member) if member.name == INDEX else None
            if inside is not None:
                files: list[dict[str, Any]] = json.loads(inside.read())["files"]
                return files
    return []
