"""Plans that were handed to Pegasus, found without opening anything: most projects have none, and pay nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from prestow.project import plans as plan_files

if TYPE_CHECKING:
    from prestow.engines.pegasus.harvest import Look
    from prestow.plan import Plan
    from prestow.project.opened import OpenedProject

SUBMISSIONS = "submissions"
"""The directory beside a plan that has its submissions."""


def is_handed_over(plan: Plan) -> bool:
    """Tell whether a plan was ever handed to Pegasus."""
    return plan.directory is not None and (plan.directory / SUBMISSIONS).is_dir()


def submit_again(plan: Plan, word: str) -> str:
    """Give the command that hands over what is left of a plan; empty if it never was handed over.

    ``word`` names the plan, after a blank; it is empty for the newest.
    """
    if not is_handed_over(plan):
        return ""
    from prestow.project.earlier_submissions import site_word

    return f"prestow submit{word} --site {site_word(plan)}"


def plans_handed_over(project: OpenedProject, runs: Sequence[str] | None) -> list[Plan]:
    """Give the plans of some runs, or of all, that were."""
    paths = [
        path
        for path in plan_files.plan_directories(project.plans_directory)
        if (path / SUBMISSIONS).is_dir() and (runs is None or plan_files.run_of(path) in runs)
    ]
    return [project.find_plan(path.name) for path in paths]


def look_at(project: OpenedProject, plan: Plan) -> list[Look]:
    """Look at all submissions of a plan, and put the reports that they left into the store."""
    if not is_handed_over(plan):
        return []
    from prestow.project.earlier_submissions import harvest_all

    return harvest_all(project, plan)


def waiting_of(plan: Plan, seen: Sequence[Look]) -> dict[int, str]:
    """Give the quanta whose jobs a queue holds or has preempted now, by row, with these words."""
    if not seen:
        return {}
    from prestow.project.earlier_submissions import waiting_rows

    return waiting_rows(plan, seen)


def queue_words(seen: Sequence[Look]) -> dict[str, str]:
    """Give what a queue says of the jobs that it holds or has preempted, by the names of jobs."""
    found: dict[str, str] = {}
    for one in seen:
        for job in () if one.standing.over else one.as_dict()["waiting"]:
            found[job["name"]] = f"{job['state']}: {job['reason'] or 'nothing says why'}"
    return found


def cross_check(project: OpenedProject, plans: Sequence[Plan]) -> int:
    """Note as findings where Pegasus recorded other bytes than are committed; give how many are new."""
    if not plans:
        return 0
    from prestow.project.earlier_submissions import hold_against_each_other

    return sum(hold_against_each_other(project, plan) for plan in plans)
