"""The node in one file: prestow's own part of a job, and the pure packages that its formats need.

``python prestow-node.pyz PACK --job NAME`` is ``python -m prestow.node PACK --job NAME``, where nothing
is installed but Python 3.11 or later. It fetches nothing. What tasks import beyond their own code, and
numpy, astropy or pyarrow where pixels and tables are touched, is of the interpreter that runs it.
"""

from __future__ import annotations

import importlib.util
import io
import zipfile
from collections.abc import Iterator
from functools import cache
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

NAME = "prestow-node.pyz"
"""The file, and its logical name."""

ROOMS = (
    "__init__.py", "commit.py", "errors.py", "formats", "manifest.py", "model", "node", "packs.py", "plugins.py", "stores",
    "tasks.py", "tombstone.py",
)  # fmt: skip
"""What of prestow is in it: what stands on the node's side of the wall."""

PACKAGES = {"yaml": "pyyaml"}
"""Pure packages that it brings, where the interpreter has none of its own: module and distribution."""

VENDOR = "_packages"
_EPOCH = (1980, 1, 1, 0, 0, 0)
_FILE = 0o100644 << 16

_MAIN = f'''\
"""The node in one file."""

import os
import sys

here = os.path.abspath(sys.path[0])  # jobs work elsewhere, and import later
sys.path[0] = here
sys.path.append(here + "/{VENDOR}")  # what the interpreter has of its own goes first
found = os.environ.get("PYTHONPATH")
os.environ["PYTHONPATH"] = found + os.pathsep + here if found else here  # of tasks that are commands

from prestow.node.__main__ import main

sys.exit(main(sys.argv[1:]))
'''


@cache
def node_zip() -> bytes:
    """Give the bytes of the file; the same for the same versions of prestow and `PACKAGES`.

    Raises
    ------
    FileNotFoundError
        If prestow itself is not there as files.

    Examples
    --------
    >>> import io, zipfile
    >>> names = zipfile.ZipFile(io.BytesIO(node_zip())).namelist()
    >>> "prestow/node/run.py" in names, any(n.startswith("prestow/plan/") for n in names)
    (True, False)
    """
    members = dict(sorted(_members()))
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members.items():
            info = zipfile.ZipInfo(name, _EPOCH)
            info.compress_type, info.external_attr, info.create_system = zipfile.ZIP_STORED, _FILE, 3
            archive.writestr(info, content)
    return buffer.getvalue()


def _members() -> Iterator[tuple[str, bytes]]:
    """Give name and content; stored as they are, since deflated bytes are those of one zlib."""
    yield "__main__.py", _MAIN.encode()
    root = Path(__file__).parents[2]
    for room in ROOMS:
        yield from _files(root / room, f"prestow/{room}")
    for module, package in PACKAGES.items():
        spec = importlib.util.find_spec(module)
        if spec is None or spec.origin is None:
            raise FileNotFoundError(f"package {package} is not installed as files")
        yield from _files(Path(spec.origin).parent, f"{VENDOR}/{module}")
        yield from _papers(package)


def _files(path: Path, name: str) -> Iterator[tuple[str, bytes]]:
    if path.is_file():
        yield name, path.read_bytes()
        return
    for file in path.rglob("*.py"):
        yield f"{name}/{file.relative_to(path).as_posix()}", file.read_bytes()


def _papers(package: str) -> Iterator[tuple[str, bytes]]:
    """Give the metadata and licence of a package: it is passed on."""
    try:
        found = distribution(package)
    except PackageNotFoundError:
        return
    for file in found.files or ():
        if ".dist-info" in file.parts[0] and (file.name == "METADATA" or "LICENSE" in file.name):
            yield f"{VENDOR}/{file.as_posix()}", Path(str(file.locate())).read_bytes()
