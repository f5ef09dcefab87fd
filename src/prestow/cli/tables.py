"""``prestow tables``: all catalogues of a dataset type in one table."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, is_terminal


@click.command(short_help="Put all catalogues of a type into one table.")
@click.option(
    "--type",
    "type_",
    required=True,
    metavar="TYPE",
    help="The dataset type.",
    shell_complete=completing.dataset_types,
)
@click.option(
    "--collection",
    metavar="C",
    help="Of this run or chain; of all runs, if not given.",
    shell_complete=completing.runs,
)
@click.option(
    "--into",
    required=True,
    metavar="FILE|DIR|URL",
    help="FILE.parquet, FILE.csv, a directory, sqlite:///… or postgresql://…",
)
@click.option("--columns", metavar="A,B,...", help="Only these columns of the catalogues.")
@click.option("--where", default="", metavar="SELECTION", help="Only these datasets.")
@click.option(
    "--partition", metavar="DIMENSION", help="A file for each value, such as tract, in the directory --into."
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["parquet", "csv"]),
    help="Of files; by the name of --into, else parquet.",
)
@shared_options
def tables(
    type_: str,
    collection: str | None,
    into: str,
    columns: str | None,
    where: str,
    partition: str | None,
    format_: str | None,
    output: Output,
    directory: Path,
) -> None:
    """Put the rows of all catalogues of TYPE into one table: the dataset and data ID of each, then its columns.

    Rows stand in the order of data IDs, and memory does not grow with them. The same again adds what is new
    to a database, and leaves files alone that are whole.
    """
    project = open_project(directory)
    shown = output.verbosity >= 0 and is_terminal(sys.stderr)

    def progress(done: int, total: int) -> None:
        click.echo(
            f"\r  {done:,} of {total:,} catalogues" + ("\n" if done == total else ""), nl=False, err=True
        )

    found = project.tables(
        type_,
        into if "://" in into else str(directory / into),
        collection=collection or "",
        columns=[name.strip() for name in columns.split(",")] if columns else (),
        where=where,
        partition=partition or "",
        format=format_ or "",
        progress=progress if shown else None,
    )
    places = found.places[0] if len(found.places) == 1 else count_text(len(found.places), "file")
    lines = [
        (
            f"{places}: {count_text(found.rows, 'row')} of {count_text(found.datasets, type_, type_)}, "
            f"{count_text(len(found.columns), 'column')}"
        )
    ]
    if found.added < found.datasets:
        lines.append(f"  there already: {count_text(found.datasets - found.added, 'dataset')}")
    lines += [f"  {note}" for note in found.notes]
    output.answer(
        "tables", {"type": type_, **found.as_dict()}, "\n".join(lines), following=f"prestow find {type_}"
    )
