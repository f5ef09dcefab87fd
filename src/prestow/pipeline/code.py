"""The workflow's code as a deterministic zip: the same files give the same bytes anywhere."""

from __future__ import annotations

import io
import os
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from prestow.errors import Problem
from prestow.model.hashing import sha256_hex
from prestow.pipeline.definition import CodeBundle

_DATE = (1980, 1, 1, 0, 0, 0)  # the first that a zip can hold
_MODE = 0o100644


def collect(path: Path) -> tuple[dict[str, bytes], list[Problem]]:
    """Give the files of a listed file or directory by their names in the zip, and what is wrong.

    Names begin with the path's own last component. Hidden files, ``__pycache__`` and compiled
    modules are left out.
    """
    base = os.path.basename(os.path.abspath(path))
    files: dict[str, bytes] = {}
    problems: list[Problem] = []
    for file, name in _walk(path, base, problems):
        try:
            name.encode()
            files[name] = file.read_bytes()
        except UnicodeEncodeError:
            fix = "rename it in UTF-8"
            problems.append(Problem("PST-C025", f"the name {name!r} is not text", str(path), fix))
        except OSError as error:
            fix = "check the path and its permissions"
            problems.append(Problem("PST-C025", f"cannot read {file}: {error.strerror}", str(path), fix))
    return files, problems


def _walk(path: Path, base: str, problems: list[Problem]) -> Iterator[tuple[Path, str]]:
    def unreadable(error: OSError) -> None:
        fix = "check the path and its permissions"
        problems.append(
            Problem("PST-C025", f"cannot read {error.filename}: {error.strerror}", str(path), fix)
        )

    if not path.is_dir():
        yield path, base
        return
    for directory, folders, names in os.walk(path, onerror=unreadable):
        folders[:] = sorted(n for n in folders if n != "__pycache__" and not n.startswith("."))
        inside = Path(directory).relative_to(path).as_posix()
        prefix = base if inside == "." else f"{base}/{inside}"
        for name in folders:
            if os.path.islink(os.path.join(directory, name)):
                what = f"{prefix}/{name} is a link to a directory"
                problems.append(Problem("PST-C025", what, str(path), "list its target under 'code:'"))
        for name in sorted(names):
            if not name.startswith(".") and not name.endswith((".pyc", ".pyo")):
                yield Path(directory, name), f"{prefix}/{name}"


def bundle(files: Mapping[str, bytes]) -> CodeBundle:
    """Pack files by name into one zip that depends on names and contents alone.

    Nothing is compressed, since what compression gives depends on the version of zlib.
    """
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files):
            info = zipfile.ZipInfo(name, _DATE)
            info.create_system = 3  # Unix, also where it is not
            info.external_attr = _MODE << 16
            archive.writestr(info, files[name])
    data = sink.getvalue()
    return CodeBundle(data, sha256_hex(data))
