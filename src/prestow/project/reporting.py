"""The report of a plan: what the project knows of it is put together, and the page is written."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.errors import PrestowError, Problem, ProjectError
from prestow.project import plans as plan_files

if TYPE_CHECKING:
    from prestow.engines.pegasus.harvest import Look
    from prestow.plan import Plan
    from prestow.project.afterwards import ProjectWithResults
    from prestow.results.report import Report

NAME = "report.html"
_MARK = b'<meta name="generator" content="prestow report">'
_HEAD = 2000


def report(
    project: ProjectWithResults,
    plan: Plan | str | os.PathLike[str] = plan_files.LATEST,
    *,
    pictures: int = 0,
    account: bool = True,
    tell: Callable[[str], None] = lambda _: None,
) -> Report:
    """Say what a plan came to; see `Project.report`."""
    from prestow.engines.journal import JOURNAL, is_locked, read_journal
    from prestow.project.handed_over import look_at, submit_again, waiting_of
    from prestow.results.report import gather
    from prestow.results.report.gathering import Around
    from prestow.results.report.pictures import take

    found = project.find_plan(plan) if isinstance(plan, str | os.PathLike) else plan
    directory, notes = found.directory, list[str]()
    alive = directory is not None and is_locked(directory)
    files = None
    if account and not alive:
        tell("account for files")
        files = _account(project, found, notes)
    tell("compare with the plan before")
    difference = _difference(project, found, notes)
    taken, unseen = take(found, project.store, pictures) if pictures else ((), ())
    tell("read reports")
    seen = look_at(project, found)
    word = _word(project, found)
    around = Around(
        journal=read_journal(directory / JOURNAL) if directory is not None else (),
        alive=alive, word=word, submit_again=submit_again(found, word), overrides=_overrides(project, found),
        account=files, difference=difference, pictures=taken, notes=(*notes, *_submitted(seen), *unseen),
        waiting=waiting_of(found, seen),
    )  # fmt: skip
    return gather(
        found, project.store, reuse=project.reusable(found), registry=project.registry, around=around
    )


def _submitted(seen: Sequence[Look]) -> list[str]:
    """Say of each submission what its jobs came to."""
    return [f"{one} (of jobs of Pegasus)" for one in seen]


def write_page(text: str, path: Path) -> None:
    """Write a page, or its data as JSON, whole or not at all; only a report may be written over.

    Raises
    ------
    ProjectError
        PST-W001 if something else is there; PST-W002 if it cannot be written.
    """
    try:
        if path.exists() and not _is_report(path):
            what = "something that is no report is there, and is not overwritten"
            raise ProjectError(Problem("PST-W001", what, str(path), "give another name: --into FILE"))
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            temporary.write_text(text, "utf-8")
            temporary.replace(path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        what = f"the report cannot be written: {error.strerror or error}"
        raise ProjectError(Problem("PST-W002", what, str(path), "give another name: --into FILE")) from error


def _is_report(path: Path) -> bool:
    with path.open("rb") as file:
        start = file.read(_HEAD)
    return _MARK in start or start.startswith(b'{"schema":"prestow.run-report/1"')


def _word(project: ProjectWithResults, plan: Plan) -> str:
    newest = project.newest_plan_directory()
    return "" if newest is not None and newest.name == plan.id else f" {plan.id[:8]}"


def _overrides(project: ProjectWithResults, plan: Plan) -> tuple[str, ...]:
    from prestow.project import binding

    facts = binding.standing(project.registry, project.store, plan.run) or {}
    return tuple(map(str, facts.get("overrides", ())))


def _account(
    project: ProjectWithResults, plan: Plan, notes: list[str]
) -> dict[str, Any] | None:  # Any: JSON values
    try:
        return project.account(plan, unexpected="keep", dry_run=True).account.as_dict()
    except PrestowError as error:
        notes.append(f"files are not accounted for: {error.problems[0].what}")
        return None


def _difference(
    project: ProjectWithResults, plan: Plan, notes: list[str]
) -> dict[str, Any] | None:  # Any: JSON values
    """Compare with the plan before: that of the run that this one repairs, else the one written last before it."""
    try:
        before = _before(project, plan)
        if before is None:
            return None
        found = project.diff(project.find_plan(before.name), plan)
    except PrestowError as error:
        notes.append(f"not compared with the plan before: {error.problems[0].what}")
        return None
    facts = found.as_dict()
    return {
        "plan": found.a[0], "run": found.a[1], "tasks": facts["tasks"], "facts": [fact.text for fact in found.facts],
        "causes": facts["causes"],
    }  # fmt: skip


def _before(project: ProjectWithResults, plan: Plan) -> Path | None:
    parent = plan.document["request"].get("child_of")
    others = {
        path: (path / "plan.yaml").stat().st_mtime_ns
        for path in plan_files.plan_directories(project.plans_directory)
    }
    own = next((at for path, at in others.items() if path.name == plan.id), None)
    earlier = {path: at for path, at in others.items() if path.name != plan.id and (own is None or at < own)}
    if parent:
        earlier = {path: at for path, at in earlier.items() if plan_files.run_of(path) == parent}
    return max(earlier, key=lambda path: (earlier[path], path.name), default=None)
