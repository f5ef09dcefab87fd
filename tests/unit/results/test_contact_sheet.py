"""Contact sheets: what a tile is, which stretch it gets, what stands out, and that the picture says so."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from prestow.errors import ProjectError
from prestow.formats import open_format
from prestow.results.contact_sheet import MOST, Tile, numbers, sheet_of, tile_of
from prestow.results.lettering import WIDTH, wrapped, write

NOISE = np.random.default_rng(1).normal(100, 5, (40, 60)).astype(np.float32)


def plane(path: Path, data: np.ndarray, **header: object) -> Path:
    hdu = fits.PrimaryHDU(data)
    hdu.header.update(header)
    hdu.writeto(path)
    return path


def pixels(png: bytes, path: Path) -> np.ndarray:
    path.write_bytes(png)
    return open_format("png").read(path)


def test_a_common_stretch_shows_another_level_and_one_for_each_does_not(tmp_path: Path) -> None:
    paths = [plane(tmp_path / f"{n}.fits", NOISE + (80 if n == 3 else 0)) for n in range(4)]
    tiles = [tile_of(p, "fits", f"frame{{n={n}}}", size=60) for n, p in enumerate(paths)]
    levels = {}
    for stretch in ("common", "each"):
        picture = pixels(
            sheet_of(tiles, stretch=stretch, columns=4, size=60).png, tmp_path / f"{stretch}.png"
        )
        levels[stretch] = [picture[4:44, 4 + n * 64 : 64 + n * 64].mean() for n in range(4)]
    assert levels["common"][3] > 2 * levels["common"][0]
    assert np.ptp(levels["each"]) < 1
    sheet = sheet_of(tiles, size=60)
    assert [tile.label for tile in sheet.odd] == ["frame{n=3}"]
    assert [row[2].startswith("!!") for row in sheet.rows] == [False, False, False, True]


def test_rows_go_up_and_small_planes_are_enlarged(tmp_path: Path) -> None:
    data = np.zeros((2, 3), np.float32)
    data[0, 0] = 1
    tile = tile_of(plane(tmp_path / "a.fits", data), "fits", "a", size=30)
    assert tile.pixels.shape == (20, 30)
    picture = pixels(sheet_of([tile], size=30).png, tmp_path / "a.png")
    assert picture[4 + 19, 4].tolist() == [255, 255, 255]
    assert picture[4, 4].tolist() == [0, 0, 0]


def test_what_stands_out_is_sought_within_a_type_and_beyond_the_noise(tmp_path: Path) -> None:
    tiles = [
        tile_of(plane(tmp_path / f"{n}.fits", NOISE + n / 100), "fits", f"warp{{n={n}}}") for n in range(4)
    ]
    other = tile_of(plane(tmp_path / "o.fits", NOISE * 50), "fits", "coadd{n=0}")
    off = tile_of(plane(tmp_path / "s.fits", NOISE + 2), "fits", "warp{n=9}")  # 0.4 of the rms
    assert not sheet_of([*tiles, other, off]).odd


def test_headers_come_from_the_plane_else_from_the_first(tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(NOISE, name="SCI")])
    hdus[0].header["FILTER"], hdus[0].header["SEEING"], hdus[1].header["SEEING"] = "r", 9.0, 1.25
    hdus.writeto(path)
    sheet = sheet_of(
        [tile_of(path, "fits", "a", keys=("FILTER", "SEEING", "NONE"))], keys=("FILTER", "SEEING", "NONE")
    )
    assert sheet.keys == ("FILTER", "SEEING", "NONE", "median", "rms")
    assert sheet.rows[0][:5] == ("1", "a", "r", "1.25", "-")


def test_compressed_planes_are_planes(tmp_path: Path) -> None:
    raw = io.BytesIO()
    fits.PrimaryHDU(NOISE).writeto(raw)
    (tmp_path / "a.fits.gz").write_bytes(gzip.compress(raw.getvalue()))
    counts = np.round(NOISE).astype(np.int16)
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(counts)]).writeto(tmp_path / "b.fits")
    found = [tile_of(tmp_path / name, "fits", name) for name in ("a.fits.gz", "b.fits")]
    assert [tile.kind for tile in found] == ["plane", "plane"]
    assert found[0].header["median"] == pytest.approx(found[1].header["median"], abs=1)


def test_plots_are_as_they_are_and_the_rest_is_told(tmp_path: Path) -> None:
    plot = np.zeros((50, 50, 3), np.uint8)
    plot[:, :, 1] = 200
    open_format("png").write(tmp_path / "plot.png", plot)
    (tmp_path / "a.json").write_text(json.dumps({"seeing": 1.5}))
    fits.HDUList(
        [fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("x", "E", array=np.zeros(7))])]
    ).writeto(tmp_path / "t.fits")
    torn = plane(tmp_path / "torn.fits", NOISE)
    torn.write_bytes(torn.read_bytes()[:4000])
    asked = [("plot.png", "png"), ("a.json", "json"), ("t.fits", "fits"), ("torn.fits", "fits")]
    tiles = [tile_of(tmp_path / name, kind, name, keys=("seeing",), size=50) for name, kind in asked]
    assert [tile.kind for tile in tiles] == ["plot", "document", "table", "damaged"]
    assert tiles[2].text == "a table: 7 rows, 1 columns"
    sheet = sheet_of(tiles, keys=("seeing",), columns=2, size=50)
    assert sheet.stretch == "no planes"
    assert sheet.rows[1] == ("2", "a.json", "1.5")
    picture = pixels(sheet.png, tmp_path / "sheet.png")
    assert (picture[4:54, 4:54] == [0, 200, 0]).all()


def test_the_same_tiles_are_the_same_bytes_and_too_many_are_refused() -> None:
    tiles = [Tile("a", "other", "nothing to see")]
    assert sheet_of(tiles).png == sheet_of(tiles).png
    for many in ([], tiles * (MOST + 1)):
        with pytest.raises(ProjectError) as caught:
            sheet_of(many)
        assert caught.value.problems[0].code == "PST-T025"


def test_planes_without_a_value_are_black(tmp_path: Path) -> None:
    tile = tile_of(plane(tmp_path / "a.fits", np.full((30, 30), np.nan, np.float32)), "fits", "a", size=30)
    assert np.isnan(tile.header["median"])
    picture = pixels(sheet_of([tile], size=30).png, tmp_path / "a.png")
    assert (picture[4:34, 4:34] == 0).all()


def test_sources_count_little_in_the_rms() -> None:
    data = NOISE.copy()
    data[:2] = 60_000
    assert numbers(data)["rms"] == pytest.approx(5, rel=0.15)


def test_text_is_cut_at_the_edge_and_unknown_letters_are_marks() -> None:
    canvas = np.zeros((7, 10), np.uint8)
    write(canvas, 0, 0, "HHHH", 9)
    assert canvas.max() == 9
    one, other = np.zeros((2, 7, WIDTH), np.uint8)
    write(one, 0, 0, "é", 1)
    write(other, 0, 0, "?", 1)
    assert (one == other).all()
    assert wrapped("x" * 25, 10) == ["x" * 10, "x" * 10, "x" * 5]
