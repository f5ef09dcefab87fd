"""The one output WCS that all frames are laid on, of every band."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import Quantum


@dataclass(frozen=True)
class Config:
    """``pixel_scale`` in arcsec; the median of the frames' if 0."""

    pixel_scale: float = 0.0
    most_pixels: int = 200_000_000


def run(quantum: Quantum, config: Config) -> None:
    """Cover all frames: north up, east left, gnomonic about the middle of their corners."""
    import numpy as np
    from astropy.wcs import WCS

    from measuring import coordinates

    placed = [quantum.get("astrometry", **item.data_id) for item in quantum.inputs["astrometry"]]
    corners = np.array([c for p in placed for c in p["corners"]])
    ra, dec = coordinates.place_of(coordinates.vectors(corners[:, 0], corners[:, 1]).sum(axis=0))
    scale = config.pixel_scale or float(np.median([p["pixel_scale"] for p in placed]))
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [round(ra, 5), round(dec, 5)]
    wcs.wcs.crpix = [1, 1]
    wcs.wcs.cd = np.round(np.diag([-scale, scale]) / coordinates.ARCSEC, 12)
    pixels = wcs.all_world2pix(corners, 0)
    low, high = np.floor(pixels.min(axis=0)) - 1, np.ceil(pixels.max(axis=0)) + 1
    columns, rows = (high - low + 1).astype(int).tolist()
    if columns * rows > config.most_pixels:
        raise ValueError(
            f"the frames span {columns} x {rows} pixels of {scale:.3f} arcsec: they are not of one field"
        )
    wcs.wcs.crpix = (1 - low).tolist()
    cards = coordinates.cards_of(wcs)
    quantum.put("grid", {"wcs": dict(cards), "shape": [rows, columns], "frames": len(placed)})
    quantum.measure("columns", columns)
    quantum.measure("rows", rows)
