"""The samples of a PNG: its data inflated, the filters of its rows undone. Standard library only.

Written from the PNG specification, third edition: sections 8 (interlacing), 9 (filters).
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from itertools import accumulate
from typing import Final

from prestow.formats.png_chunks import CHANNELS, DamageError, Header

_PASSES: Final = (
    (0, 0, 8, 8),
    (4, 0, 8, 8),
    (0, 4, 4, 8),
    (2, 0, 4, 4),
    (0, 2, 2, 4),
    (1, 0, 2, 2),
    (0, 1, 1, 2),
)
_CHUNK: Final = 1 << 20
_SUB, _UP, _AVERAGE, _PAETH = 1, 2, 3, 4


def samples(header: Header, data: Iterable[bytes]) -> Iterator[bytes]:
    """Give the samples of an image row by row, of an interlaced one pass by pass.

    Raises
    ------
    DamageError
        If the data end too early, go on too long, or are not compressed data.
    """
    stream = _Inflated(data)
    bits = header.depth * CHANNELS[header.color]
    step = max(1, bits // 8)
    for columns, rows in _sizes(header):
        size = (columns * bits + 7) // 8
        above = bytes(size)
        last: tuple[int, bytes, bytes, bytes] = (0, b"", b"", b"")
        for _ in range(rows):
            line = stream.read(size + 1)
            kind, rest = line[0], line[1:]
            if kind and last[:3] == (kind, rest, above):  # as in the margins of a plot
                row = last[3]
            else:
                row = _unfiltered(kind, rest, above, step)
                last = (kind, rest, above, row)
            yield row
            above = row
    stream.end()


def _sizes(header: Header) -> list[tuple[int, int]]:
    if not header.interlaced:
        return [(header.width, header.height)]
    sizes = [
        ((header.width - x + dx - 1) // dx, (header.height - y + dy - 1) // dy) for x, y, dx, dy in _PASSES
    ]
    return [(columns, rows) for columns, rows in sizes if columns > 0 and rows > 0]


class _Inflated:
    """Inflates as much as is asked for: a small file cannot fill the memory."""

    def __init__(self, data: Iterable[bytes]) -> None:
        self._chunks = iter(data)
        self._inflate = zlib.decompressobj()
        self._held = bytearray()
        self._at = 0

    def read(self, size: int) -> bytes:
        while len(self._held) - self._at < size and self._more():
            pass
        piece = bytes(self._held[self._at : self._at + size])
        if len(piece) < size:
            raise DamageError("the pixels end before the image is full")
        self._at += size
        return piece

    def end(self) -> None:
        if len(self._held) > self._at or self._more() or not self._inflate.eof:
            raise DamageError("there are more pixels than the image has, or their checksum is missing")

    def _more(self) -> bool:
        """Inflate some more; say whether there is any."""
        while not self._inflate.eof:
            feed = self._inflate.unconsumed_tail or next(self._chunks, None)
            try:
                piece = self._inflate.decompress(feed or b"", _CHUNK)
            except zlib.error as error:
                raise DamageError(f"the pixels cannot be inflated: {error}") from error
            if piece:
                del self._held[: self._at]
                self._at = 0
                self._held += piece
                return True
            if feed is None:
                return False
        return False


def _unfiltered(kind: int, line: bytes, above: bytes, step: int) -> bytes:
    if kind == 0:
        return line
    if kind == _SUB:
        return _summed(line, step)
    if kind == _UP:
        return _added(line, above)
    if kind == _AVERAGE:
        return _averaged(line, above, step)
    if kind == _PAETH:
        return _paeth(line, above, step)
    raise DamageError(f"a row has the unknown filter {kind}")


def _summed(line: bytes, step: int) -> bytes:
    row = bytearray(len(line))
    for channel in range(step):
        sums: Iterator[int] = accumulate(line[channel::step], _sum)
        row[channel::step] = bytes(sums)
    return bytes(row)


def _sum(a: int, b: int) -> int:
    return (a + b) & 255


def _added(line: bytes, above: bytes) -> bytes:
    """Add modulo 256 byte by byte, all at once: as one large number, its carries kept out."""
    size = len(line)
    a, b = int.from_bytes(line, "little"), int.from_bytes(above, "little")
    low = int.from_bytes(b"\x7f" * size, "little")
    return (((a & low) + (b & low)) ^ ((a ^ b) & ~low & ((1 << 8 * size) - 1))).to_bytes(size, "little")


def _averaged(line: bytes, above: bytes, step: int) -> bytes:
    row = bytearray(len(line))
    for channel in range(step):
        left = 0
        done = bytearray()
        for value, up in zip(line[channel::step], above[channel::step], strict=True):
            left = (value + ((left + up) >> 1)) & 255
            done.append(left)
        row[channel::step] = done
    return bytes(row)


def _paeth(line: bytes, above: bytes, step: int) -> bytes:
    row = bytearray(len(line))
    for channel in range(step):
        left = corner = 0
        done = bytearray()
        for value, up in zip(line[channel::step], above[channel::step], strict=True):
            if up == corner:
                nearest = left
            elif left == corner:
                nearest = up
            else:
                by_left, by_up = up - corner, left - corner
                by_corner = abs(by_left + by_up)
                by_left, by_up = abs(by_left), abs(by_up)
                if by_left <= by_up and by_left <= by_corner:
                    nearest = left
                else:
                    nearest = up if by_up <= by_corner else corner
            left = (value + nearest) & 255
            corner = up
            done.append(left)
        row[channel::step] = done
    return bytes(row)
