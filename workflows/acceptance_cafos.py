"""Acceptance on CAFOS frames of NGC 2420: the campaign, its control without the flat, and their figures."""

from __future__ import annotations

import sys
from pathlib import Path

from accepting import do, document, names, project
from demo import WORKFLOW, Bar, planned
from prestow.errors import Exit

RUN = "ccd_reduction_cafos"
CONTROL = "control"
CLOUDY = 20210328232524
BARS = {"B": 0.85, "V": 0.90}


def accept(directory: Path, data: Path) -> list[Bar]:
    """Run the campaign and its control in a directory, and give every figure; ``data`` holds ``uam-ngc2420``."""
    data = data / "uam-ngc2420"
    project(directory, WORKFLOW / "cafos.yaml")
    do(directory, "ingest", "--raw", str(data), "--instrument", "cafos")
    for word in ("plan", "run", "ingest", "status"):
        do(directory, word)
    files = planned(directory)
    bars = [
        *names(directory, RUN, files, declined=1, reason=": the cloudy frame"),
        *science(directory, files),
        *looks(directory),
    ]
    do(directory, "plan", "--run", CONTROL, "--set", "isr.apply_flat=false")
    # the control needs the long exposures only: what --only leaves out stays pending, which is an exit code too
    do(directory, "run", "--only", "metrics", fine=(Exit.OK, Exit.STOPPED))
    for band in BARS:
        judged = document(directory / "store" / CONTROL / "metrics" / f"metrics-cafos-{band}-00.yaml")
        passed = float(judged["metrics"]["passed"])
        bars.append(Bar(f"control, flat off: own metrics of {band} pass", passed, at_most=0))
    return bars


def science(directory: Path, files: list[str]) -> list[Bar]:
    """Measure the sums of the long exposures against one frame, and the frames by themselves."""
    sys.path.insert(0, str(WORKFLOW))
    import checks
    import numpy as np

    from measuring import images

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


def looks(directory: Path) -> list[Bar]:
    """Look at the source catalogues and QA plots of the coadds."""
    import checks
    import numpy as np
    import pyarrow.parquet as pq

    bars = []
    for band in BARS:
        products = directory / "store" / RUN
        rows = pq.read_table(products / "sources" / f"sources-cafos-{band}-00.parquet")
        sure = np.asarray(rows["flux_r5"]) > 5 * np.asarray(rows["flux_r5_err"])
        bars += [
            Bar(
                f"{band}: sources of the coadd, above 5 sigma within 5 pixels", int(sure.sum()), at_least=200
            ),
            Bar(f"{band}: share of the catalogue that is so", float(sure.mean()), at_least=0.95),
            Bar(
                f"{band}: grey levels of the QA plot",
                checks.picture_levels(products / "plot" / f"plot-cafos-{band}-00.png"),
                at_least=64,
            ),
        ]
    return bars
