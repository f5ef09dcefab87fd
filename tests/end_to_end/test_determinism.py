"""The same products, byte for byte, under another environment; the same plan for any number of threads."""

import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow.parquet
import pytest
from astropy.io.fits.scripts import fitscheck
from astropy.table import Table
from PIL import Image

ELSEWHERE = {
    "PYTHONHASHSEED": "4711",
    "POLARS_MAX_THREADS": "3",
    "OMP_NUM_THREADS": "2",
    "TZ": "Asia/Kathmandu",
}


MEASURE = '''
"""A table, a plot and metrics of each coadd."""

import matplotlib

matplotlib.use("Agg")

from matplotlib.figure import Figure
import numpy as np
from astropy.table import Table
from astropy import units

from prestow.tasks import Quantum, task


@task(
    dimensions=["instrument", "detector", "band"],
    inputs={"coadd": "coadd"},
    outputs={
        "rows": {"type": "rows", "dimensions": ["instrument", "detector", "band"], "format": "parquet"},
        "plot": {"type": "plot", "dimensions": ["instrument", "detector", "band"], "format": "png"},
        "stars": {"type": "stars", "dimensions": ["instrument", "detector", "band"], "format": "fits"},
        "quality": {"type": "quality", "dimensions": ["instrument", "detector", "band"], "format": "yaml"},
    },
)
def run(quantum: Quantum) -> dict:
    pixels = np.asarray(quantum.get("coadd", "array"), dtype=np.float64)
    figure = Figure(figsize=(2, 2))
    axes = figure.subplots()
    axes.imshow(pixels)
    axes.set_title("δ in arcsec")
    names = sorted({f"row {n}" for n in range(len(pixels))})
    table = Table({"name": names, "mean": pixels.mean(axis=1) * units.adu, "ok": pixels.mean(axis=1) > 0})
    return {
        "rows": table,
        "plot": figure,
        "stars": table,
        "quality": {"metrics": {"mean": float(pixels.mean()), "names": {n: 1 for n in set(names)}}},
    }
'''
KINDS = {".fits": 12, ".json": 4, ".parquet": 2, ".png": 2, ".yaml": 2}


def line(prestow: Any, root: Path, *, cwd: Path, env: dict[str, str] | None = None) -> str:
    raws = sorted((root / "raw").iterdir(), reverse=env is not None)
    call = ("-C", root)
    prestow(*call, "ingest", "--raw", *raws, "--instrument", "simcam", cwd=cwd, env=env)
    plan = prestow(*call, "plan", "--json", cwd=cwd, env=env).json["plan"]
    prestow(*call, "run", "--engine", "local", cwd=cwd, env=env)
    return plan


@pytest.fixture(scope="module")
def twice(
    tmp_path_factory: pytest.TempPathFactory, prestow: Any, small: Callable[[Path], Path], other_locale: str
) -> list[tuple[Path, str]]:
    """The same campaign in two places: plainly, and with everything around it changed."""
    here, there = tmp_path_factory.mktemp("here"), tmp_path_factory.mktemp("there")
    for base in (here, there):
        prestow("init", "demo", cwd=base)
        root = small(base / "demo")
        (root / "tasks" / "measure.py").write_text(MEASURE)
        with (root / "pipeline.yaml").open("a") as pipeline:
            pipeline.write("  measure: tasks.measure:run\n")
    first = line(prestow, here / "demo", cwd=here / "demo")
    before = os.umask(0o077)
    try:
        second = line(prestow, there / "demo", cwd=Path("/"), env={**ELSEWHERE, "LC_ALL": other_locale})
    finally:
        os.umask(before)
    return [(here / "demo", first), (there / "demo", second)]


def test_products_are_equal_to_the_byte(twice: list[tuple[Path, str]]) -> None:
    products = [
        {
            str(p.relative_to(root)): p.read_bytes()
            for p in sorted((root / "store" / "demo").rglob("*"))
            if p.is_file()
        }
        for root, _ in twice
    ]
    assert Counter(Path(name).suffix for name in products[0]) == KINDS
    assert products[0] == products[1]


def test_the_plan_has_the_same_id_and_tables(twice: list[tuple[Path, str]]) -> None:
    assert twice[0][1] == twice[1][1]
    tables = [
        {
            p.name: p.read_bytes()
            for p in (root / "plans" / plan).glob("*.parquet")
            if p.name != "locations.parquet"
        }
        for root, plan in twice
    ]
    assert len(tables[0]) >= 7
    assert tables[0] == tables[1]


def test_tables_and_plots_are_what_other_programs_expect(
    twice: list[tuple[Path, str]], capsys: pytest.CaptureFixture[str]
) -> None:
    store = twice[0][0] / "store" / "demo"
    for path in store.rglob("*.parquet"):
        arrow = pyarrow.parquet.read_table(path)
        assert arrow.schema.field("mean").metadata[b"unit"] == b"adu"
        assert pl.read_parquet(path)["mean"].to_list() == arrow["mean"].to_pylist()
        stars = Table.read(store / "stars" / path.with_suffix(".fits").name.replace("rows", "stars"), hdu=1)
        assert str(stars["mean"].unit) == "adu"
        assert stars["mean"].tolist() == arrow["mean"].to_pylist()
    for path in store.rglob("*.png"):
        with Image.open(path) as image:
            image.load()
            assert image.size == (200, 200)
            assert "prestow" in image.text
    files = [str(path) for path in store.rglob("*.fits")]
    assert fitscheck.main(files) == 0, capsys.readouterr().err
