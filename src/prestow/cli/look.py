"""``prestow look``: a quick look at a product."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text, table

if TYPE_CHECKING:
    from prestow.results.contact_sheet import Sheet


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
@click.option(
    "--png",
    "sheet",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.png",
    help="A contact sheet of all that is named, side by side, into this file.",
)
@click.option(
    "--header", "keys", default="", metavar="KEY,…", help="Of a contact sheet: header keywords for its table."
)
@click.option(
    "--stretch",
    type=click.Choice(("common", "each")),
    default="common",
    help="Of a contact sheet: one zscale for all planes (the default), or one for each.",
)
@click.option(
    "--columns", type=click.IntRange(1, 100), metavar="N", help="Of a contact sheet: tiles side by side."
)
@click.option(
    "--size",
    type=click.IntRange(32, 4096),
    default=256,
    metavar="N",
    help="Of a contact sheet: pixels of a tile's longer side; 256, if not given.",
)
@completing.of_run
@shared_options
def look(
    words: tuple[str, ...],
    into: Path | None,
    extension: str | None,
    rows: int,
    side: int,
    sheet: Path | None,
    keys: str,
    stretch: str,
    columns: int | None,
    size: int,
    run: str | None,
    output: Output,
    directory: Path,
) -> None:
    """Look at a dataset or file: a plane in zscale, the first rows of a table, a document.

    A dataset is a path, an id, type{k=v,…}, or: type k=v … With --png there may be several, and part of a data ID
    stands for all that have it.
    """
    project = open_project(directory)
    if sheet is not None:
        asked = [key.strip() for key in keys.split(",") if key.strip()]
        made = project.contact_sheet(
            *words, run=run, keys=asked, extension=extension, stretch=stretch, columns=columns, size=size
        )
        from prestow.results.looking import save_png

        save_png(made.png, sheet)
        _tell(made, sheet, output)
        return
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


def _tell(made: Sheet, path: Path, output: Output) -> None:
    header = ("", "dataset", *made.keys)
    lines = [
        f"{count_text(len(made.tiles), 'tile')}, {made.stretch}",
        table(header, made.rows, indent="  ", words=2),
        *(f"  {tile.label}: {tile.text}" for tile in made.tiles if tile.pixels is None),
    ]
    lines += [f"stands out: {tile.label}  {'  '.join(map(str, tile.stands))}" for tile in made.odd]
    lines.append(f"picture: {path}")
    following = (
        f"prestow taint {shlex.quote(made.odd[0].label)} --because TEXT"
        if made.odd
        else "prestow trace DATASET"
    )
    output.answer("look", {**made.as_dict(), "picture": str(path)}, "\n".join(lines), following=following)
