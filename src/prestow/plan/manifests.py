"""From a plan to what each job is told."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.commit import receipt_name
from prestow.errors import PlanRefusedError, Problem
from prestow.manifest import (
    LAYOUTS,
    Code,
    Connection,
    Location,
    Manifest,
    ManifestInput,
    ManifestOutput,
    ManifestQuantum,
)
from prestow.model.flat import flat_local
from prestow.naming import identity
from prestow.pipeline.definition import OnFailure, TaskDefinition
from prestow.plan.plan import Plan
from prestow.plan.planned import planned
from prestow.plan.ranges import numbers_of
from prestow.plan.resources import resources_of
from prestow.plan.slices import rows_at, rows_of

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.int64]

BATCH = 2000  # jobs whose rows are in Python at one time

Row = dict[str, Any]  # Any: one row of a table


@dataclass(frozen=True, slots=True)
class _Site:
    """What is the same for every manifest of a call."""

    plan: Plan
    store: str
    stores: Mapping[str, str]
    tasks: Mapping[str, TaskDefinition]
    columns: Mapping[str, tuple[tuple[str, str], ...]]  # of the dataset types that declare any
    layout: str = LAYOUTS[0]


@dataclass(frozen=True, slots=True)
class _Tables:
    """Rows of a batch of jobs, by quantum or by dataset."""

    reads: Mapping[int, list[tuple[int, str, int]]]
    writes: Mapping[int, list[tuple[int, str, int, bool]]]
    datasets: Mapping[int, Row]
    reuse: Mapping[int, Row]


def manifests(
    plan: Plan,
    jobs: Iterable[int] | None = None,
    *,
    store: str,
    stores: Mapping[str, str],
    reuse: pl.DataFrame | None = None,
    layout: str = LAYOUTS[0],
) -> Iterator[Manifest]:
    """Give the manifest of each of these jobs, in the order given; of all by default.

    Parameters
    ----------
    store : str
        Name of the store that outputs go to.
    stores : mapping of name to URI
        All stores known; a manifest has those that its job needs.
    reuse : DataFrame, optional
        Outputs that are taken from elsewhere: quantum and dataset (rows of the plan), id, run,
        store, path, size, sha256, content, receipt. Their quanta are in no manifest; who reads
        them finds them there. Without a ``sha256`` an output was rightfully not made there, as
        its receipt says.
    layout : str
        One of `LAYOUTS`, of the local repository. With ``tar`` its names are those of the tree.

    Raises
    ------
    PrestowError
        PST-N070 if the layout is flat, and a name would be longer than a file may have.
    """
    if jobs is None:
        jobs = range(plan.tables.scan("jobs").select(pl.len()).collect().item())
    wanted = list(jobs)
    tasks = {task.label: task for task in plan.definition.tasks}
    columns = {name: kind.columns for name, kind in plan.definition.dataset_types.items() if kind.columns}
    site = _Site(plan, store, dict(stores), tasks, columns, layout)
    taken = _taken(reuse)
    for start in range(0, len(wanted), BATCH):
        yield from _batch(site, wanted[start : start + BATCH], taken)


def _taken(reuse: pl.DataFrame | None) -> tuple[frozenset[int], dict[int, Row]]:
    if reuse is None or not reuse.height:
        return frozenset(), {}
    rows = reuse
    for name in ("sha256", "content"):
        if rows.schema[name] == pl.Binary:
            rows = rows.with_columns(pl.col(name).bin.encode("hex"))
    if rows.schema["id"] != pl.String:
        rows = rows.with_columns(identity.uuid_text(pl.col("id")))
    return frozenset(reuse["quantum"].to_list()), {row["dataset"]: row for row in rows.iter_rows(named=True)}


def _batch(
    site: _Site, jobs: Sequence[int], taken: tuple[frozenset[int], dict[int, Row]]
) -> Iterator[Manifest]:
    # From here on one job at a time: a manifest is a document, and there is one for each job.
    tables = site.plan.tables
    wanted = np.unique(np.array(jobs, np.int64))
    if not len(wanted):
        return
    policy = [c for c in tables.columns("jobs") if c not in ("label", "depth")]
    chosen = rows_at(tables, "jobs", wanted, policy)
    numbers = numbers_of(chosen["first"].to_numpy(), chosen["count"].to_numpy())
    quanta = rows_at(tables, "quanta", numbers, ("quantum", "task", "data_id", "id", "recipe", "job"))
    inputs = rows_of(tables, "inputs", numbers, ("quantum", "connection", "dataset"))
    outputs = rows_of(tables, "outputs", numbers, ("quantum", "connection", "dataset", "optional"))
    ids = identity.uuid_text(pl.col("id"))
    quanta = quanta.with_columns(ids, identity.recipe_text(pl.col("recipe")))
    datasets = _datasets(site, pl.concat([inputs["dataset"], outputs["dataset"]]).unique().sort().to_numpy())

    names = dict(chosen.select("job", "name").iter_rows())
    needs = resources_of(chosen)
    by_job = {
        job: list(rows) for job, rows in groupby(quanta.iter_rows(named=True), key=lambda row: row["job"])
    }
    reads = {q: list(rows) for q, rows in groupby(inputs.iter_rows(), key=lambda row: row[0])}
    writes = {q: list(rows) for q, rows in groupby(outputs.iter_rows(), key=lambda row: row[0])}
    for job in jobs:
        rows = [row for row in by_job[job] if row["quantum"] not in taken[0]]
        yield _manifest(site, names[job], needs[job], rows, _Tables(reads, writes, datasets, taken[1]))


def _datasets(site: _Site, numbers: Numbers) -> dict[int, Row]:
    """Give the facts of datasets, with where existing ones lie and who makes the planned ones."""
    numbers = numbers.astype(np.int64)
    there = site.plan.document["totals"]["locations"]
    frames = [_existing(site, numbers[numbers < there])]
    frames += [planned(site.plan, numbers[numbers >= there])]
    return {row["dataset"]: row for frame in frames for row in frame.iter_rows(named=True)}


def _existing(site: _Site, numbers: Numbers) -> pl.DataFrame:
    tables = site.plan.tables
    columns = ("dataset", "type", "data_id", "id", "run", "planned", "format", "recipe")
    frame = rows_at(tables, "datasets", numbers, columns)
    frame = frame.with_columns(identity.uuid_text(pl.col("id")), identity.recipe_text(pl.col("recipe")))
    places = rows_at(tables, "locations", numbers, tables.columns("locations"))
    places = places.rename({"path": "place", "quantum": "maker"})
    return frame.join(places, on="dataset", how="left", maintain_order="left")


def _manifest(
    site: _Site, name: str, needs: Mapping[str, Any], rows: Sequence[Row], tables: _Tables
) -> Manifest:
    plan = site.plan
    places: dict[int, int] = {}
    inputs: list[ManifestInput] = []
    outputs: list[ManifestOutput] = []
    locations: dict[str, Location] = {}
    locals_: set[str] = set()
    lay = flat_local if site.layout == "flat" else str
    quanta = []
    for row in rows:
        task = site.tasks[row["task"]]
        reading: dict[str, list[int]] = {c.name: [] for c in task.inputs}
        for _, connection, dataset in tables.reads.get(row["quantum"], ()):
            if dataset not in places:
                places[dataset] = len(inputs)
                made, place = _input(plan, tables.datasets[dataset], tables.reuse.get(dataset), locals_)
                inputs.append(replace(made, local=lay(made.local)) if site.layout == "flat" else made)
                if place is not None:
                    locations[made.id] = place
            reading[connection].append(places[dataset])
        writing: dict[str, Connection] = {}
        for _, connection, dataset, optional in tables.writes.get(row["quantum"], ()):
            facts = tables.datasets[dataset]
            writing[connection] = Connection((len(outputs),), optional=optional)
            outputs.append(
                ManifestOutput(
                    facts["id"],
                    facts["type"],
                    json.loads(facts["data_id"]),
                    facts["format"],
                    facts["path"],
                    lay(f"outputs/{facts['path']}"),
                    site.columns.get(facts["type"], ()),
                )
            )
        minima = {c.name: c.minimum for c in task.inputs}
        quanta.append(
            ManifestQuantum(
                id=row["id"],
                task=task.label,
                data_id=json.loads(row["data_id"]),
                recipe=row["recipe"],
                receipt=receipt_name(plan.run, task.label, row["id"]),
                inputs={c: Connection(tuple(numbers), minima[c]) for c, numbers in reading.items()},
                outputs=writing,
                entry=task.entry,
                command=task.command,
                config_class=task.config_class,
                config=task.config,
                tolerate=task.on_failure is OnFailure.TOLERATE,
                ignore=task.ignore,
                prototypes=task.prototypes,
            )
        )
    code = plan.code
    needed = {site.store, *(place.store for place in locations.values())}
    return Manifest(
        job=name,
        plan=plan.id,
        run=plan.run,
        quanta=tuple(quanta),
        inputs=tuple(inputs),
        outputs=tuple(outputs),
        store=site.store,
        stores={n: site.stores[n] for n in sorted(needed) if n in site.stores},
        locations=locations,
        code=None if code is None else Code(code.sha256, site.store, code.path, code.size),
        resources=needs,
        layout=site.layout,
    )


def _input(
    plan: Plan, facts: Row, other: Row | None, taken: set[str]
) -> tuple[ManifestInput, Location | None]:
    """Give an input as it is planned, or as it lies elsewhere, and its place if it exists."""
    same = {
        "type": facts["type"],
        "data_id": json.loads(facts["data_id"]),
        "format": facts["format"],
        "recipe": facts["recipe"],
    }
    if other is not None:
        digests = {n: other[n] for n in ("size", "sha256", "content", "receipt")}
        path = other["path"] or facts["path"]
        # Rightfully not made there: its receipt says so, and names the quantum.
        maker = None if other["sha256"] else str(other["receipt"]).rsplit("/", 1)[-1].removesuffix(".json")
        local = _local(facts["type"], path, other["id"], taken)
        place = Location(other["store"], path) if other["sha256"] else None
        return ManifestInput(
            id=other["id"], run=other["run"], local=local, producer=maker, **digests, **same
        ), place
    if facts["planned"]:
        local = _local(facts["type"], facts["path"], facts["id"], taken)
        receipt = receipt_name(plan.run, facts["task"], facts["quantum"])
        return ManifestInput(
            id=facts["id"], run=facts["run"], local=local, producer=facts["quantum"], receipt=receipt, **same
        ), None
    if facts["place"] is None:
        what = f"{facts['type']} {facts['data_id']} is only promised: it is not there yet"
        fix = "take it in, then plan again: prestow plan"
        raise PlanRefusedError(Problem("PST-P056", what, f"plan {plan.id[:8]}", fix))
    digests = {n: facts[n] for n in ("size", "sha256", "content", "receipt")}
    local = _local(facts["type"], facts["place"], facts["id"], taken)
    made = ManifestInput(id=facts["id"], run=facts["run"], local=local, **digests, **same)
    return made, Location(facts["store"], facts["place"])


def _local(dataset_type: str, path: str, dataset: str, taken: set[str]) -> str:
    """Give the path in the local repository; two stores may have one path each."""
    local = f"inputs/{dataset_type}/{path}"
    if local in taken:
        local = f"inputs/{dataset_type}/{dataset}/{path}"
    taken.add(local)
    return local
