"""Frames of five CCDs: plans per CCD, per exposure and per tile, with overlaps as astropy has them from the headers."""

import glob
import os
import warnings
from functools import cache
from itertools import product
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from astropy_healpix import HEALPix

from prestow.project import Project

DATA = (
    Path(os.environ.get("PRESTOW_TEST_DATA", Path(__file__).parents[2] / ".." / "shared" / "data"))
    / "decam-cutouts"
)
SIZE, BORDER, N = 30.0, 2.0, 31  # arc seconds, patches along a side

PIPELINE = """
schema: prestow.pipeline/1
name: tiles
dataset_types:
  raw: {dimensions: [exposure, detector], format: fits}
  reference: {dimensions: [healpix_5], format: fits}
  frame: {dimensions: [visit, detector], format: fits}
  depth: {dimensions: [visit], format: json}
  warp: {dimensions: [visit, patch], format: fits}
  coadd: {dimensions: [patch, band], format: fits}
tasks:
  frame:
    dimensions: [visit, detector]
    command: [a, "{inputs.raw}", "{inputs.reference}", "{outputs.frame}"]
    inputs: {raw: raw, reference: {type: reference, prerequisite: true}}
    outputs: {frame: frame}
  depth:
    dimensions: [visit]
    command: [b, "{inputs.frame}", "{outputs.depth}"]
    inputs: {frame: frame}
    outputs: {depth: depth}
  warp:
    dimensions: [visit, patch]
    command: [c, "{inputs.frame}", "{outputs.warp}"]
    inputs: {frame: {type: frame, padding: PADDING}}
    outputs: {warp: warp}
  coadd:
    dimensions: [patch, band]
    command: [d, "{inputs.warp}", "{outputs.coadd}"]
    inputs: {warp: warp}
    outputs: {coadd: coadd}
"""


@cache
def images():
    return sorted(glob.glob(f"{DATA}/**/*_ooi_*.fits", recursive=True))


def tiles():
    for number, path in enumerate(sorted(DATA.glob("*/survey-bricks.fits.gz"))):
        for row in fits.getdata(path):
            yield number, float(row["ra"]), float(row["dec"])


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    if not DATA.is_dir():
        pytest.skip(f"no real frames at {DATA}: set PRESTOW_TEST_DATA")
    root = tmp_path_factory.mktemp("tiles")
    (root / "prestow.yaml").write_text(
        "schema: prestow.project/1\nregistry: sqlite:///registry.db\nstore: archive\npipeline: pipeline.yaml\n"
    )
    (root / "archive").mkdir()
    (root / "pipeline.yaml").write_text(PIPELINE.replace("PADDING", "0 deg"))
    tracts = "".join(f"    - {{tract: {n}, ra: {ra!r} deg, dec: {dec!r} deg}}\n" for n, ra, dec in tiles())
    (root / "tiles.yaml").write_text(
        f"schema: prestow.skymap/1\nname: tiles\nversion: 1\ntracts:\n  list:\n{tracts}"
        f"patches: {{columns: {N}, rows: {N}, inner: {SIZE} arcsec, border: {BORDER} arcsec}}\npadding: 1 arcmin\n"
    )
    with Project.open(root) as found:
        report = found.ingest_raw([str(path) for path in DATA.glob("*/images")], "decam")
        assert (report.added, len(report.left_out)) == (14, 28)
        found.register_skymap(root / "tiles.yaml")
        for shard, path in chunks().items():
            found.ingest_files([path], "reference", {"healpix_5": shard})
        yield found


def chunks():
    """The real catalogue: its files are pixels of order 5, numbered by rings."""
    found = {int(path.stem.partition("-")[2]): path for path in DATA.glob("*/gaia/chunk-*.fits")}
    return {
        int(HEALPix(32, order="nested").lonlat_to_healpix(*HEALPix(32, order="ring").healpix_to_lonlat(n))): p
        for n, p in found.items()
    }


def corners(path):
    with warnings.catch_warnings(), fits.open(path) as file:
        warnings.simplefilter("ignore")
        wcs = WCS(file[1].header)
        height, width = file[1].data.shape
        return file[0].header["EXPNUM"], file[1].header["CCDNUM"], wcs.all_pix2world(
            [0.5, width + 0.5, width + 0.5, 0.5], [0.5, 0.5, height + 0.5, height + 0.5], 1
        )  # fmt: skip


def plane_of(ra, dec):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [ra, dec]
    wcs.wcs.cdelt = [1 / 3600, 1 / 3600]
    wcs.wcs.crpix = [0, 0]
    return wcs


def apart(a, b):
    """Two convex polygons of the plane are apart: an axis across an edge of one separates them."""
    for polygon in (a, b):
        for p, q in zip(polygon, np.roll(polygon, -1, 0)):
            axis = np.array([q[1] - p[1], p[0] - q[0]])
            if (a @ axis).max() < (b @ axis).min() or (b @ axis).max() < (a @ axis).min():
                return True
    return False


@cache
def expected():
    """On the tangent plane of a tile, great circles are straight: overlaps are those of the plane."""
    found = set()
    for path in images():
        exposure, ccd, (ra, dec) = corners(path)
        for tract, ra0, dec0 in tiles():
            if abs(ra[0] - ra0) > 2:
                continue
            x, y = plane_of(ra0, dec0).all_world2pix(ra, dec, 0)
            image = np.stack([np.asarray(x) + 1, np.asarray(y) + 1], -1)
            for column, row in product(range(N), range(N)):
                low = np.array([(column - N / 2) * SIZE - BORDER, (row - N / 2) * SIZE - BORDER])
                high = low + SIZE + 2 * BORDER
                patch = np.array([low, [high[0], low[1]], high, [low[0], high[1]]])
                if not apart(image, patch):
                    found.add((exposure, ccd, tract, row * N + column))
    return found


def pairs(frame, names):
    return set(frame.select(names).iter_rows())


def test_overlaps_are_those_of_astropy_from_the_headers(project):
    project.relate()
    table = pl.from_arrow(project.registry.relation("sky_overlap"))
    at_once = table.filter(pl.col("separation") == 0)
    found = pairs(at_once, ["visit", "detector", "tract", "patch"])
    assert found == expected()
    assert len(found) >= 14
    assert table.height > at_once.height


def test_a_patch_gives_its_frames_and_a_visit_its_patches(project):
    rows = []
    for visit in project.registry.dimension_records("visit")["visit"].to_pylist():
        found = project.overlap(visit=visit)
        rows += found.frame.select("visit", "detector", "tract", "patch").rows()
    back = []
    for tract, patch in sorted({row[2:] for row in rows}):
        x_y = f"{patch % N},{patch // N}"
        found = project.overlap(tract=tract, patch=x_y)
        assert found.frame["exposures"].to_list() == [1] * found.frame.height
        back += found.frame.select("visit", "detector", "tract", "patch").rows()
    assert sorted(rows) == sorted(back)
    in_g = project.overlap(tract=0, band="g").frame
    assert set(in_g["band"]) == {"g"}


def inputs_of(plan, task):
    tables = plan.tables
    quanta = tables["quanta"].filter(pl.col("task") == task)
    return quanta.height, tables["inputs"].join(quanta, on="quantum", how="semi").height


def test_plans_per_ccd_per_exposure_and_per_tile(project):
    plan = project.plan(run="all", dry_run=True)
    overlaps = expected()
    shards = pl.from_arrow(project.registry.relation("shard_overlap")).filter(pl.col("separation") == 0)
    assert set(shards["healpix_5"]) <= set(chunks())
    assert inputs_of(plan, "frame") == (14, 14 + shards.height)
    assert inputs_of(plan, "depth") == (14, 14)
    assert inputs_of(plan, "warp") == (len({(v, t, p) for v, _, t, p in overlaps}), len(overlaps))
    bands = {path_exposure(p): Path(p).name.split("_")[4] for p in images()}
    coadds = {(t, p, bands[v]) for v, _, t, p in overlaps}
    assert inputs_of(plan, "coadd") == (len(coadds), len({(v, t, p) for v, _, t, p in overlaps}))


def path_exposure(path):
    return fits.getval(path, "EXPNUM")


def test_a_tile_and_a_band_plan_only_what_lies_there(project):
    tract, patch, band = min((t, p, "r") for v, _, t, p in expected() if fits_band(v) == "r")
    plan = project.plan(f"tract = {tract} and patch = {patch} and band = '{band}'", run="one", dry_run=True)
    there = {(v, d) for v, d, t, p in expected() if (t, p) == (tract, patch) and fits_band(v) == band}
    assert inputs_of(plan, "warp") == (len({v for v, _ in there}), len(there))
    assert inputs_of(plan, "frame")[0] == len(there)
    assert inputs_of(plan, "coadd")[0] == 1


@cache
def fits_band(visit):
    return next(Path(p).name.split("_")[4] for p in images() if path_exposure(p) == visit)


def test_padding_reaches_further_and_is_bounded(project):
    path = project.root / "pipeline.yaml"
    plain = project.plan(run="all", dry_run=True)
    try:
        path.write_text(PIPELINE.replace("PADDING", "30 arcsec"))
        padded = project.plan(run="all", dry_run=True)
        path.write_text(PIPELINE.replace("PADDING", "2 arcmin"))
        with pytest.raises(Exception, match="PST-S008"):
            project.plan(run="all", dry_run=True)
    finally:
        path.write_text(PIPELINE.replace("PADDING", "0 deg"))
    assert inputs_of(padded, "warp")[1] > inputs_of(plain, "warp")[1]
    table = pl.from_arrow(project.registry.relation("sky_overlap"))
    assert inputs_of(padded, "warp")[1] == table.filter(pl.col("separation") <= 30 / 3600).height
