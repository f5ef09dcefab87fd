"""``prestow export``: what is known of a collection as plain tables with checksums, and their verification."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text
from prestow.errors import CODES, Exit, Problem, ProjectError


@click.command(short_help="Write what is known of a collection as tables with checksums.")
@click.option(
    "--collection",
    "collections",
    multiple=True,
    metavar="C",
    help="A run or chain; several.",
    shell_complete=completing.runs,
)
@click.option("--into", metavar="DIR", help="A directory that is not there yet.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["csv", "parquet", "fits", "sqlite"]),
    default="csv",
    show_default=True,
)
@click.option("--obscore", is_flag=True, help="Also a table in the words of ObsCore, as CSV and VOTable.")
@click.option("--verify", metavar="DIR", help="Hold an export against its manifest; no project is needed.")
@shared_options
def export(
    collections: tuple[str, ...],
    into: str | None,
    format_: str,
    obscore: bool,
    verify: str | None,
    output: Output,
    directory: Path,
) -> int:
    """Write the tables files, datasets, quanta, provenance and metrics of C into DIR, and a manifest.

    Whoever loads them elsewhere looks first whether they came whole: prestow export --verify DIR (exit 9).
    """
    if verify is not None:
        return _verify(directory / verify, output)
    if not collections or into is None:
        lacking = "--collection" if not collections else "--into"
        fix = "prestow export --collection C --into DIR, or prestow export --verify DIR"
        raise ProjectError(Problem("PST-G005", f"{lacking} is missing", fix=fix))
    project = open_project(directory)
    found = project.export(collections, os.path.normpath(directory / into), format=format_, obscore=obscore)
    rows = ", ".join(f"{count:,} {table}" for table, count in found.tables.items())
    text = f"wrote {found.directory}: {count_text(len(found.files), 'file')}\n  {rows} of {', '.join(found.runs)}"
    output.answer("export", found.as_dict(), text, following=f"prestow export --verify {shlex.quote(into)}")
    return Exit.OK


def _verify(directory: Path, output: Output) -> int:
    from prestow.results.exporting import verify

    found = verify(directory)
    for problem in found.problems:
        output.note(str(problem))
    whole = "whole" if not found.problems else f"NOT whole: {count_text(len(found.problems), 'problem')}"
    text = f"{found.directory} is {whole}: {count_text(found.files, 'file')}, {count_text(found.rows, 'row')}"
    output.answer("export", found.as_dict(), text)
    return CODES["PST-B009"][1] if found.problems else Exit.OK
