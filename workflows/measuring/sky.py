"""Sky and sources of a frame, by sep."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
import sep


def ramp(data: Any, mask: Any, boxes: int = 8) -> float:
    """Give by how much the sky differs over the field: (max - min) / median of clipped box medians."""
    from astropy.stats import sigma_clipped_stats

    rows, columns = (pairwise(np.linspace(0, n, boxes + 1).astype(int).tolist()) for n in data.shape)
    across = list(columns)
    medians = []
    for top, bottom in rows:
        for left, right in across:
            box, hidden = data[top:bottom, left:right], mask[top:bottom, left:right]
            if (~hidden).mean() > 0.25:
                medians.append(sigma_clipped_stats(box, mask=hidden, sigma=2.5, maxiters=5)[1])
    return float((max(medians) - min(medians)) / np.median(medians)) if medians else 0.0


def background(data: Any, mask: Any, *, box: int = 32) -> Any:
    """Give the sky of an image as an array, with the sources hidden from it."""
    pixels, hidden = np.ascontiguousarray(data, dtype=np.float64), np.ascontiguousarray(mask, dtype=bool)
    box = min(box, max(16, min(pixels.shape) // 4))
    first = sep.Background(pixels, mask=hidden, bw=box, bh=box, fw=3, fh=3)
    try:
        _, sources = sep.extract(
            pixels - first, 2.0, err=first.globalrms, mask=hidden, minarea=5, segmentation_map=True
        )
    except Exception as error:  # sep has no class of its own for "too many pixels above the threshold"
        if "pixel" not in str(error):
            raise
        return first.back()
    from scipy.ndimage import binary_dilation

    hidden = hidden | binary_dilation(sources > 0, iterations=3)
    return sep.Background(pixels, mask=hidden, bw=box, bh=box, fw=3, fh=3).back()


def sources(data: Any, variance: Any, mask: Any, *, threshold: float = 2.5, minarea: int = 5) -> Any:
    """Give sep's table of the sources in a sky-subtracted image, brightest first, in one fixed order."""
    hidden = np.asarray(mask, dtype=bool) | (np.asarray(variance) <= 0)
    # sep's filter looks across the border of a mask: what stands behind it must not shine through
    pixels = np.where(hidden, 0.0, data).astype(np.float64)
    noise = np.sqrt(np.where(hidden, np.median(variance[~hidden]), variance).astype(np.float64))
    # a plain filter: the matched one takes the noise for white, and a resampled image's is not
    found = sep.extract(
        pixels,
        threshold,
        err=noise,
        mask=hidden,
        minarea=minarea,
        filter_type="conv",
        deblend_nthresh=64,
        deblend_cont=0.0005,
    )
    return found[np.lexsort((found["y"], found["x"], -found["flux"]))]


def fluxes(data: Any, mask: Any, x: Any, y: Any, radius: float) -> Any:
    """Give sums over circles; nan where a circle holds a masked pixel or leaves the image."""
    pixels = np.ascontiguousarray(data, dtype=np.float64)
    flux, _, flag = sep.sum_circle(
        pixels, x, y, radius, mask=np.ascontiguousarray(mask, dtype=bool), subpix=5
    )
    spoiled = (flag & (sep.APER_TRUNC | sep.APER_HASMASKED)) != 0
    return np.where(spoiled, np.nan, flux)


def blank(data: Any, variance: Any, mask: Any) -> Any:
    """Give which pixels of a sky-subtracted image are sky and nothing else."""
    from scipy.ndimage import binary_dilation, gaussian_filter

    smooth = gaussian_filter(np.where(mask, 0.0, data / np.sqrt(np.maximum(variance, 1e-30))), 2.0)
    # white noise of unit variance has a scatter of 1 / (2 sqrt(pi) sigma) after the filter
    lit = smooth > 3.0 / (2 * np.sqrt(np.pi) * 2.0)
    return ~(binary_dilation(lit, iterations=4) | binary_dilation(mask, iterations=1))


def pixel_pull(data: Any, variance: Any, mask: Any) -> float:
    """Give the scatter of blank sky in units of what the variance says; 1 is right."""
    from astropy.stats import mad_std

    where = blank(data, variance, mask)
    return float(mad_std(data[where] / np.sqrt(variance[where]))) if where.any() else 0.0
