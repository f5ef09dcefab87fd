"""Parquet: what is one table, what is refused, what comes back."""

import io
import json
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy import units as u
from astropy.table import MaskedColumn, QTable, Table
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import TaskError
from prestow.formats import Tabular, parquet_arrow
from prestow.formats.parquet import Parquet
from prestow.testing.formats import BARE, STORY

FORM = Parquet()


def problem_of(act):
    with pytest.raises(TaskError) as caught:
        act()
    (problem,) = caught.value.problems
    assert problem.code == "PST-N008"
    return problem


def stamped(path, story=STORY):
    target = path.with_name(f"stamped-{path.name}")
    with target.open("wb") as sink:
        said = FORM.stamp(path, sink, story)
    assert said.content == FORM.content_digest(path) == FORM.content_digest(target)
    return target


def content(path, table, **options):
    path.unlink(missing_ok=True)
    pq.write_table(table, path, **options)
    return FORM.content_digest(path)


floats = st.floats(width=64) | st.sampled_from([0.0, -0.0, float("nan"), float("inf")])
COLUMNS = [
    (pa.int32(), st.integers(-(2**31), 2**31 - 1)),
    (pa.uint64(), st.integers(0, 2**64 - 1)),
    (pa.float64(), floats),
    (pa.float32(), st.floats(width=32)),
    (pa.bool_(), st.booleans()),
    (pa.string(), st.text(max_size=4)),
    (pa.binary(), st.binary(max_size=4)),
    (pa.list_(pa.float64()), st.lists(st.none() | floats, max_size=3)),
    (pa.list_(pa.int16(), 2), st.lists(st.integers(-9, 9), min_size=2, max_size=2)),
    (pa.list_(pa.list_(pa.string())), st.lists(st.none() | st.lists(st.text(max_size=2), max_size=2), max_size=2)),
    (pa.struct([("a", pa.int64()), ("b", pa.string())]), st.fixed_dictionaries({"a": st.none() | st.integers(0, 9), "b": st.text(max_size=2)})),
    (pa.timestamp("us"), st.integers(0, 2**40)),
    (pa.dictionary(pa.int32(), pa.string()), st.sampled_from(["r", "g", "é"])),
]  # fmt: skip


@st.composite
def tables(draw):
    rows = draw(st.integers(0, 12))
    chosen = draw(st.lists(st.sampled_from(COLUMNS), min_size=1, max_size=4))
    arrays = [
        pa.array(draw(st.lists(st.none() | values, min_size=rows, max_size=rows)), kind)
        for kind, values in chosen
    ]
    return pa.table(arrays, names=[f"c{i}" for i in range(len(arrays))])


@given(tables(), st.data())
@settings(max_examples=60, deadline=None)
def test_content_does_not_depend_on_how_a_table_lies(tmp_path_factory, table, data):
    path = tmp_path_factory.mktemp("p") / "a.parquet"
    base = content(path, table)
    before = FORM.read(path)
    other = {
        "row_group_size": data.draw(st.integers(1, 5)),
        "compression": data.draw(st.sampled_from(["none", "snappy", "gzip"])),
        "use_dictionary": data.draw(st.booleans()),
        "data_page_version": data.draw(st.sampled_from(["1.0", "2.0"])),
    }
    assert content(path, table, **other) == base
    after = FORM.read(stamped(path))
    assert repr(after.to_pydict()) == repr(before.to_pydict())  # as text: NaN is NaN
    assert after.schema.equals(before.schema, check_metadata=True)


@given(tables(), st.data())
@settings(max_examples=60, deadline=None)
def test_any_other_value_is_other_content(tmp_path_factory, table, data):
    path = tmp_path_factory.mktemp("p") / "a.parquet"
    if not table.num_rows:
        return
    row, at = data.draw(st.integers(0, table.num_rows - 1)), data.draw(st.integers(0, table.num_columns - 1))
    values = table.column(at).to_pylist()
    new = data.draw(st.none() | dict((repr(k), v) for k, v in COLUMNS)[repr(table.schema.field(at).type)])
    changed = pa.array([*values[:row], new, *values[row + 1 :]], table.schema.field(at).type)
    same = repr(changed.to_pylist()) == repr(values)  # as text: -0.0 is not 0.0, and NaN is NaN
    assert (
        content(path, table) == content(path, table.set_column(at, table.schema.field(at), changed))
    ) is same


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (pa.array([None], pa.float64()), pa.array([float("nan")])),
        (pa.array([0.0]), pa.array([-0.0])),
        (pa.array([""]), pa.array([None], pa.string())),
        (pa.array([["a"], []]), pa.array([[], ["a"]])),
        (pa.array([["ab"]]), pa.array([["a", "b"]])),
        (pa.array([[]], pa.list_(pa.int64())), pa.array([None], pa.list_(pa.int64()))),
        (pa.array([1], pa.int32()), pa.array([1], pa.int64())),
        (pa.array([], pa.int32()), pa.array([], pa.int64())),
        (pa.array([1], pa.timestamp("us")), pa.array([1], pa.int64())),
    ],
)
def test_what_is_easily_confused_is_told_apart(tmp_path, one, other):
    assert content(tmp_path / "a", pa.table({"x": one})) != content(tmp_path / "a", pa.table({"x": other}))


def test_forms_of_text_and_bits_of_nan_are_no_content(tmp_path):
    kinds = pa.string(), pa.large_string(), pa.string_view(), pa.dictionary(pa.int8(), pa.string())
    assert (
        len({content(tmp_path / "a", pa.table({"x": pa.array(["a", "b", None]).cast(k)})) for k in kinds})
        == 1
    )
    nans = np.array([0x7FF8000000000000, 0xFFF8000000000001], "u8").view("f8")
    assert content(tmp_path / "a", pa.table({"x": nans[:1]})) == content(
        tmp_path / "a", pa.table({"x": nans[1:]})
    )


def test_names_units_and_order_are_content(tmp_path):
    x, y = pa.array([1.0]), pa.array([2.0])
    unit = pa.schema([pa.field("x", pa.float64(), metadata={"unit": "Jy"}), pa.field("y", pa.float64())])
    made = [
        pa.table({"x": x, "y": y}), pa.table({"x": x, "z": y}), pa.table({"y": y, "x": x}),
        pa.table([x, y], schema=unit),
    ]  # fmt: skip
    assert len({content(tmp_path / "a", table) for table in made}) == 4


@pytest.mark.parametrize(
    "kind", [pa.map_(pa.string(), pa.int64()), pa.list_(pa.map_(pa.string(), pa.int64()))]
)
def test_types_without_a_digest_are_refused_by_name(tmp_path, kind):
    problem = problem_of(
        lambda: FORM.write(tmp_path / "a", pa.table({"x": [1], "m": pa.array([None], kind)}))
    )
    assert "column 'm'" in problem.what
    assert not (tmp_path / "a").exists()


def test_two_columns_of_one_name_are_refused(tmp_path):
    table = pa.table([pa.array([1]), pa.array([2])], names=["x", "x"])
    assert "two columns are called 'x'" in problem_of(lambda: FORM.write(tmp_path / "a", table)).what
    pq.write_table(table, tmp_path / "b")
    assert "two columns are called 'x'" in problem_of(lambda: FORM.check(tmp_path / "b")).what


@pytest.mark.parametrize(
    "value", [{"x": [1], "y": [1, 2]}, [1, 2], {"x": 3}, {1: [2]}, {"x": object()}, "x", {"x": ["a", 1]}]
)
def test_what_is_no_table_is_refused_and_leaves_nothing(tmp_path, value):
    problem = problem_of(lambda: FORM.write(tmp_path / "a", value))
    assert str(tmp_path / "a") in problem.where
    assert problem.fix
    assert not (tmp_path / "a").exists()


def test_an_empty_table_keeps_its_columns(tmp_path):
    FORM.write(tmp_path / "a", pa.table({"x": pa.array([], pa.float32()), "n": pa.array([], pa.string())}))
    target = stamped(tmp_path / "a")
    FORM.check_columns(target, [("x", "float32"), ("n", "string")])
    assert FORM.read(target).num_rows == 0
    assert len(FORM.read(target, "astropy")) == len(FORM.read(target, "numpy")) == 0
    assert FORM.read_story(target) == STORY


def test_large_tables_go_in_row_groups_of_one_size(tmp_path, monkeypatch):
    monkeypatch.setattr(parquet_arrow, "ROWS", 100)
    table = pa.table({"x": np.arange(250), "b": pa.array(["r", "g"] * 125).dictionary_encode()})
    pq.write_table(table, tmp_path / "a", row_group_size=7)
    pq.write_table(table, tmp_path / "b", row_group_size=130, compression="gzip")
    FORM.write(tmp_path / "c", table)
    one, two, three = (stamped(tmp_path / name) for name in "abc")
    groups = pq.ParquetFile(one).metadata
    assert [groups.row_group(i).num_rows for i in range(groups.num_row_groups)] == [100, 100, 50]
    assert one.read_bytes() == two.read_bytes() == three.read_bytes()
    assert FORM.read(one)["x"].to_pylist() == list(range(250))


def test_story_is_in_the_metadata_where_others_can_read_it(tmp_path):
    FORM.write(tmp_path / "a", {"x": [1]})
    found = json.loads(pq.read_metadata(stamped(tmp_path / "a")).metadata[b"prestow"])
    assert found["id"] == STORY.id
    assert b"prestow" not in (FORM.read(tmp_path / "a").schema.metadata or {})


def test_reading_gives_the_table_without_its_story(tmp_path):
    FORM.write(tmp_path / "a", {"x": [1]})
    assert FORM.read(stamped(tmp_path / "a")).schema.metadata is None


def test_notes_of_pandas_are_dropped_and_others_kept(tmp_path):
    table = pa.table({"x": [1]}).replace_schema_metadata({"pandas": "{}", "survey": "x"})
    pq.write_table(table, tmp_path / "a")
    assert FORM.read(stamped(tmp_path / "a")).schema.metadata == {b"survey": b"x"}


def test_a_foreign_use_of_the_key_is_refused(tmp_path):
    pq.write_table(pa.table({"x": [1]}).replace_schema_metadata({"prestow": "mine"}), tmp_path / "a")
    assert "reserved" in problem_of(lambda: FORM.read_story(tmp_path / "a")).what


def test_declared_columns_are_checked_with_all_differences_at_once(tmp_path):
    FORM.write(
        tmp_path / "a", pa.table({"b": pa.array([1], pa.int32()), "x": [0.5], "a": ["t"], "more": [True]})
    )
    assert isinstance(FORM, Tabular)
    FORM.check_columns(tmp_path / "a", [("b", "int32"), ("x", "float64"), ("a", "string"), ("more", "bool")])
    problem = problem_of(
        lambda: FORM.check_columns(
            tmp_path / "a", [("a", "string"), ("b", "int64"), ("x", "float64"), ("flux", "float32")]
        )
    )
    for word in ("'flux' (float32) is missing", "'more' (bool) is not declared", "'b' is int32, declared as int64",
                 "the order is b, x, a, declared as a, b, x"):  # fmt: skip
        assert word in problem.what
    assert "columns" in problem.fix


def test_text_of_a_frame_is_string(tmp_path):
    import polars as pl

    FORM.write(tmp_path / "a", pl.DataFrame({"n": ["a"], "c": pl.Series(["r"], dtype=pl.Categorical)}))
    FORM.check_columns(tmp_path / "a", [("n", "string"), ("c", "string")])


def test_astropy_tables_come_back_with_units_masks_and_shapes(tmp_path):
    table = Table(
        {
            "flux": MaskedColumn([1.5, 2.5], mask=[False, True], unit=u.Jy, description="as measured"),
            "id": MaskedColumn(np.array([7, 8], ">i4"), mask=[True, False]),
            "name": ["é", "b"],
            "box": np.arange(12).reshape(2, 2, 3),
            "seen": np.array(["2020-01-01T00:00:00", "2021-01-01T00:00:00"], "M8[us]"),
        },
        meta={"OBJECT": "M 31", "n": np.int64(3)},
    )
    FORM.write(tmp_path / "a", table)
    back = FORM.read(stamped(tmp_path / "a"), "astropy")
    assert back.meta == {"OBJECT": "M 31", "n": 3}
    assert back["flux"].unit == u.Jy
    assert back["flux"].description == "as measured"
    assert back["flux"].tolist() == [1.5, None]
    assert back["id"].tolist() == [None, 8]
    assert back["id"].dtype == np.int32
    assert (back["box"] == table["box"]).all()
    assert (back["seen"] == table["seen"]).all()
    assert list(back["name"]) == ["é", "b"]
    field = FORM.read(tmp_path / "a").schema.field("flux")
    assert field.metadata[b"unit"] == b"Jy"


def test_quantities_keep_their_units(tmp_path):
    FORM.write(tmp_path / "a", QTable({"r": [1.0, 2.0] * u.arcsec}))
    FORM.write(tmp_path / "b", {"r": [1.0, 2.0] * u.arcsec})
    for name in "ab":
        assert FORM.read(tmp_path / name, "astropy")["r"].unit == u.arcsec
    assert FORM.content_digest(tmp_path / "a") == FORM.content_digest(tmp_path / "b")


def test_other_columns_of_astropy_are_refused_by_name(tmp_path):
    from astropy.time import Time

    problem = problem_of(lambda: FORM.write(tmp_path / "a", Table({"when": Time([5e4], format="mjd")})))
    assert "'when' is a Time" in problem.what


def test_structured_arrays_come_back(tmp_path):
    array = np.array(
        [(1, 0.5, "a", [1, 2]), (2, np.nan, "bc", [3, 4])],
        [("i", "i2"), ("x", ">f4"), ("n", "U3"), ("v", "u1", 2)],
    )
    FORM.write(tmp_path / "a", array)
    back = FORM.read(tmp_path / "a", "numpy")
    assert back.dtype.names == array.dtype.names
    assert back.dtype["x"] == np.float32
    assert back["v"].tolist() == [[1, 2], [3, 4]]
    np.testing.assert_array_equal(back["x"], array["x"])


def test_nulls_of_an_array_are_nan_or_refused(tmp_path):
    FORM.write(tmp_path / "a", {"x": [1.0, None]})
    assert np.isnan(FORM.read(tmp_path / "a", "numpy")["x"][1])
    FORM.write(tmp_path / "b", {"i": [1, None]})
    assert "astropy" in problem_of(lambda: FORM.read(tmp_path / "b", "numpy")).what


def test_flipped_bytes_of_values_are_told(tmp_path):
    FORM.write(tmp_path / "a", {"x": list(range(50)), "n": ["a", None] * 25})
    path = stamped(tmp_path / "a")
    whole = path.read_bytes()
    columns = [pq.ParquetFile(path).metadata.row_group(0).column(i) for i in range(2)]
    ends = [(c.dictionary_page_offset or c.data_page_offset) + c.total_compressed_size for c in columns]
    values = {at for end in ends for at in range(end - 10, end)}  # a page of values ends a column
    assert max(ends) < len(whole)
    bad = tmp_path / "bad"
    for at in [*values, *range(0, len(whole), 5)]:
        bad.write_bytes(whole[:at] + bytes([whole[at] ^ 0x10]) + whole[at + 1 :])
        if at in values:
            assert str(bad) in problem_of(lambda: FORM.check(bad)).where
            continue
        try:  # Parquet has no checksum of its headers: the receipt's digest of all bytes tells these
            FORM.check(bad)
        except TaskError as error:
            assert error.problems[0].code == "PST-N008"


def test_every_cut_is_told(tmp_path):
    FORM.write(tmp_path / "a", {"x": list(range(50))})
    whole = stamped(tmp_path / "a").read_bytes()
    for length in range(0, len(whole), 40):
        (tmp_path / "cut").write_bytes(whole[:length])
        for act in (FORM.check, FORM.read_story, FORM.read):
            assert str(tmp_path / "cut") in problem_of(lambda act=act: act(tmp_path / "cut")).where


def test_stamping_does_not_depend_on_the_story_of_the_source(tmp_path):
    FORM.write(tmp_path / "a", {"x": [1]})
    first = stamped(tmp_path / "a")
    sinks = io.BytesIO(), io.BytesIO()
    for path, sink in zip((tmp_path / "a", first), sinks, strict=True):
        FORM.stamp(path, sink, replace(BARE, run="other"))
    assert sinks[0].getvalue() == sinks[1].getvalue()


def test_opening_the_format_does_not_load_arrow():
    code = "import sys; from prestow.formats import open_format; open_format('parquet'), open_format('png'); print('pyarrow' in sys.modules, 'numpy' in sys.modules)"
    assert subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    ).stdout.split() == ["False", "False"]


@pytest.mark.parametrize(
    ("column", "says"),
    [
        (np.zeros(2, complex), "column 'bad' of complex128: "),
        ([1, "a"], "column 'bad': Could not convert 'a'"),
        ([object()], "column 'bad': Could not convert <object object> "),
        (2.5, "column 'bad' is a float, not a column"),
    ],
)
def test_a_column_that_cannot_be_written_is_named(tmp_path, column, says):
    with pytest.raises(TaskError) as caught:
        FORM.write(tmp_path / "a", {"good": [1, 2], "bad": column})
    assert says in caught.value.problems[0].what
    assert not (tmp_path / "a").exists()
