"""The zero point of one night and band: the magnitude of one ADU a second."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import NothingToDo, Quantum


@dataclass(frozen=True)
class Config:
    """Which stars count, by the reference catalogue's magnitudes; ``within`` is in arcsec."""

    within: float = 1.0
    brightest: float = 15.0
    faintest: float = 19.0
    fewest_stars: int = 5


def run(quantum: Quantum, config: Config) -> None:
    """Compare the light of all frames of the night, in circles of 8 pixels, with the catalogue's."""
    import numpy as np
    from astropy.stats import mad_std

    from measuring import coordinates, sources

    stars = coordinates.read_reference(
        quantum.path("reference_catalogue"),
        str(quantum.data_id["band"]),
        brightest=config.brightest,
        faintest=config.faintest,
    )
    found = []
    for item in quantum.inputs["sources"]:
        table = sources.from_arrow(quantum.get("sources", **item.data_id))
        table = table[sources.clean(table) & (table["flux_r8"] > 0)]
        pairs = coordinates.match(table["ra"], table["dec"], stars["ra"], stars["dec"], within=config.within)
        light = table["flux_r8"][pairs.mine]
        found.append(stars["magnitude"][pairs.theirs] + 2.5 * np.log10(light))
    each = np.concatenate(found) if found else np.empty(0)
    for _ in range(3):
        if len(each) < config.fewest_stars:
            raise NothingToDo("no_stars", f"{len(each)} stars in common with the reference catalogue")
        each = each[np.abs(each - np.median(each)) <= 3.5 * max(float(mad_std(each)), 1e-3)]
    scatter = float(each.std())
    metrics = {
        "zero_point": round(float(np.median(each)), 5),
        "zero_point_error": round(1.2533 * scatter / len(each) ** 0.5, 5),
        "zero_point_scatter": round(scatter, 5),
        "stars": len(each),
        "frames": len(found),
    }
    of = {name: quantum.data_id[name] for name in ("instrument", "day_obs", "band")}
    quantum.put("zero_point", {"metrics": metrics, "of": of, "unit": "mag of 1 adu/s within 8 pixels"})
    for name, value in metrics.items():
        quantum.measure(name, value)
