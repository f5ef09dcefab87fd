"""What has landed of a project's submissions is committed: each landing folder by itself, with the plan where it is known."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Collection
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.ingest.landing_folder import landings, run_of_landing
from prestow.project import plans as plan_files

if TYPE_CHECKING:
    from prestow.ingest.landing import Landed
    from prestow.project.archiving import ProjectWithArchive


def land_all(
    project: ProjectWithArchive,
    plan: str | None = None,
    *,
    runs: Collection[str] | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> tuple[Landed, ...]:
    """Commit what has landed of the plan of that id, of these runs, or of all; see `prestow.project.Project.land`.

    Left as they are: what has landed of a frozen run, and of a submission whose record says ``"over": false``.
    """
    store, found = project.store, list["Landed"]()
    there = [pair for pair in landings(store) if plan is None or pair[0] == plan]
    if not there:
        return ()
    from prestow.ingest.landing import land  # and the planner's tables: only where something has landed
    from prestow.project.landing_makers import Makers

    known = {path.name: path for path in plan_files.plan_directories(project.plans_directory)}
    for name, number in there:
        run = run_of_landing(store, name, number)
        if runs is not None and run not in runs:
            continue
        if (run is not None and project.registry.frozen.among([run])) or not _is_over(
            known.get(name), number
        ):
            continue
        producers = Makers(known[name]) if name in known else None
        found.append(land(store, name, number, producers=producers, progress=progress))
    return tuple(found)


def has_landed(project: ProjectWithArchive, plan: str, submission: int) -> bool:
    """Tell whether something of a submission, by the plan's id and its number, waits in its landing folder."""
    return run_of_landing(project.store, plan, submission) is not None


class Landings:
    """What has landed of some runs, looked at again and again while jobs run."""

    def __init__(self, project: ProjectWithArchive, runs: Collection[str] | None) -> None:
        self._project = project
        self._runs = runs
        self._found: dict[tuple[str, int], Landed] = {}

    def look(self) -> None:
        """Commit what has landed by now."""
        for one in land_all(self._project, runs=self._runs):
            before = self._found.get((one.plan, one.submission))
            states = Counter(one.states) + Counter(before.states if before is not None else {})
            self._found[one.plan, one.submission] = replace(one, states=dict(states))

    @property
    def found(self) -> tuple[Landed, ...]:
        """What all looks came to: commits of all of them, and of the last what was not committed."""
        return tuple(self._found[key] for key in sorted(self._found))


def _is_over(directory: Path | None, number: int) -> bool:
    """Tell whether the files of a submission may be moved; those that later parts of a workflow read may not."""
    if directory is None:
        return True
    try:
        record = json.loads((directory / "submissions" / f"{number}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return True
    return not isinstance(record, dict) or record.get("over") is not False
