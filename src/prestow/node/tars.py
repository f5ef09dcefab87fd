"""Inputs of a job as one tar: written the same each time, and read member by member without unpacking it first.

A tar has members sorted by name, each with time 0, owner 0 and mode 0444, and nothing of the machine that wrote it. A
member's name is that of the input in the local repository, so ``tar xf`` gives the tree, too.

Read is what POSIX and GNU tar write of plain files, not compressed. Links, devices, two members of one name, and names that are
absolute or have ``..`` are refused, all of them, before a byte is taken. (``tarfile`` costs more to import than a small job.)
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterable, Iterator
from hashlib import sha256
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, final

from prestow.errors import ObjectNotFoundError, Problem, TaskError
from prestow.stores import Linkable, Store

if TYPE_CHECKING:
    from io import FileIO

    from prestow.manifest import Location

SEPARATOR = ".tar#"
"""Between the name of a tar, without its end, and that of a member in it."""

_BLOCK = 512
_PIECE = 1 << 20
_PLAIN_NAME = 100
_PLAIN_SIZE = 8 << 30
_LONGEST_HEADER = 1 << 20
_SHOWN = 5
_OTHERS = {b"1": "a hard link", b"2": "a link", b"3": "a device", b"4": "a device", b"6": "a pipe"}


def place_in_tar(tar: str, member: str) -> str:
    """Give the path of a Location for a member of a tar.

    Examples
    --------
    >>> place_in_tar("tars/isr-1.tar", "inputs/raw/a.fits")
    'tars/isr-1.tar#inputs/raw/a.fits'
    """
    return f"{tar}#{member}"


def split_place(place: Location) -> tuple[str, str] | None:
    """Give the name of a tar and that of the member which a Location means; None if it means a file.

    Examples
    --------
    >>> from prestow.manifest import Location
    >>> split_place(Location("archive", "tars/isr-1.tar#inputs/raw/a#1.fits"))
    ('tars/isr-1.tar', 'inputs/raw/a#1.fits')
    >>> split_place(Location("archive", "raw/a#1.fits"))
    """
    name, found, member = place.path.partition(SEPARATOR)
    return (f"{name}.tar", member) if found else None


def write_tar(path: str | os.PathLike[str], members: Iterable[tuple[str, Path]]) -> tuple[int, str]:
    r"""Write files as a tar, which is there whole or not at all; give its size and SHA-256.

    Parameters
    ----------
    members : iterable of (name, file)
        In any order; a file is read piece by piece.

    Raises
    ------
    TaskError
        PST-N071 if two have one name, or a name is absolute or has ``..``.
    OSError
        If a file cannot be read, or became shorter meanwhile.

    Examples
    --------
    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     file = Path(directory, "x")
    ...     _ = file.write_bytes(b"bytes")
    ...     size, digest = write_tar(Path(directory, "some.tar"), [("b/x", file), ("a", file)])
    ...     size, Members.of_file(Path(directory, "some.tar")).names()
    (3072, ['a', 'b/x'])
    """
    target = os.fspath(path)
    ordered = sorted(members, key=lambda member: member[0])
    names = [name for name, _ in ordered]
    wrong = [*_faults(names), *(_twice(a) for a, b in pairwise(names) if a == b)]
    if wrong:
        raise _refused(wrong, target)
    fresh = f"{target}.{os.getpid()}-{os.urandom(4).hex()}"
    digest, size = sha256(), 0
    try:
        with open(fresh, "xb") as sink:
            for piece in _pieces(ordered):
                sink.write(piece)
                digest.update(piece)
                size += len(piece)
        os.replace(fresh, target)
    except BaseException:
        if os.path.lexists(fresh):
            os.unlink(fresh)
        raise
    return size, digest.hexdigest()


def _pieces(members: Iterable[tuple[str, Path]]) -> Iterator[bytes]:
    for name, path in members:
        with open(path, "rb", buffering=0) as file:
            size = os.fstat(file.fileno()).st_size
            yield _header(name, size)
            left = size
            while left:
                piece = file.read(min(left, _PIECE))
                if not piece:
                    raise OSError(errno.EIO, "it became shorter while it was read", os.fspath(path))
                left -= len(piece)
                yield piece
            yield bytes(-size % _BLOCK)
    yield bytes(2 * _BLOCK)


def _header(name: str, size: int) -> bytes:
    encoded = name.encode()
    if len(encoded) <= _PLAIN_NAME and name.isascii() and size < _PLAIN_SIZE:
        return _block(encoded, size, b"0")
    records = _record("path", name) + (_record("size", str(size)) if size >= _PLAIN_SIZE else b"")
    extended = _block(b"pax", len(records), b"x") + records + bytes(-len(records) % _BLOCK)
    return extended + _block(encoded[:_PLAIN_NAME], size if size < _PLAIN_SIZE else 0, b"0")


def _block(name: bytes, size: int, kind: bytes) -> bytes:
    fields = (
        name.ljust(100, b"\0"), b"0000444\0", b"0000000\0", b"0000000\0", b"%011o\0" % size, b"00000000000\0", b" " * 8, kind,
        bytes(100), b"ustar\x0000", bytes(64), b"0000000\0", b"0000000\0", bytes(167),
    )  # fmt: skip
    block = b"".join(fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _record(key: str, value: str) -> bytes:
    body = f" {key}={value}\n".encode()
    length = len(body) + 1
    while len(str(length)) + len(body) != length:
        length = len(str(length)) + len(body)
    return str(length).encode() + body


@final
class Members:
    """The members of a tar as objects that are fetched one by one; the tar is opened when the first is.

    Parameters
    ----------
    store, name : Store, str
        Where the tar is. A tar of a store that has no files of this machine is copied here once, without a name.
    scratch : str
        Where to.
    """

    def __init__(self, store: Store | None, name: str, scratch: str) -> None:
        self.name = name
        self.uri = f"{store.uri}/{name}" if store is not None else name
        self._store = store
        self._scratch = scratch
        self._file = -1
        self._index: dict[str, tuple[int, int]] = {}

    @classmethod
    def of_file(cls, path: Path) -> Members:
        """Give the members of a tar on this machine."""
        return cls(None, os.fspath(path), "")

    def names(self) -> list[str]:
        """Give the names of all members, in their order."""
        self._opened()
        return list(self._index)

    def fetch(self, name: str, target: Path) -> tuple[int, str]:
        """Copy a member to a new local file; give size and SHA-256 of what was copied."""
        file = self._opened()
        if name not in self._index:
            raise ObjectNotFoundError(Problem("PST-R007", f"no member {name!r}", self.uri))
        offset, size = self._index[name]
        try:
            with open(target, "xb", buffering=0) as copy:
                digest = self._copy(file, offset, size, copy)
        except BaseException:
            if os.path.lexists(target):
                os.unlink(target)
            raise
        return size, digest

    def _copy(self, file: int, offset: int, size: int, sink: FileIO) -> str:
        digest, end = sha256(), offset + size
        while offset < end:
            piece = os.pread(file, min(end - offset, _PIECE), offset)
            if not piece:
                raise OSError(errno.EIO, "the tar became shorter while it was read", self.name)
            digest.update(piece)
            sink.write(piece)
            offset += len(piece)
        return digest.hexdigest()

    def close(self) -> None:
        """Let go of the file."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    __del__ = close

    def _opened(self) -> int:
        if self._file < 0:
            file = self._open()
            try:
                self._index = _index(file, self.uri)
            except BaseException:
                os.close(file)
                raise
            self._file = file
        return self._file

    def _open(self) -> int:
        path = self.name
        if self._store is not None and not isinstance(self._store, Linkable):
            os.makedirs(self._scratch, exist_ok=True)
            copy = f"{self._scratch}/.tar-{os.getpid()}-{os.urandom(8).hex()}"
            self._store.fetch(path, Path(copy))
            try:
                return os.open(copy, os.O_RDONLY | os.O_CLOEXEC)
            finally:
                os.unlink(copy)
        try:
            return os.open(
                path if self._store is None else self._store.local_path(path), os.O_RDONLY | os.O_CLOEXEC
            )
        except FileNotFoundError as error:
            raise ObjectNotFoundError(Problem("PST-R007", f"no object {path!r}", self.uri)) from error


def _index(file: int, where: str) -> dict[str, tuple[int, int]]:
    """Give offset and size of each member; refuse the tar for what no input is."""
    end = os.fstat(file).st_size
    found: dict[str, tuple[int, int]] = {}
    wrong: list[str] = []
    at, more = 0, dict[str, str]()
    while True:
        block = os.pread(file, _BLOCK, at)
        if len(block) < _BLOCK:
            raise _refused(["it ends too early" if at else "it is no tar"], where)
        if not block.strip(b"\0"):
            break
        size, kind = _size(block), block[156:157]
        if size < 0 or _number(block[148:156]) != _sum(block):
            raise _refused(["a header is damaged" if at else "it is no tar"], where)
        data = at + _BLOCK
        if kind in b"xgL":
            if size > _LONGEST_HEADER:
                raise _refused(["a header has more than a mebibyte"], where)
            told = _told(kind, os.pread(file, size, data), where)
            wrong += ["a header for all members"] if kind == b"g" and told else []
            more |= told
            at = data + size + -size % _BLOCK
            continue
        size = int(more.get("size", size))
        if data + size > end:
            raise _refused(["it ends too early"], where)
        name = (more.get("path") or _name(block, where)).removeprefix("./")  # "tar cf x.tar ./inputs"
        wrong += [f"a file with holes: {name!r}"] if any(key.startswith("GNU.sparse") for key in more) else []
        at, more = data + size + -size % _BLOCK, {}
        if name in ("", ".") and kind == b"5":
            continue
        wrong += _faults([name.rstrip("/")])
        if kind == b"5" or (kind == b"\0" and name.endswith("/")):
            continue
        if kind not in (b"0", b"\0"):
            wrong.append(f"{_OTHERS.get(kind, 'of a kind that is no file')}: {name!r}")
        if name in found:
            wrong.append(_twice(name))
        found[name] = data, size
    if wrong:
        raise _refused(wrong, where)
    return found


def _sum(block: bytes) -> int:
    return sum(block) - sum(block[148:156]) + 8 * 32


def _size(block: bytes) -> int:
    field = block[124:136]
    if field[0] & 0x80:  # as GNU tar writes what eight digits cannot say
        return int.from_bytes(field[1:], "big")
    return _number(field)


def _number(field: bytes) -> int:
    text = field.strip(b" \0")
    return int(text or b"0", 8) if not text.strip(b"01234567") else -1


def _name(block: bytes, where: str) -> str:
    name, prefix = block[:100].partition(b"\0")[0], block[345:500].partition(b"\0")[0]
    whole = prefix + b"/" + name if prefix and block[257:263] == b"ustar\0" else name
    return _text(whole, where)


def _told(kind: bytes, data: bytes, where: str) -> dict[str, str]:
    """Give what an extended header says of the next member."""
    if kind == b"L":
        return {"path": _text(data.partition(b"\0")[0], where)}
    told = {}
    while data.strip(b"\0"):
        length, _, _ = data.partition(b" ")
        if not length.isdigit() or not 0 < int(length) <= len(data):
            raise _refused(["an extended header is damaged"], where)
        key, _, value = data[len(length) + 1 : int(length) - 1].partition(b"=")
        data = data[int(length) :]
        if key in (b"path", b"size") or key.startswith(b"GNU.sparse"):
            told[key.decode("ascii", "replace")] = _text(value, where)
    if not told.get("size", "0").isdecimal():
        raise _refused(["an extended header is damaged"], where)
    return told


def _text(data: bytes, where: str) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise _refused([f"a name that is not UTF-8: {data!r}"], where) from error


def _faults(names: Iterable[str]) -> list[str]:
    return [
        f"a name that leads elsewhere: {name!r}"
        for name in names
        if "\0" in name or not {"", ".", ".."}.isdisjoint(name.split("/"))
    ]


def _twice(name: str) -> str:
    return f"two members of one name: {name!r}"


def _refused(wrong: list[str], where: str) -> TaskError:
    more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
    return TaskError(
        Problem("PST-N071", "; ".join(wrong[:_SHOWN]) + more, where, "see who wrote it, and how it came here")
    )
