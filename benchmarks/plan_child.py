"""What `plan.py` measures, each in a process of its own: prints one JSON object.

Imports come first and their CPU is told apart, so that it can be taken off.
"""

from __future__ import annotations

import json
import random
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent))

import polars as pl
import survey

from prestow.plan import build_plan, building, manifests, open_plan, write_plan

REPEATS = 30
STORES = {"output": "file:///output", "archive": "file:///archive"}


def cpu() -> float:
    """Give user and system seconds of this process, all its threads."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak() -> float:
    """Give the most memory that this program had, in GiB: of a new process not what its parent had."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return int(next(line.split()[1] for line in lines if line.startswith("VmHWM"))) / 2**20
    except (OSError, StopIteration):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


IMPORTS = cpu()


class Clock:
    """CPU seconds of named steps."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Add what is spent inside."""
        start = cpu()
        yield
        self.spent[name] = self.spent.get(name, 0.0) + cpu() - start

    def timed(self, function: Callable[..., Any], name: str = "") -> Callable[..., Any]:
        """Give the same function, which adds what it spends."""

        def run(*given: Any, **more: Any) -> Any:
            with self.step(name or function.__name__):
                return function(*given, **more)

        return run


def plan(kept: str, into: str, variant: str = "0") -> dict[str, Any]:
    """Plan a survey: everything from opening the registry to the plan on disk."""
    clock, begin = Clock(), time.perf_counter()
    building.PASSES = tuple(clock.timed(step) for step in building.PASSES)
    request = survey.request(variant=int(variant)) if int(variant) else survey.request()
    with clock.step("all"):
        with survey.opened(Path(kept)) as registry, clock.step("build"):
            made = build_plan(request, registry, beside=Path(into))
        with clock.step("write"):
            path = write_plan(made, Path(into))
    spent = clock.spent
    total = spent.pop("all")
    built = spent.pop("build")
    inside = sum(spent.values()) - spent["write"]
    shares = {**spent, "tables": built - inside}
    return {
        "path": str(path),
        "cpu": total,
        "imports": IMPORTS,
        "wall": time.perf_counter() - begin,
        "rss": peak(),
        "shares": {name: part / total for name, part in shares.items()},
        "totals": made.document["totals"],
        "tasks": {task: count["quanta"] for task, count in made.counts.items()},
        "bytes": sum(file.stat().st_size for file in path.iterdir()),
    }


def open_one(path: str) -> dict[str, Any]:
    """Open a plan and make the manifest of one job, jobs of every task in turn."""
    jobs = open_plan(Path(path)).tables.scan("jobs").select("job", "label").collect()
    chance = random.Random(1)
    times: dict[str, list[float]] = {}
    spent = []
    for label in jobs["label"].unique(maintain_order=True):
        numbers = jobs.filter(pl.col("label") == label)["job"]
        _manifest(path, numbers[0])
        for _ in range(REPEATS):
            wall, used, _ = _manifest(path, numbers[chance.randrange(len(numbers))])
            times.setdefault(str(label), []).append(wall)
            spent.append(used)
    medians = {label: 1000 * statistics.median(each) for label, each in times.items()}
    every = [wall for each in times.values() for wall in each]
    return {"wall": 1000 * statistics.median(every), "cpu": 1000 * statistics.median(spent), "by": medians}


def open_wide(path: str, task: str = "coadd") -> dict[str, Any]:
    """Open a plan and make the manifest of the job of a task that reads most."""
    tables = open_plan(Path(path)).tables
    quanta = tables.scan("quanta").filter(pl.col("task") == task).select("quantum", "job").collect()
    reads = tables.scan("inputs").group_by("quantum").len("reads").collect()
    most = quanta.join(reads, on="quantum").sort("reads", "job", descending=[True, False]).row(0, named=True)
    runs = [_manifest(path, most["job"]) for _ in range(REPEATS)][1:]
    wall, used = (1000 * statistics.median(run[i] for run in runs) for i in (0, 1))
    return {"wall": wall, "cpu": used, "inputs": runs[0][2]}


def _manifest(path: str, job: int) -> tuple[float, float, int]:
    start, spent = time.perf_counter(), cpu()
    made = next(manifests(open_plan(Path(path)), [job], store="output", stores=STORES))
    return time.perf_counter() - start, cpu() - spent, len(made.inputs)


def settle(kept: str, path: str) -> dict[str, Any]:
    """Fill a registry with 99 of 100 quanta of a plan; give where it is."""
    from settling import settled

    return {"path": str(settled(Path(kept), Path(path)))}


def replan(there: str, path: str) -> dict[str, Any]:
    """Work out what remains where 99 of 100 quanta are settled, and who waits for whom in it."""
    from prestow.engines.submission import Submission
    from prestow.plan.settled import read_settled
    from prestow.stores import open_store

    start = cpu()
    made = open_plan(Path(path))
    store = open_store(f"file://{there}/store")
    with survey.opened(Path(there)) as registry:
        found = read_settled(made, store, look=True, registry=registry)
    submission = Submission.of(made, found)
    waits = sum(len(each) for each in submission.waits.values())
    named = len(submission.job_names)
    facts = {"left": len(submission.rows), "jobs": named, "waits": waits}
    return {"cpu": cpu() - start, "rss": peak(), **facts}


def diff(one: str, other: str) -> dict[str, Any]:
    """Compare two plans, as `prestow diff` does."""
    from prestow.results.plan_differences import differences

    begin, start = time.perf_counter(), cpu()
    found = differences(open_plan(Path(one)), open_plan(Path(other)))
    counts = {
        name: sum(getattr(task, name) for task in found.tasks) for name in ("same", "changed", "downstream")
    }
    what = ", ".join(f"{count:,} {name}" for name, count in counts.items())
    return {
        "wall": time.perf_counter() - begin,
        "cpu": cpu() - start,
        "rss": peak(),
        "what": f"quanta: {what}",
    }


if __name__ == "__main__":
    STEPS = {
        "plan": plan,
        "open-one": open_one,
        "open-wide": open_wide,
        "settle": settle,
        "replan": replan,
        "diff": diff,
    }
    print(json.dumps(STEPS[sys.argv[1]](*sys.argv[2:])))
