"""Submissions of a plan that were made: what they came to is taken in, and said; one that still runs stands in the way."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

import polars as pl

from prestow.engines.pegasus import harvest, submissions
from prestow.errors import PrestowError, Problem
from prestow.project.opened import STORE

if TYPE_CHECKING:
    from prestow.engines.pegasus.harvest import Look
    from prestow.engines.pegasus.tools import Tools
    from prestow.plan import Plan
    from prestow.project import Project
    from prestow.project.opened import OpenedProject
    from prestow.site import Site


def take_in(
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
        project.land(plan)
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
