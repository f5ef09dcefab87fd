"""Registry and disk held against each other, and the registry made to follow the files."""

from __future__ import annotations

import uuid
from dataclasses import replace
from typing import TYPE_CHECKING

from prestow.project.opened import STORE, OpenedProject

if TYPE_CHECKING:
    from prestow.results.fsck import Checked, Progress, Sums


def check_and_follow(
    project: OpenedProject, sums: Sums, *, fix: bool = False, progress: Progress | None = None
) -> Checked:
    """Give what is wrong; with ``fix`` mend what files tell how to mend, and look again whether that was so."""
    from prestow.ingest import ingest_outputs
    from prestow.ingest.rebuilding import put_back
    from prestow.model.dataset import ROOT_RUNS
    from prestow.results.fsck import Sums, check, follow
    from prestow.results.fsck_faults import RETURNED, UNREGISTERED

    registry, store = project.registry, project.store
    found = check(registry, store, store_name=STORE, sums=sums, progress=progress)
    if not fix or not found.faults:
        return found
    back = [f.id for f in found.faults if f.kind == RETURNED]
    new = [f for f in found.faults if f.kind == UNREGISTERED]
    recorded = [f.id for f in new if f.run.startswith(ROOT_RUNS)]
    if back or recorded:
        papers = {
            str(uuid.UUID(bytes=row["id"])): row["receipt"] for row in registry.artifacts.bare().to_pylist()
        }
        receipts = {paper for key in back if (paper := papers[key])}
        put_back(
            registry,
            store,
            [*recorded, *(key for key in back if not papers[key])],
            receipts,
            store_name=STORE,
        )
    runs = sorted({f.run for f in new if not f.run.startswith(ROOT_RUNS)})
    if runs:
        ingest_outputs(registry, store, runs=runs, store_name=STORE)
    follow(registry, found)  # last: an ingest that looks at sizes would put changed files in again
    again = set(check(registry, store, store_name=STORE, sums=Sums()).faults)
    return replace(found, fixed=tuple(fault for fault in found.faults if fault not in again))
