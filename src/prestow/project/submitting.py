"""A plan handed to Pegasus and HTCondor: emitted, planned by its planner, started; and again for what remains."""

from __future__ import annotations

import inspect
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.engines.pegasus import submissions
from prestow.errors import PlanRefusedError, PrestowError, Problem, ProjectError, raise_all
from prestow.project.opened import STORE
from prestow.site import PEGASUS, Site, products_of, read_site
from prestow.stores import open_store

if TYPE_CHECKING:
    from prestow.engines.pegasus import Emission
    from prestow.engines.pegasus.harvest import Look
    from prestow.engines.pegasus.remaining import Remaining
    from prestow.engines.pegasus.tools import Tools
    from prestow.plan import Plan
    from prestow.project import Project
    from prestow.project.opened import OpenedProject

LOOKED_AT = 20_000
"""Inputs of a plan that are looked at before it is handed over; of more, so many spread over all."""

SHOWN = 5


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
    landed : mapping or None
        What came of the landing of an earlier submission.
    notes : tuple of str
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
    from prestow import __version__
    from prestow.engines.journal import JOURNAL, Journal, run_lock
    from prestow.engines.pegasus import tools as programs
    from prestow.engines.pegasus.catalogues import staging_site

    place = read_site(Path(site))
    if place.engine != PEGASUS or place.pegasus is None:
        fix = "name a site file with 'engine: pegasus', such as site-configs/pegasus-shared.yaml; for others: prestow run --site"
        raise ProjectError(
            Problem("PST-E002", f"this is a site for {place.engine}", f"site {place.name}", fix)
        )
    assert plan.directory is not None, "a plan that is handed over is written"
    project.registry.frozen.refuse([plan.run], "nothing is made in it")
    found: Tools | None = None
    notes = list[str]()
    try:
        found = programs.find_tools(place.pegasus.home)
    except PrestowError as error:
        if not dry_run:
            raise
        notes.append(f"it could not be handed over here: {error.problems[0].what}")
    tell("look at stores and inputs")
    raise_all(_unreachable(project, plan, place), PrestowError)
    notes += _changed_inputs(project, plan)
    with run_lock(plan.directory):
        sealed = _after_earlier(
            project, plan, found, place, again=again, dry_run=dry_run, notes=notes, tell=tell
        )
        tell("see what remains")
        left = what_remains(project, plan, promoting=not dry_run)
        answer = Submitted(
            plan.id, plan.run, place.name, None, left.jobs, left.quanta, left.settled, sealed=sealed,
            notes=tuple(notes) + _gone(left),
        )  # fmt: skip
        if not left.jobs or dry_run or found is None:
            return answer
        project._reserve(plan, again=True)  # noqa: SLF001 - a part of the project
        _put_code(project, plan)
        number, into = submissions.begin(plan.directory)
        record = submissions.Record(
            number, plan.id, plan.run, place.name, submissions.EMITTED, round(time.time(), 3), left.jobs, left.quanta,
            products_of(place, STORE), submissions.seen_from(plan.directory, into), "",
            {"prestow": __version__, "pegasus": found.version}, str(Path(site).absolute()),
        )  # fmt: skip
        tell("write the workflow")
        try:
            _emit(project, plan, place, into, left, number)
        except BaseException:
            _take_back(into)
            raise
        submissions.write_record(plan.directory, record)
        base = into.with_name(f"{number}.submit")
        log = into.with_name(f"{number}.log")
        tell("pegasus-plan")
        try:
            submit_dir = programs.plan_workflow(
                found, into, site=place.name, base=base, relative=f"{plan.run}-{plan.id[:8]}/{number:04d}", log=log,
                output=_landing(project, plan, place, number), cluster=cluster, staging=staging_site(place),
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
        record = replace(
            record, step=submissions.SUBMITTED, over=False if (into / "parts").is_dir() else None
        )
        submissions.write_record(plan.directory, record)
        journal = Journal(plan.directory / JOURNAL)
        try:
            journal.write(
                "submitted",
                submission=number,
                site=place.name,
                jobs=left.jobs,
                quanta=left.quanta,
                pegasus=found.version,
            )
        finally:
            journal.close()
    return replace(answer, number=number, directory=into, submit=submit_dir, versions=dict(record.versions))


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


def _gone(left: Remaining) -> tuple[str, ...]:
    if not left.gone:
        return ()
    what = (
        "1 product that was made is"
        if len(left.gone) == 1
        else f"{len(left.gone):,} products that were made are"
    )
    return (f"{what} gone or changed, such as {left.gone[0]}: prestow why {left.gone[0]}",)


def _put_code(project: Project, plan: Plan) -> None:
    if plan.code is not None and project.store.size(plan.code.path) is None:
        project.store.put_if_absent(plan.code.path, plan.code.data)


def _take_back(into: Path) -> None:
    """Remove the empty directory of a submission of which nothing was written."""
    try:
        into.rmdir()
    except OSError:
        return


def _emit(project: Project, plan: Plan, place: Site, into: Path, left: Remaining, number: int) -> Emission:
    from prestow.plugins import load

    emitter = load("emitters", PEGASUS)
    options: dict[str, Any] = {}  # Any: keyword arguments
    if "submission" in inspect.signature(emitter).parameters:
        options |= {"submission": number, "home": project.stores()}
    emission: Emission = emitter(
        plan, place, into, store=STORE, reuse=left.reuse,
        receipts=project._packed_receipts(plan, left.reuse), **options,  # noqa: SLF001 - a part of the project
    )  # fmt: skip
    return emission


def _landing(project: Project, plan: Plan, place: Site, number: int) -> Path | None:
    """Give the directory of the submit host that products land in, if they do."""
    from prestow.engines.pegasus.readme import output_directory

    if products_of(place, STORE) != "landing":
        return None
    assert place.pegasus is not None
    top = place.pegasus.landing or project.configuration.store
    return Path(output_directory(top, plan.id, number))


# ---------------------------------------------------------------- before


def _unreachable(project: Project, plan: Plan, place: Site) -> Iterator[Problem]:
    """Find the stores that the submit host does not see where the site says they are."""
    assert place.pegasus is not None
    own = project.stores()
    used = {
        STORE,
        *plan.tables.scan("locations").select("store").unique().collect()["store"].drop_nulls().to_list(),
    }
    for name in sorted(used & place.stores.keys()):
        uri = place.stores[name]
        if not uri.startswith("file://") or place.pegasus.staging != PEGASUS:
            continue
        path = Path(uri.removeprefix("file://"))
        fix = f"the transfers of Pegasus begin on this host: mount it here, or correct stores: {{{name}: …}}"
        if not path.is_dir():
            yield Problem("PST-E076", f"the store '{name}' is not there, seen from here", uri, fix)
        elif name in own and _another(own[name], uri):
            what = f"the store '{name}' of this project is {own[name]}, and this is another"
            yield Problem("PST-E076", what, uri, fix)


def _another(own: str, seen: str) -> bool:
    """Say whether two places are surely not one store."""
    one, other = (Path(uri.removeprefix("file://")) for uri in (own, seen))
    if not own.startswith("file://") or not one.is_dir():
        return False
    return not one.samefile(other)


def _changed_inputs(project: Project, plan: Plan) -> list[str]:
    """Refuse a plan whose inputs are gone or have other bytes by now; give notes on what was touched and is the same.

    Raises
    ------
    PlanRefusedError
        PST-E078 with the first of them.
    """
    assert plan.directory is not None
    made = (plan.directory / "plan.yaml").stat().st_mtime
    columns = ["dataset", "store", "path", "size", "sha256"]
    known = plan.tables.scan("locations").select(columns).filter(pl.col("path").is_not_null()).collect()
    looked = known if known.height <= LOOKED_AT else known.gather_every(-(-known.height // LOOKED_AT))
    stores = {name: open_store(uri) for name, uri in project.stores().items() if name in set(looked["store"])}
    wrong: list[Problem] = []
    touched = 0
    for row in looked.iter_rows(named=True):  # a look at a file each
        store = stores.get(row["store"])
        if store is None:
            continue
        size = store.size(row["path"])
        what = ""
        if size is None:
            what = "it is not there any more"
        elif row["size"] is not None and size != row["size"]:
            what = f"it has {size:,} bytes, and had {row['size']:,} when it was planned"
        elif _newer(store, row["path"], made) and row["sha256"] is not None:
            touched += 1
            digest = store.digest(row["path"])
            wanted = row["sha256"].hex() if isinstance(row["sha256"], bytes) else row["sha256"]
            what = (
                ""
                if digest is not None and digest[1] == wanted
                else "its bytes are others than when it was planned"
            )
        if what:
            wrong.append(Problem("PST-E078", what, f"{row['store']}: {row['path']}", _RESTORE))
    if wrong:
        more = [Problem("PST-E078", f"and {len(wrong) - SHOWN:,} inputs more", f"plan {plan.id[:8]}")]
        raise PlanRefusedError(*wrong[:SHOWN], *(more if len(wrong) > SHOWN else []))
    notes = (
        [f"{touched:,} inputs were written after the plan was made, with the same bytes"] if touched else []
    )
    if looked.height < known.height:
        notes.append(f"of {known.height:,} inputs {looked.height:,} were looked at")
    return notes


_RESTORE = "put the file back as it was, or take the new one in and plan again: prestow ingest --raw …, prestow plan --run NAME"


def _newer(store: object, name: str, than: float) -> bool:
    from prestow.stores import Linkable

    if not isinstance(store, Linkable):
        return False
    try:
        return store.local_path(name).stat().st_mtime > than
    except OSError:
        return False


# ---------------------------------------------------------------- what came before


def _after_earlier(
    project: Project,
    plan: Plan,
    found: Tools | None,
    place: Site,
    *,
    again: bool,
    dry_run: bool,
    notes: list[str],
    tell: Callable[[str], None],
) -> tuple[str, ...]:
    """Take what earlier submissions came to; give what is sealed now.

    Raises
    ------
    PrestowError
        PST-E072 if one still runs.
    """
    from prestow.engines.pegasus import harvest
    from prestow.engines.pegasus.settling import seal_between
    from prestow.project.breaking import breaker_of

    assert plan.directory is not None
    last: harvest.Look | None = None
    for record in submissions.read_records(plan.directory):
        if record.step == submissions.GIVEN_UP:
            continue
        seen = harvest.look(plan, record)
        if record.step != submissions.SUBMITTED and (seen is None or seen.standing.began is None):
            notes.append(f"submission {record.number} was cut off before anything of it ran")
            if not dry_run:
                submissions.give_up(plan.directory, record)
            continue
        if seen is None:
            notes.append(
                f"the submit directory of submission {record.number} is gone: what its jobs came to is known by receipts"
            )
            continue
        if is_running(plan, record, seen, found):
            if not again:
                raise _still_runs(record, seen, plan)
            notes.append(f"submission {record.number} still runs")
            last = None
            continue
        tell(f"take in what submission {record.number} left")
        if not dry_run:
            harvest.harvest(plan, record, project.store, found=seen)
            _note_end(plan, record, over=True)
        last = seen
    if not dry_run:
        _land(project, plan)
    if last is None:
        return ()
    tell("see what is lost")
    return seal_between(
        plan, project.store, last, stores=project.stores(), name=STORE, reuse=project.reusable(plan), registry=project.registry,
        breaker=breaker_of(None, place, project.configuration), dry_run=dry_run,
    )  # fmt: skip


def is_running(plan: Plan, record: submissions.Record, seen: Look, found: Tools | None) -> bool:
    """Say whether a submission still runs: by its own log, and where that says nothing of an end, by the queue."""
    from prestow.engines.pegasus.tools import in_queue

    assert plan.directory is not None
    if seen.standing.over:
        return False
    submit = record.submit_directory(plan.directory)
    there = None if submit is None else in_queue(found, submit)
    return True if there is None else there


def _still_runs(record: submissions.Record, seen: Look, plan: Plan) -> PrestowError:
    assert plan.directory is not None
    counts = ", ".join(f"{count:,} {state}" for state, count in seen.counts.items() if count)
    submit = record.submit_directory(plan.directory)
    fix = f"wait (prestow status), or stop it: pegasus-remove {submit}; --again hands over what remains all the same"
    return PrestowError(
        Problem("PST-E072", f"submission {record.number} still runs: {counts}", f"plan {plan.id[:8]}", fix)
    )


def _land(project: Project, plan: Plan) -> None:
    """Commit what Pegasus brought home."""
    project.land(plan)


def site_word(plan: Plan) -> str:
    """Give the site file of the newest submission as a person here would type it."""
    records = submissions.read_records(plan.directory)
    path = records[-1].site_file if records else ""
    return os.path.relpath(path) if path else "FILE"


def waiting_rows(plan: Plan, seen: Sequence[Look]) -> dict[int, str]:
    """Give the quanta whose jobs a queue holds or has preempted now, by row, with these words."""
    found: dict[int, str] = {}
    for one in seen:
        odd = one.jobs.filter(pl.col("state").is_in(["held", "preempted"]))
        if one.standing.over or not odd.height:
            continue
        firsts = plan.tables["jobs"].select("first", "count")[odd["job"].to_list()]
        for (first, count), word in zip(firsts.iter_rows(), odd["state"], strict=True):
            found |= dict.fromkeys(range(first, first + count), word)
    return found


def harvest_all(project: OpenedProject, plan: Plan) -> list[Look]:
    """Look at all submissions of a plan, and put their reports into the store."""
    from prestow.engines.pegasus import harvest

    found = []
    for record in submissions.read_records(plan.directory):
        seen = harvest.look(plan, record)
        if seen is not None:
            harvest.harvest(plan, record, project.store, found=seen)
            _note_end(plan, record, over=seen.standing.over)
            found.append(seen)
    return found


def _note_end(plan: Plan, record: submissions.Record, *, over: bool) -> None:
    """Note that what has landed may be moved: nothing reads it any more."""
    if over and record.over is False:
        assert plan.directory is not None
        with suppress(OSError):  # whoever only looks may not be let to write
            submissions.write_record(plan.directory, replace(record, over=True))


def hold_against_each_other(project: OpenedProject, plan: Plan) -> int:
    """Hold what Pegasus recorded of files against what is committed; what differs is a finding. Give how many are new."""
    from prestow.engines.pegasus.crossing import differing

    types = sorted({output.type for task in plan.definition.tasks for output in task.outputs})
    held = pl.DataFrame(project.registry.datasets(types, [plan.run], first=False))
    products = held.filter(pl.col("store").cast(pl.String) == STORE)
    return sum(
        project.registry.findings.add(project.store, differing(plan, record, project.store, products))
        for record in submissions.read_records(plan.directory)
    )
