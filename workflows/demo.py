"""What ``make demo`` runs: a small survey from raw frames to coadds, and how much of the truth came back.

Everything is below ``./demo``. Run it again: it finds nothing to do.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
WORKFLOW = HERE / "ccd_reduction"
PROJECT = """\
schema: prestow.project/1
registry: sqlite:///registry.db   # a database; paths are relative to this file
store: store                      # the directory that raw frames and products go to
pipeline: {pipeline}
workers: 2
"""


@dataclass(frozen=True)
class Bar:
    """A figure and what it must be."""

    name: str
    value: float
    at_most: float | None = None
    at_least: float | None = None

    @property
    def ok(self) -> bool:
        """Whether it holds; not for a figure that is no number."""
        return (self.at_most is None or self.value <= self.at_most) and (
            self.at_least is None or self.value >= self.at_least
        )

    def __str__(self) -> str:
        bars = [f"<= {self.at_most:g}" for _ in [0] if self.at_most is not None]
        bars += [f">= {self.at_least:g}" for _ in [0] if self.at_least is not None]
        return f"{'ok  ' if self.ok else 'FAIL'} {self.name:<58} {self.value:8.4g}   {' and '.join(bars) or '(reported)'}"


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Simulate, plan, run and take in a small survey.")
    parser.add_argument("directory", nargs="?", type=Path, default=Path("demo"))
    given = parser.parse_args(arguments)
    began = time.monotonic()
    directory = given.directory.absolute()
    set_up(directory)
    for words in (
        ("ingest", "--raw", "raw", "--instrument", "simcam"),
        ("plan",),
        ("run",),
        ("ingest",),
        ("status",),
    ):
        code = prestow(directory, *words)
        if code:
            say(f"prestow {' '.join(words)} ended with exit code {code}")
            return code
    bars = look(directory)
    say(
        f"\n{time.monotonic() - began:.0f} s in all. Look around: cd {given.directory} && prestow show coadd --files"
    )
    return 0 if all(bar.ok for bar in bars) else 1


def set_up(directory: Path) -> None:
    """Simulate the survey and write the project file, unless they are there."""
    directory.mkdir(parents=True, exist_ok=True)
    if not (directory / "truth.json").exists():
        say("$ python workflows/ccd_reduction/simulate.py demo --seed 1")
        subprocess.run(
            [sys.executable, str(WORKFLOW / "simulate.py"), str(directory), "--seed", "1"],
            check=True,
            env=quiet(),
        )
    project = directory / "prestow.yaml"
    if not project.exists():
        pipeline = os.path.relpath(WORKFLOW / "pipeline.yaml", directory)
        project.write_text(
            PROJECT.format(pipeline=json.dumps(pipeline, ensure_ascii=False)), encoding="utf-8"
        )


def prestow(directory: Path, *words: str) -> int:
    """Run one command as a newcomer would type it, and show it."""
    say(f"\n$ prestow {' '.join(words)}")
    return subprocess.run(
        [sys.executable, "-m", "prestow", *words], cwd=directory, check=False, env=quiet()
    ).returncode


def quiet() -> dict[str, str]:
    """Give the environment, with libraries kept from taking a thread for every core of each worker."""
    return {**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def planned(directory: Path) -> list[str]:
    """Give every planned file name below the store."""
    answer = subprocess.run(
        [sys.executable, "-m", "prestow", "show", "--files"],
        cwd=directory,
        check=True,
        capture_output=True,
        text=True,
    )
    return answer.stdout.splitlines()


def look(directory: Path) -> list[Bar]:
    """Compare the coadds with the truth, make a picture, and print both."""
    sys.path.insert(0, str(WORKFLOW))
    import checks
    import numpy as np

    from measuring import images

    truth = json.loads((directory / "truth.json").read_text(encoding="utf-8"))
    files = [directory / "store" / name for name in planned(directory)]
    made = {
        kind: [p for p in files if f"/{kind}/" in p.as_posix() and p.exists()]
        for kind in ("aligned", "coadd")
    }
    headers = {path: images.read_header(path) for paths in made.values() for path in paths}
    say("\nThe coadds, by their own headers:")
    recovered, catalogued, pulls, ratios, levels = [], [], [], [], []
    three_of_four = 0
    for coadd in made["coadd"]:
        header = headers[coadd]
        frames = [p for p in made["aligned"] if _same(headers[p], header)]
        counts = header["PSTNUSED"], header["PSTNPLAN"]
        three_of_four += counts == (3, 4) and "declined:cloudy" in header.get("PSTAB001", "")
        say(
            f"  {coadd.relative_to(directory)}: {counts[0]} of {counts[1]} frames; absent {header.get('PSTAB001', 'none')}"
        )
        recovered.append(
            checks.recover(coadd, truth, header["DETECTOR"], header["FILTER"].removeprefix("sim-"))
        )
        products, name = coadd.parents[1], coadd.stem.removeprefix("coadd")
        catalogue = products / "sources" / f"sources{name}.parquet"
        band = header["FILTER"].removeprefix("sim-")
        catalogued.append(checks.catalogued(catalogue, coadd, truth, header["DETECTOR"], band))
        levels.append(checks.picture_levels(products / "plot" / f"plot{name}.png"))
        pulls.append(checks.block_pull(coadd))
        ratios.append(checks.block_noise_ratio(coadd, frames, [headers[p]["FLXSCALE"] for p in frames]))
    expected, back, found, false = (
        sum(getattr(r, n) for r in recovered) for n in ("expected", "back", "detections", "false")
    )
    fluxes = [ratio for r in recovered for ratio in r.ratios]
    say(
        f"\nThe truth: {back} of {expected} injected stars above 10 sigma came back; {false} of {found} detections are false."
    )
    bars = [
        Bar("coadds, one a band and living detector", len(made["coadd"]), at_least=6, at_most=6),
        Bar("of them with 3 of 4 frames in the header, and 'cloudy'", three_of_four, at_least=6),
        Bar("injected stars above 10 sigma that came back, share", back / max(1, expected), at_least=0.95),
        Bar("false detections, share", false / max(1, found), at_most=0.02),
        Bar("flux bias, absolute", abs(float(np.median(fluxes)) - 1), at_most=0.02),
        Bar(
            "of those stars in the source catalogues, share",
            sum(c[1] for c in catalogued) / max(1, sum(c[0] for c in catalogued)),
            at_least=0.95,
        ),
        Bar(
            "flux bias of the catalogues, absolute, worst",
            max(abs(c[2] - 1) for c in catalogued),
            at_most=0.02,
        ),
        Bar("QA plots that show something: grey levels, least", min(levels), at_least=64),
        Bar("noise of a coadd over one frame's, 8x8 means, median", float(np.median(ratios)), at_most=0.62),
        Bar("the same, worst coadd", max(ratios)),
        Bar("blank-sky pull of the coadds, 8x8 means, median", float(np.median(pulls))),
    ]
    for bar in bars:
        say(str(bar))
    picture = directory / "coadd-r.png"
    _picture(picture, {headers[p]["DETECTOR"]: p for p in made["coadd"] if headers[p]["FILTER"] == "sim-r"})
    say(f"\nThe picture: {picture} (four detectors, band r; the dark one is dead)")
    return bars


def _same(one: Any, other: Any) -> bool:
    return all(one[keyword] == other[keyword] for keyword in ("DETECTOR", "FILTER", "REFVISIT"))


def _picture(path: Path, coadds: dict[int, Path]) -> None:
    import numpy as np
    from pictures import write_png

    from measuring import images

    tiles = {detector: images.read_image(coadd).data for detector, coadd in coadds.items()}
    blank = np.zeros_like(next(iter(tiles.values())))
    mosaic = np.vstack(
        [np.hstack([tiles.get(2 * row + column, blank) for column in (0, 1)]) for row in (0, 1)]
    )
    write_png(path, mosaic, low=-20.0, high=2000.0)


def say(text: str) -> None:
    """Print at once, in order with what the commands print."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    raise SystemExit(main())
