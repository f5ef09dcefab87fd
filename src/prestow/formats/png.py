"""PNG: plots, with the story as text chunks; the pixels are kept as they are, byte for byte.

The story stands as an ``iTXt`` chunk with the keyword ``prestow`` (UTF-8, canonical JSON), and what
other readers may ask for as ``PSTTYPE``, ``PSTID``, ``PSTRUN``, ``PSTDATA``, ``PSTTASK`` and
``PSTRCPE``, the names it has in FITS. Only ``prestow`` is ever read back. What differs from one
making to the next is dropped: ``tIME``, and text under ``Software``, ``Creation Time`` and
ImageMagick's ``date:…``.

**The content digest** is the SHA-256 of a line with width, height, bit depth, colour type and
interlacing; of palette and transparency, where there are such chunks; and of the samples, row by row
with the row filters undone. Other compression or other filters are the same content. Samples
are taken as they are stored: an image of 16 bits, with a palette or interlaced is not the content of the
same picture stored in another way.

Standard library only: pillow is its oracle in the tests, and NumPy is imported to give an array.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final

from prestow.formats import Stamped, Story, story_from_plain, story_to_plain
from prestow.formats.plain import damaged
from prestow.formats.png_chunks import (
    CHANNELS,
    Chunk,
    DamageError,
    Header,
    chunks_of,
    encoded,
    header_of,
    international_text,
    joined,
    keyword_of,
    text_of,
)
from prestow.formats.png_pixels import samples
from prestow.model.hashing import canonical_json

KEY: Final = "prestow"
_ALSO: Final = {
    "PSTTYPE": "type", "PSTID": "id", "PSTRUN": "run", "PSTDATA": "data_id", "PSTTASK": "task", "PSTRCPE": "recipe",
}  # fmt: skip
_FLEETING: Final = ("Software", "Creation Time", KEY, *_ALSO)
_REMADE: Final = "make the file again, or take it from its source"
_AS: Final = ("array", "bytes")


class PNG:
    """A PNG file. Damage is a `TaskError` with PST-N008 that says where.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory, "plot.png")
    ...     PNG().write(path, np.zeros((20, 30, 3), dtype="u1"))
    ...     PNG().read(path).shape
    (20, 30, 3)
    """

    name = "png"
    suffix = ".png"
    carrier = "text (iTXt), keyword prestow; PSTTYPE, PSTID … beside it"

    def stamp(self, source: Path, sink: BinaryIO, story: Story) -> Stamped:
        """Write the image with its story; a story already there is replaced."""
        chunks = _read(source)
        content = _content(chunks, source)
        kept = [chunk for chunk in chunks if not _is_fleeting(chunk)]
        texts = [international_text(key, str(getattr(story, name))) for key, name in _ALSO.items()]
        texts.append(international_text(KEY, canonical_json(story_to_plain(story))))
        data = joined([kept[0], *texts, *kept[1:]])
        sink.write(data)
        return Stamped(len(data), hashlib.sha256(data).hexdigest(), content)

    def read_story(self, path: Path) -> Story | None:
        """Give the story of a file, or None if it has none."""
        for chunk in _read(path):
            if keyword_of(chunk) == KEY:
                try:
                    return story_from_plain(json.loads(text_of(chunk)))
                except (DamageError, ValueError, TypeError) as error:
                    raise damaged(
                        f"the keyword '{KEY}' is reserved for the story: {error}", path, _REMADE
                    ) from error
        return None

    def content_digest(self, path: Path) -> str:
        """Give the SHA-256 of the samples, and of what says how to see them (defined at the module's top)."""
        return _content(_read(path), path)

    def check(self, path: Path) -> None:
        """Raise PST-N008 if the file is torn, a checksum is wrong, or samples are missing."""
        self.content_digest(path)

    def read(self, path: Path, as_: str | None = None) -> Any:
        """Read as ``array`` (the default) or ``bytes``.

        The array is uint8: (rows, columns) for grey, (rows, columns, 2, 3 or 4) for grey with alpha,
        RGB and RGBA. An image of another depth, with a palette, or interlaced is given as
        ``bytes`` alone.
        """
        if as_ not in (None, *_AS):
            raise damaged(f"PNG cannot be read as {as_!r}", path, f"say one of: {', '.join(_AS)}")
        chunks = _read(path)
        if as_ == "bytes":
            return joined(chunks)
        header = _header(chunks, path)
        if header.depth != 8 or header.interlaced or header.color not in CHANNELS or header.color == 3:  # noqa: PLR2004 - as the standard has them
            what = f"an image with {header} cannot be given as an array"
            raise damaged(what, path, "read it as 'bytes' and give these to a library of images")
        import numpy as np

        pixels = np.frombuffer(bytearray(b"".join(_samples(header, chunks, path))), dtype=np.uint8)
        channels = CHANNELS[header.color]
        shape = (header.height, header.width, channels)[: 2 if channels == 1 else 3]
        return pixels.reshape(shape)

    def write(self, path: Path, value: Any) -> None:
        """Write the bytes of a PNG, a uint8 array or a figure of matplotlib to a new file.

        An array has two dimensions (grey), or a third of 2 (grey and alpha), 3 (RGB) or 4 (RGBA).
        """
        data = _bytes_of(value, path)
        try:
            chunks_of(data)
        except DamageError as error:
            raise damaged(str(error), path, "give the bytes of a whole PNG") from error
        with path.open("xb") as file:
            file.write(data)


def _bytes_of(value: Any, path: Path) -> bytes:
    if isinstance(value, bytes | bytearray | memoryview):
        return bytes(value)
    if hasattr(value, "savefig"):
        held = io.BytesIO()
        value.savefig(held, format="png", metadata={"Software": None})
        return held.getvalue()
    dtype, shape = getattr(value, "dtype", None), tuple(getattr(value, "shape", ()))
    if dtype is None:
        what = f"a {type(value).__name__} cannot be written as PNG"
        raise damaged(what, path, "give bytes of a PNG, an array of uint8, or a figure of matplotlib")
    if hasattr(value, "mask"):
        raise damaged("an image cannot have a mask", path, "fill it: array.filled(…), or give it an alpha")
    if str(dtype) != "uint8":
        raise damaged(f"an array of {dtype} cannot be written as PNG", path, "scale it to 0…255, as uint8")
    try:
        return encoded(shape, value.tobytes())
    except ValueError as error:
        fix = "give (rows, columns), or (rows, columns, 2, 3 or 4)"
        raise damaged(str(error), path, fix) from error


def _read(path: Path) -> list[Chunk]:
    try:
        with open(path, "rb") as file:
            data = file.read()
        return chunks_of(data)
    except OSError as error:
        raise damaged(
            f"cannot be read: {os.strerror(error.errno or 0)}", path, "check the path and its permissions"
        ) from error
    except DamageError as error:
        raise damaged(str(error), path, _REMADE) from error


def _is_fleeting(chunk: Chunk) -> bool:
    if chunk.kind == b"tIME":
        return True
    keyword = keyword_of(chunk)
    return keyword in _FLEETING or keyword.startswith("date:")


def _header(chunks: Sequence[Chunk], path: Path) -> Header:
    try:
        return header_of(chunks)
    except DamageError as error:
        raise damaged(str(error), path, _REMADE) from error


def _samples(header: Header, chunks: Sequence[Chunk], path: Path) -> list[bytes]:
    try:
        return list(samples(header, [chunk.data for chunk in chunks if chunk.kind == b"IDAT"]))
    except DamageError as error:
        raise damaged(str(error), path, _REMADE) from error


def _content(chunks: Sequence[Chunk], path: Path) -> str:
    header = _header(chunks, path)
    digest = hashlib.sha256(f"png/1 {header}\n".encode())
    for chunk in chunks:
        if chunk.kind in (b"PLTE", b"tRNS"):
            digest.update(b"%s %d\n" % (chunk.kind, len(chunk.data)))
            digest.update(chunk.data)
    try:
        for row in samples(header, [chunk.data for chunk in chunks if chunk.kind == b"IDAT"]):
            digest.update(row)
    except DamageError as error:
        raise damaged(str(error), path, _REMADE) from error
    return digest.hexdigest()
