"""What is written for Pegasus, batch by batch: workflow, catalogues, packs; in parts, if there are too many jobs for one."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import polars as pl

from prestow.engines.pegasus import catalogues, parts, places
from prestow.engines.pegasus.checking import Checker
from prestow.engines.pegasus.cutting import parts as cut
from prestow.engines.pegasus.entries import Making, entries, makes_of
from prestow.engines.pegasus.files import Carried, Transport, carried_by
from prestow.engines.pegasus.manifests import INPUTS
from prestow.engines.pegasus.packing import packs_of, write_packs
from prestow.engines.pegasus.readme import output_directory, readme
from prestow.engines.pegasus.replicas import Replicas
from prestow.engines.pegasus.text import VERSION, Document, Part
from prestow.engines.pegasus.workflow import cluster_labels, dependencies, job_ids, workflow_name
from prestow.errors import PlanRefusedError, Problem
from prestow.manifest import CARRIED, Code
from prestow.plan.batches import Batch, Batches, RowGroups
from prestow.plan.manifest_text import Frame, manifest_texts
from prestow.plan.pieces import Texts
from prestow.plan.ranges import once
from prestow.plan.retrying import Retries, read_retries
from prestow.site import PEGASUS, Site, products_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.plan import Plan

    Numbers = npt.NDArray[np.int64]

JOBS, ROWS = 8000, 80_000
"""How many jobs, and inputs of them, are in memory as text at one time."""

EDGES = 200_000
"""How many edges are, likewise."""

SCHEMA = "prestow.submission/1"


@dataclass(frozen=True, slots=True)
class Given:
    """What an emission is made of; see `prestow.engines.pegasus.emission.emit`."""

    plan: Plan
    site: Site
    store: str
    reuse: pl.DataFrame | None
    receipts: Mapping[str, bytes]
    submission: int
    home: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Totals:
    """How much was written."""

    jobs: int
    edges: int
    inputs: int
    receipts: int
    packs: int
    parts: int


@dataclass(frozen=True, slots=True)
class _Jobs:
    """All jobs of the plan by number, and those that have something to do."""

    chosen: Numbers
    ids: pl.Series
    clusters: pl.Series
    edges: pl.DataFrame
    part: npt.NDArray[np.int64]  # of each job; -1 of those that have nothing to do
    parts: int
    of_quantum: npt.NDArray[np.int64]
    words: pl.Series


def write(given: Given, directory: Path, into: Path) -> Totals:
    """Write all of it into a directory that is there and empty, and will be called ``into``.

    Raises
    ------
    PlanRefusedError
        PST-E004 to PST-E009, PST-E050 to PST-E063.
    """
    return _Writing(given, directory, into).run()


class _Writing:
    def __init__(self, given: Given, directory: Path, into: Path) -> None:
        plan, site = given.plan, given.site
        self._given, self._directory, self._into = given, directory, into
        self._settings = catalogues.settings_of(site)
        landing = products_of(site, given.store) == "landing"
        self._transport = Transport(given.store, site.layout, self._settings.staging == PEGASUS, landing)
        self._places = places.Places.of(site, given.store, given.home, landing=landing)
        self._output = None
        if self._places.landed is not None:
            self._output = output_directory(self._places.landed, plan.id, given.submission)
        self._jobs = _jobs_of(given)
        self._retries: Retries = read_retries(plan.directory)
        self._code, self._nodes = self._code_told(), catalogues.node_files(site)
        self._private = places.private(plan, self._jobs.chosen, self._transport)
        lands = f"_landing/{plan.id}/{given.submission}/" if landing else ""
        self._replicas = Replicas(self._transport, self._places, lands)
        self._packs: list[str] = []
        self._receipts = 0
        self._workflows: dict[int, Part] = {}

    def run(self) -> Totals:
        given, jobs = self._given, self._jobs
        for name, data in self._nodes.items():
            self._bring(self._transport.name(name), data)
        named = pl.DataFrame(
            {"job": jobs.chosen, "id": jobs.ids[jobs.chosen], "words": jobs.words[jobs.chosen]}
        )
        checker = Checker(named, condorio=self._settings.data == "condorio", flat=given.site.layout == "flat")
        for batch, numbers in self._batches():
            self._write(batch, numbers, checker)
            del batch  # the next needs its memory
        self._write_replicas(checker)
        self._write_dependencies()
        if jobs.parts > 1:
            self._write_root()
        checker.finish(jobs.edges, lambda: (self._uses(), self._exists()))
        self._write_catalogues()
        totals = Totals(
            len(jobs.chosen), jobs.edges.height, self._replicas.count, self._receipts, len(self._packs),
            jobs.parts if jobs.parts > 1 else 0,
        )  # fmt: skip
        self._tell(totals)
        return totals

    # ------------------------------------------------------------ jobs

    def _batches(self) -> Iterator[tuple[Batch, Numbers]]:
        """Read the jobs, some at a time."""
        plan, chosen = self._given.plan, self._jobs.chosen
        quantum = RowGroups(plan.tables).whole("inputs", ["quantum"])["quantum"].to_numpy()
        reads = np.bincount(self._jobs.of_quantum[quantum], minlength=len(self._jobs.ids))[chosen]
        reads += np.bincount(self._jobs.of_quantum, minlength=len(self._jobs.ids))[chosen]
        ends = np.cumsum(reads)
        batches = Batches(plan, self._given.reuse)
        start = 0
        while start < len(chosen):
            before = ends[start - 1] if start else 0
            end = max(int(np.searchsorted(ends, before + ROWS, "right")), start + 1)
            end = min(end, start + JOBS, len(chosen))
            numbers = chosen[start:end]
            yield batches.of(numbers), numbers
            start = end

    def _tars(self, batch: Batch, numbers: Numbers) -> dict[str, pl.Series] | None:
        if self._private is None:
            return None
        return places.members(batch, self._private, self._jobs.ids[numbers], self._transport)

    def _carried(
        self, batch: Batch, tars: dict[str, pl.Series] | None, part: Numbers | None = None
    ) -> Carried:
        return carried_by(batch, self._transport, self._given.plan.run, tars, part)

    def _write(self, batch: Batch, numbers: Numbers, checker: Checker) -> None:
        given, jobs = self._given, self._jobs
        tars = self._tars(batch, numbers)
        if tars is not None:
            places.write_tars(batch, tars, self._places, self._directory / INPUTS)
        carried = self._carried(batch, tars, jobs.part[numbers])
        packs = packs_of(batch)
        first = len(self._packs)
        names = [self._transport.name(f"manifests/{first + k:05d}.pack") for k in range(len(packs))]
        self._packs += names
        pack = np.repeat(np.arange(len(packs)), [end - start for start, end in packs])
        texts = manifest_texts(
            batch, packs, given.plan.definition, self._frame(), carried.places,
            {n: c.memory for n, c in self._retries.jobs.items() if c.memory is not None},
        )  # fmt: skip
        write_packs(texts, batch.jobs["name"], packs, [self._directory / INPUTS / name for name in names])
        making = Making(
            given.plan.definition,
            self._settings,
            self._transport,
            self._node_words(),
            self._common(),
            self._retries.jobs,
        )
        of_job = pl.Series(names)[pack]
        mine = None if tars is None else _tar_of(batch, tars)
        text, makes = entries(
            batch,
            making,
            carried,
            ids=jobs.ids[numbers],
            clusters=jobs.clusters[numbers],
            packs=of_job,
            tars=mine,
        )
        self._receipts += batch.quanta.height
        self._write_entries(text, jobs.part[numbers])
        self._note(carried, numbers)
        checker.uses(_uses_of(carried, makes, of_job, mine, self._common(), numbers))

    def _write_entries(self, texts: Texts, part: Numbers) -> None:
        """Write the entries of jobs into the workflows that they are parts of."""
        order = np.argsort(part, kind="stable")
        if self._jobs.parts > 1:
            texts = texts.taken(order)
        bounds = [0, *(np.flatnonzero(np.diff(part[order])) + 1).tolist(), len(part)]
        for start, end in pairwise(bounds):
            workflow = self._workflow(int(part[order[start]]))
            for at in range(start, end, 1000):  # so many at once that memory is used again and again
                workflow.add(texts.octets(at, min(at + 1000, end))[0])

    def _workflow(self, part: int) -> Part:
        if part not in self._workflows:
            plan = self._given.plan
            name = workflow_name(plan.run, plan.id)
            path = self._directory / "workflow.yml"
            if self._jobs.parts > 1:
                name, path = f"{name}-{part}", self._directory / parts.PARTS / parts.part_name(part)
                path.parent.mkdir(parents=True, exist_ok=True)
            head = {"pegasus": VERSION, "name": name, "metadata": {"plan": plan.id, "run": plan.run}}
            self._workflows[part] = Part(path, head, "jobs")
        return self._workflows[part]

    def _write_dependencies(self) -> None:
        """Write who waits for whom in one workflow."""
        jobs = self._jobs
        parent, child = (jobs.part[jobs.edges[name].to_numpy()] for name in ("parent", "child"))
        inside = jobs.edges.filter(pl.Series(parent == child)).sort("parent", "child")
        of = jobs.part[inside["parent"].to_numpy()]
        for part, workflow in sorted(self._workflows.items()):
            workflow.list("jobDependencies")
            mine = inside.filter(pl.Series(of == part)) if jobs.parts > 1 else inside
            for piece in _by_parent(mine):
                texts = dependencies(piece, jobs.ids)
                workflow.add(texts.octets(0, len(texts.first) - 1)[0])
            workflow.close()

    def _write_root(self) -> None:
        """Write the workflow of workflows, and where its parts are."""
        given, jobs = self._given, self._jobs
        name = workflow_name(given.plan.run, given.plan.id)
        head = {"pegasus": VERSION, "name": name, "metadata": {"plan": given.plan.id, "run": given.plan.run}}
        root = Part(self._directory / "workflow.yml", head, "jobs")
        root.entries(parts.part_entries(given.site, self._into, jobs.parts, self._output))
        root.list("jobDependencies")
        known = pl.DataFrame({"job": jobs.chosen, "part": jobs.part[jobs.chosen]})
        waits = parts.part_edges(jobs.edges, known)
        if waits.height:
            texts = dependencies(waits, pl.Series([parts.part_id(k) for k in range(jobs.parts)]))
            root.add(texts.octets(0, len(texts.first) - 1)[0])
        root.close()
        catalogue = Part(self._directory / "replicas.yml", {"pegasus": VERSION}, "replicas")
        catalogue.entries(parts.part_replicas(self._into, jobs.parts))
        catalogue.close()

    # ------------------------------------------------------------ files

    def _note(self, carried: Carried, numbers: Numbers) -> None:
        """Keep what exists, for the catalogues, by the part that reads it."""
        jobs = self._jobs
        self._replicas.note(carried, jobs.part[numbers[carried.replicas["job"].to_numpy()]])
        if jobs.parts > 1:
            made = carried.crossing
            mine = jobs.part[numbers[made["job"].to_numpy()]]
            other = mine != jobs.part[jobs.of_quantum[made["maker"].to_numpy()]]
            self._replicas.note_made(made["name"].filter(pl.Series(other)), mine[other])

    def _write_replicas(self, checker: Checker) -> None:
        """Write the catalogues of what exists."""
        if self._code is not None:
            self._replicas.note_code(self._code, self._code_path(), self._jobs.parts)
        for name, path in self._replicas.settle(self._given.receipts):
            self._bring(name, self._given.receipts[path])
        checker.exists(self._brought())
        for part in sorted(self._workflows):
            top = self._directory / parts.PARTS / str(part) if self._jobs.parts > 1 else self._directory
            for rows in self._replicas.write(part, top / "replicas.yml"):
                checker.exists(rows)

    def _brought(self) -> pl.DataFrame:
        """Give what the emission itself has, as files that exist."""
        top = str(self._directory / INPUTS)
        names = sorted(
            os.path.join(at, name)[len(top) + 1 :] for at, _, found in os.walk(top) for name in found
        )
        return pl.DataFrame({"name": names}, schema={"name": pl.String}).with_columns(url=pl.lit("file:///"))

    def _exists(self) -> Iterator[pl.DataFrame]:
        """Give the files that exist once more."""
        yield self._brought()
        yield from self._replicas.again(self._jobs.parts)

    def _write_catalogues(self) -> None:
        site, directory = self._given.site, self._directory
        images = list(catalogues.container_entries(site))
        for name, lists in (
            ("sites", {"sites": catalogues.site_entries(site, self._places.landed)}),
            (
                "transformations",
                {
                    "transformations": catalogues.transformation_entries(site),
                    **({"containers": images} if images else {}),
                },
            ),
        ):
            with (
                (directory / f"{name}.yml").open("w", encoding="utf-8") as stream,
                Document(stream, {"pegasus": VERSION}) as document,
            ):
                for key, found in lists.items():
                    document.entries(key, found)
        more = "dagman.maxpre = 2\n" if self._jobs.parts > 1 else ""  # each planner has a gigabyte
        more += catalogues.properties(site, lands=self._transport.landing)
        (directory / "pegasus.properties").write_text(more, encoding="utf-8")

    def _tell(self, totals: Totals) -> None:
        """Say what was written, for people and for who reads it again."""
        given, plan = self._given, self._given.plan
        name = workflow_name(plan.run, plan.id)
        page = readme(
            given.site, name=name, jobs=totals.jobs, plan=plan.id, run=plan.run, submission=given.submission,
            landing=self._places.landed, parts=totals.parts,
        )  # fmt: skip
        (self._directory / "README.md").write_text(page, encoding="utf-8")
        told = {
            "schema": SCHEMA, "plan": plan.id, "run": plan.run, "site": given.site.name, "submission": given.submission,
            "store": given.store, "stores": dict(sorted(given.site.stores.items())), "data": self._settings.data,
            "staging": self._settings.staging, "products": "landing" if self._transport.landing else "store",
            "layout": given.site.layout, "node": self._settings.node, "node_lfn": self._common()[-1] if self._nodes else "",
            "settled": _ranges(given.reuse), "jobs": totals.jobs, "edges": totals.edges, "inputs": totals.inputs,
            "receipts": totals.receipts, "packs": totals.packs, "parts": totals.parts,
        }  # fmt: skip
        (self._directory / "submission.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")

    def _bring(self, name: str, data: bytes) -> None:
        path = self._directory / INPUTS / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)

    # ------------------------------------------------------------ what is the same for all jobs

    def _code_told(self) -> Code | None:
        code = self._given.plan.code
        return (
            None if code is None else Code(code.sha256, CARRIED, self._transport.name(code.path), code.size)
        )

    def _code_path(self) -> str:
        assert self._given.plan.code is not None
        return self._given.plan.code.path

    def _common(self) -> list[str]:
        code = () if self._code is None else (self._code.path,)
        return [*code, *(self._transport.name(name) for name in self._nodes)]

    def _node_words(self) -> list[str]:
        return [
            self._transport.name(w) if w in self._nodes else w
            for w in catalogues.node_words(self._given.site)
        ]

    def _frame(self) -> Frame:
        given = self._given
        own = {} if self._transport.landing else {given.store: given.site.stores[given.store]}
        more = {} if self._transport.staging else dict(given.site.stores)
        if self._transport.landing:
            more.pop(given.store, None)
        stores = dict(sorted({**more, **own}.items()))
        return Frame(given.plan.id, given.plan.run, given.store, stores, self._code, given.site.layout)

    def _uses(self) -> Iterator[pl.DataFrame]:
        """Give the files of all jobs once more."""
        first = 0
        for batch, numbers in self._batches():
            tars = self._tars(batch, numbers)
            packs = packs_of(batch)
            names = self._packs[first : first + len(packs)]
            first += len(packs)
            pack = np.repeat(np.arange(len(packs)), [end - start for start, end in packs])
            makes = makes_of(batch, self._transport)
            mine = None if tars is None else _tar_of(batch, tars)
            yield _uses_of(
                self._carried(batch, tars),
                makes,
                pl.Series(names)[pack],
                mine,
                self._common(),
                numbers,
            )


def _jobs_of(given: Given) -> _Jobs:
    plan = given.plan
    settings = catalogues.settings_of(given.site)
    rows = RowGroups(plan.tables)
    jobs = rows.whole("jobs", ["job", "name", "label", "depth"])
    quanta = rows.whole("quanta", ["quantum", "job"])
    of_quantum = quanta["job"].to_numpy().astype(np.int64)
    left = (
        quanta
        if given.reuse is None
        else quanta.join(
            given.reuse.select(pl.col("quantum").cast(pl.UInt32)).unique(), on="quantum", how="anti"
        )
    )
    chosen = once(left["job"].to_numpy().astype(np.int64))
    if not len(chosen):
        raise PlanRefusedError(
            Problem("PST-E009", "there is nothing to do", f"plan {plan.id[:8]}", "prestow status")
        )
    edges = rows.whole("job_edges", ["parent", "child"])
    if len(chosen) < jobs.height:
        wanted = pl.Series(chosen, dtype=pl.UInt32).implode()
        edges = edges.filter(pl.col("parent").is_in(wanted) & pl.col("child").is_in(wanted))
    part, count = np.full(jobs.height, -1), 1
    part[chosen] = 0
    if len(chosen) > settings.workflow_jobs:
        part[chosen] = cut(jobs.select("job", "depth")[chosen], edges, settings.workflow_jobs).to_numpy()
        count = int(part.max()) + 1
    return _Jobs(
        chosen,
        job_ids(jobs["name"]),
        cluster_labels(jobs, settings.cluster),
        edges,
        part,
        count,
        of_quantum,
        jobs["name"],
    )


def _tar_of(batch: Batch, tars: Mapping[str, pl.Series]) -> pl.Series:
    """Give the tar of each job, null where it has none."""
    column = pl.Series([None], dtype=pl.String).new_from_index(0, batch.jobs.height)
    has = tars["tar"].is_not_null()
    if not has.any():
        return column
    rows = batch.items["job"].filter(has)
    first = rows.is_first_distinct()
    return column.clone().scatter(rows.filter(first), tars["tar"].filter(has).filter(first))


def _uses_of(
    carried: Carried,
    makes: pl.DataFrame,
    packs: pl.Series,
    tars: pl.Series | None,
    common: list[str],
    numbers: Numbers,
) -> pl.DataFrame:
    """Give all files of some jobs, as they are checked."""
    every = np.arange(len(numbers))
    mine = [(every, packs), *((every, pl.Series([name]).new_from_index(0, len(every))) for name in common)]
    if tars is not None:
        has = tars.is_not_null()
        mine.append((np.flatnonzero(has.to_numpy()), tars.filter(has)))
    frames = [pl.DataFrame({"job": job, "name": name}) for job, name in mine]
    reads = pl.concat([*frames, carried.reads]).with_columns(output=pl.lit(value=False))
    uses = pl.concat([reads, makes.with_columns(output=pl.lit(value=True))])
    return uses.with_columns(job=pl.Series(numbers)[uses["job"]])


def _by_parent(edges: pl.DataFrame) -> Iterator[pl.DataFrame]:
    """Give sorted edges piece by piece, all of one parent in one."""
    parents = edges["parent"].to_numpy()
    start = 0
    while start < len(parents):
        end = min(start + EDGES, len(parents))
        end = int(np.searchsorted(parents, parents[end - 1], "right"))
        yield edges[start:end]
        start = end


def _ranges(reuse: pl.DataFrame | None) -> list[list[int]]:
    """Give numbers of quanta that are left out, as first and last of what stands together."""
    if reuse is None or not reuse.height:
        return []
    numbers = once(reuse["quantum"].to_numpy().astype(np.int64))
    breaks = np.flatnonzero(np.diff(numbers) > 1)
    firsts, lasts = numbers[[0, *(breaks + 1)]], numbers[[*breaks, -1]]
    return [[int(a), int(b)] for a, b in zip(firsts, lasts, strict=True)]
