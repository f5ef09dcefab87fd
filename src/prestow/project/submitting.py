"""A plan handed to Pegasus and HTCondor: emitted, planned by its planner, started; and again for what remains."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from prestow.engines.pegasus import submissions
from prestow.errors import PrestowError, Problem, raise_all
from prestow.project.earlier_submissions import take_in
from prestow.project.opened import STORE
from prestow.project.site_checking import site_of_project
from prestow.project.submit_checks import changed_inputs, unreachable_stores
from prestow.site import PEGASUS, Site, landing_because, products_of

if TYPE_CHECKING:
    from prestow.engines.pegasus.remaining import Remaining
    from prestow.engines.pegasus.tools import Tools
    from prestow.plan import Plan
    from prestow.project import Project


@dataclass(frozen=True, slots=True)
class Submitted:
    """What a submission came to.

    Parameters
    ----------
    number : int or None
        Which of the plan's; None if nothing was handed over.
    jobs, quanta : int
        Handed over, or what would be.
    settled : int
        Quanta that were settled before.
    sealed : tuple of str
        What was given up as lost now, by task and data ID.
    directory, submit : Path or None
        Where the workflow was written, and Pegasus's submit directory.
    versions : mapping or None
        Of prestow and Pegasus.
    notes : tuple of str
        What else a person should know.
    """

    plan: str
    run: str
    site: str
    number: int | None
    jobs: int
    quanta: int
    settled: int
    sealed: tuple[str, ...] = ()
    directory: Path | None = None
    submit: Path | None = None
    versions: dict[str, str] | None = None
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        facts = {name: getattr(self, name) for name in self.__dataclass_fields__}
        paths = {name: None if facts[name] is None else str(facts[name]) for name in ("directory", "submit")}
        return facts | paths | {"sealed": list(self.sealed), "notes": list(self.notes)}


def submit(
    project: Project,
    plan: Plan,
    *,
    site: str | os.PathLike[str],
    again: bool = False,
    cluster: bool = False,
    dry_run: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Submitted:
    """Hand over what is left of a plan; see `prestow.project.Project.submit`."""
    from prestow.engines.committing import gone_words
    from prestow.engines.journal import run_lock
    from prestow.engines.pegasus import tools as programs
    from prestow.engines.pegasus.emission import check_site

    place = site_of_project(site, project.stores(), output=STORE)
    check_site(plan, place, STORE)
    assert plan.directory is not None, "a plan that is handed over is written"
    assert place.pegasus is not None
    project.registry.frozen.refuse([plan.run], "nothing is made in it")
    found: Tools | None = None
    missing: tuple[Problem, ...] = ()
    because = landing_because(place, STORE)
    notes = [because] if because else []
    try:
        found = programs.find_tools(place.pegasus.home)
    except PrestowError as error:
        missing = error.problems
    if missing and dry_run:
        notes.append(f"it could not be handed over here: {missing[0].what}")
        missing = ()
    tell("look at stores and inputs")
    raise_all((*missing, *unreachable_stores(project, plan, place)), PrestowError)
    notes += changed_inputs(project, plan)
    with run_lock(plan.directory):
        sealed = take_in(project, plan, found, place, again=again, dry_run=dry_run, notes=notes, tell=tell)
        tell("see what remains")
        left = what_remains(project, plan, promoting=not dry_run)
        answer = Submitted(
            plan.id, plan.run, place.name, None, left.jobs, left.quanta, left.settled, sealed=sealed,
            notes=(*notes, *gone_words(left.gone)),
        )  # fmt: skip
        if not left.jobs or dry_run or found is None:
            return answer
        record = _hand_over(project, plan, place, found, left, str(site), cluster=cluster, tell=tell)
        return replace(
            answer, number=record.number, directory=plan.directory / record.emission,
            submit=record.submit_directory(plan.directory), versions=dict(record.versions),
        )  # fmt: skip


def _hand_over(
    project: Project,
    plan: Plan,
    place: Site,
    found: Tools,
    left: Remaining,
    site_file: str,
    *,
    cluster: bool,
    tell: Callable[[str], None],
) -> submissions.Record:
    """Emit what is left, let it be planned, and start it; the record says after each step how far it came."""
    from prestow import __version__
    from prestow.engines.journal import JOURNAL, Journal
    from prestow.engines.pegasus import tools as programs
    from prestow.engines.pegasus.readme import planner_words

    assert plan.directory is not None
    number, into = submissions.begin(plan.directory)
    record = submissions.Record(
        number, plan.id, plan.run, place.name, submissions.EMITTED, round(time.time(), 3), left.jobs, left.quanta,
        products_of(place, STORE), submissions.seen_from(plan.directory, into), "",
        {"prestow": __version__, "pegasus": found.version}, str(Path(site_file).absolute()),
    )  # fmt: skip
    tell("write the workflow")
    try:
        with project._reserving(plan):  # noqa: SLF001 - a part of the project
            _emit(project, plan, place, into, left, number)
    except BaseException:
        _take_back(into)
        raise
    _put_code(project, plan)
    submissions.write_record(plan.directory, record)
    tell("pegasus-plan")
    log = into.with_name(f"{number}.log")
    try:
        submit_dir = programs.plan_workflow(
            found, into, planner_words(place, _landing(project, plan, place, number)), base=into.with_name(f"{number}.submit"),
            relative=f"{plan.run}-{plan.id[:8]}/{number:04d}", log=log, cluster=cluster,
        )  # fmt: skip
    except PrestowError:
        submissions.give_up(plan.directory, record)
        raise
    record = replace(
        record, step=submissions.PLANNED, submit=submissions.seen_from(plan.directory, submit_dir)
    )
    submissions.write_record(plan.directory, record)
    tell("pegasus-run")
    programs.run_workflow(found, submit_dir, log)
    record = replace(record, step=submissions.SUBMITTED, over=False if (into / "parts").is_dir() else None)
    submissions.write_record(plan.directory, record)
    journal = Journal(plan.directory / JOURNAL)
    try:
        journal.write(
            "submitted", submission=number, site=place.name, jobs=left.jobs, quanta=left.quanta, pegasus=found.version
        )  # fmt: skip
    finally:
        journal.close()
    return record


def what_remains(project: Project, plan: Plan, *, promoting: bool = True) -> Remaining:
    """Say what is left of a plan, with what is taken from this run and from others."""
    from prestow.engines.pegasus.remaining import remaining

    return remaining(
        plan,
        project.store,
        name=STORE,
        reuse=project.reusable(plan),
        registry=project.registry,
        promoting=promoting,
    )


def _put_code(project: Project, plan: Plan) -> None:
    if plan.code is not None and project.store.size(plan.code.path) is None:
        project.store.put_if_absent(plan.code.path, plan.code.data)


def _take_back(into: Path) -> None:
    """Remove the directory of a submission of which nothing was written, and the one above if it was the first."""
    with suppress(OSError):  # something is in it
        into.rmdir()
        into.parent.rmdir()


def _emit(project: Project, plan: Plan, place: Site, into: Path, left: Remaining, number: int) -> None:
    from prestow.plugins import load

    load("emitters", PEGASUS)(
        plan, place, into, store=STORE, reuse=left.reuse,
        receipts=project._packed_receipts(plan, left.reuse),  # noqa: SLF001 - a part of the project
        submission=number, home=project.stores(),
    )  # fmt: skip


def _landing(project: Project, plan: Plan, place: Site, number: int) -> str | None:
    """Give the directory of the submit host that products land in, if they do."""
    from prestow.engines.pegasus.readme import output_directory

    if products_of(place, STORE) != "landing":
        return None
    assert place.pegasus is not None
    top = place.pegasus.landing or project.configuration.store
    return output_directory(top, plan.id, number)
