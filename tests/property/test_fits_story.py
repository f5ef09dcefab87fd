"""Laws of the FITS story: whatever the data ID, both readers read what was stamped."""

import io
import json
import re
import warnings

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from prestow.formats import Story, StoryInput, StoryRoot
from prestow.formats.fits import FITS, read_cards
from prestow.formats.fits_cards import card, values_of
from prestow.model import DataId
from prestow.model.data_id import check_value

QUICK = (Phase.explicit, Phase.reuse, Phase.generate)  # shrinking whole stories takes minutes

letters = st.one_of(
    st.sampled_from("'&/ =\"x"), st.characters(exclude_categories=("Cs", "Cc")), st.characters(codec="ascii")
)
texts = st.one_of(
    st.text(letters, min_size=1, max_size=30), st.text(st.sampled_from("'&/ ax"), min_size=60, max_size=300)
).map(str.strip).filter(lambda text: bool(text) and check_value(text) is None)  # fmt: skip
names = st.from_regex(r"[a-z][a-z0-9_]{0,20}", fullmatch=True)
data_ids = st.dictionaries(
    names, st.one_of(texts, st.integers(-(2**63), 2**63 - 1)), max_size=4
).map(lambda d: DataId(d).json())  # fmt: skip
hexes = st.text("0123456789abcdef", min_size=32, max_size=32)
inputs = st.builds(
    StoryInput, names, names, data_ids, hexes, st.sampled_from(["made", "declined", "lost", "blocked"]),
    st.one_of(st.just(""), names), st.one_of(st.just(""), hexes), st.one_of(st.just(""), hexes),
)  # fmt: skip
roots = st.builds(StoryRoot, names, data_ids, hexes)
counts = st.integers(0, 10**6)
stories = st.builds(
    Story, names, hexes, st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._+-]{0,200}", fullmatch=True), data_ids, names,
    st.one_of(st.just(""), hexes.map(lambda h: h * 2)), hexes, hexes, counts, counts,
    st.lists(inputs, max_size=5).map(tuple), st.lists(roots, max_size=3).map(tuple),
)  # fmt: skip
printable = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=200)


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    directory = tmp_path_factory.mktemp("story")
    fits.HDUList([fits.PrimaryHDU(np.ones((3, 3))), fits.ImageHDU(np.ones((2, 2)))]).writeto(
        directory / "plain.fits"
    )
    return directory


@settings(max_examples=40, deadline=None, phases=QUICK)
@given(story=stories)
def test_both_readers_read_the_story_and_content_stays(directory, story):
    form, path = FITS(), directory / "stamped.fits"
    with path.open("wb") as sink:
        said = form.stamp(directory / "plain.fits", sink, story)
    assert form.read_story(path) == story
    assert said.content == form.content_digest(directory / "plain.fits") == form.content_digest(path)

    with fits.open(path, checksum=True) as hdus:
        header = hdus[0].header
        assert json.loads(header["PSTDATA"]) == json.loads(story.data_id)
        assert header["PSTRUN"] == story.run
        assert read_cards(path) == {key: header[key] for key in header}
        absent = [given for given in story.inputs if given.state != "made"]
        assert len([key for key in header if key.startswith("PSTAB")]) == len(absent)
        rows = hdus["PSTINPUT"].data
        assert len(rows) == len(story.inputs) + len(story.roots)
        assert [json.loads(text) for text in rows["DATAID"]] == [
            json.loads(one.data_id) for one in (*story.inputs, *story.roots)
        ]

    again = io.BytesIO()
    form.stamp(path, again, story)
    assert again.getvalue() == path.read_bytes()


@settings(max_examples=200, deadline=None, phases=QUICK)
@given(text=printable)
def test_any_text_in_a_card_is_read_as_written(text):
    cards = card("KEY", text, "a comment")
    assert len(cards) % 80 == 0
    wanted = text.rstrip(" ")
    assert values_of(cards + b"END".ljust(80)) == {"KEY": wanted}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = fits.Header.fromstring(cards + b"END".ljust(80))
        # What astropy takes for a first part, and for the end of a text.
        if not (wanted.endswith("&") or re.search("' */", wanted)):
            assert header["KEY"] == wanted


@settings(max_examples=200, deadline=None, phases=QUICK)
@given(noise=st.lists(st.binary(min_size=80, max_size=80), max_size=10))
def test_any_bytes_are_read_or_passed_over(noise):
    header = b"".join([card("SIMPLE", value=True), *noise, card("LAST", 1)])
    values = values_of(header.replace(b"END     ", b"END_    ") + b"END".ljust(80))
    assert values["SIMPLE"] is True
    assert "LAST" in values
