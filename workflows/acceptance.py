"""What ``make acceptance`` runs: the real campaign on CAFOS frames of NGC 2420, one line a figure.

The frames are looked for in ``$PRESTOW_TEST_DATA/uam-ngc2420`` (default ``../shared/data`` beside the
repository). Each line is ``ok|FAIL name value bar``; exit 1 when one falls short.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from demo import PROJECT, WORKFLOW, Bar, planned, prestow, say

from prestow.errors import Exit

HERE = Path(__file__).resolve().parent
RUN = "ccd_reduction_cafos"
CONTROL = "control"
CLOUDY = 20210328232524
BARS = {"B": 0.85, "V": 0.90}


def main(arguments: list[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Run the real campaign and judge it.")
    parser.add_argument("--require", action="store_true", help="fail when the data are absent")
    parser.add_argument(
        "--directory", type=Path, help="work here and keep it; default: a temporary directory"
    )
    given = parser.parse_args(arguments)
    data = Path(os.environ.get("PRESTOW_TEST_DATA") or HERE.parent.parent / "shared" / "data") / "uam-ngc2420"
    if not data.is_dir():
        say(
            f"SKIPPED: no acceptance was run. The real frames are not in {data}; set PRESTOW_TEST_DATA to where they are."
        )
        return 1 if given.require else 0
    if given.directory:
        given.directory.mkdir(parents=True, exist_ok=True)
        return accept(given.directory.absolute(), data.absolute())
    with tempfile.TemporaryDirectory(prefix="prestow-acceptance-") as scratch:
        return accept(Path(scratch), data.absolute())


def accept(directory: Path, data: Path) -> int:
    """Run the campaign and its control in a directory, and print every figure."""
    pipeline = os.path.relpath(WORKFLOW / "cafos.yaml", directory)
    (directory / "prestow.yaml").write_text(
        PROJECT.format(pipeline=json.dumps(pipeline, ensure_ascii=False)),
        encoding="utf-8",
    )
    for words in (
        ("ingest", "--raw", str(data), "--instrument", "cafos"),
        ("plan",),
        ("run",),
        ("ingest",),
        ("status",),
    ):
        if code := prestow(directory, *words):
            say(f"FAIL prestow {words[0]} exit code {code} 0")
            return 1
    files = planned(directory)
    bars = [*names(directory, files), *science(directory, files)]
    # the control needs the long exposures only: what --only leaves out stays pending, which is an exit code too
    for words, fine in (
        (("plan", "--run", CONTROL, "--set", "isr.apply_flat=false"), (Exit.OK,)),
        (("run", "--only", "metrics"), (Exit.OK, Exit.STOPPED)),
    ):
        code = prestow(directory, *words)
        if code not in fine:
            say(f"FAIL control: prestow {words[0]} exit code {code} 0")
            return 1
    for band in BARS:
        judged = document(directory / "store" / CONTROL / "metrics" / f"metrics-cafos-{band}-00.yaml")
        bars.append(
            Bar(
                f"control, flat off: own metrics of {band} pass",
                float(judged["metrics"]["passed"]),
                at_most=0,
            )
        )
    say("")
    for bar in bars:
        say(str(bar))
    short = sum(not bar.ok for bar in bars)
    say(f"\n{len(bars) - short} of {len(bars)} figures hold" + (f"; {short} FALL SHORT" if short else ""))
    return 1 if short else 0


def names(directory: Path, files: list[str]) -> list[Bar]:
    """Compare the names that were planned with those that are there: what was declined has none."""
    root = directory / "store"
    there = {p.relative_to(root).as_posix() for p in (root / RUN).rglob("*") if p.is_file()}
    answer = subprocess.run(
        [sys.executable, "-m", "prestow", "status", "--json"],
        cwd=directory,
        check=True,
        capture_output=True,
        text=True,
    )
    counts = json.loads(answer.stdout)["counts"]
    return [
        Bar(
            "quanta that are neither made nor declined",
            sum(counts.values()) - counts["made"] - counts["declined"],
            at_most=0,
        ),
        Bar("declined quanta: the cloudy frame", counts["declined"], at_least=1, at_most=1),
        Bar(
            "planned names that are missing beyond those",
            len(set(files) - there) - counts["declined"],
            at_least=0,
            at_most=0,
        ),
        Bar("names that nobody planned", len(there - set(files)), at_most=0),
    ]


def science(directory: Path, files: list[str]) -> list[Bar]:
    """Measure the sums of the long exposures against one frame, and the frames by themselves."""
    sys.path.insert(0, str(WORKFLOW))
    import checks
    import numpy as np
    from tasks import images

    paths = [directory / "store" / name for name in files]
    long = [p for p in paths if "/aligned/" in p.as_posix() and p.exists()]
    bars = []
    for band, noise in BARS.items():
        coadd = directory / "store" / RUN / "coadd" / f"coadd-cafos-{band}-00.fits"
        header = images.read_header(coadd)
        frames = [p for p in long if images.read_header(p)["REFVISIT"] == header["REFVISIT"]]
        judged = document(coadd.parents[1] / "metrics" / f"metrics-cafos-{band}-00.yaml")["metrics"]
        empty = [checks.empty_aperture_ratio(coadd, frame) for frame in frames]
        again = [checks.found_again(coadd, frame) for frame in frames]
        bars += [
            Bar(f"{band}: empty-aperture noise over one frame's, worst", max(empty), at_most=noise),
            Bar(f"{band}: share of one frame's sources in the coadd, worst", min(again), at_least=0.95),
            Bar(
                f"{band}: detections on the negated coadd, share", checks.negative_share(coadd), at_most=0.08
            ),
            Bar(f"{band}: sky ramp before the flat", judged["sky_ramp_before"], at_least=0.12),
            Bar(f"{band}: sky ramp after the flat", judged["sky_ramp"], at_most=0.07),
            Bar(f"{band}: alignment residual, pixels rms, worst frame", judged["alignment_rms"], at_most=0.3),
            Bar(f"{band}: own metrics pass", float(judged["passed"]), at_least=1),
            Bar(
                f"{band}: frames used",
                header["PSTNUSED"],
                at_least=3 if band == "B" else 2,
                at_most=3 if band == "B" else 2,
            ),
            Bar(f"{band}: frames planned", header["PSTNPLAN"], at_least=3, at_most=3),
            Bar(f"{band}: pull of 8x8 blank-sky means (shared flat residuals)", checks.block_pull(coadd)),
        ]
        if band == "V":
            named = f"visit={CLOUDY}" in header.get("PSTAB001", "") and "declined:cloudy" in header.get(
                "PSTAB001", ""
            )
            bars.append(Bar("V: the cloudy frame uamA_0033 is named as absent", float(named), at_least=1))
    measured = [document(p)["metrics"] for p in paths if "/measures/" in p.as_posix()]
    pulls = [m["blank_sky_pull"] for m in measured]
    bars += [
        Bar("blank-sky pull of single frames, least", min(pulls), at_least=0.9, at_most=1.15),
        Bar("blank-sky pull of single frames, largest", max(pulls), at_least=0.9, at_most=1.15),
    ]
    shares = [checks.flat_variance(p, p.parents[2]) for p in paths if "/isr/" in p.as_posix()]
    bars += [
        Bar(
            "VAR over photons + read noise + bias + flat, worst",
            max(shares, key=lambda s: abs(s[0] - 1))[0],
            at_least=0.99,
            at_most=1.01,
        ),
        Bar(
            "share of the flat's own variance in VAR, largest",
            float(np.max([s[1] for s in shares])),
            at_least=0.05,
        ),
    ]
    return bars


def document(path: Path) -> dict[str, Any]:
    """Read a YAML product."""
    import yaml

    read: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return read


if __name__ == "__main__":
    raise SystemExit(main())
