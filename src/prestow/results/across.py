"""Two files of different formats compared by what both can say: columns of a table, or keys of a document.

The content digest is of one format, so these files are always read. In a table a null of a floating
column is NaN and a null text is empty, as FITS has them; other nulls are compared as such. What stands
beside the columns (keywords of a header, notes of a file) is not compared.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from prestow.formats import open_format
from prestow.formats.fits_story import TABLE
from prestow.results.differences import Columns, Part, documents, gathered, quiet, tables
from prestow.results.numbers import Array, Tolerance, native


class NotOneTableError(ValueError):
    """What a file holds is not one table alone; the text says what it is."""


def compare_across(
    formats: tuple[str, str], a: Path, b: Path, tolerance: Tolerance, keys: Sequence[str] = ()
) -> tuple[Part, ...]:
    """Give all in which the data of two files of different formats differ, worst first; none: equal in data.

    Raises
    ------
    TaskError
        PST-N008 if one of them cannot be read.
    """
    return gathered(_parts(formats, a, b, tolerance, tuple(keys)), a, b)


def _parts(
    formats: tuple[str, str], a: Path, b: Path, tolerance: Tolerance, keys: tuple[str, ...]
) -> Iterator[Part]:
    kinds = tuple(map(kind_of, formats))
    if kinds == ("table", "table"):
        try:
            left, right = (table_of(form, path) for form, path in zip(formats, (a, b), strict=True))
        except NotOneTableError as error:
            yield Part("file", "format", f"{' / '.join(formats)}: {error}")
            return
        yield from tables("", left, _same_units(left, right), tolerance, keys)
    elif kinds == ("document", "document"):
        one, other = (open_format(form).read(path) for form, path in zip(formats, (a, b), strict=True))
        yield from documents("", one, other, tolerance)
    else:
        yield Part("file", "format", " / ".join(formats))


def kind_of(format_name: str) -> str:
    """Say what files of a format are, where others are the same: ``table``, ``document``, or nothing."""
    from prestow.formats import Tabular
    from prestow.formats.plain import PlainDocument

    opened = open_format(format_name)
    if isinstance(opened, Tabular):
        return "table"
    return "document" if isinstance(opened, PlainDocument) else ""


def table_of(format_name: str, path: Path) -> Columns:
    """Give the columns of the one table of a file.

    Raises
    ------
    TaskError
        PST-N008 if it is damaged.
    NotOneTableError
        If there is no table, if there are several, or if a plane stands beside it.
    """
    if format_name == "fits":
        return _of_fits(path)
    value = open_format(format_name).read(path)
    if hasattr(value, "column_names"):
        from prestow.formats.parquet_values import READERS

        value = READERS["astropy"](value)
    if not hasattr(value, "itercols"):
        raise NotOneTableError(f"a {type(value).__name__} of format {format_name} is no table")
    return dict(_plain(c.name, c, getattr(c, "mask", None), c.unit) for c in value.itercols()) | dict(
        _nulls((c.name, getattr(c, "mask", None), c.dtype.kind) for c in value.itercols())
    )


def _of_fits(path: Path) -> Columns:
    from astropy.io import fits

    open_format("fits").check(path)  # astropy leaves out what a torn file lacks
    with quiet(), fits.open(path, memmap=False) as hdus:
        there = [h for h in hdus if h.data is not None and h.name != TABLE]
        found = [h for h in there if not h.is_image]
        if len(there) != 1 or not found:
            planes = len(there) - len(found)
            raise NotOneTableError(f"the FITS file holds tables: {len(found)}, planes: {planes}")
        result: dict[str, tuple[Array, str]] = {}
        nulls = []
        for column in found[0].columns:
            data = np.asarray(found[0].data[column.name])
            data = np.char.rstrip(data) if data.dtype.kind in "SU" else data  # FITS pads with blanks
            mask = data == column.null if column.null is not None and data.dtype.kind in "iu" else None
            result.update([_plain(column.name, data, mask, column.unit)])
            nulls.append((column.name, mask, data.dtype.kind))
        return result | dict(_nulls(nulls))


def _plain(name: str, column: Any, mask: Any, unit: Any) -> tuple[str, tuple[Array, str]]:  # Any: astropy
    """Give a column with its nulls filled in as FITS would have them."""
    data = native(np.ma.getdata(np.asarray(column)))
    if mask is not None and np.any(mask):
        data = data.copy()
        data[np.asarray(mask)] = np.nan if data.dtype.kind in "fc" else np.zeros((), data.dtype)
    return name, (data, str(unit) if unit is not None else "")


def _nulls(columns: Any) -> Iterator[tuple[str, tuple[Array, str]]]:  # Any: name, mask, kind
    for name, mask, kind in columns:
        if mask is not None and np.any(mask) and kind not in "fcUSO":
            yield f"{name} (null)", (np.asarray(mask), "")


def _same_units(a: Columns, b: Mapping[str, tuple[Array, str]]) -> Columns:
    """Give b with the unit's spelling of a where both mean the same."""
    return {
        name: (data, a[name][1] if name in a and _means(a[name][1], unit) else unit)
        for name, (data, unit) in b.items()
    }


def _means(one: str, other: str) -> bool:
    from astropy.units import Unit

    if one == other or not (one and other):
        return one == other
    return bool(Unit(one, parse_strict="silent") == Unit(other, parse_strict="silent"))
