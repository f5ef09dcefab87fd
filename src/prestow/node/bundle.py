"""The workflow's code on the node: fetched by its digest, unpacked once, importable."""

from __future__ import annotations

import os
import sys
import zlib
from pathlib import Path

from prestow.errors import InputError, Problem, TaskError
from prestow.manifest import Code
from prestow.node.repository import remove_tree
from prestow.stores import Store

_END, _ENTRY = b"PK\x05\x06", b"PK\x01\x02"
_active: list[str] = []
"""The directory that is on ``sys.path`` now: modules are the process's, so this is too."""


def unpack(code: Code, store: Store, scratch: str) -> str:
    """Give the directory with the unpacked code; made at most once in a scratch directory."""
    target = f"{scratch}/code/{code.sha256}"
    if os.path.isdir(target):
        return target
    mine = f"{scratch}/code/.{code.sha256[:16]}-{os.urandom(8).hex()}"
    os.makedirs(mine, exist_ok=True)
    try:
        archive = f"{mine}/.zip"
        size, sha256 = store.fetch(code.path, Path(archive))
        if (size, sha256) != (code.size, code.sha256):
            raise InputError(
                Problem(
                    "PST-N006",
                    "the workflow's code is not what the plan names",
                    f"{store.uri}: {code.path}",
                    "submit the plan again",
                )
            )
        with open(archive, "rb") as file:
            data = file.read()
        os.unlink(archive)
        for name, content in _members(data):
            _write(mine, name, content)
        try:
            os.rename(mine, target)
        except OSError:
            if not os.path.isdir(target):  # else another process was first, with the same bytes
                raise
    finally:
        remove_tree(mine)
    return target


def activate(directory: str) -> None:
    """Make the modules of this directory importable, and forget those of another one."""
    if _active == [directory]:
        return
    for old in _active:
        if old in sys.path:
            sys.path.remove(old)
        for name, module in list(sys.modules.items()):
            origin = getattr(module, "__file__", None) or next(iter(getattr(module, "__path__", ())), "")
            if origin.startswith(f"{old}/"):
                del sys.modules[name]
    # a module of the same top-level name from elsewhere must not answer for the workflow's
    for entry in os.listdir(directory):
        name = entry.removesuffix(".py")
        found = sys.modules.get(name)
        if found is not None and not str(getattr(found, "__file__", "") or "").startswith(f"{directory}/"):
            for loaded in [m for m in sys.modules if m == name or m.startswith(f"{name}.")]:
                if not loaded.startswith("prestow") and loaded not in sys.stdlib_module_names:
                    del sys.modules[loaded]
    sys.path.insert(0, directory)
    sys.path_importer_cache.pop(directory, None)
    _active[:] = [directory]


def _write(directory: str, name: str, content: bytes) -> None:
    if name.startswith("/") or ".." in name.split("/"):
        raise TaskError(Problem("PST-N006", f"the workflow's code holds a name outside itself: {name!r}"))
    path = f"{directory}/{name}"
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path, "xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())  # a torn module after a power cut would fail every job here


def _members(data: bytes) -> list[tuple[str, bytes]]:
    """Read a plain zip (stored or deflated); ``zipfile`` costs more to import than a whole job."""
    try:
        return _plain_members(data)
    except (ValueError, IndexError, UnicodeDecodeError, zlib.error):
        import io
        import zipfile

        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            return [(i.filename, archive.read(i)) for i in archive.infolist() if not i.is_dir()]


def _plain_members(data: bytes) -> list[tuple[str, bytes]]:
    def number(at: int, length: int) -> int:
        return int.from_bytes(data[at : at + length], "little")

    end = data.rindex(_END)
    count, at = number(end + 10, 2), number(end + 16, 4)
    members = []
    for _ in range(count):
        if data[at : at + 4] != _ENTRY:
            raise ValueError("not a plain zip")
        method, packed, size = number(at + 10, 2), number(at + 20, 4), number(at + 24, 4)
        lengths = number(at + 28, 2), number(at + 30, 2), number(at + 32, 2)
        local = number(at + 42, 4)
        name = data[at + 46 : at + 46 + lengths[0]].decode()
        begin = local + 30 + number(local + 26, 2) + number(local + 28, 2)
        raw = data[begin : begin + packed]
        if method not in (0, 8):
            raise ValueError("packed in another way")
        content = raw if method == 0 else zlib.decompress(raw, -15)
        if len(content) != size:
            raise ValueError("not a plain zip")
        if not name.endswith("/"):
            members.append((name, content))
        at += 46 + sum(lengths)
    return members
