"""Texts of many owners, each put together from pieces: a whole column of documents without an object for each.

What belongs to one owner need not be collected in a list: pieces stand in columns with the number of
their owner, are put in order once, and lie one after the other in one buffer.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.naming.octets import from_arrow_texts
from prestow.plan.ranges import numbers_of

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.integer]

_OLDEST = pl.CompatLevel.oldest()  # texts as offsets and one buffer, not as views
_SHORT = 1 << 16  # owners whose numbers sort by their digits


@dataclass(frozen=True, slots=True)
class Texts:
    """Texts of owners 0, 1 and so on: of owner *o* the pieces from ``first[o]`` to ``first[o + 1]``, in ``pieces``."""

    pieces: pl.Series
    first: npt.NDArray[np.int64]

    def octets(self, start: int, end: int) -> tuple[memoryview, npt.NDArray[np.int64]]:
        """Give the texts of some owners, one after the other as UTF-8, and where each of them begins, and the end."""
        data, bounds = octets_of(self.pieces[self.first[start] : self.first[end]])
        return data.data, bounds[self.first[start : end + 1] - self.first[start]]

    def taken(self, order: Numbers) -> Texts:
        """Give the texts of these owners, in this order."""
        count = np.diff(self.first)[order]
        first = np.zeros(len(order) + 1, np.int64)
        np.cumsum(count, out=first[1:])
        return Texts(self.pieces[numbers_of(self.first[:-1][order], count)], first)

    def series(self) -> pl.Series:
        """Give them as a column."""
        import pyarrow as pa

        rows = len(self.first) - 1
        data, bounds = self.octets(0, rows)
        return from_arrow_texts(
            pa.LargeStringArray.from_buffers(rows, pa.py_buffer(bounds), pa.py_buffer(data))
        )


Piece = str | pl.Series | tuple["Numbers", pl.Series]
"""For each owner the same text, or one of its own, or any number: those of owner *o* in a row, in order."""


def joined(owners: int, pieces: Sequence[Piece]) -> Texts:
    """Give for each owner its pieces one after the other.

    Parameters
    ----------
    owners : int
        How many there are; they are known as 0, 1 and so on.
    pieces : sequence
        First all that the first of these gives an owner, then the second, and so on.

    Examples
    --------
    >>> rows = (np.array([0, 0, 2]), pl.Series(["a", "b", "c"]))
    >>> joined(3, ["[", rows, pl.Series(["]", ")", "}"])]).series().to_list()
    ['[ab]', '[)', '[c}']
    """
    every = np.arange(owners, dtype=np.uint16 if owners <= _SHORT else np.uint32)
    whose: list[npt.NDArray[Any]] = []  # Any: integers of the width of owners
    rows: list[npt.NDArray[np.uint32]] = []
    texts: list[pl.Series] = []
    end = 0
    for piece in pieces:
        whose.append(piece[0].astype(every.dtype) if isinstance(piece, tuple) else every)
        if isinstance(piece, str):  # it stands there once
            texts.append(pl.Series([piece]))
            rows.append(np.full(owners, end, np.uint32))
        else:
            text = piece[1] if isinstance(piece, tuple) else piece
            texts.append(text.rename(""))
            rows.append(np.arange(end, end + len(text), dtype=np.uint32))
        end += len(texts[-1])
    owner = np.concatenate(whose)
    order = np.argsort(owner, kind="stable")
    first = np.zeros(owners + 1, np.int64)
    np.cumsum(np.bincount(owner, minlength=owners), out=first[1:])
    return Texts(pl.concat(texts)[np.concatenate(rows)[order]], first)


def repeated(text: str, rows: int) -> pl.Series:
    """Give one text for all rows."""
    return pl.Series([text]).new_from_index(0, rows)


def commas(owner: Numbers) -> pl.Series:
    """Give a comma for each row, but for the first of each owner; owners stand together.

    Examples
    --------
    >>> commas(np.array([0, 0, 1])).to_list()
    ['', ',', '']
    """
    return pl.Series(["", ","])[later(owner).astype(np.uint32)]


def later(owner: Numbers) -> npt.NDArray[np.bool_]:
    """Say of each row whether it is not the first of its owner; owners stand together."""
    found = np.zeros(len(owner), np.bool_)
    np.equal(owner[1:], owner[:-1], out=found[1:])
    return found


def escaped(texts: pl.Series) -> pl.Series:
    r"""Give texts as they stand between the quotes of JSON.

    Examples
    --------
    >>> escaped(pl.Series(['a"b', "plain", None])).to_list()
    ['a\\"b', 'plain', None]
    """
    octets = octets_of(texts)[0]
    if not ((octets < ord(" ")) | (octets == ord('"')) | (octets == ord("\\"))).any():
        return texts
    needs = texts.str.contains(r'["\\\x00-\x1f]')
    # One at a time: hardly any text has such characters.
    new = [json.dumps(text, ensure_ascii=False)[1:-1] for text in texts.filter(needs)]
    return texts.clone().scatter(needs.arg_true(), new)


def octets_of(texts: pl.Series) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Give texts as UTF-8, one after the other, and where each of them begins, and the end; of a null nothing is there.

    Examples
    --------
    >>> octets, bounds = octets_of(pl.Series(["ab", None, "c"]))
    >>> octets.tobytes(), bounds.tolist()
    (b'abc', [0, 2, 2, 3])
    """
    array = texts.to_arrow(compat_level=_OLDEST)
    bounds = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + len(array) + 1]
    data = array.buffers()[2]
    if data is None or not len(bounds):
        return np.zeros(0, np.uint8), np.zeros(len(texts) + 1, np.int64)
    return np.frombuffer(data, np.uint8)[bounds[0] : bounds[-1]], bounds - bounds[0]


def codes_of(texts: pl.Series, known: Sequence[str]) -> npt.NDArray[np.uint32]:
    """Give the place of each text among the known ones, each of which is there once.

    Examples
    --------
    >>> codes_of(pl.Series(["b", "a", "b"]), ["a", "b"]).tolist()
    [1, 0, 1]
    """
    found: npt.NDArray[np.uint32] = (
        texts.cast(pl.Enum(known)).to_physical().cast(pl.UInt32).to_numpy()
        if len(texts)
        else np.zeros(0, np.uint32)
    )
    return found
