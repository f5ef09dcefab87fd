"""A directory as a store: durable by fsync, exclusive by link, hidden until whole."""

from __future__ import annotations

import errno
import hashlib
import io
import os
import stat
from collections.abc import Callable, Iterator
from operator import itemgetter
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, BinaryIO, Final, NoReturn

from prestow.errors import ObjectNotFoundError, Problem, StoreError
from prestow.stores import TEMPORARY, Put, check_name

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

BLOCK: Final = 1 << 20
READ_ONLY: Final = 0o444
_FULL: Final = (errno.ENOSPC, errno.EDQUOT)
_ABSENT: Final = (errno.ENOENT, errno.ENOTDIR, errno.EISDIR)
_NO_LINKS: Final = (errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK)
_NO_ANSWER: Final = (errno.EIO, errno.ETIMEDOUT, errno.ESTALE)
_TRIES: Final = 20  # against a directory that others remove as soon as it is empty

# Directories whose entry in their parent this process has made durable. It is of the process and
# not of a store object, since a worker opens its stores anew for each job. A directory that
# vanished shows itself by ENOENT and is made again.
_durable: set[str] = set()


class FileStore:
    """A store in a directory of this machine (or of a network file system).

    The URI is ``file://`` and the absolute path as it is: nothing is encoded, so blanks, ``#``,
    ``%`` and quotes stand for themselves. A plain path is taken too.

    Directories are no objects: they come with the first name in them and go with the last.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     store = FileStore(f"file://{directory}/a store")
    ...     store.put_if_absent("a/b", b"one"), store.put_if_absent("a/b", b"two"), store.read("a/b")
    (<Put.YES: 'yes'>, <Put.EXISTS: 'exists'>, b'one')
    """

    def __init__(self, uri: str) -> None:
        scheme, separator, path = uri.partition("://")
        if not separator:
            path = os.path.abspath(uri)
        elif scheme != "file" or not path.startswith("/"):
            raise StoreError(
                Problem("PST-R001", f"not the URI of a directory: {uri!r}", fix="write file:///absolute/path")
            )
        self._root = os.path.normpath(path)
        if self._root.startswith("//"):  # POSIX lets normpath keep two slashes
            self._root = self._root[1:]
        self.uri = f"file://{self._root}"
        self._seen: dict[
            str, tuple[int | None, int | None]
        ] = {}  # directories that have their mode and group

    def __repr__(self) -> str:
        return f"FileStore({self.uri!r})"

    def read(self, name: str) -> bytes:
        """Give the bytes of a name."""
        try:
            descriptor = os.open(self._path(name), os.O_RDONLY | os.O_CLOEXEC)
            try:
                data = os.read(descriptor, os.fstat(descriptor).st_size + 1)
                while piece := os.read(descriptor, BLOCK):  # it grew, or is larger than one call gives
                    data += piece
                return data
            finally:
                os.close(descriptor)
        except OSError as error:
            self._trouble(error, name)

    def size(self, name: str) -> int | None:
        """Give the size in bytes, or None if absent."""
        try:
            status = os.stat(self._path(name))
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            self._trouble(error, name)
        return status.st_size if stat.S_ISREG(status.st_mode) else None

    def digest(self, name: str) -> tuple[int, str] | None:
        """Give size and SHA-256 of the bytes, or None if absent."""
        try:
            with open(self._path(name), "rb", buffering=0) as file:
                return _pass_on(file, None)
        except OSError as error:
            if error.errno in _ABSENT:
                return None
            self._trouble(error, name)

    def fetch(self, name: str, target: Path) -> tuple[int, str]:
        """Copy to a new local file; what cannot be copied whole is not left there in half."""
        try:
            source = open(self._path(name), "rb", buffering=0)  # noqa: SIM115
        except OSError as error:
            self._trouble(error, name)
        with source:
            try:
                copy = _open_new(os.fspath(target))
            except OSError as error:
                raise _local(error, target) from error
            try:
                with copy:
                    return _pass_on(source, copy)
            except OSError as error:
                os.unlink(target)
                if error.errno in _ABSENT:
                    self._trouble(error, name)
                raise _local(error, target) from error
            except BaseException:
                os.unlink(target)
                raise

    def create(self, name: str) -> _Creation:
        """Open a name for writing; visible, durable and read-only once the block ends well."""
        return _Creation(self, name, self._path(name))

    def put_if_absent(self, name: str, data: bytes) -> Put:
        """Put whole bytes at a name that must not exist.

        Also ``EXISTS`` is durable: whoever acts on what is there must not see it vanish.
        """
        path = self._path(name)
        directory = os.path.dirname(path)
        try:
            if os.path.lexists(path):
                return self._exists(path, directory, name)
            temporary, new = self._in(directory, lambda: _write_new(f"{directory}/{_temporary()}", data))
            try:
                answer = _place(temporary, path)
                if answer is not Put.UNKNOWN:
                    self._commit(directory, new)
            finally:
                _forget(temporary)
        except OSError as error:
            self._trouble(error, name, absent=False)
        return answer

    def _exists(self, path: str, directory: str, name: str) -> Put:
        if os.path.isdir(path):
            raise StoreError(
                Problem("PST-R008", f"names of this store begin with {name!r}: it is a directory", self.uri)
            )
        new: list[str] = []
        self._ensure(directory, new)
        self._commit(directory, new)
        return Put.EXISTS

    def move(self, source: str, target: str) -> None:
        """Make the target name hold the source's bytes; what was there is replaced.

        That is durable. After a power cut the source's name may be there again: as another name of the same file.
        """
        old, new = self._path(source), self._path(target)
        directory = os.path.dirname(new)
        try:
            status = os.stat(old, follow_symlinks=False)
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, "no file", old)
            if stat.S_IMODE(status.st_mode) != READ_ONLY:
                os.chmod(old, READ_ONLY)
            made = self._rename(old, new, directory)
            if status.st_nlink > 1 and old != new:
                _forget(old)  # two names of one file: rename would do nothing
            self._commit(directory, made)
            if os.path.dirname(old) != directory:
                self._prune(os.path.dirname(old))
        except OSError as error:
            self._trouble(error, source)

    def delete(self, name: str) -> None:
        """Remove a name; absent is fine."""
        path = self._path(name)
        try:
            os.unlink(path)
        except OSError as error:
            if error.errno not in _ABSENT:
                self._trouble(error, name)
            return
        self._prune(os.path.dirname(path))

    def probe(self) -> None:
        """Put a fresh name twice: the second must be refused, else the store is."""
        name = f"_probe/{os.urandom(8).hex()}"
        answers = self.put_if_absent(name, b"first"), self.put_if_absent(name, b"second")
        kept = self.read(name)
        self.delete(name)
        if answers != (Put.YES, Put.EXISTS) or kept != b"first":
            raise StoreError(
                Problem(
                    "PST-R001",
                    "the store cannot put if absent: what was there was replaced",
                    self.uri,
                    "choose a store on another file system",
                )
            )

    def walk(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Give (name, size) of everything below a prefix, sorted by name.

        Links are not followed out of the store, and never to a directory; files in the making
        are not told.
        """
        for name, entry in self._below(prefix):
            if entry is None:
                size = self.size(name)
                if size is not None:
                    yield name, size
                continue
            try:
                status = entry.stat(follow_symlinks=False)
                if stat.S_ISREG(status.st_mode):
                    yield name, status.st_size
                elif self._leads_inside(entry):
                    yield name, entry.stat().st_size
            except FileNotFoundError:  # removed since it was listed
                continue

    def walk_names(self, prefix: str = "") -> Iterator[str]:
        """Give the names alone that `walk` gives: no file is looked at."""
        for name, entry in self._below(prefix):
            if entry is None or entry.is_file(follow_symlinks=False) or self._leads_inside(entry):
                yield name

    def local_path(self, name: str) -> Path:
        """Give the path of a name on this machine's file system."""
        return Path(self._path(name))

    def protect(
        self, name: str, *, mode: int, directory_mode: int | None = None, group: int | None = None
    ) -> bool:
        """See that a file has this mode and group, and the directories of its name theirs; say if one had not.

        What is absent, and a link, is left alone. A file that is linked from elsewhere has its mode there, too.
        """
        path = self._path(name)
        try:
            changed = _set(path, mode, group)
            if directory_mode is not None or group is not None:
                wanted = directory_mode, group
                directory = os.path.dirname(path)
                while len(directory) > len(self._root) and self._seen.get(directory) != wanted:
                    changed = _set(directory, directory_mode, group) or changed
                    self._seen[directory] = wanted
                    directory = os.path.dirname(directory)
        except OSError as error:
            if error.errno in _ABSENT:
                return False
            raise _problem(error, name, self.uri) from error
        return changed

    # -- inside ---------------------------------------------------------------------------------

    def _path(self, name: str) -> str:
        check_name(name)
        return f"{self._root}/{name}"

    def _below(self, prefix: str) -> Iterator[tuple[str, os.DirEntry[str] | None]]:
        """Give all names below a prefix that are no directories, sorted; of a name that is none itself, that."""
        prefix = prefix.rstrip("/")
        if prefix and self.size(prefix) is not None:
            yield prefix, None
            return
        first = f"{prefix}/" if prefix else ""
        stack = [(first, self._entries(self._path(prefix) if prefix else self._root, first))]
        while stack:
            above, entries = stack[-1]
            for name, entry in entries:
                if name[-1] == "/":
                    stack.append((above + name, self._entries(entry.path, above + name)))
                    break
                yield above + name, entry
            else:
                stack.pop()

    def _entries(self, directory: str, prefix: str) -> Iterator[tuple[str, os.DirEntry[str]]]:
        """Give what is in a directory so that whole names are sorted; directories with their slash."""
        try:
            with os.scandir(directory) as found:
                entries = [
                    (f"{e.name}/" if e.is_dir(follow_symlinks=False) else e.name, e)
                    for e in found
                    if not e.name.startswith(TEMPORARY)
                ]
        except OSError as error:
            if error.errno in _ABSENT:
                return iter(())
            self._trouble(error, prefix)
        entries.sort(key=itemgetter(0))
        return iter(entries)

    def _leads_inside(self, entry: os.DirEntry[str]) -> bool:
        """Say whether this is a link to a file of the store."""
        if not entry.is_symlink():
            return False
        root = os.path.realpath(self._root)
        return entry.is_file() and os.path.realpath(entry.path).startswith(f"{root}/")

    def _ensure(self, directory: str, new: list[str]) -> None:
        """Make a directory and its parents; add those whose entry is not known to be durable.

        A directory that is there may be one whose maker died before its entry was durable: it is
        synced, too, once a process, and so is the store's root. Above that, only what is made here.
        """
        if directory in _durable or directory in new:
            return
        parent = os.path.dirname(directory)
        made = True
        try:
            os.mkdir(directory)
        except FileExistsError:
            made = False
        except FileNotFoundError:
            self._ensure(parent, new)
            try:
                os.mkdir(directory)
            except FileExistsError:
                made = False
        if len(directory) > len(self._root):
            self._ensure(parent, new)
        if made or len(directory) >= len(self._root):
            new.append(directory)

    def _in(self, directory: str, action: Callable[[], str]) -> tuple[str, list[str]]:
        """Do something in a directory that is there, also if it is removed meanwhile.

        Give what the action gave, and the directories that `_commit` has to make durable.
        """
        new: list[str] = []
        for left in reversed(range(_TRIES)):
            try:
                self._ensure(directory, new)  # also a parent can vanish, of which others know nothing
                return action(), new
            except FileNotFoundError:
                if not left:
                    raise
                new.clear()
                self._forget_directory(directory)
        raise AssertionError  # the last try returned or raised

    def _commit(self, directory: str, new: list[str]) -> None:
        """Make the entries of a directory durable, and its own and its parents' where new.

        The parents come last and not as they are made: after the first of these syncs a
        journalling file system has little left to do for the others.
        """
        _sync(directory)
        for made in reversed(new):
            try:
                _sync(os.path.dirname(made))
            except FileNotFoundError:  # others moved our file on, and removed what was empty
                continue
            except PermissionError:  # of the directory that has the root: then we did not make it
                if made != self._root:
                    raise
            _durable.add(made)

    def _rename(self, old: str, new: str, directory: str) -> list[str]:
        def rename() -> str:
            os.rename(old, new)
            return new

        return self._in(directory, rename)[1]

    def _forget_directory(self, directory: str) -> None:
        while directory != "/":
            _durable.discard(directory)
            directory = os.path.dirname(directory)

    def _prune(self, directory: str) -> str:
        """Remove directories that are empty now; give the first that is not."""
        while len(directory) > len(self._root):
            try:
                os.rmdir(directory)
            except FileNotFoundError:
                pass
            except OSError:
                break
            _durable.discard(directory)
            directory = os.path.dirname(directory)
        return directory

    def _trouble(self, error: OSError, name: str, *, absent: bool = True) -> NoReturn:
        if isinstance(error, StoreError):
            raise error
        if absent and error.errno in _ABSENT:
            raise ObjectNotFoundError(Problem("PST-R007", f"no object {name!r}", self.uri)) from error
        raise _problem(error, name, self.uri) from error


class _Creation:
    """The context that `FileStore.create` gives."""

    def __init__(self, store: FileStore, name: str, path: str) -> None:
        self._store = store
        self._name = name
        self._path = path
        self._directory = os.path.dirname(path)
        self._temporary = ""
        self._new: list[str] = []
        self._file: io.BufferedWriter

    def __enter__(self) -> BinaryIO:
        def opened() -> str:
            path = f"{self._directory}/{_temporary()}"
            self._file = io.BufferedWriter(_Sink(path, self._name, self._store.uri))
            return path

        try:
            self._temporary, self._new = self._store._in(self._directory, opened)  # noqa: SLF001 - of this module
        except OSError as error:
            self._store._trouble(error, self._name, absent=False)  # noqa: SLF001
        return self._file

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is not None:
                return
            self._file.flush()
            descriptor = self._file.fileno()
            os.fchmod(descriptor, READ_ONLY)
            os.fsync(descriptor)
            self._file.close()
            os.rename(self._temporary, self._path)
            self._temporary = ""
            self._store._commit(self._directory, self._new)  # noqa: SLF001
        except OSError as trouble:
            self._store._trouble(trouble, self._name, absent=False)  # noqa: SLF001
        finally:
            if self._temporary:
                _forget(self._temporary)
                try:
                    self._file.close()  # flushes, which fails again on a full disk
                except OSError:
                    self._file.raw.close()


class _Sink(io.FileIO):
    """The raw file below a creation: says which store is full, also inside the block."""

    def __init__(self, path: str, name: str, uri: str) -> None:
        super().__init__(path, "xb")
        self._where = name, uri

    def write(self, data: ReadableBuffer, /) -> int:
        try:
            return super().write(data)
        except OSError as error:
            raise _problem(error, *self._where) from error


def _problem(error: OSError, name: str, where: str) -> StoreError:
    if error.errno in _FULL:
        return StoreError(
            Problem(
                "PST-R002",
                f"no space left to write {name!r}",
                where,
                "free some space and give the same command again: it goes on where it was",
            )
        )
    return StoreError(
        Problem(
            "PST-R001",
            f"{error.strerror or error}: {name!r}",
            where,
            "check the directory, its permissions and its disk",
        )
    )


def _local(error: OSError, target: Path) -> StoreError:
    """Give the error for a trouble with the local copy, not with the store."""
    return _problem(error, str(target), "the local disk")


def _set(path: str, mode: int | None, group: int | None) -> bool:
    """Give a path its mode and group where it has others; say whether it had."""
    status = os.stat(path, follow_symlinks=False)
    if stat.S_ISLNK(status.st_mode):
        return False
    changed = False
    if group is not None and status.st_gid != group:
        os.chown(path, -1, group)
        changed = True
    if mode is not None and stat.S_IMODE(status.st_mode) & ~stat.S_ISGID != mode:
        os.chmod(path, mode | (status.st_mode & stat.S_ISGID))
        changed = True
    return changed


def _temporary() -> str:
    return TEMPORARY + os.urandom(8).hex()


def _write_new(path: str, data: bytes) -> str:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        written = os.write(descriptor, data)
        while written < len(data):
            written += os.write(descriptor, data[written:])
        os.fchmod(descriptor, READ_ONLY)
        os.fsync(descriptor)
    except BaseException:
        _forget(path)
        raise
    finally:
        os.close(descriptor)
    return path


def _place(temporary: str, path: str) -> Put:
    """Give a whole file its name, if nothing has that name: link, or rename without replacing."""
    try:
        os.link(temporary, path)
    except FileExistsError:
        return Put.EXISTS
    except OSError as error:
        if error.errno in _NO_ANSWER:
            return Put.UNKNOWN
        if error.errno not in _NO_LINKS:
            raise
        return _rename_exclusive(temporary, path, error)
    return Put.YES


def _rename_exclusive(temporary: str, path: str, refusal: OSError) -> Put:
    import ctypes

    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    here, no_replace = -100, 1  # AT_FDCWD, RENAME_NOREPLACE
    if rename is not None:
        if rename(here, os.fsencode(temporary), here, os.fsencode(path), no_replace) == 0:
            return Put.YES
        if ctypes.get_errno() == errno.EEXIST:
            return Put.EXISTS
        if ctypes.get_errno() in _NO_ANSWER:
            return Put.UNKNOWN
    raise StoreError(
        Problem(
            "PST-R001",
            f"the file system can neither link nor rename exclusively ({refusal.strerror})",
            os.path.dirname(path),
            "choose a store on another file system",
        )
    )


def _forget(path: str) -> None:
    try:  # noqa: SIM105 - contextlib is one more import on a node
        os.unlink(path)
    except FileNotFoundError:
        pass


def _sync(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _open_new(path: str) -> io.FileIO:
    try:
        return io.FileIO(path, "xb")
    except FileNotFoundError:
        os.makedirs(os.path.dirname(path), exist_ok=True)
        return io.FileIO(path, "xb")


def _pass_on(source: io.FileIO, target: io.FileIO | None) -> tuple[int, str]:
    """Read a file once, in blocks: digest it and, if asked, copy it."""
    digest = hashlib.sha256()
    size = 0
    while block := source.read(BLOCK):
        digest.update(block)
        size += len(block)
        if target is not None:
            view = memoryview(block)
            while view:
                view = view[target.write(view) :]
    return size, digest.hexdigest()
