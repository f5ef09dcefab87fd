"""A second name, in a store of this machine, for a file that is there already; durable as all that a store takes."""

from __future__ import annotations

import os

from prestow.stores import Linkable


def link_into(path: str | os.PathLike[str], store: Linkable, name: str) -> None:
    """Give a file a second name: that of an object of a store.

    Parameters
    ----------
    path : path
        A file that nobody can write, for its bytes are then the object's.
    store, name : Linkable, str
        Where, and by what name; nothing may have it.

    Raises
    ------
    OSError
        If that cannot be: another file system, one without links, or something has the name.

    Examples
    --------
    >>> import tempfile
    >>> from pathlib import Path
    >>> from prestow.stores.file import FileStore
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     given = Path(directory, "given")
    ...     _ = given.write_text("bytes")
    ...     store = FileStore(f"file://{directory}/store")
    ...     link_into(given, store, "a/b")
    ...     store.read("a/b")
    b'bytes'
    """
    target = os.fspath(store.local_path(name))
    root = target.removesuffix(f"/{name}")
    directory = os.path.dirname(target)
    os.makedirs(directory, exist_ok=True)
    _sync(os.fspath(path))  # who wrote it may not have
    os.link(path, target)
    while len(directory) >= len(root):
        _sync(directory)
        directory = os.path.dirname(directory)


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
