"""Raw files of sdss and huntsman as they are, where they are at hand."""

import gzip
import os
import shutil
from pathlib import Path

import pytest

from prestow.ingest import ingest_raw
from prestow.instruments import load_instrument
from prestow.naming.universe import load_universe
from prestow.registry import Registry
from prestow.stores import open_store

DATA = Path(os.environ.get("PRESTOW_TEST_DATA", Path(__file__).parents[4] / "shared" / "data"))


def needs(folder):
    return pytest.mark.skipif(
        not (DATA / folder).is_dir(), reason=f"REAL DATA ABSENT: there is no {DATA / folder}"
    )


@pytest.fixture
def houses():
    """Make registries and stores; all are closed at the end."""
    made = []

    def make(root, instrument):
        made.append(House(root, instrument))
        return made[-1]

    yield make
    for house in made:
        house.registry.close()


class House:
    def __init__(self, root, instrument):
        self.store = open_store(f"file://{root}/store")
        self.registry = Registry.open(f"sqlite:///{root}/r.db", load_universe(), create=True)
        self.instrument = load_instrument(instrument)

    def take(self, *files, **how):
        return ingest_raw(files, self.instrument, self.registry, self.store, **how)

    def records(self, element):
        return {row[element]: row for row in self.registry.dimension_records(element).to_pylist()}


@needs("sdss-stripe82")
def test_sdss_frames_come_in_and_their_side_tables_do_not(tmp_path, houses):
    house = houses(tmp_path, "sdss")
    report = house.take(DATA / "sdss-stripe82")
    assert (report.added, report.skipped, report.same_pixels) == (6, (), ())
    reasons = sorted(file.reason.split()[1] for file in report.left_out)
    assert reasons == ["calibration"] * 2 + ["mask"] * 6 + ["reference"]
    assert {Path(path).name for path in report.ignored} == {"README.md", "README_sdss", "manifest.csv"}
    exposures = house.records("exposure")
    assert set(exposures) == {4192140300, 4192240300, 4192540300, 6377140399, 6377240399, 6377540399}
    assert {row["day_obs"] for row in exposures.values()} == {20031019, 20060920}
    assert set(house.records("visit")) == set(exposures)
    for night in (419200000, 637700000):
        begun = [exposures[n]["begin"] for n in sorted(exposures) if n // 1_000_000 == night // 100_000]
        assert begun == sorted(begun)  # r, i, g: in the order in which the sky passes
        assert begun[-1] - begun[0] > 280e9  # minutes apart
    table = house.registry.datasets(["raw"], ["raw-sdss"])
    assert {Path(path).suffixes[-1] for path in table["path"].to_pylist()} == {".gz"}
    again = house.take(DATA / "sdss-stripe82")
    assert (again.added, again.known, len(again.left_out)) == (0, 6, 9)


@needs("sdss-stripe82")
def test_a_gzip_d_frame_has_the_content_of_the_unpacked_one(tmp_path, houses):
    packed = DATA / "sdss-stripe82" / "4192" / "fpC-004192-r4-0300.fit.gz"
    contents = []
    for name in ("packed", "plain"):
        root = tmp_path / name
        root.mkdir()
        path = root / (packed.name if name == "packed" else packed.stem)
        path.write_bytes(packed.read_bytes() if name == "packed" else gzip.decompress(packed.read_bytes()))
        house = houses(root, "sdss")
        assert house.take(path).added == 1
        [row] = house.registry.datasets(["raw"], ["raw-sdss"]).to_pylist()
        contents.append((row["content"], row["id"]))
        assert row["size"] == path.stat().st_size
    assert contents[0] == contents[1]


@needs("huntsman")
def test_huntsman_frames_come_in_and_what_is_none_does_not(tmp_path, houses):
    house = houses(tmp_path, "huntsman")
    report = house.take(DATA / "huntsman")
    assert (report.added, report.skipped) == (5, ())
    left = {Path(file.path).name: file.reason for file in report.left_out}
    assert {name.split("_")[0]: reason.split(",")[0].split(":")[0] for name, reason in left.items()} == {
        "bias": "a master calibration of another pipeline",
        "dark": "a master calibration of another pipeline",
        "flat": "a master calibration of another pipeline",
        "defects": "a table of defects",
        "refcat.csv": "reference stars",
    }
    kinds = {row["observation_type"]: number for number, row in house.records("exposure").items()}
    assert set(kinds) == {"bias", "dark", "flat", "science", "sky"}
    assert set(house.records("visit")) == {kinds["science"]}


@needs("huntsman")
def test_equal_pixels_under_two_identities_are_two_datasets_and_told(tmp_path, houses):
    house = houses(tmp_path, "huntsman")
    raw = DATA / "huntsman" / "raw"
    assert house.take(raw / "science_0.fits").same_pixels == ()
    [told] = house.take(raw / "sky_offset_0.fits").same_pixels  # also from another call
    assert "sky_offset_0.fits" in told.name
    assert "science_0.fits" in told.other
    table = house.registry.datasets(["raw"], ["raw-huntsman"])
    assert len(set(table["id"].to_pylist())) == len(set(table["content"].to_pylist())) == 2


@needs("huntsman")
def test_one_bad_file_is_still_an_error_among_those_left_out(tmp_path, houses):
    house = houses(tmp_path, "huntsman")
    shutil.copytree(DATA / "huntsman", tmp_path / "in")
    bad = tmp_path / "in" / "raw" / "cut.fits"
    bad.write_bytes((DATA / "huntsman" / "raw" / "dark_0.fits").read_bytes()[:5000])
    report = house.take(tmp_path / "in", skip_bad=True)
    assert [Path(problem.where).name.split(",")[0] for problem in report.skipped] == ["cut.fits"]
    assert (report.added, len(report.left_out)) == (5, 5)
