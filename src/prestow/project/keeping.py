"""What can be asked of plans as plans: proved again, compared by meaning, dropped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.project import plans as plan_files
from prestow.project.opened import OpenedProject

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.verify import Report


class ProjectWithPlans(OpenedProject):
    """A project, and its plans for their own sake."""

    def verify(self, plan: Plan | str | os.PathLike[str] = plan_files.LATEST) -> Report:
        """Prove a plan again, from its files, by a checker that knows nothing of the planner.

        Returns
        -------
        Report
            Everything that is wrong; it does not raise for that.

        Raises
        ------
        ProjectError
            PST-P008 if there is no such plan.
        """
        from prestow.plan.proof import compare_documents
        from prestow.verify import verify

        directory = self._directory_of(plan)
        return compare_documents(directory, verify(directory))

    def _directory_of(self, plan: Plan | str | os.PathLike[str]) -> Path:
        """Give the directory of a plan that may be too damaged to be opened."""
        if not isinstance(plan, str | os.PathLike):
            return plan.directory or self.plans_directory / plan.id
        return plan_files.find_plan_directory(self.plans_directory, os.fspath(plan))
