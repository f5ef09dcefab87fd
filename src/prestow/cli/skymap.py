"""``prestow skymap``: sky maps, registered, shown, and related with what was observed."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prestow.cli.group import group_options, open_project, shared_options
from prestow.cli.output import Output, count_text, is_terminal, table

if TYPE_CHECKING:
    from prestow.sky.skymap import SkyMap


@click.group(short_help="Register sky maps; relate what was observed with tracts and patches.")
@group_options
def skymap() -> None:
    """Register sky maps, show them, and compute which detectors lie on which patches.

    A sky map is a YAML file; once registered it never changes, for what was made on it stays on it.
    """


@skymap.command()
@click.argument("file", type=click.Path())
@shared_options
def register(file: str, output: Output, directory: Path) -> None:
    """Check the sky map of FILE, also for holes, and make its tracts and patches known."""
    found, new = open_project(directory).register_skymap(file)
    text = f"{'registered' if new else 'there already:'} sky map {_line(found)}"
    output.answer(
        "skymap-register",
        {**_facts(found), "new": new},
        text,
        following=f"prestow skymap relate {found.name}",
    )


@skymap.command()
@click.argument("name", required=False)
@shared_options
def show(name: str | None, output: Output, directory: Path) -> None:
    """Show the registered sky maps, or the one of that NAME."""
    from prestow.results.overlapping import the_skymap
    from prestow.sky.angles import angle_text

    project = open_project(directory)
    maps = project.skymaps() if name is None else (the_skymap(project.registry, name),)
    header = ("sky map", "version", "tracts", "patches of each", "patch", "border", "padding")
    rows = [
        (
            m.name, m.version, len(m.tracts), f"{m.columns} x {m.rows}", " x ".join(angle_text(size) for size in m.inner),
            angle_text(m.border), angle_text(m.padding),
        )
        for m in maps
    ]  # fmt: skip
    text = table(header, rows) if rows else "no sky map is registered"
    following = "prestow skymap relate" if rows else "prestow skymap register FILE"
    output.answer("skymap-show", {"skymaps": [_facts(m) for m in maps]}, text, following=following)


@skymap.command()
@click.argument("name", required=False)
@shared_options
def relate(name: str | None, output: Output, directory: Path) -> None:
    """Compute what the footprints that are new lie on: patches of the sky map NAME, or of all, and shards.

    Interrupted, the same command goes on. Planning does the same where a task needs it.
    """

    def progress(done: int, total: int) -> None:
        sys.stderr.write(f"\r  {done:,} of {total:,} detectors of visits" + ("\n" if done == total else ""))
        sys.stderr.flush()

    shown = progress if output.verbosity >= 0 and is_terminal(sys.stderr) else None
    found = open_project(directory).relate(name, progress=shown)
    rows = [(target, r.footprints, r.computed, r.rows) for target, r in found.items()]
    text = table(("with", "footprints", "detectors of visits computed", "overlaps found"), rows)
    facts: dict[str, Any] = {
        target: {"footprints": r.footprints, "computed": r.computed, "overlaps": r.rows}
        for target, r in found.items()
    }  # Any: JSON values
    output.answer("skymap-relate", {"related": facts}, text, following="prestow overlap --tract 0")


def _line(found: SkyMap) -> str:
    tracts = count_text(len(found.tracts), "tract")
    return f"{found.name} version {found.version}: {tracts} of {found.columns} x {found.rows} patches"


def _facts(found: SkyMap) -> dict[str, object]:
    return {
        "name": found.name, "version": found.version, "digest": found.digest, "tracts": len(found.tracts),
        "columns": found.columns, "rows": found.rows, "inner_deg": list(found.inner), "border_deg": found.border,
        "padding_deg": found.padding,
    }  # fmt: skip
