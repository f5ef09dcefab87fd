"""Files of stores as files of this machine, for those who read them with a library."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from prestow.stores import Linkable, Store, open_store


class Places:
    """Files of stores, as files on this machine.

    Parameters
    ----------
    stores : mapping of name to URI
        Where they are.
    """

    def __init__(self, stores: Mapping[str, str]) -> None:
        self._uris = stores
        self._stores: dict[str, Store] = {}
        self._scratch = tempfile.TemporaryDirectory(prefix="prestow-files-")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._scratch.cleanup()

    @contextmanager
    def file(self, store: str | None, name: str) -> Iterator[Path]:
        """Give a path for as long as the block lasts; what a store cannot link is fetched."""
        if store is None:
            yield Path(name)
            return
        if store not in self._stores:
            self._stores[store] = open_store(self._uris[store])
        opened = self._stores[store]
        if isinstance(opened, Linkable):
            yield opened.local_path(name)
            return
        with tempfile.TemporaryDirectory(dir=self._scratch.name) as directory:
            target = Path(directory) / Path(name).name
            opened.fetch(name, target)
            yield target
