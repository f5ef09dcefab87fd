"""Raw files by their headers: all looked at first, then taken in once."""

import hashlib
import os
import shutil
from pathlib import Path

import pytest

from prestow.errors import Exit, IngestError
from prestow.ingest import Transfer, ingest_raw
from prestow.instruments import load_instrument
from prestow.naming.universe import load_universe
from prestow.registry import Registry
from prestow.registry.records import read_records
from prestow.stores import open_store

DATA = (
    Path(os.environ.get("PRESTOW_TEST_DATA", Path(__file__).parents[4] / "shared" / "data")) / "uam-ngc2420"
)
UNIVERSE = load_universe()
SIMCAM = load_instrument("simcam")


def card(key, value):
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, str):
        text = f"'{value:<8}'"
    else:
        text = f"{value:>20}"
    return f"{key:<8}= {text}".ljust(80)


def simcam(path, *, obsid=202501010001, detector=0, kind="OBJECT", pixel=0, **changes):
    cards = {
        "SIMPLE": True,
        "BITPIX": 8,
        "NAXIS": 1,
        "NAXIS1": 4,
        "INSTRUME": "SIMCAM",
        "OBSID": obsid,
        "DETECTOR": detector,
        "FILTER": "sim-g",
        "IMGTYPE": kind,
        "DATE-OBS": "2025-01-02T03:04:05",
        "EXPTIME": 30.0,
        "OBJECT": "field",
        "RA": 1.0,
        "DEC": 2.0,
        "AIRMASS": 1.1,
    } | {k.replace("_", "-"): v for k, v in changes.items()}
    header = "".join(card(k, v) for k, v in cards.items() if v is not None) + "END".ljust(80)
    header += " " * (-len(header) % 2880)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(header.encode() + bytes([pixel] * 4) + bytes(2876))
    return path


class House:
    def __init__(self, root, url):
        self.root = root
        self.store = open_store(f"file://{root}/store")
        self.registry = Registry.open(url, UNIVERSE, create=True)

    def take(self, *files, **how):
        return ingest_raw(files, SIMCAM, self.registry, self.store, **how)

    def names(self):
        return [name for name, _ in self.store.walk() if not name.startswith("_records/")]


@pytest.fixture
def house(tmp_path, registry_url):
    root = tmp_path / "a b#c%d[e'ü"
    root.mkdir()
    house = House(root, registry_url)
    yield house
    house.registry.close()


def codes(caught):
    return [problem.code for problem in caught.value.problems]


def test_files_are_copied_recorded_and_registered(house):
    for d in (0, 1):
        simcam(house.root / f"in/x {d}#.fits", detector=d)
    simcam(house.root / "in/deep/bias.FIT", kind="BIAS", obsid=202501010002)
    (house.root / "in/notes.txt").write_text("hello")
    report = house.take(house.root / "in")
    assert (report.run, report.added, report.known, report.skipped) == ("raw-simcam", 3, 0, ())
    assert [Path(p).name for p in report.ignored] == ["notes.txt"]
    assert house.names() == [
        "raw/simcam/20250101/bias.FIT",
        "raw/simcam/20250101/x 0#.fits",
        "raw/simcam/20250101/x 1#.fits",
    ]
    table = house.registry.datasets(["raw"], ["raw-simcam"])
    assert table["detector"].to_pylist() == [0, 0, 1]
    assert table["exposure"].to_pylist() == [202501010001, 202501010002, 202501010001]
    assert all(
        r.hex() == c[:32]
        for r, c in zip(table["recipe"].to_pylist(), table["content"].to_pylist(), strict=True)
    )
    assert table["store"].to_pylist() == ["archive"] * 3
    for path, sha in zip(table["path"].to_pylist(), table["sha256"].to_pylist(), strict=True):
        assert hashlib.sha256(house.store.read(path)).hexdigest() == sha
    assert len(list(read_records(house.store, "registered"))) == 3


def test_exposures_visits_and_their_definition(house):
    simcam(house.root / "in/a.fits")
    simcam(house.root / "in/b.fits", kind="BIAS", obsid=202501010002)
    house.take(house.root / "in")
    exposures = house.registry.dimension_records("exposure").to_pylist()
    assert [(e["observation_type"], e["physical_filter"]) for e in exposures] == [
        ("science", "sim-g"),
        ("bias", None),
    ]
    assert exposures[0]["end"] - exposures[0]["begin"] == 30_000_000_000
    assert house.registry.dimension_records("visit")["visit"].to_pylist() == [202501010001]
    assert house.registry.relation("visit_definition").to_pylist() == [
        {"exposure": 202501010001, "instrument": "simcam", "visit": 202501010001}
    ]
    assert house.registry.dimension_records("detector")["purpose"].to_pylist() == ["science"] * 3 + ["dead"]
    assert house.registry.dimension_records("physical_filter")["band"].to_pylist() == ["g", "r"]


@pytest.mark.parametrize("transfer", list(Transfer))
def test_twice_is_once(house, transfer):
    for d in (0, 1):
        simcam(house.root / f"in/x{d}.fits", detector=d)
    house.take(house.root / "in", transfer=transfer)
    before, names = house.registry.dump(), list(house.store.walk())
    report = house.take(house.root / "in", transfer=transfer)
    assert (report.added, report.known) == (0, 2)
    assert house.registry.dump() == before
    assert list(house.store.walk()) == names


def test_all_problems_of_all_files_are_told_and_nothing_is_written(house):
    good = simcam(house.root / "in/a.fits")
    simcam(house.root / "in/b.fits", OBSID=None, EXPTIME="x")
    cut = simcam(house.root / "in/c.fits", obsid=202501010003)
    cut.write_bytes(cut.read_bytes()[:2882])
    simcam(house.root / "in/d.fits", pixel=7)
    (house.root / "in/e.fits").write_text("no FITS at all")
    (house.root / "in/f.fits").write_bytes(b"")
    with pytest.raises(IngestError) as caught:
        house.take(house.root / "in", house.root / "nowhere.fits")
    assert sorted(codes(caught)) == ["PST-I001"] * 2 + ["PST-I002"] + ["PST-I004"] * 3 + ["PST-I005"]
    assert caught.value.exit_code is Exit.INGEST
    clash = next(p for p in caught.value.problems if p.code == "PST-I002")
    assert clash.where.endswith("d.fits")
    assert str(good) in clash.what
    assert house.names() == []
    assert house.registry.counts()["dataset"] == house.registry.counts()["dimension_exposure"] == 0


def test_skip_bad_takes_the_good_ones_and_names_the_rest(house):
    simcam(house.root / "in/a.fits")
    (house.root / "in/e.fits").write_text("no FITS at all")
    report = house.take(house.root / "in", skip_bad=True)
    assert report.added == 1
    assert [p.code for p in report.skipped] == ["PST-I004"]


def test_the_same_bytes_twice_are_one_dataset(house):
    simcam(house.root / "in/a.fits")
    simcam(house.root / "in/copy/a.fits")
    report = house.take(house.root / "in")
    assert (report.added, report.duplicates) == (1, 1)


def test_other_bytes_for_a_registered_identity_are_refused(house):
    simcam(house.root / "in/a.fits")
    house.take(house.root / "in")
    before = house.registry.dump()
    simcam(house.root / "other/a.fits", pixel=9)
    with pytest.raises(IngestError) as caught:
        house.take(house.root / "other")
    assert codes(caught) == ["PST-I002"]
    assert house.registry.dump() == before


def test_files_of_one_name_and_day_do_not_replace_each_other(house):
    for d in (0, 1):
        simcam(house.root / f"in/{d}/img.fits", detector=d, pixel=d)
    assert house.take(house.root / "in").added == 2
    paths = house.registry.datasets(["raw"], ["raw-simcam"])["path"].to_pylist()
    assert paths[0] == "raw/simcam/20250101/img.fits"
    assert paths[1].endswith("/img.fits")
    assert [house.store.read(p)[2880] for p in paths] == [0, 1]


def test_detectors_that_disagree_about_their_exposure_are_told(house):
    simcam(house.root / "in/a.fits", detector=0)
    simcam(house.root / "in/b.fits", detector=1, AIRMASS=1.7)
    with pytest.raises(IngestError, match="airmass 1.7"):
        house.take(house.root / "in")
    house.take(house.root / "in/a.fits")
    with pytest.raises(IngestError, match="the registry"):
        house.take(house.root / "in/b.fits")


def test_in_place_files_are_never_touched_nor_copied(house):
    for d in (0, 1):
        simcam(house.root / f"theirs/n{d}/x.fits", detector=d)
    files = sorted((house.root / "theirs").rglob("*.fits"))
    before = [(f.stat().st_ino, f.stat().st_mtime_ns, f.stat().st_mode) for f in files]
    house.take(house.root / "theirs", transfer=Transfer.IN_PLACE)
    assert [(f.stat().st_ino, f.stat().st_mtime_ns, f.stat().st_mode) for f in files] == before
    assert house.names() == []
    assert house.registry.stores()["raw-simcam"] == (f"file://{house.root}/theirs", "readonly")
    assert house.registry.datasets(["raw"], ["raw-simcam"])["path"].to_pylist() == ["n0/x.fits", "n1/x.fits"]
    simcam(house.root / "theirs/n2/x.fits", detector=2)
    house.take(house.root / "theirs", transfer=Transfer.IN_PLACE)
    simcam(house.root / "others/x.fits", detector=3)
    house.take(house.root / "others", transfer=Transfer.IN_PLACE)
    assert set(house.registry.stores()) == {"archive", "raw-simcam", "raw-simcam-2"}
    for name, path in zip(
        *(house.registry.datasets(["raw"], ["raw-simcam"])[c].to_pylist() for c in ("store", "path")),
        strict=True,
    ):
        assert open_store(house.registry.stores()[name][0]).size(path) == 5760


def test_only_what_nobody_can_write_is_linked(house):
    sealed = simcam(house.root / "in/sealed.fits", detector=0)
    open_ = simcam(house.root / "in/open.fits", detector=1)
    sealed.chmod(0o444)
    house.take(house.root / "in", transfer=Transfer.LINK)
    assert house.store.local_path("raw/simcam/20250101/sealed.fits").stat().st_ino == sealed.stat().st_ino
    assert house.store.local_path("raw/simcam/20250101/open.fits").stat().st_ino != open_.stat().st_ino


def test_after_a_stop_between_copy_and_registry_the_same_call_goes_on(house, registry_urls):
    for d in range(4):
        simcam(house.root / f"in/x{d}.fits", detector=d)
    calls = 0
    real = house.store.put_if_absent

    def stop(name, data):
        nonlocal calls
        calls += 1
        if calls > stop.after:
            raise KeyboardInterrupt
        return real(name, data)

    for stop.after in range(24):
        calls = 0
        house.store.put_if_absent = stop
        try:
            house.take(house.root / "in")
        except KeyboardInterrupt:
            continue
        break
    del house.store.put_if_absent
    house.take(house.root / "in")
    other = House(house.root / "in", registry_urls("other"))
    other.take(house.root / "in")
    mine, theirs = house.registry.dump(), other.registry.dump()
    mine.pop("store"), theirs.pop("store")
    assert mine == theirs
    other.registry.close()


def test_the_order_of_files_does_not_matter(house, tmp_path, registry_urls):
    files = [simcam(house.root / f"in/x{d}.fits", detector=d, pixel=d) for d in range(4)]
    house.take(*files)
    (tmp_path / "other").mkdir()
    other = House(tmp_path / "other", registry_urls("other"))
    for file in reversed(files):
        other.take(file)
    mine, theirs = house.registry.dump(), other.registry.dump()
    mine.pop("store"), theirs.pop("store")
    assert mine == theirs
    other.registry.close()


def test_a_deleted_raw_file_does_not_come_back(house):
    simcam(house.root / "in/a.fits")
    house.take(house.root / "in")
    house.registry.delete_datasets(house.registry.datasets(["raw"], ["raw-simcam"])["id"].to_pylist())
    report = house.take(house.root / "in")
    assert (report.added, report.deleted) == (0, 1)


def test_progress_ends_where_it_should(house):
    for d in range(3):
        simcam(house.root / f"in/x{d}.fits", detector=d)
    told = []
    house.take(house.root / "in", progress=lambda done, total: told.append((done, total)))
    assert told[-1] == (3, 3)
    assert [done for done, _ in told] == sorted(done for done, _ in told)


@pytest.mark.skipif(not DATA.exists(), reason=f"no real frames at {DATA} (set PRESTOW_TEST_DATA)")
def test_a_real_campaign_of_cafos(tmp_path, registry_url):
    house = House(tmp_path, registry_url)
    (tmp_path / "in").mkdir()
    for file in DATA.rglob("*.fits"):
        shutil.copyfile(file, tmp_path / "in" / file.name)
    report = ingest_raw([tmp_path / "in"], load_instrument("cafos"), house.registry, house.store)
    assert report.added == 15
    exposures = house.registry.dimension_records("exposure").to_pylist()
    assert [e["observation_type"] for e in exposures] == ["bias"] * 2 + ["flat"] * 2 + ["science"] * 11
    assert {e["object"] for e in exposures if e["observation_type"] == "science"} == {"NGC 2420"}
    assert [e["day_obs"] for e in exposures] == [20210318] * 4 + [20210328] * 11
    assert [e["physical_filter"] for e in exposures][:4] == [None, None, "JohnsonB", "JohnsonV"]
    assert exposures[4]["file_number"] == 23
    house.registry.close()
