"""The sources of a sky-subtracted image: one table with fixed columns, units and order.

Pixels count from 0 at the centre of the first; sums over circles are in the image's unit.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import sep

from measuring import sky

RADII = (3.0, 5.0, 8.0)
"""Of the circles, in pixels."""

COLUMNS: Mapping[str, tuple[str, str, str]] = {
    "id": ("int32", "", "counts from 1, brightest first"),
    "x": ("float64", "pixel", "windowed centroid; 0 is the centre of the first pixel"),
    "y": ("float64", "pixel", "windowed centroid"),
    "ra": ("float64", "deg", "ICRS; nan where the image has no sky coordinates"),
    "dec": ("float64", "deg", "ICRS"),
    "flux": ("float64", "flux", "within the Kron ellipse; the widest circle where FLAG_NO_KRON"),
    "flux_err": ("float64", "flux", "from the image's variance"),
    "flux_r3": ("float64", "flux", "within 3 pixels"),
    "flux_r3_err": ("float64", "flux", ""),
    "flux_r5": ("float64", "flux", "within 5 pixels"),
    "flux_r5_err": ("float64", "flux", ""),
    "flux_r8": ("float64", "flux", "within 8 pixels"),
    "flux_r8_err": ("float64", "flux", ""),
    "peak": ("float64", "flux", "highest pixel"),
    "fwhm": ("float64", "pixel", "twice the radius that holds half of the flux"),
    "elongation": ("float64", "", "major over minor axis"),
    "area": ("int32", "pixel", "pixels above the threshold"),
    "flags": ("int32", "", "sum of the FLAG_ bits"),
}
"""Name to type, unit (``flux`` stands for the image's) and meaning."""

FLAG_BLENDED = 1
FLAG_EDGE = 2
FLAG_MASKED = 4
FLAG_NO_KRON = 8
FLAGS = {
    "FLAG_BLENDED": (FLAG_BLENDED, "was parted from a neighbour"),
    "FLAG_EDGE": (FLAG_EDGE, "reaches the edge of the image"),
    "FLAG_MASKED": (FLAG_MASKED, "a masked pixel within 5 pixels"),
    "FLAG_NO_KRON": (FLAG_NO_KRON, "no Kron ellipse could be measured"),
}

_DTYPE = np.dtype([(name, kind) for name, (kind, _, _) in COLUMNS.items()])
_LEAST_KRON = 3.5
_SUBPIXELS = 5


def schema() -> dict[str, str]:
    """Give the columns as a dataset type declares them: name to Arrow type."""
    return {name: kind for name, (kind, _, _) in COLUMNS.items()}


def measure(
    data: Any, variance: Any, mask: Any, *, wcs: Any = None, threshold: float = 2.5, minarea: int = 5
) -> Any:
    """Detect and measure what stands out of a sky-subtracted image.

    ``threshold`` is in units of one pixel's noise, after sep's own 3x3 filter. ``wcs`` is an astropy WCS or
    None. The table is sorted by falling flux, then by place: the same image gives the same rows.
    """
    hidden = np.ascontiguousarray(mask, dtype=bool) | (np.asarray(variance) <= 0)
    found = sky.sources(data, variance, hidden, threshold=threshold, minarea=minarea)
    table = np.zeros(len(found), dtype=_DTYPE)
    if not len(found):
        return table
    pixels = np.ascontiguousarray(np.where(hidden, 0.0, data), dtype=np.float64)
    noise = np.ascontiguousarray(np.where(hidden, 0.0, variance), dtype=np.float64)
    x, y = found["x"], found["y"]
    circles = {
        radius: sep.sum_circle(pixels, x, y, radius, var=noise, subpix=_SUBPIXELS)[:2] for radius in RADII
    }
    half, _ = sep.flux_radius(
        pixels, x, y, 6.0 * found["a"], 0.5, normflux=np.maximum(circles[RADII[-1]][0], 1e-30), subpix=5
    )
    wide = np.where(np.isfinite(half) & (half > 0.5), half, 0.5)
    wx, wy, failed = sep.winpos(pixels, x, y, 2.0 / 2.3548 * wide, mask=hidden)
    moved = np.hypot(wx - x, wy - y)
    keep = (failed != 0) | ~np.isfinite(moved) | (moved > 2.0)
    table["x"], table["y"] = np.where(keep, x, wx), np.where(keep, y, wy)
    for radius, (flux, error) in circles.items():
        table[f"flux_r{radius:.0f}"], table[f"flux_r{radius:.0f}_err"] = flux, error
    table["flux"], table["flux_err"], no_kron = _kron(pixels, noise, found, circles[RADII[-1]])
    table["peak"], table["area"] = found["peak"], found["npix"]
    table["fwhm"] = 2.0 * wide
    table["elongation"] = found["a"] / np.maximum(found["b"], 1e-6)
    table["ra"], table["dec"] = (
        (np.nan, np.nan) if wcs is None else wcs.all_pix2world(table["x"], table["y"], 0)
    )
    masked = sep.sum_circle(hidden.astype(np.float64), x, y, RADII[1], subpix=_SUBPIXELS)[0] > 0
    table["flags"] = (
        FLAG_BLENDED * ((found["flag"] & sep.OBJ_MERGED) != 0)
        + FLAG_EDGE * ((found["flag"] & sep.OBJ_TRUNC) != 0)
        + FLAG_MASKED * masked
        + FLAG_NO_KRON * no_kron
    )
    table = table[np.lexsort((table["y"], table["x"], -table["flux"]))]
    table["id"] = np.arange(1, len(table) + 1)
    return table


def measure_file(path: Path, *, threshold: float, minarea: int) -> Any:
    """Measure the sky-subtracted image of a file, which has sky coordinates; see `measure`."""
    from measuring import coordinates, images

    image = images.read_image(path)
    return measure(
        image.data,
        image.uncertainty.array,
        image.mask,
        wcs=coordinates.read_wcs(path),
        threshold=threshold,
        minarea=minarea,
    )


def _kron(pixels: Any, noise: Any, found: Any, circle: Any) -> tuple[Any, Any, Any]:
    """Give flux and error in the Kron ellipse, and where there is none."""
    x, y, a, b, theta = (found[name] for name in ("x", "y", "a", "b", "theta"))
    theta = np.clip(theta, -np.pi / 2, np.pi / 2)
    radius, _ = sep.kron_radius(pixels, x, y, a, b, theta, 6.0)
    none = ~np.isfinite(radius) | (radius <= 0) | (radius > 10) | ~(b > 0)
    scale = np.where(none, 1.0, 2.5 * radius)
    scale = np.maximum(scale, _LEAST_KRON / np.sqrt(np.maximum(a * b, 1e-6)))
    flux, error, _ = sep.sum_ellipse(
        pixels, x, y, a, np.maximum(b, 1e-3), theta, scale, var=noise, subpix=_SUBPIXELS
    )
    return np.where(none, circle[0], flux), np.where(none, circle[1], error), none


def clean(table: Any, *, snr: float = 20.0) -> Any:
    """Tell which rows are bright, whole and alone: what calibration goes by."""
    certain = table["flux_r5"] > snr * np.maximum(table["flux_r5_err"], 1e-30)
    return certain & (table["flags"] == 0) & (table["elongation"] < 1.5)


def seeing(table: Any, *, snr: float = 30.0) -> float:
    """Give the FWHM of the stars, in pixels: where the widths of the clean sources are densest; 0 if none."""
    widths = np.sort(table["fwhm"][clean(table, snr=snr)])
    while len(widths) > 3:  # half-sample mode: galaxies are wider and scatter, stars do not
        half = (len(widths) + 1) // 2
        spans = widths[half - 1 :] - widths[: len(widths) - half + 1]
        first = int(np.argmin(spans))
        widths = widths[first : first + half]
        if len(widths) <= 8:
            break
    return float(np.median(widths)) if len(widths) else 0.0


def fits_table(table: Any, *, unit: str) -> Any:
    """Give a FITS table with units, meanings (TCOMM) and the bits of ``flags``; ``unit`` is the image's."""
    from astropy.io import fits

    hdu = fits.BinTableHDU(table, name="SOURCES")
    for number, (name, (_, measured_in, meaning)) in enumerate(COLUMNS.items(), 1):
        if measured_in:
            hdu.columns[name].unit = unit if measured_in == "flux" else measured_in
        if meaning:
            hdu.header[f"TCOMM{number}"] = meaning
    for keyword, (bit, meaning) in FLAGS.items():
        hdu.header[keyword.replace("FLAG_", "F_")[:8]] = (bit, meaning)
    return hdu


def arrow_table(table: Any, *, unit: str) -> Any:
    """Give a pyarrow Table with each column's unit and meaning in its field's metadata."""
    import pyarrow as pa

    fields = [
        pa.field(
            name,
            getattr(pa, kind)(),
            nullable=False,
            metadata={"unit": unit if measured_in == "flux" else measured_in, "description": meaning},
        )
        for name, (kind, measured_in, meaning) in COLUMNS.items()
    ]
    arrays = [pa.array(table[name]) for name in COLUMNS]
    return pa.Table.from_arrays(arrays, schema=pa.schema(fields))


def from_arrow(rows: Any) -> Any:
    """Give the structured array back that `arrow_table` was made from."""
    table = np.zeros(rows.num_rows, dtype=_DTYPE)
    for name in COLUMNS:
        table[name] = rows[name].to_numpy()
    return table
