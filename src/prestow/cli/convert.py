"""``prestow convert``: one product in another format."""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, size_text


@click.command(short_help="Write one product in another format, if it can be the same.")
@click.argument(
    "words", metavar="FILE|DATASET", nargs=-1, required=True, shell_complete=completing.dataset_words
)
@click.option(
    "--to", "to", required=True, metavar="FORMAT", help="The format that it gets: fits, parquet, json, yaml."
)
@click.option(
    "--into", required=True, type=click.Path(path_type=Path), metavar="PATH",
    help="A new file; or a directory, where it keeps its name.",
)  # fmt: skip
@completing.of_run
@shared_options
def convert(
    words: tuple[str, ...], to: str, into: Path, run: str | None, output: Output, directory: Path
) -> None:
    """Convert a dataset or file: tables among each other (FITS, Parquet), documents (JSON, YAML).

    What is written is read again and compared; what would not be the same is refused. The copy carries
    the story of its source, and says that it is a copy. It is not registered.

    A dataset is a path, an id, type{k=v,…}, or: type k=v …
    """
    project = open_project(directory)
    found = project.convert(*words, to=to, into=into, run=run)
    lines = [
        f"{found.source} ({found.formats[0]}) as {found.into} ({found.formats[1]}, {size_text(found.size)}): equal in data"
    ]
    if found.story:
        lines.append(
            "  it carries the story of its source, and says that it is a converted copy; it is not registered"
        )
    else:
        lines.append("  the source carries no story, so the copy has none; it is not registered")
    lines += [f"  left behind: {text}" for text in found.left]
    following = f"prestow compare {shlex.quote(found.source)} {shlex.quote(found.into)}"
    output.answer("convert", found.as_dict(), "\n".join(lines), following=following)
