"""Raw headers to data IDs."""

import textwrap
from datetime import datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.documents import parse_document
from prestow.errors import ConfigurationError, ProjectError
from prestow.instruments import known_instruments, load_instrument, tai_from_utc
from prestow.instruments.instrument import read_instrument
from prestow.instruments.time import observing_day, tai
from prestow.naming.universe import load_universe

CAFOS = {
    "INSTRUME": "CAFOS 2.2",
    "IMAGETYP": "science ",
    "DATE-OBS": "2021-03-28T23:06:34",
    "EXPTIME": 2.0,
    "INSFLNAM": "JohnsonB  ",
    "OBJECT": "NCG2420 B",
    "RA": 114.9,
    "DEC": 21.5,
    "AIRMASS": 1.5,
    "FILENAME": "uamA_0023.fits",
}
SIMCAM = {
    "INSTRUME": "SIMCAM",
    "OBSID": 202501010007,
    "DETECTOR": 3,
    "FILTER": "sim-g",
    "IMGTYPE": "OBJECT",
    "DATE-OBS": "2025-01-02T03:04:05.5",
    "EXPTIME": 30.0,
    "OBJECT": "field",
    "RA": 1.0,
    "DEC": 2.0,
    "AIRMASS": 1.1,
}


def observe(name, cards, **changes):
    cards = {k: v for k, v in {**cards, **changes}.items() if v is not None}
    return load_instrument(name).observe(cards, "x.fits")


def test_a_science_frame_of_cafos():
    observation, wrong = observe("cafos", CAFOS)
    assert wrong == []
    assert (observation.exposure, observation.visit, observation.detector) == (
        20210328230634,
        20210328230634,
        0,
    )
    assert (observation.day_obs, observation.physical_filter, observation.band) == (20210328, "JohnsonB", "B")
    assert observation.metadata["object"] == "NGC 2420"
    assert observation.metadata["file_number"] == 23
    assert observation.metadata["end"] - observation.metadata["begin"] == 2_000_000_000


def test_a_bias_of_cafos_is_not_keyed_by_the_filter_it_carries():
    observation, wrong = observe("cafos", CAFOS, IMAGETYP="bias", OBJECT=" [bias]")
    assert wrong == []
    assert (observation.physical_filter, observation.band, observation.visit) == (None, None, None)
    assert observation.metadata["object"] == "[bias]"


def test_a_frame_of_simcam():
    observation, wrong = observe("simcam", SIMCAM)
    assert wrong == []
    assert (observation.exposure, observation.detector, observation.band) == (202501010007, 3, "g")
    assert (observation.day_obs, observation.metadata["file_number"]) == (20250101, 7)


def test_everything_a_header_lacks_is_told_at_once():
    observation, wrong = observe(
        "simcam", SIMCAM, OBSID=None, EXPTIME="long", DETECTOR=9, **{"DATE-OBS": "2025-01-02"}
    )
    assert observation is None
    text = "\n".join(wrong)
    assert "the header has no OBSID" in text
    assert "EXPTIME is 'long': not a number" in text
    assert "no detector 9" in text
    assert "DATE-OBS is '2025-01-02': a date without a time" in text


def test_a_file_of_another_instrument_is_told():
    assert observe("simcam", CAFOS)[1] == ["not a file of simcam: the header says 'CAFOS 2.2' in INSTRUME"]
    assert "has no INSTRUME" in observe("simcam", {})[1][0]


def test_an_unknown_filter_or_type_is_refused():
    assert "no filter 'Stroemgren'" in observe("cafos", CAFOS, INSFLNAM="Stroemgren")[1][0]
    assert "not in the table" in observe("cafos", CAFOS, IMAGETYP="focus")[1][0]


def test_an_unknown_instrument_lists_what_there_is():
    assert list(known_instruments()) == ["cafos", "decam", "huntsman", "sdss", "simcam"]
    with pytest.raises(ProjectError) as caught:
        load_instrument("cafoz")
    assert caught.value.problems[0].code == "PST-I007"
    assert "cafos, decam, huntsman, sdss, simcam" in caught.value.problems[0].fix


def test_an_instrument_of_ones_own_is_a_yaml_file(tmp_path):
    source = (load_instrument.__globals__["files"]("prestow.instruments") / "simcam.yaml").read_text()
    path = tmp_path / "my cam.yaml"
    path.write_text(source.replace("name: simcam", "name: mycam"))
    assert load_instrument(path).name == "mycam"
    assert load_instrument(str(path)).name == "mycam"
    assert load_instrument("my cam", paths=[path]).name == "mycam"


WRONG = """\
schema: prestow.instrument/2
name: My Cam
match: {INSTRUME: "("}
day_begins: noon
values:
  exposure: {keyword: OBSID, steps: [int, eval]}
  detector: {keyword: D, constant: 1}
  day_obs: {format: "{begin:>{x}}"}
  colour: {keyword: X}
  begin: {keyword: DATE-OBS, stps: [utc]}
  physical_filter: {keyword: F, steps: [{regex: "("}], when: {nothing: x}}
filters: [g]
visits: science
detectors:
  - {detector: one}
  - {detector: 1, nmae: x}
"""


def test_all_problems_of_an_instrument_are_told_with_their_places():
    with pytest.raises(ConfigurationError) as caught:
        read_instrument(parse_document(WRONG, "my.yaml"), load_universe())
    places = {(int(p.where.split(":")[1]), p.code) for p in caught.value.problems}
    assert places >= {
        (1, "PST-C014"),
        (2, "PST-C013"),
        (3, "PST-C013"),
        (4, "PST-C011"),
        (6, "PST-C013"),
        (7, "PST-C012"),
        (8, "PST-C013"),
        (9, "PST-C010"),
        (10, "PST-C010"),
        (11, "PST-C013"),
        (12, "PST-C011"),
        (13, "PST-C011"),
        (15, "PST-C011"),
        (16, "PST-C010"),
    }
    assert any("no rule for 'observation_type'" in p.what for p in caught.value.problems)


def minimal(**rules):
    lines = "\n".join(f"  {name}: {rule}" for name, rule in rules.items())
    text = (
        textwrap.dedent("""\
        schema: prestow.instrument/1
        name: toy
        values:
          observation_type: {constant: science}
          begin: {constant: 0}
          day_obs: {constant: 20250101}
          detector: {constant: 0}
        """)
        + lines
        + "\nfilters: {}\nvisits: []\ndetectors: [{detector: 0}]\n"
    )
    return read_instrument(parse_document(text), load_universe())


def test_values_are_put_together_from_earlier_ones():
    toy = minimal(
        file_number="{file_name: true, steps: [{regex: 'f(\\d+).*'}, int]}",
        exposure='{format: "{day_obs}{file_number:04d}", steps: [int]}',
    )
    assert toy.observe({}, "f12.fits")[0].exposure == 202501010012


def test_of_alternative_keywords_the_first_that_is_there_counts():
    toy = minimal(exposure="{keyword: [A, B]}")
    assert toy.observe({"B": 7, "A": ""}, "x")[0].exposure == 7
    assert "the header has no A or B" in toy.observe({}, "x")[1][0]


def test_numbers_are_added_and_multiplied_by_numbers_and_earlier_values():
    toy = minimal(
        _shift="{keyword: S, steps: [int], default: null}",
        file_number="{keyword: N, steps: [int, {times: 2}, {plus: _shift}], default: null}",
        exposure="{keyword: N, steps: [int, {plus: -1}]}",
        airmass="{keyword: A, steps: [{times: 0.5}], default: null}",
    )
    seen = toy.observe({"N": "7", "S": 3}, "x")[0]
    assert (seen.exposure, seen.metadata["file_number"], seen.metadata["airmass"]) == (6, 17, None)
    assert (
        toy.observe({"N": 7}, "x")[0].metadata["file_number"] is None
    )  # of what there is not, there is no sum
    assert "A is 'thin': not a number" in toy.observe({"N": 7, "A": "thin"}, "x")[1][0]


@pytest.mark.parametrize("step", ["{plus: later}", "{times: [1]}", "{plus: exposure}"])
def test_what_cannot_be_added_is_told(step):
    with pytest.raises(ConfigurationError):
        minimal(exposure=f"{{keyword: N, steps: [{step}]}}", file_number="{keyword: L}")


LEAVE_OUT = """
leave_out:
  - {reason: everything}
  - {file_name: "(", reason: x}
  - {match: {OBSTYPE: "[", N: 1}, reason: x}
  - {match: mask, reason: x}
  - {file_name: a, reason: "  "}
  - {file_name: a}
  - {file_nmae: a, reason: x}
  - text
"""


def test_all_problems_of_what_is_left_out_are_told():
    text = textwrap.dedent("""\
        schema: prestow.instrument/1
        name: toy
        values:
          observation_type: {constant: science}
          begin: {constant: 0}
          day_obs: {constant: 20250101}
          detector: {constant: 0}
          exposure: {keyword: N}
        filters: {}
        visits: []
        detectors: [{detector: 0}]""")
    with pytest.raises(ConfigurationError) as caught:
        read_instrument(parse_document(text + LEAVE_OUT, "toy.yaml"), load_universe())
    first = text.count("\n") + 3
    told = [(int(p.where.split(":")[1]) - first, p.code) for p in caught.value.problems]
    assert told == [
        (0, "PST-C034"),
        (1, "PST-C013"),
        (2, "PST-C013"),
        (3, "PST-C011"),
        (4, "PST-C034"),
        (5, "PST-C012"),
        (6, "PST-C010"),
        (6, "PST-C034"),
        (7, "PST-C011"),
    ]


@settings(deadline=None)
@given(st.datetimes(min_value=datetime(1950, 1, 1), max_value=datetime(2050, 1, 1)))
def test_tai_is_what_astropy_says(moment):
    time = pytest.importorskip("astropy.time")
    text = moment.isoformat(timespec="microseconds")
    since = time.Time(text, scale="tai", format="isot") - time.Time("1970-01-01", scale="tai", format="isot")
    assert abs(since.to_value("s") - tai(text) / 1e9) < 1e-5


@settings(deadline=None)
@given(st.datetimes(min_value=datetime(1972, 1, 1), max_value=datetime(2026, 1, 1)))
def test_time_is_what_astropy_says(moment):
    time = pytest.importorskip("astropy.time")
    text = moment.isoformat(timespec="microseconds")
    reference = time.Time(text, scale="utc", format="isot").tai
    epoch = time.Time("1970-01-01T00:00:00", scale="tai", format="isot")
    assert abs((reference - epoch).to_value("s") - tai_from_utc(text) / 1e9) < 1e-5


def test_leap_seconds_and_bad_times():
    assert tai_from_utc("2016-12-31T23:59:60.25") == tai_from_utc("2017-01-01T00:00:00") - 750_000_000
    assert observing_day("2021-01-01T00:00:00", 12) == 20201231
    for text in (
        "yesterday",
        "2021-13-01T00:00:00",
        "2021-01-01T24:00:00",
        "2021-01-01T00:00:60",
        "1960-01-01T00:00:00",
        "2021-01-01",
    ):
        with pytest.raises(ValueError):
            tai_from_utc(text)
