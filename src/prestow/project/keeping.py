"""What can be asked of plans as plans: proved again, compared by meaning, dropped."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from prestow.errors import Problem, ProjectError
from prestow.project import plans as plan_files
from prestow.project.opened import OpenedProject

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.registry.reservations import Held
    from prestow.results.dropping import Dropped
    from prestow.results.plan_differences import PlanDifferences
    from prestow.verify import EmittedReport, Report

SHORTEST = 4  # digits of a plan's id that may stand for it


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

    def verify_emitted(
        self, plan: Plan | str | os.PathLike[str], directory: str | os.PathLike[str]
    ) -> EmittedReport:
        """Hold a directory that `emit` wrote against its plan, by a checker that knows nothing of the emitter.

        Returns
        -------
        EmittedReport
            Everything that is wrong; it does not raise for that.

        Raises
        ------
        ProjectError
            PST-P008 if there is no such plan, PST-E064 if nothing was emitted into the directory.
        """
        from prestow.verify import verify_emitted

        place = Path(directory)
        if not (place / "workflow.yml").is_file():
            fix = "name the directory of 'prestow emit --into', or of plans/<plan>/submissions/<number>"
            raise ProjectError(Problem("PST-E064", "there is no workflow.yml in it", str(place), fix))
        return verify_emitted(self._directory_of(plan), place)

    def diff(self, a: Plan | str | os.PathLike[str], b: Plan | str | os.PathLike[str]) -> PlanDifferences:
        """Compare two plans by meaning: quanta, inputs, names, configuration, code; with reasons.

        A plan is named as everywhere, or by its run: then the newest of that run.

        Raises
        ------
        ProjectError
            PST-P008 if there is no such plan.
        """
        from prestow.project import binding
        from prestow.results.plan_differences import differences

        plans = [self._plan_or_newest(one) for one in (a, b)]
        overrides = {}
        for plan in plans:
            facts = binding.standing(self.registry, self.store, plan.run) or {}
            overrides[plan.run] = tuple(facts.get("overrides", ()))
        found = differences(plans[0], plans[1], overrides=overrides)
        if plans[0].run not in binding.ancestors(self.registry, plans[1].run):
            return found
        from prestow.results.superseding import superseded

        return replace(found, superseded=superseded(plans[0], plans[1], self.store, self.registry))

    def _plan_or_newest(self, plan: Plan | str | os.PathLike[str]) -> Plan:
        if isinstance(plan, str):
            newest = plan_files.newest_of(self.plans_directory, plan)
            if newest is not None:
                return self.find_plan(newest.name)
        return self._plan(plan)

    def drop(self, plan: Plan | str | os.PathLike[str]) -> Dropped:
        """Give a plan up: it is forgotten if nothing was made of it, and the names that it holds are free.

        Where something is settled, the plan stays, and only names of what is not settled are freed; to run
        it takes them again, if nobody else has them by then. A plan whose making was killed, or that another
        project made, can be dropped by its id.

        Raises
        ------
        ProjectError
            PST-P008 if there is no such plan.
        PrestowError
            PST-R005 if it is being run.
        """
        from prestow.engines.journal import run_lock
        from prestow.plan import open_plan
        from prestow.registry.reservations import release
        from prestow.results.dropping import Dropped, drop
        from prestow.results.removing import sweep_plans

        sweep_plans(self.plans_directory)
        try:
            directory = self._directory_of(plan)
        except ProjectError:
            held = self._held_by(os.fspath(plan)) if isinstance(plan, str | os.PathLike) else None
            if held is None:
                raise
            return Dropped(
                held.plan, held.run, 0, 0, forgotten=False, freed=release(self.store, held.run, held.plan)
            )
        with run_lock(directory):
            return drop(open_plan(directory), directory, self.registry, self.store)

    def reserved(self, run: str | None = None) -> tuple[Held, ...]:
        """Give the plans that hold names in the store, whichever project made them."""
        from prestow.registry.reservations import reservations

        return reservations(self.store, run)

    def _held_by(self, text: str) -> Held | None:
        """Give the one reservation whose plan a text begins."""
        found = {held.plan: held for held in self.reserved() if held.plan.startswith(text)}
        return next(iter(found.values())) if len(found) == 1 and len(text) >= SHORTEST else None

    def _reserve(self, plan: Plan, *, again: bool = False) -> bool:
        """Reserve the names of a plan; say whether it had not been done.

        With ``again`` it was reserved once and may have been freed: not needed if all of it is settled.
        """
        from prestow.plan.reserving import claim_of, is_inside, names_of
        from prestow.registry import reservations

        if reservations.is_reserved(self.store, plan.run, plan.id):
            return False
        if again and reservations.is_covered(claim_of(plan), self.registry.settled(plan.run)):
            return False
        return reservations.reserve(
            self.store,
            plan.run,
            plan.id,
            lambda: claim_of(plan),
            inside=is_inside(plan),
            shown=names_of(plan),
            free=lambda run: bool(self._release_settled(run)),
        )

    @contextlib.contextmanager
    def _reserving(self, plan: Plan) -> Iterator[None]:
        """Reserve the names of a plan that is handed over; if that is refused, they are as free as they were before."""
        from prestow.registry import reservations

        new = self._reserve(plan, again=True)
        try:
            yield
        except BaseException:
            if new:
                reservations.release(self.store, plan.run, plan.id)
            raise

    def _refuse_clashes(self, plan: Plan) -> None:
        """Refuse what `_reserve` would refuse, and write nothing."""
        from prestow.plan.reserving import claim_of, is_inside, names_of
        from prestow.registry import reservations

        reservations.refuse_clashes(
            self.store, plan.run, plan.id, claim_of(plan), inside=is_inside(plan), shown=names_of(plan)
        )

    def _release_settled(self, run: str) -> tuple[str, ...]:
        """Give names free that receipts keep by now."""
        from prestow.registry.reservations import release_settled

        return release_settled(self.store, run, self.registry.settled(run))

    def _directory_of(self, plan: Plan | str | os.PathLike[str]) -> Path:
        """Give the directory of a plan that may be too damaged to be opened."""
        if not isinstance(plan, str | os.PathLike):
            return plan.directory or self.plans_directory / plan.id
        return plan_files.find_plan_directory(self.plans_directory, os.fspath(plan))
