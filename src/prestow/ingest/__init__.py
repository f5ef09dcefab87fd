"""Files and receipts to the registry: raw by headers, outputs by receipts, foreign ones by what a person says.

Owns taking in: verify, promote, load. Serves the project and the engines. Never needs a plan: it
works from files, their stories and receipts alone, and never changes a file that is there.

Names below are loaded when they are first used: a process that only verifies files pays for nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prestow.ingest.external import FilesReport, ingest_files
    from prestow.ingest.levels import Level
    from prestow.ingest.outputs import ingest_outputs
    from prestow.ingest.raw import RawReport, Transfer, ingest_raw
    from prestow.ingest.report import IngestReport

__all__ = [
    "FilesReport",
    "IngestReport",
    "Level",
    "RawReport",
    "Transfer",
    "ingest_files",
    "ingest_outputs",
    "ingest_raw",
]

_PLACES = {
    "external": ("FilesReport", "ingest_files"),
    "levels": ("Level",),
    "outputs": ("ingest_outputs",),
    "raw": ("RawReport", "Transfer", "ingest_raw"),
    "report": ("IngestReport",),
}


def __getattr__(name: str) -> Any:  # Any: whatever has this name
    for place, names in _PLACES.items():
        if name in names:
            return getattr(importlib.import_module(f"{__name__}.{place}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
