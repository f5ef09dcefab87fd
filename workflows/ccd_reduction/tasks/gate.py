"""Which frames of a band are good enough to be added, and which of them the others are laid on."""

from __future__ import annotations

from dataclasses import dataclass

from prestow.tasks import NothingToDo, Quantum


@dataclass(frozen=True)
class Config:
    """Below ``least_light`` of the clearest frame's star light a frame is cloudy."""

    least_light: float = 0.90
    fewest_stars: int = 6


def run(quantum: Quantum, config: Config) -> None:
    """Compare the star light of all frames of one band and detector."""
    import numpy as np

    from tasks import stars

    frames = []
    for item in quantum.inputs["measures"]:
        measured = quantum.get("measures", **item.data_id)
        listed = [[s["x"], s["y"], s["flux"]] for s in measured["stars"]]
        table = np.array(listed, dtype=float).reshape(-1, 3)
        table[:, 2] /= measured["metrics"]["exposure_time"]  # light a second: exposures may differ
        frames.append((int(item.data_id["visit"]), table))
    frames.sort(key=lambda f: f[0])
    base_visit, base = max(frames, key=lambda f: (len(f[1]), -f[0]))
    if len(base) < config.fewest_stars:
        raise NothingToDo("no_stars", "no frame has enough stars to compare")
    light: dict[int, float | None] = {}
    for visit, table in frames:
        try:
            found = stars.match(table[:, :2], base[:, :2], seed=quantum.seed, fewest=config.fewest_stars)
        except stars.NoMatchError:
            light[visit] = 1.0 if visit == base_visit else None
            continue
        mine, theirs = found.pairs[:, 0], found.pairs[:, 1]
        light[visit] = 1.0 / stars.light_ratio(table[mine, 2], base[theirs, 2])
    best = max(value for value in light.values() if value is not None)
    rows = []
    for visit, value in light.items():
        relative = None if value is None else round(value / best, 4)
        code = "no_stars" if relative is None else "cloudy" if relative < config.least_light else ""
        rows.append({"visit": visit, "transparency": relative, "accepted": not code, "code": code})
    reference = max(rows, key=lambda r: (r["transparency"] or 0.0, -int(r["visit"] or 0)))["visit"]
    metrics = {
        "frames": len(rows),
        "accepted": sum(1 for r in rows if r["accepted"]),
        "least_transparency": min(r["transparency"] or 0.0 for r in rows),
    }
    for name, number in metrics.items():
        quantum.measure(name, number)
    quantum.put("gate", {"metrics": metrics, "reference": reference, "visits": rows})
