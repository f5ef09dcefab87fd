"""``prestow plan --replace-tainted``: what it may stand beside, and what it comes to."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from prestow.cli.output import count_text
from prestow.errors import Problem, ProjectError

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.project import Project
    from prestow.project.tainting import Replacing

ALLOWED = ("child_of", "waive", "because")


def replacement(project: Project, asked: Mapping[str, Any]) -> Replacing:  # Any: arguments of `Project.plan`
    """Give the request to make again; what says otherwise what is planned does not go with it."""
    from prestow.project.tainting import replacing

    others = [f"--{name.replace('_', '-')}" for name, value in asked.items() if value and name not in ALLOWED]
    if others:
        what = f"{', '.join(others)} and --replace-tainted do not go together: it is the request of an earlier run"
        raise ProjectError(Problem("PST-G005", what, "the options", "leave one of them out"))
    return replacing(project, asked["child_of"])


def replaced_lines(project: Project, found: Replacing, made: Plan) -> list[str]:
    """Say how many quanta are made again, and how many of them nothing tainted touched."""
    from prestow.project.tainting import beyond

    again, more = beyond(project, found, made)
    count = count_text(again, "quantum is", "quanta are")
    lines = [f"    {count} made again in place of what used tainted data in run {found.run}"]
    if more:
        lines.append(
            f"    warning: {more:,} of them used none of it: code, configuration, calibrations or other inputs changed"
        )
    if found.others:
        named = ", ".join(key[:8] for key in found.others)
        lines.append(
            f"    warning: other plans of run {found.run} used what is tainted, too, and were asked for otherwise ({named}); "
            "what only they made is not replaced"
        )
    return lines
