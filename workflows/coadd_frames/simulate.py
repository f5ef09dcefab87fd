"""A small survey of calibrated frames with sky coordinates whose truth is known: two nights of one field.

``python simulate.py DIR --seed 1`` writes ``DIR/raw/*.fit``, ``DIR/stars.fits`` (the reference source catalogue)
and ``DIR/truth.json``. The headers are those of the sdss instrument's frames, with their oddities.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

SCALE = 0.396
CENTRE = (351.65, 0.1036)
EXPOSURE = "53.907456"  # a text, as in the survey's headers
GAIN = 4.5
SOFT_BIAS = 1000
FILTERS = {"r": (1, 0), "i": (2, -2), "g": (5, -8)}
"""Row in the camera, and by how many frames the filter runs late (as the instrument's rules take it off)."""

NIGHTS = (
    {"run": 4192, "field": 300, "tai": 4573255501.31, "date": "2003-10-19", "time": "04:45:01.31",
     "zero_point": 28.30, "sky": 120.0, "fwhm": 3.2, "turn": 0.02, "shift": (0.0, 0.0), "off": (0.02, -0.03)},
    {"run": 6377, "field": 399, "tai": 4665448682.73, "date": "2006-09-20", "time": "05:58:02.73",
     "zero_point": 28.26, "sky": 95.0, "fwhm": 2.9, "turn": -0.03, "shift": (7.3, -5.6), "off": (-0.06, 0.05)},
)  # fmt: skip
"""``off`` is by how many arcsec the WCS of a night is wrong, to the east and north."""


def simulate(
    root: Path,
    *,
    bands: Sequence[str] = ("g", "r"),
    shape: tuple[int, int] = (340, 420),
    bright: int = 45,
    faint: int = 100,
    seed: int = 1,
) -> None:
    """Write raw frames, the reference source catalogue and the truth."""
    (root / "raw").mkdir(parents=True, exist_ok=True)
    field = np.random.default_rng([seed, 0])
    reach = 0.55 * SCALE / 3600 * max(shape)
    count = bright + faint
    ra, dec = (c + field.uniform(-reach, reach, count) for c in CENTRE)
    first = np.concatenate([field.uniform(16.0, 20.0, bright), field.uniform(21.0, 24.0, faint)])
    magnitudes = {b: first + k * field.uniform(0.1, 0.6, count) for k, b in enumerate(bands)}
    for k, night in enumerate(NIGHTS):
        for j, band in enumerate(bands):
            noise = np.random.default_rng([seed, 1, k, j])
            frame = _frame(night, shape, ra, dec, magnitudes[band], noise)
            row, late = FILTERS[band]
            name = f"fpC-{night['run']:06d}-{band}4-{night['field']:04d}.fit"
            header = _header(night, band, row, late, shape)
            fits.PrimaryHDU(frame, header).writeto(root / "raw" / name, overwrite=True)
    columns = [
        fits.Column("id", "K", array=np.arange(bright)),
        fits.Column("ra", "D", array=ra[:bright] - 360.0),  # below 0, as in the survey's own
        fits.Column("dec", "D", array=dec[:bright]),
        *(fits.Column(b, "D", array=np.round(magnitudes[b][:bright], 3)) for b in bands),
        fits.Column("starnotgal", "K", array=np.ones(bright, dtype=int)),
    ]
    fits.BinTableHDU.from_columns(columns).writeto(root / "stars.fits", overwrite=True)
    truth = {
        "nights": NIGHTS,
        "stars": {
            "ra": ra.tolist(),
            "dec": dec.tolist(),
            **{b: magnitudes[b].tolist() for b in bands},
        },
    }
    (root / "truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")


def _wcs(night: Any, shape: tuple[int, int], *, true: bool) -> WCS:
    """Give the WCS: x runs north and y east, as in the survey; the header's is wrong by a little."""
    turn = np.radians(night["turn"])
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.cunit = ["deg", "deg"]
    east, north = (0.0, 0.0) if true else night["off"]
    wcs.wcs.crval = [CENTRE[0] + east / 3600 / np.cos(np.radians(CENTRE[1])), CENTRE[1] + north / 3600]
    wcs.wcs.crpix = [shape[1] / 2 + 0.5 + night["shift"][0], shape[0] / 2 + 0.5 + night["shift"][1]]
    wcs.wcs.cd = SCALE / 3600 * np.array([[-np.sin(turn), np.cos(turn)], [np.cos(turn), np.sin(turn)]])
    return wcs


def _frame(night: Any, shape: tuple[int, int], ra: Any, dec: Any, magnitudes: Any, noise: Any) -> Any:
    flux = 10 ** (0.4 * (night["zero_point"] - magnitudes))
    x, y = _wcs(night, shape, true=True).all_world2pix(ra, dec, 0)
    sigma = night["fwhm"] / 2.3548
    columns, rows = np.arange(shape[1]), np.arange(shape[0])
    across = np.exp(-((columns - x[:, None]) ** 2) / (2 * sigma**2))
    along = np.exp(-((rows - y[:, None]) ** 2) / (2 * sigma**2))
    stars = np.einsum("sy,sx->yx", along * (flux / (2 * np.pi * sigma**2))[:, None], across, optimize=True)
    sky = night["sky"] * (1 + 0.01 * np.linspace(-1, 1, shape[0]))[:, None]
    counts = noise.poisson((stars + sky) * GAIN) / GAIN + noise.normal(0, 1.1, shape)
    return np.clip(np.round(counts + SOFT_BIAS), 0, 65535).astype(np.uint16)


def _header(night: Any, band: str, row: int, late: int, shape: tuple[int, int]) -> fits.Header:
    header = fits.Header()
    header["TAI"] = night["tai"]
    header["RA"] = (352.28022, "boresight, not the frame")
    header["DEC"] = 0.0
    header["DATE-OBS"] = (night["date"], "a date alone")
    header["TAIHMS"] = night["time"]
    header["ORIGIN"] = "SDSS"
    header["TELESCOP"] = "2.5m"
    header["TIMESYS"] = "TAI"
    header["RUN"] = night["run"]
    header["FRAME"] = night["field"] - late
    header["CCDLOC"] = 10 * row + 4
    header["STRIPE"] = 82
    header["STRIP"] = "S"
    header["FLAVOR"] = "science"
    header["OBJECT"] = "82 S"
    header["EXPTIME"] = EXPOSURE
    header["CCDMODE"] = "DRIFT"
    header["C_OBS"] = 26322
    header["SOFTBIAS"] = SOFT_BIAS
    header["FLUX0"] = -9999.0
    header["FILTER"] = band
    header["CAMCOL"] = 4
    wcs = _wcs(night, shape, true=False)
    header["RADECSYS"] = "ICRS"
    for k in (0, 1):
        header[f"CTYPE{k + 1}"] = wcs.wcs.ctype[k]
        header[f"CUNIT{k + 1}"] = "deg"
        header[f"CRPIX{k + 1}"] = float(wcs.wcs.crpix[k])
        header[f"CRVAL{k + 1}"] = float(wcs.wcs.crval[k])
        for j in (0, 1):
            header[f"CD{k + 1}_{j + 1}"] = float(wcs.wcs.cd[k, j])
    return header


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Simulate two nights of one field.")
    parser.add_argument("directory", type=Path)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args(arguments)
    simulate(given.directory, seed=given.seed)
    return 0


if __name__ == "__main__":
    sys.exit(main())
