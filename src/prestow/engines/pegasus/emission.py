"""Write the directory for Pegasus: whole and checked, or not at all."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from prestow.engines.pegasus.writing import Given, Totals, write
from prestow.errors import Problem, ProjectError, raise_all
from prestow.site import PEGASUS, Site, landing_because, plan_problems

if TYPE_CHECKING:
    from prestow.plan import Plan


@dataclass(frozen=True, slots=True)
class Emission:
    """What was written.

    Parameters
    ----------
    directory : Path
        Where.
    new : bool
        False if the very same was there already.
    jobs, edges, inputs, receipts, packs : int
        Jobs, pairs of which one waits for the other, files that exist and are brought to jobs,
        receipts that jobs make, packs of manifests.
    size : int
        Bytes of all files.
    warnings : tuple of str
        What the planner says is allowed, and will hurt: such as many short jobs, with how to group them.
    parts : int
        How many workflows it is made of, if it is one of workflows.
    notes : tuple of str
        What follows from the site file without being said there.
    """

    directory: Path
    new: bool
    jobs: int
    edges: int
    inputs: int
    receipts: int
    packs: int
    size: int
    warnings: tuple[str, ...] = ()
    parts: int = 0
    notes: tuple[str, ...] = ()


def emit(
    plan: Plan,
    site: Site,
    into: Path,
    *,
    store: str = "archive",
    reuse: pl.DataFrame | None = None,
    receipts: Mapping[str, bytes] | None = None,
    submission: int = 1,
    home: Mapping[str, str] | None = None,
) -> Emission:
    """Write a plan for Pegasus into a directory that is empty, or not there yet.

    Parameters
    ----------
    plan : Plan
        All of it; what is settled already, a job finds so and passes on.
    site : Site
        With the section ``pegasus``, and where nodes see each store.
    into : Path
        The directory. If it holds this very emission already, nothing is changed.
    store : str
        Name of the output store.
    reuse : DataFrame or None
        Outputs as `prestow.plan.reuse.reusable` gives them: taken from a parent run, or settled in this one; jobs that
        have nothing else are left out.
    receipts : mapping of name to bytes, optional
        Receipts of existing products that have no file of their own, since their run was closed: they travel
        with the emission.
    submission : int
        The how manieth of the plan, from 1 on: products that land have a folder for each.
    home : mapping of name to URI, optional
        Where the submit host sees stores, if not as nodes do.

    Raises
    ------
    ProjectError
        If something else is in the directory (PST-E001), or the site file lacks what is needed
        (PST-E002, PST-C080).
    PlanRefusedError
        If Pegasus could not do it (PST-E004 to PST-E009, PST-E050 to PST-E063). Nothing is written then.
    """
    check_site(plan, site, store, reuse)
    into = into.absolute()
    fresh = into.with_name(f".{into.name}-{os.getpid()}-{os.urandom(4).hex()}")
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        fresh.mkdir()
    except OSError as error:
        raise ProjectError(
            Problem("PST-E001", f"cannot be made: {error.strerror}", str(into), "name another directory")
        ) from error
    try:
        made = write(Given(plan, site, store, reuse, receipts or {}, submission, home or {}), fresh, into)
        size = sum(path.stat().st_size for path in _files(fresh))
        because = landing_because(site, store)
        made_of = _emission(plan, into, made, size, new=_take_place(fresh, into))
        return replace(made_of, notes=(because,)) if because else made_of
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _emission(plan: Plan, into: Path, made: Totals, size: int, *, new: bool) -> Emission:
    return Emission(
        into, new, made.jobs, made.edges, made.inputs, made.receipts, made.packs, size, plan.warnings, made.parts,
    )  # fmt: skip


def check_site(plan: Plan, site: Site, store: str, reuse: pl.DataFrame | None = None) -> None:
    """Refuse a site that does not give what a plan asks for.

    Raises
    ------
    ProjectError
        PST-E002 for a site of another engine; PST-C080 for each thing that its file lacks.
    """
    if site.engine != PEGASUS or site.pegasus is None:
        fix = "name a site file with 'engine: pegasus', such as site-configs/pegasus-shared.yaml"
        raise ProjectError(
            site.problem(
                "PST-E002", ("engine",), f"this is a site for '{site.engine}', and not for '{PEGASUS}'", fix
            )
        )
    used = plan.tables.scan("locations").select("store").unique().collect()["store"].drop_nulls().to_list()
    if reuse is not None:
        used += reuse["store"].unique().drop_nulls().to_list()
    tasks = [task.label for task in plan.definition.tasks]
    raise_all(plan_problems(site, store=store, used=used, tasks=tasks), ProjectError)


def _take_place(fresh: Path, into: Path) -> bool:
    """Put a directory in its place in one step; False if the very same is there already."""
    try:
        fresh.rename(into)  # over nothing, or over an empty directory
    except OSError as error:
        if not into.is_dir():
            raise ProjectError(
                Problem(
                    "PST-E001", f"cannot be written: {error.strerror}", str(into), "name another directory"
                )
            ) from error
    else:
        return True
    differs = [p for p in _files(fresh) if not _same(p, into / p.relative_to(fresh))]
    if differs:
        what = f"something else is there; {differs[0].relative_to(fresh)} would be another"
        raise ProjectError(Problem("PST-E001", what, str(into), "name another directory, or remove this one"))
    return False


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _same(one: Path, other: Path) -> bool:
    return other.is_file() and filecmp.cmp(one, other, shallow=False)
