"""The sources of a frame among reference stars: who is found, and how far from its place."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import Quantum


@dataclass(frozen=True)
class Config:
    """``within`` is in arcsec; ``band`` is the catalogue's column of magnitudes, ``edge`` in pixels."""

    band: str = "g"
    within: float = 3.0
    edge: float = 0.0


def run(quantum: Quantum, config: Config) -> None:
    """Say which of the stars that lie in the frame are found. The offset is from catalogue to frame."""
    import numpy as np

    from measuring import coordinates, images, sources
    from tasks.celestial import wcs_of

    path = quantum.path("isr")
    header = images.read_header(path)
    wcs, unnamed = wcs_of(header)
    table = sources.from_arrow(quantum.get("sources"))
    stars = coordinates.read_reference(
        quantum.path("reference_stars"), config.band, brightest=-np.inf, faintest=np.inf
    )
    x, y = wcs.all_world2pix(stars["ra"], stars["dec"], 0, quiet=True)
    rows, columns = images.read_shape(path)
    low = config.edge - 0.5
    inside = (x >= low) & (x <= columns - 1 - low) & (y >= low) & (y <= rows - 1 - low)
    stars, x, y = stars[inside], x[inside], y[inside]
    pairs = coordinates.match(
        table["ra"], table["dec"], stars["ra"], stars["dec"], within=config.within, clip=np.inf
    )
    light = table["flux_r5"][pairs.mine] / float(header["EXPTIME"])
    whole = (light > 0) & (table["flags"][pairs.mine] & sources.FLAG_MASKED == 0)
    zero = stars["magnitude"][pairs.theirs][whole] + 2.5 * np.log10(light[whole])
    found = len(pairs.mine)
    (east, north), (scatter_east, scatter_north) = (
        (pairs.offset, pairs.scatter) if found else ((0.0, 0.0), (0.0, 0.0))
    )
    metrics = {
        "stars_in_frame": len(stars),
        "stars_matched": found,
        "offset_ra": round(east, 4),
        "offset_dec": round(north, 4),
        "astrometric_scatter": round(max(scatter_east, scatter_north), 4),
        "zero_point": round(float(np.median(zero)), 4) if len(zero) else 0.0,
        "zero_point_scatter": round(float(np.std(zero)), 4) if len(zero) else 0.0,
        "zero_point_stars": len(zero),
        "sip_not_named": unnamed,
    }
    which = dict(zip(pairs.theirs.tolist(), table["id"][pairs.mine].tolist(), strict=True))
    listed = [
        {
            "ra": round(float(stars["ra"][k]), 6),
            "dec": round(float(stars["dec"][k]), 6),
            "magnitude": round(float(stars["magnitude"][k]), 4),
            "x": round(float(x[k]), 2),
            "y": round(float(y[k]), 2),
            "source": which.get(int(k)),
        }
        for k in np.argsort(stars["magnitude"], kind="stable")
    ]
    quantum.put(
        "reference_match",
        {
            "metrics": metrics,
            "units": {
                "offset_ra": "arcsec",
                "offset_dec": "arcsec",
                "astrometric_scatter": "arcsec",
                "zero_point": "mag",
            },
            "stars": listed,
        },
    )
    for name, value in metrics.items():
        quantum.measure(name, value)
