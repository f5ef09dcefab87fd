"""Simulate a small survey whose truth is known: ``python simulate.py DIR --seed 1``.

Writes ``DIR/raw/*.fits`` and ``DIR/truth.json``. The camera has four detectors of two amplifiers each,
with their own gains and overscans, a dead and a hot column, and one detector that sees no light. Two
bands, four visits each, of which one is cloudy; biases and flats. No two stars are nearer than a few
widths of a star, so that "came back" means one thing. The same seed gives the same bytes.
"""

from __future__ import annotations

import argparse
import json
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.io import fits

Image = npt.NDArray[np.float64]

NIGHT = datetime(2026, 3, 14, 20, 0, 0, tzinfo=UTC)
FIRST = 202603140001
SIZE = 256
AMP_WIDTH = SIZE // 2
OVERSCAN = 16
DETECTORS = (0, 1, 2, 3)
DEAD = 3
BANDS = ("g", "r")
BIASES = 5
FLATS = 3
SATURATE = 60000
GAINS = {0: (1.60, 1.75), 1: (1.52, 1.68), 2: (1.71, 1.49), 3: (1.66, 1.61)}
READ_NOISES = {0: (5.1, 4.8), 1: (4.9, 5.3), 2: (5.0, 5.2), 3: (5.0, 5.0)}  # electrons
LEVELS = {0: (1010.0, 980.0), 1: (1055.0, 1005.0), 2: (990.0, 1040.0), 3: (1000.0, 1000.0)}
DEAD_COLUMNS = {0: 70, 1: 171, 2: 33}
HOT_COLUMNS = {1: 52}
SKY = {"g": 240.0, "r": 310.0}  # electrons a pixel
STARS = 50
SEPARATION = 14.0
COSMIC_RAYS = 5


@dataclass(frozen=True)
class Visit:
    """One pointing: what the sky and the telescope did."""

    obsid: int
    band: str
    dx: float
    dy: float
    rotation: float  # degrees about the middle of each detector
    transparency: float
    sky: float
    sigma: float  # of the star image, pixels
    airmass: float
    cloudy: bool


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Simulate a small survey whose truth is known.")
    parser.add_argument("directory", type=Path, help="where raw/ and truth.json go")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--size", choices=("full", "tiny"), default="full", help="tiny: one band, two detectors"
    )
    given = parser.parse_args(arguments)
    tiny = given.size == "tiny"
    files = simulate(
        given.directory,
        seed=given.seed,
        bands=BANDS[1:] if tiny else BANDS,
        detectors=(0, DEAD) if tiny else DETECTORS,
    )
    sys.stdout.write(f"{len(files)} raw files in {given.directory / 'raw'}\n")
    return 0


def simulate(
    directory: Path,
    *,
    seed: int = 1,
    bands: tuple[str, ...] = BANDS,
    detectors: tuple[int, ...] = DETECTORS,
) -> list[Path]:
    """Write the survey below ``directory``; give the raw files. Files that are there are left alone."""
    raw = directory / "raw"
    raw.mkdir(parents=True, exist_ok=True)
    visits = _visits(seed, bands)
    stars = {detector: _stars(seed, detector) for detector in detectors if detector != DEAD}
    files: list[Path] = []
    number = FIRST
    for kind, band, count in [("BIAS", "", BIASES), *(("FLAT", b, FLATS) for b in bands)]:
        for _ in range(count):
            for detector in detectors:
                rng = np.random.default_rng([seed, number, detector])
                light = 24000.0 * (_response(detector, band) if kind == "FLAT" else np.zeros((SIZE, SIZE)))
                files.append(
                    _write(raw, number, detector, _counts(light, detector, rng), _cards(number, kind, band))
                )
            number += 1
    for visit in visits:
        for detector in detectors:
            rng = np.random.default_rng([seed, visit.obsid, detector])
            light = _scene(visit, stars.get(detector, {}), detector)
            counts = _counts(light, detector, rng, cosmic_rays=COSMIC_RAYS)
            files.append(
                _write(raw, visit.obsid, detector, counts, _cards(visit.obsid, "OBJECT", visit.band, visit))
            )
    truth = {
        "seed": seed,
        "size": SIZE,
        "dead": DEAD,
        "visits": [asdict(visit) for visit in visits],
        "stars": {
            str(detector): [
                {"x": x, "y": y, **dict(zip(BANDS, fluxes, strict=True))}
                for x, y, *fluxes in zip(*(table[name].tolist() for name in ("x", "y", *BANDS)), strict=True)
            ]
            for detector, table in stars.items()
        },
    }
    _put(directory / "truth.json", (json.dumps(truth, indent=1, sort_keys=True) + "\n").encode())
    return files


def place(visit: dict[str, Any], x: Image, y: Image) -> tuple[Image, Image]:
    """Give where stars of the truth table fall on a detector in a visit, 0-based pixels."""
    angle = np.deg2rad(visit["rotation"])
    middle = (SIZE - 1) / 2
    u, v = x - middle, y - middle
    return (
        u * np.cos(angle) - v * np.sin(angle) + middle + visit["dx"],
        u * np.sin(angle) + v * np.cos(angle) + middle + visit["dy"],
    )


def _visits(seed: int, bands: tuple[str, ...]) -> list[Visit]:
    rng = np.random.default_rng([seed, 1])
    number = FIRST + BIASES + FLATS * len(bands)
    visits = []
    for band in bands:
        for k, transparency in enumerate((0.985, 1.0, 0.60, 0.97)):
            dx, dy = (0.0, 0.0) if k == 0 else rng.uniform(-7.0, 7.0, 2).round(3).tolist()
            cloudy = transparency < 0.9
            visits.append(
                Visit(
                    obsid=number,
                    band=band,
                    dx=dx,
                    dy=dy,
                    rotation=round(float(rng.uniform(-0.15, 0.15)), 4),
                    transparency=transparency,
                    sky=SKY[band] * (1.25 if cloudy else 1.0 + 0.02 * k),
                    sigma=round(float(rng.uniform(1.4, 1.6)), 4),
                    airmass=round(1.05 + 0.02 * (number - FIRST), 4),
                    cloudy=cloudy,
                )
            )
            number += 1
    return visits


def _stars(seed: int, detector: int) -> dict[str, Image]:
    """Give positions and fluxes (electrons through a clear sky); one star saturates."""
    rng = np.random.default_rng([seed, 2, detector])
    places: list[tuple[float, float]] = []
    while len(places) < STARS:
        x, y = rng.uniform(-4.0, SIZE + 4.0, 2)
        if all(np.hypot(x - a, y - b) >= SEPARATION for a, b in places):
            places.append((float(x), float(y)))
    flux = 10 ** rng.uniform(2.4, 5.2, STARS)
    flux[0] = 3.0e6
    colour = 10 ** rng.normal(0.0, 0.12, STARS)
    x, y = np.array(places).T
    return {"x": x.round(4), "y": y.round(4), "g": (flux * colour).round(2), "r": (flux / colour).round(2)}


def _scene(visit: Visit, stars: dict[str, Image], detector: int) -> Image:
    yy, xx = np.mgrid[:SIZE, :SIZE].astype(float)
    scene = np.full((SIZE, SIZE), visit.sky) * (1 + 0.01 * (xx - SIZE / 2) / SIZE)
    if stars:
        x, y = place(asdict(visit), stars["x"], stars["y"])
        for a, b, flux in zip(x, y, stars[visit.band] * visit.transparency, strict=True):
            square = ((xx - a) ** 2 + (yy - b) ** 2) / (2 * visit.sigma**2)
            near = square < 40
            scene[near] += flux * np.exp(-square[near]) / (2 * np.pi * visit.sigma**2)
    return scene * _response(detector, visit.band)


def _response(detector: int, band: str) -> Image:
    """Give vignetting, pixel-to-pixel structure, dust and columns; its median is 1."""
    if detector == DEAD:
        return np.zeros((SIZE, SIZE))
    yy, xx = np.mgrid[:SIZE, :SIZE] / (SIZE - 1)
    # the detectors are a mosaic of two by two; the light falls off from their common corner
    away = (xx - (detector % 2 == 0)) ** 2 + (yy - (detector < 2)) ** 2
    smooth = 1 - 0.14 * away
    rng = np.random.default_rng([3, detector, BANDS.index(band)])
    for _ in range(4):
        a, b = rng.uniform(0.1, 0.9, 2)
        ring = np.hypot(xx - a, yy - b)
        smooth *= 1 - 0.04 * np.exp(-(((ring - 0.03) / 0.012) ** 2))
    response = smooth * np.random.default_rng([4, detector]).normal(1.0, 0.01, (SIZE, SIZE))
    response[:, DEAD_COLUMNS[detector]] *= 0.04
    result: Image = response / np.median(response)
    return result


def _counts(
    light: Image, detector: int, rng: np.random.Generator, *, cosmic_rays: int = 0
) -> npt.NDArray[np.uint16]:
    """Give what the camera reads out for a mean number of electrons: two amplifiers, side by side."""
    electrons = rng.poisson(light).astype(float)
    for _ in range(cosmic_rays if detector != DEAD else 0):
        x, y = rng.uniform(10, SIZE - 10, 2)
        angle, length = rng.uniform(0, np.pi), rng.uniform(2, 7)
        for step in np.arange(0.0, length, 1.0):
            electrons[int(y + step * np.sin(angle)), int(x + step * np.cos(angle))] += rng.uniform(800, 2500)
    raw = np.zeros((SIZE, 2 * (AMP_WIDTH + OVERSCAN)))
    fixed = np.random.default_rng([5, detector]).normal(0.0, 1.5, (SIZE, SIZE))  # of the bias, counts
    hot = HOT_COLUMNS.get(detector)
    if hot is not None:
        fixed[:, hot] += 900.0
    drift = rng.normal(0.0, 1.0)
    for amplifier in (0, 1):
        gain, noise = GAINS[detector][amplifier], READ_NOISES[detector][amplifier]
        columns = slice(amplifier * AMP_WIDTH, (amplifier + 1) * AMP_WIDTH)
        data, over = _columns(amplifier)
        level = LEVELS[detector][amplifier] + drift
        raw[:, data] = electrons[:, columns] / gain + fixed[:, columns] + level
        raw[:, over] = level
        raw[:, data] += rng.normal(0.0, noise / gain, (SIZE, AMP_WIDTH))
        raw[:, over] += rng.normal(0.0, noise / gain, (SIZE, OVERSCAN))
    return np.clip(np.rint(raw), 0, SATURATE).astype(np.uint16)


def _columns(amplifier: int) -> tuple[slice, slice]:
    if amplifier == 0:
        return slice(0, AMP_WIDTH), slice(AMP_WIDTH, AMP_WIDTH + OVERSCAN)
    start = AMP_WIDTH + 2 * OVERSCAN
    return slice(start, start + AMP_WIDTH), slice(AMP_WIDTH + OVERSCAN, start)


def _cards(number: int, kind: str, band: str, visit: Visit | None = None) -> dict[str, Any]:
    begin = NIGHT + timedelta(seconds=120 * (number - FIRST))
    cards: dict[str, Any] = {
        "INSTRUME": "SIMCAM",
        "OBSID": number,
        "IMGTYPE": kind,
        "DATE-OBS": begin.strftime("%Y-%m-%dT%H:%M:%S.%f")[:-3],
        "EXPTIME": {"BIAS": 0.0, "FLAT": 5.0, "OBJECT": 60.0}[kind],
        "OBJECT": {"BIAS": "bias", "FLAT": "dome", "OBJECT": "field-1"}[kind],
        "RA": 150.1,
        "DEC": 2.2,
        "AIRMASS": visit.airmass if visit else 1.0,
    }
    if band:
        cards["FILTER"] = f"sim-{band}"
    return cards


def _write(
    raw: Path, number: int, detector: int, counts: npt.NDArray[np.uint16], cards: dict[str, Any]
) -> Path:
    header = fits.Header()
    for keyword, value in {**cards, "DETECTOR": detector}.items():
        header[keyword] = value
    for amplifier in (0, 1):
        for name, columns in zip(("DATASEC", "BIASSEC"), _columns(amplifier), strict=True):
            header[f"{name}{amplifier + 1}"] = f"[{columns.start + 1}:{columns.stop},1:{SIZE}]"
        header[f"GAIN{amplifier + 1}"] = (GAINS[detector][amplifier], "electron/adu")
        header[f"RDNOISE{amplifier + 1}"] = (READ_NOISES[detector][amplifier], "electron")
    header["SATURATE"] = (SATURATE, "adu")
    header["BUNIT"] = "adu"
    path = raw / f"simcam-{number}-{detector}.fits"
    if not path.exists():
        scratch = path.with_suffix(".part")
        fits.PrimaryHDU(counts, header).writeto(scratch, overwrite=True)
        scratch.rename(path)
    return path


def _put(path: Path, data: bytes) -> None:
    if not path.exists():
        path.write_bytes(data)


if __name__ == "__main__":
    raise SystemExit(main())
