"""How the bytes of a raw or foreign file come into the store: copied, linked, or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Iterable
from enum import StrEnum
from urllib.parse import quote

from prestow.errors import Problem
from prestow.registry import Registry, StoreKind, put_record
from prestow.stores import Linkable, Put, Store
from prestow.stores.linking import link_into


class Transfer(StrEnum):
    """What is done with the bytes of a raw or foreign file."""

    COPY = "copy"
    LINK = "link"  # a second name for the file, if nobody can write it; else a copy
    IN_PLACE = "in-place"  # the file stays where it is, in a store that is only read


def common_directory(paths: Iterable[str]) -> str:
    """Give the directory below which all these files are."""
    return os.path.commonpath([os.path.dirname(path) for path in paths])


def place_in_store(store: Store, directory: str, path: str, sha256: str) -> str:
    """Give the name a file has in the store: its own, in a folder more if that one is taken."""
    name = os.path.basename(path)
    try:
        name.encode()
    except UnicodeEncodeError:
        name = quote(os.fsencode(name))
    plain = f"{directory}/{name}"
    taken = store.digest(plain)
    return plain if taken is None or taken[1] == sha256 else f"{directory}/{sha256[:16]}/{name}"


def carry(
    path: str, store: Store, name: str, *, size: int, sha256: str, transfer: Transfer
) -> Problem | None:
    """Make a name of the store hold a file's bytes; give what is in the way.

    The name is taken only if it is free, so two at once never replace each other's bytes.
    """
    if transfer is Transfer.LINK and _link(path, store, name) and store.digest(name) == (size, sha256):
        return None
    if store.digest(name) == (size, sha256):
        return None
    try:
        with open(path, "rb") as stream:
            data = stream.read()  # put whole: the exclusive put of a store takes bytes
    except OSError as error:
        return Problem(
            "PST-I005", f"cannot be read: {error.strerror}", path, "check the path and its permissions"
        )
    if hashlib.sha256(data).hexdigest() != sha256:
        return Problem(
            "PST-I004", "it changed while it was taken in", path, "wait until it is whole, then try again"
        )
    if store.put_if_absent(name, data) is Put.YES or store.digest(name) == (size, sha256):
        return None
    return Problem(
        "PST-I002",
        f"its name in the store, {name}, is taken by other bytes",
        path,
        "give the same command again",
    )


def _link(path: str, store: Store, name: str) -> bool:
    if not isinstance(store, Linkable) or os.stat(path).st_mode & 0o222:
        return False
    with contextlib.suppress(OSError):  # another file system, or one without links: it is copied
        link_into(os.path.realpath(path), store, name)
        return True
    return False


def in_place_store(registry: Registry, store: Store, run: str, paths: list[str]) -> tuple[str, str]:
    """Give name and directory of the read-only store that holds these files; make it if need be."""
    common = common_directory(paths)
    stores = registry.stores()
    for name, (uri, kind) in stores.items():
        root = uri.removeprefix("file://")
        if (
            kind == StoreKind.READONLY
            and uri.startswith("file://")
            and f"{common}/".startswith(f"{root.rstrip('/')}/")
        ):
            return name, root
    name, number = run, 2
    while name in stores:
        name, number = f"{run}-{number}", number + 1
    registry.register_store(name, f"file://{common}", StoreKind.READONLY)
    put_record(
        store, "store", name, {"name": name, "uri": f"file://{common}", "kind": StoreKind.READONLY.value}
    )
    return name, common
