"""Files of stores as files of this machine, for those who read them with a library."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.errors import Problem, ProjectError
from prestow.stores import Store, open_store
from prestow.stores.local import local_file

if TYPE_CHECKING:
    from prestow.results.lineage import Point


@contextmanager
def file_of(
    point: Point, stores: Mapping[str, str], words: Sequence[str], *, title: str, code: str
) -> Iterator[Path]:
    """Give the file of a dataset that words named, for as long as the block lasts.

    Parameters
    ----------
    stores : mapping of name to URI
        Where files are.
    title, code : str
        What to call it, and the code of the problem, if there is no file of it.

    Raises
    ------
    ProjectError
        With that code, if it was not made, or its file is not at its place.
    """
    if not (point.there and point.store and point.path):
        what = f"{title} is {point.state}: there is no file of it"
        raise ProjectError(Problem(code, what, point.path, f"prestow why {' '.join(words)}"))
    with local_file(open_store(stores[point.store]), point.path) as path:
        if not path.is_file():
            what = f"the file of {title} is not at its place"
            raise ProjectError(Problem(code, what, str(path), f"prestow ingest --run {point.run}"))
        yield path


class Places:
    """Files of stores that are opened once, as files of this machine.

    Parameters
    ----------
    stores : mapping of name to URI
        Where they are.
    """

    def __init__(self, stores: Mapping[str, str]) -> None:
        self._uris = stores
        self._stores: dict[str, Store] = {}

    @contextmanager
    def file(self, store: str | None, name: str) -> Iterator[Path]:
        """Give a path for as long as the block lasts; a file of no store is one of this machine already."""
        if store is None:
            yield Path(name)
            return
        if store not in self._stores:
            self._stores[store] = open_store(self._uris[store])
        with local_file(self._stores[store], name) as path:
            yield path
