"""An image product: SCI, VAR and MASK extensions, the mask's bits named in its header.

In memory it is a `CCDData` whose ``flags`` hold the bits and whose ``mask`` is "any bit".
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.nddata import CCDData, VarianceUncertainty

BAD = 1 << 0
SATURATED = 1 << 1
LOW_FLAT = 1 << 2
COSMIC_RAY = 1 << 3
NO_DATA = 1 << 4
BITS = {
    "MP_BAD": (0, "hot, or its calibration frames disagree"),
    "MP_SAT": (1, "saturated in raw counts"),
    "MP_FLAT": (2, "the flat is too low here"),
    "MP_CR": (3, "cosmic ray"),
    "MP_NODAT": (4, "no frame covers this pixel"),
}

# What describes the pixels of the raw file, and is not true of a product's.
_RAW_ONLY = (
    "BZERO",
    "BSCALE",
    "BLANK",
    "BUNIT",
    "DATAMAX",
    "DATAMIN",
    "DATAMEAN",
    "BLOCKED",
    "CHECKSUM",
    "DATASUM",
)


def image(data: Any, variance: Any, flags: Any, header: fits.Header, unit: str = "electron") -> CCDData:
    """Give the image in memory."""
    bits = np.asarray(flags, dtype=np.uint8)
    return CCDData(
        np.asarray(data, dtype=np.float64),
        uncertainty=VarianceUncertainty(np.asarray(variance, dtype=np.float64)),
        mask=bits != 0,
        flags=bits,
        unit=unit,
        meta=header,
    )


def read_image(path: Path) -> CCDData:
    """Read an image product."""
    with fits.open(path, memmap=False) as hdus:
        unit = hdus["SCI"].header.get("BUNIT") or "1"
        return image(
            hdus["SCI"].data,
            hdus["VAR"].data,
            hdus["MASK"].data,
            hdus[0].header.copy(),
            "" if unit == "1" else unit,
        )


def read_header(path: Path) -> fits.Header:
    """Read the cards that say what a product is, without its pixels."""
    return fits.getheader(path, 0)


def read_shape(path: Path) -> tuple[int, int]:
    """Give rows and columns of an image product, without its pixels."""
    header = fits.getheader(path, "SCI")
    return int(header["NAXIS2"]), int(header["NAXIS1"])


def write_image(
    path: Path, ccd: CCDData, extra: Mapping[str, Any] | None = None, cards: fits.Header | None = None
) -> None:
    """Write an image product; ``extra`` are further planes by name, ``cards`` go to every plane."""
    unit = str(ccd.unit or "") or "1"
    planes = [
        ("SCI", ccd.data.astype(np.float32), unit),
        ("VAR", ccd.uncertainty.array.astype(np.float32), _square(unit)),
    ]
    hdus: list[Any] = [fits.PrimaryHDU(header=product_header(ccd.meta))]
    for name, data, of in planes:
        hdu = fits.ImageHDU(data, name=name)
        hdu.header["BUNIT"] = of
        hdus.append(hdu)
    mask = fits.ImageHDU(ccd.flags, name="MASK")
    for keyword, (bit, comment) in BITS.items():
        mask.header[keyword] = (bit, comment)
    hdus.append(mask)
    hdus.extend(fits.ImageHDU(data, name=name) for name, data in (extra or {}).items())
    for hdu in hdus[1:] if cards is not None else ():
        hdu.header.extend(cards, end=True)
    fits.HDUList(hdus).writeto(path)


def product_header(header: fits.Header) -> fits.Header:
    """Give the cards of a raw or earlier product's header that stay true: all but those about its pixels."""
    kept = header.copy(strip=True)
    for keyword in (*_RAW_ONLY, *(k for k in kept if k.startswith("PST"))):
        kept.remove(keyword, ignore_missing=True, remove_all=True)
    return kept


def _square(unit: str) -> str:
    return "1" if unit == "1" else f"{unit}2"
