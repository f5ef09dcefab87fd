"""What this environment is fit for: one line a thing, with what to do about it."""

from __future__ import annotations

import os
import platform
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from prestow.errors import PrestowError

REQUIRED = (
    "polars",
    "polars-hash",
    "pyarrow",
    "SQLAlchemy",
    "alembic",
    "adbc-driver-sqlite",
    "PyYAML",
    "click",
    "numpy",
)
"""Without these nothing is planned or taken in."""

EXTRAS = {
    "dask": "the engine 'dask', which 'prestow run' uses unless told otherwise; without it: prestow run --engine local",
    "fits": "FITS tables and images as astropy objects",
    "postgres": "PostgreSQL as the registry; SQLite needs nothing more",
    "progress": "bars at a terminal; without it there are lines",
    "workflows": "the workflows that come with the source",
}
"""Extras of the package, and what needs them."""

LITTLE = 1_000_000_000
"""Bytes free below which a disk is not fit for a campaign."""

UNIT = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was looked at: ``ok``, ``warn`` or ``fail``, with what to do about it."""

    name: str
    state: str
    detail: str
    fix: str = ""

    def as_dict(self) -> dict[str, str]:
        """Give it as plain values."""
        return {name: getattr(self, name) for name in self.__dataclass_fields__}


def environment(directory: Path) -> Iterator[Line]:
    """Look at Python, libraries, disk, scratch and the loopback; a project's own things are not looked at."""
    yield Line("python", "ok", f"{platform.python_version()} ({sys.executable})")
    yield from (_required(name) for name in REQUIRED)
    yield from (_extra(name, use) for name, use in EXTRAS.items())
    yield _free("disk", directory)
    yield _scratch()
    yield _loopback()


def _required(name: str) -> Line:
    try:
        return Line(name, "ok", version(name))
    except PackageNotFoundError:
        return Line(name, "fail", "not installed", "install prestow again, with its dependencies")


def _extra(extra: str, use: str) -> Line:
    name = f"extra {extra}"
    missing = [package for package in packages_of(extra) if not _installed(package)]
    if not missing:
        return Line(
            name, "ok", ", ".join(f"{p} {version(p)}" for p in packages_of(extra)) or "nothing to install"
        )
    return Line(
        name, "warn", f"not installed: {', '.join(missing)} ({use})", f"pip install 'prestow[{extra}]'"
    )


def packages_of(extra: str) -> tuple[str, ...]:
    """Give the packages that an extra of prestow asks for, as its own metadata says."""
    try:
        listed = requires("prestow") or []
    except PackageNotFoundError:
        return ()
    marked = [text for text in listed if f"extra == '{extra}'" in text.replace('"', "'")]
    heads = (text.split(";")[0].split("[")[0] for text in marked)
    return tuple(dict.fromkeys("".join(_name(head)) for head in heads))


def _name(text: str) -> Iterator[str]:
    for character in text.strip():
        if not (character.isalnum() or character in "._-"):
            return
        yield character


def _installed(package: str) -> bool:
    try:
        version(package)
    except PackageNotFoundError:
        return False
    return True


def _free(name: str, directory: Path, words: str = "") -> Line:
    free = shutil.disk_usage(directory).free
    text = f"{words}{free / UNIT:.1f} GB free"
    if free < LITTLE:
        return Line(name, "fail", text, "make room, or use another disk")
    return Line(name, "ok", text)


def _scratch() -> Line:
    """Look whether jobs can make their local repositories where they would."""
    from prestow.node.run import default_scratch

    try:
        place = Path(default_scratch())
        place.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=place) as file:
            file.write(b"written")
    except PrestowError as error:
        return Line(
            "scratch", "fail", f"{error.problems[0].what}: {error.problems[0].where}", error.problems[0].fix
        )
    except OSError as error:
        named = os.environ.get("PRESTOW_SCRATCH") or os.environ.get("TMPDIR") or tempfile.gettempdir()
        return Line(
            "scratch",
            "fail",
            f"{named}: {error.strerror}",
            "set PRESTOW_SCRATCH to a directory on a local disk",
        )
    return _free("scratch", place, f"{place}, ")


def _loopback() -> Line:
    """Look whether a scheduler here could be talked to: listen at a free port, and connect."""
    try:
        with socket.socket() as server:
            server.bind(("127.0.0.1", 0))
            server.listen(1)
            with socket.create_connection(server.getsockname(), timeout=5):
                return Line("loopback", "ok", "127.0.0.1 takes connections; a scheduler takes any free port")
    except OSError as error:
        fix = "Dask needs it; without it: prestow run --engine local"
        return Line("loopback", "warn", f"127.0.0.1 takes no connection: {error.strerror or error}", fix)
