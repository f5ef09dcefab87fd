"""What prestow costs above bare Dask: 1,000 trivial jobs on 2 workers, and the run after that has nothing to do.

Bare Dask gets the same inputs and writes the same number of files as durably: it reads a JSON file,
writes a product aside, moves it to its name, and puts a receipt and a report beside it. Rounds of
both alternate on one cluster; CPU is that of client, scheduler and workers together.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import distributed
import psutil

from prestow.engines.dask import DaskEngine
from prestow.engines.running import run_plan
from prestow.stores import open_store
from prestow.testing.campaigns import Campaign

PIPELINE = """
schema: prestow.pipeline/1
name: trivial
code: [toytasks.py]
dataset_types:
  raw: {dimensions: [visit], format: json}
  doubled: {dimensions: [visit], format: json}
tasks:
  double: {dimensions: [visit], run: "toytasks:double", inputs: {raw: raw}, outputs: {doubled: doubled}}
"""


def bare_job(uri: str, n: int, receipt: str, report: str) -> int:
    """Do what the toy task does, and write as many files, each as durably."""
    store = open_store(uri)
    value = json.loads(store.read(f"raw/toy/raw-{n + 1}.json"))
    with store.create(f"bare-aside/{n}/0") as file:
        file.write(json.dumps({**value, "flux": 2 * value["flux"]}).encode())
    store.put_if_absent(f"bare-receipts/{n % 256:02x}/{n}.json", receipt.encode())
    store.move(f"bare-aside/{n}/0", f"bare/doubled/doubled-{n}.json")
    store.put_if_absent(f"bare-reports/{n}/0.json", report.encode())
    return n


def cpu_seconds() -> float:
    """Give the CPU time of this process and all below it that live."""
    total = 0.0
    for process in [psutil.Process(), *psutil.Process().children(recursive=True)]:
        try:
            times = process.cpu_times()
        except psutil.NoSuchProcess:
            continue
        total += times.user + times.system
    return total


def run_ours(engine: DaskEngine, directory: Path, jobs: int) -> float:
    campaign = Campaign(directory, visits=jobs, pipeline=PIPELINE)
    plan = campaign.plan("trivial")
    before = cpu_seconds()
    result = run_plan(plan, engine=engine, stores=campaign.stores)
    spent = cpu_seconds() - before
    assert result.counts == {"made": jobs}, result
    return spent


def run_bare(client: Any, uri: str, jobs: int, receipt: str, report: str) -> float:  # Any: not typed
    from dask_overhead import (
        bare_job as job,  # by name: a function of __main__ would be pickled whole each time
    )

    before = cpu_seconds()
    futures = [
        client.submit(job, uri, n, receipt, report, key=f"bare-{os.urandom(4).hex()}-{n}", pure=False)
        for n in range(jobs)
    ]
    done = distributed.as_completed(futures, loop=client.loop, with_results=True)
    assert sum(len(batch) for batch in done.batches()) == jobs
    return cpu_seconds() - before


def texts(directory: Path) -> tuple[str, str]:
    """Give a receipt and a report as they really are."""
    store = directory / "store"
    return tuple(next((store / name).rglob("*.json")).read_text() for name in ("_receipts", "_attempts"))  # type: ignore[return-value]


def rerun(directory: Path) -> float:
    """Type ``prestow run`` again for the same plan; give its seconds."""
    (plan,) = (directory / "plans").iterdir()
    command = [sys.executable, "-m", "prestow", "-C", str(directory), "--json", "run", str(plan)]
    begin = time.monotonic()
    done = subprocess.run(command, check=True, capture_output=True)
    assert json.loads(done.stdout)["jobs"] == 0
    return time.monotonic() - begin


def say(name: str, value: float, unit: str, beside: str, ratio: float | None, note: str) -> None:
    print(
        json.dumps(
            {
                "name": name,
                "value": round(value, 3),
                "unit": unit,
                "beside": beside,
                "ratio": ratio,
                "note": note,
            }
        ),
        flush=True,
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    jobs = options.jobs
    sys.path.insert(0, str(Path(__file__).resolve().parent))  # so that workers can import this file
    ours, bare, again = [], [], []
    with tempfile.TemporaryDirectory() as scratch, DaskEngine(2) as engine:
        warm = Path(scratch) / "warm"
        run_ours(engine, warm, 20)
        receipt, report = texts(warm)
        for n in range(options.rounds):
            directory = Path(scratch) / f"round-{n}"
            ours.append(run_ours(engine, directory, jobs) / jobs * 1000)
            bare.append(
                run_bare(engine.client, f"file://{directory}/store", jobs, receipt, report) / jobs * 1000
            )
            again.append(rerun(directory))
            print(
                f"round {n}: ours {ours[-1]:.2f} ms, bare {bare[-1]:.2f} ms a job, again {again[-1]:.2f} s",
                file=sys.stderr,
            )
    above = statistics.median(a - b for a, b in zip(ours, bare, strict=True))
    floor = statistics.median(bare)
    say("overhead-ms-per-job", above, "ms CPU", f"bare Dask futures {floor:.2f} ms", round(statistics.median(ours) / floor, 2),
        f"{jobs} jobs, 2 workers, medians of {options.rounds} alternating rounds")  # fmt: skip
    say(
        "rerun-1k-s",
        statistics.median(again),
        "s",
        "limit 1 s",
        None,
        f"whole command, {jobs} settled jobs, no cluster started",
    )


if __name__ == "__main__":
    main()
