"""A made-up survey of any size, in a registry of its own.

    python benchmarks/survey.py 1000000

A camera of 189 detectors visits fields in six bands; the patches of a sky map take what falls on them. One
deep field is read out in its central nine detectors alone, so that a few patches get up to 2,000 visits of
one band while most get a handful. Nine tasks make some 6.3 quanta of each raw frame, and 3 inputs a quantum.

The registry is filled in bulk and kept in the scratch directory (`PRESTOW_BENCH`, else a directory of
one's own among the temporary files) under size, seed and what decides its content, so it is made once.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "src"))

import numpy as np
import polars as pl

from prestow.model import DatasetType
from prestow.model.universe import Universe
from prestow.naming import identity
from prestow.naming.universe import load_universe
from prestow.pipeline.definition import CodeBundle, InputConnection, OnFailure, Pipeline, TaskDefinition
from prestow.plan import Request
from prestow.registry import DatasetBatch, Registry
from prestow.registry.schema import SCHEMA_VERSION
from prestow.testing.surveys import dataset_type, task

CAMERA, SKYMAP = "simcam", "rings"
BANDS = tuple("ugrizy")
SIDE, PATCH, SPACING, DITHER = 0.2, 0.14, 2.6, 0.3  # degrees: detector, patch, fields, pointing
ACROSS = 12  # patches along a tract
TRACTS = 1000  # tracts along the sky
FIELD = 48  # visits of a field, all bands together
NIGHT = 800  # visits of a night
DEEP = 2000  # visits of the deep field, in a survey of a million quanta or more
RELATION = "sky_overlap"
ROWS = 1_000_000  # rows that go into the registry at once
QUANTA_PER_RAW = 6.3
CONTENT = "2"  # raised with every change of what a survey holds, so that none that was kept is taken for it


# --- what is asked of the planner


def universe() -> Universe:
    """Give the universe of the survey: the one that prestow ships."""
    return load_universe()


def pipeline(**config: object) -> Pipeline:
    """Give nine tasks, by detector, visit, patch and tract; ``config`` is that of the first."""
    detector, patch, band = ("visit", "detector"), ("visit", "patch"), ("patch", "band")
    by_task = {
        "isr": detector, "calexp": detector, "sources": ("visit",), "forced_visit": detector, "warp": patch,
        "coadd": band, "detections": band, "merged": ("patch",), "forced": band, "tract_summary": ("tract",),
    }  # fmt: skip
    types = (
        dataset_type("raw", "exposure", "detector", template=""),
        dataset_type("bias", "detector", template=""),
        dataset_type("dark", "detector", template=""),
        dataset_type("flat", "physical_filter", "detector", template=""),
        *(_written(name, dimensions) for name, dimensions in by_task.items()),
    )
    loose = {"on_failure": OnFailure.TOLERATE}
    tasks: tuple[TaskDefinition, ...] = (
        task("isr", detector, ["raw", "bias", "dark", "flat"], ["isr"], config=config, **loose),
        task("calibrate", detector, ["isr"], ["calexp"], **loose),
        task("gather", ("visit",), [InputConnection("calexp", "calexp", 0.5)], ["sources"], **loose),
        task("force_visit", detector, ["calexp", "sources"], ["forced_visit"], **loose),
        task("warp", patch, [InputConnection("calexp", "calexp", 1)], ["warp"], **loose),
        task("coadd", band, [InputConnection("warp", "warp", 1)], ["coadd"]),
        task("detect", band, ["coadd"], ["detections"]),
        task("merge", ("patch",), ["detections"], ["merged"]),
        task("force", band, ["coadd", "merged"], ["forced"]),
        task("summarise", ("tract",), ["merged", "forced"], ["tract_summary"]),
    )
    code = b"a made-up survey"
    bundle = CodeBundle(code, hashlib.sha256(code).hexdigest())
    return Pipeline("survey", "", tasks, {t.name: t for t in types}, (), bundle)


def _written(name: str, dimensions: Sequence[str]) -> DatasetType:
    """Give a type whose files lie by visit or tract: a directory holds no million."""
    closed = universe().close(dimensions)
    where = "/".join(f"{{{d}}}" for d in ("skymap", "visit" if "visit" in closed else "tract") if d in closed)
    fields = [d for d in closed if d != "skymap"]
    widths = {"detector": ":03d", "tract": ":06d", "patch": ":03d"}
    title = "_".join([name, *(f"{{{d}{widths.get(d, '')}}}" for d in fields)])
    return dataset_type(name, *dimensions, template=f"{{run}}/{name}/{where}/{title}.fits")


def request(run: str = "bench", **config: object) -> Request:
    """Give the request for all of the survey."""
    return Request(run, pipeline(**config), universe(), ("raw", "calib"))


# --- the sky


@dataclass(frozen=True)
class Sky:
    """Which detectors of which visits were read out, and the patches that they fall on."""

    visits: pl.DataFrame  # visit, day_obs, physical_filter, band, ra, dec (degrees)
    pairs: pl.DataFrame  # visit, detector, tract, patch
    raws: pl.DataFrame  # visit, detector

    def quanta(self) -> int:
        """Give how many quanta the pipeline comes to."""
        filters = self.visits.select("visit", "band")
        patches = self.pairs.select("visit", "tract", "patch").unique()
        bands = patches.join(filters, on="visit").select("tract", "patch", "band").unique()
        merged = bands.select("tract", "patch").unique()
        by_visit = 3 * self.raws.height + self.visits.height + patches.height
        return by_visit + 3 * bands.height + merged.height + merged["tract"].n_unique()


def detectors() -> np.ndarray:
    """Give the centres of the detectors in degrees: rafts of 3 by 3, five by five without the corners."""
    places = [
        (3 * rx + x, 3 * ry + y)
        for ry in range(5)
        for rx in range(5)
        if not (rx in (0, 4) and ry in (0, 4))
        for y in range(3)
        for x in range(3)
    ]
    return (np.array(places) - 7.0) * SIDE


def make_sky(visits: int, deep: int, seed: int) -> Sky:
    """Point the camera so many times over the wide fields, and so many times at the deep one."""
    random = np.random.default_rng(seed)
    total = visits + deep
    fields = max(1, round(visits / FIELD))
    row = max(1, round(fields**0.5))
    field = random.permutation(np.arange(visits) % fields)
    x = 20 + SPACING * (field % row) + random.uniform(-DITHER, DITHER, visits)
    y = 20 + SPACING * (field // row) + random.uniform(-DITHER, DITHER, visits)
    band = random.integers(0, len(BANDS), visits)
    x = np.concatenate([x, 5 + random.uniform(-DITHER, DITHER, deep)])
    y = np.concatenate([y, 5 + random.uniform(-DITHER, DITHER, deep)])
    band = np.concatenate([band, np.full(deep, BANDS.index("r"))])
    order = random.permutation(total)
    shallow = order < visits
    x, y, band = x[order], y[order], band[order]
    sequence = np.arange(total)
    night = np.datetime64("2026-01-01") + sequence // NIGHT
    day = np.array([int(str(value).replace("-", "")) for value in night], np.int64)
    number = day * 100_000 + sequence % NIGHT + 1
    frame = pl.DataFrame({"visit": number, "day_obs": day, "ra": x, "dec": y - 30, "_band": band})
    frame = frame.with_columns(band=pl.Series(BANDS).gather(frame["_band"])).drop("_band")
    frame = frame.with_columns(physical_filter=pl.col("band") + "_57")
    where = detectors()
    inner = np.all(np.abs(where) < 1.5 * SIDE, axis=1)  # the central raft
    at, detector = np.nonzero(shallow[:, None] | inner[None, :])
    raws = pl.DataFrame({"visit": number[at], "detector": detector.astype(np.int64)})
    east, north = x[at] + where[detector, 0], y[at] + where[detector, 1]
    first_x, last_x = (np.floor((east + s * SIDE / 2) / PATCH).astype(np.int64) for s in (-1, 1))
    first_y, last_y = (np.floor((north + s * SIDE / 2) / PATCH).astype(np.int64) for s in (-1, 1))
    parts = []
    for over in range(3):
        for up in range(3):
            some = (first_x + over <= last_x) & (first_y + up <= last_y)
            px, py = first_x[some] + over, first_y[some] + up
            parts.append(
                pl.DataFrame(
                    {
                        "visit": number[at[some]],
                        "detector": detector[some].astype(np.int64),
                        "tract": py // ACROSS * TRACTS + px // ACROSS,
                        "patch": py % ACROSS * ACROSS + px % ACROSS,
                    }
                )
            )
    return Sky(frame, pl.concat(parts).sort("visit", "detector", "tract", "patch"), raws)


def sized(quanta: int, seed: int) -> Sky:
    """Give a sky whose survey comes to so many quanta, within a few in a hundred."""
    deep = min(DEEP, quanta // 500)
    visits = max(1, round((quanta / QUANTA_PER_RAW - 9 * deep) / len(detectors())))
    sky = make_sky(visits, deep, seed)
    for _ in range(4):
        more = round((quanta - sky.quanta()) / (QUANTA_PER_RAW * len(detectors())))
        if not more:
            break
        visits = max(1, visits + more)
        sky = make_sky(visits, deep, seed)
    rest = (quanta - sky.quanta()) / (QUANTA_PER_RAW * 9)
    return (
        make_sky(visits, max(2, deep + round(rest)), seed) if abs(sky.quanta() / quanta - 1) > 0.02 else sky
    )


# --- into the registry


def fill(registry: Registry, sky: Sky, chips: int | None = None) -> None:
    """Put the survey into a registry, in bulk, as taking its raw frames in would; all detectors, or so many."""
    here, count = registry.universe, chips or len(detectors())
    for run in ("raw", "calib"):
        registry.register_run(run)
    registry.register_store("archive", "file:///archive")
    dims = {"raw": ("exposure", "detector"), "bias": ("detector",), "dark": ("detector",)}
    dims["flat"] = ("physical_filter", "detector")
    for name, dimensions in dims.items():
        registry.register_dataset_type(DatasetType(name, here.close(dimensions), "fits"))
    camera = pl.DataFrame({"instrument": [CAMERA]})
    filters = camera.join(
        pl.DataFrame({"physical_filter": [f"{b}_57" for b in BANDS], "band": BANDS}), how="cross"
    )
    chip = camera.join(
        pl.DataFrame({"detector": np.arange(count)}).with_columns(
            name=pl.format("S{}", "detector"), purpose=pl.lit("science")
        ),
        how="cross",
    )
    begin = np.int64(1_767_225_637_000_000_000) + 40_000_000_000 * np.arange(sky.visits.height)
    visit = sky.visits.sort("visit").select(
        pl.lit(CAMERA).alias("instrument"), "visit", "physical_filter", "day_obs",
        pl.lit("science").alias("observation_type"), pl.lit(30.0).alias("exposure_time"),
        pl.Series("begin", begin), pl.Series("end", begin + 30_000_000_000), pl.lit("field").alias("object"),
        "ra", "dec", pl.lit(1.2).alias("airmass"), pl.col("visit").alias("file_number"),
    )  # fmt: skip
    patches = sky.pairs.select("tract", "patch").unique().sort("tract", "patch")
    nights = visit.select("instrument", "day_obs").unique()
    records = {
        "instrument": camera, "band": filters.select("band"), "physical_filter": filters, "day_obs": nights,
        "detector": chip, "exposure": visit.rename({"visit": "exposure"}), "visit": visit,
        "skymap": pl.DataFrame({"skymap": [SKYMAP], "version": [1], "digest": ["made up"], "padding": [0.0]}),
        "tract": _mapped(patches.select("tract").unique()), "patch": _mapped(patches),
    }  # fmt: skip
    for element, frame in records.items():
        registry.insert_dimension_records(element, _known(frame, here, element).to_arrow())
    registry.insert_relation(
        "visit_definition", visit.select("instrument", "visit", exposure="visit").to_arrow()
    )
    overlap = _mapped(sky.pairs).with_columns(instrument=pl.lit(CAMERA))
    overlap = overlap.with_columns(separation=pl.lit(0.0))
    overlap = overlap.sort(here.close(here.relations[RELATION].dimensions))  # as the database keeps it
    for chunk in _chunks(overlap):
        registry.insert_relation(RELATION, chunk.to_arrow())
    raw = sky.raws.select(pl.lit(CAMERA).alias("instrument"), "detector", exposure="visit")
    chip = chip.select("instrument", "detector")
    flat = filters.drop("band").join(chip, on="instrument")
    _insert(registry, {"raw": ("raw", raw)})
    _insert(registry, {"bias": ("calib", chip), "dark": ("calib", chip), "flat": ("calib", flat)})


def _mapped(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.with_columns(skymap=pl.lit(SKYMAP))


def _known(frame: pl.DataFrame, here: Universe, element: str) -> pl.DataFrame:
    """Give the columns that the universe has for a dimension."""
    dimension = here.dimensions[element]
    names = {*here.close([element]), *dimension.implies, *dimension.metadata}
    return frame.select(name for name in frame.columns if name in names)


def _chunks(frame: pl.DataFrame) -> Iterator[pl.DataFrame]:
    for start in range(0, frame.height, ROWS):
        yield frame.slice(start, ROWS)


def _insert(registry: Registry, roots: dict[str, tuple[str, pl.DataFrame]]) -> None:
    datasets, artifacts = {}, []
    for name, (run, keys) in roots.items():
        text = identity.data_id_text(keys.columns)
        digest = identity.digest128("content/1", pl.lit(name), text)
        whole = pl.concat_str(digest, digest).str.decode("hex")
        frame = keys.with_columns(
            identity.dataset_ids(name, run, keys.columns).alias("id"),
            whole.alias("sha256"),
            text.alias("_text"),
        )
        datasets[name] = frame.select(
            *keys.columns, "id", pl.lit(run).alias("run"), pl.col("sha256").bin.slice(0, 16).alias("recipe")
        ).to_arrow()
        artifacts.append(
            frame.select(
                pl.lit("archive").alias("store"),
                pl.format("{}/{}/{}{}.fits", pl.lit(CAMERA), pl.lit(name), pl.lit(name), "_text").alias("path"),
                pl.lit(18_000_000).alias("size"), "sha256", pl.col("sha256").alias("content"),
                pl.lit("fits").alias("format"), dataset="id",
            )
        )  # fmt: skip
    batch = DatasetBatch(datasets, pl.concat(artifacts).to_arrow())
    registry.insert_raw(batch, dimensions={}, relations={})


# --- kept for the next time


def scratch() -> Path:
    """Give the directory that benchmarks keep things in, of this user alone."""
    path = Path(
        os.environ.get("PRESTOW_BENCH") or Path(tempfile.gettempdir()) / f"prestow-benchmarks-{os.getuid()}"
    )
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    return path


def kept(quanta: int, seed: int = 1) -> Path:
    """Give the directory of the survey of that size, with ``registry.db``; made by a process of its own if absent."""
    facts = "\n".join((CONTENT, SCHEMA_VERSION, universe().canonical_text()))
    key = f"survey-{quanta}-{seed}-"
    path = scratch() / (key + hashlib.sha256(facts.encode()).hexdigest()[:12])
    if not (path / "registry.db").is_file():
        for older in scratch().glob(key + "*"):
            shutil.rmtree(older, ignore_errors=True)
        making = Path(tempfile.mkdtemp(prefix="making-", dir=scratch()))
        subprocess.run(
            [sys.executable, __file__, str(quanta), "--seed", str(seed), "--into", str(making)], check=True
        )
        try:
            making.rename(path)
        except OSError:  # somebody else made the same one meanwhile
            shutil.rmtree(making)
    return path


def opened(path: Path, *, read_only: bool = True) -> Registry:
    """Open the registry of a survey that is kept."""
    return Registry.open(f"sqlite:///{path}/registry.db", universe(), read_only=read_only)


def main(words: Sequence[str] | None = None) -> int:
    """Make one survey; give the exit code."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("quanta", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--into", type=Path, help="an empty directory; else the kept one")
    options = parser.parse_args(words)
    if options.into is None:
        print(kept(options.quanta, options.seed))
        return 0
    start = time.perf_counter()
    sky = sized(options.quanta, options.seed)
    making = time.perf_counter() - start
    with Registry.open(f"sqlite:///{options.into}/registry.db", universe(), create=True) as registry:
        fill(registry, sky)
    filling = time.perf_counter() - start - making
    print(
        f"# survey of {sky.quanta():,} quanta: {sky.visits.height:,} visits, {sky.raws.height:,} raws, "
        f"{sky.pairs.height:,} overlaps; made in {making:.1f} s, in the registry in {filling:.1f} s",
        file=sys.stderr,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
