"""Every entry below some directories of a store, as it lies there: links are told, and never followed."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING

import polars as pl

from prestow.errors import Problem, StoreError
from prestow.stores import Linkable, Store, Walkable

if TYPE_CHECKING:
    from typing import NoReturn

FILE, LINK, OTHER = "file", "link", "other"
SCHEMA = {"name": pl.String, "size": pl.Int64, "kind": pl.String, "target": pl.String}

_PIECE = 50_000
_Entry = tuple[str, int, str, str | None]


def list_files(store: Store, roots: Iterable[str]) -> pl.DataFrame:
    """Give ``name, size, kind, target`` of all that lies below some directories, sorted by name.

    The ``kind`` is ``file``, ``link`` (with what it says as ``target``) or ``other``, such as a pipe. A store
    without local files lists what it has: files.

    Raises
    ------
    StoreError
        PST-R001 if the store cannot list, PST-A002 if a directory cannot be read: then nothing is known of it.
    """
    entries = (entry for root in roots for entry in _entries(store, root))
    pieces = [pl.DataFrame(schema=SCHEMA)]
    while piece := list(islice(entries, _PIECE)):
        pieces.append(pl.DataFrame(piece, schema=SCHEMA, orient="row"))
    return pl.concat(pieces).unique("name").sort("name")


def _entries(store: Store, root: str) -> Iterator[_Entry]:
    if isinstance(store, Linkable):
        yield from _walk(os.fspath(store.local_path(root)), root)
    elif isinstance(store, Walkable):
        yield from ((name, size, FILE, None) for name, size in store.walk(root))
    else:
        raise StoreError(Problem("PST-R001", "the store cannot list its names", store.uri))


def _walk(directory: str, prefix: str) -> Iterator[_Entry]:
    try:
        with os.scandir(directory) as found:
            entries = list(found)
    except (FileNotFoundError, NotADirectoryError):
        return
    except OSError as error:
        _refuse(error, prefix)
    for entry in entries:
        name = f"{prefix}/{entry.name}"
        if not name.isprintable() and _shown(name) != name:
            yield _shown(name), 0, OTHER, "its name is no text in UTF-8: no name in a store"
            continue
        try:
            if entry.is_symlink():
                yield name, 0, LINK, os.readlink(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                yield from _walk(entry.path, name)
            else:
                status = entry.stat(follow_symlinks=False)
                yield name, status.st_size, FILE if entry.is_file(follow_symlinks=False) else OTHER, None
        except FileNotFoundError:  # removed since it was listed
            continue
        except OSError as error:
            _refuse(error, name)


def _shown(name: str) -> str:
    return os.fsencode(name).decode("utf-8", "backslashreplace")


def _refuse(error: OSError, name: str) -> NoReturn:
    what = f"this cannot be looked at: {error.strerror}"
    raise StoreError(Problem("PST-A002", what, name, "let it be read, and ask again")) from error


def roots_of(run: str, paths: pl.Series) -> tuple[tuple[str, ...], pl.Series]:
    """Give the directories that are a run's alone, and the names that lie in none of them.

    A directory is a run's where its own part of the name is the run.

    Examples
    --------
    >>> roots_of("demo", pl.Series(["demo/isr/a", "out/demo/b", "out/demo-1/c"]))[0]
    ('demo', 'out/demo')
    """
    frame = paths.cast(pl.String).rename("path").to_frame()
    run_there = pl.col("path").str.extract(rf"^((?:[^/]+/)*?{_escaped(run)})/")
    found = frame.with_columns(root=run_there)
    roots = sorted({run, *found["root"].drop_nulls().unique().to_list()})
    return tuple(roots), found.filter(pl.col("root").is_null())["path"]


def _escaped(text: str) -> str:
    return "".join(
        f"\\{c}" if c in ".+" else c for c in text
    )  # a run's name has nothing else that is special


def look_again(store: Store, name: str, roots: Iterable[str]) -> _Entry | None:
    """Look at one name once more: what a listing did not have may have come since, or lie behind a link."""
    if not isinstance(store, Linkable):
        size = store.size(name)
        return None if size is None else (name, size, FILE, None)
    path = os.fspath(store.local_path(name))
    try:
        if os.path.islink(path):
            return name, 0, LINK, os.readlink(path)
        if not os.path.isfile(path):
            return None
        size = os.path.getsize(path)
    except OSError:
        return None
    for root in roots:
        if name.startswith(f"{root}/"):
            top = os.path.realpath(store.local_path(root))
            if os.path.realpath(path) != f"{top}{name[len(root) :]}":
                return name, size, LINK, os.path.realpath(path)
    return name, size, FILE, None
