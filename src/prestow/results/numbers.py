"""How much two arrays of one shape differ, in pieces, so that large planes need little memory."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

PIECE = 1 << 20
"""Values compared at a time."""

Array = Any  # of any dtype


@dataclass(frozen=True, slots=True)
class Tolerance:
    """What still counts as close: ``|a - b| <= absolute + relative * max(|a|, |b|)``."""

    relative: float = 0.0
    absolute: float = 0.0


@dataclass(frozen=True, slots=True)
class Numbers:
    """How much the values of two arrays differ.

    Parameters
    ----------
    total, differing, beyond : int
        Values; those that are not equal; those that are not within the tolerance either.
    not_finite : int
        Values that are NaN or infinite in one of the two alone, or infinite with another sign.
    max_abs, max_rel : float or None
        The largest ``|a - b|``, and the largest of it over ``max(|a|, |b|)``; of finite values.
    rms : float or None
        Root of the mean square of ``a - b`` over all finite values.
    scale : float or None
        Root of the mean square of ``a``: ``rms / scale`` says how bad it is, whatever the unit.
    """

    total: int
    differing: int
    beyond: int
    not_finite: int = 0
    max_abs: float | None = None
    max_rel: float | None = None
    rms: float | None = None
    scale: float | None = None

    @property
    def badness(self) -> float:
        """How bad it is, to sort by: infinite where values are no numbers in one of them."""
        if self.not_finite or self.rms is None or self.scale is None:
            return math.inf if self.beyond else 0.0
        return self.rms / self.scale if self.scale else (math.inf if self.rms else 0.0)

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give the numbers as plain values; what is not known is None."""
        return asdict(self)


def compare_arrays(a: Array, b: Array, tolerance: Tolerance) -> Numbers:
    """Compare two arrays of one shape, value by value.

    NaN equals NaN. Texts and other things differ or do not.

    Examples
    --------
    >>> n = compare_arrays(np.array([1.0, 2.0, np.nan]), np.array([1.0, 2.5, np.nan]), Tolerance())
    >>> n.differing, n.max_abs, n.max_rel, n.not_finite
    (1, 0.5, 0.2, 0)
    """
    if not (_is_number(a) and _is_number(b)):
        differing = int(np.count_nonzero(_unequal(a, b)))
        return Numbers(a.size, differing, differing)
    with np.errstate(over="ignore"):  # what is too large to be squared is not known
        return _compared(a, b, tolerance)


def _compared(a: Array, b: Array, tolerance: Tolerance) -> Numbers:
    differing = beyond = not_finite = compared = 0
    max_abs = max_rel = squares = values = 0.0
    for x, y in _pieces(a, b):
        unequal = x != y
        u, v = _float(x), _float(y)
        finite = np.isfinite(u) & np.isfinite(v)
        odd = unequal & ~finite & ~(np.isnan(u) & np.isnan(v))
        unequal = (unequal & finite) | odd
        not_finite += int(np.count_nonzero(odd))
        differing += int(np.count_nonzero(unequal))
        u, v = u[finite], v[finite]
        compared += u.size
        values += float(np.sum(np.abs(u) ** 2))
        if not u.size or not unequal.any():
            continue
        distance, size = np.abs(u - v), np.maximum(np.abs(u), np.abs(v))
        squares += float(np.sum(distance**2))
        max_abs = max(max_abs, float(distance.max()))
        far = distance > 0
        if far.any():
            max_rel = max(max_rel, float((distance[far] / size[far]).max()))
        limit = tolerance.absolute + tolerance.relative * size
        # large integers may differ where their floating-point values do not
        beyond += int(np.count_nonzero(((distance > limit) | (limit == 0)) & unequal[finite]))
    if not compared:
        return Numbers(a.size, differing, not_finite, not_finite)
    return Numbers(
        a.size, differing, beyond + not_finite, not_finite, _known(max_abs), _known(max_rel),
        _known(math.sqrt(squares / compared)), _known(math.sqrt(values / compared)),
    )  # fmt: skip


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def native(values: Array) -> Array:
    """Give an array in this machine's byte order; times as integers, texts of bytes as text."""
    array = np.asarray(values)
    if array.dtype.kind in "mM":
        array = array.view("int64")
    if array.dtype.kind == "S":
        return np.char.decode(array, "ascii", "backslashreplace")
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _is_number(array: Array) -> bool:
    return array.dtype.kind in "biufc"


def _pieces(a: Array, b: Array) -> Iterator[tuple[Array, Array]]:
    if a.ndim == 0 or a.size <= PIECE:
        yield native(a).ravel(), native(b).ravel()
        return
    rows = max(1, PIECE // max(1, a[0].size))
    for first in range(0, a.shape[0], rows):
        yield native(a[first : first + rows]).ravel(), native(b[first : first + rows]).ravel()


def _float(array: Array) -> Array:
    return array.astype(np.complex128 if array.dtype.kind == "c" else np.float64)


def _unequal(a: Array, b: Array) -> Array:
    if a.dtype.kind in "SU" and b.dtype.kind in "SU":
        return native(a) != native(b)
    flat = zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)  # lists and texts: no arithmetic
    return np.fromiter((not _same(x, y) for x, y in flat), dtype=bool, count=a.size)


def _same(x: Any, y: Any) -> bool:  # Any: whatever a table holds
    if isinstance(x, np.ndarray) or isinstance(y, np.ndarray):
        x, y = np.asarray(x), np.asarray(y)
        equal_nan = x.dtype.kind in "fc" and y.dtype.kind in "fc"
        return bool(np.array_equal(x, y, equal_nan=equal_nan))
    nans = isinstance(x, float) and isinstance(y, float) and math.isnan(x) and math.isnan(y)
    return nans or bool(x == y)
