"""FITS without astropy, with astropy as the oracle."""

import gzip
import hashlib
import io
import itertools
import subprocess
import sys
import warnings
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from astropy import units
from astropy.io import fits
from astropy.io.fits.scripts import fitscheck
from astropy.nddata import CCDData
from astropy.table import Table

from prestow.errors import TaskError
from prestow.formats import Story, StoryInput, open_format
from prestow.formats.fits import FITS, inspect, read_cards
from prestow.formats.fits_astropy import PIXELS
from prestow.formats.fits_cards import MODULUS, encode_sum, ones_sum
from prestow.testing.formats import BARE, STORY

RAMP = np.arange(600, dtype="i2").reshape(20, 30)
FORMAT = FITS()


def stamp(path: Path, story: Story = STORY, name: str = "stamped.fits") -> Path:
    target = path.with_name(name)
    with target.open("wb") as sink:
        FORMAT.stamp(path, sink, story)
    return target


def make_image(path):
    fits.PrimaryHDU(RAMP).writeto(path)


def make_unsigned(path):
    fits.PrimaryHDU(RAMP.astype("u2")).writeto(path)


def make_floats_with_nan(path):
    fits.PrimaryHDU(np.where(RAMP > 5, np.nan, RAMP).astype("f8")).writeto(path)


def make_many_extensions(path):
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(RAMP + n, name="SCI", ver=n) for n in range(1, 6))]
    fits.HDUList(hdus).writeto(path)


def make_tables(path):
    rows = Table({"a": [1, 2, 3], "name": ["x", "it's", ""], "v": np.ones((3, 2))})
    text = fits.TableHDU.from_columns(
        [fits.Column("a", "I6", array=[1, 2]), fits.Column("b", "A9", array=["p", "q"])]
    )
    varying = fits.BinTableHDU.from_columns(
        [fits.Column("h", "PJ()", array=np.array([[1, 2], [3]], dtype=object))]
    )
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU(rows), text, varying]).writeto(path)


def make_compressed(path):
    hdus = [
        fits.PrimaryHDU(),
        fits.CompImageHDU(RAMP.astype("i4")),
        fits.CompImageHDU(RAMP.astype("f4"), name="F"),
    ]
    fits.HDUList(hdus).writeto(path)


def make_empty_primary(path):
    fits.PrimaryHDU().writeto(path)


def make_groups(path):
    data = fits.GroupData(
        np.ones((4, 1, 1, 3, 2), "f4"), bitpix=-32, parnames=["UU", "VV"], pardata=[np.arange(4)] * 2
    )
    fits.GroupsHDU(data).writeto(path)


def make_with_checksums(path):
    fits.HDUList([fits.PrimaryHDU(RAMP), fits.ImageHDU(RAMP)]).writeto(path, checksum=True)


def make_zeros(path):
    fits.PrimaryHDU(np.zeros((40, 40), "u1")).writeto(path)


def make_odd_cards(path):
    header = fits.Header()
    header["OBJECT"] = ("it's ''odd''", "quotes / slashes 'too'")
    header["HIERARCH ESO DET CHIP1 ID"] = ("CCD / 1", "long keyword")
    header["HIERARCH ESO DET RON"] = 7.4
    header["LONGTEXT"] = "a long one's text & more, " * 9
    header["AMPER"] = "ends with &"
    header["NOVALUE"] = None
    header["BLANKS"] = "  leading"
    header["EMPTY"] = ""
    header["TRUTH"] = True
    header["LIE"] = False
    header["NEGATIVE"] = -7
    header["SMALL"] = 1.5e-20
    header["PSTART"] = ("12:00", "somebody else's keyword")
    header["PSTABLE"] = "another one"
    header.add_history("HISTORY = not a value")
    header.add_comment("it's / only a comment")
    header.add_blank()
    header["LAST"] = 1
    fits.PrimaryHDU(RAMP, header).writeto(path)


MAKERS = [value for name, value in sorted(globals().items()) if name.startswith("make_")]


@pytest.fixture(params=MAKERS, ids=[m.__name__[5:] for m in MAKERS])
def product(request, tmp_path):
    path = tmp_path / "product.fits"
    request.param(path)
    return path


@pytest.fixture
def image(tmp_path):
    make_image(tmp_path / "image.fits")
    return tmp_path / "image.fits"


def test_astropy_finds_the_checksums_right(product):
    # A wrong one warns, and warnings are errors. A compressed image is a table like another here.
    with fits.open(stamp(product), checksum=True, disable_image_compression=True) as hdus:
        for hdu in hdus:
            hdu.verify("exception")
            assert hdu._checksum is not None
            assert hdu._datasum is not None
            assert "CHECKSUM" in hdu.header


def test_fitscheck_is_content(product):
    if product.read_bytes().count(b"ZIMAGE  ="):
        pytest.skip("fitscheck asks compressed images for the checksum of what they were made from")
    assert fitscheck.main([str(stamp(product))]) == 0


def test_astropy_reads_back_what_was_stamped(product):
    with fits.open(stamp(product)) as hdus:
        header = hdus[0].header
        assert (header["PSTVERS"], header["PSTNPLAN"], header["PSTNUSED"]) == (1, 3, 1)
        assert [header[key] for key in ("PSTTYPE", "PSTID", "PSTRUN", "PSTTASK", "PSTTVERS")] == [
            STORY.type, STORY.id, STORY.run, STORY.task, STORY.version,
        ]  # fmt: skip
        assert (header["PSTRCPE"], header["PSTPRCP"]) == (STORY.recipe, STORY.planned_recipe)
        assert header["PSTDATA"] == '{"band":"r","tract":12}'
        assert header["PSTAB001"].startswith("isr{")
        assert header["PSTAB001"].endswith("}: declined:cloudy")
        assert header["PSTAB002"] == "isr{visit=3}: lost"
        assert "PSTAB003" not in header
        table = hdus[-1]
        assert table.name == "PSTINPUT"
        assert [c.name for c in table.columns] == [
            "ROLE", "CONNECT", "TYPE", "DATAID", "ID", "STATE", "CODE", "SHA256", "RECIPE",
        ]  # fmt: skip
        assert list(table.data["ROLE"]) == ["parent"] * 3 + ["root"]
        assert list(table.data["STATE"]) == ["made", "declined", "lost", ""]
        assert table.data["DATAID"][1].isascii()


def test_all_else_stays_byte_for_byte(product):
    before, after = product.read_bytes(), stamp(product).read_bytes()
    with fits.open(product) as old, fits.open(product.with_name("stamped.fits")) as new:
        assert len(new) == len(old) + 1
        for one, other in zip(old, new, strict=False):
            a, b = one.fileinfo(), other.fileinfo()
            assert (
                before[a["datLoc"] : a["datLoc"] + a["datSpan"]]
                == after[b["datLoc"] : b["datLoc"] + b["datSpan"]]
            )
            cards = [before[i : i + 80] for i in range(a["hdrLoc"], a["datLoc"], 80)]
            cards = cards[: cards.index(b"END".ljust(80))]
            kept = [c for c in cards if c[:8] not in (b"CHECKSUM", b"DATASUM ")]
            found = [after[i : i + 80] for i in range(b["hdrLoc"], b["datLoc"], 80)]
            assert found[: len(kept)] == kept


def test_content_is_of_science_alone(product):
    content = FORMAT.content_digest(product)
    assert FORMAT.content_digest(stamp(product)) == content
    assert FORMAT.content_digest(stamp(product, BARE)) == content


def test_one_reading_tells_all(product):
    file = inspect(product)
    cards, size, sha256, content = file.cards, file.size, file.sha256, file.content
    data = product.read_bytes()
    assert (size, sha256) == (len(data), hashlib.sha256(data).hexdigest())
    assert content == FORMAT.content_digest(product)
    primary = read_cards(product)
    if cards.get("ZIMAGE"):  # then they are those of the image that is in the tiles
        with fits.open(product) as hdus:
            assert [cards[k] for k in ("NAXIS", "NAXIS1")] == [hdus[1].header[k] for k in ("NAXIS", "NAXIS1")]
        primary = {k: v for k, v in primary.items() if k not in ("NAXIS", "BITPIX")}
        assert primary.items() <= cards.items()
    else:
        assert cards == primary


def test_a_gzip_d_file_is_what_is_in_it(product, tmp_path):
    packed = tmp_path / "packed.fits.gz"
    half = len(product.read_bytes()) // 2
    # two members, as some archives write them, and padding behind
    pieces = product.read_bytes()[:half], product.read_bytes()[half:]
    packed.write_bytes(b"".join(gzip.compress(piece) for piece in pieces) + bytes(100))
    plain, file = inspect(product), inspect(packed)
    assert (file.cards, file.content, file.data) == (plain.cards, plain.content, plain.data)
    assert (file.size, file.sha256) == (
        packed.stat().st_size,
        hashlib.sha256(packed.read_bytes()).hexdigest(),
    )
    FORMAT.check(packed)
    assert FORMAT.content_digest(packed) == plain.content


@pytest.mark.parametrize("spoil", [lambda b: b[:-20], lambda b: b[:40] + b"spoiled" + b[47:]])
def test_a_damaged_gzip_d_file_is_told(product, tmp_path, spoil):
    packed = tmp_path / "packed.fits.gz"
    packed.write_bytes(spoil(gzip.compress(product.read_bytes())))
    with pytest.raises(TaskError, match="gzip'd data are"):
        inspect(packed)


def test_cards_are_read_as_astropy_reads_them(product):
    for path in (product, stamp(product)):
        with fits.open(path, disable_image_compression=True, do_not_scale_image_data=True) as hdus:
            for number, hdu in enumerate(hdus):
                expected = {
                    key: None if isinstance(value, fits.card.Undefined) else value
                    for key, value in reversed([(k, hdu.header[k]) for k in hdu.header])
                    if key not in ("COMMENT", "HISTORY", "")
                }
                found = read_cards(path, number)
                if "EXTEND" not in found:
                    expected.pop("EXTEND", None)  # astropy adds it in memory where extensions follow
                assert found == expected
                assert {k: type(v) for k, v in found.items()} == {k: type(v) for k, v in expected.items()}


def test_every_real_frame_reads_as_astropy_reads_it(test_data):
    frames = sorted(test_data.glob("uam-ngc2420/**/*.fits"))[::4]
    for frame in frames:
        found = read_cards(frame)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            header = fits.getheader(frame)
            for key in header:
                if key not in ("COMMENT", "HISTORY", ""):
                    assert found[key] == header[key]


@pytest.fixture
def test_data():
    import os

    path = Path(os.environ.get("PRESTOW_TEST_DATA", Path(__file__).parents[3] / ".." / "shared" / "data"))
    if not (path / "uam-ngc2420").is_dir():
        pytest.skip(f"no real frames at {path}: set PRESTOW_TEST_DATA")
    return path


def test_one_pixel_changes_the_content(image, tmp_path):
    other = RAMP.copy()
    other[3, 4] += 1
    fits.PrimaryHDU(other).writeto(tmp_path / "other.fits")
    assert FORMAT.content_digest(image) != FORMAT.content_digest(tmp_path / "other.fits")


def test_one_card_changes_the_content(image, tmp_path):
    contents = {FORMAT.content_digest(image)}
    for number, cards in enumerate(
        [[("GAIN", 1)], [("GAIN", 2)], [("GAIN", 1, "why")], [("PSTART", 1)], [("HISTORY", "x")]]
    ):
        path = tmp_path / f"{number}.fits"
        fits.PrimaryHDU(RAMP, fits.Header([fits.Card(*card) for card in cards])).writeto(path)
        contents.add(FORMAT.content_digest(path))
    assert len(contents) == 6


def test_data_moved_between_hdus_changes_the_content(tmp_path):
    for name, parts in {"a": [b"1234", b""], "b": [b"", b"1234"]}.items():
        hdus = [fits.ImageHDU(np.frombuffer(part, "u1")) if part else fits.ImageHDU() for part in parts]
        fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(tmp_path / name)
    assert FORMAT.content_digest(tmp_path / "a") != FORMAT.content_digest(tmp_path / "b")


def test_stamping_does_not_depend_on_the_day_or_place(image, tmp_path):
    first = stamp(image).read_bytes()
    (tmp_path / "else where").mkdir()
    copy = tmp_path / "else where" / "ünd.fits"
    copy.write_bytes(image.read_bytes())
    assert stamp(copy).read_bytes() == first


def test_story_copied_from_a_parent_goes(image, tmp_path):
    parent = stamp(image)
    with fits.open(parent) as hdus:
        hdus.append(fits.ImageHDU(RAMP, hdus[0].header, name="COPY"))
        hdus.writeto(tmp_path / "child.fits")
    child = replace(STORY, type="child", inputs=(), planned=0, used=0)
    path = stamp(tmp_path / "child.fits", child, "stamped-child.fits")
    assert FORMAT.read_story(path) == child
    with fits.open(path, checksum=True) as hdus:
        assert [hdu.name for hdu in hdus] == ["PRIMARY", "COPY", "PSTINPUT"]
        assert not [key for key in hdus[1].header if key.startswith("PST")]
        assert "PSTAB001" not in hdus[0].header


def test_a_thousand_absent_inputs_fit(image):
    inputs = tuple(StoryInput("c", "isr", f'{{"visit":{n}}}', f"i{n}", "lost") for n in range(1005))
    story = replace(STORY, inputs=inputs, planned=1005, used=0)
    path = stamp(image, story)
    assert FORMAT.read_story(path) == story
    header = fits.getheader(path)
    assert header["PSTAB999"] == "isr{visit=998}: lost"
    assert "PSTAB1000" not in header


def test_what_fits_cannot_hold_is_refused(image):
    with pytest.raises(TaskError, match="cannot hold"):
        FORMAT.stamp(image, io.BytesIO(), replace(STORY, run="rün"))


def test_missing_padding_is_made(image):
    data = image.read_bytes()
    image.write_bytes(data[: 2880 + RAMP.nbytes])
    content = FORMAT.content_digest(image)
    with fits.open(stamp(image), checksum=True) as hdus:
        assert np.array_equal(hdus[0].data, RAMP)
    assert FORMAT.content_digest(image.with_name("stamped.fits")) == content


def test_bytes_after_the_last_hdu_are_kept_and_count(image):
    content = FORMAT.content_digest(image)
    image.write_bytes(image.read_bytes() + b"special records")
    path = stamp(image)
    assert path.read_bytes().endswith(b"special records")
    assert FORMAT.read_story(path) == STORY
    assert stamp(path, STORY, "again.fits").read_bytes() == path.read_bytes()
    assert FORMAT.content_digest(path) == FORMAT.content_digest(image) != content


def test_large_data_are_streamed(tmp_path, monkeypatch):
    monkeypatch.setattr("prestow.formats.fits._HELD", 1000)
    path = tmp_path / "large.fits"
    fits.PrimaryHDU(np.arange(1_500_000, dtype="i4")).writeto(path)
    with fits.open(stamp(path), checksum=True) as hdus:
        assert hdus[0].data[-1] == 1_499_999


def problem_of(path, act=FORMAT.check):
    with pytest.raises(TaskError) as caught:
        act(path)
    return caught.value.problems[0]


def test_damage_says_what_and_where(tmp_path):
    path = tmp_path / "two.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(RAMP, name="SCI")]).writeto(path)
    whole = path.read_bytes()
    assert len(whole) == 3 * 2880

    path.write_bytes(whole[: 2 * 2880 + 1000])
    problem = problem_of(path)
    assert problem.code == "PST-N008"
    assert "data end after 1,000 of 1,200 bytes" in problem.what
    assert problem.where == f"{path}, HDU 1 (SCI)"

    path.write_bytes(whole[: 2880 + 100])
    assert "no END" in problem_of(path).what
    path.write_bytes(whole[: 2880 + 3])
    assert "no END" in problem_of(path).what
    path.write_bytes(whole.replace(b"END     ", b"END_    ", 1)[:2880])
    assert "no END" in problem_of(path).what
    path.write_bytes(b"PNG" + whole)
    assert "not a FITS file" in problem_of(path).what
    path.write_bytes(whole.replace(b"BITPIX  =                    8", b"BITPIX  =                    7"))
    assert "BITPIX is 7" in problem_of(path).what
    path.write_bytes(whole.replace(b"NAXIS1  =                   30", b"NAXIS1  =                  -30"))
    assert "NAXIS1 is -30" in problem_of(path).what
    path.write_bytes(whole.replace(b"NAXIS1  ", b"NAXIS_1 "))
    assert "NAXIS1 is missing" in problem_of(path).what
    path.write_bytes(b"")
    assert "empty" in problem_of(path, read_cards).what
    assert "cannot be read" in problem_of(tmp_path).what


def test_every_cut_of_a_file_is_damaged_or_only_lacks_padding(tmp_path):
    path = tmp_path / "product.fits"
    fits.HDUList([fits.PrimaryHDU(RAMP), fits.ImageHDU(RAMP[:2])]).writeto(path)
    whole = path.read_bytes()
    ends = {
        2880 + RAMP.nbytes,
        *range(2880 + RAMP.nbytes, 2 * 2880 + 1),
        *range(3 * 2880 + 120, 4 * 2880 + 1),
    }
    for length in itertools.chain(range(0, len(whole), 97), (2880 * n for n in range(5))):
        path.write_bytes(whole[:length])
        if length in ends:
            FORMAT.check(path)
        else:
            problem_of(path)


def test_half_a_story_is_damaged(image):
    path = stamp(image)
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"XTENSION")])
    assert "PSTINPUT" in problem_of(path, FORMAT.read_story).what
    path.write_bytes(whole.replace(b"PSTVERS =                    1", b"PSTVERS =                    9"))
    assert "schema 9" in problem_of(path, FORMAT.read_story).what


def test_text_that_is_not_ascii_passes_and_is_read(image):
    data = image.read_bytes()
    place = data.index(b"END     ")
    cards = b"OBSERVER= 'Mu\xc3\xb1oz'".ljust(80) + b"SITE    = 'M\xfcnchen'".ljust(80)
    image.write_bytes((data[:place] + cards + data[place:].lstrip())[:2880] + data[2880:])
    path = stamp(image)
    assert cards in path.read_bytes()
    assert read_cards(path)["OBSERVER"] == "Muñoz"
    assert read_cards(path)["SITE"] == "München"


def test_odd_values_are_read_with_mercy(image):
    data = image.read_bytes()
    place = data.index(b"END     ")
    texts = (
        "DEXPO   = 1.5D3", "NOBLANK =7", "lower   = 'x'", "JUNK    = 12:34:56 / time", "UNDER   = 1_000",
        "NAN     = NaN", "OPEN    = 'no end", "ZERO    = 007", "CPLX    = (1.0, 2.0)", "PLUS    = +5", "OPEN2   = ''",
        "JUNK    = 'second one'", "HIERARCH  a  b c   =  'v'  / c", "HIERARCH no value here",
        "LINE    = 'a\nb'", "AMP     = 'x&'", "COMMENT = 'y'", "CONTINUE  'stray'",
    )  # fmt: skip
    cards = b"".join(text.encode().ljust(80) for text in texts)
    image.write_bytes((data[:place] + cards + data[place:])[:2880] + data[2880:])
    cards = read_cards(image)
    expected = {
        "DEXPO": 1500.0, "NOBLANK": 7, "LOWER": "x", "JUNK": "12:34:56", "UNDER": "1_000", "NAN": "NaN", "OPEN": "no end",
        "ZERO": 7, "PLUS": 5, "OPEN2": "", "A B C": "v", "LINE": "a b", "AMP": "x&",
    }  # fmt: skip
    assert {key: cards[key] for key in expected} == expected
    assert str(cards["CPLX"]).startswith("(1.0")
    FORMAT.check(image)


def test_sums_agree_with_their_definition():
    for data in (
        b"",
        bytes(2880),
        b"\xff" * 2880,
        b"\xff\xff\xff\xff" + bytes(2876),
        b"\x12\x34" * 1440 * 40,
    ):
        words = np.frombuffer(data, ">u4").astype("u8")
        total = int(words.sum())
        while total >> 32:
            total = (total >> 32) + (total & MODULUS)
        assert ones_sum(data) == total


def test_every_byte_is_encoded_as_astropy_does():
    hdu = fits.PrimaryHDU()
    for byte in range(256):
        for value in (byte, byte << 8, byte << 16, byte << 24, byte * 0x01010101):
            assert encode_sum(value) == hdu._char_encode(value)


def test_values_are_read_as_asked(tmp_path):
    path = tmp_path / "product.fits"
    header = fits.Header([("BUNIT", "electron")])
    hdus = [
        fits.PrimaryHDU(header=fits.Header([("OBJECT", "x")])),
        fits.ImageHDU(RAMP.astype("f4"), header, name="SCI"),
        fits.ImageHDU(np.full(RAMP.shape, 4, "f4"), name="VAR"),
        fits.ImageHDU((RAMP > 500).astype("u1") * 4, name="MASK"),
        fits.table_to_hdu(Table({"a": [1, 2]})),
    ]
    FORMAT.write(path, fits.HDUList(hdus))
    path = stamp(path)
    assert len(FORMAT.read(path)) == 6
    assert FORMAT.read(path, "header")["OBJECT"] == "x"
    assert np.array_equal(FORMAT.read(path, "array"), RAMP)
    assert list(FORMAT.read(path, "table")["a"]) == [1, 2]
    ccd = FORMAT.read(path, "ccddata")
    assert isinstance(ccd, CCDData)
    assert ccd.unit == "electron"
    assert np.array_equal(ccd.data, RAMP)
    assert ccd.uncertainty.uncertainty_type == "var"
    assert (ccd.uncertainty.array == 4).all()
    assert np.array_equal(ccd.mask, RAMP > 500)


def test_ccddata_comes_back(tmp_path):
    FORMAT.write(tmp_path / "a.fits", CCDData(RAMP.astype("f4"), unit="adu", mask=RAMP > 3))
    ccd = FORMAT.read(stamp(tmp_path / "a.fits"), "ccddata")
    assert np.array_equal(ccd.mask, RAMP > 3)
    assert ccd.unit == "adu"


@pytest.mark.parametrize(
    ("value", "what", "fix"),
    [
        (np.zeros((2, 2), bool), "pixels cannot be bool", "uint8"),
        (np.zeros((2, 2), np.float16), "pixels cannot be float16", "float32"),
        (np.zeros((2, 2), complex), "pixels cannot be complex128", "astype"),
        (np.array([object()]), "pixels cannot be object", "astype"),
        (np.zeros(2, [("x", "f4")]), "a structured array is a table", "Table"),
        (np.ma.masked_equal([[1.0, 2.0]], 2.0), "an image cannot have a mask", "filled"),
        ([1.0, 2.0] * units.Jy, "an array cannot have a unit", "CCDData"),
        (np.array(3.0), "a single number is no image", "dimensions"),
    ],
)
def test_an_array_that_is_no_image_says_what_to_give(tmp_path, value, what, fix):
    with pytest.raises(TaskError, match=what) as caught:
        FORMAT.write(tmp_path / "a.fits", value)
    assert fix in caught.value.problems[0].fix
    assert not (tmp_path / "a.fits").exists()


@pytest.mark.parametrize("dtype", PIXELS)
def test_pixels_of_every_kind_come_back(tmp_path, dtype):
    FORMAT.write(tmp_path / "a.fits", np.arange(6, dtype=dtype).reshape(2, 3))
    assert (FORMAT.read(tmp_path / "a.fits", "array") == np.arange(6).reshape(2, 3)).all()


def test_what_is_not_there_is_told(tmp_path):
    FORMAT.write(tmp_path / "a.fits", Table({"a": [1]}))
    for kind in ("array", "ccddata"):
        assert "no image" in problem_of(tmp_path / "a.fits", partial(FORMAT.read, as_=kind)).what
    assert "histogram" in problem_of(tmp_path / "a.fits", partial(FORMAT.read, as_="histogram")).what
    with pytest.raises(TaskError, match="dict cannot be written"):
        FORMAT.write(tmp_path / "b.fits", {})
    assert not (tmp_path / "b.fits").exists()


def test_failed_writing_leaves_nothing(tmp_path):
    broken = fits.HDUList([fits.ImageHDU(RAMP)])
    with pytest.raises(fits.VerifyError):
        FORMAT.write(tmp_path / "a.fits", broken)
    assert not (tmp_path / "a.fits").exists()


def test_the_node_side_needs_no_numpy(image):
    code = (
        "import sys, io; from pathlib import Path; from prestow.formats import open_format, Story\n"
        "story = Story('t', 'i', 'r', '{}', 'k', '', 'a', 'a', 0, 0)\n"
        "for name in ('fits', 'json'): open_format(name)\n"
        "f = open_format('fits'); p = Path(sys.argv[1])\n"
        "f.stamp(p, io.BytesIO(), story); f.check(p); f.read_story(p); f.content_digest(p)\n"
        "heavy = {'numpy', 'astropy', 'yaml', 'polars', 'pyarrow', 'dask', 'sqlalchemy'} & set(sys.modules)\n"
        "sys.exit(f'imported: {heavy}' if heavy else 0)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, image], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_table_opens_it():
    assert isinstance(open_format("fits"), FITS)


def test_declared_columns_of_the_first_table_are_checked(tmp_path):
    columns = Table({
        "id": np.array([1, 2], "i8"), "x": np.ones(2, "f4"), "y": np.ones(2), "ok": [True, False], "name": ["a", "bc"],
        "small": np.array([1, 2], "u2"), "box": np.ones((2, 3), "f8"), "n": np.array([1, 2], "i4"),
    })  # fmt: skip
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(RAMP), fits.table_to_hdu(columns)]).writeto(
        tmp_path / "a.fits"
    )
    path = stamp(tmp_path / "a.fits")
    declared = [("id", "int64"), ("x", "float32"), ("y", "float64"), ("ok", "bool"), ("name", "string"), ("small", "uint16"),
                ("box", "float64[3]"), ("n", "int32")]  # fmt: skip
    FORMAT.check_columns(path, declared)
    with pytest.raises(TaskError, match="'x' is float32, declared as float64"):
        FORMAT.check_columns(path, [(n, "float64" if n == "x" else t) for n, t in declared])
    image = stamp(make_image(tmp_path / "image.fits") or tmp_path / "image.fits", name="other.fits")
    with pytest.raises(TaskError, match="no table"):
        FORMAT.check_columns(image, declared)
