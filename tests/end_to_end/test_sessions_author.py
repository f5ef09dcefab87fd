"""Eight sessions of a pipeline's author before anything runs, typed line by line."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from prestow.project import Project

Sit = Callable[[Path], Callable[..., Any]]

FLAT = "  flat:    {dimensions: [detector, day_obs], format: fits, calibration: true}\n"
OLD, NEW = "20261001", "20261010"

PSFQA_TYPE = "  psfqa_plot: {dimensions: [visit, detector], format: png}\n"
PSFQA_TASK = """\
  psfqa:
    dimensions: [visit, detector]
    run: tasks.psfqa:run
    inputs: {summary: summary}
    outputs: {psfqa_plot: psfqa_plot}
"""
PSFQA = '''"""Draw how good a frame is."""

import numpy as np


def run(quantum):
    """Make a plot as bright as the noise."""
    noise = quantum.get("summary")["noise"]
    quantum.put("psfqa_plot", np.full((8, 8, 3), min(255, int(noise)), dtype="u1"))
'''


@pytest.fixture(scope="module")
def taken_in(tmp_path_factory: pytest.TempPathFactory, sit: Sit, small: Any) -> Path:
    """Four frames and two flats, of which only the older one is certified."""
    base = tmp_path_factory.mktemp("author")
    sit(base)("prestow init demo")
    root: Path = small(base / "demo")
    at = sit(root)
    pipeline = root / "pipeline.yaml"
    text = pipeline.read_text().replace("dataset_types:\n", f"dataset_types:\n{FLAT}", 1)
    pipeline.write_text(text.replace("inputs: {raw: raw}", "inputs: {raw: raw, flat: flat}"))
    at("prestow ingest --raw raw --instrument simcam")
    for night, source in ((OLD, "0001"), (NEW, "0002")):
        shutil.copy(root / "raw" / f"simcam-20261101-{source}-0.fits", root / f"flat-{night}.fits")
        at(f"prestow ingest --as flat flat-{night}.fits ccd=0 instrument=simcam night={night}")
    at(
        f"prestow calib certify calib flat night={OLD} --begin 2026-10-01 --end 2027-01-01 --known-from 2026-10-01"
    )
    return root


@pytest.fixture
def root(taken_in: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(taken_in, tmp_path / "demo", symlinks=True))


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory, taken_in: Path, sit: Sit) -> Path:
    """The same, where the newer flat is certified, too, and run w31 is made and taken in."""
    root = Path(shutil.copytree(taken_in, tmp_path_factory.mktemp("ran") / "demo", symlinks=True))
    at = sit(root)
    supersede(at)
    at("prestow plan --run w31")
    at("prestow run -q --engine local")
    at("prestow ingest")
    return root


@pytest.fixture
def made(ran: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ran, tmp_path / "demo", symlinks=True))


def supersede(at: Callable[..., Any]) -> None:
    at(f"prestow calib certify calib flat night={NEW} --begin 2026-11-01 --known-from 2026-10-10")


def test_1_a_new_output_type_needs_no_edit_elsewhere(root: Path, sit: Sit) -> None:
    at = sit(root)
    pipeline = root / "pipeline.yaml"
    text = pipeline.read_text().replace("\ntasks:\n", f"{PSFQA_TYPE}\ntasks:\n", 1)
    pipeline.write_text(f"{text}{PSFQA_TASK}")
    (root / "tasks" / "psfqa.py").write_text(PSFQA)
    assert "4 tasks, 7 dataset types" in at("prestow check").out
    assert re.search(r"png .*iTXt", at("prestow formats").out)
    at("prestow plan --want psfqa_plot --where visit=202611010001")
    (name,) = at("prestow show psfqa --files").out.split()
    at("prestow run -q --engine local")
    assert b"iTXt" in (root / "store" / name).read_bytes()
    at("prestow ingest")
    assert at("prestow find psfqa_plot --paths").out.split() == [name]
    assert "summary{" in at(f"prestow trace {name} --up").out


def test_2_why_this_input_and_not_that_one(root: Path, sit: Sit) -> None:
    at = sit(root)
    supersede(at)
    at("prestow plan --run w31")
    told = at("prestow why isr-0-202611010003 flat").out
    assert f"= flat-{NEW}.fits  valid [2026-11-01, …) known since 2026-10-10" in told
    assert f"rejected: flat-{OLD}.fits" in told
    assert f"superseded by flat-{NEW}.fits" in told


def test_3_what_could_be_made_of_a_partial_data_id(root: Path, sit: Sit) -> None:
    at = sit(root)
    found = at("prestow find raw visit=202611010003 --json").json["datasets"]
    assert [d["data_id"]["exposure"] for d in found] == [202611010003]
    at("prestow plan --where visit=202611010003 --want calexp --run potential")
    told = at("prestow id visit=202611010003 ccd=0 --type calexp").out
    assert "calexp{detector=0,instrument=simcam,visit=202611010003}" in told
    assert re.search(r"band +g +looked up", told)
    potential = at("prestow find calexp visit=202611010003 --planned --json").json["datasets"]
    assert [(d["state"], d["run"]) for d in potential] == [("planned", "potential")]
    assert at("prestow find calexp visit=202611010001 --json").json["datasets"] == []


def test_4_the_plan_as_it_would_have_been_then(root: Path, sit: Sit) -> None:
    at = sit(root)
    first = at("prestow plan --run replay --json").json["plan"]
    supersede(at)
    at("prestow plan --run w31")
    again = at("prestow plan --run replay --as-of 2026-10-05 --json").json
    assert (again["plan"], again["new"]) == (first, False)
    told = at("prestow diff replay w31").out
    assert re.search(r"isr +\. +4 ", told)
    assert f"flat-{NEW}" in told or "day_obs=20261010" in told


INSTRUMENT = """
schema: prestow.instrument/1
name: mosaic
values:
  observation_type: {keyword: KIND}
  physical_filter: {keyword: FILTER}
  exposure: {keyword: EXPNUM}
  visit: {keyword: EXPNUM}
  detector: {keyword: CCD}
  day_obs: {keyword: DATE-OBS, steps: [day]}
  begin: {keyword: DATE-OBS, steps: [utc]}
  exposure_time: {keyword: EXPTIME, steps: [float]}
  end: {after: begin, seconds: exposure_time}
  ra: {keyword: RA, steps: [float]}
  dec: {keyword: DEC, steps: [float]}
footprint: {camera: camera.yaml}
filters: {R: r, G: g}
visits: [science]
detectors: [{detector: 1}, {detector: 2}]
"""
CAMERA = """
schema: prestow.camera/1
unit: arcmin
detectors:
  1: [[-20, -10], [-1, -10], [-1, 10], [-20, 10]]
  2: [[1, -10], [20, -10], [20, 10], [1, 10]]
"""
SKYMAP = """
schema: prestow.skymap/1
name: field
version: 1
tracts:
  list: [{tract: 0, ra: 10 deg, dec: 0 deg}]
patches: {columns: 3, rows: 3, inner: 20 arcmin, border: 30 arcsec}
"""
SKY = """
schema: prestow.project/1
registry: sqlite:///registry.db
store: store
pipeline: pipeline.yaml
instruments: [mosaic.yaml]
"""
COADDS = """
schema: prestow.pipeline/1
name: sky
dataset_types:
  raw: {dimensions: [exposure, detector], format: fits}
  coadd: {dimensions: [patch, band], format: fits}
tasks:
  coadd: {dimensions: [patch, band], command: [c, "{inputs.raw}", "{outputs.coadd}"], inputs: {raw: raw}, outputs: {coadd: coadd}}
"""


def test_5_what_lies_on_a_patch(tmp_path: Path, sit: Sit) -> None:
    root = tmp_path / "sky"
    (root / "night").mkdir(parents=True)
    texts = {
        "mosaic": INSTRUMENT,
        "camera": CAMERA,
        "field": SKYMAP,
        "prestow": SKY,
        "pipeline": COADDS,
    }
    for name, text in texts.items():
        (root / f"{name}.yaml").write_text(text)
    (root / "store").mkdir()
    for visit, band, ra in ((11, "R", 10.0), (12, "R", 13.0), (13, "G", 10.0)):
        for ccd in (1, 2):
            hdu = fits.PrimaryHDU(np.full((2, 2), visit * 10 + ccd, np.int32))
            hdu.header.update({
                "KIND": "science", "FILTER": band, "EXPNUM": visit, "CCD": ccd, "RA": ra, "DEC": 0.0,
                "DATE-OBS": f"2026-01-{visit}T02:00:00", "EXPTIME": 30.0,
            })  # fmt: skip
            hdu.writeto(root / "night" / f"m{visit}-{ccd}.fits")
    at = sit(root)
    at("prestow ingest --raw night --instrument mosaic")
    at("prestow skymap register field.yaml")
    found = at("prestow overlap --tract 0 --patch 1,1 --band r --json").json["overlaps"]
    assert {(o["visit"], o["detector"]) for o in found} == {(11, 1), (11, 2)}
    turned = at("prestow overlap --visit 11 --detector 1 --json").json["overlaps"]
    assert "1,1" in {o["patch_xy"] for o in turned}
    at("prestow plan --where \"tract = 0 and patch = 4 and band = 'r'\"")
    planned = at("prestow find coadd tract=0 patch=4 --planned --json").json["datasets"]
    assert [(d["data_id"]["patch"], d["data_id"]["band"]) for d in planned] == [(4, "r")]


def test_6_a_quantum_here_cannot_read_what_was_not_planned(root: Path, sit: Sit) -> None:
    at = sit(root)
    task = root / "tasks" / "isr.py"
    task.write_text(
        task.read_text().replace('quantum.get("raw", "array")', 'quantum.get("defects", "array")')
    )
    at("prestow plan --run try")
    told = at("prestow debug isr-0-202611010003", exits=5)
    assert "[PST-N001] the input defects is not in the plan" in told.out
    assert "connections declared here: raw, flat; declare it in the pipeline" in told.out
    task.write_text(task.read_text().replace('"defects"', '"raw"'))
    at("prestow plan --run try-2")
    assert "isr-0-202611010003: made" in at("prestow debug isr-0-202611010003").out
    assert not (root / "store" / "try-2").exists()


def test_7_what_is_staged_and_never_read(made: Path, sit: Sit) -> None:
    at = sit(made)
    (over,) = at("prestow account --unread --task isr --json").json["unread"]["tasks"]
    assert (over["staged"], over["unread"], over["share"]) == (8, 4, 0.5)
    assert over["size"] == 4 * (made / f"flat-{NEW}.fits").stat().st_size
    told = at("prestow account --unread --task isr").out
    assert "isr.flat: 4 of 4 never read" in told
    assert f"visit=202611010001}}: flat{{day_obs={NEW},detector=0" in told


def test_8_the_same_data_in_two_formats_compare_equal(made: Path, sit: Sit) -> None:
    at = sit(made)
    at("prestow plan --set types.summary.format=yaml --run other")
    at("prestow run -q --engine local")
    at("prestow ingest")
    told = at("prestow compare w31 other --type summary --strict --json").json
    assert (told["counts"]["equal"], told["same"]) == (4, True)
    assert told["formats"] == {"summary": ["json", "yaml"]}
    refused = at("prestow plan --set types.calexp.format=hdf5 --run h5", exits=3)
    assert "hdf5" in refused.err
    assert "fits" in refused.err
    with Project.open(made) as project:
        assert {d.run for d in project.find("summary")} == {"w31", "other"}
