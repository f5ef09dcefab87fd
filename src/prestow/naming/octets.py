"""Ids, digests and recipes as arrays of octets: between the text that hashing gives and what tables hold.

An array of n ids is ``uint8`` of shape (n, 16), in C order. Texts and arrays are converted whole: a
million cost no Python object each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import polars as pl

if TYPE_CHECKING:
    import numpy.typing as npt
    import pyarrow as pa

    Octets = npt.NDArray[np.uint8]

_OLDEST = pl.CompatLevel.oldest()  # texts as offsets and one buffer, not as views
_UUID_SPANS = ((0, 8), (9, 13), (14, 18), (19, 23), (24, 36))
_UUID_TEXT = 36
_LITTLE = np.dtype("<u2")


def _pairs() -> tuple[npt.NDArray[np.uint16], npt.NDArray[np.uint8]]:
    """Give two digits of each octet, as they lie in memory, and the octet of each two digits."""
    texts = "".join(f"{i:02x}" for i in range(256)).encode()
    to_text = np.frombuffer(texts, _LITTLE)
    to_octet = np.zeros(1 << 16, np.uint8)
    to_octet[to_text] = np.arange(256, dtype=np.uint8)
    return to_text, to_octet


_TO_TEXT, _TO_OCTET = _pairs()


def _characters(texts: pl.Series, width: int) -> Octets:
    """Give texts of one width as (n, width); a null or another width is an error of the caller."""
    array = texts.rechunk().to_arrow(compat_level=_OLDEST)
    data = array.buffers()[2]
    found = np.frombuffer(data, np.uint8) if data is not None else np.zeros(0, np.uint8)
    return found[: len(texts) * width].reshape(len(texts), width)


def from_hex(texts: pl.Series, width: int, *, octets: int = 16) -> Octets:
    """Give the first octets of hexadecimal texts of one width, small letters.

    Examples
    --------
    >>> from_hex(pl.Series(["00ff" * 8]), 32)[0, :2].tolist()
    [0, 255]
    """
    digits = np.ascontiguousarray(_characters(texts, width)[:, : 2 * octets])
    return _TO_OCTET[digits.view(_LITTLE)]


def from_uuid_text(texts: pl.Series) -> Octets:
    """Give the octets of UUIDs that are text."""
    characters = _characters(texts, _UUID_TEXT)
    digits = np.concatenate([characters[:, a:b] for a, b in _UUID_SPANS], axis=1)
    return _TO_OCTET[np.ascontiguousarray(digits).view(_LITTLE)]


def from_binary(values: pl.Series, octets: int = 16) -> Octets:
    """Give binary values of one length as an array; a null gives zeros.

    Examples
    --------
    >>> from_binary(pl.Series([b"ab", None]), 2).tolist()
    [[97, 98], [0, 0]]
    """
    filled = values.fill_null(bytes(octets)) if values.null_count() else values
    return _characters(filled, octets)


def to_hex(octets: Octets) -> pl.Series:
    """Give octets as hexadecimal texts, small letters.

    Examples
    --------
    >>> to_hex(np.array([[0, 171]], np.uint8)).to_list()
    ['00ab']
    """
    rows, width = octets.shape
    return _texts(np.ascontiguousarray(_TO_TEXT[octets]).view(np.uint8).reshape(rows, 2 * width))


def to_uuid_text(octets: Octets) -> pl.Series:
    """Give the text of UUIDs.

    Examples
    --------
    >>> to_uuid_text(np.arange(16, dtype=np.uint8).reshape(1, 16)).to_list()
    ['00010203-0405-0607-0809-0a0b0c0d0e0f']
    """
    rows = len(octets)
    digits = _TO_TEXT[octets].view(np.uint8).reshape(rows, 32)
    text = np.full((rows, _UUID_TEXT), ord("-"), np.uint8)
    at = 0
    for start, end in _UUID_SPANS:
        text[:, start:end] = digits[:, at : at + end - start]
        at += end - start
    return _texts(text)


def _texts(characters: Octets) -> pl.Series:
    """Give texts of one width."""
    import pyarrow as pa

    rows, width = characters.shape
    offsets = np.arange(rows + 1, dtype=np.int64) * width
    return from_arrow_texts(
        pa.LargeStringArray.from_buffers(rows, pa.py_buffer(offsets), pa.py_buffer(characters))
    )


def from_arrow_texts(array: pa.Array) -> pl.Series:
    """Give a column of Arrow's; by a batch of one column, for which Polars imports nothing of Arrow's functions."""
    import pyarrow as pa

    frame = pl.from_arrow(pa.record_batch([array], names=[""]))
    assert isinstance(frame, pl.DataFrame)
    return frame.to_series()


def to_arrow(octets: Octets, valid: npt.NDArray[np.bool_] | None = None) -> pa.Array:
    """Give octets as Arrow's binary of fixed size; where not valid, null."""
    import pyarrow as pa

    rows, width = octets.shape
    mask = None if valid is None else pa.array(valid).buffers()[1]
    data = pa.py_buffer(np.ascontiguousarray(octets))
    return pa.FixedSizeBinaryArray.from_buffers(pa.binary(width), rows, [mask, data])


def to_words(octets: Octets) -> npt.NDArray[np.uint32]:
    """Give 128-bit values as four words each, the highest first."""
    words: npt.NDArray[np.uint32] = octets.view(">u4").astype(np.uint32)
    return words


def from_words(words: npt.NDArray[np.uint64]) -> Octets:
    """Give sums of words as 128-bit values: what is over 32 bits is carried, what is over 128 dropped."""
    words = words.copy()
    for i in range(words.shape[1] - 1, 0, -1):
        words[:, i - 1] += words[:, i] >> np.uint64(32)
    return words.astype(np.uint32).astype(">u4").view(np.uint8).reshape(len(words), -1)


def halves(octets: Octets) -> npt.NDArray[np.uint64]:
    """Give the first eight octets of each as a number: enough to find it, not to be sure of it."""
    first: npt.NDArray[np.uint64] = (
        np.ascontiguousarray(octets[:, :8]).view(">u8").reshape(-1).astype(np.uint64)
    )
    return first
