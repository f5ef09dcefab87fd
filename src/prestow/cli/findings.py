"""``prestow findings``: what disagrees, with both sides, and what a person says about it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prestow.cli import completing
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, count_text
from prestow.errors import Exit, Problem, ProjectError

if TYPE_CHECKING:
    from prestow.registry.findings import Finding

ADVICE = {
    "irreproducible": "the committed one stays; look for a seed, a clock or an order that the task depends on, "
    "or make it again in a child run (prestow plan --child-of {run})",
    "contradictory": "nothing was changed; find out who wrote the other, and move it away or make it again in a child run",
}


@click.command(short_help="List what disagrees, and settle what a person has looked at.")
@click.argument("run", metavar="[RUN]", required=False, shell_complete=completing.runs)
@click.option(
    "--settle", "key", metavar="KEY", help="Note that a person has looked at this one; it counts no more."
)
@click.option("--because", metavar="TEXT", help="With --settle: why it counts no more. It stays on record.")
@click.option("--all", "every", is_flag=True, help="Also those that were settled.")
@shared_options
def findings(
    run: str | None, key: str | None, because: str | None, every: bool, output: Output, directory: Path
) -> int:
    """List findings, of RUN or of all runs: where committed facts disagree, or an attempt made other content.

    Each says what disagrees, with both sides and their paths. What a person has settled (--settle KEY --because TEXT)
    counts no more against the account. Exit 9 while one is open.
    """
    project = open_project(directory)
    if (key is None) != (because is None):
        what = "--settle and --because go together"
        raise ProjectError(Problem("PST-G005", what, fix='prestow findings --settle KEY --because "why"'))
    if key is not None and because is not None:
        one = project.settle_finding(key, because)
        told: dict[str, Any] = {"settled": _facts(one)}  # Any: JSON values
        output.answer("findings", told, f"settled {one.key}: {because}", following="prestow findings")
        return Exit.OK
    found = [one for one in project.findings(run) if every or one.open]
    still = [one for one in found if one.open]
    lines = [count_text(len(still), "open finding")]
    for one in found:
        lines += _lines(one)
    following = f'prestow findings --settle {still[0].key} --because "why"' if still else "prestow status"
    facts = {"run": run, "open": len(still), "findings": [_facts(one) for one in found]}
    output.answer("findings", facts, "\n".join(lines), following=following)
    return Exit.ACCOUNT if still else Exit.OK


def _facts(one: Finding) -> dict[str, Any]:  # Any: JSON values
    return {
        "key": one.key,
        "kind": one.kind,
        "open": one.open,
        "because": one.because,
        "facts": dict(one.facts),
    }


def _lines(one: Finding) -> Iterator[str]:
    yield f"{one.key}" + ("" if one.open else f"   settled: {one.because}")
    facts = one.facts
    if one.kind == "irreproducible":
        values = ", ".join(f"{name}={value}" for name, value in dict(facts.get("data_id", {})).items())
        yield f"  {facts.get('task')}({values}), run {one.run}: attempts made different content"
        for side in ("committed", "attempt"):
            told = dict(facts.get(side, {}))
            yield f"    {side}: {told.get('state')} by {told.get('attempt')} (job {told.get('job')})"
        for output in facts.get("outputs", ()):
            yield f"    {output['path']}: {_side(output['committed'])} committed, {_side(output['attempt'])} made again"
    else:
        yield f"  {facts.get('where')}: {facts.get('what')}"
    if one.open:
        yield f"  {ADVICE.get(one.kind, 'look at both sides').format(run=one.run)}"


def _side(side: dict[str, Any]) -> str:  # Any: JSON values
    if side.get("sha256") is None:
        return str(side.get("state"))
    return f"sha256 {str(side['sha256'])[:12]}, {json.dumps(side.get('size'))} B"
