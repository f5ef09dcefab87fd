"""PNG as chunks: signature, lengths, checksums, text. Standard library only.

Written from the PNG specification, third edition: sections 5 (chunks), 11.3.3 (text).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"
CHANNELS: Final = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
"""Colour type -> samples of one pixel: grey, RGB, palette, grey and alpha, RGBA."""

_DEPTHS: Final = {0: (1, 2, 4, 8, 16), 2: (8, 16), 3: (1, 2, 4, 8), 4: (8, 16), 6: (8, 16)}
_COLORS: Final = {0: "grey", 2: "RGB", 3: "palette", 4: "grey and alpha", 6: "RGBA"}
_CRITICAL: Final = (b"IHDR", b"PLTE", b"IDAT", b"IEND")
_LARGEST: Final = (1 << 31) - 1
_LEVEL: Final = 6
_LARGEST_TEXT: Final = 64 << 20


class DamageError(ValueError):
    """What is wrong with the bytes of a PNG."""


class Chunk(NamedTuple):
    """One chunk: its kind of four letters, and its data."""

    kind: bytes
    data: bytes


class Header(NamedTuple):
    """What an image is; as text, what the content digest begins with."""

    width: int
    height: int
    depth: int
    color: int
    interlaced: int

    def __str__(self) -> str:
        ways = ", interlaced" if self.interlaced else ""
        return f"{self.width} x {self.height} pixels, {self.depth} bit, {_COLORS[self.color]}{ways}"


def chunks_of(data: bytes) -> list[Chunk]:
    """Split a file into its chunks, each with a right checksum.

    Raises
    ------
    DamageError
        If it is not a whole PNG, from signature to ``IEND`` and no byte further.
    """
    if not data:
        raise DamageError("the file is empty")
    if data[:8] != SIGNATURE:
        raise DamageError("not a PNG file: it does not begin with the signature of one")
    chunks: list[Chunk] = []
    at = len(SIGNATURE)
    while not chunks or chunks[-1].kind != b"IEND":
        if at + 12 > len(data):
            raise DamageError(f"the file is cut off after {len(data):,} bytes")
        (length,) = struct.unpack_from(">I", data, at)
        kind = data[at + 4 : at + 8]
        end = at + 8 + length
        if end + 4 > len(data):
            raise DamageError(f"the file is cut off after {len(data):,} bytes, in the chunk {_shown(kind)}")
        if zlib.crc32(data[at + 4 : end]) != struct.unpack_from(">I", data, end)[0]:
            raise DamageError(f"the checksum of the chunk {_shown(kind)} at byte {at:,} is wrong")
        chunks.append(Chunk(kind, data[at + 8 : end]))
        at = end + 4
    if at != len(data):
        raise DamageError(f"{len(data) - at:,} bytes stand after the end of the image")
    header_of(chunks)
    return chunks


def header_of(chunks: Sequence[Chunk]) -> Header:
    """Give what an image is; refuse one whose chunks do not make an image.

    Raises
    ------
    DamageError
        With what is wrong.
    """
    kinds = [chunk.kind for chunk in chunks]
    if kinds[0] != b"IHDR" or len(chunks[0].data) != 13 or kinds.count(b"IHDR") != 1:  # noqa: PLR2004 - its size
        raise DamageError("the file does not begin with one header")
    width, height, depth, color, compression, filters, interlaced = struct.unpack(">IIBBBBB", chunks[0].data)
    if not (0 < width <= _LARGEST and 0 < height <= _LARGEST) or depth not in _DEPTHS.get(color, ()):
        raise DamageError(f"no image is {width} x {height} of {depth} bits and colour type {color}")
    if compression or filters or interlaced > 1:
        raise DamageError("compression, filter or interlacing is of an unknown kind")
    if strange := [_shown(kind) for kind in kinds if not kind[0] & 0x20 and kind not in _CRITICAL]:
        raise DamageError(f"the chunk {strange[0]} is unknown, and needed to see the image")
    if b"IDAT" not in kinds:
        raise DamageError("there are no pixels")
    if color == 3 and b"PLTE" not in kinds:  # noqa: PLR2004 - colour types are numbers in the standard
        raise DamageError("the palette is missing")
    return Header(width, height, depth, color, interlaced)


def joined(chunks: Iterable[Chunk]) -> bytes:
    """Give the bytes of a file of these chunks."""
    parts = [SIGNATURE]
    for kind, data in chunks:
        parts += [
            struct.pack(">I", len(data)),
            kind,
            data,
            struct.pack(">I", zlib.crc32(data, zlib.crc32(kind))),
        ]
    return b"".join(parts)


def encoded(shape: Sequence[int], pixels: bytes) -> bytes:
    """Give the PNG of 8-bit samples, rows without filters, always the same bytes.

    Examples
    --------
    >>> [chunk.kind for chunk in chunks_of(encoded((1, 2), bytes([0, 255])))]
    [b'IHDR', b'IDAT', b'IEND']
    """
    color = {(): 0, (2,): 4, (3,): 2, (4,): 6}.get(tuple(shape[2:])) if len(shape) > 1 else None
    if color is None or 0 in shape:
        raise ValueError(f"an array of shape {tuple(shape)} is no image")
    size = len(pixels) // shape[0]
    rows = b"".join(b"\0" + pixels[start : start + size] for start in range(0, len(pixels), size))
    header = struct.pack(">IIBBBBB", shape[1], shape[0], 8, color, 0, 0, 0)
    return joined([Chunk(b"IHDR", header), Chunk(b"IDAT", zlib.compress(rows, _LEVEL)), Chunk(b"IEND", b"")])


def international_text(keyword: str, text: str) -> Chunk:
    """Give an ``iTXt`` chunk, not compressed, of no language."""
    return Chunk(b"iTXt", keyword.encode("latin-1") + b"\0\0\0\0\0" + text.encode())


def keyword_of(chunk: Chunk) -> str:
    """Give the keyword of a text chunk, or an empty text for another chunk."""
    if chunk.kind not in (b"iTXt", b"tEXt", b"zTXt"):
        return ""
    return chunk.data.partition(b"\0")[0].decode("latin-1")


def text_of(chunk: Chunk) -> str:
    """Give the text of a text chunk of any kind.

    Raises
    ------
    DamageError
        If there is none in it.
    """
    _, _, rest = chunk.data.partition(b"\0")
    try:
        if chunk.kind == b"tEXt":
            return rest.decode("latin-1")
        if chunk.kind == b"zTXt":
            return _unpacked(rest[1:]).decode("latin-1")
        compressed = rest[0]
        text = rest[2:].split(b"\0", 2)[2]
        return (_unpacked(text) if compressed else text).decode()
    except (IndexError, ValueError, zlib.error) as error:
        raise DamageError(f"the text under '{keyword_of(chunk)}' cannot be read: {error}") from error


def _unpacked(data: bytes) -> bytes:
    """Unpack a text, unless it is a huge one: a few bytes may stand for all memory."""
    unpacking = zlib.decompressobj()
    text = unpacking.decompress(data, _LARGEST_TEXT)
    if unpacking.unconsumed_tail:
        raise ValueError(f"it is larger than {_LARGEST_TEXT >> 20} MiB")
    if not unpacking.eof:
        raise ValueError("it is cut off")
    return text


def _shown(kind: bytes) -> str:
    return kind.decode("ascii") if kind.isalpha() and kind.isascii() else repr(kind)
