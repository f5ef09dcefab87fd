"""Calibrations in two times, as people certify them and plan with them."""

import hashlib
import json
import re
import shutil

import polars as pl
import pytest

from prestow.errors import CODES
from prestow.model.instants import instant, instant_text
from prestow.project import Project

TYPES = """\
  flat:    {dimensions: [detector, day_obs], format: fits, calibration: true}
  camera:  {dimensions: [instrument, day_obs], format: yaml, calibration: true}
"""
OLD, NEW = "20261001", "20261010"


@pytest.fixture(scope="module")
def taken_in(tmp_path_factory, inside):
    """Make a project with two flats for each of two detectors, and two versions of the camera; nothing is certified."""
    root = tmp_path_factory.mktemp("calibrations") / "demo"
    inside("init", root, cwd=root.parent)
    for path in (root / "raw").iterdir():
        if int(path.stem.split("-")[2]) > 2:
            path.unlink()
    text = (root / "pipeline.yaml").read_text()
    text = text.replace("dataset_types:\n", f"dataset_types:\n{TYPES}", 1).replace("minimum: 2", "minimum: 1")
    text = text.replace("inputs: {raw: raw}", "inputs: {raw: raw, flat: flat, camera: camera}")
    (root / "pipeline.yaml").write_text(text)
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    for night, source in ((OLD, "0001"), (NEW, "0002")):
        for ccd in (0, 1):
            name = f"flat-{night}-{ccd}.fits"
            shutil.copy(root / "raw" / f"simcam-20261101-{source}-{ccd}.fits", root / name)
            inside(
                "ingest", "--as", "flat", name, f"ccd={ccd}", "instrument=simcam", f"night={night}", cwd=root
            )
        (root / f"camera-{night}.yaml").write_text(f"radius: {night}\n")
        words = (f"camera-{night}.yaml", "instrument=simcam", f"night={night}")
        inside("ingest", "--as", "camera", *words, cwd=root)
    return root


@pytest.fixture
def project(taken_in, tmp_path):
    """Give a copy of it of one's own."""
    return shutil.copytree(taken_in, tmp_path / "demo", symlinks=True)


@pytest.fixture
def calib(inside, project):
    """Run ``prestow calib``."""

    def call(*words, **options):
        return inside("calib", *words, cwd=project, **options)

    return call


@pytest.fixture
def certified(calib):
    """Certify the older flats and the older camera."""
    old = ("--begin", "2026-10-01", "--end", "2027-01-01", "--known-from", "2026-10-01")
    calib("certify", "calib", "flat", f"night={OLD}", *old)
    calib("certify", "calib", "camera", f"night={OLD}", *old)


def read(project, plan):
    """Give the names of existing inputs of a plan by type, with their digests."""
    with Project.open(project) as opened:
        tables = opened.find_plan(plan).tables
        there = tables["datasets"].join(
            tables["locations"].select("dataset", place="path", sha="sha256"), on="dataset"
        )
        rows = there.filter(pl.col("type").is_in(["flat", "camera"])).select(
            pl.col("place").cast(pl.String), "sha"
        )
        return {place.rpartition("/")[2]: sha for place, sha in rows.iter_rows()}


def plan_id(answer):
    return answer.json["plan"]


def test_a_replay_as_of_last_month_is_last_months_plan(project, inside, calib, certified):
    first = plan_id(inside("plan", "--json", cwd=project))
    assert set(read(project, first)) == {f"flat-{OLD}-0.fits", f"flat-{OLD}-1.fits", f"camera-{OLD}.yaml"}
    new = ("--begin", "2026-11-01", "--known-from", "2026-10-10")
    for kind in ("flat", "camera"):
        calib("certify", "calib", kind, f"night={NEW}", *new)
    other = plan_id(inside("plan", "--run", "newer", "--json", cwd=project))
    assert set(read(project, other)) == {f"flat-{NEW}-0.fits", f"flat-{NEW}-1.fits", f"camera-{NEW}.yaml"}
    beside = pl.read_parquet(project / "plans" / other / "calibrations.parquet")
    facts = (
        beside.select("task", "connection", "collection", "known_begin").unique().sort("connection").rows()
    )
    known = instant("2026-10-10")
    assert facts == [("isr", "camera", "calib", known), ("isr", "flat", "calib", known)]
    assert beside["dataset"].n_unique() == 3
    again = inside("plan", "--as-of", "2026-10-05", "--json", cwd=project).json
    assert (again["plan"], again["new"]) == (first, False)
    assert plan_id(inside("plan", "--run", "newer", "--as-of", "2026-10-10", "--json", cwd=project)) == other
    assert plan_id(inside("plan", "--input", "calib@2026-10-09T23:59:59", "--json", cwd=project)) == first


def test_camera_geometry_is_an_input_by_name_and_checksum(project, inside, certified):
    plan = plan_id(inside("plan", "--json", cwd=project))
    with Project.open(project) as opened:
        path = opened.find("camera", night=int(OLD)).frame["path"][0]
        document = opened.store.read(path)
    sha = read(project, plan)[f"camera-{OLD}.yaml"]
    assert (sha if isinstance(sha, str) else sha.hex()) == hashlib.sha256(document).hexdigest()


@pytest.mark.parametrize("kind", ["flat", "camera"], ids=["FITS flat", "YAML telemetry"])
def test_one_rule_for_every_format(project, inside, calib, certified, kind):
    # the end of one validity is the begin of the next: exposure 1 begins exactly then
    begin = inside("find", "raw", "--json", cwd=project).json["datasets"][0]["data_id"]["exposure"]
    with Project.open(project) as opened:
        record = opened.registry.dimension_record("exposure", {"instrument": "simcam", "exposure": begin})
    at = instant_text(record["begin"])
    calib("certify", "calib", kind, f"night={NEW}", "--begin", at, "--known-from", "2026-10-10")
    told = inside("why", f"isr-0-{begin}", kind, "--json", cwd=project, ok=False)
    assert told.code != 0  # there is no plan yet
    plan = plan_id(inside("plan", "--json", cwd=project))
    suffix = {"flat": "-0.fits", "camera": ".yaml"}[kind]
    assert f"{kind}-{NEW}{suffix}" in read(project, plan)
    assert f"{kind}-{OLD}{suffix}" not in read(project, plan)  # all exposures are later


def test_why_says_what_was_chosen_and_why_no_other(project, inside, calib, certified):
    new = ("--begin", "2026-11-01", "--known-from", "2026-10-10")
    calib("certify", "calib", "flat", f"night={NEW}", *new)
    inside("plan", cwd=project)
    job = next(w for w in inside("show", "isr", cwd=project).out.split() if w.startswith("isr-0-"))
    text = inside("why", job, "flat", cwd=project).out
    assert f"= flat-{NEW}-0.fits  valid [2026-11-01, …) known since 2026-10-10  calib" in text
    wide = "valid [2026-10-01, 2027-01-01) known since 2026-10-01"
    assert f"rejected: flat-{OLD}-0.fits  {wide}: superseded by flat-{NEW}-0.fits" in text
    assert "2 more flat have another data ID" in text
    facts = inside("why", job, "flat", "--json", cwd=project).json["quanta"][0]
    assert [r["why"] for r in facts["rejected"]] == [f"superseded by flat-{NEW}-0.fits"]
    assert facts["chosen"][0]["known_since"] == "2026-10-10"
    inside("plan", "--run", "replay", "--as-of", "2026-10-05", cwd=project)
    text = inside("why", job, "flat", cwd=project).out
    assert "as known on 2026-10-05" in text
    assert f"= flat-{OLD}-0.fits" in text
    assert f"rejected: flat-{NEW}-0.fits  valid [2026-11-01, …) known since 2026-10-10: not yet known" in text
    assert "reads 1 input as raw: first found in" in inside("why", job, "raw", cwd=project).out
    answer = inside("why", job, "flatt", "--json", cwd=project, ok=False)
    assert answer.codes == ["PST-G012"]


def test_the_difference_of_two_dates_names_the_camera(project, inside, calib, certified):
    calib("certify", "calib", "camera", f"night={NEW}", "--begin", "2026-11-01", "--known-from", "2026-10-10")
    inside("plan", "--run", "new", cwd=project)
    inside("plan", "--run", "old", "--as-of", "2026-10-05", cwd=project)
    text = inside("diff", "old", "new", cwd=project).out
    assert f"also camera{{day_obs={NEW},instrument=simcam}}" in text
    assert f"no longer camera{{day_obs={OLD},instrument=simcam}}" in text
    assert "flat" not in text


def test_gaps_are_waivable_and_overlaps_are_not(project, inside, calib, certified):
    calib("decertify", "calib", "flat", "ccd=1", f"night={OLD}")
    answer = inside("plan", "--json", cwd=project, ok=False)
    assert answer.code == 4
    [problem] = answer.json["problems"]
    assert "2 quanta" in problem["what"]
    assert "calibration_gap:flat" in problem["what"]
    assert "detector=1" in problem["what"]
    gap = calib("check", "--json").json["gaps"]
    assert [g["data_id"] for g in gap] == ["detector=1,instrument=simcam"]
    assert gap[0]["observations"] == 2
    waived = inside("plan", "--waive", "calibration_gap:*", "--json", cwd=project)
    assert plan_id(waived)
    same = ("--begin", "2026-10-20", "--known-from", "2026-10-15")
    calib("certify", "calib", "flat", f"night={NEW}", "ccd=0", *same)
    calib("certify", "calib", "flat", f"night={OLD}", "ccd=0", *same)
    answer = inside("plan", "--waive", "calibration_*", "--run", "x", "--json", cwd=project, ok=False)
    assert answer.code == 4
    assert "calibration_overlap:flat" in answer.json["problems"][0]["what"]
    answer = calib("check", "--json", ok=False)
    assert answer.code == 4
    assert [(o["data_id"], o["datasets"], o["observations"]) for o in answer.json["overlaps"]] == [
        ("detector=0,instrument=simcam", 2, 2)
    ]
    calib("certify", "calib", "flat", f"night={NEW}", "ccd=0", "--begin", "2026-10-20")
    assert calib("check", "--json").json["overlaps"] == []


def test_a_pinned_version_stays_what_it_is(project, inside, calib, certified):
    first = plan_id(inside("plan", "--json", cwd=project))
    assert "pinned calib@2026B" in calib("tag", "calib", "2026B", "--as-of", "2026-10-05").out
    calib("certify", "calib", "flat", f"night={NEW}", "--begin", "2026-11-01")
    assert plan_id(inside("plan", "--input", "calib@2026B", "--json", cwd=project)) == first
    assert len(calib("list", "calib@2026B", "--type", "flat", "--json").json["calibrations"]) == 2
    assert (
        len(calib("list", "calib", "--type", "flat", "--json").json["calibrations"]) == 4
    )  # each begins, or ends, where the other does
    calib("tag", "calib", "2026B", "--as-of", "2026-10-05")
    assert calib("tag", "calib", "2026B", "--json", ok=False).codes == ["PST-K008"]


def test_rows_follow_from_records_and_twice_is_once(project, calib, certified, tree):
    new = ("certify", "calib", "flat", f"night={NEW}", "--begin", "2026-11-01", "--known-from", "2026-10-10")
    assert calib(*new, "--json").json["certified"] == 2
    before = tree(project)
    assert {k: calib(*new, "--json").json[k] for k in ("certified", "already")} == {
        "certified": 0,
        "already": 2,
    }
    assert tree(project) == before
    with Project.open(project) as opened:
        dump = opened.registry.dump()["calibration"]
        assert len(dump) == 2 * 2 + 1 + 2  # an old flat is cut in two; one camera; the new flats
        opened.registry._db.execute("DELETE FROM calibration")
        for kind in ("flat", "camera"):
            opened.registry.certified.apply(opened.store, "calib", kind)
        assert opened.registry.dump()["calibration"] == dump
        opened.registry._db.execute("DELETE FROM calibration")
    assert calib(*new, "--json").json["certified"] == 2  # as if it had been killed after its record
    with Project.open(project) as opened:
        opened.registry.certified.apply(opened.store, "calib", "camera")
        assert opened.registry.dump()["calibration"] == dump
    assert tree(project) == before


BAD = [
    (("calib", "flat", f"night={OLD}", "--begin", "2026-11-01", "--end", "2026-10-01"), ["PST-K001"]),
    (("calib", "flat", f"night={OLD}", "--begin", "2026-11-01", "--end", "2026-11-01"), ["PST-K001"]),
    (("calib", "flat", f"night={OLD}", "--begin", "2026-11-01T00:00:00+01:00"), ["PST-K002"]),
    (("calib", "flat", f"night={OLD}", "--begin", "soon", "--end", "2026-13-01"), ["PST-K002", "PST-K002"]),
    (("calib", "flat", f"night={OLD}", "--begin", "2015-06-30T23:59:60"), ["PST-K002"]),
    (("calib", "flat", f"night={OLD}", "--known-from", "2199-01-01"), ["PST-K006"]),
    (("calib", "flat", "night=20251231"), ["PST-K004"]),
    (("calib", "flat"), ["PST-K005"]),
    (("calib", "fat"), ["PST-G007"]),
    (("a/b", "flat", f"night={OLD}"), ["PST-K009"]),
    (("calib", "flat", f"night={OLD}", "--if", "noise < 3"), ["PST-C027"]),
    (("external-flat", "flat", f"night={OLD}"), ["PST-G004"]),
]


@pytest.mark.parametrize(("words", "codes"), BAD)
def test_what_cannot_be_certified_has_one_clear_answer(taken_in, inside, tree, words, codes):
    before = tree(taken_in)
    answer = inside("calib", "certify", *words, "--json", cwd=taken_in, ok=False)
    assert answer.codes == codes
    assert answer.code == CODES[codes[0]][1] != 0
    assert tree(taken_in) == before
    with Project.open(taken_in) as opened:
        assert opened.registry.certified.collections() == ()


@pytest.mark.parametrize(
    "words",
    [
        ("calib", "check", "nowhere"),
        ("calib", "list", "calib@2026Z"),
        ("calib", "decertify", "nowhere", "flat"),
        ("calib", "tag", "nowhere", "x"),
        ("plan", "--input", "calib@2026B"),
    ],
)
def test_unknown_collections_are_refused(taken_in, inside, words):
    answer = inside(*words, "--json", cwd=taken_in, ok=False)
    assert (answer.code, answer.codes) == (4, ["PST-K003"])


def test_utc_is_turned_into_tai_by_the_leap_seconds(project, calib):
    words = ("certify", "calib", "camera", f"night={OLD}", "--json")
    utc = calib(*words, "--begin", "2016-12-31T23:59:60Z", "--end", "2017-01-01T00:00:00Z").json
    assert utc["valid_end"] - utc["valid_begin"] == 1_000_000_000
    assert utc["valid"] == "[2017-01-01T00:00:36, 2017-01-01T00:00:37)"


def test_help_and_list_read_well(project, calib, certified):
    text = calib("list").out
    assert re.search(
        r"camera +day_obs=20261001,instrument=simcam +\[2026-10-01, 2027-01-01\) +2026-10-01 +calib", text
    )
    assert calib("list", "--as-of", "2026-09-30").out.startswith("0 validities as of 2026-09-30")
    assert json.loads(calib("list", "--json").out)["count"] == 3
    assert calib("--json", "list").out == calib("list", "--json").out
