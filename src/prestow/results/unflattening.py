"""A directory of flat names as a tree of links, or as an index: from the names alone."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from prestow.errors import PrestowError, Problem, ProjectError, raise_all
from prestow.model.flat import flat_path
from prestow.stores import check_name

INDEX = "index.json"
INDEX_SCHEMA = "prestow.index/1"


@dataclass(frozen=True, slots=True)
class Unflattened:
    """What a directory of flat names came to.

    Parameters
    ----------
    flat : Path
        The directory.
    target : Path
        The tree, or the index.
    paths : mapping of path to name
        Of files with flat names, by path.
    others : tuple of str
        What is there besides.
    """

    flat: Path
    target: Path
    paths: Mapping[str, str]
    others: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "directory": str(self.flat), "into": str(self.target), "paths": dict(self.paths), "others": list(self.others),
        }  # fmt: skip


def unflatten_into(flat: Path, tree: Path) -> Unflattened:
    """Make the tree of a directory of flat names by relative links; it is there whole or not at all.

    Raises
    ------
    ProjectError
        PST-N076 if one of the directories is not fit, PST-N073 if a name is a file and a directory of others.
    """
    flat, tree = Path(os.path.abspath(flat)), Path(os.path.abspath(tree))
    found = _look(flat, tree)
    if tree.exists() and not (tree.is_dir() and not any(tree.iterdir())):
        fix = "name one that is empty, or not there yet: --into TREE"
        raise ProjectError(Problem("PST-N076", "it is there, and not an empty directory", str(tree), fix))
    fresh = tree.with_name(f".{tree.name}-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        fresh.mkdir(parents=True)
        for path, name in found.paths.items():
            parent = (fresh / path).parent
            parent.mkdir(parents=True, exist_ok=True)
            os.symlink(os.path.relpath(flat / name, (tree / path).parent), fresh / path)
        fresh.rename(tree)
    except OSError as error:
        what = f"it cannot be made: {error.strerror}"
        raise ProjectError(
            Problem("PST-N076", what, str(tree), "name another directory: --into TREE")
        ) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)
    return found


def write_index(flat: Path) -> Unflattened:
    """Write which file of a directory of flat names has which path; the same names give the same bytes.

    Raises
    ------
    ProjectError
        PST-N076 if the directory cannot be read or written, PST-N073 as for `unflatten_into`.
    """
    flat = Path(os.path.abspath(flat))
    target = flat / INDEX
    found = _look(flat, target)
    text = json.dumps(
        {"schema": INDEX_SCHEMA, "paths": dict(found.paths)}, ensure_ascii=False, indent=1, sort_keys=True
    )
    fresh = target.with_name(f".{INDEX}-{os.getpid()}")
    try:
        fresh.write_text(text + "\n", encoding="utf-8")
        fresh.replace(target)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        what = f"it cannot be written: {error.strerror}"
        raise ProjectError(
            Problem("PST-N076", what, str(target), "make the tree elsewhere: --into TREE")
        ) from error
    return found


def _look(flat: Path, target: Path) -> Unflattened:
    paths, others = {}, []
    try:
        with os.scandir(flat) as entries:
            found = sorted((entry.name, entry.is_file()) for entry in entries)
    except OSError as error:
        what = f"it cannot be looked at: {error.strerror}"
        raise ProjectError(Problem("PST-N076", what, str(flat), "name a directory of flat names")) from error
    for name, is_file in found:
        path = _path(name) if is_file and name != INDEX else ""
        if path:
            paths[path] = name
        else:
            others.append(name)
    raise_all(_knots(paths), ProjectError)
    return Unflattened(flat, target, dict(sorted(paths.items())), tuple(others))


def _path(name: str) -> str:
    """Give the path of a flat name, an empty text if it is none or leads elsewhere."""
    try:
        path = flat_path(name)
        check_name(path)
    except PrestowError:
        return ""
    return path


def _knots(paths: Mapping[str, str]) -> Iterator[Problem]:
    for path, name in paths.items():
        parts = path.split("/")
        above = next((p for n in range(1, len(parts)) if (p := "/".join(parts[:n])) in paths), None)
        if above is not None:
            what = f"{paths[above]} would be a directory, for there is {name}"
            yield Problem("PST-N073", what, name, "take one of them away")
