"""``prestow id``: the normal form of a data ID, and where each value came from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, table

if TYPE_CHECKING:
    from prestow.project import Project
    from prestow.results.identifying import Identified


@click.command(short_help="Show the normal form of a data ID, and where each value came from.")
@click.argument("words", metavar="k=v…", nargs=-1, required=True, shell_complete=completing.pairs)
@click.option(
    "--type",
    "dataset_type",
    metavar="TYPE",
    help="For a data ID of this dataset type.",
    shell_complete=completing.dataset_types,
)
@click.option("--explain", is_flag=True, help="Print each rule that fired, in order.")
@shared_options
def id(  # noqa: A001 - the command's name
    words: tuple[str, ...], dataset_type: str | None, explain: bool, output: Output, directory: Path
) -> None:
    """Show the normal form of the data ID k=v…, and where each of its values came from.

    Values are given (perhaps under an alias, or as text that is an integer), are the only ones
    there are, or are looked up in the records of the registry.
    """
    from prestow.results.naming_words import parse_pairs

    project = open_project(directory)
    found = project.identify(parse_pairs(words), dataset_type)
    output.answer("id", found.as_dict(), _text(found, explain=explain), following=_following(found, project))


def _text(found: Identified, *, explain: bool) -> str:
    lines = [str(found)]
    if explain:
        lines += [f"  {i}. {step}" for i, step in enumerate(found.steps, 1)]
    lines.append(
        table(
            ("dimension", "value", "origin", "from"),
            [
                (v.name, v.value, v.origin, v.detail)
                for v in sorted(found.values, key=lambda v: v.name not in found.data_id)
            ],
            words=4,
        )
    )
    implied = [v.name for v in found.values if v.name not in found.data_id]
    if implied:
        lines.append(f"  not part of it, but known: {', '.join(implied)}")
    if found.missing:
        lines.append(f"  no value for {', '.join(found.missing)}: this is part of a data ID")
    return "\n".join(lines)


def _following(found: Identified, project: Project) -> str:
    words = " ".join(
        f"{name}='{value}'" if isinstance(value, str) and not value.isalnum() else f"{name}={value}"
        for name, value in found.data_id.items()
    )
    fitting = [
        kind for kind in project.sources().types().values() if set(found.data_id) <= set(kind.dimensions)
    ]  # one that every value is of, and little else
    nearest = min(fitting, key=lambda kind: (len(kind.dimensions), kind.name), default=None)
    return f"prestow find {found.type or (nearest.name if nearest else 'TYPE')} {words}"
