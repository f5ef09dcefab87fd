"""The key ``archive`` of ``prestow.yaml``: modes and group of archived files."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from prestow.documents import Document
from prestow.errors import Problem

KEY = "archive"
_MODE = re.compile("0?[0-7]{3}")
_WRITE, _OWNER_READS, _OWNER_ALL = 0o222, 0o400, 0o700


@dataclass(frozen=True, slots=True)
class Archive:
    """Modes of archived files and of their directories, and their group; None leaves it as it is."""

    mode: int = 0o444
    directory_mode: int | None = None
    group: str | None = None


def read_archive(data: object) -> Archive:
    """Give the checked value of the key, or what is so without it."""
    if not isinstance(data, Mapping):
        return Archive()
    folder = data.get("directory_mode")
    return Archive(
        int(str(data.get("mode", "0444")), 8),
        None if folder is None else int(str(folder), 8),
        data.get("group"),
    )


def archive_problems(document: Document, data: object) -> list[Problem]:
    """Give everything that is wrong with the key, at its place."""
    if data is None:
        return []
    problems = document.check_keys((KEY,), data, optional=("mode", "directory_mode", "group"))
    if not isinstance(data, dict):
        return problems
    for key in ("mode", "directory_mode"):
        value = data.get(key)
        if value is None:
            continue
        if not isinstance(value, str) or not _MODE.fullmatch(value):
            what = f"is no mode: {value!r}"
            problems.append(
                document.problem("PST-C011", (KEY, key), what, 'write octal digits in quotes: "0444"')
            )
            continue
        mode = int(value, 8)
        if key == "mode" and mode & _WRITE:
            what = f"{value} lets archived files be written"
            problems.append(
                document.problem("PST-C013", (KEY, key), what, 'leave the write bits out: "0444", "0440"')
            )
        elif key == "mode" and not mode & _OWNER_READS:
            what = f"{value} does not let their owner read them"
            problems.append(document.problem("PST-C013", (KEY, key), what, 'write "0444", "0440" or "0400"'))
        elif key == "directory_mode" and mode & _OWNER_ALL != _OWNER_ALL:
            what = f"{value} does not let their owner add files"
            problems.append(document.problem("PST-C013", (KEY, key), what, 'write "0755", "0750" or "0700"'))
    problems += document.check_type((KEY, "group"), data.get("group"), str, type(None))
    return problems
