"""A store from four functions, over a service that keeps whole objects by name."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

from prestow.errors import ObjectNotFoundError, Problem, StoreError
from prestow.stores import Put, check_name


class WholeObjects(ABC):
    """A store whose objects are read and written as a whole, each of them in memory for a moment.

    A subclass gives four methods over names that were checked; all that `prestow.stores.Store` and
    `prestow.stores.Walkable` ask for follows. Each must be durable when it returns and whole for whoever
    reads at the same time, and of several that `keep` one name without replacing exactly one is told so.

    Parameters
    ----------
    uri : str
        As it stands in ``prestow.yaml``: the name of the store in its entry point, ``://``, and the rest.

    Examples
    --------
    >>> class Here(WholeObjects):
    ...     objects = {}
    ...     def load(self, name):
    ...         return self.objects.get(name)
    ...     def keep(self, name, data, *, replace):
    ...         if name in self.objects and not replace:
    ...             return False
    ...         self.objects[name] = data
    ...         return True
    ...     def drop(self, name):
    ...         self.objects.pop(name, None)
    ...     def names(self):
    ...         return self.objects
    >>> store = Here("here://")
    >>> store.put_if_absent("a/b", b"one"), store.put_if_absent("a/b", b"two"), store.read("a/b")
    (<Put.YES: 'yes'>, <Put.EXISTS: 'exists'>, b'one')
    """

    def __init__(self, uri: str) -> None:
        self.uri = uri

    @abstractmethod
    def load(self, name: str) -> bytes | None:
        """Give the bytes of a name, or None if it is absent."""

    @abstractmethod
    def keep(self, name: str, data: bytes, *, replace: bool) -> bool:
        """Put bytes at a name; without ``replace`` only where nothing is. Say whether they are there now."""

    @abstractmethod
    def drop(self, name: str) -> None:
        """Remove a name; absent is fine."""

    @abstractmethod
    def names(self) -> Iterable[str]:
        """Give all names, in any order."""

    def read(self, name: str) -> bytes:
        """Give the bytes of a name."""
        check_name(name)
        data = self.load(name)
        if data is None:
            raise ObjectNotFoundError(Problem("PST-R007", "there is no such object", f"{self.uri}: {name}"))
        return data

    def size(self, name: str) -> int | None:
        """Give the size in bytes, or None if absent."""
        check_name(name)
        data = self.load(name)
        return None if data is None else len(data)

    def digest(self, name: str) -> tuple[int, str] | None:
        """Give size and SHA-256 of the bytes, or None if absent."""
        check_name(name)
        data = self.load(name)
        return None if data is None else (len(data), hashlib.sha256(data).hexdigest())

    def fetch(self, name: str, target: Path) -> tuple[int, str]:
        """Copy to a new local file; give size and SHA-256 of what was copied."""
        data = self.read(name)
        try:
            os.makedirs(target.parent, exist_ok=True)
            with open(target, "xb") as file:
                file.write(data)
        except OSError as error:
            what = f"cannot be copied here: {error.strerror}"
            raise StoreError(Problem("PST-R009", what, str(target))) from error
        return len(data), hashlib.sha256(data).hexdigest()

    @contextlib.contextmanager
    def create(self, name: str) -> Iterator[BinaryIO]:
        """Open a name for writing; it is there once the block ends well."""
        check_name(name)
        held = io.BytesIO()
        yield held
        self.keep(name, held.getvalue(), replace=True)

    def put_if_absent(self, name: str, data: bytes) -> Put:
        """Put whole bytes at a name that must not exist."""
        check_name(name)
        return Put.YES if self.keep(name, bytes(data), replace=False) else Put.EXISTS

    def move(self, source: str, target: str) -> None:
        """Make the target name hold the source's bytes; the source goes."""
        check_name(target)
        data = self.read(source)
        if source != target:
            self.keep(target, data, replace=True)
            self.drop(source)

    def delete(self, name: str) -> None:
        """Remove a name; absent is fine."""
        check_name(name)
        self.drop(name)

    def probe(self) -> None:
        """Prove that a name is put once, read back and removed, or raise PST-R001."""
        name = f"_probe/{secrets.token_hex(8)}"
        try:
            answers = self.keep(name, b"first", replace=False), self.keep(name, b"second", replace=False)
            kept = self.load(name)
        finally:
            self.drop(name)
        if answers != (True, False) or kept != b"first" or self.load(name) is not None:
            what = f"the store does not keep a name as it was put first: {answers}, {kept!r}"
            raise StoreError(Problem("PST-R001", what, self.uri, "use another store"))

    def walk(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Give (name, size) of everything below a prefix, sorted by name."""
        below = prefix.rstrip("/")
        for name in sorted(self.names()):
            if not below or name == below or name.startswith(f"{below}/"):
                size = self.size(name)
                if size is not None:  # removed in between
                    yield name, size
