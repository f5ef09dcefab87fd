"""What a quick look shows of each kind of file."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.visualization import ZScaleInterval

from prestow.errors import ProjectError, TaskError
from prestow.formats import open_format
from prestow.results.looking import look, picture


def pixels(png: bytes, tmp_path: Path) -> np.ndarray:
    path = tmp_path / "look.png"
    path.write_bytes(png)
    return open_format("png").read(path)


def sky(shape=(40, 60)) -> np.ndarray:
    rng = np.random.default_rng(3)
    return rng.normal(200, 5, shape).astype(">f4")


def write(path: Path, *hdus) -> Path:
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)
    return path


def test_a_plane_is_stretched_by_zscale_with_its_first_row_below(tmp_path):
    data = sky()
    data[0, 0], data[39, 0], data[5, 5] = 1e6, -1e6, np.nan
    seen = look(write(tmp_path / "a.fits", fits.ImageHDU(data, name="SCI")), "fits", "isr")
    shown = pixels(seen.png, tmp_path)
    assert shown.shape == (40, 60)
    assert (shown[39, 0], shown[0, 0], shown[34, 5]) == (255, 0, 0)
    low, high = ZScaleInterval().get_limits(data[np.isfinite(data)].astype("f4"))
    wanted = np.clip((data.astype(float) - low) / (high - low) * 255 + 0.5, 0, 255)[::-1]
    good = np.isfinite(wanted)
    assert np.abs(shown[good] - wanted[good]).max() <= 1
    assert "40 x 60 float32" in seen.notes[0]
    assert seen._repr_png_() == seen.png
    assert seen._repr_html_() is None
    assert any("1 of 2,400 not finite" in note for note in seen.notes)


def test_the_same_plane_gives_the_same_picture():
    assert picture(sky()) == picture(sky())


@pytest.mark.parametrize(
    "plane", [np.full((4, 4), np.nan), np.full((4, 4), 7.0), np.eye(8), np.array([[np.inf, 1.0]])]
)
def test_odd_planes_are_pictures_too(plane, tmp_path):
    png, _ = picture(plane)
    assert pixels(png, tmp_path).shape == plane.shape


def test_a_mask_is_not_black_alone(tmp_path):
    mask = np.zeros((50, 50), np.int16)
    mask[10, 10] = 1
    assert pixels(picture(mask)[0], tmp_path).max() == 255


def test_a_large_plane_is_averaged_in_blocks(tmp_path):
    data = np.arange(100.0 * 40).reshape(100, 40)
    data[:3, :3] = np.nan
    shown = pixels(picture(data, side=34)[0], tmp_path)
    assert shown.shape == (34, 14)
    assert shown[-1, 0] == 0  # of its nine values none is finite


def test_extensions_are_chosen_by_name_or_number(tmp_path):
    table = fits.BinTableHDU.from_columns([fits.Column("x", "J", array=np.arange(50))], name="CAT")
    path = write(
        tmp_path / "a.fits",
        fits.ImageHDU(sky((3, 4)), name="VAR"),
        fits.ImageHDU(sky((5, 6)), name="SCI"),
        table,
    )
    assert "[SCI]" in look(path, "fits", "x").title
    assert "3 x 4" in look(path, "fits", "x", extension="var").notes[0]
    assert look(path, "fits", "x", extension="1").title == "x [VAR]"
    seen = look(path, "fits", "x", extension="CAT", rows=2)
    assert (seen.kind, seen.header, seen.rows) == ("table", ("x",), (("0",), ("1",)))
    assert seen.notes == ("50 rows, 1 columns", "the first 2 are shown")
    with pytest.raises(ProjectError, match="there are: VAR, SCI, CAT"):
        look(path, "fits", "x", extension="MASK")


def test_of_a_cube_the_first_plane_is_shown(tmp_path):
    seen = look(write(tmp_path / "a.fits", fits.ImageHDU(sky((2, 3, 4)))), "fits", "x")
    assert pixels(seen.png, tmp_path).shape == (3, 4)
    assert "the first plane" in seen.notes[0]


def test_tables_and_documents(tmp_path):
    pq.write_table(pa.table({"flux": [1.23456789, None], "name": ["<a>", "b"]}), tmp_path / "a.parquet")
    seen = look(tmp_path / "a.parquet", "parquet", "sources")
    assert seen.rows == (("1.23457", "<a>"), ("", "b"))
    assert "&lt;a&gt;" in seen._repr_html_()
    assert seen._repr_png_() is None
    (tmp_path / "a.json").write_text(json.dumps({"sky": {"median": 3.5}, "list": [1, 2]}))
    seen = look(tmp_path / "a.json", "json", "summary")
    assert seen.document_text == "sky:\n  median: 3.5\nlist:\n- 1\n- 2"
    assert "<td>sky.median</td>" in seen._repr_html_()


def test_a_picture_is_shown_as_it_is_and_nothing_is_overwritten(tmp_path):
    open_format("png").write(tmp_path / "a.png", np.zeros((3, 4), np.uint8))
    seen = look(tmp_path / "a.png", "png", "plot")
    seen.save(tmp_path / "b.png")
    assert (tmp_path / "b.png").read_bytes() == (tmp_path / "a.png").read_bytes()
    with pytest.raises(ProjectError, match="PST-G004"):
        seen.save(tmp_path / "b.png")


def test_what_cannot_be_shown_says_so(tmp_path):
    empty = write(tmp_path / "empty.fits")
    with pytest.raises(ProjectError, match="neither a plane nor a table"):
        look(empty, "fits", "x")
    (tmp_path / "a.json").write_text("{}")
    with pytest.raises(ProjectError, match="not a picture"):
        look(tmp_path / "a.json", "json", "x").save(tmp_path / "x.png")
    with pytest.raises(ProjectError, match="has no extensions"):
        look(tmp_path / "a.json", "json", "x", extension="SCI")
    whole = write(tmp_path / "whole.fits", fits.ImageHDU(sky((100, 100)))).read_bytes()
    for cut in (10, 3000, 5000, len(whole) - 2880 * 5):
        (tmp_path / "torn.fits").write_bytes(whole[:cut])
        with pytest.raises(TaskError, match="PST-N008"):
            look(tmp_path / "torn.fits", "fits", "x")
