"""A store in memory: real semantics in one process, for tests and models."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import BinaryIO, Final, NoReturn

from prestow.errors import ObjectNotFoundError, Problem, StoreError
from prestow.stores import Put, check_name

_PREFIX: Final = "memory://"

# The memory of the process is the medium, as the disk is that of a file store.
_spaces: dict[str, dict[str, bytes]] = {}
_lock = threading.RLock()


class MemoryStore:
    """Names and bytes in the memory of this process; one URI is one store.

    ``on_call``, if set, is called with the operation and the name before anything is done: a
    test may count, pause or raise there. Writing to a `create` is ``create`` when the block is
    entered and ``commit`` when it ends well.

    Examples
    --------
    >>> store = MemoryStore("memory://example")
    >>> store.put_if_absent("a/b", b"one"), store.put_if_absent("a/b", b"two"), store.read("a/b")
    (<Put.YES: 'yes'>, <Put.EXISTS: 'exists'>, b'one')
    >>> MemoryStore("memory://example").read("a/b")
    b'one'
    """

    def __init__(self, uri: str) -> None:
        if not uri.startswith(_PREFIX):
            raise StoreError(
                Problem("PST-R001", f"not the URI of a memory store: {uri!r}", fix="write memory://name")
            )
        self.uri = uri
        self.on_call: Callable[[str, str], None] | None = None
        with _lock:
            self._objects = _spaces.setdefault(uri, {})

    def __repr__(self) -> str:
        return f"MemoryStore({self.uri!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self.uri} is memory of this process: no other one has it")

    def read(self, name: str) -> bytes:
        """Give the bytes of a name."""
        self._step("read", name)
        return self._get(name)

    def size(self, name: str) -> int | None:
        """Give the size in bytes, or None if absent."""
        self._step("size", name)
        data = self._objects.get(name)
        return None if data is None else len(data)

    def digest(self, name: str) -> tuple[int, str] | None:
        """Give size and SHA-256 of the bytes, or None if absent."""
        self._step("digest", name)
        data = self._objects.get(name)
        return None if data is None else (len(data), hashlib.sha256(data).hexdigest())

    def fetch(self, name: str, target: Path) -> tuple[int, str]:
        """Copy to a new local file; give size and SHA-256."""
        self._step("fetch", name)
        data = self._get(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            with target.open("xb") as file:
                file.write(data)
        except OSError as error:
            raise StoreError(
                Problem("PST-R001", f"{error.strerror}: {str(target)!r}", "the local disk")
            ) from error
        return len(data), hashlib.sha256(data).hexdigest()

    def create(self, name: str) -> _Creation:
        """Open a name for writing; there once the block ends well."""
        check_name(name)
        return _Creation(self, name)

    def put_if_absent(self, name: str, data: bytes) -> Put:
        """Put whole bytes at a name that must not exist."""
        self._step("put_if_absent", name)
        with _lock:
            if name in self._objects:
                return Put.EXISTS
            self._objects[name] = bytes(data)
            return Put.YES

    def move(self, source: str, target: str) -> None:
        """Make the target name hold the source's bytes; the source goes."""
        check_name(target)
        self._step("move", source)
        with _lock:
            data = self._get(source)
            del self._objects[source]
            self._objects[target] = data

    def delete(self, name: str) -> None:
        """Remove a name; absent is fine."""
        self._step("delete", name)
        with _lock:
            self._objects.pop(name, None)

    def probe(self) -> None:
        """Memory is always fit."""
        self._step("probe", "_probe")

    def walk(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Give (name, size) of everything below a prefix, sorted by name."""
        prefix = prefix.rstrip("/")
        self._step("walk", prefix or "_")
        with _lock:
            found = sorted((name, len(data)) for name, data in self._objects.items())
        for name, size in found:
            if not prefix or name == prefix or name.startswith(f"{prefix}/"):
                yield name, size

    def snapshot(self) -> dict[str, bytes]:
        """Give all that is there, for a model that goes back to it with `restore`."""
        with _lock:
            return dict(self._objects)

    def restore(self, objects: Mapping[str, bytes]) -> None:
        """Hold exactly these objects; an empty mapping forgets everything."""
        with _lock:
            self._objects.clear()
            self._objects.update(objects)

    def _step(self, operation: str, name: str) -> None:
        check_name(name)
        if self.on_call is not None:
            self.on_call(operation, name)

    def _get(self, name: str) -> bytes:
        try:
            return self._objects[name]
        except KeyError:
            raise ObjectNotFoundError(Problem("PST-R007", f"no object {name!r}", self.uri)) from None

    def _commit(self, name: str, data: bytes) -> None:
        self._step("commit", name)
        with _lock:
            self._objects[name] = data


class _Creation:
    """The context that `MemoryStore.create` gives."""

    def __init__(self, store: MemoryStore, name: str) -> None:
        self._store = store
        self._name = name
        self._buffer = io.BytesIO()

    def __enter__(self) -> BinaryIO:
        self._store._step("create", self._name)  # noqa: SLF001 - of this module
        return self._buffer

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._store._commit(self._name, self._buffer.getvalue())  # noqa: SLF001
