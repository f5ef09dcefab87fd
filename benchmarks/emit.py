"""A plan written for Pegasus: 100,000 jobs that each read three files and make two, beside Pegasus's own interface.

    python benchmarks/emit.py [--large] [--jobs 100000]

Each figure is of a new process: user and system time of all its threads, without its imports. What reading the
plan costs is measured by a process that reads every row once, and taken off. Pegasus's interface builds and writes
the very same workflow and catalogues of 10,000 jobs. With ``--large`` a million jobs, as a workflow of workflows.
"""

from __future__ import annotations

import argparse
import json
import sqlite3
import sys
import tempfile
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy.ma  # noqa: F401 - as below
import polars as pl
import pyarrow.parquet  # noqa: F401 - imports are not what is measured: Polars loads both when it first needs them
import survey
from plan import NotThereError, say
from plan import child as child_of
from plan_child import Clock, cpu, peak

from prestow.engines.pegasus import emission, writing
from prestow.pipeline.definition import CodeBundle, Pipeline
from prestow.plan import Request, build_plan, open_plan, write_plan
from prestow.registry import Registry
from prestow.site import PegasusSettings, Site
from prestow.testing.surveys import dataset_type, task

CHIPS = len(survey.detectors())
SECOND = 1 / len(survey.BANDS)
"""Of the jobs of the first task so many are read by another job."""

JOBS, BESIDE, LARGE = 100_000, 10_000, 1_000_000
WORKFLOW, ALL, RATIO, MEMORY, MILLION = 1.5, 2.5, 60.0, 300.0, 30.0
STORES = {"output": "file:///shared/output", "archive": "file:///shared/archive"}


def request() -> Request:
    """Give two tasks of three inputs and two outputs each; the second has the visits of one band."""
    detector = ("visit", "detector")
    types = (
        dataset_type("raw", "exposure", "detector", template=""),
        dataset_type("bias", "detector", template=""),
        dataset_type("dark", "detector", template=""),
        *(
            dataset_type(
                n,
                *detector,
                template=f"{{run}}/{n}/{{instrument}}/{{visit}}/{n}_{{visit}}_{{detector:03d}}.fits",
            )
            for n in ("ccd", "noise", "stars", "model")
        ),
    )
    needs = {"resources": {"memory": 2_000_000_000, "walltime": 300.0}, "hints": {"cpu_seconds": 60.0}}
    tasks = (
        task("isr", detector, ["raw", "bias", "dark"], ["ccd", "noise"], **needs),
        task("measure", detector, ["ccd", "noise", "dark"], ["stars", "model"], where="band = 'g'", **needs),
    )
    code = CodeBundle(b"a made-up survey", "0" * 64)
    pipeline = Pipeline("emission", "", tasks, {t.name: t for t in types}, (), code)
    return Request("bench", pipeline, survey.universe(), ("raw", "calib"))


def planned(jobs: int) -> Path:
    """Give the directory of a plan of so many jobs, or a few more; made once and kept."""
    kept = survey.scratch() / f"emission-3-{jobs}"
    if not kept.is_dir():
        sky = survey.make_sky(-(-jobs * 103 // round(100 * CHIPS * (1 + SECOND))), 0, 1)
        sky = survey.Sky(sky.visits, sky.pairs.head(100), sky.raws)
        making = Path(tempfile.mkdtemp(prefix="making-", dir=survey.scratch()))
        with Registry.open(f"sqlite:///{making}/registry.db", survey.universe(), create=True) as registry:
            survey.fill(registry, sky)
        with sqlite3.connect(making / "registry.db") as database:  # Pegasus's tools would not carry them
            database.execute("UPDATE artifact SET path = replace(replace(path, ',', '-'), '=', '-')")
        database.close()
        with Registry.open(f"sqlite:///{making}/registry.db", survey.universe(), read_only=True) as registry:
            write_plan(build_plan(request(), registry), making)
        (making / "registry.db").unlink()
        making.rename(kept)
    return next(path for path in kept.iterdir() if path.is_dir())


def site(workflow_jobs: int, products: str = "store") -> Site:
    """Give a pool whose nodes see the stores, or the one for inputs alone."""
    settings = PegasusSettings(
        "/usr/bin/python3",
        "/shared/pegasus",
        data="nonsharedfs",
        workflow_jobs=workflow_jobs,
        products=products,
    )
    stores = {name: uri for name, uri in STORES.items() if products == "store" or name != "output"}
    return Site("pool", "pegasus", stores=stores, pegasus=settings)


# --- each in a process of its own


def read(path: str) -> dict[str, Any]:
    """Read every row of what an emission needs, once, some row groups at a time."""
    start, rows = cpu(), 0
    plan = open_plan(Path(path))
    for name in ("datasets", "locations", "quanta", "inputs", "outputs", "jobs", "job_edges"):
        file = plan.tables.file(name)
        for group in range(file.num_row_groups):
            frame = pl.from_arrow(file.read_row_group(group, use_threads=False))
            rows += frame.height
    return {"cpu": cpu() - start, "rows": rows}


def write(path: str, workflow_jobs: str, products: str = "store") -> dict[str, Any]:
    """Write the whole directory; tell what manifests take of it."""
    clock = Clock()
    for name in ("manifest_texts", "write_packs"):
        setattr(writing, name, clock.timed(getattr(writing, name)))
    with tempfile.TemporaryDirectory(prefix="emitted-", dir=survey.scratch()) as scratch:
        start, begin = cpu(), time.perf_counter()
        place = site(int(workflow_jobs), products)
        made = emission.emit(open_plan(Path(path)), place, Path(scratch) / "out", store="output", home=STORES)
        spent = cpu() - start
        wall = time.perf_counter() - begin
    facts = {
        "jobs": made.jobs,
        "edges": made.edges,
        "bytes": made.size,
        "packs": made.packs,
        "parts": made.parts,
    }
    return {"cpu": spent, "manifests": sum(clock.spent.values()), "wall": wall, "rss": peak() * 1024, **facts}


def by_the_interface(path: str) -> dict[str, Any]:
    """Build and write with ``Pegasus.api`` what was written of a plan: the same jobs, files, edges and replicas."""
    try:
        import Pegasus.api as api
    except ImportError as error:
        return {"absent": str(error)}
    with tempfile.TemporaryDirectory(prefix="emitted-", dir=survey.scratch()) as scratch:
        out = Path(scratch) / "out"
        emission.emit(open_plan(Path(path)), site(1 << 30), out, store="output")
        workflow, replicas = (
            json.loads((out / f"{name}.yml").read_text()) for name in ("workflow", "replicas")
        )
        start = cpu()
        made = api.Workflow(workflow["name"], infer_dependencies=False)
        made.add_metadata(**workflow["metadata"])
        jobs = {}
        for entry in workflow["jobs"]:
            job = api.Job(
                entry["name"], namespace=entry["namespace"], _id=entry["id"], node_label=entry["nodeLabel"]
            )
            job.add_args(*entry["arguments"])
            for use in entry["uses"]:
                if use["type"] == "input":
                    job.add_inputs(api.File(use["lfn"]))
                else:
                    file = api.File(use["lfn"]).add_metadata(**use["metadata"])
                    job.add_outputs(file, stage_out=use["stageOut"], register_replica=use["registerReplica"])
            told = entry["profiles"]["pegasus"]
            job.add_pegasus_profile(
                **{**told, "memory": f"{told['memory']} MB", "diskspace": f"{told['diskspace']} MB"}
            )
            dagman = entry["profiles"]["dagman"]
            job.add_dagman_profile(retry=dagman["RETRY"], priority=dagman["PRIORITY"])
            jobs[entry["id"]] = job
            made.add_jobs(job)
        for entry in workflow["jobDependencies"]:
            made.add_dependency(jobs[entry["id"]], children=[jobs[child] for child in entry["children"]])
        made.write(str(out / "theirs.yml"))
        catalogue = api.ReplicaCatalog()
        for entry in replicas["replicas"]:
            file = api.File(entry["lfn"], size=(entry.get("metadata") or {}).get("size"))
            catalogue.add_replica("local", file, entry["pfns"][0]["pfn"], checksum=entry.get("checksum"))
        catalogue.write(str(out / "theirs-replicas.yml"))
        return {"cpu": cpu() - start, "jobs": len(jobs), "rss": peak() * 1024}


# --- all of it


child = partial(child_of, program=__file__)


def best(tries: int, *words: object) -> dict[str, Any]:
    """Give the try that took least CPU: whatever else runs on the machine only adds."""
    return min((child(*words) for _ in range(tries)), key=lambda found: found["cpu"])


def cost(jobs: int, workflow_jobs: int, tries: int, products: str = "store") -> tuple[dict[str, Any], float]:
    """Give what an emission took, and what reading the plan takes."""
    path = planned(jobs)
    reading = best(tries, "read", path)["cpu"]
    return best(tries, "write", path, workflow_jobs, products), reading


def told(facts: dict[str, Any], reading: float) -> str:
    """Say what was written."""
    parts = f" in {facts['parts']} parts" if facts["parts"] else ""
    return (
        f"{facts['jobs']:,} jobs{parts}, {facts['edges']:,} edges, {facts['packs']:,} packs, {facts['bytes'] / 1e6:,.0f} MB; "
        f"{facts['cpu']:.2f} s CPU in all, {facts['manifests']:.2f} s of it manifests, {facts['wall']:.2f} s wall; reading the plan {reading:.2f} s"
    )


def main(words: Sequence[str]) -> int:
    """Measure; give the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--jobs", type=int, default=JOBS)
    parser.add_argument("--large", action="store_true", help="a million jobs, too")
    parser.add_argument("--tries", type=int, default=3)
    options = parser.parse_args(words)
    missing = []

    def interface() -> None:
        theirs = best(1, "by-the-interface", planned(BESIDE))
        facts, _ = cost(BESIDE, 1 << 30, options.tries)
        ours = facts["cpu"] - facts["manifests"]
        note = f"{theirs['jobs']:,} jobs: Pegasus.api {theirs['cpu']:.2f} s CPU and {theirs['rss']:.0f} MiB, prestow {ours:.3f} s with reading the plan"
        say("api-over-prestow", theirs["cpu"] / ours, "times the CPU", beside=RATIO, note=note)

    def many() -> None:
        facts, reading = cost(options.jobs, 1 << 30, options.tries)
        note = told(facts, reading)
        spent = facts["cpu"] - reading
        say("emit-100k-cpu-s", spent - facts["manifests"], "s CPU", beside=WORKFLOW, note=note)
        say("emit-all-100k-cpu-s", spent, "s CPU", beside=ALL, note=note)
        say(
            "emit-rss-mib",
            facts["rss"],
            "MiB",
            beside=MEMORY,
            note="the most that the process had, imports and all",
        )
        facts, reading = cost(options.jobs, 1 << 30, options.tries, "landing")
        say("emit-landing-100k-cpu-s", facts["cpu"] - reading, "s CPU", note=told(facts, reading))

    def million() -> None:
        facts, reading = cost(LARGE, 10_000, 1)
        say(
            "emit-1m-s",
            facts["wall"],
            "s",
            beside=MILLION,
            note=f"{told(facts, reading)}; {facts['rss']:.0f} MiB",
        )

    for step in (many, interface, *((million,) if options.large else ())):
        try:
            step()
        except NotThereError as error:
            missing.append(str(error))
            print(f"# not there: {error}", file=sys.stderr)
    return 1 if missing else 0


if __name__ == "__main__":
    STEPS = {"read": read, "write": write, "by-the-interface": by_the_interface}
    if len(sys.argv) > 1 and sys.argv[1] in STEPS:
        print(json.dumps(STEPS[sys.argv[1]](*sys.argv[2:])))
    else:
        sys.exit(main(sys.argv[1:]))
