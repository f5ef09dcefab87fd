"""Directories of plans in the making: each held by who makes it, and those of killed processes taken away."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

_NAME = re.compile(r"\.(plan|[0-9a-f]{32})-[^/]+")
YOUNG = 60.0  # seconds in which a new directory may not be held yet


def make_directory(beside: Path | None, prefix: str = ".plan-") -> tuple[Path, Callable[[], None]]:
    """Make a temporary directory that is held as long as this process lives; give it and what removes it."""
    if beside is not None:
        beside.mkdir(parents=True, exist_ok=True)
    path = Path(tempfile.mkdtemp(prefix=prefix, dir=beside))
    handle = os.open(path, os.O_RDONLY)
    try:
        _hold(handle)
    except BaseException:
        os.close(handle)
        shutil.rmtree(path, ignore_errors=True)
        raise

    def remove() -> None:
        nonlocal handle
        shutil.rmtree(path, ignore_errors=True)
        if handle >= 0:
            os.close(handle)
            handle = -1

    return path, remove


def _hold(handle: int) -> bool:
    """Take a lock that ends with the process; say whether it is ours. A disk without locks never says so."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def sweep(plans: Path, *, young: float = YOUNG) -> tuple[Path, ...]:
    """Take away what processes that were killed left of plans in the making; give what went.

    A directory that somebody holds, or that is new, stays.
    """
    gone = []
    for path in sorted(plans.iterdir()) if plans.is_dir() else ():
        if not _NAME.fullmatch(path.name) or path.is_symlink() or not path.is_dir():
            continue
        try:
            handle = os.open(path, os.O_RDONLY)
        except OSError:  # gone, or another's
            continue
        try:
            if time.time() - os.fstat(handle).st_mtime >= young and _hold(handle):
                shutil.rmtree(path, ignore_errors=True)
                gone.append(path)
        finally:
            os.close(handle)
    return tuple(gone)
