"""Plan a made-up survey and say what it costs, one JSON object a line.

    python benchmarks/plan.py [--quanta 100000]

Visits of 189 detectors go through four tasks from raw to sources, with a gather by band between.
The floor beside the plan's cost is what its tables alone cost to write: no join, no name, no hash.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

from prestow.plan import Request, build_plan, manifests, open_plan, write_plan
from prestow.plan.tables import CHUNK, TABLES
from prestow.testing.surveys import UNIVERSE, Survey, reduction

DETECTORS = 189
QUANTA_PER_RAW = 3
STORES = {"output": "file:///output", "archive": "file:///archive"}
SOME = 10_000  # manifests


def cpu() -> float:
    """Give user and system seconds of this process."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def peak() -> float:
    """Give the most memory that this process ever had, in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def say(name: str, value: float, unit: str, *, beside: float | None = None, note: str = "") -> None:
    """Print one fact."""
    ratio = None if not beside else round(value / beside, 3)
    besides = None if beside is None else round(beside, 3)
    facts = {"name": name, "value": round(value, 3), "unit": unit, "beside": besides, "ratio": ratio}
    print(json.dumps({**facts, "note": note}), flush=True)


def main(words: Sequence[str] | None = None) -> int:
    """Measure; give the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quanta", type=int, default=100_000)
    wanted = parser.parse_args(words).quanta
    survey = Survey.make(max(1, round(wanted / QUANTA_PER_RAW / DETECTORS)), DETECTORS, bands="grizyu")
    request = Request("bench", reduction(), UNIVERSE, ("raw",))
    with tempfile.TemporaryDirectory() as scratch:
        before, begin, start = peak(), time.perf_counter(), cpu()
        plan = build_plan(request, survey)
        building, wall = cpu() - start, time.perf_counter() - begin
        start = cpu()
        path = write_plan(plan, Path(scratch))
        writing, most = cpu() - start, peak()
        quanta, tables = plan.tables["quanta"].height, plan.tables
        start = cpu()
        for name in TABLES:
            file = Path(scratch) / f"{name}.parquet"
            tables[name].write_parquet(file, compression="zstd", row_group_size=CHUNK)
        floor = cpu() - start
        note = f"{quanta} quanta, {tables['inputs'].height} inputs, {tables['outputs'].height} outputs"
        rate, best = quanta / (building + writing), quanta / floor
        say(
            "plan: quanta a CPU second",
            rate,
            "1/s",
            beside=best,
            note=f"{note}; beside: writing the tables alone",
        )
        parts = f"building {building:.2f}, writing {writing:.2f}; building took {wall:.2f} s of wall time"
        say("plan: CPU", building + writing, "s", beside=floor, note=parts)
        say("plan: peak memory", most, "MB", beside=before, note="beside: the survey before it is planned")
        say("plan: bytes on disk a quantum", sum(p.stat().st_size for p in path.iterdir()) / quanta, "B")
        del plan, tables
        start = cpu()
        opened = open_plan(path)
        next(manifests(opened, [quanta // 2], store="output", stores=STORES))
        say("plan: open it and make one manifest", 1000 * (cpu() - start), "ms CPU", note="as debug does it")
        start = cpu()
        made = manifests(opened, range(min(quanta, SOME)), store="output", stores=STORES)
        count = sum(1 for manifest in made if manifest.to_json())
        say("plan: a manifest as JSON", 1000 * (cpu() - start) / count, "ms CPU", note=f"{count} manifests")
    return 0


if __name__ == "__main__":
    sys.exit(main())
