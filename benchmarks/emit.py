"""A plan written for Pegasus: 100,000 jobs that each read three files and make two, beside Pegasus's own interface.

    python benchmarks/emit.py [--large] [--jobs 100000]

Each figure is of a new process: user and system time of all its threads, without its imports. What reading the
plan costs is measured by a process that reads every row once, and taken off. Pegasus's interface builds and writes
the very same workflow and catalogues of 10,000 jobs. With ``--large`` a million jobs, as a workflow of workflows.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import survey
from plan import NotThereError, say
from plan_child import cpu, peak

from prestow.engines.pegasus import emission
from prestow.pipeline.definition import CodeBundle, Pipeline
from prestow.plan import Request, build_plan, open_plan, write_plan
from prestow.registry import Registry
from prestow.site import PegasusSettings, Site
from prestow.testing.surveys import dataset_type, task

IMPORTS = cpu()
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
            dataset_type(n, *detector, template=f"{{run}}/{n}/{{instrument}}/{{visit}}/{n}_{{visit}}_{{detector:03d}}.fits")
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
    kept = survey.scratch() / f"emission-1-{jobs}"
    if not kept.is_dir():
        sky = survey.make_sky(-(-jobs // round(CHIPS * (1 + SECOND))), 0, 1)
        sky = survey.Sky(sky.visits, sky.pairs.head(100), sky.raws)
        making = Path(tempfile.mkdtemp(prefix="making-", dir=survey.scratch()))
        with Registry.open(f"sqlite:///{making}/registry.db", survey.universe(), create=True) as registry:
            survey.fill(registry, sky)
            write_plan(build_plan(request(), registry), making)
        (making / "registry.db").unlink()
        making.rename(kept)
    return next(path for path in kept.iterdir() if path.is_dir())


def site(workflow_jobs: int) -> Site:
    """Give a pool whose nodes see the stores."""
    settings = PegasusSettings("/usr/bin/python3", "/shared/pegasus", data="nonsharedfs", workflow_jobs=workflow_jobs)
    return Site("pool", "pegasus", stores=STORES, pegasus=settings)


# --- each in a process of its own


def read(path: str) -> dict[str, Any]:
    """Read every row of what an emission needs, once, some row groups at a time."""
    import polars as pl

    start, rows = cpu(), 0
    plan = open_plan(Path(path))
    for name in ("datasets", "locations", "quanta", "inputs", "outputs", "jobs", "job_edges"):
        file = plan.tables.file(name)
        for group in range(file.num_row_groups):
            frame = pl.from_arrow(file.read_row_group(group, use_threads=False))
            rows += frame.height
    return {"cpu": cpu() - start, "rows": rows}


def write(path: str, workflow_jobs: str, manifests: str = "yes") -> dict[str, Any]:
    """Write the whole directory, or all but the manifests."""
    start = cpu()
    with tempfile.TemporaryDirectory(prefix="emitted-", dir=survey.scratch()) as scratch:
        before = cpu()
        made = emission.emit(
            open_plan(Path(path)), site(int(workflow_jobs)), Path(scratch) / "out", store="output",
            manifests=manifests == "yes",
        )  # fmt: skip
        spent = cpu() - before
    facts = {"jobs": made.jobs, "edges": made.edges, "bytes": made.size, "packs": made.packs}
    return {"cpu": spent, "imports": start, "rss": peak() * 1024, **facts}


if __name__ == "__main__":
    print(planned(int(sys.argv[1])))


if __name__ == "__main__":
    print(planned(int(sys.argv[1])))
