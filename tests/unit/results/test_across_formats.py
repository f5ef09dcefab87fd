"""Files of two formats: compared by what both can say, and converted where the copy can be the same."""

import os

import numpy as np
import pyarrow as pa
import pytest
from astropy import units as u
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prestow.errors import ProjectError, TaskError
from prestow.formats import CONVERTED, Story, StoryInput, StoryRoot, open_format
from prestow.results.across import compare_across
from prestow.results.comparing import compare
from prestow.results.converting import convert
from prestow.results.numbers import Tolerance
from prestow.results.sides import sides_of_files

EXACT = Tolerance()
PAIR = ("fits", "parquet")


def catalogue(**more):
    columns = {
        "id": np.array([3, 2**60 + 1, 5]),
        "flux": np.array([1.5, np.nan, -0.0], "f4") * u.adu,
        "ra": np.array([10.0, 20.0, 30.0]) * u.deg,
        "name": np.array(["a", "", "ccc"]),
        "good": np.array([True, False, True]),
        "count": np.array([1, 65535, 3], "u2"),
        "shape": np.arange(6.0).reshape(3, 2),
    }
    return Table({**columns, **more})


def written(path, value):
    form = {".fits": "fits", ".parquet": "parquet", ".json": "json", ".yaml": "yaml"}[path.suffix]
    open_format(form).write(path, value)
    return path


def story(**more):
    parent = StoryInput("raw", "raw", '{"visit":1}', "11111111-1111-1111-1111-111111111111", sha256="a" * 64)
    facts = {"type": "cat", "id": "22222222-2222-2222-2222-222222222222", "run": "a", "data_id": '{"visit":1}', "task": "find",
             "version": "v", "recipe": "r" * 32, "planned_recipe": "p" * 32, "planned": 1, "used": 1, "inputs": (parent,),
             "roots": (StoryRoot("raw", '{"visit":1}', parent.id),)}  # fmt: skip
    return Story(**{**facts, **more})


def stamped(path, value, **more):
    bare = written(path.with_name(f"bare{path.suffix}"), value)
    with path.open("xb") as file:
        open_format(path.suffix[1:]).stamp(bare, file, story(**more))
    return path


def names(parts):
    return {p.name: p.note for p in parts}


# ---- compared


def test_the_same_table_in_two_formats_is_equal_in_data(tmp_path):
    a, b = (written(tmp_path / f"x.{form}", catalogue()) for form in PAIR)
    assert compare_across(PAIR, a, b, EXACT) == ()
    assert compare_across(PAIR[::-1], b, a, EXACT) == ()
    found = compare(*sides_of_files(a, b), {})
    assert (found.same, found.counts["equal"], found.formats) == (True, 1, {"file": PAIR})


def test_each_difference_is_of_its_column(tmp_path):
    a = written(tmp_path / "a.fits", catalogue())
    other = catalogue(flux=np.array([1.5, 2.0, 0.25], "f4") * u.adu, name=["a", "b", "ccc"])
    other["ra"].unit = u.rad
    other["count"] = other["count"].astype("i4")
    other.rename_column("good", "bad")
    parts = compare_across(PAIR, a, written(tmp_path / "b.parquet", other), EXACT)
    notes = names(parts)
    assert set(notes) == {"flux", "name", "ra", "count", "good", "bad"}
    assert (notes["ra"], notes["count"], notes["good"]) == (
        "unit deg / rad",
        "type uint16 / int32",
        "only in A",
    )
    flux = next(p.numbers for p in parts if p.name == "flux")
    assert (flux.differing, flux.not_finite, flux.max_abs) == (2, 1, 0.25)


def test_nulls_are_compared(tmp_path):
    a = written(
        tmp_path / "a.parquet", pa.table({"n": pa.array([1, None, 3]), "x": pa.array([1.0, None, 3.0])})
    )
    whole = Table({"n": [1, 0, 3], "x": [1.0, np.nan, 3.0]})
    assert names(compare_across(PAIR[::-1], a, written(tmp_path / "b.fits", whole), EXACT)) == {
        "n (null)": "only in A"
    }
    whole["n"] = MaskedColumn([1, 0, 3], mask=[False, True, False], fill_value=-9)
    assert compare_across(PAIR[::-1], a, written(tmp_path / "c.fits", whole), EXACT) == ()


def test_what_is_not_one_table_is_another_thing(tmp_path):
    table = written(tmp_path / "a.parquet", catalogue())
    plane = written(tmp_path / "b.fits", np.zeros((3, 4)))
    assert "planes: 1" in names(compare_across(PAIR, plane, table, EXACT))["format"]
    document = written(tmp_path / "c.json", {"id": [1]})
    assert names(compare_across(("json", "parquet"), document, table, EXACT)) == {"format": "json / parquet"}
    found = compare(*sides_of_files(plane, table), {})
    assert (found.same, found.counts["different"]) == (False, 1)


def test_a_torn_file_is_unreadable(tmp_path):
    a, b = (written(tmp_path / f"x.{form}", catalogue()) for form in PAIR)
    a.write_bytes(a.read_bytes()[: 2 * 2880 + 10])
    with pytest.raises(TaskError, match="PST-N008"):
        compare_across(PAIR, a, b, EXACT)


def test_documents_are_compared_by_key(tmp_path):
    a = written(tmp_path / "a.json", {"x": 1.0, "y": {"z": [1, 2]}})
    assert compare(*sides_of_files(a, written(tmp_path / "b.yaml", {"y": {"z": [1, 2]}, "x": 1.0})), {}).same
    other = written(tmp_path / "c.yaml", {"x": 1.5, "y": {"z": [1, 2]}})
    assert set(names(compare_across(("json", "yaml"), a, other, EXACT))) == {"x"}


# ---- converted


@pytest.mark.parametrize("pair", [PAIR, PAIR[::-1]])
def test_a_table_keeps_values_units_and_story(tmp_path, pair):
    source = stamped(tmp_path / f"a.{pair[0]}", catalogue())
    found = convert(source, *pair, tmp_path / f"b.{pair[1]}")
    target = tmp_path / f"b.{pair[1]}"
    assert (found.into, found.size, found.story) == (str(target), target.stat().st_size, True)
    assert compare_across(pair, source, target, EXACT) == ()
    told = open_format(pair[1]).read_story(target)
    assert told == story(task=f"find{CONVERTED}")
    assert sorted(os.listdir(tmp_path)) == sorted([source.name, target.name, f"bare.{pair[0]}"])


def test_there_and_back_is_what_it_was(tmp_path):
    source = written(tmp_path / "a.fits", catalogue())
    convert(source, "fits", "parquet", tmp_path / "b.parquet")
    convert(tmp_path / "b.parquet", "parquet", "fits", tmp_path / "c.fits")
    digests = {open_format("fits").content_digest(tmp_path / name) for name in ("a.fits", "c.fits")}
    assert len(digests) == 1
    assert open_format("fits").read_story(tmp_path / "c.fits") is None


COLUMN = st.one_of(
    st.lists(st.floats(width=32, allow_nan=True), min_size=4, max_size=4).map(lambda v: np.array(v, "f4")),
    st.lists(st.integers(-(2**63), 2**63 - 1), min_size=4, max_size=4).map(lambda v: np.array(v, "i8")),
    st.lists(st.text("ab cd", max_size=5).map(str.strip), min_size=4, max_size=4).map(
        lambda v: np.array(v, "U5")
    ),
    st.lists(st.booleans(), min_size=4, max_size=4).map(np.array),
)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(["a", "b", "c", "d"]), COLUMN, min_size=1))
def test_what_is_converted_is_always_equal(tmp_path, columns):
    source = tmp_path / "a.parquet"
    back = tmp_path / "b.fits"
    for path in (source, back):
        path.unlink(missing_ok=True)
    convert(written(source, Table(columns)), "parquet", "fits", back)
    found = open_format("fits").read(back, "hdulist")[1].data
    for name, values in columns.items():
        np.testing.assert_array_equal(found[name], values)


@pytest.mark.parametrize(("one", "other"), [("json", "yaml"), ("yaml", "json")])
def test_a_document_has_the_same_content_digest(tmp_path, one, other):
    value = {"metrics": {"seeing": 1.25}, "n": [1, 2.0, None, True], "text": "ä\n"}
    source = stamped(tmp_path / f"a.{one}", value)
    convert(source, one, other, tmp_path)
    target = tmp_path / f"a.{other}"
    assert open_format(one).content_digest(source) == open_format(other).content_digest(target)
    assert open_format(other).read_story(target).task == f"find{CONVERTED}"


def test_what_is_left_behind_is_told(tmp_path):
    hdu = fits.BinTableHDU(catalogue(), name="CAT")
    hdu.header["ZP"] = 25.0
    primary = fits.PrimaryHDU()
    primary.header["OBSERVER"] = "nobody"
    source = written(tmp_path / "a.fits", fits.HDUList([primary, hdu]))
    found = convert(source, "fits", "parquet", tmp_path / "b.parquet")
    assert found.left == ("keywords of the primary header: OBSERVER",)
    assert open_format("parquet").read(tmp_path / "b.parquet", "astropy").meta["ZP"] == 25.0
    described = catalogue()
    described["ra"].description = "right ascension"
    described.meta["deep"] = {"a": [1, 2]}
    source = written(tmp_path / "c.parquet", described)
    left = convert(source, "parquet", "fits", tmp_path / "d.fits").left
    assert left == ("notes of the table: deep", "descriptions of columns: ra")


@pytest.mark.parametrize(
    ("value", "to", "code", "told"),
    [
        (np.zeros((3, 4)), "parquet", "PST-G030", "planes: 1"),
        (np.zeros((3, 4)), "png", "PST-G030", "prestow look"),
        (np.zeros((3, 4)), "json", "PST-G030", "fits, parquet"),
        (np.zeros((3, 4)), "fits", "PST-G030", "already"),
        (pa.table({"x": [{"a": 1}]}), "fits", "PST-G030", "cannot hold"),
        (pa.table({"x": ["grün"]}), "fits", "PST-G030", "cannot hold"),
        (pa.table({"x": ["a "]}), "fits", "PST-G031", "column x"),
        (pa.table({"x": [True, None]}), "fits", "PST-G031", "null"),
        ({"a": [1, 2]}, "parquet", "PST-G030", "json, yaml"),
    ],
)
def test_what_cannot_be_the_same_is_refused_and_nothing_is_written(tmp_path, value, to, code, told):
    suffix = {np.ndarray: "fits", pa.Table: "parquet", dict: "json"}[type(value)]
    source = written(tmp_path / f"a.{suffix}", value)
    with pytest.raises(ProjectError) as caught:
        convert(source, suffix, to, tmp_path / f"b.{to}")
    (problem,) = caught.value.problems
    assert problem.code == code
    assert told in f"{problem.what} {problem.fix}"
    assert os.listdir(tmp_path) == [source.name]


def test_a_copy_stands_only_where_nothing_is_and_under_a_name_of_its_format(tmp_path):
    source = written(tmp_path / "a.json", {"x": 1})
    (tmp_path / "b.yaml").write_text("mine")
    for into, code in (("b.yaml", "PST-G004"), ("b.txt", "PST-G032"), ("none/b.yaml", "PST-G032")):
        with pytest.raises(ProjectError) as caught:
            convert(source, "json", "yaml", tmp_path / into)
        assert caught.value.problems[0].code == code
    assert (tmp_path / "b.yaml").read_text() == "mine"
    assert sorted(os.listdir(tmp_path)) == ["a.json", "b.yaml"]


def test_a_damaged_source_is_an_error_of_the_file(tmp_path):
    source = tmp_path / "a.json"
    source.write_text("{")
    with pytest.raises(TaskError, match="PST-N008"):
        convert(source, "json", "yaml", tmp_path / "b.yaml")
    with pytest.raises(ProjectError, match="PST-G030"):
        convert(source, "", "yaml", tmp_path / "b.yaml")
