"""``prestow overlap``: what lies on a patch, and which patches a visit lies on."""

from __future__ import annotations

from pathlib import Path

import click

from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, table

SHOWN = 40


@click.command(short_help="List what lies on a patch, or the patches of a visit.")
@click.option("--skymap", metavar="NAME", help="On this sky map; the only one, if not given.")
@click.option("--tract", type=int, metavar="TRACT", help="What lies on this tract …")
@click.option("--patch", metavar="X,Y", help="… and on this patch of it (x,y or its number).")
@click.option("--visit", type=int, metavar="VISIT", help="The patches that this visit lies on …")
@click.option("--detector", type=int, metavar="DETECTOR", help="… with this detector.")
@click.option("--instrument", metavar="NAME", help="With --visit: of this instrument.")
@click.option("--band", metavar="BAND", help="Only visits in this band.")
@click.option(
    "--padding",
    default="0 deg",
    show_default=True,
    metavar="ANGLE",
    help='So far apart they may lie: "30 arcsec".',
)
@shared_options
def overlap(
    skymap: str | None,
    tract: int | None,
    patch: str | None,
    visit: int | None,
    detector: int | None,
    instrument: str | None,
    band: str | None,
    padding: str,
    output: Output,
    directory: Path,
) -> None:
    """List what was observed on a tract or patch, or the tracts and patches that a visit lies on.

    Both ask one table, so each is the other's inverse. Footprints that are new are looked at first.
    """
    found = open_project(directory).overlap(
        skymap=skymap, tract=tract, patch=patch, visit=visit, detector=detector, instrument=instrument, band=band,
        padding=padding,
    )  # fmt: skip
    rows = found.frame.to_dicts()
    for row in rows:
        row["patch_xy"] = found.skymap.patch_text(row["patch"])
    facts = {
        "skymap": found.skymap.name,
        "overlaps": rows,
        "visits": found.visits(),
        "patches": found.patches(),
    }
    visits, patches = count_text(found.visits(), "visit"), count_text(found.patches(), "patch", "patches")
    text = f"{visits} on {patches} of sky map {found.skymap.name}"
    if rows:
        header = (
            "instrument",
            "band",
            "visit",
            "detector",
            "tract",
            "patch",
            "x,y",
            "separation (arcsec)",
            "raws",
        )
        shown = [
            (
                r["instrument"], r["band"], r["visit"], r["detector"], r["tract"], r["patch"], r["patch_xy"],
                f"{r['separation'] * 3600:.1f}", r["exposures"],
            )
            for r in rows[:SHOWN]
        ]  # fmt: skip
        text += "\n" + table(header, shown, words=2)
    if len(rows) > SHOWN:
        text += f"\n  and {len(rows) - SHOWN:,} more (--json gives all)"
    if rows and tract is not None:
        following = f"prestow overlap --visit {rows[0]['visit']}"
    elif rows:
        following = f"prestow overlap --tract {rows[0]['tract']} --patch {rows[0]['patch_xy']}"
    else:
        following = "prestow skymap show"
    output.answer("overlap", facts, text, following=following)
