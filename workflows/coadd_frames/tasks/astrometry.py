"""How one frame lies on the reference source catalogue, and what it covers."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import NothingToDo, Quantum


@dataclass(frozen=True)
class Config:
    """Which stars are compared: ``within`` is in arcsec, magnitudes are the catalogue's."""

    within: float = 2.0
    brightest: float = 14.5
    faintest: float = 20.5
    fewest_stars: int = 6


def run(quantum: Quantum, config: Config) -> None:
    """Compare; decline a frame with too few stars in common, which cannot be placed.

    ``offset`` is from the catalogue to the frame; the scatter is about it, of each axis.
    """
    import numpy as np
    from astropy.wcs.utils import proj_plane_pixel_scales

    from measuring import coordinates, images, sources

    path = quantum.path("frame")
    header, wcs = images.read_header(path), coordinates.read_wcs(path)
    shape = images.read_shape(path)
    table = sources.from_arrow(quantum.get("sources"))
    stars = coordinates.read_reference(
        quantum.path("reference_catalogue"),
        header["BAND"],
        brightest=config.brightest,
        faintest=config.faintest,
    )
    good = table[sources.clean(table)]
    pairs = coordinates.match(good["ra"], good["dec"], stars["ra"], stars["dec"], within=config.within)
    if len(pairs.mine) < config.fewest_stars:
        raise NothingToDo("no_stars", f"{len(pairs.mine)} stars in common with the reference catalogue")
    scale = float(np.mean(proj_plane_pixel_scales(wcs))) * coordinates.ARCSEC
    (east, north), (scatter_east, scatter_north) = pairs.offset, pairs.scatter
    metrics = {
        "stars": len(pairs.mine),
        "offset_ra": round(east, 5),
        "offset_dec": round(north, 5),
        "scatter_ra": round(scatter_east, 5),
        "scatter_dec": round(scatter_north, 5),
        "astrometric_scatter": round(max(scatter_east, scatter_north), 5),
        "seeing": round(sources.seeing(table) * scale, 4),
        "n_sources": len(table),
        "sky": float(header["SKYLEVEL"]),
    }
    corners = np.array([[0, 0], [shape[1] - 1, 0], [shape[1] - 1, shape[0] - 1], [0, shape[0] - 1]])
    places = wcs.all_pix2world(corners, 0)
    quantum.put(
        "astrometry",
        {
            "metrics": metrics,
            "units": {
                **dict.fromkeys(
                    ("offset_ra", "offset_dec", "scatter_ra", "scatter_dec", "astrometric_scatter", "seeing"),
                    "arcsec",
                ),
                "sky": "adu",
            },
            "corners": [[round(float(v), 8) for v in place] for place in places],
            "pixel_scale": round(scale, 6),
        },
    )
    for name, value in metrics.items():
        quantum.measure(name, value)
