"""``prestow calib``: what is valid when, and since when that is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.group import group_options, open_project, shared_options
from prestow.cli.output import Output, count_text, table
from prestow.errors import Exit

if TYPE_CHECKING:
    import polars as pl

    from prestow.results.calibration_lists import Checked
    from prestow.results.certifying import Certified

SHOWN = 40

_known = click.option(
    "--known-from", default="", metavar="TIME", help="Since when this is known (TAI); now, if not given."
)
_runs = click.option(
    "--run",
    "runs",
    multiple=True,
    metavar="RUN",
    help="Only datasets of this run.",
    shell_complete=completing.runs,
)
_as_of = click.option(
    "--as-of", default="", metavar="TIME", help="As it was known then (TAI); now, if not given."
)


@click.group(short_help="Certify calibrations; list and check what is certified.")
@group_options
def calib() -> None:
    """Certify which datasets are valid when; list and check what is certified.

    Validities are half-open (the end is not in them) and TAI. Times are ISO dates, or dates with a
    time; one with a Z at its end is UTC. What is known is never changed: a later word supersedes.
    """


@calib.command()
@click.argument("collection")
@click.argument(
    "words", metavar="TYPE [k=v]…", nargs=-1, required=True, shell_complete=completing.dataset_words
)
@click.option("--begin", default="", metavar="TIME", help="Valid from then on; always, if not given.")
@click.option("--end", default="", metavar="TIME", help="Not valid from then on; for ever, if not given.")
@_known
@_runs
@click.option(
    "--if",
    "condition",
    default="",
    metavar="SELECTION",
    help='Only those whose measures allow it: "noise < 3".',
)
@shared_options
def certify(
    collection: str,
    words: tuple[str, ...],
    begin: str,
    end: str,
    known_from: str,
    runs: tuple[str, ...],
    condition: str,
    output: Output,
    directory: Path,
) -> int:
    """Certify the datasets of TYPE that have these values as valid from BEGIN to before END.

    It supersedes what COLLECTION, which is made if it is new, held for the same data IDs in that
    time; what was known before stays known as of then. A record of it lies in the store.
    """
    project = open_project(directory)
    kind, values = _asked(words)
    made = project.certify(
        collection, kind, values, begin=begin, end=end, known_from=known_from, runs=runs, condition=condition
    )
    output.answer(
        "calib-certify", made.as_dict(), _certified(made), following=f"prestow calib check {collection}"
    )
    return Exit.OK


@calib.command()
@click.argument("collection")
@click.argument(
    "words", metavar="TYPE [k=v]…", nargs=-1, required=True, shell_complete=completing.dataset_words
)
@_known
@_runs
@shared_options
def decertify(
    collection: str,
    words: tuple[str, ...],
    known_from: str,
    runs: tuple[str, ...],
    output: Output,
    directory: Path,
) -> int:
    """Take back what is certified of the datasets of TYPE that have these values.

    As of earlier moments it stays known. What it had superseded does not come back by itself.
    """
    project = open_project(directory)
    kind, values = _asked(words)
    made = project.decertify(collection, kind, values, known_from=known_from, runs=runs)
    text = f"{count_text(made.count, kind, kind)} no longer certified in {collection}, known since {made.as_dict()['known']}"
    output.answer("calib-decertify", made.as_dict(), text, following=f"prestow calib check {collection}")
    return Exit.OK


@calib.command()
@click.argument("collection")
@click.argument("label")
@_as_of
@shared_options
def tag(collection: str, label: str, as_of: str, output: Output, directory: Path) -> int:
    """Pin what is known of COLLECTION as COLLECTION@LABEL, for prestow plan --input."""
    name = open_project(directory).tag_calibrations(collection, label, as_of)
    output.answer("calib-tag", {"name": name}, f"pinned {name}", following=f"prestow plan --input {name}")
    return Exit.OK


@calib.command(name="list")
@click.argument("collection", required=False)
@click.option("--type", "types", multiple=True, metavar="TYPE", help="Only of this dataset type.")
@_as_of
@shared_options
def list_(collection: str | None, types: tuple[str, ...], as_of: str, output: Output, directory: Path) -> int:
    """List what is certified, of all calibration collections or of one (also pinned)."""
    found = open_project(directory).calibrations([collection] if collection else [], types, as_of)
    rows = found.as_dict()["calibrations"] if output.json else []
    lines = [
        f"{count_text(found.frame.height, 'validity', 'validities')}{f' as of {as_of}' if as_of else ''}"
    ]
    if found.frame.height:
        lines.append(_rows(found.frame.head(SHOWN)))
    if found.frame.height > SHOWN:
        lines.append(f"  and {found.frame.height - SHOWN:,} more")
    facts = {"count": found.frame.height, "calibrations": rows, "as_of": as_of or None}
    following = (
        "prestow calib check" if found.frame.height else "prestow calib certify COLLECTION TYPE --begin TIME"
    )
    output.answer("calib-list", facts, "\n".join(lines), following=following)
    return Exit.OK


@calib.command()
@click.argument("collection", required=False)
@_as_of
@shared_options
def check(collection: str | None, as_of: str, output: Output, directory: Path) -> int:
    """Find gaps and overlaps of what is certified, by type and data ID; exit 4 if anything overlaps.

    A gap is told where there are observations on both sides or in it, with how many it hits.
    """
    found = open_project(directory).check_calibrations([collection] if collection else [], as_of)
    facts = {**found.as_dict(), "as_of": as_of or None}
    bad = found.overlaps.height > 0
    following = (
        f"prestow calib list{f' {collection}' if collection else ''}"
        if bad or found.gaps.height
        else "prestow plan"
    )
    output.answer("calib-check", facts, _checked(found), following=following)
    return Exit.REFUSED if bad else Exit.OK


def _asked(words: tuple[str, ...]) -> tuple[str, tuple[tuple[str, str], ...]]:
    from prestow.results.naming_words import parse_pairs

    return words[0], parse_pairs(words[1:])


def _certified(made: Certified) -> str:
    facts = made.as_dict()
    lines = [
        (
            f"{count_text(made.count, made.type, made.type)} certified in {made.collection}: valid {facts['valid']} TAI, "
            f"known since {facts['known']}"
        )
    ]
    if made.already:
        lines.append(f"  {made.already:,} were so already")
    if made.refused:
        lines.append(
            f"  not certified for their measures: {made.refused:,}, such as {', '.join(made.examples)}"
        )
    return "\n".join(lines)


def _rows(frame: pl.DataFrame) -> str:
    from prestow.model.instants import instant_text, interval_text

    rows = [
        (r["type"], r["data_id"], interval_text(r["valid_begin"], r["valid_end"]), instant_text(r["known_begin"]), r["collection"],
         r["path"])
        for r in frame.iter_rows(named=True)
    ]  # fmt: skip
    header = ("type", "data ID", "valid (TAI)", "known since", "collection", "path")
    return table(header, rows, words=len(header))


def _checked(found: Checked) -> str:
    from prestow.model.instants import interval_text

    where = ", ".join(found.collections) or "no calibration collection"
    lines = [
        (
            f"{where}: {count_text(found.validities, 'validity', 'validities')} of {count_text(len(found.types), 'type')}: "
            f"{count_text(found.overlaps.height, 'overlap')}, {count_text(found.gaps.height, 'gap')}"
        )
    ]
    for name, frame in (("overlap", found.overlaps), ("gap", found.gaps)):
        for row in frame.head(SHOWN).iter_rows(named=True):
            several = f"{row['datasets']} datasets, " if name == "overlap" else ""
            lines.append(
                f"  {name}  {row['type']}{{{row['data_id']}}} {interval_text(row['begin'], row['end'])}  "
                f"{several}{count_text(row['observations'], 'observation')}"
            )
        if frame.height > SHOWN:
            lines.append(f"  and {count_text(frame.height - SHOWN, f'more {name}')}")
    return "\n".join(lines)
