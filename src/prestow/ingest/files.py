"""The files that a person gave: directories opened, FITS files told from others by their names."""

from __future__ import annotations

import os
from collections.abc import Iterable

from prestow.errors import Problem

PACKED = ("", ".gz", ".fz")
SUFFIXES = tuple(f"{suffix}{packed}" for suffix in (".fits", ".fit", ".fts") for packed in PACKED)


def is_fits_name(path: str) -> bool:
    """Say whether a file is a FITS file by its name; one that begins with a dot never is.

    Examples
    --------
    >>> [is_fits_name(name) for name in ("a.fit.gz", "b.FITS", "c.fits.fz", "d.csv.gz", ".e.fits")]
    [True, True, True, False, False]
    """
    return path.lower().endswith(SUFFIXES) and not os.path.basename(path).startswith(".")


def unreadable(path: str, error: OSError) -> Problem:
    """Give the problem of a file or directory that cannot be read."""
    reason = (error.strerror or "unreadable").lower()
    return Problem("PST-I005", f"cannot be read: {reason}", path, "check the path and its permissions")


def expand(files: Iterable[str | os.PathLike[str]]) -> tuple[list[str], list[str], list[Problem]]:
    """Give all FITS files, sorted, each once; the others; and what cannot be listed."""
    found: dict[str, str] = {}
    ignored: list[str] = []
    problems: list[Problem] = []

    def add(path: str) -> None:
        if is_fits_name(path):
            found.setdefault(os.path.realpath(path), path)
        else:
            ignored.append(path)

    def refuse(error: OSError) -> None:
        problems.append(unreadable(str(error.filename), error))

    for given in files:
        path = os.path.abspath(given)
        if os.path.isdir(path):
            for directory, _, names in os.walk(path, onerror=refuse):
                for name in names:
                    add(os.path.join(directory, name))
        else:
            try:
                os.stat(path)
            except OSError as error:
                refuse(error)
                continue
            add(path)
    return sorted(found.values()), sorted(ignored), sorted(problems, key=lambda problem: problem.where)
