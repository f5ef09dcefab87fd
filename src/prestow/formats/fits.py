"""FITS: the story in the primary header and in a table, checksums right, all else untouched.

**The content digest** is the SHA-256 of, for each HDU but ``PSTINPUT``: a line with the number of
its science cards and the size of its data; those cards, byte for byte and in order; the data
without padding. Science cards are all but those of the story, ``CHECKSUM`` and ``DATASUM`` (with
their CONTINUEs), blank ones and END. Bytes after the last HDU count, if there are any.
"""

from __future__ import annotations

import hashlib
import os
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, Self

from prestow.errors import Problem, TaskError
from prestow.formats import Stamped, Story
from prestow.formats.fits_cards import (
    BLOCK,
    Value,
    combine,
    damaged,
    data_size,
    end_of,
    finish_header,
    ones_sum,
    padded,
    values_of,
)
from prestow.formats.fits_story import (
    TABLE,
    read_cards_of_story,
    read_rows,
    refuse_repeated,
    science_cards,
    story_cards,
    story_table,
)

_CHUNK: Final = BLOCK * 364  # about 1 MiB, in whole blocks
_HELD: Final = 64 << 20  # data of an HDU up to this size is read once, larger data twice
_BLANK: Final = b" " * 80
_MOST_BLOCKS: Final = 2000  # of a header; 72,000 cards
_GZIP: Final = b"\x1f\x8b"
_PACKED: Final = 64 << 10  # of a compressed file at a time


class FITS:
    """A FITS file of any HDUs. Damage is a `TaskError` with PST-N008 that says where."""

    name = "fits"
    suffix = ".fits"
    carrier = "PST… cards of the primary header, table PSTINPUT"

    def stamp(self, source: Path, sink: BinaryIO, story: Story) -> Stamped:
        """Write the file with its story; every HDU gets a right DATASUM and CHECKSUM.

        The cards of the story stand last in the primary header, the table ``PSTINPUT`` is the
        last HDU. A story that is there (the product's, or one copied from a parent) is replaced.
        No other card is touched. What is missing of the last padding is added.
        """
        try:
            cards, table = story_cards(story), story_table(story)
        except ValueError as error:
            raise damaged(
                f"the story cannot be written: {error}", str(source), "use names of ASCII letters"
            ) from error
        out = _Digesting(sink)
        content = _Content()
        with _Source(source) as file:
            for unit in file.units():
                if unit.is_table:
                    continue
                header = b"".join(science_cards(unit.header))
                content.begin(unit)
                held: list[bytes] | None = [] if unit.size <= _HELD else None
                total = 0
                for block in file.data(unit):
                    total = combine(total, ones_sum(block))
                    content.add(block)
                    if held is not None:
                        held.append(block)
                out.write(finish_header(header + (b"" if unit.index else cards), total))
                for block in file.data(unit) if held is None else held:
                    out.write(block)
            out.write(table)
            for block in file.rest():
                content.rest(block)
                out.write(block)
        return Stamped(out.size, out.sha256.hexdigest(), content.hexdigest())

    def read_story(self, path: Path) -> Story | None:
        """Give the story of a file, or None if it has none."""
        values: dict[str, Value] = {}
        rows = None
        with _Source(path) as file:
            for unit in file.units():
                if unit.index == 0:
                    values = unit.values
                    if "PSTVERS" not in values:
                        return None
                    refuse_repeated(unit.header, unit.where)
                elif unit.is_table:
                    data = b"".join(file.data(unit))
                    rows = read_rows(unit.values, data[: unit.size], unit.where)
        if rows is None:
            raise damaged(f"the story has no table {TABLE}", str(path))
        return read_cards_of_story(values, rows, str(path))

    def content_digest(self, path: Path) -> str:
        """Give the SHA-256 of pixels, columns and science headers (defined at the module's top)."""
        return inspect(path).content

    def check(self, path: Path) -> None:
        """Raise PST-N008 if a header has no END, or data is shorter than its header says."""
        with _Source(path) as file:
            for _ in file.units():
                pass

    def check_columns(self, path: Path, columns: Sequence[tuple[str, str]]) -> None:
        """Raise PST-N008, with every difference, if the first table's columns are not those declared."""
        from prestow.formats.columns import refuse_columns
        from prestow.formats.fits_columns import columns_of

        with _Source(path) as file:
            for unit in file.units():
                if unit.values.get("XTENSION") == "BINTABLE" and not unit.is_table:
                    refuse_columns(path, columns_of(unit.values), columns)
                    return
        raise damaged("there is no table, but columns are declared", str(path), "write a table")

    def read(self, path: Path, as_: str | None = None) -> Any:
        """Read with astropy: an ``hdulist`` (default), ``ccddata``, ``array``, ``table``, ``header``.

        All is in memory and the file closed. ``ccddata`` takes ``SCI``, ``VAR`` and ``MASK``
        where there are such extensions, else the first image.
        """
        return _with_astropy(path).read(path, as_)

    def write(self, path: Path, value: Any) -> None:
        """Write an HDU or list of HDUs, array, CCDData or Table to a new file, with astropy."""
        _with_astropy(path).write(path, value)


def read_cards(path: Path, hdu: int = 0) -> dict[str, Value]:
    """Give the values of a header by keyword, commentary left out, as `values_of` says."""
    with _Source(path) as file:
        if hdu == 0:
            return values_of(file.header(0))
        for unit in file.units():
            if unit.index == hdu:
                return unit.values
    raise damaged(f"there is no HDU {hdu}", str(path))


@dataclass(frozen=True, slots=True)
class Inspected:
    """What one reading of a file gives.

    Parameters
    ----------
    cards : mapping
        The values of the primary header; where it has no image and a compressed one follows
        (tiles, ``.fits.fz``), what that one's header adds, with ``NAXIS`` … of the image.
    size, sha256 : int, str
        Of the file as it lies there.
    content : str
        The content digest, of the file unpacked.
    data : str
        A digest of all data without headers; empty if there are none.
    """

    cards: dict[str, Value]
    size: int
    sha256: str
    content: str
    data: str


def inspect(path: Path) -> Inspected:
    """Give header, size and digests of a file in one reading; a gzip'd one is unpacked on the way."""
    content = _Content()
    data = hashlib.sha256()
    cards: dict[str, Value] = {}
    amount = 0
    with _Source(path, hashlib.sha256()) as file:
        for unit in file.units():
            if unit.index == 0:
                cards = unit.values
            elif unit.index == 1 and cards.get("NAXIS") == 0 and unit.values.get("ZIMAGE") is True:
                cards = _with_tiles(cards, unit.values)
            if unit.is_table:
                for _ in file.data(unit):
                    pass
                continue
            content.begin(unit)
            amount += unit.size
            for block in file.data(unit):
                content.add(block)
                data.update(block)
        for block in file.rest():
            content.rest(block)
        return Inspected(
            cards, file.packed, file.sha256.hexdigest(), content.hexdigest(), data.hexdigest() if amount else ""
        )  # fmt: skip


def _with_tiles(primary: dict[str, Value], tiles: dict[str, Value]) -> dict[str, Value]:
    """Add what the header of a compressed image says to the primary one; the image's own axes stand first."""
    image = {
        key[1:]: value
        for key, value in tiles.items()
        if key in ("ZBITPIX", "ZNAXIS") or (key.startswith("ZNAXIS") and key[6:].isdecimal())
    }
    return {**tiles, **primary, **image}


@dataclass(slots=True)
class _Unit:
    """One HDU: where it is, its header, and how much data follows."""

    index: int
    header: bytes
    values: dict[str, Value]
    size: int
    start: int
    where: str

    @property
    def is_table(self) -> bool:
        """Whether this is the table of a story."""
        return self.values.get("EXTNAME") == TABLE and self.values.get("XTENSION") == "BINTABLE"


class _Source:
    """A FITS file read from its beginning, without seeking as long as all data is asked for.

    A gzip'd one is unpacked into a temporary file first. ``size`` is that of the FITS file,
    ``packed`` that of the file at the path, whose bytes are what the digest is of.
    """

    def __init__(self, path: Path, digest: Any = None) -> None:
        self._path = path
        try:
            self._file = open(path, "rb", buffering=0)  # noqa: SIM115 - closed on exit
            self.size = self.packed = os.fstat(self._file.fileno()).st_size
            self._digest = self.sha256 = digest
            if os.pread(self._file.fileno(), len(_GZIP), 0) == _GZIP:
                with self._file as packed:
                    self._file = _unpack(packed, path, digest)
                self.size = os.fstat(self._file.fileno()).st_size
                self._digest = None
        except OSError as error:
            raise damaged(
                f"cannot be read: {error.strerror}", str(path), "check the path and its permissions"
            ) from error
        self._at = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def units(self) -> Iterator[_Unit]:
        """Give the HDUs; the data of each may be read with `data` before the next is asked for."""
        index = 0
        while index == 0 or self._extension_follows(index):
            header = self.header(index)
            values = values_of(header)
            where = f"{self._path}, HDU {index}"
            if values.get("EXTNAME"):
                where += f" ({values['EXTNAME']})"
            size = data_size(values, where)
            unit = _Unit(index, header, values, size, self._at, where)
            if self.size - self._at < size:
                raise damaged(f"the data end after {self.size - self._at:,} of {size:,} bytes", where)
            yield unit
            self._go(min(unit.start + padded(size), self.size))
            index += 1

    def header(self, index: int) -> bytes:
        """Read the blocks of a header up to its END."""
        blocks: list[bytes] = []
        where = f"{self._path}, HDU {index}"
        while not blocks or end_of(blocks[-1]) < 0:
            block = self._read(BLOCK)
            if not blocks and index == 0 and block[:9] != b"SIMPLE  =":
                raise damaged(
                    "the file is empty"
                    if not self.size
                    else "not a FITS file: it does not begin with SIMPLE",
                    where,
                )
            if len(block) < BLOCK:
                raise damaged(f"the header has no END: the file is cut off after {self.size:,} bytes", where)
            blocks.append(block)
            if len(blocks) > _MOST_BLOCKS:
                raise damaged(f"the header has more than {_MOST_BLOCKS * BLOCK // 80:,} cards", where)
        return b"".join(blocks)

    def data(self, unit: _Unit) -> Iterator[bytes]:
        """Give the data of an HDU in blocks, with its padding; what is missing of that is made."""
        self._go(unit.start)
        left = padded(unit.size)
        while left > 0:
            block = self._read(min(left, _CHUNK))
            if len(block) < min(left, _CHUNK):
                fill = b" " if unit.values.get("XTENSION") == "TABLE" else b"\0"
                block = block.ljust(min(left, _CHUNK), fill)
            left -= len(block)
            yield block

    def rest(self) -> Iterator[bytes]:
        """Give what stands after the last HDU."""
        while block := self._read(_CHUNK):
            yield block

    def _extension_follows(self, index: int) -> bool:
        if self.size == self._at:
            return False
        # A look ahead that the digest does not see.
        head = os.pread(self._file.fileno(), 8, self._at)
        if len(head) < 8 and b"XTENSION".startswith(head):  # noqa: PLR2004
            raise damaged("the header has no END: the file is cut off", f"{self._path}, HDU {index}")
        return head == b"XTENSION"

    def _read(self, size: int) -> bytes:
        try:
            block = self._file.read(size) or b""
            while len(block) < size and self._at + len(block) < self.size:
                more = self._file.read(size - len(block))
                if not more:
                    raise damaged("the file became shorter while it was read", str(self._path))
                block += more
        except OSError as error:
            raise damaged(f"cannot be read: {error.strerror}", str(self._path)) from error
        self._at += len(block)
        if self._digest is not None:
            self._digest.update(block)
        return block

    def _go(self, place: int) -> None:
        if place != self._at:
            self._file.seek(place)
            self._at = place


def _unpack(packed: Any, path: Path, digest: Any) -> Any:
    """Give an open temporary file with what a gzip'd one holds; the digest sees the bytes that are packed."""
    import tempfile  # only a packed file needs it, and every node would pay

    file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by whoever reads it
    member = zlib.decompressobj(wbits=31)
    try:
        while block := packed.read(_PACKED):
            if digest is not None:
                digest.update(block)
            while block:
                if member.eof and not block.lstrip(b"\0"):
                    break  # padding after the last member
                if member.eof:
                    member = zlib.decompressobj(wbits=31)
                file.write(member.decompress(block))
                block = member.unused_data
        file.flush()
        file.seek(0)
    except zlib.error as error:
        file.close()
        raise damaged(f"the gzip'd data are damaged: {error}", str(path)) from error
    except BaseException:
        file.close()
        raise
    if not member.eof:
        file.close()
        raise damaged("the gzip'd data are cut off", str(path))
    return file


class _Content:
    """The content digest in the making."""

    def __init__(self) -> None:
        self._digest = hashlib.sha256()
        self._left = 0
        self.hexdigest = self._digest.hexdigest

    def begin(self, unit: _Unit) -> None:
        """Take in the header of an HDU."""
        cards = [line for line in science_cards(unit.header) if line != _BLANK]
        self._digest.update(f"{len(cards)} {unit.size}\n".encode())
        self._digest.update(b"".join(cards))
        self._left = unit.size

    def add(self, block: bytes) -> None:
        """Take in data; what is padding is left out."""
        self._digest.update(block if len(block) <= self._left else memoryview(block)[: self._left])
        self._left = max(0, self._left - len(block))

    def rest(self, block: bytes) -> None:
        """Take in bytes after the last HDU."""
        self._digest.update(block)


class _Digesting:
    """A sink that knows size and SHA-256 of what went through."""

    def __init__(self, sink: BinaryIO) -> None:
        self._sink = sink
        self.size = 0
        self.sha256 = hashlib.sha256()

    def write(self, data: bytes) -> None:
        self._sink.write(data)
        self.sha256.update(data)
        self.size += len(data)


def _with_astropy(path: Path) -> Any:
    try:
        from prestow.formats import fits_astropy
    except ImportError as error:
        raise TaskError(
            Problem(
                "PST-N008",
                f"reading and writing pixels needs astropy ({error})",
                str(path),
                "pip install 'prestow[fits]'",
            )
        ) from error
    return fits_astropy
