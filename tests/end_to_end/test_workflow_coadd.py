"""workflows/coadd_frames on a simulated field of two nights, as people type it; the truth is known."""

from __future__ import annotations

import importlib
import json
import runpy
import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from prestow.formats import open_format
from prestow.tasks import Input, NothingToDo, Output, Quantum

pytest.importorskip("reproject")
WORKFLOWS = Path(__file__).resolve().parents[2] / "workflows"
WORKFLOW = WORKFLOWS / "coadd_frames"
BAND, RUN = "r", "coadd_frames"
EXPOSURE = 53.907456
SUFFIXES = {".fits": "fits", ".parquet": "parquet", ".png": "png", ".yaml": "yaml"}


def reduce(root, prestow, quick, env=None):
    """Simulate, and type what the workflow's README says, up to the run."""
    runpy.run_path(str(WORKFLOW / "simulate.py"))["simulate"](root, bands=(BAND,))
    (root / "prestow.yaml").write_text(
        "schema: prestow.project/1\nregistry: sqlite:///registry.db\nstore: store\n"
        f"pipeline: {json.dumps(str(WORKFLOW / 'pipeline.yaml'))}\n"
    )
    (root / "here.yaml").write_text("schema: prestow.site/1\nname: here\nengine: local\n")
    quick("ingest", "--raw", "raw", "--instrument", "sdss", cwd=root)
    quick("ingest", "--as", "reference_catalogue", "stars.fits", cwd=root)
    quick("plan", cwd=root)
    prestow("run", "--site", "here.yaml", cwd=root, env=env)
    return root


@pytest.fixture(scope="module")
def field(tmp_path_factory, prestow, inside):
    """The reduced field, taken in."""
    root = reduce(tmp_path_factory.mktemp("field"), prestow, inside)
    inside("ingest", cwd=root)
    return root


@pytest.fixture(scope="module")
def truth(field):
    return json.loads((field / "truth.json").read_text())


@pytest.fixture
def code():
    """The workflow's modules, which live beside the package and not in it."""
    mine = {"tasks", "measuring"}  # other workflows call their code so, too
    before, others = list(sys.path), {n: m for n, m in sys.modules.items() if n.split(".")[0] in mine}
    for name in others:
        del sys.modules[name]
    sys.path[:0] = [str(WORKFLOW), str(WORKFLOWS)]
    yield importlib.import_module
    sys.path[:] = before
    for name in [n for n in sys.modules if n.split(".")[0] in mine]:
        del sys.modules[name]
    sys.modules.update(others)


def one(field, pattern):
    (path,) = (field / "store" / RUN).glob(pattern)
    return path


def products(field):
    return sorted(p for p in (field / "store" / RUN).rglob("*") if p.is_file())


def by_night(field, kind):
    """The documents of one kind, earlier night first."""
    paths = sorted((field / "store" / RUN / kind).rglob("*.yaml"))
    return [open_format("yaml").read(path)["metrics"] for path in paths]


def test_every_planned_name_is_there_with_its_story(field, inside):
    planned = inside("show", "--files", cwd=field).out.split()
    made = products(field)
    assert sorted(planned) == [p.relative_to(field / "store").as_posix() for p in made]
    assert len(made) == 2 * 4 + 2 + 1 + 5
    for path in made:
        story = open_format(SUFFIXES[path.suffix]).read_story(path)
        assert story is not None
        assert story.run == RUN


def test_what_is_wrong_with_each_night_is_measured(field, truth):
    for night, placed, level in zip(
        truth["nights"], by_night(field, "astrometry"), by_night(field, "zero_point")
    ):
        assert [placed["offset_ra"], placed["offset_dec"]] == pytest.approx(night["off"], abs=0.02)
        assert placed["astrometric_scatter"] < 0.06
        assert placed["seeing"] == pytest.approx(night["fwhm"] * 0.396, rel=0.08)
        assert level["zero_point"] == pytest.approx(night["zero_point"] - 2.5 * np.log10(EXPOSURE), abs=0.02)


def test_stars_come_back_from_the_coadd_where_they_are_and_as_bright(field, truth):
    from scipy.spatial import KDTree

    rows = open_format("parquet").read(one(field, "catalogue/*.parquet"), "numpy")
    stars = {name: np.array(values) for name, values in truth["stars"].items()}
    tree = KDTree(np.column_stack([stars["ra"], stars["dec"]]) * 3600)
    good = rows[(rows["flux_r8"] > 50 * rows["flux_r8_err"]) & (rows["flags"] == 0)]
    distance, nearest = tree.query(np.column_stack([good["ra"], good["dec"]]) * 3600)
    assert len(good) > 12
    assert np.sqrt(np.mean(distance**2)) < 0.06
    magnitude = 31.4 - 2.5 * np.log10(good["flux_r8"])
    assert abs(np.median(magnitude - stars[BAND][nearest])) < 0.03


def test_two_nights_see_more_than_one_and_nothing_that_is_not_there(field):
    metrics = open_format("yaml").read(one(field, "metrics/*"))["metrics"]
    assert metrics["frames"] == 2
    assert metrics["passed"] is True
    assert metrics["n_sources"] > metrics["n_sources_best_frame"]
    assert metrics["negated_share"] <= 0.08


def test_the_variance_says_how_much_the_sky_scatters(field, code):
    images, sky = code("measuring.images"), code("measuring.sky")
    image = images.read_image(one(field, "coadd/*"))
    free = sky.blank(image.data, image.uncertainty.array, image.mask)
    rows, columns = (n // 8 for n in free.shape)
    blocks = [
        a[: rows * 8, : columns * 8].reshape(rows, 8, columns, 8)
        for a in (image.data, image.uncertainty.array, free)
    ]
    whole = blocks[2].all(axis=(1, 3))
    pull = blocks[0].sum(axis=(1, 3))[whole] / np.sqrt(blocks[1].sum(axis=(1, 3))[whole])
    assert whole.sum() > 200
    assert 0.8 < pull.std() < 1.25


def test_both_catalogues_have_the_same_rows_and_units(field):
    arrow = open_format("parquet").read(one(field, "catalogue/*.parquet"))
    table = open_format("fits").read(one(field, "catalogue/*.fits"), "table")
    assert table.colnames == arrow.column_names
    for name in table.colnames:
        assert np.array_equal(arrow[name].to_numpy(), np.asarray(table[name]), equal_nan=True)
        unit = arrow.schema.field(name).metadata[b"unit"].decode()
        assert str(table[name].unit or "") == {"pixel": "pix", "adu / s": "adu / s"}.get(unit, unit)
    assert str(table["flux"].unit) == "nJy"
    assert list(table["id"]) == list(range(1, len(table) + 1))


def test_a_drift_scan_has_a_beginning_and_an_end_and_no_false_middle(field):
    from astropy.io import fits

    false = {"MJD-OBS", "MJD-AVG", "DATE-OBS", "DATE-AVG", "TAIHMS"}
    for path in products(field):
        if path.suffix == ".fits":
            with fits.open(path) as hdus:
                assert not any(false & set(hdu.header) for hdu in hdus)
    frame = fits.getheader(next((field / "store" / RUN / "frame").rglob("*.fits")))
    seconds = (frame["MJD-END"] - frame["MJD-BEG"]) * 86400
    assert seconds == pytest.approx(EXPOSURE + (340 - 1) * 0.026322, abs=0.01)
    assert isinstance(frame["EXPTIME"], float)
    coadd = fits.getheader(one(field, "coadd/*"))
    assert coadd["MJD-END"] - coadd["MJD-BEG"] > 1000
    assert coadd["EXPTIME"] == pytest.approx(2 * EXPOSURE)


def test_the_figures_are_found_by_what_they_are(field, inside):
    assert inside("find", "metrics", "--where", "seeing < 3", "--json", cwd=field).json["count"] == 1
    assert inside("find", "metrics", "--where", "seeing > 3", "--json", cwd=field).json["count"] == 0


@pytest.mark.slow
def test_elsewhere_with_other_seeds_and_threads_the_bytes_are_the_same(field, prestow, tmp_path):
    env = {"PYTHONHASHSEED": "7", "OMP_NUM_THREADS": "4", "TZ": "Asia/Tokyo"}
    again = reduce(tmp_path, prestow, partial(prestow, env=env), env)
    assert [p.relative_to(again) for p in products(again)] == [p.relative_to(field) for p in products(field)]
    for path in products(field):
        assert (again / path.relative_to(field)).read_bytes() == path.read_bytes(), path.name


def test_a_frame_of_another_place_declines(field, code, tmp_path):
    """Its stars are none of the catalogue's, so that nobody can say where it lies."""
    store, sources = field / "store" / RUN, code("measuring.sources")
    frame = next((store / "frame").rglob("*.fits"))
    table = sources.from_arrow(open_format("parquet").read(next((store / "sources").rglob("*.parquet"))))
    table["ra"] += 1.0
    moved = tmp_path / "moved.parquet"
    open_format("parquet").write(moved, sources.arrow_table(table, unit="adu / s"))
    inputs = {
        "frame": (Input("frame", {}, frame, "fits"),),
        "sources": (Input("sources", {}, moved, "parquet"),),
        "reference_catalogue": (Input("reference_catalogue", {}, field / "stars.fits", "fits"),),
    }
    outputs = {"astrometry": (Output("astrometry", {}, tmp_path / "astrometry.yaml", "yaml"),)}
    task = code("tasks.astrometry")
    with pytest.raises(NothingToDo) as nothing:
        task.run(Quantum("astrometry", {}, 1, inputs, {}, outputs), task.Config())
    assert nothing.value.code == "no_stars"


def test_frames_that_are_not_of_one_field_have_no_common_grid(code, tmp_path):
    paths = []
    for k, ra in enumerate((10.0, 40.0)):
        corners = [[ra, 0.0], [ra + 0.1, 0.0], [ra + 0.1, 0.1], [ra, 0.1]]
        paths.append(tmp_path / f"astrometry-{k}.yaml")
        open_format("yaml").write(paths[-1], {"corners": corners, "pixel_scale": 0.4})
    inputs = {"astrometry": tuple(Input("astrometry", {"visit": k}, p, "yaml") for k, p in enumerate(paths))}
    outputs = {"grid": (Output("grid", {}, tmp_path / "grid.yaml", "yaml"),)}
    task = code("tasks.grid")
    with pytest.raises(ValueError, match="not of one field"):
        task.run(Quantum("grid", {}, 1, inputs, {}, outputs), task.Config())


def test_a_field_across_the_zero_of_right_ascension_is_one_field(code, tmp_path):
    corners = [[359.95, -0.05], [0.05, -0.05], [0.05, 0.05], [359.95, 0.05]]
    path = tmp_path / "astrometry.yaml"
    open_format("yaml").write(path, {"corners": corners, "pixel_scale": 0.4})
    outputs = {"grid": (Output("grid", {}, tmp_path / "grid.yaml", "yaml"),)}
    task = code("tasks.grid")
    inputs = {"astrometry": (Input("astrometry", {"visit": 1}, path, "yaml"),)}
    task.run(Quantum("grid", {}, 1, inputs, {}, outputs), task.Config())
    rows, columns = open_format("yaml").read(tmp_path / "grid.yaml")["shape"]
    assert (rows, columns) == pytest.approx((900, 900), abs=5)


def test_the_time_of_a_staring_camera_is_read_in_its_own_scale(code):
    times = code("tasks.times")
    staring = {"DATE-OBS": "2021-01-18T11:26:32.228", "NAXIS2": 100}
    begin, end = times.interval(staring, 60.0)
    utc = 59232 + (11 * 3600 + 26 * 60 + 32.228) / 86400
    assert (begin - utc) * 86400 == pytest.approx(37.0, abs=1e-4)
    assert (end - begin) * 86400 == pytest.approx(60.0, abs=1e-4)
    assert times.interval({**staring, "TIMESYS": "TAI"}, 60.0)[0] == pytest.approx(utc, abs=1e-9)
    with pytest.raises(ValueError, match="no time in the header"):
        times.interval({"DATE-OBS": "2003-10-19", "NAXIS2": 100}, 60.0)
