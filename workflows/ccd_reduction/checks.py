"""Measures of a coadd that its pipeline does not make: against one frame, and against the truth.

Used by the demo and by the acceptance run; every function takes products' paths and gives numbers.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from simulate import place

from measuring import images, sky

APERTURE = 4.0
GRID = 12


@dataclass(frozen=True)
class Recovery:
    """How many injected stars a coadd gives back; ``ratios`` are measured over true fluxes."""

    expected: int
    back: int
    detections: int
    false: int
    ratios: tuple[float, ...]


def flattened(path: Path) -> tuple[Any, Any, Any]:
    """Give a product's pixels without sky, their variance and what is masked."""
    image = images.read_image(path)
    return image.data - sky.background(image.data, image.mask), image.uncertainty.array, image.mask


def empty_aperture_ratio(coadd: Path, frame: Path) -> float:
    """Give the scatter of empty circles in a coadd over that in one frame, at the same places."""
    from astropy.stats import mad_std

    (data, variance, mask), (one, one_variance, one_mask) = flattened(coadd), flattened(frame)
    free = sky.blank(data, variance, mask | one_mask) & sky.blank(one, one_variance, one_mask)
    yy, xx = np.mgrid[GRID : data.shape[0] - GRID : GRID, GRID : data.shape[1] - GRID : GRID]
    x, y = xx.ravel().astype(float), yy.ravel().astype(float)
    sums = [sky.fluxes(pixels, ~free, x, y, APERTURE) for pixels in (data, one)]
    good = np.isfinite(sums[0]) & np.isfinite(sums[1])
    return float(mad_std(sums[0][good]) / mad_std(sums[1][good]))


def block_means(data: Any, free: Any, size: int = 8) -> Any:
    """Give the means of whole blocks of free pixels; nan for the others."""
    rows, columns = (n // size for n in data.shape)
    cut = np.s_[: rows * size, : columns * size]
    blocks, whole = (a[cut].reshape(rows, size, columns, size) for a in (data, free))
    return np.where(whole.all(axis=(1, 3)), blocks.mean(axis=(1, 3)), np.nan)


def block_pull(path: Path, size: int = 8) -> float:
    """Give the scatter of blank-sky block means over what the variance says of them; 1 is right."""
    data, variance, mask = flattened(path)
    free = sky.blank(data, variance, mask)
    pulls = block_means(data, free, size) / np.sqrt(block_means(variance, free, size) / size**2)
    return _scatter(pulls)


def block_noise_ratio(coadd: Path, frames: list[Path], scales: list[float], size: int = 8) -> float:
    """Give the coadd's scatter of block means over the frames' middle one, on the same blank blocks."""
    data, variance, mask = flattened(coadd)
    free = sky.blank(data, variance, mask)
    singles = []
    for path, scale in zip(frames, scales, strict=True):
        one, one_variance, one_mask = flattened(path)
        free &= sky.blank(one, one_variance, one_mask)
        singles.append(one * scale)
    return _scatter(block_means(data, free, size)) / float(
        np.median([_scatter(block_means(s, free, size)) for s in singles])
    )


def found_again(coadd: Path, frame: Path, within: float = 2.0) -> float:
    """Give the share of one frame's sources that are in the coadd, where the coadd has data."""
    from scipy.spatial import KDTree

    one, many = flattened(frame), flattened(coadd)
    sources, known = sky.sources(*one), sky.sources(*many)
    seen = [k for k in range(len(sources)) if not many[2][round(sources["y"][k]), round(sources["x"][k])]]
    places = np.column_stack([sources["x"], sources["y"]])[seen]
    distance, _ = KDTree(np.column_stack([known["x"], known["y"]])).query(places)
    return float((distance <= within).mean())


def negative_share(coadd: Path) -> float:
    """Give the detections on the negated coadd over those on the coadd."""
    data, variance, mask = flattened(coadd)
    return len(sky.sources(-data, variance, mask)) / max(1, len(sky.sources(data, variance, mask)))


@dataclass(frozen=True)
class _Injected:
    """The stars that were put in where a coadd is; which of them it should show."""

    x: Any
    y: Any
    flux: Any
    expected: Any
    noise: float
    sigma: float


def _injected(coadd: Path, truth: dict[str, Any], detector: int, band: str) -> _Injected:
    header = images.read_header(coadd)
    visit = next(v for v in truth["visits"] if v["obsid"] == header["REFVISIT"])
    stars = truth["stars"][str(detector)]
    x, y = place(visit, np.array([s["x"] for s in stars]), np.array([s["y"] for s in stars]))
    flux = np.array([s[band] for s in stars]) * visit["transparency"]
    image = images.read_image(coadd)
    spoiled = image.mask | (_nexp(coadd) < header["NCOMBINE"])
    inside = (x > 8) & (y > 8) & (x < image.data.shape[1] - 9) & (y < image.data.shape[0] - 9)
    whole = inside.copy()
    whole[inside] = sky.fluxes(spoiled.astype(float), np.zeros_like(spoiled), x[inside], y[inside], 3.0) == 0
    noise = np.sqrt(4 * np.pi * visit["sigma"] ** 2 * np.median(image.uncertainty.array[~image.mask]))
    return _Injected(x, y, flux, whole & (flux > 10 * noise), float(noise), visit["sigma"])


def recover(coadd: Path, truth: dict[str, Any], detector: int, band: str, *, radius: float = 7.0) -> Recovery:
    """Compare a coadd with the stars that were put in.

    Expected are those above 10 sigma, by the coadd's own variance, that lie whole on unmasked pixels which
    all frames cover; false is a detection with no injected star, however faint, within 3 pixels.
    """
    from scipy.spatial import KDTree

    stars = _injected(coadd, truth, detector, band)
    data, variance, mask = flattened(coadd)
    found = sky.sources(data, variance, mask)
    seen = KDTree(np.column_stack([found["x"], found["y"]]))
    distance, _ = seen.query(np.column_stack([stars.x, stars.y]))
    back = stars.expected & (distance <= 1.5)
    apart, _ = KDTree(np.column_stack([stars.x, stars.y])).query(np.column_stack([found["x"], found["y"]]))
    bright = back & (stars.flux > 25 * stars.noise)
    sums = sky.fluxes(data, mask, stars.x[bright], stars.y[bright], radius)
    light = stars.flux[bright] * (1 - np.exp(-((radius / stars.sigma) ** 2) / 2))
    ratios = (sums / light)[np.isfinite(sums)]
    return Recovery(
        int(stars.expected.sum()),
        int(back.sum()),
        len(found),
        int((apart > 3.0).sum()),
        tuple(float(r) for r in ratios),
    )


def _nexp(path: Path) -> Any:
    from astropy.io import fits

    return fits.getdata(path, "NEXP")


def _scatter(values: Any) -> float:
    from astropy.stats import mad_std

    return float(mad_std(values[np.isfinite(values)]))


def catalogued(
    sources: Path, coadd: Path, truth: dict[str, Any], detector: int, band: str
) -> tuple[int, int, float]:
    """Give how many injected stars a source catalogue should have, how many it has, and its flux over theirs.

    Those that `recover` expects; the ratio is that of the sums within 8 pixels of stars above 25 sigma, the
    middle one.
    """
    import pyarrow.parquet as pq
    from scipy.spatial import KDTree

    stars = _injected(coadd, truth, detector, band)
    table = pq.read_table(sources)
    places = KDTree(np.column_stack([table["x"], table["y"]]))
    distance, nearest = places.query(np.column_stack([stars.x, stars.y]))
    back = stars.expected & (distance <= 1.5)
    bright = back & (stars.flux > 25 * stars.noise)
    light = stars.flux[bright] * (1 - np.exp(-((8.0 / stars.sigma) ** 2) / 2))
    ratio = np.asarray(table["flux_r8"])[nearest[bright]] / light
    return int(stars.expected.sum()), int(back.sum()), float(np.median(ratio))


def flat_variance(isr: Path, run: Path, *, read_noise: float = 15.0) -> tuple[float, float]:
    """Give a CAFOS frame's sky variance over what it should be, and the flat's share in it."""
    frame = images.read_image(isr)
    bias = images.read_image(run / "bias" / "bias-cafos-00.fits")
    flat = images.read_image(run / "flat" / f"flat-cafos-{frame.meta['INSFLNAM'].strip()}-00.fits")
    free = ~(frame.mask | flat.mask)
    level, response = frame.data[free], flat.data[free]
    photons = np.clip(level * response, 0, None) + read_noise**2 + bias.uncertainty.array[free]
    carried = (level / response) ** 2 * flat.uncertainty.array[free]
    said = np.median(frame.uncertainty.array[free])
    return float(said / np.median(photons / response**2 + carried)), float(np.median(carried) / said)


def picture_levels(path: Path) -> int:
    """Give how many grey levels a PNG has: one that shows nothing has a few."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.image import imread

    pixels = imread(path)
    return len(np.unique(np.round(pixels[..., :3].mean(axis=-1) * 255).astype(int)))
