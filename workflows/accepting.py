"""What the acceptance of every campaign needs: a project, its commands, the names it planned, its documents."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

from demo import PROJECT, Bar, prestow, quiet
from prestow.errors import Exit


class CommandFailedError(Exception):
    """A command of a campaign ended with an exit code that it should not have."""


def project(directory: Path, pipeline: Path) -> None:
    """Write the project file of a campaign."""
    name = json.dumps(os.path.relpath(pipeline, directory), ensure_ascii=False)
    (directory / "prestow.yaml").write_text(PROJECT.format(pipeline=name), encoding="utf-8")


def do(directory: Path, *words: str, fine: tuple[int, ...] = (Exit.OK,)) -> None:
    """Run one command and show it; it must end with one of these exit codes."""
    if (code := prestow(directory, *words)) not in fine:
        raise CommandFailedError(f"prestow {' '.join(words)}: exit code {code}")


def asked(
    directory: Path, *words: str, fine: tuple[int, ...] = (Exit.OK,)
) -> dict[str, Any]:  # Any: JSON values
    """Give what a command answers with ``--json``; it must end with one of these exit codes."""
    answer = subprocess.run(
        [sys.executable, "-m", "prestow", *words, "--json"],
        cwd=directory,
        check=False,
        capture_output=True,
        text=True,
        env=quiet(),
    )
    if answer.returncode not in fine:
        raise CommandFailedError(f"prestow {' '.join(words)}: exit code {answer.returncode}: {answer.stderr}")
    read: dict[str, Any] = json.loads(answer.stdout)
    return read


def names(directory: Path, run: str, files: list[str], *, declined: int = 0, reason: str = "") -> list[Bar]:
    """Compare the names that were planned with those that are there: what was declined has none.

    So many quanta decline, for that reason.
    """
    root = directory / "store"
    there = {p.relative_to(root).as_posix() for p in (root / run).rglob("*") if p.is_file()}
    counts = asked(directory, "status")["counts"]
    return [
        Bar(
            "quanta that are neither made nor declined",
            sum(counts.values()) - counts["made"] - counts["declined"],
            at_most=0,
        ),
        Bar(f"declined quanta{reason}", counts["declined"], at_least=declined, at_most=declined),
        Bar(
            "planned names that are missing beyond those",
            len(set(files) - there) - counts["declined"],
            at_least=0,
            at_most=0,
        ),
        Bar("names that nobody planned", len(there - set(files)), at_most=0),
    ]


def made_again(directory: Path, run: str, *, certified: tuple[str, ...] = ()) -> list[Bar]:
    """Delete the registry and make it again from the files, once more when a third of the products is gone.

    Before that types are certified and pinned, a product is tainted, and the run is frozen: all of it is in records.
    """
    for kind in certified:
        do(directory, "calib", "certify", "checked", kind)
    if certified:
        do(directory, "calib", "tag", "checked", "first")
    products = sorted(p for p in (directory / "store" / run).rglob("*") if p.is_file())
    do(directory, "taint", str(products[0]), "--because", "looked at by eye")
    do(directory, "freeze", run)
    registry, before = directory / "registry.db", directory / "before.db"
    registry.rename(before)
    compare = ("rebuild", "--compare", before.name)
    whole = asked(directory, *compare, fine=(Exit.OK, Exit.DIFFERENT))
    random.Random(1).shuffle(products)
    for path in products[: max(1, len(products) // 3)]:
        path.unlink()
    registry.unlink()
    lost = asked(directory, *compare, fine=(Exit.OK, Exit.DIFFERENT))
    return [
        Bar(
            "tables that a registry made again from the files differs in",
            len(whole["differences"]),
            at_most=0,
        ),
        Bar("of a third of the products deleted: tables that differ", len(lost["differences"]), at_most=0),
    ]


def document(path: Path) -> dict[str, Any]:
    """Read a YAML product."""
    import yaml

    read: dict[str, Any] = yaml.safe_load(path.read_text(encoding="utf-8"))
    return read
