"""Laws of names: what is written is read back, and no two datasets have one path."""

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import PlanRefusedError
from prestow.model.data_id import check_value
from prestow.naming.templates import (
    bad_names,
    compile_template,
    decode,
    default_template,
    encode,
    twins,
    wrong_with,
)
from prestow.naming.universe import load_universe

UNIVERSE = load_universe()
TEXT = st.text(max_size=12).filter(lambda text: check_value(text) is None)
ODD = st.sampled_from(["a-b", "a", "-", ".", "..", "%", "%41", "A", "é", "B 600/é", "1", "a-1", "#[']", "٣"])
WORDS = TEXT | ODD
NUMBERS = st.integers(-(1 << 63), (1 << 63) - 1) | st.integers(0, 20)
ROW = st.fixed_dictionaries(
    {"instrument": WORDS, "physical_filter": WORDS, "visit": NUMBERS, "detector": NUMBERS}
)
DIMENSIONS = ("detector", "instrument", "physical_filter", "visit")
TEMPLATES = [
    "{run}/{instrument}/{physical_filter}/{visit:06d}/isr-{detector:02d}.fits",
    "{run}/isr-{instrument}-{physical_filter}-{visit}-{detector}.fits",
    "{run}/{type}/x{visit:03d}.{instrument}_{visit}-v{detector:02d}+{physical_filter}",
    default_template("isr", DIMENSIONS, ".fits"),
]


def template(text):
    return compile_template(text, DIMENSIONS, UNIVERSE, dataset_type="isr")


def frame_of(rows):
    schema = {d: pl.Int64 if UNIVERSE.dimensions[d].type == "int" else pl.String for d in DIMENSIONS}
    return pl.DataFrame(rows, schema=schema)


@given(TEXT)
def test_any_text_is_read_back_from_its_name(text):
    name = encode(text)
    assert decode(name) == text
    assert name.isascii()
    assert "/" not in name


@given(st.text("%0aAfFbBé", max_size=6))
def test_what_no_text_is_encoded_as_is_not_decoded(name):
    try:
        text = decode(name)
    except ValueError:
        return
    assert encode(text) == name


@given(st.sampled_from(TEMPLATES), ROW)
def test_a_path_that_reads_back_gives_its_values_again(text, row):
    t = template(text)
    try:
        path = t.path("demo", row)
    except PlanRefusedError:
        return
    back = frame_of([row]).select(t.reads_back("demo")).item()
    assert (t.parse(path) == ("demo", row)) is back
    if "/{instrument}/{physical_filter}/" in text:
        assert back


@given(
    st.sampled_from(TEMPLATES), st.lists(ROW, min_size=2, max_size=12, unique_by=lambda r: tuple(r.values()))
)
def test_no_two_datasets_that_read_back_have_one_path(text, rows):
    t = template(text)
    frame = frame_of(rows)
    frame = frame.with_columns(t.column("demo"), t.reads_back("demo")).filter("reads_back")
    assert frame["path"].is_unique().all()


@given(st.sampled_from(TEMPLATES), st.lists(ROW, min_size=1, max_size=5))
def test_paths_in_columns_equal_paths_one_by_one(text, rows):
    t = template(text)
    paths = t.paths(frame_of(rows), "demo")
    refused = set(bad_names(paths)["row"].to_list())
    for i, (row, path) in enumerate(zip(rows, paths, strict=True)):
        try:
            assert t.path("demo", row) == path
            assert i not in refused
        except PlanRefusedError as error:
            assert error.problems[0].code == "PST-P003"
            assert i in refused


@given(st.lists(st.text("a./-B", max_size=6), max_size=8))
def test_bad_names_are_the_same_in_columns_and_one_by_one(paths):
    found = bad_names(pl.Series("p", paths, dtype=pl.String))["row"].to_list()
    assert found == [i for i, path in enumerate(paths) if wrong_with(path)]


@given(st.lists(st.text("aAb/", max_size=5), max_size=10))
@settings(max_examples=60)
def test_twins_are_what_a_plain_count_finds(paths):
    low = [p.lower() for p in paths]
    found = twins(pl.Series("p", paths, dtype=pl.String))["row"].to_list()
    assert sorted(found) == [i for i, p in enumerate(low) if low.count(p) > 1]


@pytest.mark.parametrize("run", ["", "-x", "a/b", "..", "é"])
def test_a_run_that_is_no_name_is_refused(run):
    with pytest.raises(PlanRefusedError, match="PST-P003"):
        template(TEMPLATES[0]).path(
            run, {"instrument": "a", "physical_filter": "b", "visit": 1, "detector": 2}
        )
