"""``prestow unflatten``: the tree of a directory of flat names."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import click

from prestow.cli.group import shared_options
from prestow.cli.output import Output, count_text
from prestow.results.unflattening import INDEX, unflatten_into, write_index


@click.command(short_help="Make the tree of a directory of flat names, by links.")
@click.argument("flat", metavar="DIR", type=click.Path(path_type=Path))
@click.option(
    "--into", type=click.Path(path_type=Path), metavar="TREE",
    help="Where the tree is made, a directory that is empty or not there.  [default: DIR.tree]",
)  # fmt: skip
@click.option("--index", is_flag=True, help=f"Make no tree: write {INDEX} in DIR, which maps paths to names.")
@shared_options
def unflatten(flat: Path, into: Path | None, index: bool, output: Output, directory: Path) -> None:
    """Make the tree of DIR, whose files have flat names, by symbolic links: no file is read, no database asked.

    Files whose names are no flat names, and directories, are left alone and told.
    """
    flat = directory / flat
    if index:
        found = write_index(flat)
        text = f"{count_text(len(found.paths), 'path')} in {flat / INDEX}"
        following = f"less {shlex.quote(str(flat / INDEX))}"
    else:
        tree = directory / into if into is not None else flat.with_name(f"{flat.name}.tree")
        found = unflatten_into(flat, tree)
        text = f"{count_text(len(found.paths), 'link')} in {os.path.relpath(tree)}"
        following = f"find {shlex.quote(os.path.relpath(tree))} -type l"
    lines = [text, *(f"    left alone: {name}" for name in found.others)]
    output.answer("unflatten", found.as_dict(), "\n".join(lines), following=following)
