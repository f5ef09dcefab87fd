"""FITS headers as bytes: cards of 80, blocks of 2880, long strings, checksums.

Standard library only: a node pays for what it imports, and astropy is its oracle in the tests.
Written from the FITS standard 4.0: sections 4 (headers), 4.2.1.2 (long strings), appendix J
(checksums).
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import Final

from prestow.errors import Problem, TaskError

BLOCK: Final = 2880
CARD: Final = 80
MODULUS: Final = 0xFFFFFFFF
_STRIDE: Final = 1 << 15  # of the sum: a multiple of 4 that stays in the nearest cache
_END: Final = b"END".ljust(CARD)
_KEY: Final = 8
_ROOM: Final = 67  # for the escaped text of one card of a long string, before the ``&``
BITPIX: Final = (8, 16, 32, 64, -32, -64)
_OPEN: Final = "\n"  # no keyword: the one whose text a CONTINUE would go on with
_CARD: Final = re.compile(
    # What nearly all cards are, in one match: a keyword, and a text without quotes or a word.
    r"^(?:HIERARCH +|(?=.{8}=)(?!COMMENT|HISTORY|CONTINUE))([A-Z0-9_.-]+(?: [A-Z0-9_.-]+)*) *= *"
    r"(?:'([^'\n]*[^'&\n])' *(?:/.*)?|([^'/\s]+) *(?:/.*)?)$|^(.+)$",
    re.MULTILINE,
)
_LOGICAL: Final = ("T", "F")
_COMMENTARY: Final = ("COMMENT", "HISTORY", "", "CONTINUE", "END")

Value = str | int | float | bool | None


def damaged(what: str, where: str, fix: str = "make the file again, or take it from its source") -> TaskError:
    """Give the error for a file that is not whole."""
    return TaskError(Problem("PST-N008", what, where, fix))


# -- reading ------------------------------------------------------------------------------------


def cards_of(header: bytes) -> Iterator[bytes]:
    """Give the cards before END, each of 80 bytes."""
    for start in range(0, len(header), CARD):
        card = header[start : start + CARD]
        if card[:_KEY] == b"END     ":
            return
        yield card


def end_of(header: bytes) -> int:
    """Give where the END of a header stands, or -1."""
    start = header.find(b"END")  # without the blanks, of which a header is full: that is found much faster
    while start >= 0 and (start % CARD or header[start + 3 : start + _KEY] != b"     "):
        start = header.find(b"END", start + 1)
    return start


def values_of(header: bytes) -> dict[str, Value]:
    """Give the values of a header by keyword; of a repeated keyword the first.

    ``HIERARCH`` keywords stand without that word: ``"ESO DET ID"``. Commentary is left out. A
    value that FITS does not know is given as its text, one that is not there as None. Text that
    is not ASCII (which FITS forbids, and cameras write) is read as UTF-8 where it is that, else
    as Latin-1.
    """
    end = end_of(header)
    cards = struct.unpack(f"{CARD}s" * (end // CARD), header[:end])
    lines = b"\n".join(cards).decode("latin-1")  # one character a byte, so that positions hold
    if b"\n" in header:  # which FITS forbids
        lines = b"\n".join([line.replace(b"\n", b" ") for line in cards]).decode("latin-1")
    values: dict[str, Value] = {}
    for key, string, token, odd in _CARD.findall(lines):
        if odd:
            _odd(odd, values)
        elif key not in values:
            values[key] = _plain(token) if token else string.rstrip(" ")
    values.pop(_OPEN, None)
    if not header.isascii():
        return {key: _unicode(value) if isinstance(value, str) else value for key, value in values.items()}
    return values


def _odd(line: str, values: dict[str, Value]) -> None:
    """Take in a card that is not a keyword with a simple value."""
    key = line[:_KEY].rstrip().upper()
    if key == "CONTINUE":
        last = values.pop(_OPEN, None)
        field = line[10:].lstrip()
        if last is not None and field[:1] == "'":
            piece = _text(field)
            values[str(last)] = f"{str(values[str(last)])[:-1]}{piece}"
            if piece[-1:] == "&":
                values[_OPEN] = last
        return
    values.pop(_OPEN, None)
    if key == "HIERARCH" and "=" in line:
        key, _, field = line[9:].partition("=")
        key = " ".join(key.upper().split())
    elif line[_KEY : _KEY + 1] == "=" and key not in _COMMENTARY:
        field = line[9:]
    else:
        return
    if key not in values:
        field = field.lstrip()
        if field[:1] == "'":
            values[key] = piece = _text(field)
            if piece[-1:] == "&":
                values[_OPEN] = key
        else:
            values[key] = _plain(field.partition("/")[0].strip())


def _text(field: str) -> str:
    """Give the text between quotes; blanks at its end mean nothing, those before do."""
    end = field.find("'", 1)
    while end > 0 and field[end + 1 : end + 2] == "'":
        end = field.find("'", end + 2)
    text = field[1 : end if end > 0 else None].rstrip(" ")
    return text.replace("''", "'") if "''" in text else text


def _unicode(text: str) -> str:
    try:
        return text.encode("latin-1").decode("utf-8")
    except ValueError:
        return text


def _plain(token: str) -> Value:
    if token.isdecimal():
        return int(token)
    if token in _LOGICAL:
        return token == "T"  # noqa: S105 - the FITS value
    if token and token[0] in "+-.0123456789" and "_" not in token:  # which Python takes in a number
        for number in (float, int) if "." in token else (int, float):
            try:
                return number(token.replace("D", "E").replace("d", "e"))
            except ValueError:
                continue
    return token or None


def data_size(values: dict[str, Value], where: str) -> int:
    """Give the bytes of data that a header announces, without padding."""

    def number(key: str, default: int | None = None) -> int:
        value = values.get(key, default)
        if isinstance(value, bool) or not isinstance(value, int) or (key != "BITPIX" and value < 0):
            raise damaged(f"not a FITS header: {key} is {'missing' if value is None else repr(value)}", where)
        return value

    bits, axes = number("BITPIX"), number("NAXIS")
    if bits not in BITPIX:
        raise damaged(f"not a FITS header: BITPIX is {bits}", where)
    sizes = [number(f"NAXIS{axis}") for axis in range(1, axes + 1)]
    if not sizes:
        return 0
    if sizes[0] == 0 and values.get("GROUPS") is True:
        del sizes[0]
    pixels = 1
    for size in sizes:
        pixels *= size
    return abs(bits) // 8 * number("GCOUNT", 1) * (number("PCOUNT", 0) + pixels)


def padded(size: int) -> int:
    """Give the size in whole blocks."""
    return -(-size // BLOCK) * BLOCK


# -- writing ------------------------------------------------------------------------------------


def card(keyword: str, value: str | int | bool, comment: str = "") -> bytes:  # noqa: FBT001 - a value
    """Give the card, or for a long text the cards, of a keyword; text must be ASCII.

    A comment that has no room is left out.
    """
    if isinstance(value, bool):
        text = f"{'T' if value else 'F':>20}"
    elif isinstance(value, int):
        text = f"{value:>20}"
    else:
        escaped = value.replace("'", "''")
        if len(escaped) > _ROOM + 1:
            return _long(keyword, value, comment)
        text = f"'{escaped:8}'".ljust(20)
    return _finish(f"{keyword:8}= {text}", comment)


def _finish(text: str, comment: str) -> bytes:
    if comment and len(text) + 3 + len(comment) <= CARD:
        text = f"{text} / {comment}"
    return text.ljust(CARD).encode("ascii")


def _long(keyword: str, value: str, comment: str) -> bytes:
    pieces: list[str] = []
    piece: list[str] = []
    room = _ROOM
    for character in value:
        escaped = "''" if character == "'" else character  # a doubled quote is never cut in two
        if len(escaped) > room:
            pieces.append("".join(piece))
            piece, room = [], _ROOM
        piece.append(escaped)
        room -= len(escaped)
    heads = [f"{keyword:8}= ", *["CONTINUE  "] * len(pieces)]
    whole = [_finish(f"{head}'{text}&'", "") for head, text in zip(heads, pieces, strict=False)]
    return b"".join([*whole, _finish(f"{heads[-1]}'{''.join(piece)}'", comment)])


def finish_header(cards: bytes, datasum: int) -> bytes:
    """Give the blocks of a header: the cards, DATASUM and CHECKSUM, END, and blanks.

    The comments are fixed text where others write the time, so that the bytes are the same on
    any day.
    """
    cards += card("DATASUM", str(datasum), "sum of the data records")
    start = len(cards)
    cards += card("CHECKSUM", "0" * 16, "sum of the whole HDU")
    header = cards + _END
    header = header.ljust(padded(len(header)))
    total = combine(ones_sum(header), datasum)
    text = card("CHECKSUM", encode_sum(MODULUS - total), "sum of the whole HDU")
    return header[:start] + text + header[start + CARD :]


def ones_sum(data: bytes | memoryview) -> int:
    """Give the 32-bit ones-complement sum of data whose length is a multiple of 4.

    Bytes in large integers, since 2**32 is 1 modulo 2**32 - 1: some 700 MB/s without NumPy.
    """
    view = memoryview(data)
    total = 0
    read = int.from_bytes
    for start in range(0, len(view), _STRIDE):
        total += read(view[start : start + _STRIDE], "big")
    return _reduce(total)


def combine(first: int, second: int) -> int:
    """Add two ones-complement sums."""
    return _reduce(first + second)


def _reduce(total: int) -> int:
    """In ones complement, zero is the sum of zeros alone; any other multiple is all ones."""
    return total % MODULUS or (MODULUS if total else 0)


def encode_sum(value: int) -> str:
    """Give the 16 characters of appendix J for a 32-bit value.

    Each byte is spread over four characters that add up to it (with an offset of ``0`` each);
    pairs are moved apart until none is punctuation; all are rotated by one, since the text
    begins in column 12 of its card.
    """
    columns = []
    for byte in value.to_bytes(4, "big"):
        quarter, rest = divmod(byte, 4)
        four = [quarter + rest + 48, quarter + 48, quarter + 48, quarter + 48]
        while any(not chr(character).isalnum() for character in four):
            for pair in (0, 2):
                if not (chr(four[pair]).isalnum() and chr(four[pair + 1]).isalnum()):
                    four[pair] += 1
                    four[pair + 1] -= 1
        columns.append(four)
    text = "".join(chr(columns[byte][place]) for place in range(4) for byte in range(4))
    return text[-1] + text[:-1]
