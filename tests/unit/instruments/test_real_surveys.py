"""The instruments sdss and huntsman: what odd headers come to, or why they are refused."""

import pytest

from prestow.instruments import load_instrument
from prestow.instruments.time import tai

SDSS = {
    "NAXIS": 2, "NAXIS2": 1489, "ORIGIN": "SDSS", "CCDMODE": "DRIFT", "TIMESYS": "TAI", "FLAVOR": "science ",
    "RUN": 94, "FRAME": 108, "CCDLOC": 54, "CAMCOL": 4, "FILTER": "g  ", "DATE-OBS": "2001-09-20",
    "TAIHMS": "23:59:50.25", "EXPTIME": "53.907456", "C_OBS": 26322, "OBJECT": "82 S", "RA": 352.3, "DEC": 0.0,
    "CRVAL1": 351.6, "CRVAL2": 0.1,
}  # fmt: skip
HUNTSMAN = {
    "NAXIS": 2, "ORIGIN": "Project PANOPTES", "OBSERVER": "Huntsman", "CAM-ID": "TESTCAM03",
    "IMAGETYP": "Light Frame", "EXPTIME": 300, "FIELD": "Fornax-p1", "FILTER": "g_band",
    "DATE-OBS": "2021-02-03T11:26:32.228", "CRVAL1": 65.2, "CRVAL2": -54.9, "AIRMASS": 1.1,
}  # fmt: skip


def observe(name, cards, **changes):
    cards = {k: v for k, v in {**cards, **changes}.items() if v is not None}
    return load_instrument(name).observe(cards, "x.fits")


def good(name, cards, **changes):
    observation, wrong = observe(name, cards, **changes)
    assert wrong == []
    return observation


def test_a_drift_scan_has_a_beginning_and_an_end_and_no_middle():
    seen = good("sdss", SDSS)
    first_row = tai("2001-09-20T23:59:50.25")
    assert seen.metadata["begin"] == first_row - 53_907_456_000
    assert seen.metadata["end"] == first_row + 1488 * 26_322_000
    assert seen.metadata["exposure_time"] == 53.907456
    # longer than any row was exposed, and over midnight
    assert seen.metadata["end"] - seen.metadata["begin"] > 53_907_456_000


def test_an_exposure_is_a_run_a_ccd_and_a_field():
    seen = good("sdss", SDSS)
    assert (seen.exposure, seen.visit, seen.detector, seen.band) == (94540100, 94540100, 54, "g")
    assert seen.metadata["file_number"] == 100  # FRAME is 108 in g: it sees a field eight frames after r
    assert (seen.metadata["ra"], seen.metadata["dec"]) == (351.6, 0.1)  # not the boresight


def test_exposures_differ_by_run_field_filter_and_column():
    rows = {"r": (1, 0), "i": (2, 2), "u": (3, 4), "z": (4, 6), "g": (5, 8)}
    seen = [
        good("sdss", SDSS, RUN=run, FRAME=field + later, CCDLOC=10 * row + column, FILTER=band)
        for run in (94, 9454)
        for field in (11, 100, 1011)
        for band, (row, later) in rows.items()
        for column in (1, 6)
    ]
    assert len({one.exposure for one in seen}) == len(seen)
    assert {one.metadata["file_number"] for one in seen} == {11, 100, 1011}


@pytest.mark.parametrize(
    ("time", "night"), [("05:00:00", 20010920), ("18:59:59", 20010920), ("19:00:00", 20010921)]
)
def test_a_night_at_apache_point_has_the_date_of_its_end(time, night):
    assert good("sdss", SDSS, TAIHMS=time).day_obs == night


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"TIMESYS": "UTC"}, "TIMESYS"),
        ({"TAIHMS": None}, "the header has no TAIHMS"),
        ({"TAIHMS": "25:00:00"}, "no such time of day"),
        ({"TAIHMS": "23:59:60"}, "no such time of day in TAI"),
        ({"EXPTIME": "long"}, "not a number"),
        ({"CCDLOC": 55}, "CCDLOC"),
        ({"CCDLOC": 67}, "there is no detector 67"),
        ({"DATE-OBS": "20/09/01"}, "does not match"),
        ({"C_OBS": "fast"}, "C_OBS is 'fast'"),
    ],
)
def test_what_a_drift_scan_lacks_is_told(changes, told):
    observation, wrong = observe("sdss", SDSS, **changes)
    if changes == {"CCDLOC": 55}:
        assert observation is not None  # there is such a CCD
    else:
        assert observation is None
        assert told in "; ".join(wrong)


@pytest.mark.parametrize(
    ("cards", "name", "begins"),
    [
        ({"NPLANE": 10, "MASKROWS": 1489}, "fpM-000094-g4-0100.fit", "a mask"),
        ({"NFIELDS": 1, "FIELD0": 100}, "tsField-000094-4-40-0100.fit", "the calibration of fields"),
        ({}, "stars.fits", "a reference star catalogue"),
    ],
)
def test_side_tables_are_left_out_with_their_reason(cards, name, begins):
    sdss = load_instrument("sdss")
    assert sdss.reason_to_leave_out(cards, name).startswith(begins)
    assert sdss.reason_to_leave_out(SDSS, "fpC-000094-g4-0100.fit.gz") is None
    assert sdss.reason_to_leave_out({}, "fpM-000094-g4-0100.fit") is None  # by its header, not by its name


@pytest.mark.parametrize(
    ("kind", "changes"),
    [
        ("bias", {"IMAGETYP": "Dark Frame", "EXPTIME": 1e-32, "FIELD": "Bias", "FILTER": "UNKNOWN"}),
        ("dark", {"IMAGETYP": "Dark Frame", "EXPTIME": 300.0, "FIELD": "Dark", "FILTER": "UNKNOWN"}),
        ("dark", {"IMAGETYP": "Dark Frame", "EXPTIME": 300, "FIELD": "Dark", "FILTER": "UNKNOWN"}),
        ("flat", {"FIELD": "FlatDither07"}),
        ("science", {}),
        ("science", {"FIELD": "FlatDitherness"}),
        ("science", {"FIELD": "Biased"}),
        ("sky", {"FIELD": "Fornax-p1_sky"}),
    ],
)
def test_three_keywords_tell_the_kind(kind, changes):
    seen = good("huntsman", HUNTSMAN, **changes)
    assert seen.metadata["observation_type"] == kind
    assert seen.visit == (20210203112632228 if kind == "science" else None)
    assert seen.band == (None if kind in ("bias", "dark") else "g")
    assert seen.metadata["exposure_time"] == (0.0 if kind == "bias" else 300.0)
    assert (seen.metadata["object"] is None) == (kind in ("bias", "dark", "flat"))


@pytest.mark.parametrize(
    "changes",
    [
        {"FIELD": "Bias"},
        {"FIELD": "Dark"},
        {"IMAGETYP": "Dark Frame"},
        {"IMAGETYP": "Dark Frame", "FIELD": "Bias"},
        {"EXPTIME": 1e-32},
        {"IMAGETYP": "Dark Frame", "EXPTIME": 1e-32, "FIELD": "Dark"},
        {"EXPTIME": 1e-32, "FIELD": "FlatDither00"},
        {"FIELD": "FlatDither00_sky"},
        {"IMAGETYP": "Master"},
    ],
)
def test_keywords_that_contradict_each_other_are_refused(changes):
    observation, wrong = observe("huntsman", HUNTSMAN, **changes)
    assert observation is None
    assert any(text.startswith(("observation_type", "_light")) for text in wrong)


def test_a_filter_of_unknown_name_is_refused():
    assert "no filter 'UNKNOWN'" in observe("huntsman", HUNTSMAN, FILTER="UNKNOWN")[1][0]


def test_masters_and_tables_are_left_out_with_their_reason():
    huntsman = load_instrument("huntsman")
    assert huntsman.reason_to_leave_out({**HUNTSMAN, "CALIB_CREATE_DATE": "2021-08-04"}, "x.fits").startswith(
        "a master"
    )
    assert huntsman.reason_to_leave_out({"NAXIS": 0}, "defects_14.fits") == "a table of defects, no image"
    assert huntsman.reason_to_leave_out({}, "refcat.csv").startswith("reference stars")
    assert huntsman.reason_to_leave_out(HUNTSMAN, "defects_14.fits") is None
