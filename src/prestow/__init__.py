"""Batch science with every file name known before the first job runs.

The rooms, in the order in which data flows; import downwards only:

- ``errors``: one root; codes and exit codes in one table
- ``verify``: a plan proved again, by a checker that shares nothing with the planner
- ``model``: the nouns, frozen, and the one page of hashing
- ``plugins``: one lazy table of formats, stores and engines
- ``documents``: YAML files that a person wrote, with the place of every value
- ``notebook``: HTML as notebooks show it
- ``stores``: bytes at a URI
- ``formats``: what a file is; the story inside it
- ``manifest``: the papers between submit side and node
- ``site``: one computing site
- ``packs``: receipts of a run that is over, many in one file
- ``tombstone``: what travels in place of an output that was not made
- ``tasks``: what a task author imports
- ``commit``: settle and promote
- ``sky``: where tracts, patches and detectors lie, and which overlap
- ``naming``: identity and path of a dataset, the only place where a name is born
- ``query``: the selection language
- ``pipeline``: pipelines, loaded and checked
- ``instruments``: raw headers to data IDs, by YAML rules
- ``registry``: what exists
- ``plan``: the planner, and the plan on disk
- ``node``: one job, sealed, from its manifest
- ``engines``: run a plan
- ``ingest``: files and receipts into the registry
- ``results``: what became of a plan
- ``project``: the front door
- ``cli``: the commands
- ``testing``: contract suites for third parties

Names below are loaded when they are first used: a job on a node imports this file too, and pays
for nothing else.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from prestow.errors import PrestowError, Problem
    from prestow.model import DataId, Dataset, DatasetType
    from prestow.project import Project, create, open  # noqa: A004 - prestow.open, as people say it
    from prestow.tasks import NothingToDo, Quantum

__version__ = "0.1.0"

__all__ = [
    "DataId",
    "Dataset",
    "DatasetType",
    "NothingToDo",
    "PrestowError",
    "Problem",
    "Project",
    "Quantum",
    "create",
    "open",
]

_FACE = {
    "DataId": "prestow.model",
    "Dataset": "prestow.model",
    "DatasetType": "prestow.model",
    "NothingToDo": "prestow.tasks",
    "PrestowError": "prestow.errors",
    "Problem": "prestow.errors",
    "Project": "prestow.project",
    "Quantum": "prestow.tasks",
    "create": "prestow.project",
    "open": "prestow.project",
}


def __getattr__(name: str) -> Any:
    """Load a name of the face from its room."""
    room = _FACE.get(name)
    if room is None:
        raise AttributeError(f"module 'prestow' has no attribute '{name}'")
    return getattr(importlib.import_module(room), name)


def __dir__() -> list[str]:
    """Give the names of the face."""
    return sorted([*_FACE, "__version__"])
