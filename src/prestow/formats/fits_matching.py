"""Whether a FITS file holds the story that its receipt says: from two reads, without objects.

What this answers with yes, `FITS.read_story` reads as that very story. A no means nothing: then the
file is read by it, which says what is wrong. Standard library only, as `prestow.formats.fits_cards`.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Final

from prestow.errors import PrestowError
from prestow.formats import Story
from prestow.formats.fits_cards import BLOCK, CARD, padded
from prestow.formats.fits_story import Told, data_id_card, story_cards, table_head, table_rows

Read = Callable[[int, int], bytes]
"""Gives so many bytes from a place on; fewer at the end of the file."""

_FIRST: Final = 3 * BLOCK  # of most files the primary header
_END: Final = b"END     "
_SUMS: Final = 3 * CARD  # checksums and END
_MOST: Final = 64  # blocks of a header that are looked at here
_ID_LENGTHS: Final = (36, 32, 32)  # of a dataset's id and of recipes
_A: Final = tuple(mark * length for mark, length in zip("~^|", _ID_LENGTHS, strict=True))  # where those stand


def holds_story(read: Read, size: int, story: Story | Told) -> bool:
    """Say whether a file of that size holds this story: in its primary header, and in a table at its end.

    Examples
    --------
    >>> holds_story(lambda start, count: b"", 0, Story("a", "", "", "{}", "", "", "", "", 0, 0))
    False
    """
    try:
        cards, (head, rows) = expected_cards(story), expected_table(story)
        return holds(read, size, cards, head, rows)
    except (ValueError, PrestowError):
        return False


def expected_cards(story: Story | Told) -> bytes:
    """Give the cards of a story, as `story_cards`; those that its run and task share are made once."""
    ids = (story.id, story.recipe, story.planned_recipe)
    if (
        story.planned != story.used
        or tuple(map(len, ids)) != _ID_LENGTHS
        or not ("".join(ids).replace("-", "").isalnum() and "".join(ids).isascii())
        or any(given.state != "made" for given in story.inputs)
    ):
        return story_cards(story)
    a, b, c, d = _around(story.type, story.run, story.task, story.version, story.planned)
    text = f"{a}{story.id}{b}{story.recipe}{c}{story.planned_recipe}{d}"
    return text.encode("ascii") + data_id_card(story.data_id)


def expected_table(story: Story | Told) -> tuple[bytes, bytes]:
    """Give the header of a story's table up to its checksums, and its rows."""
    rows, widths, count = table_rows(story)
    return _head(widths, count), rows


@lru_cache(maxsize=1024)
def _around(kind: str, run: str, task: str, version: str, inputs: int) -> list[str]:
    """Give what stands before, between and after id and recipes."""
    cards = story_cards(Told(kind, _A[0], run, "{}", task, version, _A[1], _A[2], inputs, inputs, (), ()))
    text = cards.decode("ascii")
    text = text[: text.rindex("PSTDATA =")]
    pieces = []
    for mark in _A:
        before, found, text = text.partition(mark)
        if not found or mark in text:
            raise ValueError(mark)
        pieces.append(before)
    return [*pieces, text]


_head = lru_cache(maxsize=256)(table_head)


def holds(read: Read, size: int, cards: bytes, head: bytes, rows: bytes) -> bool:
    """Say whether a file begins and ends so. What is between is not of the story, unless there are two."""
    header, end = _header(read, 0, _FIRST)
    at = _place(header, 0, b"PST")
    if header[:9] != b"SIMPLE  =" or at < 0 or end < 0 or not header.startswith(cards, at):
        return False
    if 0 <= _place(header, at + len(cards), b"PST") < end:
        return False  # a keyword that stands twice
    begin = padded(len(head) + _SUMS)
    start = size - begin - padded(len(rows))
    if start < len(header):
        return False
    table = read(start, begin + len(rows))
    return table.startswith(head) and table.endswith(rows) and len(table) == begin + len(rows)


def _header(read: Read, place: int, first: int) -> tuple[bytes, int]:
    """Give a header, perhaps with bytes after its last block, and where its END stands, or -1."""
    header = read(place, first)
    end = _place(header, 0, _END)
    blocks = 1
    while end < 0 and len(header) >= blocks * BLOCK and blocks < _MOST:
        blocks *= 2
        header += read(place + len(header), blocks * BLOCK)
        end = _place(header, 0, _END)
    return header[: padded(end + CARD)], end


def _place(header: bytes, start: int, begin: bytes) -> int:
    """Give where the first card stands that begins so, from a card on, or -1."""
    firsts = header[start::CARD]
    found = firsts.find(begin[0])
    while found >= 0 and not header.startswith(begin, start + found * CARD):
        found = firsts.find(begin[0], found + 1)
    return found if found < 0 else start + found * CARD
