"""``prestow check``: every file a person wrote, all errors at once."""

from __future__ import annotations

import json
from pathlib import Path

import click

from prestow.cli.chosen import with_config
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, table


@click.command(short_help="Check every file a person wrote; all errors at once.")
@click.option(
    "--set", "overrides", multiple=True, metavar="TASK.KEY=VALUE", help="Check with this configuration value."
)
@click.option(
    "--config", type=click.Path(), metavar="FILE", help="Check with the configuration of this file."
)
@click.option("--values", is_flag=True, help="Show every configuration value, and where it is from.")
@click.option(
    "--strict",
    is_flag=True,
    help="Run each pre-flight hook twice; one that reads a file or the clock is wrong.",
)
@click.option(
    "--site",
    "sites",
    multiple=True,
    type=click.Path(),
    metavar="FILE",
    help="Check this site file, too, and whether its stores are there. May be given again.",
)
@shared_options
def check(
    overrides: tuple[str, ...],
    config: str | None,
    values: bool,
    strict: bool,
    sites: tuple[str, ...],
    output: Output,
    directory: Path,
) -> None:
    """Check the project file, the universe, the pipeline with its tasks, and the instruments."""
    project = open_project(directory)
    report = project.check(overrides=with_config(config, overrides), strict=strict)
    places = project.check_sites(sites, report.tasks)
    shown = [(f"{task}.{key}", json.dumps(value), origin) for task, key, value, origin in report.values]
    output.answer(
        "check",
        {
            "strict": strict,
            "files": list(report.files),
            "tasks": list(report.tasks),
            "dataset_types": list(report.dataset_types),
            "flat": list(report.flat),
            "values": [
                {"task": task, "key": key, "value": value, "origin": origin}
                for task, key, value, origin in report.values
            ],
            "sites": [
                {
                    "file": place.file,
                    "name": place.name,
                    "engine": place.engine,
                    "stores": [{"name": n, "uri": uri, "state": state} for n, uri, state in place.stores],
                    "facts": list(place.facts),
                }
                for place in places
            ],
        },
        f"ok: {', '.join(report.files)}   "
        f"({count_text(len(report.tasks), 'task')}, {count_text(len(report.dataset_types), 'dataset type')})"
        + "".join(f"\n  {line}" for line in report.flat if output.verbosity > 0)
        + "".join(
            f"\nsite {place.name} for {place.engine}: "
            + "; ".join(place.facts)
            + "".join(f"\n  {name}: {uri} ({state})" for name, uri, state in place.stores)
            for place in places
        )
        + (f"\n{table(('value', 'is', 'from'), shown, words=3)}" if values and shown else ""),
        following="prestow plan",
    )
