"""Modes and group of archived files: looked at after they are taken in, and mended."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from prestow.errors import Problem, ProjectError, StoreError
from prestow.stores import Protecting, Store

SHOWN = 10


@dataclass(frozen=True, slots=True)
class Protection:
    """Which modes and group archived files have.

    Parameters
    ----------
    mode : int
        Of files; nobody may write them.
    directory_mode : int or None
        Of directories of products; None leaves them as they are.
    group : str or None
        A group's name; None leaves it as it is.
    """

    mode: int = 0o444
    directory_mode: int | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class Protected:
    """What looking at modes and group came to: how many files were mended, and what could not be (PST-I037)."""

    mended: int = 0
    problems: tuple[Problem, ...] = ()


def protect(store: Store, names: Iterable[str], wanted: Protection) -> Protected:
    """See that files have their modes and group; mend those that have not.

    A store without modes is left alone.

    Raises
    ------
    ProjectError
        PST-I037 if there is no such group on this machine.
    """
    if not isinstance(store, Protecting):
        return Protected()
    group = _group_number(wanted.group)
    mended, failed, problems = 0, 0, list[Problem]()
    for name in names:
        try:
            mended += store.protect(name, mode=wanted.mode, directory_mode=wanted.directory_mode, group=group)
        except StoreError as error:
            failed += 1
            if failed <= SHOWN:
                fix = "let its owner set it, or an administrator"
                problems += [Problem("PST-I037", problem.what, name, fix) for problem in error.problems]
    if failed > SHOWN:
        problems.append(Problem("PST-I037", f"and {failed - SHOWN:,} files more", store.uri))
    return Protected(mended, tuple(problems))


def _group_number(name: str | None) -> int | None:
    if name is None:
        return None
    import grp

    try:
        return grp.getgrnam(name).gr_gid
    except KeyError:
        what = f"there is no group '{name}' on this machine"
        raise ProjectError(
            Problem("PST-I037", what, "prestow.yaml: archive.group", "write one that there is")
        ) from None
