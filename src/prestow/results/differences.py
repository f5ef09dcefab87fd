"""How two files of one format differ: plane by plane, column by column, key by key."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from prestow.errors import Problem, ProjectError, TaskError
from prestow.formats.fits_story import TABLE, is_of_story
from prestow.plugins import load
from prestow.results.numbers import Array, Numbers, Tolerance, compare_arrays, native

if TYPE_CHECKING:
    import polars as pl

MOST = 100
"""Parts that are told of one pair of files; more are counted."""

_STRUCTURE = re.compile(
    r"SIMPLE|XTENSION|EXTEND|BITPIX|NAXIS\d*|[PG]COUNT|TFIELDS|(?:TTYPE|TFORM|TUNIT|TDIM|TNULL|TZERO|TSCAL|TDISP)\d+|"
    r"BZERO|BSCALE|EXTNAME|EXTVER|"
)


@dataclass(frozen=True, slots=True)
class Part:
    """One thing in which two files differ.

    Parameters
    ----------
    what : str
        ``plane``, ``column``, ``header``, ``key``, ``table`` or ``file``.
    name : str
        Which one: ``SCI``, ``SOURCES.flux``, ``EXPTIME``, ``sky.median``.
    note : str
        What cannot be said in numbers: shapes, types, units, or both values.
    numbers : Numbers or None
        What can.
    """

    what: str
    name: str
    note: str = ""
    numbers: Numbers | None = None

    @property
    def close(self) -> bool:
        """Whether it is within the tolerance."""
        return self.numbers is not None and not self.numbers.beyond and not self.note.startswith("shape")

    @property
    def badness(self) -> float:
        """How bad it is, to sort by."""
        return float("inf") if self.numbers is None else self.numbers.badness

    @property
    def text(self) -> str:
        """One line for people."""
        return f"{self.what} {self.name}: " + "; ".join(filter(None, (_told(self.numbers), self.note)))

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give the part as plain values."""
        numbers = None if self.numbers is None else self.numbers.as_dict()
        return {
            "what": self.what,
            "name": self.name,
            "note": self.note,
            "close": self.close,
            "numbers": numbers,
        }


def _told(numbers: Numbers | None) -> str:
    if numbers is None or (numbers.total == 1 and numbers.max_rel is None):
        return ""
    if numbers.total == 1:
        return f"relative difference {numbers.max_rel:.3g}" if not numbers.not_finite else "not finite in one"
    text = f"{numbers.differing:,} of {numbers.total:,} differ ({numbers.differing / numbers.total:.1%})"
    if numbers.max_abs is not None and numbers.rms is not None:
        text += f", max |a-b| {numbers.max_abs:.4g}, rms {numbers.rms:.3g}"
    return text + (f", {numbers.not_finite:,} not finite in one alone" if numbers.not_finite else "")


def compare_files(
    format_name: str, a: Path, b: Path, tolerance: Tolerance, keys: Sequence[str] = ()
) -> tuple[Part, ...]:
    """Give all in which two files differ, the story left out; worst first.

    Parameters
    ----------
    keys : sequence of str
        Columns by which rows of tables are matched, where a table has them all; else rows are
        matched by their order.

    Raises
    ------
    TaskError
        PST-N008 if one of them cannot be read.
    ProjectError
        PST-G005 if rows are to be matched by a key that stands twice.
    """
    return gathered(_parts(format_name, a, b, tolerance, tuple(keys)), a, b)


def gathered(found: Iterable[Part], a: Path, b: Path) -> tuple[Part, ...]:
    """Give the parts in which two files differ, worst first, and not too many; errors as `compare_files` says."""
    try:
        parts = list(found)
    except (OSError, TypeError, ValueError) as error:
        if isinstance(error, TaskError | ProjectError):
            raise
        what = f"the two cannot be compared: {error}"
        raise TaskError(Problem("PST-N008", what, f"{a} and {b}", "look at both: prestow look")) from error
    parts.sort(key=lambda part: (part.close, -part.badness))
    if len(parts) > MOST:
        parts[MOST:] = [Part("file", "", f"and {len(parts) - MOST:,} more differences")]
    return tuple(parts)


def _parts(name: str, a: Path, b: Path, tolerance: Tolerance, keys: tuple[str, ...]) -> Iterator[Part]:
    reader = load("formats", name)()
    if name == "fits":
        for path in (a, b):
            reader.check(path)  # astropy leaves out what a torn file lacks
        yield from _fits(a, b, tolerance, keys)
        return
    one, other = reader.read(a), reader.read(b)
    if hasattr(one, "column_names") and hasattr(other, "column_names"):
        yield from tables("", _arrow_columns(one), _arrow_columns(other), tolerance, keys)
    elif isinstance(one, Mapping) and isinstance(other, Mapping):
        yield from documents("", one, other, tolerance)
    elif isinstance(one, np.ndarray) and isinstance(other, np.ndarray):
        yield from _planes("pixels", one, other, tolerance)
    elif one != other:
        yield Part("file", a.name, f"values of format {name} differ")


# ---- planes


def _planes(name: str, a: Array, b: Array, tolerance: Tolerance, unit: str = "") -> Iterator[Part]:
    if a.shape != b.shape:
        yield Part("plane", name, f"shape {_shape(a)} / {_shape(b)}")
        return
    note = f"type {_type(a)} / {_type(b)}" if _type(a) != _type(b) else ""
    numbers = compare_arrays(a, b, tolerance)
    if numbers.differing or note or unit:
        yield Part("plane", name, "; ".join(filter(None, (note, unit))), numbers)


def _shape(array: Array) -> str:
    return "x".join(str(n) for n in array.shape) or "()"


def _type(array: Array) -> str:
    return str(array.dtype.newbyteorder("=")) if array.dtype.kind != "O" else "lists or texts"


def _fits(a: Path, b: Path, tolerance: Tolerance, keys: tuple[str, ...]) -> Iterator[Part]:
    with opened_fits(a) as one, opened_fits(b) as other:
        left, right = _units(one), _units(other)
        for name in left.keys() ^ right.keys():
            yield Part("plane", name, "only in A" if name in left else "only in B")
        for name in (n for n in left if n in right):
            x, y = left[name], right[name]
            yield from _headers(name, x.header, y.header, tolerance)
            if x.is_image != y.is_image or (x.data is None) != (y.data is None):
                yield Part("plane", name, f"{_kind(x)} / {_kind(y)}")
            elif x.data is not None and x.is_image:
                units = x.header.get("BUNIT", ""), y.header.get("BUNIT", "")
                unit = f"unit {units[0] or 'none'} / {units[1] or 'none'}" if units[0] != units[1] else ""
                yield from _planes(name, x.data, y.data, tolerance, unit)
            elif x.data is not None:
                yield from tables(f"{name}.", _fits_columns(x), _fits_columns(y), tolerance, keys)


@contextmanager
def opened_fits(path: Path) -> Iterator[Any]:  # Any: astropy has no types
    """Open a file in place, in memory where its values are scaled, such as unsigned integers.

    Raises
    ------
    TaskError
        PST-N008 where a header cannot be understood.
    """
    from astropy.io import fits

    with quiet():
        try:
            with fits.open(path, memmap=True) as hdus:
                scaled = any(key in hdu.header for hdu in hdus for key in ("BZERO", "BSCALE", "BLANK"))
                if not scaled:
                    yield hdus
            if scaled:
                with fits.open(path, memmap=False) as hdus:
                    yield hdus
        except fits.VerifyError as error:
            fix = "make the file again, or take it from its source"
            raise TaskError(
                Problem("PST-N008", f"a header cannot be read: {error}", str(path), fix)
            ) from error


@contextmanager
def quiet() -> Iterator[None]:
    """Keep astropy's remarks on headers that tasks did not write to itself."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _units(hdus: Any) -> dict[str, Any]:  # Any: astropy has no types
    """Give the HDUs by name, or by number where they have none; the story's table is left out."""
    found: dict[str, Any] = {}
    for number, hdu in enumerate(hdus):
        if hdu.name == TABLE:
            continue
        name = "PRIMARY" if number == 0 else f"{hdu.name or number}" + (f",{hdu.ver}" if hdu.ver > 1 else "")
        found[name if name not in found else f"{name} ({number})"] = hdu
    return found


def _kind(hdu: Any) -> str:  # Any: astropy has no types
    if hdu.data is None:
        return "no data"
    return "an image" if hdu.is_image else "a table"


def _headers(name: str, a: Any, b: Any, tolerance: Tolerance) -> Iterator[Part]:  # Any: astropy has no types
    left, right = _cards(a), _cards(b)
    for key in sorted(left.keys() | right.keys()):
        if key not in left or key not in right:
            yield Part("header", f"{name}.{key}", "only in A" if key in left else "only in B")
        else:
            yield from _values("header", f"{name}.{key}", left[key], right[key], tolerance)


def _cards(header: Any) -> dict[str, Any]:  # Any: astropy has no types
    keys = dict.fromkeys(
        k for k in header if not is_of_story(f"{k:8}".encode()) and not _STRUCTURE.fullmatch(k)
    )
    return {k: "\n".join(header[k]) if k in ("COMMENT", "HISTORY") else header[k] for k in keys}


# ---- tables

Columns = dict[str, tuple[Array, str]]  # name -> values and unit


def _fits_columns(hdu: Any) -> Columns:  # Any: astropy has no types
    return {c.name: (native(hdu.data[c.name]), c.unit or "") for c in hdu.columns}


def _arrow_columns(table: Any) -> Columns:  # Any: Arrow has no types
    return {
        field.name: (
            native(table.column(i).combine_chunks().to_numpy(zero_copy_only=False)),
            (field.metadata or {}).get(b"unit", b"").decode(errors="replace"),
        )
        for i, field in enumerate(table.schema)
    }


def tables(
    prefix: str, a: Columns, b: Columns, tolerance: Tolerance, keys: tuple[str, ...]
) -> Iterator[Part]:
    """Give the columns in which two tables differ."""
    parts = list(_tables(prefix, a, b, tolerance, keys))
    yield from parts
    unknown = [key for key in keys if key not in a and key not in b]
    if unknown and any(not part.close for part in parts):
        what = f"no column {', '.join(map(repr, unknown))} to match rows by: compared in order"
        yield Part("table", prefix.rstrip(".") or "rows", what)


def _tables(
    prefix: str, a: Columns, b: Columns, tolerance: Tolerance, keys: tuple[str, ...]
) -> Iterator[Part]:
    rows = tuple(len(next(iter(columns.values()))[0]) if columns else 0 for columns in (a, b))
    place = prefix.rstrip(".") or "rows"
    for name in sorted(a.keys() ^ b.keys()):
        yield Part("column", prefix + name, "only in A" if name in a else "only in B")
    if keys and set(keys) <= a.keys() & b.keys():
        left, right = _matched(place, [a[k][0] for k in keys], [b[k][0] for k in keys], keys)
        if left.size != rows[0] or right.size != rows[1]:
            note = f"rows only in A: {rows[0] - left.size:,}, only in B: {rows[1] - right.size:,}"
            yield Part("table", place, note)
    elif rows[0] != rows[1]:
        yield Part("table", place, f"{rows[0]:,} / {rows[1]:,} rows; match them by a column with --key")
        return
    else:
        left = right = np.arange(rows[0])
    for name in (n for n in a if n in b):
        (x, unit), (y, other) = a[name], b[name]
        notes = [f"unit {unit or 'none'} / {other or 'none'}"] if unit != other else []
        if x.shape[1:] != y.shape[1:]:
            yield Part("column", prefix + name, f"shape of a cell {_shape(x[0])} / {_shape(y[0])}")
            continue
        if _type(x) != _type(y) and not (x.dtype.kind == y.dtype.kind == "U"):
            notes.append(f"type {_type(x)} / {_type(y)}")
        numbers = compare_arrays(x[left], y[right], tolerance)
        if numbers.differing or notes:
            yield Part("column", prefix + name, "; ".join(notes), numbers)


def _matched(place: str, a: Sequence[Array], b: Sequence[Array], keys: Sequence[str]) -> tuple[Array, Array]:
    """Give the rows of both tables that have equal keys."""
    import polars as pl

    left, right = _frame(a, keys), _frame(b, keys)
    for frame, side in ((left, "A"), (right, "B")):
        if frame.select(keys).is_duplicated().any():
            what = f"{', '.join(keys)} does not tell the rows of {place} in {side} apart"
            raise ProjectError(Problem("PST-G005", what, "--key", "name more columns: --key A --key B"))
    pairs = left.join(right, on=list(keys), how="inner", nulls_equal=True, suffix="_b").sort("row_")
    index = pl.col("row_"), pl.col("row__b")
    found = pairs.select(*index)
    return found["row_"].to_numpy(), found["row__b"].to_numpy()


def _frame(columns: Sequence[Array], keys: Sequence[str]) -> pl.DataFrame:
    import polars as pl

    data = {k: c.tolist() if c.dtype.kind in "OU" else c for k, c in zip(keys, columns, strict=True)}
    return pl.DataFrame(data).with_row_index("row_")


# ---- documents


def documents(at: str, a: Any, b: Any, tolerance: Tolerance) -> Iterator[Part]:  # Any: plain values
    """Give the keys in which two documents differ."""
    if isinstance(a, Mapping) and isinstance(b, Mapping):
        for key in sorted(a.keys() | b.keys(), key=str):
            name = f"{at}.{key}" if at else str(key)
            if key in a and key in b:
                yield from documents(name, a[key], b[key], tolerance)
            else:
                yield Part("key", name, "only in A" if key in a else "only in B")
    elif isinstance(a, list) and isinstance(b, list):
        if len(a) != len(b):
            yield Part("key", at, f"{len(a):,} / {len(b):,} values")
        elif all(map(_is_number, (*a, *b))):
            numbers = compare_arrays(np.array(a, float), np.array(b, float), tolerance)
            if numbers.differing:
                yield Part("key", at, "", numbers)
        else:
            for place, (x, y) in enumerate(zip(a, b, strict=True)):
                yield from documents(f"{at}[{place}]", x, y, tolerance)
    else:
        yield from _values("key", at, a, b, tolerance)


def _values(
    what: str, name: str, a: Any, b: Any, tolerance: Tolerance
) -> Iterator[Part]:  # Any: plain values
    if _is_number(a) and _is_number(b):
        numbers = compare_arrays(np.array([a], float), np.array([b], float), tolerance)
        if numbers.differing:
            yield Part(what, name, f"{a!r} / {b!r}", numbers)
        elif a != b and isinstance(a, int) and isinstance(b, int):
            yield Part(what, name, f"{a!r} / {b!r}")
    elif type(a) is not type(b) or a != b:
        yield Part(what, name, f"{_short(a)} / {_short(b)}")


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "…"  # noqa: PLR2004 - a line has room for two
