"""FITS values as astropy has them; imported only when a task asks for pixels."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData, VarianceUncertainty
from astropy.table import Table

from prestow.formats.fits_cards import damaged
from prestow.formats.fits_story import TABLE

PIXELS = ("uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", "float32", "float64")
"""What the pixels of an image may be."""


def read(path: Path, as_: str | None) -> Any:
    """Read a file as one of `READERS`."""
    reader = READERS.get(as_ or "hdulist")
    if reader is None:
        raise damaged(f"FITS cannot be read as {as_!r}", str(path), f"say one of: {', '.join(READERS)}")
    try:
        with fits.open(path, memmap=False, lazy_load_hdus=False) as hdus:
            for hdu in hdus:
                hdu.data  # noqa: B018 - read now: the file is closed on return
            return reader(hdus, path)
    except OSError as error:
        raise damaged(f"cannot be read: {error}", str(path)) from error


def write(path: Path, value: Any) -> None:
    """Write to a new file; the same value gives the same bytes."""
    hdus = _hdus(value, path)
    # Astropy does not know the mode "xb", so that the file is made new here.
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        with os.fdopen(descriptor, "wb") as file:
            hdus.writeto(file, output_verify="exception")
    except BaseException:
        path.unlink()
        raise


def _hdus(value: Any, path: Path) -> Any:
    if isinstance(value, fits.HDUList):
        return value
    if isinstance(value, fits.PrimaryHDU):
        return fits.HDUList([value])
    if isinstance(value, fits.hdu.base.ExtensionHDU):
        return fits.HDUList([fits.PrimaryHDU(), value])
    if isinstance(value, CCDData):
        return value.to_hdu()
    if isinstance(value, Table):
        return fits.HDUList([fits.PrimaryHDU(), fits.table_to_hdu(value)])
    if isinstance(value, np.ndarray):
        return fits.HDUList([fits.PrimaryHDU(_plain(value, path))])
    raise damaged(
        f"a {type(value).__name__} cannot be written as FITS",
        str(path),
        "give an HDUList, HDU, array, CCDData or Table",
    )


def _plain(value: Any, path: Path) -> Any:
    """Give an array back if it can be an image, else say why not."""
    if value.dtype.names:
        raise damaged("a structured array is a table", str(path), "give astropy.table.Table(array)")
    if isinstance(value, np.ma.MaskedArray):
        fix = "fill it: array.filled(…), or give the mask in an HDU of its own"
        raise damaged("an image cannot have a mask", str(path), fix)
    if hasattr(value, "unit"):
        fix = "give array.value, or a CCDData, which writes the unit"
        raise damaged("an array cannot have a unit", str(path), fix)
    if value.dtype.name not in PIXELS:
        what = f"pixels cannot be {value.dtype.name}"
        raise damaged(what, str(path), f"convert them: array.astype(…) to one of {', '.join(PIXELS)}")
    if not value.ndim:
        raise damaged("a single number is no image", str(path), "give an array of one or more dimensions")
    return value


def _first(hdus: Any, kind: str, path: Path) -> Any:
    """Give the first image (``SCI`` if there is one) or table with data."""
    images = kind == "image"
    if images and "SCI" in hdus:
        return hdus["SCI"]
    for hdu in hdus:
        if hdu.is_image is images and hdu.data is not None and hdu.name != TABLE:
            return hdu
    raise damaged(f"there is no {kind}", str(path))


def _ccddata(hdus: Any, path: Path) -> Any:
    hdu = _first(hdus, "image", path)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about headers that a task did not write
        unit = None if hdu.header.get("BUNIT") else "adu"
        ccd = CCDData.read(path, hdu=hdus.index_of(hdu.name) if hdu.name else hdus.index(hdu), unit=unit)
    if "VAR" in hdus:
        ccd.uncertainty = VarianceUncertainty(hdus["VAR"].data)
    return ccd


READERS: dict[str, Callable[[Any, Path], Any]] = {  # Any: astropy has no types
    "hdulist": lambda hdus, _: fits.HDUList(list(hdus)),
    "ccddata": _ccddata,
    "array": lambda hdus, path: _first(hdus, "image", path).data,
    "table": lambda hdus, path: Table.read(_first(hdus, "table", path)),
    "header": lambda hdus, _: hdus[0].header,
}
