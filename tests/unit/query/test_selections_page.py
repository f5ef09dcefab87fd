"""The page on selections says what is true: each of its examples is read as it says."""

import re
from pathlib import Path

import pytest

from prestow.errors import CODES, ConfigurationError
from prestow.naming.universe import load_universe
from prestow.query import parse_selection

PAGE = (Path(__file__).parents[3] / "docs" / "reference" / "selections.md").read_text(encoding="utf-8")
UNIVERSE = load_universe()
MEANT = re.findall(r"^\| `(.+?)` \| `(.+?)` \|$", PAGE, re.MULTILINE)
REFUSED = re.findall(r"^\| `(.+?)` \| ([^`]+?) \|$", PAGE, re.MULTILINE)


@pytest.mark.parametrize(("text", "canonical"), MEANT)
def test_what_is_kept_is_as_the_page_says(text, canonical):
    assert parse_selection(text, UNIVERSE).canonical == canonical


@pytest.mark.parametrize(("text", "told"), REFUSED)
def test_what_is_refused_is_told_as_the_page_says(text, told):
    with pytest.raises(ConfigurationError) as caught:
        parse_selection(text, UNIVERSE)
    assert [problem.what for problem in caught.value.problems] == [told]


def test_the_page_has_examples_and_its_codes_are_there():
    assert len(MEANT) >= 10
    assert len(REFUSED) >= 8
    assert {
        code if code.startswith("PST") else f"PST-{code}" for code in re.findall(r"(?:PST-)?[CP]0\d\d", PAGE)
    } <= set(CODES)
