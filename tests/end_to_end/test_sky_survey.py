"""A small survey over the pole and across right ascension 0: registered, related bit by bit, looked up, planned."""

import itertools
from functools import cache

import numpy as np
import polars as pl
import pytest
from astropy.io import fits

from prestow.errors import PrestowError
from prestow.project import Project
from prestow.registry import relating
from prestow.sky.footprints import footprint_of_wcs, load_camera
from prestow.sky.geometry import Polygons, separations

INSTRUMENT = """
schema: prestow.instrument/1
name: mosaic
values:
  observation_type: {keyword: KIND}
  physical_filter: {keyword: FILTER, when: {observation_type: [science]}}
  exposure: {keyword: EXPNUM}
  detector: {keyword: CCD}
  visit: {keyword: VISIT, default: null}
  day_obs: {keyword: DATE-OBS, steps: [day]}
  begin: {keyword: DATE-OBS, steps: [utc]}
  exposure_time: {keyword: EXPTIME, steps: [float]}
  end: {after: begin, seconds: exposure_time}
  object: {keyword: OBJECT, default: null}
  ra: {keyword: RA, steps: [float], default: null}
  dec: {keyword: DEC, steps: [float], default: null}
  _rotation: {keyword: ROT, steps: [float], default: null}
footprint: {camera: camera.yaml, rotation: _rotation}
filters: {R: r, G: g}
visits: [science]
detectors: [{detector: 1}, {detector: 2}, {detector: 3}, {detector: 4}]
"""

CAMERA = """
schema: prestow.camera/1
unit: arcmin
detectors:
  1: [[-20, -20], [-1, -20], [-1, -1], [-20, -1]]
  2: [[1, -20], [20, -20], [20, -1], [1, -1]]
  3: [[-20, 1], [-1, 1], [-1, 20], [-20, 20]]
  4: [[1, 1], [20, 1], [20, 20], [1, 20]]
"""

SKYMAP = """
schema: prestow.skymap/1
name: all
version: 1
tracts:
  list:
    - {tract: 0, ra: 0 deg, dec: 12 deg}
    - {tract: 1, ra: 0 deg, dec: 90 deg}
    - {tract: 2, ra: 200.15 deg, dec: -33.1 deg}
patches: {columns: 5, rows: 5, inner: 12 arcmin, border: 30 arcsec}
"""

PIPELINE = """
schema: prestow.pipeline/1
name: sky
dataset_types:
  raw: {dimensions: [exposure, detector], format: fits}
  frame: {dimensions: [visit, detector], format: fits}
  warp: {dimensions: [visit, patch], format: fits}
  mosaic: {dimensions: [tract], format: fits}
  coadd: {dimensions: [patch, band], format: fits}
  forced: {dimensions: [visit, detector], format: fits}
tasks:
  frame: {dimensions: [visit, detector], command: [a, "{inputs.raw}", "{outputs.frame}"], inputs: {raw: raw}, outputs: {frame: frame}}
  warp: {dimensions: [visit, patch], command: [b, "{inputs.frame}", "{outputs.warp}"], inputs: {frame: {type: frame, padding: 1 arcmin}}, outputs: {warp: warp}}
  coadd: {dimensions: [patch, band], command: [c, "{inputs.warp}", "{outputs.coadd}"], inputs: {warp: warp}, outputs: {coadd: coadd}}
  mosaic: {dimensions: [tract], command: [d, "{inputs.frame}", "{outputs.mosaic}"], inputs: {frame: frame}, outputs: {mosaic: mosaic}}
  forced: {dimensions: [visit, detector], command: [e, "{inputs.coadd}", "{inputs.frame}", "{outputs.forced}"], inputs: {coadd: coadd, frame: frame}, outputs: {forced: forced}}
"""

# visit -> filter and pointings of its exposures: at 0 h, at the pole, somewhere
VISITS = {
    10: ("R", [(0.1, 12.0, 0.0), (359.95, 12.05, 0.0)]),
    11: ("R", [(12.0, 89.9, 30.0)]),
    12: ("G", [(200.0, -33.0, 45.0), (200.3, -33.0, 45.0), (200.0, -33.2, 45.0)]),
    13: ("G", [(0.0, 12.0, 10.0)]),
}


def write_raws(directory, visits=VISITS, **more):
    directory.mkdir(exist_ok=True)
    for visit, (band, pointings) in visits.items():
        for number, (ra, dec, rotation) in enumerate(pointings):
            for ccd in (1, 2, 3, 4):
                cards = {
                    "KIND": "science", "FILTER": band, "EXPNUM": visit * 100 + number, "CCD": ccd, "VISIT": visit, "RA": ra,
                    "DEC": dec, "ROT": rotation, "DATE-OBS": f"2026-01-0{visit - 9}T02:0{number}:00", "EXPTIME": 30.0,
                    "OBJECT": f"field {number % 2}", **more,
                }  # fmt: skip
                hdu = fits.PrimaryHDU(np.full((2, 2), visit * 1000 + number * 10 + ccd, np.int32))
                hdu.header.update({name: value for name, value in cards.items() if value is not None})
                hdu.writeto(directory / f"m{visit}-{number}-{ccd}.fits")
    return directory


def make(root, pipeline=PIPELINE):
    root.mkdir(exist_ok=True)
    (root / "prestow.yaml").write_text(
        "schema: prestow.project/1\nregistry: sqlite:///registry.db\nstore: archive\npipeline: pipeline.yaml\n"
        "instruments: [mosaic.yaml]\n"
    )
    (root / "archive").mkdir()
    for name, text in (("mosaic", INSTRUMENT), ("camera", CAMERA), ("all", SKYMAP), ("pipeline", pipeline)):
        (root / f"{name}.yaml").write_text(text)
    return root


@pytest.fixture(scope="module")
def survey(tmp_path_factory):
    root = make(tmp_path_factory.mktemp("sky") / "survey")
    with Project.open(root) as project:
        project.ingest_raw([str(write_raws(root / "night"))], "mosaic")
        project.register_skymap(root / "all.yaml")
        yield project


KEYS = ("visit", "detector", "tract", "patch")


def rows(project, relation="sky_overlap"):
    return pl.from_arrow(project.registry.relation(relation))


@cache
def all_pairs(project):
    """Every footprint with every patch, without any search: the least separation for each visit and detector."""
    camera = load_camera(project.root / "camera.yaml")
    tract, patch, polygons = project.skymaps()[0].patch_polygons()
    found = {}
    for (visit, (_, pointings)), ccd in itertools.product(VISITS.items(), (1, 2, 3, 4)):
        for pointing in pointings:
            corners = camera.footprint(ccd, *pointing)
            one = Polygons.at(corners[None, :, 0], corners[None, :, 1])
            n = len(polygons)
            apart = separations(one, np.zeros(n, int), polygons, np.arange(n), 2 / 60)
            for j in np.flatnonzero(apart <= 2 / 60):
                key = (visit, ccd, int(tract[j]), int(patch[j]))
                found[key] = min(found.get(key, 9.0), float(apart[j]))
    return found


def test_a_visit_of_several_exposures_has_what_they_share(survey):
    visits = {v["visit"]: v for v in survey.registry.dimension_records("visit").to_pylist()}
    assert set(visits) == set(VISITS)
    assert [visits[v]["exposure_time"] for v in (10, 11, 12)] == [60.0, 30.0, 90.0]
    assert (visits[10]["ra"], visits[11]["ra"], visits[12]["dec"]) == (None, 12.0, None)
    assert visits[12]["end"] - visits[12]["begin"] == 150 * 10**9
    assert (visits[11]["object"], visits[12]["object"], visits[12]["physical_filter"]) == (
        "field 0",
        None,
        "G",
    )
    assert survey.registry.relation("visit_definition").num_rows == 7


def test_overlaps_are_the_nearest_of_any_exposure_and_none_is_missed(survey):
    survey.relate()
    found = {
        row[:4]: row[4]
        for row in rows(survey).select("visit", "detector", "tract", "patch", "separation").rows()
    }
    expected = all_pairs(survey)
    assert found == pytest.approx(expected)
    assert {v for v, *_ in found} == set(VISITS)
    assert any(value > 0 for value in expected.values())


def test_relating_again_does_nothing_and_what_is_new_is_all_that_is_looked_at(tmp_path, survey):
    survey.relate()
    whole = rows(survey)
    with Project.open(make(tmp_path / "bits")) as project:
        (tmp_path / "raws").mkdir()
        project.register_skymap(project.root / "all.yaml")
        computed = []
        for step, visits in enumerate([{10: ("R", VISITS[10][1][:1])}, VISITS]):
            project.ingest_raw([str(write_raws(tmp_path / "raws" / str(step), visits))], "mosaic")
            computed += [project.relate()["all"].computed, project.relate()["all"].computed]
        # Visit 10 got a second exposure: it is computed again, and so are the three that are new.
        assert computed == [4, 0, 16, 0]
        assert rows(project).equals(whole)
        assert rows(project, "shard_overlap").equals(rows(survey, "shard_overlap"))


def test_interrupted_it_goes_on(tmp_path, survey, monkeypatch):
    survey.relate()
    whole = rows(survey)
    monkeypatch.setattr(relating, "PART", 5)
    with Project.open(make(tmp_path / "stopped")) as project:
        project.ingest_raw([str(survey.root / "night")], "mosaic")
        project.register_skymap(project.root / "all.yaml")

        def stop(done, total):
            if done >= 10:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            project.relate(progress=stop)
        some = rows(project)
        assert 0 < some.height < whole.height
        assert project.relate()["all"].computed == 6
        assert rows(project).equals(whole)


def test_what_lies_on_a_patch_and_where_a_visit_lies_are_each_others_inverse(survey):
    there = set()
    for visit in VISITS:
        there.update(survey.overlap(visit=visit, padding="90 arcsec").frame.select(KEYS).rows())
    back, by_patch = set(), set()
    for tract in sorted({row[2] for row in there}):
        back.update(survey.overlap(tract=tract, padding="90 arcsec").frame.select(KEYS).rows())
    for tract, patch in sorted({row[2:] for row in there}):
        by_patch.update(
            survey.overlap(tract=tract, patch=patch, padding="90 arcsec").frame.select(KEYS).rows()
        )
    assert there == back == by_patch == {k for k, apart in all_pairs(survey).items() if apart <= 90 / 3600}
    one = survey.overlap(visit=10, detector=2).frame.select(KEYS).rows()
    assert set(one) == {k for k, apart in all_pairs(survey).items() if k[:2] == (10, 2) and not apart}


def inputs_of(plan, task):
    quanta = plan.tables["quanta"].filter(pl.col("task") == task)
    return quanta.height, plan.tables["inputs"].join(quanta, on="quantum", how="semi").height


def test_a_plan_joins_by_the_sky(survey):
    plan = survey.plan(run="joined", dry_run=True)
    near = {key for key, apart in all_pairs(survey).items() if apart <= 1 / 60}
    at = {key for key, apart in all_pairs(survey).items() if apart == 0}
    bands = {visit: band for visit, (band, _) in VISITS.items()}
    warps = {(v, t, p) for v, _, t, p in near}
    coadds = {(t, p, bands[v]) for v, t, p in warps}
    assert inputs_of(plan, "frame") == (16, 28)
    assert inputs_of(plan, "warp") == (len(warps), len(near))
    assert inputs_of(plan, "coadd") == (len(coadds), len(warps))
    assert inputs_of(plan, "mosaic") == (len({t for _, _, t, _ in at}), len({(v, d, t) for v, d, t, _ in at}))
    of_coadds = {(v, d, t, p, bands[v]) for v, d, t, p in at if (t, p, bands[v]) in coadds}
    assert inputs_of(plan, "forced") == (16, 16 + len(of_coadds))


def test_one_patch_and_band_plan_the_visits_that_overlap(survey):
    tract, patch = next((t, p) for v, _, t, p in sorted(all_pairs(survey)) if v == 13)
    plan = survey.plan(f"tract = {tract} and patch = {patch} and band = 'g'", run="patch", dry_run=True)
    near = {
        (v, d)
        for (v, d, t, p), apart in all_pairs(survey).items()
        if (t, p) == (tract, patch) and apart <= 1 / 60
    }
    near = {(v, d) for v, d in near if VISITS[v][0] == "G"}
    assert inputs_of(plan, "warp") == (len({v for v, _ in near}), len(near))
    assert inputs_of(plan, "frame")[0] == len(near)
    assert inputs_of(plan, "coadd") == (1, len({v for v, _ in near}))


def test_the_version_of_a_map_is_in_the_plan_and_other_maps_are_not(tmp_path, survey):
    first = survey.plan(run="id", dry_run=True)
    with Project.open(make(tmp_path / "again")) as project:
        raws = write_raws(tmp_path / "raws", dict(reversed(VISITS.items())))
        project.ingest_raw([str(raws)], "mosaic")
        project.register_skymap(project.root / "all.yaml")
        assert project.plan(run="id", dry_run=True).id == first.id
    with Project.open(make(tmp_path / "other")) as project:
        project.ingest_raw([str(raws)], "mosaic")
        (project.root / "all.yaml").write_text(SKYMAP.replace("version: 1", "version: 2"))
        project.register_skymap(project.root / "all.yaml")
        other = project.plan(run="id", dry_run=True)
        assert inputs_of(other, "warp") == inputs_of(first, "warp")
        assert other.id != first.id


def test_a_plan_without_the_sky_does_not_change_with_it(tmp_path):
    plain = "\n".join(
        line
        for line in PIPELINE.splitlines()
        if not line.startswith(("  warp", "  coadd", "  mosaic", "  forced"))
    )
    with Project.open(make(tmp_path / "plain", plain)) as project:
        project.ingest_raw([str(write_raws(tmp_path / "raws"))], "mosaic")
        before = project.plan(run="id", dry_run=True).id
        project.register_skymap(project.root / "all.yaml")
        project.relate()
        assert project.plan(run="id", dry_run=True).id == before


def test_the_commands_say_what_they_did(survey, inside):
    root = survey.root
    again = inside("skymap", "register", "all.yaml", "--json", cwd=root).json
    assert (again["schema"], again["new"], again["name"]) == ("prestow.skymap-register/1", False, "all")
    assert "there already: sky map all version 1" in inside("skymap", "register", "all.yaml", cwd=root).out
    shown = inside("skymap", "show", "all", "--json", cwd=root).json["skymaps"][0]
    assert (shown["columns"], shown["version"]) == (5, 1)
    assert inside("skymap", "relate", "--json", cwd=root).json["related"]["all"]["footprints"] == 28
    by_visit = inside("overlap", "--visit", 11, "--detector", 2, "--json", cwd=root).json
    one = by_visit["overlaps"][0]
    answer = inside("overlap", "--tract", one["tract"], "--patch", one["patch_xy"], "--band", "r", cwd=root)
    assert answer.out.splitlines()[-1] == "next: prestow overlap --visit 11"
    as_number = inside("overlap", "--tract", one["tract"], "--patch", one["patch"], "--json", cwd=root).json
    assert {"visit": 11, "detector": 2} in [
        {k: r[k] for k in ("visit", "detector")} for r in as_number["overlaps"]
    ]
    assert as_number["schema"] == "prestow.overlap/1"


@pytest.mark.parametrize(
    ("words", "code", "exit_code"),
    [
        (["overlap"], "PST-G005", 2),
        (["overlap", "--tract", "1", "--visit", "2"], "PST-G005", 2),
        (["overlap", "--visit", "2", "--patch", "1,1"], "PST-G005", 2),
        (["overlap", "--tract", "999999"], "PST-S004", 2),
        (["overlap", "--tract", "1", "--patch", "9,0"], "PST-S004", 2),
        (["overlap", "--tract", "1", "--skymap", "al"], "PST-S004", 2),
        (["overlap", "--tract", "1", "--padding", "3"], "PST-G005", 2),
        (["overlap", "--tract", "1", "--padding", "3 deg"], "PST-S008", 4),
        (["skymap", "register", "nowhere.yaml"], "PST-C001", 3),
        (["skymap", "register", "camera.yaml"], "PST-C010", 3),
        (["skymap", "register", "changed.yaml"], "PST-S003", 2),
        (["skymap", "register", "hole.yaml"], "PST-S001", 3),
    ],
)
def test_a_mistake_has_one_answer_and_changes_nothing(survey, inside, words, code, exit_code):
    (survey.root / "changed.yaml").write_text(SKYMAP.replace("-33.1", "-33.2"))
    near = SKYMAP.replace("name: all", "name: hole").replace(
        "patches:", "    - {tract: 3, ra: 1.1 deg, dec: 12 deg}\npatches:"
    )
    (survey.root / "hole.yaml").write_text(near)
    before = survey.registry.on_sky.skymaps()
    answer = inside(*words, "--json", cwd=survey.root, ok=False)
    assert (answer.codes[0], answer.code) == (code, exit_code)
    assert survey.registry.on_sky.skymaps() == before


def test_what_is_wrong_with_footprints_and_visits_is_told_and_nothing_is_taken_in(tmp_path):
    cases = {
        "no rotation": (dict(ROT=None), INSTRUMENT, "PST-I001", "_rotation"),
        "two filters": (None, INSTRUMENT, "PST-I006", "physical_filter"),
        "no wcs": (
            {},
            INSTRUMENT.replace("{camera: camera.yaml, rotation: _rotation}", "{wcs: 0}"),
            "PST-S005",
            "WCS",
        ),
    }
    for name, (cards, instrument, code, word) in cases.items():
        root = make(tmp_path / name)
        (root / "mosaic.yaml").write_text(instrument)
        raws = write_raws(root / "raws", {13: VISITS[13]}, **(cards or {}))
        if cards is None:
            (root / "more").mkdir()
            write_raws(root / "more" / "raws", {14: ("R", [(0.0, 12.0, 0.0)])}, VISIT=13)
            raws = root
        with Project.open(root) as project:
            with pytest.raises(PrestowError) as refused:
                project.ingest_raw([str(raws)], "mosaic")
            assert {p.code for p in refused.value.problems} == {code}
            assert word in str(refused.value)
            assert project.registry.counts()["dataset"] == 0


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        (
            "{camera: camera.yaml, rotation: _rotation}",
            "{camera: camera.yaml, rotation: _turn}",
            "mosaic.yaml:18",
        ),
        ("{camera: camera.yaml, rotation: _rotation}", "{camera: camera.yaml, wcs: 1}", "mosaic.yaml:18"),
        ("{camera: camera.yaml, rotation: _rotation}", "{wcs: one}", "mosaic.yaml:18"),
        ("{camera: camera.yaml, rotation: _rotation}", "{camera: lost.yaml}", "lost.yaml"),
        ("{detector: 4}", "{detector: 4}, {detector: 5}", "mosaic.yaml:18"),
        ("unit: arcmin", "unit: mm", "camera.yaml:3"),
        ("[20, 1], [20, 20]", "[20, 20], [20, 1]", "camera.yaml:8"),
        ("[[-20, -20], ", "[", "camera.yaml:5"),
    ],
)
def test_a_wrong_footprint_rule_is_found_by_check(tmp_path, inside, old, new, where):
    root = make(tmp_path / "wrong")
    changed = 0
    for name in ("mosaic.yaml", "camera.yaml"):
        text = (root / name).read_text()
        changed += old in text
        (root / name).write_text(text.replace(old, new))
    assert changed == 1
    answer = inside("check", "--json", cwd=root, ok=False)
    assert answer.code == 3
    assert [p["where"].rpartition("/")[2].startswith(where) for p in answer.json["problems"]] == [True]


def test_without_a_map_a_plan_by_patch_says_so(tmp_path):
    with Project.open(make(tmp_path / "none")) as project:
        project.ingest_raw([str(write_raws(tmp_path / "raws", {13: VISITS[13]}))], "mosaic")
        with pytest.raises(PrestowError) as refused:
            project.plan(run="none", dry_run=True)
        assert "PST-S007" in {p.code for p in refused.value.problems}


def test_a_wcs_gives_the_outer_edges_of_the_pixels(tmp_path):
    hdu = fits.PrimaryHDU(np.zeros((20, 10), np.int16))
    hdu.header.update(
        {
            "CTYPE1": "RA---TAN",
            "CTYPE2": "DEC--TAN",
            "CRPIX1": 0.5,
            "CRPIX2": 0.5,
            "CRVAL1": 0.0,
            "CRVAL2": 0.0,
        }
        | {"CDELT1": -0.01, "CDELT2": 0.01}
    )
    hdu.writeto(tmp_path / "a.fits")
    corners = footprint_of_wcs(tmp_path / "a.fits", 0)
    ra = (corners[:, 0] + 180) % 360 - 180
    assert ra.tolist() == pytest.approx([0, -0.1, -0.1, 0], abs=1e-6)
    assert corners[:, 1].tolist() == pytest.approx([0, 0, 0.2, 0.2], abs=1e-5)


def test_a_registry_made_again_knows_the_same_sky(tmp_path):
    """Footprints, maps, tracts, patches, shards, visits of several exposures, and the overlaps that were asked for."""
    root = make(tmp_path / "again")
    with Project.open(root) as project:
        raws = [str(write_raws(tmp_path / "raws", {visit: VISITS[visit]})) for visit in (10, 13)]
        project.ingest_raw(raws[:1], "mosaic")
        project.register_skymap(root / "all.yaml")
        project.relate()
        before = project.registry.dump()
    assert all(
        before[name] for name in ("footprint", "skymap", "relation_sky_overlap", "relation_patch_shards")
    )
    assert all(
        before[name] for name in ("relation_shard_overlap", "relation_visit_definition", "dimension_visit")
    )
    (root / "registry.db").rename(root / "old.db")
    with Project.open(root) as project:
        made = project.rebuild(compare=str(root / "old.db"))
        assert (made.differences, made.rebuilt.problems) == ((), ())
        assert project.registry.dump() == before
