"""The account of a project's plans and runs, unexpected files by policy, inputs never read, and what may go."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prestow.errors import Exit, PrestowError, Problem, ProjectError
from prestow.project import plans as plan_files
from prestow.project.opened import STORE

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    from prestow.plan import Plan
    from prestow.project.afterwards import ProjectWithResults
    from prestow.registry import Registry
    from prestow.results.account import Account
    from prestow.results.account_unread import Unread
    from prestow.results.retiring import Progress, Retiring
    from prestow.results.unexpected import Put
    from prestow.stores import Store


@dataclass(frozen=True, slots=True)
class Accounted:
    """An account, and what was done with unexpected files by policy; ``account`` is the one after that."""

    account: Account
    unexpected: Put

    @property
    def exit(self) -> Exit:
        """As the account's."""
        return self.account.exit


def account(
    project: ProjectWithResults,
    plan: Plan | str | os.PathLike[str] | None = None,
    *,
    run: str | None = None,
    level: str = "receipt",
    unexpected: str | None = None,
    dry_run: bool = False,
) -> Accounted:
    """Account for a plan (the newest), or for all that a run's receipts say; see `Project.account`."""
    from prestow.project.handed_over import look_at, waiting_of
    from prestow.results.account import account as take
    from prestow.results.account_levels import Depth
    from prestow.results.status import failed_among
    from prestow.results.unexpected import put_away

    depth = Depth.parse(level)
    found, run_, plans = _meant(project, plan, run)
    registry = _registry(project)
    policy = unexpected or project.configuration.unexpected

    waiting = {} if found is None else waiting_of(found, look_at(project, found))

    def open_states(plan: Plan, store: Store, rows: npt.NDArray[np.int64]) -> Mapping[int, object]:
        return {
            **failed_among(plan, store, rows),
            **{row: waiting[row] for row in rows.tolist() if row in waiting},
        }

    def once() -> Account:
        reuse = None if found is None or registry is None else project.reusable(found)
        return take(
            run_, project.store, registry, plan=found, plans=plans, reuse=reuse, level=depth, store_name=STORE,
            failed=open_states if waiting else failed_among,
        )  # fmt: skip

    first = once()
    if policy in ("tar", "drop"):
        _refuse_unknown_plans(project, run_, plans, policy)
    put = put_away(
        project.store, run_, first.notes, policy, plan="" if found is None else found.id, dry_run=dry_run
    )
    return Accounted(once() if put.done else first, put)


def _registry(project: ProjectWithResults) -> Registry | None:
    with contextlib.suppress(PrestowError):
        return project.registry
    return None


def _meant(
    project: ProjectWithResults, plan: Plan | str | os.PathLike[str] | None, run: str | None
) -> tuple[Plan | None, str, tuple[Plan, ...]]:
    """Give the plan that is meant, if there is one, its run, and every plan of that run."""
    found = None
    if run is None:
        named = plan or plan_files.LATEST
        found = project.find_plan(named) if isinstance(named, str | os.PathLike) else named
        run = found.run
    paths = plan_files.plan_directories(project.plans_directory)
    names = [path.name for path in paths if plan_files.run_of(path) == run]
    plans = tuple(
        found if found is not None and name == found.id else project.find_plan(name) for name in names
    )
    return found, run, plans


def _refuse_unknown_plans(
    project: ProjectWithResults, run: str, plans: tuple[Plan, ...], policy: str
) -> None:
    """Refuse to take files away where a plan that is not here may yet write at their names."""
    here = {plan.id for plan in plans}
    others = [held for held in project.reserved(run) if held.plan not in here]
    if plans and not others:
        return
    what = "a file that looks unexpected may lie at a name that it will write"
    problems = [
        Problem("PST-A004", f"plan {held.plan[:8]} of run {run} is not in this project: {what}", held.claim,
                f"account from the project that has it, or: prestow drop {held.plan[:8]}")
        for held in others
    ] or [
        Problem("PST-A004", f"there is no plan of run {run} here: {what}", f"--unexpected {policy}",
                "bring its plan back (prestow plan), or: --unexpected keep")
    ]  # fmt: skip
    raise ProjectError(*problems)


def unread(
    project: ProjectWithResults,
    plan: Plan | str | os.PathLike[str] | None = None,
    *,
    run: str | None = None,
    task: str | None = None,
) -> Unread:
    """Say what was staged and never read; see `Project.unread`."""
    from prestow.results.account_unread import unread as find

    found, run_, plans = _meant(project, plan, run)
    named = found if found is not None else next(iter(plans), None)
    if task is not None and named is not None:
        labels = [one.label for one in named.definition.tasks]
        if task not in labels:
            known = ", ".join(labels)
            raise ProjectError(Problem("PST-G003", f"there is no task '{task}'", "--task", f"tasks: {known}"))
    return find(run_, project.store, _registry(project), plan=named, task=task, store_name=STORE)


def retire(
    project: ProjectWithResults,
    plan: Plan | str | os.PathLike[str] | None = None,
    *,
    run: str | None = None,
    dry_run: bool = False,
    even_so: bool = False,
    progress: Progress | None = None,
) -> Retiring:
    """Delete what of a run need not be kept any more; see `Project.retire`."""
    from prestow.results import retiring

    found, run_, own = _meant(project, plan, run)
    newest = plan_files.newest_of(project.plans_directory, run_)
    if not own or newest is None:
        fix = "its plans say what is kept how long: bring them back, or remove the run: prestow remove"
        raise ProjectError(Problem("PST-A001", f"there is no plan of run '{run_}' here", "--run", fix))
    plans = [project.find_plan(name) for name in project.plans()]
    here = {one.id for one in plans}
    others = [held for held in project.reserved() if held.plan not in here]
    if others and not even_so:
        what = "is in flight, and not in this project: what it reads is not known"
        fix = "retire from the project that has it, or, if it reads nothing of this run: --even-so"
        raise ProjectError(
            *(Problem("PST-A012", f"plan {h.plan[:8]} of run {h.run} {what}", h.claim, fix) for h in others)
        )
    return retiring.retire(
        found or project.find_plan(newest.name), plans, project.registry, project.store, store_name=STORE, reuse=project.reusable, dry_run=dry_run,
        progress=progress or (lambda _done, _total: None),
    )  # fmt: skip
