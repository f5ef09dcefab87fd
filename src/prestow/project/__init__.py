"""The front door: `prestow.yaml`, the one place that opens things and joins them.

Owns what a project is (its files, its plans) and the order in which the rooms below are called.
Serves the commands and whoever writes Python. Never does the work of a room itself.

Three lines of Python do what a command does::

    project = prestow.open()
    plan = project.plan(where="visit in (12, 13)")
    result = project.run(plan)
"""

from __future__ import annotations

from prestow.project.example import Example, create_example
from prestow.project.project import Checked, Project

__all__ = ["Checked", "Example", "Project", "create", "create_example", "open"]

create = create_example
open = Project.open  # noqa: A001 - prestow.open, as people say it
"""Open the project at, or above, a directory; see `Project.open`."""
