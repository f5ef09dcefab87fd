"""PNG: pixels kept, story in text, time and program left out, damage told. Pillow is the oracle."""

import io
import json
import struct
import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, PngImagePlugin

from prestow.errors import TaskError
from prestow.formats.png import PNG
from prestow.formats.png_chunks import (
    Chunk,
    chunks_of,
    encoded,
    header_of,
    international_text,
    joined,
    keyword_of,
    text_of,
)
from prestow.formats.png_pixels import samples
from prestow.testing.formats import STORY

FORM = PNG()
MODES = {"L": 0, "LA": 2, "RGB": 3, "RGBA": 4}


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


def idat(path):
    return [chunk.data for chunk in chunks_of(path.read_bytes()) if chunk.kind == b"IDAT"]


def picture(mode="RGB", size=(40, 30)):
    rng = np.random.default_rng(3)
    shape = (size[1], size[0], *((MODES[mode],) if MODES[mode] else ()))
    ramp = np.cumsum(rng.integers(0, 3, shape), axis=0).astype("u1")
    ramp[5:20] = 255
    return ramp


def filtered(array, kinds):
    """Give the PNG of 8-bit samples with these filters of its rows, by the definitions of the standard."""
    rows, columns = array.shape[:2]
    step = 1 if array.ndim == 2 else array.shape[2]
    raw = array.reshape(rows, -1).astype(int)
    above, lines = np.zeros(columns * step, int), []
    for row, kind in zip(raw, kinds, strict=True):
        left = np.concatenate([np.zeros(step, int), row[:-step]])
        corner = np.concatenate([np.zeros(step, int), above[:-step]])
        p = left + above - corner
        distance = np.stack([abs(p - left), abs(p - above), abs(p - corner)])
        best = np.stack([left, above, corner])[distance.argmin(axis=0), np.arange(len(row))]
        guess = (0, left, above, (left + above) // 2, best)[kind]
        lines.append(bytes([kind]) + ((row - guess) % 256).astype("u1").tobytes())
        above = row
    header = struct.pack(">IIBBBBB", columns, rows, 8, {1: 0, 2: 4, 3: 2, 4: 6}[step], 0, 0, 0)
    return joined(
        [Chunk(b"IHDR", header), Chunk(b"IDAT", zlib.compress(b"".join(lines))), Chunk(b"IEND", b"")]
    )


@given(st.sampled_from(list(MODES)), st.lists(st.integers(0, 4), min_size=30, max_size=30), st.integers(0, 5))
@settings(max_examples=40, deadline=None)
def test_filters_are_undone_as_pillow_does(tmp_path_factory, mode, kinds, seed):
    array = np.random.default_rng(seed).integers(0, 256, picture(mode).shape).astype("u1")
    path = tmp_path_factory.mktemp("p") / "a.png"
    path.write_bytes(filtered(array, kinds))
    assert (FORM.read(path) == np.array(Image.open(path))).all()
    assert (FORM.read(path) == array).all()
    plain = path.with_name("plain.png")
    FORM.write(plain, array)
    assert FORM.content_digest(plain) == FORM.content_digest(path)


@pytest.mark.parametrize("mode", list(MODES))
@pytest.mark.parametrize("options", [{}, {"compress_level": 0}, {"optimize": True}])
def test_what_pillow_wrote_is_read_and_kept(tmp_path, mode, options):
    array = picture(mode)
    Image.fromarray(array).save(tmp_path / "a.png", **options)
    FORM.write(tmp_path / "b.png", array)
    target = stamped(tmp_path / "a.png")
    assert idat(target) == idat(tmp_path / "a.png")
    assert (np.array(Image.open(target)) == array).all()
    assert (FORM.read(target) == array).all()
    assert FORM.content_digest(target) == FORM.content_digest(tmp_path / "b.png")
    assert (np.array(Image.open(tmp_path / "b.png")) == array).all()


@pytest.mark.parametrize("mode", ["1", "P", "I;16"])
def test_other_images_are_stamped_and_given_as_bytes_alone(tmp_path, mode):
    if mode == "I;16":
        image = Image.fromarray(np.arange(1200, dtype="u2").reshape(30, 40) * 50)
    else:
        image = Image.fromarray(picture("L")).convert(mode)
    image.save(tmp_path / "a.png")
    target = stamped(tmp_path / "a.png")
    assert (np.array(Image.open(target)) == np.array(image)).all()
    problem = problem_of(lambda: FORM.read(target))
    assert "bytes" in problem.fix
    assert FORM.read(target, "bytes") == target.read_bytes()
    image.save(tmp_path / "again.png", compress_level=1)
    assert FORM.content_digest(tmp_path / "again.png") == FORM.content_digest(target)
    other = np.array(image)
    other[-1, -1] = not other[-1, -1]
    if mode != "P":
        Image.fromarray(other).save(tmp_path / "other.png")
        assert FORM.content_digest(tmp_path / "other.png") != FORM.content_digest(target)


@pytest.mark.parametrize("size", [(40, 30), (1, 1), (3, 2), (5, 9)])
@pytest.mark.parametrize("bits", [1, 8, 24])
def test_interlaced_images_are_whole(tmp_path, size, bits):
    columns, rows = size
    passes = [
        (0, 0, 8, 8),
        (4, 0, 8, 8),
        (0, 4, 4, 8),
        (2, 0, 4, 4),
        (0, 2, 2, 4),
        (1, 0, 2, 2),
        (0, 1, 1, 2),
    ]
    lines = b""
    for x, y, dx, dy in passes:
        width, height = len(range(x, columns, dx)), len(range(y, rows, dy))
        lines += (b"\0" + b"\x55" * ((width * bits + 7) // 8)) * height if width else b""
    color, depth = (2, 8) if bits == 24 else (0, bits)
    header = struct.pack(">IIBBBBB", columns, rows, depth, color, 0, 0, 1)
    data = joined([Chunk(b"IHDR", header), Chunk(b"IDAT", zlib.compress(lines)), Chunk(b"IEND", b"")])
    (tmp_path / "a.png").write_bytes(data)
    assert (np.array(Image.open(stamped(tmp_path / "a.png"))) == np.array(Image.open(io.BytesIO(data)))).all()
    assert "interlaced" in problem_of(lambda: FORM.read(tmp_path / "a.png")).what


def test_story_stands_as_text_that_others_can_read(tmp_path):
    FORM.write(tmp_path / "a.png", picture())
    with Image.open(stamped(tmp_path / "a.png")) as image:
        text = image.text
    assert json.loads(text["prestow"])["inputs"][1]["data_id"] == STORY.inputs[1].data_id
    assert text["PSTTYPE"] == STORY.type
    assert text["PSTDATA"] == STORY.data_id


def test_time_and_program_are_dropped_and_other_text_kept(tmp_path):
    texts = PngImagePlugin.PngInfo()
    for key in ("Software", "Creation Time", "date:create", "Title", "PSTTYPE"):
        texts.add_text(key, f"{key} é")
    texts.add_itxt("Comment", "日本")
    Image.fromarray(picture()).save(tmp_path / "a.png", pnginfo=texts, dpi=(90, 90))
    chunks = chunks_of((tmp_path / "a.png").read_bytes())
    (tmp_path / "b.png").write_bytes(joined([*chunks[:-1], Chunk(b"tIME", bytes(7)), chunks[-1]]))
    target = stamped(tmp_path / "b.png")
    assert target.read_bytes() == stamped(tmp_path / "a.png").read_bytes()
    with Image.open(target) as image:
        kept = dict(image.text)
        assert image.info["dpi"] == pytest.approx((90, 90), abs=0.1)
    assert {k: v for k, v in kept.items() if not k.lower().startswith("pst")} == {
        "Title": "Title é", "Comment": "日本", "prestow": kept["prestow"],
    }  # fmt: skip
    assert kept["PSTTYPE"] == STORY.type


def test_a_story_that_another_program_compressed_or_moved_is_read(tmp_path):
    FORM.write(tmp_path / "a.png", picture())
    chunks = chunks_of(stamped(tmp_path / "a.png").read_bytes())
    story = next(c for c in chunks if keyword_of(c) == "prestow")
    packed = Chunk(b"iTXt", b"prestow\0\1\0en\0\0" + zlib.compress(text_of(story).encode()))
    rest = [c for c in chunks if c is not story]
    (tmp_path / "b.png").write_bytes(joined([*rest[:-1], packed, rest[-1]]))
    assert FORM.read_story(tmp_path / "b.png") == STORY


@pytest.mark.parametrize("text", ["", "no json", "[]", '{"schema": 1}'])
def test_a_foreign_use_of_the_keyword_is_told(tmp_path, text):
    chunks = chunks_of(encoded((2, 2), bytes(4)))
    (tmp_path / "a.png").write_bytes(joined([chunks[0], international_text("prestow", text), *chunks[1:]]))
    assert "reserved" in problem_of(lambda: FORM.read_story(tmp_path / "a.png")).what


def test_every_flipped_byte_is_told(tmp_path):
    FORM.write(tmp_path / "a.png", picture("L", (9, 25)))
    whole = stamped(tmp_path / "a.png").read_bytes()
    for at in range(0, len(whole), 5):
        (tmp_path / "bad.png").write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        problem_of(lambda: FORM.check(tmp_path / "bad.png"))


def test_every_cut_is_told(tmp_path):
    FORM.write(tmp_path / "a.png", picture("L", (9, 25)))
    whole = stamped(tmp_path / "a.png").read_bytes()
    for length in range(0, len(whole), 7):
        (tmp_path / "cut.png").write_bytes(whole[:length])
        for act in (FORM.check, FORM.read_story, FORM.read):
            assert str(tmp_path / "cut.png") in problem_of(lambda act=act: act(tmp_path / "cut.png")).where


def with_pixels(data, shape=(2, 2)):
    chunks = chunks_of(encoded(shape, bytes(shape[0] * shape[1])))
    return joined([chunks[0], *(Chunk(b"IDAT", piece) for piece in data), chunks[-1]])


GOOD = zlib.compress(bytes(6))
BROKEN = {
    "too few pixels": ([zlib.compress(bytes(5))], "end before"),
    "too many pixels": ([zlib.compress(bytes(7))], "more pixels"),
    "a bomb": ([zlib.compress(bytes(10_000_000))], "more pixels"),
    "cut in its stream": ([GOOD[:-4]], "more pixels|end before"),
    "not compressed": ([b"noise"], "inflated"),
    "an unknown filter": ([zlib.compress(bytes([9, 0, 0, 0, 0, 0]))], "filter 9"),
    "no pixels": ([], "no pixels"),
}


@pytest.mark.parametrize("case", list(BROKEN))
def test_pixels_that_do_not_fit_are_told(tmp_path, case):
    import re

    data, words = BROKEN[case]
    (tmp_path / "a.png").write_bytes(with_pixels(data))
    assert re.search(words, problem_of(lambda: FORM.check(tmp_path / "a.png")).what)


def test_pixels_may_stand_in_any_number_of_chunks(tmp_path):
    (tmp_path / "a.png").write_bytes(with_pixels([GOOD]))
    (tmp_path / "b.png").write_bytes(with_pixels([b"", GOOD[:1], b"", GOOD[1:3], GOOD[3:], b""]))
    assert FORM.content_digest(tmp_path / "a.png") == FORM.content_digest(tmp_path / "b.png")


def test_what_stands_after_the_end_is_told(tmp_path):
    (tmp_path / "a.png").write_bytes(encoded((2, 2), bytes(4)) + b"x")
    assert "after the end" in problem_of(lambda: FORM.check(tmp_path / "a.png")).what


def test_an_unknown_critical_chunk_is_told(tmp_path):
    chunks = chunks_of(encoded((2, 2), bytes(4)))
    (tmp_path / "a.png").write_bytes(joined([chunks[0], Chunk(b"NEWS", b""), *chunks[1:]]))
    assert "NEWS" in problem_of(lambda: FORM.check(tmp_path / "a.png")).what


@pytest.mark.parametrize(
    "value",
    [
        np.zeros((2, 2)),
        np.zeros((2, 2, 5), "u1"),
        np.zeros(4, "u1"),
        np.zeros((0, 4), "u1"),
        b"noise",
        {"a": 1},
        b"",
    ],
)
def test_what_is_no_image_is_refused_and_leaves_nothing(tmp_path, value):
    assert problem_of(lambda: FORM.write(tmp_path / "a.png", value)).fix
    assert not (tmp_path / "a.png").exists()


def test_a_small_file_does_not_fill_the_memory(tmp_path):
    header = struct.pack(">IIBBBBB", 2**31 - 1, 2**31 - 1, 8, 6, 0, 0, 0)
    data = joined([Chunk(b"IHDR", header), Chunk(b"IDAT", GOOD), Chunk(b"IEND", b"")])
    (tmp_path / "a.png").write_bytes(data)
    problem_of(lambda: FORM.check(tmp_path / "a.png"))


def test_samples_of_an_array_are_its_rows():
    array = picture("RGB")
    chunks = chunks_of(encoded(array.shape, array.tobytes()))
    rows = samples(header_of(chunks), [c.data for c in chunks if c.kind == b"IDAT"])
    assert b"".join(rows) == array.tobytes()


def test_arrays_that_are_not_contiguous_are_written_as_they_look(tmp_path):
    array = picture("RGB")[::-1, ::2].transpose(1, 0, 2)
    FORM.write(tmp_path / "a.png", array)
    assert (FORM.read(tmp_path / "a.png") == array).all()
    FORM.read(tmp_path / "a.png")[0, 0] = 1


def test_a_mask_is_not_lost_in_silence(tmp_path):
    masked = np.ma.masked_equal(picture("L"), picture("L")[0, 0])
    assert "mask" in problem_of(lambda: FORM.write(tmp_path / "a.png", masked)).what
    assert not (tmp_path / "a.png").exists()
