"""``prestow registry``: which database it is, and an old one made today's."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli.group import group_options, open_project, shared_options
from prestow.cli.output import Output
from prestow.errors import Exit

if TYPE_CHECKING:
    from prestow.registry.standing import Standing
    from prestow.registry.upgrading import Upgrade


@click.group(short_help="Look at the registry's database; upgrade an old one.")
@group_options
def registry() -> None:
    """Look at the registry's database, and upgrade one that an older prestow made.

    It is the database at `registry` in prestow.yaml: a file (sqlite:///registry.db), or a schema of a
    PostgreSQL server (postgresql://user@host:port/database).
    """


@registry.command()
@shared_options
def status(output: Output, directory: Path) -> int:
    """Say which database the registry is, its schema version, and how many rows it has."""
    found = open_project(directory).registry_standing()
    following = "prestow find" if found.problem is None else found.problem.fix
    output.answer("registry-status", found.as_dict(), _standing(found), following=following)
    return Exit.OK


@registry.command()
@click.option("-n", "--dry-run", is_flag=True, help="Only say what would be done.")
@shared_options
def upgrade(dry_run: bool, output: Output, directory: Path) -> int:
    """Make an old registry one of today's schema, and of what the universe has gained since.

    All at once or not at all; other commands wait meanwhile. It is never done without being asked for.
    What a step leaves empty it says, with -n beforehand. A registry can always be made again from its
    store: prestow rebuild.
    """
    found = open_project(directory).upgrade_registry(dry_run=dry_run)
    following = "prestow registry upgrade" if dry_run and found.needed else "prestow registry status"
    facts = {**found.as_dict(), "dry_run": dry_run, "upgraded": found.needed and not dry_run}
    output.answer("registry-upgrade", facts, _upgrade(found, dry_run=dry_run), following=following)
    return Exit.OK


def _standing(found: Standing) -> str:
    lines = [
        f"registry {found.where}",
        f"  {found.name}, schema {found.schema}, universe {found.universe}",
        "  " + ", ".join(f"{count:,} {name}" for name, count in found.counts.items() if count),
    ]
    if found.problem is not None:
        lines.append(f"  cannot be used as it is: {found.problem.what}")
    return "\n".join(line for line in lines if line.strip())


def _upgrade(found: Upgrade, *, dry_run: bool) -> str:
    if not found.needed:
        return f"registry {found.where}\n  schema {found.after} is the newest: nothing to do"
    verb = "would become" if dry_run else "is now"
    lines = [f"registry {found.where}", f"  schema {found.before} {verb} schema {found.after}"]
    return "\n".join([*lines, *(f"  {step}" for step in (*found.steps, *found.universe))])
