"""The bytes of a name as a file of this machine, for as long as somebody looks at it."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from prestow.stores import Linkable, Store


@contextmanager
def local_file(store: Store, name: str) -> Iterator[Path]:
    """Give a path for as long as the block lasts; what a store cannot link is fetched.

    Whether there is anything at the path of a store that can link is not looked at.
    """
    if isinstance(store, Linkable):
        yield store.local_path(name)
        return
    with tempfile.TemporaryDirectory(prefix="prestow-files-") as directory:
        target = Path(directory) / Path(name).name
        store.fetch(name, target)
        yield target
