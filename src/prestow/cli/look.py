"""``prestow look``: a quick look at a product."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, table


@click.command(short_help="Look at a product: a picture, the first rows, or the document.")
@click.argument(
    "words", metavar="FILE|DATASET", nargs=-1, required=True, shell_complete=completing.dataset_words
)
@click.option(
    "--into", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.png", help="Write the picture."
)
@click.option(
    "--extension", metavar="NAME", help="Which extension of a FITS file; SCI, else the first plane."
)
@click.option("--rows", type=click.IntRange(1), default=20, metavar="N", help="Rows of a table, at most.")
@click.option(
    "--side", type=click.IntRange(16, 8192), default=1024, metavar="N", help="Pixels of the longer side."
)
@completing.of_run
@shared_options
def look(
    words: tuple[str, ...],
    into: Path | None,
    extension: str | None,
    rows: int,
    side: int,
    run: str | None,
    output: Output,
    directory: Path,
) -> None:
    """Look at a dataset or file: a plane in zscale, the first rows of a table, a document.

    A dataset is a path, an id, type{k=v,…}, or: type k=v …
    """
    project = open_project(directory)
    found = project.look(*words, run=run, extension=extension, rows=rows, side=side)
    if into is not None:
        found.save(into)
    lines = [found.title, *(f"  {note}" for note in found.notes)]
    if found.header:
        lines.append(table(found.header, found.rows, words=len(found.header)))
    if found.document is not None:
        lines.append(found.document_text)
    if into is not None:
        lines.append(f"picture: {into}")
    named = shlex.join([*words, *(["--run", run] if run is not None else [])])
    following = (
        f"prestow look {named} --into look.png" if found.png and into is None else f"prestow trace {named}"
    )
    output.answer(
        "look",
        {**found.as_dict(), "into": None if into is None else str(into)},
        "\n".join(lines),
        following=following,
    )
