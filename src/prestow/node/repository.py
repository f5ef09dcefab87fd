"""The local repository: the directory a job works in, and nothing outside it.

Inputs are staged by receipt, their digests verified, and looked at again after each run; what a
task leaves behind is compared with what was planned.
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from prestow.errors import InputError, ObjectNotFoundError, Problem
from prestow.stores import Linkable, Store

if TYPE_CHECKING:
    from prestow.node.tars import Members

MANIFEST = "manifest.json"
"""Name of the manifest in a local repository that is kept, and beside one."""

_FICLONE = 0x40049409
_CLONE_FROM = 1 << 16  # bytes; a smaller file is copied faster than it is cloned
_clones = True
"""Whether cloning may work here; the first refusal ends the tries of this process."""


_MOST_IDLE = 40
_idle: dict[str, list[str]] = {}
"""Empty local repositories of this process, and the directories in them."""


class Staged(NamedTuple):  # a tenth of what a dataclass costs to make, at each start of a node
    """An input in the local repository, as it was when it was verified."""

    path: str
    size: int
    sha256: str
    stamp: tuple[int, ...]

    def changed(self) -> bool:
        """Whether the file is another one by now, or another size or time."""
        try:
            return _stamp(self.path) != self.stamp
        except OSError:
            return True


class Source(NamedTuple):
    """A place where an input's bytes may be."""

    store: Store | Members
    name: str
    moves: bool = False  # it may be renamed at any moment, so it must not be linked


class Repository:
    """``<scratch>/<job>-<attempt>/{inputs,outputs,work/<k>,tmp}``.

    With ``reuse`` the empty directories serve the next job of this process under its own name:
    making and removing them costs as much as a small job.
    """

    def __init__(self, scratch: str, job: str, attempt: str, *, reuse: bool = False) -> None:
        self.root = f"{scratch}/{job}-{attempt[:8]}"
        self.temporary = f"{self.root}/tmp"  # noqa: S108 - our own
        self._idle = f"{scratch}/.idle-{os.getpid()}" if reuse else ""
        self._made = {self.root}
        known = _idle.pop(self._idle, None)
        if known is not None:
            try:
                os.rename(self._idle, self.root)
            except OSError:
                pass  # somebody tidied up
            else:
                self._made.update(f"{self.root}{name}" for name in known)
                return
        os.makedirs(self.temporary)
        self._made.add(self.temporary)

    def local(self, name: str) -> str:
        """Give the path of a local name; the manifest was checked to name nothing outside."""
        return f"{self.root}/{name}"

    def work(self, k: int) -> str:
        """Make the empty working directory of the k-th quantum."""
        path = f"{self.root}/work/{k}"
        self.directory(path)
        return path

    def directory(self, path: str) -> None:
        """Make a directory and its parents, once."""
        if path in self._made:
            return
        # A known directory in an unknown one would be removed with it, and still pass for known.
        self.directory(os.path.dirname(path))
        with contextlib.suppress(FileExistsError):
            os.mkdir(path)
        self._made.add(path)

    def stage(self, name: str, sources: Iterable[Source], size: int, sha256: str) -> Staged | str:
        """Bring an input here and verify it on the way; else say what was found.

        A file that this process cannot write is linked, any other copied: the archive's file is
        never the task's to change.
        """
        path = self.local(name)
        self.directory(os.path.dirname(path))
        found = []
        for source in sources:
            try:
                got = _bring(source, path)
            except ObjectNotFoundError:
                found.append(f"{source.name} is not there")
                continue
            if got == (size, sha256):
                return Staged(path, size, sha256, _stamp(path))
            os.unlink(path)
            found.append(
                f"{source.name} has {got[0]} bytes with sha256 {got[1][:12]}…, not {size} with {sha256[:12]}…"
            )
        return "; ".join(found)

    def strays(
        self, planned: Sequence[str], work: str, ignore: Sequence[str], inputs: Iterable[str]
    ) -> list[str]:
        """Give the files in the working directory and beside inputs and outputs nobody planned."""
        known = {self.local(name) for name in planned}
        known.update(inputs)
        found = [(path, path[len(work) + 1 :]) for path in _files(work)]
        for place in ("outputs", "inputs"):
            top = self.local(place)
            found += [(path, path[len(self.root) + 1 :]) for path in _files(top) if path not in known]
        if found and ignore:
            from fnmatch import fnmatchcase

            found = [
                (path, name)
                for path, name in found
                if not any(fnmatchcase(name, p) or fnmatchcase(os.path.basename(name), p) for p in ignore)
            ]
        return sorted(name for _, name in found)

    def clear(self, k: int, inputs: Iterable[str], *, keep: bool) -> None:
        """Make way for the next quantum: what the k-th left behind must not pass for its."""
        outputs = self.local("outputs")
        if keep and os.path.isdir(outputs):
            os.rename(outputs, f"{outputs}-{k}")
        remove_tree(outputs)
        if not keep:
            remove_tree(f"{self.root}/work/{k}")
        known = set(inputs)
        for path in list(_files(self.local("inputs"))):
            if path not in known:
                os.unlink(path)
        self._made = {self.root, self.temporary}

    def keep(self, manifest: str) -> None:
        """Leave it there, with the manifest in it, so that it tells by itself what it is."""
        try:
            with open(f"{self.root}/{MANIFEST}", "w", encoding="utf-8") as file:
                file.write(manifest)
        except OSError:  # it is for people, and the job is over
            return

    def remove(self) -> None:
        """Remove all of it, or all but empty directories for the next job."""
        if self._idle and len(self._made) <= _MOST_IDLE:
            try:
                _empty(self.root, self._made)
                os.rename(self.root, self._idle)
            except OSError:
                pass  # a task closed its own directory, or another thread was first
            else:
                if not _idle:
                    atexit.register(_remove_idle)
                _idle[self._idle] = [path[len(self.root) :] for path in self._made]
                return
        remove_tree(self.root)


def lost_input(what: str, where: str) -> InputError:
    """Say that an input's bytes are not those of its receipt (PST-N006)."""
    return InputError(
        Problem(
            "PST-N006",
            f"the input {where} is not what was committed: {what}",
            where,
            "find out what changed it; restore the file",
        )
    )


def remove_tree(path: str) -> None:
    """Remove a directory with all that is in it, as far as that is allowed; absent is fine."""
    try:
        with os.scandir(path) as entries:
            for entry in list(entries):
                if entry.is_dir(follow_symlinks=False):
                    remove_tree(entry.path)
                else:
                    os.unlink(entry.path)
        os.rmdir(path)
    except PermissionError:
        if os.access(path, os.W_OK | os.X_OK):
            return
        os.chmod(path, 0o700)  # a task closed its own directory
        if os.access(path, os.W_OK | os.X_OK):
            remove_tree(path)
    except OSError:
        return


def _empty(path: str, known: set[str]) -> None:
    with os.scandir(path) as found:
        entries = list(found)
    for entry in entries:
        if not entry.is_dir(follow_symlinks=False):
            os.unlink(entry.path)
        elif entry.path in known:
            _empty(entry.path, known)
        else:
            remove_tree(entry.path)


def _remove_idle() -> None:
    for path in _idle:
        if path.endswith(f"-{os.getpid()}"):  # not those of the process that forked this one
            remove_tree(path)


def _files(top: str) -> Iterator[str]:
    try:
        with os.scandir(top) as found:
            entries = list(found)
    except FileNotFoundError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from _files(entry.path)
        else:
            yield entry.path


def _stamp(path: str) -> tuple[int, ...]:
    s = os.stat(path)
    link = os.lstat(path).st_ino
    return (s.st_dev, s.st_ino, s.st_size, s.st_mtime_ns, link)


def _bring(source: Source, path: str) -> tuple[int, str]:
    if not source.moves and isinstance(source.store, Linkable):
        origin = os.fspath(source.store.local_path(source.name))
        if not os.access(origin, os.W_OK):
            got = source.store.digest(source.name)
            if got is None:
                raise ObjectNotFoundError(Problem("PST-R007", f"no object {source.name!r}", source.store.uri))
            os.symlink(origin, path)
            return got
        if _clones and (got := _clone(origin, path)) is not None:
            return got
    got = source.store.fetch(source.name, Path(path))
    os.chmod(path, 0o444)
    return got


def _clone(origin: str, path: str) -> tuple[int, str] | None:
    """Share the blocks of a file where the file system can, and digest what is there then."""
    global _clones  # noqa: PLW0603 - one answer of the machine
    try:
        if os.path.getsize(origin) < _CLONE_FROM:
            return None
        import fcntl

        with open(origin, "rb") as old, open(path, "xb") as new:
            fcntl.ioctl(new.fileno(), _FICLONE, old.fileno())
        os.chmod(path, 0o444)
        import hashlib

        with open(path, "rb") as new:
            return os.path.getsize(path), hashlib.file_digest(new, "sha256").hexdigest()
    except OSError as error:
        _clones = error.errno in (errno.ENOENT, errno.ENOSPC)
        if os.path.lexists(path):
            os.unlink(path)
        return None
