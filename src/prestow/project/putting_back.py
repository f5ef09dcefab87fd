"""Failed jobs put back: looked up, worked out, written beside the plan, told in its journal."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.project.afterwards import ProjectWithResults
    from prestow.results.retrying import PutBack


def put_back(
    project: ProjectWithResults,
    plan: Plan,
    *,
    jobs: Sequence[str],
    memory: str,
    site: str | os.PathLike[str] | None,
    avoid: Sequence[str],
    avoid_bad_hosts: bool,
    tries: int | None,
    dry_run: bool,
) -> PutBack:
    """Put jobs of a plan back; see `prestow.project.Project.retry`."""
    from prestow.engines.journal import JOURNAL, Journal
    from prestow.plan.retrying import read_retries, write_held, write_retries
    from prestow.results.failing import bad_hosts
    from prestow.results.retrying import Asked
    from prestow.results.retrying import put_back as work_out
    from prestow.site import read_site

    place = None if site is None else str(Path(site).absolute())
    if place is not None:
        read_site(Path(place))
    status = project.status(plan)
    hosts = tuple(dict.fromkeys((*avoid, *(bad_hosts(status.groups) if avoid_bad_hosts else ()))))
    found = work_out(
        plan, project.store, Asked(tuple(jobs), memory, tries, hosts, place), read_retries(plan.directory), status.jobs,
        reuse=project.reusable(plan), registry=project.registry,
    )  # fmt: skip
    if dry_run or not (found.jobs or found.pending):
        return found
    write_retries(plan, found.retries)
    write_held(plan.directory, {})
    assert plan.directory is not None, "a plan that was run is written"
    journal = Journal(plan.directory / JOURNAL)
    try:
        facts = {"memory": list(found.memory), "tries": tries, "avoid": list(hosts), "site": place}
        journal.write("retry", jobs=[*found.jobs, *found.pending], **{k: v for k, v in facts.items() if v})
    finally:
        journal.close()
    return found
