"""Bytes at a URI: read, put if absent, move, delete; verified copies.

Owns where bytes live and how they become durable. Serves the node, commit and ingest. Never knows
what a name means.

Names are relative, with ``/``; a store never escapes its root. Walking is a capability of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO, Protocol, runtime_checkable

from prestow.errors import Problem, StoreError
from prestow.plugins import load

TEMPORARY = ".prestow-tmp-"
"""How the name of a file in the making begins; no object's name has a part that begins so."""


class Put(StrEnum):
    """The answer to a put-if-absent."""

    YES = "yes"  # it is there, and it is ours
    EXISTS = "exists"  # something was there, or so we are told
    UNKNOWN = "unknown"  # no answer: read back


class Store(Protocol):
    """Bytes by name. Errors are `StoreError`; an absent name is `ObjectNotFoundError`.

    Over a service that keeps whole objects, `prestow.stores.whole.WholeObjects` makes one from four functions.
    """

    uri: str

    def read(self, name: str) -> bytes:
        """Give the bytes of a name."""

    def size(self, name: str) -> int | None:
        """Give the size in bytes, or None if absent. Absence is never proof."""

    def digest(self, name: str) -> tuple[int, str] | None:
        """Give size and SHA-256 of the bytes, or None if absent."""

    def fetch(self, name: str, target: Path) -> tuple[int, str]:
        """Copy to a new local file (parents made); give size and SHA-256 of what was copied."""

    def create(self, name: str) -> AbstractContextManager[BinaryIO]:
        """Open a name for writing; durable and visible once the block ends well, else absent."""

    def put_if_absent(self, name: str, data: bytes) -> Put:
        """Put whole bytes at a name that must not exist; durable when it says yes."""

    def move(self, source: str, target: str) -> None:
        """Make the target name hold the source's bytes, atomically and durably; source goes."""

    def delete(self, name: str) -> None:
        """Remove a name; absent is fine."""

    def probe(self) -> None:
        """Prove that the store does what the commit protocol asks, or raise PST-R001."""


@runtime_checkable
class Walkable(Protocol):
    """A store that can list; for account, ingest, fsck and rebuild alone."""

    def walk(self, prefix: str = "") -> Iterator[tuple[str, int]]:
        """Give (name, size) of everything below a prefix, sorted by name."""


def names_below(store: Walkable, prefix: str = "") -> Iterator[str]:
    """Give the names alone that a store's ``walk`` gives; by its ``walk_names``, if it has that and so needs no sizes."""
    names: Callable[[str], Iterator[str]] | None = getattr(store, "walk_names", None)
    return names(prefix) if names is not None else (name for name, _ in store.walk(prefix))


@runtime_checkable
class Linkable(Protocol):
    """A store whose files can be linked into a local repository."""

    def local_path(self, name: str) -> Path:
        """Give the path of a name on this machine's file system."""


@runtime_checkable
class Protecting(Protocol):
    """A store whose files have modes and a group."""

    def protect(
        self, name: str, *, mode: int, directory_mode: int | None = None, group: int | None = None
    ) -> bool:
        """See that a file has this mode and group, and the directories of its name theirs; say if one had not."""


def open_store(uri: str) -> Store:
    """Open a store by its URI: ``file:///dir``, ``memory://name``."""
    scheme, separator, _ = uri.partition("://")
    result: Store = load("stores", scheme if separator else "file")(uri)
    return result


def check_name(name: str) -> None:
    """Refuse a name that is empty, absolute, leaves the store, or is one of a file in the making.

    Raises
    ------
    StoreError
        PST-R008, with what is wrong.
    """
    parts = name.split("/")
    if "" in parts or "." in parts or ".." in parts or "\0" in name or TEMPORARY in name:
        raise StoreError(
            Problem(
                "PST-R008",
                f"not a name in a store: {name!r}",
                fix="a name is relative, with '/', without '.', '..', empty parts, "
                f"or parts that begin with '{TEMPORARY}'",
            )
        )
