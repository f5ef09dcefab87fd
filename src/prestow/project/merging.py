"""Two sites' projects, or stores, merged into one project."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.errors import Problem, ProjectError, raise_all
from prestow.project.configuration import FILE, Configuration, read_configuration
from prestow.project.opened import STORE
from prestow.project.sandbox_marks import sandbox_problems
from prestow.project.setting_up import set_up
from prestow.stores import Store, open_store

if TYPE_CHECKING:
    from prestow.ingest.merging import Merged
    from prestow.ingest.rebuilding import Rebuilt


@dataclass(frozen=True, slots=True)
class MergedProject:
    """What merging came to, and the registry that was made of it; None where there is no project."""

    into: str
    merged: Merged
    rebuilt: Rebuilt | None = None

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "into": self.into, **self.merged.as_dict(),
            "rebuilt": None if self.rebuilt is None else self.rebuilt.as_dict(),
        }  # fmt: skip


def merge_projects(
    sources: Sequence[str],
    into: str,
    *,
    link: bool = False,
    dry_run: bool = False,
    progress: Callable[[str, int, int], None] | None = None,
) -> MergedProject:
    """Merge the stores of several projects into that of one, and bring its registry up to date.

    Parameters
    ----------
    sources : sequence of str
        Directories of projects, or stores: directories or URIs. The first counts first.
    into : str
        A project, or a directory that is not there yet: it becomes one with the pipeline of the first
        source that is a project. Without such a source it is a store alone.

    Raises
    ------
    ProjectError
        PST-B004 with all that cannot be merged, PST-T005 with the sandboxes among it; nothing is written then.
    """
    from prestow.ingest.merging import merge
    from prestow.project.project import Project

    projects = {text: _project(text) for text in sources}
    target = _project(into)
    raise_all(_problems(sources, into, projects, target), ProjectError)
    stores = [_store(text, projects[text]) for text in sources]
    first = next((one for one in projects.values() if one is not None), None)
    if target is None and first is not None and not dry_run:
        target = set_up(Path(into), first)
    if target is None and first is not None:  # a dry run, into what is not there
        place = open_store(f"file://{os.path.abspath(into)}/store")
    else:
        place = _store(into, target)
    merged = merge(stores, place, store_name=STORE, link=link, dry_run=dry_run, progress=progress)
    if target is None or dry_run:
        return MergedProject(into, merged)
    with Project(target) as project:
        return MergedProject(into, merged, project.rebuild(resume=True, progress=progress).rebuilt)


def _project(text: str) -> Configuration | None:
    path = Path(text).absolute()
    return read_configuration(path) if "://" not in text and (path / FILE).is_file() else None


def _store(text: str, project: Configuration | None) -> Store:
    if project is not None:
        return open_store(project.store)
    return open_store(text if "://" in text else f"file://{os.path.abspath(text)}")


def _problems(
    sources: Sequence[str], into: str, projects: dict[str, Configuration | None], target: Configuration | None
) -> list[Problem]:
    problems = []
    known = [one for one in (*projects.values(), target) if one is not None]
    uris = [_uri(text, projects[text]) for text in sources]
    for text, uri in zip(sources, uris, strict=True):
        if "://" not in text and not os.path.isdir(text):
            problems.append(
                Problem("PST-B004", "there is no such directory", text, "name projects or stores")
            )
        if uris.count(uri) > 1 or uri == _uri(into, target):
            problems.append(Problem("PST-B004", "it is named twice", text, "name each store once"))
    if len({_text(one) for one in known}) > 1:
        what = "the projects have different universes, so their names do not mean the same"
        problems.append(Problem("PST-B004", what, into, "merge what was made with one universe"))
    if (
        target is None
        and "://" not in into
        and os.path.isdir(into)
        and os.listdir(into)
        and any(projects.values())
    ):
        store = os.path.isdir(os.path.join(into, "_records"))
        if not store:
            what = "the directory is neither a project nor empty"
            problems.append(
                Problem("PST-B004", what, into, "name a project, or a directory that is not there")
            )
    for text in sources:
        problems += sandbox_problems(_store(text, projects[text]))
    problems += sandbox_problems(_store(into, target), None if target is None else target.root)
    return list(dict.fromkeys(problems))


def _uri(text: str, project: Configuration | None) -> str:
    uri = _store(text, project).uri
    return f"file://{os.path.realpath(uri.removeprefix('file://'))}" if uri.startswith("file://") else uri


def _text(project: Configuration) -> str:
    from prestow.naming.universe import load_universe

    return load_universe(project.universe).canonical_text()
