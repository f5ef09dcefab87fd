"""Plan a synthetic survey and say what it costs, one JSON object a line.

    python benchmarks/plan.py [--quanta 100000]

Visits of 189 detectors go through isr, align and measure, and a coadd gathers each band and
detector. The floor beside the plan's cost is what its tables alone cost to write: no join, no name,
no hash.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

from prestow.model import DatasetType
from prestow.model.universe import Universe
from prestow.naming import identity
from prestow.naming.universe import load_universe
from prestow.pipeline import CodeBundle, InputConnection, OutputConnection, Pipeline, TaskDefinition
from prestow.plan import Request, build_plan, manifests, open_plan, write_plan
from prestow.plan.tables import CHUNK, TABLES

DETECTORS = 189
BANDS = ("g", "i", "r", "u", "y", "z")
TASKS_PER_RAW = 3


class Survey:
    """A source of existing datasets, all in memory."""

    def __init__(self, visits: int) -> None:
        number = pl.int_range(1, visits + 1, eager=True)
        filters = [f"{band}_sim" for band in BANDS]
        chosen = pl.Series(filters).gather(number % len(filters))
        visit = pl.DataFrame({"instrument": ["sim"] * visits, "visit": number, "physical_filter": chosen})
        visit = visit.with_columns(day_obs=pl.lit(20260000) + pl.col("visit") // 1000)
        detector = pl.DataFrame({"instrument": ["sim"] * DETECTORS, "detector": range(DETECTORS)})
        exposure = visit.rename({"visit": "exposure"})
        self.records = {
            "visit": visit,
            "exposure": exposure,
            "detector": detector,
            "physical_filter": pl.DataFrame(
                {"instrument": ["sim"] * len(BANDS), "physical_filter": filters, "band": BANDS}
            ),
        }
        self.relations = {"visit_definition": visit.select("instrument", "visit", exposure="visit")}
        flat = self.records["physical_filter"].select("instrument", "physical_filter")
        self.existing = {
            "raw": _exist("raw", exposure.select("instrument", "exposure").join(detector, on="instrument")),
            "bias": _exist("bias", detector),
            "flat": _exist("flat", flat.join(detector, on="instrument")),
        }

    def datasets(self, types: Sequence[str], collections: Sequence[str], *, first: bool = True) -> pa.Table:
        del first
        wanted = [self.existing[name] for name in types if name in self.existing and "raw" in collections]
        return pl.concat(wanted, how="diagonal").to_arrow() if wanted else pa.table({})

    def dimension_records(self, element: str) -> pa.Table:
        dimension, universe = UNIVERSE.dimensions[element], UNIVERSE
        frame = self.records.get(element, pl.DataFrame())
        kinds = {"int": pl.Int64, "time": pl.Int64, "str": pl.String, "float": pl.Float64, "bool": pl.Boolean}
        wanted = {n: universe.dimensions[n].type for n in (*universe.close([element]), *dimension.implies)}
        every = {**wanted, **dimension.metadata}
        columns = [
            (pl.col(name) if name in frame.columns else pl.lit(None)).cast(kinds[kind]).alias(name)
            for name, kind in every.items()
        ]
        return (frame.select(columns) if frame.width else pl.DataFrame(schema={n: kinds[k] for n, k in every.items()})).to_arrow()

    def relation(self, name: str) -> pa.Table:
        return self.relations[name].to_arrow()

    def quanta(self, run: str) -> pa.Table:
        del run
        return pa.table({"id": pa.array([], pa.binary(16)), "planned_recipe": pa.array([], pa.binary(16))})

    def binding(self, run: str) -> Mapping[str, Any] | None:
        del run
        return None


def _exist(name: str, data_ids: pl.DataFrame) -> pl.DataFrame:
    ids = identity.dataset_ids(name, "raw", data_ids.columns)
    digest = identity.digest128("content/1", pl.concat_str([identity.data_id_text(data_ids.columns)] * 2))
    path = pl.format("raw/{}/{}.fits", pl.lit(name), pl.col("id").bin.encode("hex"))
    return data_ids.with_columns(ids.alias("id"), (digest + digest).alias("sha256")).with_columns(
        pl.lit(name).alias("type"), pl.lit("raw").alias("run"), pl.lit("archive").alias("store"), path.alias("path"),
        pl.lit(1 << 25).alias("size"), pl.col("sha256").alias("content"), pl.lit(None, pl.Binary).alias("quantum"),
        pl.lit(None, pl.Binary).alias("recipe"), pl.lit(None, pl.String).alias("receipt"),
    )  # fmt: skip


def _pipeline(universe: Universe) -> Pipeline:
    def kind(name: str, dimensions: Sequence[str], template: str = "") -> DatasetType:
        return DatasetType(name, universe.close(dimensions), "fits", template)

    per_visit = ("visit", "detector")
    shape = "{{run}}/{0}/{{visit:06d}}/{0}-{{instrument}}-{{visit:06d}}-{{detector:03d}}.fits"
    made = ("isr", "aligned", "sources")
    types = [
        kind("raw", ("exposure", "detector")),
        kind("bias", ("detector",)),
        kind("flat", ("physical_filter", "detector")),
        *(kind(name, per_visit, shape.format(name)) for name in made),
        kind("coadd", ("band", "detector", "instrument"), "{run}/coadd/{band}/coadd-{instrument}-{band}-{detector:03d}.fits"),
    ]  # fmt: skip

    def task(label: str, dimensions: Sequence[str], inputs: Sequence[str], output: str) -> TaskDefinition:
        return TaskDefinition(
            label, universe.close(dimensions), tuple(InputConnection(i, i) for i in inputs),
            (OutputConnection(output, output),), entry=f"tasks.{label}:run",
        )  # fmt: skip

    tasks = (
        task("isr", per_visit, ("raw", "bias", "flat"), "isr"),
        task("align", per_visit, ("isr",), "aligned"),
        task("coadd", ("band", "detector", "instrument"), ("aligned",), "coadd"),
        task("measure", per_visit, ("aligned", "coadd"), "sources"),
    )
    code = CodeBundle(b"", hashlib.sha256(b"").hexdigest())
    return Pipeline("survey", "", tasks, {t.name: t for t in types}, code=code)


UNIVERSE = load_universe()


def _cpu() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def _peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _say(name: str, value: float, unit: str, beside: float | None = None, note: str = "") -> None:
    ratio = None if not beside else round(value / beside, 3)
    facts = {"name": name, "value": round(value, 3), "unit": unit, "beside": beside and round(beside, 3), "ratio": ratio, "note": note}
    print(json.dumps(facts), flush=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quanta", type=int, default=100_000)
    wanted = parser.parse_args(arguments).quanta
    survey = Survey(max(1, round(wanted / TASKS_PER_RAW / DETECTORS)))
    request = Request("bench", _pipeline(UNIVERSE), UNIVERSE, ("raw",))
    before = _peak_mb()
    with tempfile.TemporaryDirectory() as scratch:
        wall, cpu = time.perf_counter(), _cpu()
        plan = build_plan(request, survey)
        built, built_wall = _cpu() - cpu, time.perf_counter() - wall
        cpu = _cpu()
        path = write_plan(plan, Path(scratch))
        written = _cpu() - cpu
        peak = _peak_mb()
        quanta = plan.tables["quanta"].height
        cpu = _cpu()
        for name in TABLES:
            plan.tables[name].write_parquet(Path(scratch) / "floor.parquet", compression="zstd", row_group_size=CHUNK)
        floor = _cpu() - cpu
        note = f"{quanta} quanta, {plan.tables['inputs'].height} inputs, {plan.tables['outputs'].height} outputs"
        _say("plan: quanta per CPU second", quanta / (built + written), "1/s", quanta / floor, f"{note}; beside: writing the tables alone")
        _say("plan: CPU", built + written, "s", floor, f"building {built:.2f}, writing {written:.2f}; wall of building {built_wall:.2f}")
        _say("plan: peak memory", peak, "MB", before, "beside: before planning, with the survey's existing datasets")
        size = sum(p.stat().st_size for p in path.iterdir())
        _say("plan: bytes on disk per quantum", size / quanta, "B", None, note)
        del plan
        stores = {"output": "file:///output", "archive": "file:///archive"}
        cpu = _cpu()
        opened = open_plan(path)
        next(manifests(opened, [quanta // 2], store="output", stores=stores))
        _say("plan: open and one manifest", 1000 * (_cpu() - cpu), "ms CPU", None, "as debug does it")
        some = range(0, min(quanta, 10_000))
        cpu = _cpu()
        count = sum(len(m.to_json()) > 0 for m in manifests(opened, some, store="output", stores=stores))
        _say("plan: a manifest as JSON", 1000 * (_cpu() - cpu) / count, "ms CPU", None, f"{count} manifests")
    return 0


if __name__ == "__main__":
    sys.exit(main())
