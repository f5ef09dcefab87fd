"""What two files differ in, and what two sets of files do."""

import hashlib
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from prestow.errors import ProjectError, TaskError
from prestow.formats import Story, open_format
from prestow.results.comparing import compare
from prestow.results.differences import compare_files
from prestow.results.looking import look
from prestow.results.numbers import Tolerance, compare_arrays
from prestow.results.sides import sides_of_files

EXACT = Tolerance()


def told(parts):
    return {f"{p.what} {p.name}": p for p in parts}


def plane(path: Path, data, *, name="SCI", **cards) -> Path:
    header = fits.Header()
    header.update({key.replace("_", "-"): value for key, value in cards.items()})
    fits.HDUList([fits.PrimaryHDU(header=header), fits.ImageHDU(data, name=name)]).writeto(path)
    return path


def table(path: Path, **columns) -> Path:
    units = {"flux": "adu"}
    made = [
        fits.Column(name=k, array=np.asarray(v), format={"f": "D", "i": "K", "U": "8A"}[np.asarray(v).dtype.kind], unit=units.get(k))
        for k, v in columns.items()
    ]  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(made, name="CAT")]).writeto(path)
    return path


def document(path: Path, value) -> Path:
    path.write_text(json.dumps(value))
    return path


def story(**more) -> Story:
    facts = {"type": "isr", "id": "i", "run": "a", "data_id": '{"visit":1}', "task": "isr", "version": "v", "recipe": "r",
             "planned_recipe": "p", "planned": 0, "used": 0}  # fmt: skip
    return Story(**{**facts, **more})


@pytest.mark.parametrize("make", [fits.ImageHDU, fits.CompImageHDU])
@pytest.mark.parametrize(
    ("kind", "cards"), [("u2", {}), ("u4", {}), ("i2", {"BLANK": 3}), ("i2", {"BSCALE": 2.0})]
)
def test_scaled_pixels_are_compared_by_their_values(tmp_path, make, kind, cards):
    for name, last in (("a", 7), ("b", 9)):
        hdu = make(np.array([[1, 2], [5, last]], kind), name="SCI")
        hdu.header.update(cards)
        fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / name)
    assert compare_files("fits", tmp_path / "a", tmp_path / "a", EXACT) == ()
    part = told(compare_files("fits", tmp_path / "a", tmp_path / "b", EXACT))["plane SCI"]
    assert (part.numbers.differing, part.numbers.max_abs) == (1, 2.0 * cards.get("BSCALE", 1))
    assert look(tmp_path / "a", "fits", "isr").png


def test_a_header_that_cannot_be_understood_is_told(tmp_path):
    path = plane(tmp_path / "a.fits", np.zeros((2, 2)))
    torn = tmp_path / "b.fits"
    torn.write_bytes(path.read_bytes().replace(b"XTENSION= 'IMAGE ", b"XTENSION= xIMAGE "))
    with pytest.raises(TaskError, match="header") as caught:
        compare_files("fits", path, torn, EXACT)
    assert caught.value.problems[0].where == str(torn)


# ---- numbers


def test_numbers_of_a_plane_are_those_of_numpy():
    rng = np.random.default_rng(1)
    a = rng.normal(100, 5, (700, 1700)).astype(">f4")
    b = a + rng.normal(0, 0.1, a.shape).astype(">f4")
    b[0, :7] = a[0, :7]
    found = compare_arrays(a, b, Tolerance(relative=1e-3))
    distance = np.abs(a.astype(float) - b)
    assert found.total == a.size
    assert found.differing == np.count_nonzero(a != b)
    assert found.beyond == np.count_nonzero(distance > 1e-3 * np.maximum(np.abs(a), np.abs(b).astype(float)))
    assert found.max_abs == pytest.approx(distance.max())
    assert found.rms == pytest.approx(np.sqrt(np.mean(distance**2)))
    assert found.scale == pytest.approx(np.sqrt(np.mean(a.astype(float) ** 2)))


def test_what_is_not_finite_in_one_alone_is_counted():
    a = np.array([np.nan, np.nan, np.inf, np.inf, 1.0])
    b = np.array([np.nan, 1.0, np.inf, -np.inf, 1.0])
    found = compare_arrays(a, b, Tolerance(relative=1.0))
    assert (found.differing, found.not_finite, found.beyond, found.max_abs) == (2, 2, 2, 0.0)


def test_large_integers_that_are_one_apart_differ():
    a = np.array([2**60, 5])
    found = compare_arrays(a, a + np.array([1, 0]), EXACT)
    assert (found.differing, found.beyond) == (1, 1)


@settings(deadline=None, max_examples=50)
@given(npst.arrays(float, st.integers(1, 40)), st.floats(0, 1), st.floats(0, 1e3))
def test_everything_is_equal_to_itself_and_close_is_symmetric(a, relative, absolute):
    tolerance = Tolerance(relative, absolute)
    assert compare_arrays(a, a.copy(), tolerance).differing == 0
    b = a[::-1].copy()
    one, other = compare_arrays(a, b, tolerance), compare_arrays(b, a, tolerance)
    assert (one.differing, one.beyond, one.max_abs) == (other.differing, other.beyond, other.max_abs)
    assert one.beyond <= one.differing <= one.total


# ---- files


def test_a_plane_is_compared_by_pixels_and_cards(tmp_path):
    data = np.arange(12.0).reshape(3, 4)
    other = data.copy()
    other[1, 2] += 0.5
    other[2, 3] = np.nan
    parts = told(
        compare_files(
            "fits",
            plane(tmp_path / "a.fits", data, EXPTIME=30.0, PSTRUN="x", FILTER="r", DATE_OBS="2026"),
            plane(tmp_path / "b.fits", other, EXPTIME=31.0, PSTRUN="y", DATE_OBS="2026", ZP=3.0),
            EXACT,
        )
    )
    assert set(parts) == {"plane SCI", "header PRIMARY.EXPTIME", "header PRIMARY.FILTER", "header PRIMARY.ZP"}
    numbers = parts["plane SCI"].numbers
    assert (numbers.differing, numbers.max_abs, numbers.not_finite) == (2, 0.5, 1)
    assert "2 of 12 differ (16.7%), max |a-b| 0.5" in parts["plane SCI"].text
    assert parts["header PRIMARY.FILTER"].note == "only in A"
    assert "30.0 / 31.0" in parts["header PRIMARY.EXPTIME"].text


def test_shapes_types_units_and_planes_of_one_alone_are_told(tmp_path):
    a = plane(tmp_path / "a.fits", np.zeros((3, 4), "f4"))
    parts = told(compare_files("fits", a, plane(tmp_path / "b.fits", np.zeros((4, 3), "f4")), EXACT))
    assert parts["plane SCI"].note == "shape 3x4 / 4x3"
    assert not parts["plane SCI"].close
    parts = told(compare_files("fits", a, plane(tmp_path / "c.fits", np.zeros((3, 4), "f8")), EXACT))
    assert (parts["plane SCI"].note, parts["plane SCI"].numbers.differing) == ("type float32 / float64", 0)
    parts = told(
        compare_files("fits", a, plane(tmp_path / "d.fits", np.zeros((3, 4), "f4"), name="VAR"), EXACT)
    )
    assert {name: p.note for name, p in parts.items()} == {"plane SCI": "only in A", "plane VAR": "only in B"}


def test_a_torn_file_is_an_error_of_the_file(tmp_path):
    whole = plane(tmp_path / "a.fits", np.zeros((100, 100)))
    torn = tmp_path / "b.fits"
    for cut in (10, 3000, 2880 * 2 + 40_000):
        torn.write_bytes(whole.read_bytes()[:cut])
        with pytest.raises(TaskError, match="PST-N008"):
            compare_files("fits", whole, torn, EXACT)


def test_the_story_is_no_difference(tmp_path):
    source = plane(tmp_path / "a.fits", np.zeros((3, 4)))
    made = []
    for run in ("one", "two"):
        made.append(tmp_path / f"{run}.fits")
        with made[-1].open("wb") as sink:
            open_format("fits").stamp(source, sink, story(run=run))
    assert made[0].read_bytes() != made[1].read_bytes()
    assert compare_files("fits", *made, EXACT) == ()


def test_rows_are_matched_by_order_or_by_a_key(tmp_path):
    a = table(tmp_path / "a.fits", name=["x", "y", "z"], flux=[1.0, 2.0, 3.0])
    b = table(tmp_path / "b.fits", name=["z", "y", "w", "x"], flux=[3.0, 2.5, 9.0, 1.0])
    assert "3 / 4 rows" in told(compare_files("fits", a, b, EXACT))["table CAT"].note
    parts = told(compare_files("fits", a, b, EXACT, ["name"]))
    assert parts["table CAT"].note == "rows only in A: 0, only in B: 1"
    assert (parts["column CAT.flux"].numbers.differing, parts["column CAT.flux"].numbers.max_abs) == (1, 0.5)
    twice = table(tmp_path / "c.fits", name=["x", "x"], flux=[1.0, 2.0])
    with pytest.raises(ProjectError, match="does not tell the rows of CAT in B apart"):
        compare_files("fits", a, twice, EXACT, ["name"])


def test_parquet_is_compared_by_column(tmp_path):
    unit = {b"unit": b"adu"}
    schema = pa.schema(
        [pa.field("id", pa.int64()), pa.field("flux", pa.float64(), metadata=unit), ("tag", pa.string())]
    )
    pq.write_table(
        pa.table({"id": [1, 2], "flux": [1.0, None], "tag": ["a", None]}, schema), tmp_path / "a.parquet"
    )
    pq.write_table(pa.table({"id": [2, 1], "flux": [4.0, 1.0], "more": [1, 2]}), tmp_path / "b.parquet")
    parts = told(compare_files("parquet", tmp_path / "a.parquet", tmp_path / "b.parquet", EXACT, ["id"]))
    assert set(parts) == {"column flux", "column tag", "column more"}
    assert parts["column flux"].numbers.not_finite == 1
    assert "unit adu / none" in parts["column flux"].text


def test_documents_are_compared_by_key(tmp_path):
    a = document(
        tmp_path / "a.json", {"sky": {"median": 10.0, "n": 3}, "list": [1, 2], "x": [{"y": "p"}], "same": 1}
    )
    b = document(
        tmp_path / "b.json", {"sky": {"median": 11.0, "m": 3}, "list": [1, 4], "x": [{"y": "q"}], "same": 1}
    )
    parts = told(compare_files("json", a, b, EXACT))
    assert set(parts) == {"key sky.median", "key sky.n", "key sky.m", "key list", "key x[0].y"}
    assert parts["key sky.median"].numbers.max_rel == pytest.approx(1 / 11)
    assert parts["key x[0].y"].note == "'p' / 'q'"
    assert all(p.close for p in compare_files("json", a, document(tmp_path / "c.json", json.loads(b.read_text()) | {
        "sky": {"median": 10.1, "n": 3}, "list": [1, 2], "x": [{"y": "p"}]}), Tolerance(0.02)))  # fmt: skip


def test_a_truth_is_no_number(tmp_path):
    parts = compare_files(
        "json",
        document(tmp_path / "a.json", {"x": True}),
        document(tmp_path / "b.json", {"x": 1}),
        Tolerance(1.0),
    )
    assert [(p.name, p.close) for p in parts] == [("x", False)]


def test_pictures_are_compared_by_pixels(tmp_path):
    picture = np.zeros((4, 5), np.uint8)
    for name in ("a", "b"):
        open_format("png").write(tmp_path / f"{name}.png", picture)
        picture[2, 2] = 9
    (part,) = compare_files("png", tmp_path / "a.png", tmp_path / "b.png", EXACT)
    assert (part.numbers.differing, part.numbers.max_abs) == (1, 9.0)


# ---- sets of files


def directory(root: Path, **files) -> Path:
    root.mkdir()
    for name, value in files.items():
        document(root / f"{name}.json", value)
    return root


def test_directories_are_compared_by_name_and_the_worst_comes_first(tmp_path):
    a = directory(tmp_path / "a", same={"x": 1}, little={"x": 1.0}, much={"x": 1.0}, gone={}, tiny={"x": 1.0})
    b = directory(
        tmp_path / "b", same={"x": 1}, little={"x": 1.1}, much={"x": 9.0}, new={}, tiny={"x": 1.0 + 1e-9}
    )
    found = compare(*sides_of_files(a, b), {}, tolerance=Tolerance(1e-6))
    assert found.types == {
        "json": {"equal": 1, "close": 1, "different": 2, "unreadable": 0, "only_a": 1, "only_b": 1}
    }
    assert [Path(d.a).stem for d in found.differences] == ["much", "little", "tiny"]
    assert [json.loads(d)["file"] for _, d in found.only_a] == ["gone.json"]
    assert not found.same
    assert "<td>json</td>" in found._repr_html_()


def test_equal_content_is_not_read_again(tmp_path):
    """Digests are what a side says: of an equal pair the files may be gone."""
    a, b = directory(tmp_path / "a", x={"v": 1}), directory(tmp_path / "b", x={"v": 1})
    sides = sides_of_files(a, b)
    (a / "x.json").unlink()
    assert compare(*sides, {}).same


def test_a_file_that_is_gone_is_unreadable_and_no_end_of_it(tmp_path):
    a, b = (
        directory(tmp_path / "a", x={"v": 1}, y={"v": 1}),
        directory(tmp_path / "b", x={"v": 2}, y={"v": 2}),
    )
    sides = sides_of_files(a, b)
    (a / "x.json").unlink()
    found = compare(*sides, {})
    assert [d.state for d in found.differences] == ["unreadable", "different"]
    assert found.differences[0].problem


def test_two_that_share_nothing_are_one_clear_error(tmp_path):
    a, b = directory(tmp_path / "a", x={}), directory(tmp_path / "b", y={}, z={})
    with pytest.raises(ProjectError) as error:
        compare(*sides_of_files(a, b), {})
    assert error.value.problems[0].code == "PST-G021"
    assert "a has 1 json" in error.value.problems[0].what
    assert "b has 2 json" in error.value.problems[0].what
    with pytest.raises(ProjectError, match="did you mean 'json'"):
        compare(*sides_of_files(a, a), {}, types=["jsno"])


def test_rows_in_another_order_are_equal_where_a_key_matches_them(tmp_path):
    for name, step in (("a", 1), ("b", -1)):
        pq.write_table(
            pa.table({"id": [1, 2, 3][::step], "v": [1.5, 2.5, None][::step]}), tmp_path / f"{name}.parquet"
        )
    sides = sides_of_files(tmp_path / "a.parquet", tmp_path / "b.parquet")
    assert not compare(*sides, {}).same
    found = compare(*sides, {}, keys=["id"])
    assert (found.same, found.counts["close"]) == (True, 1)
    assert found.differences[0].parts[0].note == "equal values, matched by id"


def test_a_key_that_no_table_has_is_told_where_rows_differ(tmp_path):
    a, b = table(tmp_path / "a.fits", flux=[1.0, 2.0]), table(tmp_path / "b.fits", flux=[2.0, 1.0])
    parts = told(compare_files("fits", a, b, EXACT, ["idd"]))
    assert parts["table CAT"].note == "no column 'idd' to match rows by: compared in order"
    assert set(told(compare_files("fits", a, b, Tolerance(absolute=2.0), ["idd"]))) == {"column CAT.flux"}


def test_products_of_two_directories_are_known_by_their_stories(tmp_path):
    source = document(tmp_path / "s.json", {"x": 1})
    for run in ("one", "two"):
        (tmp_path / run).mkdir()
        with (tmp_path / run / f"{run}.json").open("wb") as sink:
            open_format("json").stamp(source, sink, story(run=run))
    found = compare(*sides_of_files(tmp_path / "one", tmp_path / "two"), {})
    assert found.types == {
        "isr": {"equal": 1, "close": 0, "different": 0, "unreadable": 0, "only_a": 0, "only_b": 0}
    }


def test_two_files_are_compared_whatever_they_are_called(tmp_path):
    a, b = document(tmp_path / "a.json", {"x": 1}), document(tmp_path / "b.json", {"x": 2})
    assert compare(*sides_of_files(a, b), {}).counts["different"] == 1
    (tmp_path / "c.txt").write_bytes(hashlib.sha256(b"c").digest())
    assert compare(*sides_of_files(tmp_path / "c.txt", tmp_path / "c.txt"), {}).same
    with pytest.raises(ProjectError, match="PST-G005"):
        sides_of_files(a, tmp_path)
