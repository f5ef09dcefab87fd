"""Write the directory for Pegasus: whole and checked, or not at all."""

from __future__ import annotations

import filecmp
import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from prestow.engines.pegasus import catalogues
from prestow.engines.pegasus.checking import Facts, check
from prestow.engines.pegasus.manifests import INPUTS, Packs, Replica
from prestow.engines.pegasus.readme import readme
from prestow.engines.pegasus.text import VERSION, Document
from prestow.engines.pegasus.workflow import (
    Entries,
    cluster_labels,
    dependencies,
    facts_of,
    job_ids,
    workflow_name,
)
from prestow.errors import PlanRefusedError, Problem, ProjectError
from prestow.plan import Plan
from prestow.plan.manifests import manifests
from prestow.plan.retrying import read_retries
from prestow.site import PEGASUS, Site

MANY_JOBS = 20_000
"""Above so many jobs Pegasus wants workflows of workflows."""


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
        What is allowed, and will hurt.
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


def emit(
    plan: Plan,
    site: Site,
    into: Path,
    *,
    store: str = "archive",
    reuse: pl.DataFrame | None = None,
    receipts: Mapping[str, bytes] | None = None,
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
        What `prestow.plan.reuse.reusable` gave: outputs taken from a parent run; jobs that have
        nothing else are left out.
    receipts : mapping of name to bytes, optional
        Receipts of existing products that have no file of their own, since their run was closed: they travel
        with the emission.

    Raises
    ------
    ProjectError
        If something else is in the directory (PST-E001), or the site file lacks what is needed
        (PST-E002).
    PlanRefusedError
        If Pegasus could not do it (PST-E004 to PST-E009). Nothing is written then.
    """
    _check_site(plan, site, store, reuse)
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
        emission = _write(plan, site, fresh, into, store, reuse, receipts or {})
        if _take_place(fresh, into):
            return emission
        return Emission(**{**{n: getattr(emission, n) for n in Emission.__slots__}, "new": False})
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _check_site(plan: Plan, site: Site, store: str, reuse: pl.DataFrame | None) -> None:
    if site.engine != PEGASUS or site.pegasus is None:
        fix = "name a site file with 'engine: pegasus', such as site-configs/pegasus-shared.yaml"
        raise ProjectError(Problem("PST-E002", f"this is a site for {site.engine}", f"site {site.name}", fix))
    problems = []
    if store not in site.stores:
        what = f"it does not say where nodes see the output store '{store}'"
        fix = (
            f"write stores: {{{store}: URI}}, if they see it. Products that Pegasus brings home to a landing "
            "folder, for nodes that do not see the store, are not there yet"
        )
        problems.append(Problem("PST-E002", what, f"site {site.name}", fix))
    used = plan.tables["locations"]["store"].unique().drop_nulls().to_list()
    if reuse is not None:
        used += reuse["store"].unique().drop_nulls().to_list()
    problems += [
        Problem(
            "PST-E002",
            f"it does not say where the store '{name}' is, which has inputs of this plan",
            f"site {site.name}",
            f"write stores: {{{name}: URI}}",
        )
        for name in sorted({*used} - {store, *site.stores})
    ]
    if problems:
        raise ProjectError(*problems)


def _write(
    plan: Plan,
    site: Site,
    directory: Path,
    into: Path,
    store: str,
    reuse: pl.DataFrame | None,
    receipts: Mapping[str, bytes],
) -> Emission:
    settings = site.pegasus
    assert settings is not None
    jobs = plan.tables["jobs"]
    chosen = _chosen(plan, reuse)
    if not chosen.len():
        raise PlanRefusedError(
            Problem("PST-E009", "there is nothing to do", f"plan {plan.id[:8]}", "prestow status")
        )
    known = facts_of(jobs)
    ids, labels = job_ids(jobs["name"]), cluster_labels(jobs, settings.cluster)
    edges = plan.tables["job_edges"].select("parent", "child")
    if chosen.len() < jobs.height:
        wanted = chosen.implode()
        edges = edges.filter(pl.col("parent").is_in(wanted) & pl.col("child").is_in(wanted))
    facts, replicas, packs = Facts(), dict[str, Replica](), Packs(directory)
    name = workflow_name(plan.run, plan.id)
    retries = read_retries(plan.directory)

    def entries() -> Iterator[object]:
        # One job at a time: each is a document of its own, and its manifest goes to a pack as it comes.
        make = Entries(plan, settings, retries)
        numbers = chosen.to_list()
        told = manifests(plan, numbers, store=store, stores=site.stores, reuse=reuse)
        for number, manifest in zip(numbers, told, strict=True):
            job = make.entry(
                retries.applied(manifest), ids[number], labels[number], packs.name, known[number]
            )
            packs.add(job.manifest)
            replicas.update(job.replicas)
            facts.add(ids[number], manifest.job, job.reads, job.makes)
            yield job.entry
        packs.close()

    head = {"pegasus": VERSION, "name": name, "metadata": {"plan": plan.id, "run": plan.run}}
    with (
        (directory / "workflow.yml").open("w", encoding="utf-8") as stream,
        Document(stream, head) as document,
    ):
        document.entries("jobs", entries())
        document.entries("jobDependencies", dependencies(edges, ids))
    carried = [name for name in receipts if replicas.pop(name, None) is not None]
    for receipt in carried:
        path = directory / INPUTS / receipt
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(receipts[receipt])
    _catalogues(directory, site, replicas)
    count = packs.count
    (directory / "README.md").write_text(
        readme(site, name=name, jobs=chosen.len(), plan=plan.id, run=plan.run),
        encoding="utf-8",
    )
    urls = [catalogues.physical_name(replicas[lfn], site.stores) for lfn in replicas]
    exists = pl.DataFrame({"name": list(replicas), "url": urls}, schema={"name": pl.String, "url": pl.String})
    brought = pl.DataFrame(
        {"name": [*(f"manifests/{k:05d}.pack" for k in range(count)), *carried]}, schema={"name": pl.String}
    ).with_columns(url=pl.lit("file:///"))
    named = pl.DataFrame({column: ids.gather(edges[column]) for column in ("parent", "child")})
    check(facts, pl.concat([exists, brought]), named, flat=settings.data == "condorio")
    warnings = (
        (
            f"{chosen.len():,} jobs: above {MANY_JOBS:,} Pegasus's planner wants hours and memory; plan in parts",
        )
        if chosen.len() > MANY_JOBS
        else ()
    )
    return Emission(
        directory=into, new=True, jobs=chosen.len(), edges=edges.height, inputs=len(replicas),
        receipts=sum(facts.outputs), packs=count, size=sum(p.stat().st_size for p in _files(directory)), warnings=warnings,
    )  # fmt: skip


def _chosen(plan: Plan, reuse: pl.DataFrame | None) -> pl.Series:
    """Give the numbers of jobs that have something to do."""
    quanta = plan.tables["quanta"].select("quantum", "job")
    if reuse is not None:
        quanta = quanta.join(reuse.select("quantum").unique(), on="quantum", how="anti")
    return quanta["job"].unique().sort()


def _catalogues(directory: Path, site: Site, replicas: Mapping[str, Replica]) -> None:
    for file, key, found in (
        ("replicas.yml", "replicas", catalogues.replica_entries(replicas, site.stores)),
        ("sites.yml", "sites", catalogues.site_entries(site)),
        ("transformations.yml", "transformations", catalogues.transformation_entries(site)),
    ):
        with (
            (directory / file).open("w", encoding="utf-8") as stream,
            Document(stream, {"pegasus": VERSION}) as document,
        ):
            document.entries(key, found)
    (directory / "pegasus.properties").write_text(catalogues.properties(site), encoding="utf-8")


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
