"""Acceptance on Huntsman frames: who comes in, who does not and why; the one science frame among reference stars."""

from __future__ import annotations

import csv
from collections import Counter
from pathlib import Path
from typing import Any

from accepting import asked, do, document, made_again, names, project
from demo import WORKFLOW, Bar, planned

RUN = "ccd_reduction_huntsman"
SCIENCE = 20210118112632228
PRODUCTS = ("bias", "dark", "flat", "isr", "sources", "reference_match", "plot")
REASONS = {"a master calibration": 3, "a table of defects": 1, "reference stars": 1}


def accept(directory: Path, data: Path) -> list[Bar]:
    """Run the campaign in a directory, and give every figure; ``data`` holds ``huntsman``."""
    data = data / "huntsman"
    project(directory, WORKFLOW / "huntsman.yaml")
    taken = asked(directory, "ingest", "--raw", str(data), "--instrument", "huntsman")
    stars = directory / "reference_stars.fits"
    convert(data / "refcat.csv", stars)
    do(directory, "ingest", "--as", "reference_stars", str(stars))
    for word in ("plan", "run", "ingest", "status"):
        do(directory, word)
    files = planned(directory)
    bars = [*came_in(taken), *names(directory, RUN, files), *science(directory / "store" / RUN, files)]
    return [*bars, *made_again(directory, RUN, certified=("bias", "dark", "flat"))]


def convert(source: Path, target: Path) -> None:
    """Turn the reference stars into a FITS table: places, and magnitudes under the name of their band."""
    from astropy.table import Table

    with source.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))

    def numbers(name: str) -> list[float]:
        return [float(row[name] or "nan") for row in rows]

    table = Table({"id": [int(row["object_id"]) for row in rows]})
    table["ra"], table["dec"], table["g"] = numbers("raj2000"), numbers("dej2000"), numbers("g_psf")
    table["ra"].unit = table["dec"].unit = "deg"
    table["g"].unit = "mag"
    table.write(target, overwrite=True)


def came_in(taken: dict[str, Any]) -> list[Bar]:
    """Judge what ``ingest --raw --json`` answered."""
    reasons = Counter(file["reason"] for file in taken["left_out"])
    bars = [
        Bar("raw frames that came in", taken["added"], at_least=5, at_most=5),
        Bar("files that were left out, each with its reason", len(taken["left_out"]), at_least=5, at_most=5),
    ]
    for reason, count in REASONS.items():
        found = sum(number for text, number in reasons.items() if text.startswith(reason))
        bars.append(Bar(f"of them '{reason} …'", found, at_least=count, at_most=count))
    told = [
        pair
        for pair in taken["same_pixels"]
        if "sky_offset_0" in pair["dataset"] and "science_0" in pair["other"]
    ]
    return [
        *bars,
        Bar("files that were refused as bad", len(taken["skipped"]), at_most=0),
        Bar("frames told to have the pixels of another: sky_offset_0", len(told), at_least=1, at_most=1),
    ]


def science(products: Path, files: list[str]) -> list[Bar]:
    """Judge the reduced frame: its noise, its sources, the reference stars in it, its picture."""
    import sys

    sys.path.insert(0, str(WORKFLOW))
    import checks
    import pyarrow.parquet as pq

    from measuring import images, sky

    [frame] = (products / "isr").rglob("*.fits")
    reduced = images.read_image(frame)
    pull = sky.pixel_pull(
        reduced.data - sky.background(reduced.data, reduced.mask), reduced.uncertainty.array, reduced.mask
    )
    [catalogue], [picture] = (products / "sources").rglob("*.parquet"), (products / "plot").rglob("*.png")
    [judged] = (products / "reference_match").rglob("*.yaml")
    found = document(judged)["metrics"]
    made = {name.split("/")[1] for name in files if (products.parent / name).is_file()}
    visits = {path.parent.name for path in (products / "isr").rglob("*.fits")}
    return [
        Bar("kinds of product that were made", len(made & set(PRODUCTS)), at_least=7, at_most=7),
        Bar(
            "reduced visits: the science frame, not the sky beside it",
            len(visits & {str(SCIENCE)}) if len(visits) == 1 else 0,
            at_least=1,
        ),
        Bar("blank-sky pull of the reduced frame", pull, at_least=0.85, at_most=1.15),
        Bar("sources", pq.read_metadata(catalogue).num_rows, at_least=50),
        Bar("reference stars in the frame", found["stars_in_frame"], at_least=15, at_most=15),
        Bar("of them matched within 3 arcsec", found["stars_matched"], at_least=12),
        Bar("their scatter about the common offset, arcsec", found["astrometric_scatter"], at_most=1.26),
        Bar(
            "header with SIP terms that CTYPE does not name, and applied",
            float(found["sip_not_named"]),
            at_least=1,
        ),
        Bar("grey levels of the QA plot", checks.picture_levels(picture), at_least=64),
    ]
