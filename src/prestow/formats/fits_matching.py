"""Whether a FITS file holds the story that its receipt says: from two reads, without objects.

What this answers with yes, `FITS.read_story` reads as that very story. A no means nothing: then the
file is read by it, which says what is wrong. Standard library only, as `prestow.formats.fits_cards`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from prestow.errors import PrestowError
from prestow.formats import STORY_SCHEMA, Story
from prestow.formats.fits_cards import BLOCK, CARD, card, end_of, padded
from prestow.formats.fits_story import Told, story_cards, table_head, table_rows

Read = Callable[[int, int], bytes]
"""Gives so many bytes from a place on; fewer at the end of the file."""

_FIRST: Final = 3 * BLOCK  # of most files the primary header
_SUMS: Final = 3 * CARD  # checksums and END
_MOST: Final = 64  # blocks of a header that are looked at here


def holds_story(read: Read, size: int, story: Story | Told) -> bool:
    """Say whether a file of that size holds this story: in its primary header, and in a table at its end.

    Examples
    --------
    >>> holds_story(lambda start, count: b"", 0, Story("a", "", "", "{}", "", "", "", "", 0, 0))
    False
    """
    try:
        cards, (head, rows) = expected_cards(story), expected_table(story)
        return _holds(read, size, cards, head, rows)
    except (ValueError, PrestowError):
        return False


def expected_cards(story: Story | Told) -> bytes:
    """Give the cards of a story, as `story_cards`; those that its run and task share are made once."""
    if story.planned != story.used or any(given.state != "made" for given in story.inputs):
        return story_cards(story)
    first, second, third = _shared(story.type, story.run, story.task, story.version, story.planned)
    return b"".join(
        (
            first,
            _plain("PSTID   ", story.id, "dataset id"),
            second,
            _plain("PSTRCPE ", story.recipe, "actual recipe"),
            _plain("PSTPRCP ", story.planned_recipe, "planned recipe"),
            third,
            _plain("PSTDATA ", story.data_id, "data ID"),
        )
    )


def expected_table(story: Story | Told) -> tuple[bytes, bytes]:
    """Give the header of a story's table up to its checksums, and its rows."""
    rows, widths, count = table_rows(story)
    return _head(widths, count), rows


@lru_cache(maxsize=1024)
def _shared(kind: str, run: str, task: str, version: str, inputs: int) -> tuple[bytes, bytes, bytes]:
    """Give the cards before the id, between it and the recipes, and after those."""
    first = (("PSTVERS", STORY_SCHEMA, "schema of these cards (prestow)"), ("PSTTYPE", kind, "dataset type"))
    second = (
        ("PSTRUN", run, "run"),
        ("PSTTASK", task, "task"),
        ("PSTTVERS", version, "version of the task's code"),
    )
    third = (("PSTNPLAN", inputs, "inputs planned"), ("PSTNUSED", inputs, "inputs used"))
    return _cards(*first), _cards(*second), _cards(*third)


def _cards(*given: tuple[str, str | int, str]) -> bytes:
    for _, value, _ in given:
        if isinstance(value, str) and not (value.isascii() and value.isprintable()):
            raise ValueError(value)
    return b"".join(card(*one) for one in given)


def _plain(keyword: str, value: str, comment: str) -> bytes:
    """Give the card of a short text without quotes or slashes, quickly; any other raises."""
    text = f"{keyword}= '{value:8}'".ljust(30)
    if len(text) > CARD or "'" in value or "/" in value or not (value.isascii() and value.isprintable()):
        raise ValueError(value)
    if len(text) + 3 + len(comment) <= CARD:
        text = f"{text} / {comment}"
    return text.ljust(CARD).encode("ascii")


_head = lru_cache(maxsize=256)(table_head)


def _holds(read: Read, size: int, cards: bytes, head: bytes, rows: bytes) -> bool:
    """Say whether a file begins and ends so. What is between is not of the story, unless there are two."""
    header, end = _header(read, 0, _FIRST)
    at = header.find(b"PST")
    if header[:9] != b"SIMPLE  =" or at < 0 or at % CARD or not header.startswith(cards, at):
        return False
    if header.find(b"PST", at + len(cards), end) >= 0:
        return False  # a keyword that stands twice
    begin = padded(len(head) + _SUMS)
    start = size - begin - padded(len(rows))
    if start < len(header):
        return False
    table = read(start, begin + len(rows))
    return table.startswith(head) and table.endswith(rows) and len(table) == begin + len(rows)


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
