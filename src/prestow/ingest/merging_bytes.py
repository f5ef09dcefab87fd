"""The bytes of one object from one store to another."""

from __future__ import annotations

import contextlib
import shutil
from pathlib import Path

from prestow.stores import Linkable, Store
from prestow.stores.linking import link_into
from prestow.stores.local import local_file


def copy_object(source: Store, name: str, into: Store, target: str, *, link: bool = False) -> None:
    """Make a name of a store hold the bytes of an object of another one; what stood there is replaced.

    Parameters
    ----------
    link : bool
        Give a file that nobody can write a second name instead, where the file system allows it.
    """
    if link and _link(source, name, into, target):
        return
    with local_file(source, name) as path:
        _copy(path, into, target)


def _copy(path: Path, into: Store, target: str) -> None:
    with path.open("rb") as stream, into.create(target) as sink:
        shutil.copyfileobj(stream, sink, 1 << 20)


def _link(source: Store, name: str, into: Store, target: str) -> bool:
    if not (isinstance(source, Linkable) and isinstance(into, Linkable)):
        return False
    path, at = source.local_path(name), into.local_path(target)
    if path.stat().st_mode & 0o222:  # whoever can write one name would change both
        return False
    with contextlib.suppress(OSError):  # another file system, or one without links: it is copied
        with contextlib.suppress(FileNotFoundError):
            at.unlink()
        link_into(path, into, target)
        return True
    return False
