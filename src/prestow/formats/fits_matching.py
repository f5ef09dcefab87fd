"""Whether a FITS file holds exactly one story, that which its receipt says: from a few reads, without objects.

What this answers with yes, `FITS.read_story` reads as that very story. A no means nothing: then the
file is read by it, which says what is wrong. Standard library only, as `prestow.formats.fits_cards`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from prestow.errors import PrestowError
from prestow.formats import STORY_SCHEMA, Story
from prestow.formats.fits_cards import BITPIX, BLOCK, CARD, card, end_of, padded, values_of
from prestow.formats.fits_story import Told, story_cards, table_head, table_rows

Read = Callable[[int, int], bytes]
"""Gives so many bytes from a place on; fewer at the end of the file."""

_FIRST: Final = 3 * BLOCK  # of most files the primary header
_HDUS: Final = 10_000
_MOST: Final = 64  # blocks of a header that are looked at here


def holds_story(read: Read, size: int, story: Story | Told) -> bool:
    """Say whether a file of that size holds this story and no other, every HDU whole.

    Examples
    --------
    >>> holds_story(lambda start, count: b"", 0, Story("a", "", "", "{}", "", "", "", "", 0, 0))
    False
    """
    try:
        cards, (head, rows) = expected_cards(story), expected_table(story)
        return _primary_holds(read, size, cards, head, rows)
    except (ValueError, PrestowError):
        return False


def expected_cards(story: Story | Told) -> bytes:
    """Give the cards of a story, as `story_cards`; those that its run and task share are made once."""
    if story.planned != story.used or any(given.state != "made" for given in story.inputs):
        return story_cards(story)
    return b"".join(
        (
            _card("PSTVERS", STORY_SCHEMA, "schema of these cards (prestow)"),
            _card("PSTTYPE", story.type, "dataset type"),
            _plain("PSTID", story.id, "dataset id"),
            _card("PSTRUN", story.run, "run"),
            _card("PSTTASK", story.task, "task"),
            _card("PSTTVERS", story.version, "version of the task's code"),
            _plain("PSTRCPE", story.recipe, "actual recipe"),
            _plain("PSTPRCP", story.planned_recipe, "planned recipe"),
            _card("PSTNPLAN", story.planned, "inputs planned"),
            _card("PSTNUSED", story.used, "inputs used"),
            _plain("PSTDATA", story.data_id, "data ID"),
        )
    )


def expected_table(story: Story | Told) -> tuple[bytes, bytes]:
    """Give the header of a story's table up to its checksums, and its rows."""
    rows, widths, count = table_rows(story)
    return _head(widths, count), rows


@lru_cache(maxsize=1024)
def _card(keyword: str, value: str | int, comment: str) -> bytes:
    if isinstance(value, str) and not (value.isascii() and value.isprintable()):
        raise ValueError(value)
    return card(keyword, value, comment)


def _plain(keyword: str, value: str, comment: str) -> bytes:
    """Give the card of a short text without quotes or slashes, quickly; any other raises."""
    text = f"{keyword:8}= '{value:8}'".ljust(30)
    if len(text) > CARD or "'" in value or "/" in value or not (value.isascii() and value.isprintable()):
        raise ValueError(value)
    if len(text) + 3 + len(comment) <= CARD:
        text = f"{text} / {comment}"
    return text.ljust(CARD).encode("ascii")


_head = lru_cache(maxsize=256)(table_head)


def _primary_holds(read: Read, size: int, cards: bytes, head: bytes, rows: bytes) -> bool:
    header, end = _header(read, 0, _FIRST)
    at = header.find(b"PST")
    if header[:9] != b"SIMPLE  =" or at < 0 or at % CARD or not header.startswith(cards, at):
        return False
    if header.find(b"PST", at + len(cards), end) >= 0:
        return False  # a keyword that stands twice
    length = _data_size(header)
    if length and (b"GROUPS" in header or b"PCOUNT" in header):
        return False  # a layout that is read with more care
    place = padded(end + CARD) + padded(length)
    for _ in range(_HDUS):
        if place >= size:
            return False
        header, end = _header(read, place, BLOCK)
        if header[:8] != b"XTENSION":
            return False
        length = _data_size(header)
        start = place + padded(end + CARD)
        if header.startswith(head):
            return start + padded(length) == size and read(start, len(rows)) == rows and length == len(rows)
        if b"PSTINPUT" in header:
            return False
        place = start + padded(length)
    return False


def _header(read: Read, place: int, first: int) -> tuple[bytes, int]:
    """Give a header, perhaps with bytes after its last block, and where its END stands."""
    header = read(place, first)
    end = end_of(header)
    blocks = 1
    while end < 0 and len(header) >= blocks * BLOCK and blocks < _MOST:
        blocks *= 2
        header += read(place + len(header), blocks * BLOCK)
        end = end_of(header)
    if end < 0 or end % CARD:
        raise ValueError("no END")
    return header[: padded(end + CARD)], end


def _data_size(header: bytes) -> int:
    """Give the bytes of data by the first cards of a header that has them in the order of the standard."""
    bits, axes = _integer(header[CARD : 2 * CARD], "BITPIX"), _integer(header[2 * CARD : 3 * CARD], "NAXIS")
    if not axes:
        return 0
    at = 3 * CARD
    pixels = 1
    for axis in range(1, axes + 1):
        pixels *= _integer(header[at : at + CARD], f"NAXIS{axis}")
        at += CARD
    if header[:8] != b"XTENSION":
        return abs(bits) // 8 * pixels
    heap, groups = (
        _integer(header[at : at + CARD], "PCOUNT"),
        _integer(header[at + CARD : at + 2 * CARD], "GCOUNT"),
    )
    return abs(bits) // 8 * groups * (heap + pixels)


@lru_cache(maxsize=4096)
def _integer(line: bytes, keyword: str) -> int:
    """Give the number of a card that must have this keyword; the same cards stand in many files."""
    value = values_of(line + b"END".ljust(CARD)).get(keyword)
    if (
        type(value) is not int
        or (value < 0 and keyword != "BITPIX")
        or (keyword == "BITPIX" and value not in BITPIX)
    ):
        raise ValueError(keyword)
    return value
