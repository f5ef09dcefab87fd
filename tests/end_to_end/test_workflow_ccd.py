"""The tasks of workflows/ccd_reduction, one after the other on simulated frames."""

from __future__ import annotations

import importlib
import json
import sys
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from prestow.tasks import Input, NothingToDo, Output, Quantum

pytest.importorskip("ccdproc")
from astropy.io import fits
from astropy.wcs import WCS

WORKFLOW = Path(__file__).resolve().parents[2] / "workflows" / "ccd_reduction"
DETECTOR, DEAD, BAND = 0, 3, "r"


@pytest.fixture(scope="module")
def code():
    """The workflow's modules, which live beside the package and not in it."""
    mine = {"tasks", "checks", "simulate", "measuring"}  # other workflows call their code so, too
    before, others = list(sys.path), {n: m for n, m in sys.modules.items() if n.split(".")[0] in mine}
    for name in others:
        del sys.modules[name]
    sys.path[:0] = [str(WORKFLOW), str(WORKFLOW.parent)]
    yield importlib.import_module
    sys.path[:] = before
    for name in [n for n in sys.modules if n.split(".")[0] in mine]:
        del sys.modules[name]
    sys.modules.update(others)


class Reduction:
    """Calls tasks as the node does, on files that it knows by task and number."""

    def __init__(self, root, code):
        self.root, self.code = root, code
        simulate = code("simulate")
        simulate.simulate(root, bands=(BAND,), detectors=(DETECTOR, DEAD))
        self.truth = json.loads((root / "truth.json").read_text())
        self.visits = [v["obsid"] for v in self.truth["visits"]]
        first = simulate.FIRST
        self.biases = range(first, first + simulate.BIASES)
        self.flats = range(first + simulate.BIASES, first + simulate.BIASES + simulate.FLATS)
        self.measures = {}

    def raw(self, number, detector=DETECTOR):
        return Input(
            "raw", {"exposure": number}, self.root / "raw" / f"simcam-{number}-{detector}.fits", "fits"
        )

    def made(self, type_, name, visit=None):
        suffix = "yaml" if type_ in {"measures", "gate"} else "fits"
        return Input(
            type_, {} if visit is None else {"visit": visit}, self.root / f"{type_}-{name}.{suffix}", suffix
        )

    def run(self, task, name, inputs, visit=None, **config):
        module = self.code(f"tasks.{task}")
        kind = {"measure": "measures", "align": "aligned"}.get(task, task)
        goal = self.made(kind, name, visit)
        goal.path.unlink(missing_ok=True)
        output = Output(kind, goal.data_id, goal.path, goal.format)
        quantum = Quantum(
            task, goal.data_id, 7, {k: tuple(v) for k, v in inputs.items()}, {}, {kind: (output,)}
        )
        module.run(quantum, module.Config(**config))
        self.measures[kind, name] = quantum.measures
        return goal

    def calibrate(self, detector=DETECTOR):
        bias = self.run("bias", f"d{detector}", {"raw": [self.raw(n, detector) for n in self.biases]})
        flats = [self.raw(n, detector) for n in self.flats]
        return bias, self.run("flat", f"d{detector}", {"raw": flats, "bias": [bias]})

    def reduce(self, number, calibration, name=None, detector=DETECTOR, **config):
        bias, flat = calibration
        inputs = {"raw": [self.raw(number, detector)], "bias": [bias], "flat": [flat]}
        return self.run("isr", name or str(number), inputs, number, **config)


@pytest.fixture(scope="module")
def reduction(tmp_path_factory, code):
    return Reduction(tmp_path_factory.mktemp("survey"), code)


@pytest.fixture(scope="module")
def campaign(reduction):
    """All products of one band and detector."""
    calibration = reduction.calibrate()
    isr = {v: reduction.reduce(v, calibration) for v in reduction.visits}
    measures = [reduction.run("measure", str(v), {"isr": [isr[v]]}, v) for v in reduction.visits]
    gate = reduction.run("gate", BAND, {"measures": measures})
    reference = reduction.run("reference", BAND, {"gate": [gate], "isr": list(isr.values())})
    aligned, declined = [], {}
    for visit in reduction.visits:
        try:
            inputs = {"isr": [isr[visit]], "gate": [gate], "reference": [reference]}
            aligned.append(reduction.run("align", str(visit), inputs, visit))
        except NothingToDo as nothing:
            declined[visit] = nothing.code
    coadd = reduction.run("coadd", BAND, {"aligned": aligned})
    return {
        "calibration": calibration,
        "isr": isr,
        "aligned": aligned,
        "declined": declined,
        "coadd": coadd,
        "gate": gate,
    }


def test_the_same_seed_simulates_the_same_bytes(reduction, tmp_path):
    reduction.code("simulate").simulate(tmp_path, bands=(BAND,), detectors=(DETECTOR,))
    for path in sorted((tmp_path / "raw").iterdir())[::7]:
        assert path.read_bytes() == (reduction.root / "raw" / path.name).read_bytes()


def test_a_task_twice_gives_the_same_bytes(reduction, campaign):
    for product in (campaign["coadd"], campaign["aligned"][-1]):
        before = product.path.read_bytes()
        if product.type == "coadd":
            reduction.run("coadd", BAND, {"aligned": campaign["aligned"]})
        else:
            visit = product.data_id["visit"]
            reference = reduction.made("reference", BAND)
            inputs = {"isr": [campaign["isr"][visit]], "gate": [campaign["gate"]], "reference": [reference]}
            reduction.run("align", str(visit), inputs, visit)
        assert product.path.read_bytes() == before


def test_only_the_cloudy_visit_is_left_out(reduction, campaign):
    assert campaign["declined"] == {v["obsid"]: "cloudy" for v in reduction.truth["visits"] if v["cloudy"]}


def test_injected_stars_come_back_with_their_flux(reduction, campaign):
    checks = reduction.code("checks")
    found = checks.recover(campaign["coadd"].path, reduction.truth, DETECTOR, BAND)
    assert found.expected > 20
    assert found.back >= 0.95 * found.expected
    assert found.false <= 1
    assert abs(np.median(found.ratios) - 1) < 0.02


def test_variance_says_how_much_the_sky_scatters(reduction, campaign):
    for visit in reduction.visits:
        assert 0.9 < reduction.measures["measures", str(visit)]["blank_sky_pull"] < 1.1
    assert 0.8 < reduction.code("checks").block_pull(campaign["coadd"].path) < 1.2


def test_three_frames_are_quieter_than_one(reduction, campaign):
    checks, images = reduction.code("checks"), reduction.code("measuring.images")
    frames = [a.path for a in campaign["aligned"]]
    scales = [images.read_header(path)["FLXSCALE"] for path in frames]
    assert checks.block_noise_ratio(campaign["coadd"].path, frames, scales) < 0.68


def test_the_mask_names_its_bits_and_holds_the_dead_column(reduction, campaign):
    from astropy.io import fits

    simulate, images = reduction.code("simulate"), reduction.code("measuring.images")
    with fits.open(next(iter(campaign["isr"].values())).path) as hdus:
        assert [h.name for h in hdus][1:4] == ["SCI", "VAR", "MASK"]
        assert hdus["SCI"].header["BUNIT"] == "electron"
        assert {k: hdus["MASK"].header[k] for k in ("MP_BAD", "MP_SAT", "MP_FLAT")} == {
            "MP_BAD": 0,
            "MP_SAT": 1,
            "MP_FLAT": 2,
        }
        mask = hdus["MASK"].data
        assert (mask[:, simulate.DEAD_COLUMNS[DETECTOR]] & images.LOW_FLAT).all()
        assert (mask & images.SATURATED).any()


def test_without_the_flat_the_metrics_fail(reduction, campaign):
    judge = reduction.code("tasks.metrics").judge
    bars = {"sky_ramp": 0.07}
    assert judge(campaign["coadd"].path, bars)["metrics"]["passed"]
    images = reduction.code("measuring.images")
    unflat = reduction.reduce(reduction.visits[0], campaign["calibration"], "unflat", apply_flat=False)
    assert images.read_header(unflat.path)["SKYRAMP"] > bars["sky_ramp"]


def test_the_flat_brings_its_own_variance(reduction, campaign):
    images = reduction.code("measuring.images")
    _, flat = campaign["calibration"]
    frame = images.read_image(campaign["isr"][reduction.visits[0]].path)
    response = images.read_image(flat.path)
    free = ~(frame.mask | response.mask)
    without = np.clip(frame.data, 0, None)[free] / response.data[free]
    assert (frame.uncertainty.array[free] > without).all()
    assert (response.uncertainty.array[free] > 0).all()


def test_a_dead_detector_declines(reduction):
    calibration = reduction.calibrate(DEAD)
    with pytest.raises(NothingToDo) as nothing:
        reduction.reduce(reduction.visits[0], calibration, "dead", detector=DEAD)
    assert nothing.value.code == "dead_detector"


def test_a_sum_of_nothing_declines(reduction):
    with pytest.raises(NothingToDo):
        reduction.run("coadd", "none", {"aligned": []})


def test_no_product_holds_the_clock(campaign):
    from astropy.io import fits

    for product in (campaign["coadd"], *campaign["aligned"]):
        with fits.open(product.path) as hdus:
            for hdu in hdus:
                assert "HISTORY" not in hdu.header
                assert "DATE" not in hdu.header


def test_metrics_runs_as_a_command(campaign, tmp_path, reduction):
    goal = tmp_path / "metrics.yaml"
    assert (
        reduction.code("tasks.metrics").main([str(campaign["coadd"].path), str(goal), "--sky-ramp", "0.001"])
        == 0
    )
    assert json.loads(goal.read_text())["metrics"]["passed"] is False


def product(code, task, output, suffix, inputs, path, **config):
    """Run a task outside the survey: its one output at a path, inputs by connection."""
    module = code(f"tasks.{task}")
    goal = Output(output, {"band": BAND}, path, suffix)
    given = {
        name: tuple(Input(name, {"number": k}, p, form) for k, (p, form) in enumerate(some))
        for name, some in inputs.items()
    }
    path.unlink(missing_ok=True)
    quantum = Quantum(task, goal.data_id, 7, given, {}, {output: (goal,)})
    module.run(quantum, module.Config(**config))
    return quantum


CAMERA = {"gains": ("EGAIN",), "read_noise": 2.0, "saturation": 4000.0}


def raw_frame(path, counts, seconds):
    header = fits.Header({"EGAIN": 2.0, "EXPTIME": seconds})
    fits.writeto(path, np.asarray(counts, dtype=np.uint16), header)
    return path, "fits"


def test_a_dark_is_taken_off_by_exposure_time_and_its_hot_pixels_are_marked(code, tmp_path):
    rng = np.random.default_rng(5)
    shape = (64, 64)
    images = code("measuring.images")

    def made(name):
        return tmp_path / f"{name}.fits", "fits"

    bias = [raw_frame(tmp_path / f"b{k}.fits", np.full(shape, 100), 0) for k in range(3)]
    warm = np.full(shape, 100.0) + rng.integers(29, 32, shape)
    warm[7, 9] = 3000
    dark = raw_frame(tmp_path / "d.fits", warm, 300)
    flat = raw_frame(tmp_path / "f.fits", np.full(shape, 100 + 15 + 1000), 150)
    light = np.full(shape, 100 + 10 + 400) + rng.integers(-9, 10, shape)
    science = raw_frame(tmp_path / "s.fits", light, 100)
    product(code, "bias", "bias", "fits", {"raw": bias}, made("bias")[0], **CAMERA)
    calibrations = {"bias": [made("bias")]}
    quantum = product(
        code, "dark", "dark", "fits", {"raw": [dark], **calibrations}, made("dark")[0], **CAMERA
    )
    assert quantum.measures["electrons_per_second"] == pytest.approx(2 * 30 / 300, rel=0.05)
    assert quantum.measures["bad_pixels"] == 1
    calibrations["dark"] = [made("dark")]
    product(code, "flat", "flat", "fits", {"raw": [flat], **calibrations}, made("flat")[0], **CAMERA)
    assert images.read_header(made("flat")[0])["FLATMED"] == pytest.approx(2000, abs=2)
    calibrations["flat"] = [made("flat")]
    product(code, "isr", "isr", "fits", {"raw": [science], **calibrations}, made("isr")[0], **CAMERA)
    reduced = images.read_image(made("isr")[0])
    assert np.median(reduced.data) == pytest.approx(2 * 400, rel=0.01)
    assert reduced.flags[7, 9] & images.BAD
    # the dark's electrons are gone, their noise is not, nor that of the frames they were told by
    least = 2 * 410 + 2.0**2
    assert least < np.median(reduced.uncertainty.array) < 2 * least


def test_sip_terms_that_ctype_does_not_name_are_applied_and_told(code):
    celestial = code("tasks.celestial")
    header = fits.Header(
        {
            "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 65.2, "CRVAL2": -54.9, "CRPIX1": 390.0, "CRPIX2": 410.0,
            "CUNIT1": "deg", "CUNIT2": "deg", "CD1_1": 3e-4, "CD1_2": 1.7e-4, "CD2_1": -1.7e-4, "CD2_2": 3e-4,
            "A_ORDER": 2, "B_ORDER": 2, "A_2_0": 4e-6, "A_1_1": -2e-6, "B_0_2": 3e-6, "DATE-OBS": "2021-01-18",
        }
    )  # fmt: skip
    named = header.copy()
    named["CTYPE1"], named["CTYPE2"] = "RA---TAN-SIP", "DEC--TAN-SIP"
    x, y = np.array([0.0, 799.0, 300.0]), np.array([0.0, 5.0, 700.0])
    truth = WCS(named, naxis=2).all_pix2world(x, y, 0)
    for given, unnamed in ((header, True), (named, False)):
        wcs, told = celestial.wcs_of(given)
        assert told is unnamed
        np.testing.assert_allclose(wcs.all_pix2world(x, y, 0), truth, rtol=0, atol=1e-12)
        assert list(wcs.wcs.ctype) == ["RA---TAN-SIP", "DEC--TAN-SIP"]
        assert np.isnan(wcs.wcs.mjdobs)  # no midnight is made of a date
    plain = header.copy()
    del plain["A_*"], plain["B_*"]
    wcs, told = celestial.wcs_of(plain)
    assert (told, wcs.sip) == (False, None)
    assert np.abs(np.array(wcs.all_pix2world(x, y, 0)) - truth).max() > 1e-5


def test_sources_and_their_picture_are_the_same_bytes_again(campaign, code, tmp_path):
    coadd = [(campaign["coadd"].path, "fits")]
    table, picture = tmp_path / "sources.parquet", tmp_path / "plot.png"
    before = None
    for _ in range(2):
        found = product(code, "detect", "sources", "parquet", {"image": coadd}, table)
        product(code, "plot", "plot", "png", {"image": coadd, "sources": [(table, "parquet")]}, picture)
        again = table.read_bytes(), picture.read_bytes()
        assert before in (None, again)
        before = again
    assert found.measures["n_sources"] > 20
    rows = pq.read_table(table)
    assert {n: str(rows.schema.field(n).type) for n in rows.column_names} == {
        name: {"float64": "double"}.get(kind, kind)
        for name, kind in code("measuring.sources").schema().items()
    }
    assert np.isnan(rows["ra"].to_numpy()).all()  # no sky coordinates are made up


def test_a_source_catalogue_has_the_injected_stars(reduction, campaign, code, tmp_path):
    table = tmp_path / "sources.parquet"
    product(code, "detect", "sources", "parquet", {"image": [(campaign["coadd"].path, "fits")]}, table)
    checks = code("checks")
    expected, back, ratio = checks.catalogued(table, campaign["coadd"].path, reduction.truth, DETECTOR, BAND)
    assert back >= 0.9 * expected > 0
    assert abs(ratio - 1) < 0.02
