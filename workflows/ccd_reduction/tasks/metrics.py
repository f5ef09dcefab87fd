"""Whether a coadd is fit for science: figures with their bars. A command, to show that a step can be one.

``python -m tasks.metrics COADD METRICS --sky-ramp 0.07 --alignment 0.3 --negative 0.08``
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any


def judge(coadd: Path, bars: dict[str, float]) -> dict[str, Any]:
    """Give the figures of a coadd, and which of them pass."""
    from measuring import images, sky

    image = images.read_image(coadd)
    variance, mask = image.uncertainty.array, image.mask
    data = image.data - sky.background(image.data, mask)
    found, ghosts = (sky.sources(sign * data, variance, mask) for sign in (1, -1))
    metrics = {
        "sources": len(found),
        "negative_share": round(len(ghosts) / max(1, len(found)), 5),
        "sky_ramp_before": float(image.meta["SKYRAMP0"]),
        "sky_ramp": float(image.meta["SKYRAMP"]),
        "alignment_rms": float(image.meta["ALIGNRMS"]),
        "blank_sky_pull": round(sky.pixel_pull(data, variance, mask), 4),
        "frames": int(image.meta["NCOMBINE"]),
        "masked_share": round(float(mask.mean()), 5),
    }
    checks = {
        name: {"value": metrics[name], "bar": bar, "passed": bool(metrics[name] <= bar)}
        for name, bar in bars.items()
    }
    return {"metrics": {**metrics, "passed": all(c["passed"] for c in checks.values())}, "checks": checks}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Say whether a coadd is fit for science.")
    parser.add_argument("coadd", type=Path)
    parser.add_argument("metrics", type=Path, help="file to write (YAML)")
    parser.add_argument("--sky-ramp", type=float, default=0.07)
    parser.add_argument("--alignment", type=float, default=0.3)
    parser.add_argument("--negative", type=float, default=0.08)
    given = parser.parse_args(arguments)
    bars = {"sky_ramp": given.sky_ramp, "alignment_rms": given.alignment, "negative_share": given.negative}
    # JSON is YAML, and needs nothing that is not there
    given.metrics.write_text(json.dumps(judge(given.coadd, bars), indent=2, sort_keys=True) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
