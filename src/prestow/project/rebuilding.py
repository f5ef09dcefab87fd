"""A project's registry made again: in a place of its own, and under its name only once it is whole."""

from __future__ import annotations

import contextlib
import fcntl
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.errors import Problem, ProjectError
from prestow.project.opened import STORE, OpenedProject
from prestow.project.sandbox_marks import refuse_sandbox

if TYPE_CHECKING:
    from prestow.ingest.rebuilding import Progress, Rebuilt, Sources
    from prestow.ingest.rebuilding_differences import TableDifference
    from prestow.registry import Registry

_SQLITE = "sqlite:///"
_BESIDE = ("-wal", "-shm", "-journal")  # what SQLite keeps beside a database


@dataclass(frozen=True, slots=True)
class Rebuilding:
    """What `prestow rebuild` came to.

    Parameters
    ----------
    url : str
        Where the registry is now; empty where it was only looked at.
    sources : mapping
        Records by kind, and receipts, that there are. Any: numbers by name.
    rebuilt : Rebuilt or None
        None where nothing was made.
    compared : str
        With which registry it was compared, if it was.
    differences : tuple of TableDifference
        Tables in which the two differ.
    """

    url: str
    sources: dict[str, Any]
    rebuilt: Rebuilt | None = None
    compared: str = ""
    differences: tuple[TableDifference, ...] = field(default=())

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "url": self.url, "sources": self.sources, "rebuilt": None if self.rebuilt is None else self.rebuilt.as_dict(),
            "compared": self.compared, "differences": [one.as_dict() for one in self.differences],
        }  # fmt: skip


def rebuild_registry(
    project: OpenedProject,
    *,
    into: str = "",
    compare: str = "",
    resume: bool = False,
    dry_run: bool = False,
    progress: Progress | None = None,
) -> Rebuilding:
    """Make the registry of a project again from its store; see `Project.rebuild`."""
    from prestow.ingest.rebuilding import find_sources

    refuse_sandbox(project.store, project.root)
    url = registry_url(into) if into else project.configuration.registry
    other = registry_url(compare) if compare else ""
    sources = find_sources(project.store)
    counted = {
        "records": sources.counts,
        "receipts": sources.receipts.count,
        "runs": list(sources.receipts.runs),
    }
    if dry_run and not other:
        return Rebuilding("", counted)
    if dry_run:
        with tempfile.TemporaryDirectory(prefix="prestow-rebuild-") as directory:
            return _made(project, f"{_SQLITE}{directory}/registry.db", "", sources, counted, other, progress)
    if other and _same(other, url):
        what = "the registry that is made again would be compared with itself"
        fix = "make it elsewhere: prestow rebuild --into NEW.db --compare …, or only look: -n --compare …"
        raise ProjectError(Problem("PST-B001", what, "--compare", fix))
    if not url.startswith(_SQLITE):
        _refuse_used(project, url, resume=resume)
        return _made(project, url, url, sources, counted, other, progress)
    path = url[len(_SQLITE) :]
    with _alone(path):
        _refuse_used(project, url, resume=resume)
        if resume and os.path.exists(path):
            return _made(project, url, url, sources, counted, other, progress)
        temporary = f"{path}.rebuilding"
        _take_away(temporary)
        try:
            made = _made(project, f"{_SQLITE}{temporary}", url, sources, counted, other, progress)
            _take_away(path)  # an empty registry, and what SQLite left beside one that was removed
            os.rename(temporary, path)
        finally:
            _take_away(temporary)
        _sync(os.path.dirname(path))
    return made


def registry_url(text: str) -> str:
    """Give the URL of a registry that a person named: a URL, or the path of a file.

    Examples
    --------
    >>> registry_url("/data/new.db")
    'sqlite:////data/new.db'
    """
    if "://" in text and not text.startswith(_SQLITE):
        return text
    return f"{_SQLITE}{os.path.abspath(text.removeprefix(_SQLITE))}"


def _made(
    project: OpenedProject,
    at: str,
    url: str,
    sources: Sources,
    counted: dict[str, Any],
    other: str,
    progress: Progress | None,
) -> Rebuilding:
    """Make a registry at a URL and compare it, if asked; ``url`` is what it will be called."""
    from prestow.ingest.rebuilding import rebuild
    from prestow.ingest.rebuilding_differences import differences
    from prestow.registry import Registry

    with contextlib.ExitStack() as stack:
        standing: Registry | None = None
        if other:
            standing = stack.enter_context(Registry.open(other, project.universe, read_only=True))
        registry = stack.enter_context(Registry.open(at, project.universe, create=True))
        made = rebuild(registry, project.store, store_name=STORE, sources=sources, progress=progress)
        found = differences(registry, standing) if standing is not None else ()
    return Rebuilding(told(url), counted, made, told(other), found)


def _refuse_used(project: OpenedProject, url: str, *, resume: bool) -> None:
    """Refuse to write over a registry that has something in it."""
    from prestow.registry import Registry

    path = url[len(_SQLITE) :] if url.startswith(_SQLITE) else ""
    if resume or (path and not os.path.exists(path)):
        return
    try:
        with Registry.open(url, project.universe, create=not path) as registry:
            empty = registry.restoring.is_empty()
    except ProjectError as error:
        what = f"something is there that is no registry of this project: {error.problems[0].what}"
        fix = "move it away, or make the new one elsewhere: prestow rebuild --into NEW.db"
        raise ProjectError(Problem("PST-B001", what, told(url), fix)) from error
    if not empty:
        what = "there is a registry already, and it is in use"
        fix = (
            "look whether it agrees with the files: prestow rebuild -n --compare URL; make one elsewhere: --into NEW.db; "
            "add what it lacks: --resume; or move it away and say the same again"
        )
        raise ProjectError(Problem("PST-B001", what, told(url), fix))


def told(url: str) -> str:
    """Give the URL of a registry as it may be shown: without a password."""
    from prestow.registry.database import is_postgres
    from prestow.registry.postgres import without_password

    return without_password(url) if is_postgres(url) else url


def _same(a: str, b: str) -> bool:
    if not (a.startswith(_SQLITE) and b.startswith(_SQLITE)):
        return a == b
    return os.path.realpath(a[len(_SQLITE) :]) == os.path.realpath(b[len(_SQLITE) :])


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Hold the right to make the registry at a path; a second one is refused. It ends with the process."""
    if not os.path.isdir(os.path.dirname(path)):
        raise ProjectError(
            Problem(
                "PST-G002",
                f"there is no directory {os.path.dirname(path)}",
                path,
                "make it, or check the path",
            )
        )
    lock = Path(f"{path}.rebuilding.lock")
    with lock.open("a") as stream:
        try:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            what = "somebody else is making this registry again at this moment"
            raise ProjectError(Problem("PST-B002", what, path, "wait until that has ended")) from error
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)


def _take_away(path: str) -> None:
    """Remove a database with what SQLite keeps beside it: a log of another database must not meet a new one."""
    for name in (*(f"{path}{suffix}" for suffix in _BESIDE), path):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name)


def _sync(directory: str) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
