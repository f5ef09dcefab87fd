"""``prestow formats``: every file format there is."""

from __future__ import annotations

from pathlib import Path

import click

from prestow.cli.group import shared_options
from prestow.cli.output import Output, table


@click.command(short_help="List the file formats, and where each carries its story.")
@shared_options
def formats(output: Output, directory: Path) -> None:  # noqa: ARG001 - all commands have it
    """List the formats of products: built in, and of installed packages (entry points prestow.formats).

    Every format carries the whole story in the file: type, id, run, data ID, task, recipes, inputs and roots.
    """
    from prestow.formats.listing import STORY, list_formats

    listed = list_formats()
    rows = [
        (
            one.name,
            one.suffix,
            (one.problem and "cannot be opened") or one.carrier,
            ", ".join(word for word, has in (("metrics", one.metrics), ("columns", one.columns)) if has),
            one.module,
        )
        for one in listed
    ]
    text = table(("format", "suffix", "its story", "also", "from"), rows, words=5)
    broken = [f"{one.name}: {one.problem}" for one in listed if one.problem]
    output.answer(
        "formats",
        {
            "formats": [{n: getattr(one, n) for n in one.__dataclass_fields__} for one in listed],
            "story": list(STORY),
        },
        "\n".join([text, *broken]),
        following="prestow check",
    )
