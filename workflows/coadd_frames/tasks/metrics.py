"""Whether a coadd is fit for science: figures with their bars. A command, to show that a step can be one.

``python -m tasks.metrics COADD CATALOGUE REFERENCE METRICS --astrometry A … --zero-points Z … --negated 0.08``
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

RADIUS = 5.0
SPACING = 16


def judge(
    coadd: Path,
    catalogue: Path,
    reference: Path,
    astrometry: Sequence[Path],
    zero_points: Sequence[Path],
    bars: dict[str, float],
) -> dict[str, Any]:
    """Give the figures of a coadd, and which of them pass."""
    import numpy as np
    import pyarrow.parquet as pq
    import yaml
    from astropy.wcs.utils import proj_plane_pixel_scales

    from measuring import coordinates, images, sky, sources

    image, table = images.read_image(coadd), sources.from_arrow(pq.read_table(catalogue))
    scale = float(np.mean(proj_plane_pixel_scales(coordinates.read_wcs(coadd)))) * coordinates.ARCSEC
    placed, nights = (
        [yaml.safe_load(path.read_text(encoding="utf-8")) for path in paths]
        for paths in (astrometry, zero_points)
    )
    stars = coordinates.read_reference(reference, image.meta["BAND"], brightest=14.5, faintest=20.5)
    good = table[sources.clean(table)]
    pairs = coordinates.match(good["ra"], good["dec"], stars["ra"], stars["dec"], within=2.0)
    levels = [night["metrics"]["zero_point"] for night in nights]
    ghosts = sky.sources(-image.data, image.uncertainty.array, image.mask, threshold=1.5)
    noise = empty_noise(image)
    metrics: dict[str, float] = {
        "frames": int(image.meta["NCOMBINE"]),
        "n_sources": len(table),
        "n_sources_best_frame": max(p["metrics"]["n_sources"] for p in placed),
        "negated_share": round(len(ghosts) / max(1, len(table)), 5),
        "seeing": round(sources.seeing(table) * scale, 4),
        "noise": round(noise, 4),
        "depth": round(float(image.meta["MAGZERO"]) - 2.5 * float(np.log10(5 * max(noise, 1e-30))), 4),
        "reference_stars": len(pairs.mine),
        "astrometric_scatter_worst_frame": max(p["metrics"]["astrometric_scatter"] for p in placed),
        "zero_point_lowest": min(levels),
        "zero_point_highest": max(levels),
        "zero_point_spread": round(max(levels) - min(levels), 5),
        "zero_point_scatter": max(night["metrics"]["zero_point_scatter"] for night in nights),
        "masked_share": round(float(image.mask.mean()), 5),
    }
    if len(pairs.mine):
        metrics["astrometric_scatter"] = round(max(pairs.scatter), 5)
    checks = {
        name: {"value": metrics.get(name), "bar": bar, "passed": metrics.get(name, float("inf")) <= bar}
        for name, bar in bars.items()
    }
    return {
        "metrics": {**metrics, "passed": all(c["passed"] for c in checks.values())},
        "checks": checks,
        "units": {
            **dict.fromkeys(("seeing", "astrometric_scatter", "astrometric_scatter_worst_frame"), "arcsec"),
            **dict.fromkeys(
                ("zero_point_lowest", "zero_point_highest", "zero_point_spread", "zero_point_scatter"), "mag"
            ),
            "noise": f"nJy, of sums over empty circles of {RADIUS:g} pixels",
            "depth": "mag of 5 times the noise",
        },
        "nights": [{**night["of"], **night["metrics"]} for night in nights],
    }


def empty_noise(image: Any) -> float:
    """Give the scatter of sums over circles that hold sky alone; 0 where there are none."""
    import numpy as np
    from astropy.stats import mad_std

    from measuring import sky

    free = sky.blank(image.data, image.uncertainty.array, image.mask)
    rows, columns = image.data.shape
    y, x = np.mgrid[SPACING : rows - SPACING : SPACING, SPACING : columns - SPACING : SPACING]
    sums = sky.fluxes(image.data, ~free, x.ravel().astype(float), y.ravel().astype(float), RADIUS)
    sums = sums[np.isfinite(sums)]
    return float(mad_std(sums)) if len(sums) else 0.0


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Say whether a coadd is fit for science.")
    parser.add_argument("coadd", type=Path)
    parser.add_argument("catalogue", type=Path)
    parser.add_argument("reference", type=Path)
    parser.add_argument("metrics", type=Path, help="file to write (YAML)")
    parser.add_argument("--astrometry", type=Path, nargs="+", required=True)
    parser.add_argument("--zero-points", type=Path, nargs="+", required=True)
    parser.add_argument("--scatter", type=float, default=0.06, help="arcsec, of an axis")
    parser.add_argument("--spread", type=float, default=0.05, help="mag, of zero points between nights")
    parser.add_argument("--negated", type=float, default=0.08, help="share of the sources")
    given = parser.parse_args(arguments)
    bars = {
        "astrometric_scatter": given.scatter,
        "astrometric_scatter_worst_frame": given.scatter,
        "zero_point_spread": given.spread,
        "negated_share": given.negated,
    }
    judged = judge(given.coadd, given.catalogue, given.reference, given.astrometry, given.zero_points, bars)
    # JSON is YAML, and needs nothing that is not there
    given.metrics.write_text(json.dumps(judged, indent=2, sort_keys=True) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
