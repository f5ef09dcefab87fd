"""``prestow ingest``: raw files by their headers, foreign files as a dataset, a run's outputs by their receipts."""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prestow.cli.group import open_project, shared_options
from prestow.cli.ingest_adopt import ingest_adopted, looked_after
from prestow.cli.output import Doing, Output, count_text, is_terminal, size_text
from prestow.errors import CODES, Exit, Problem, ProjectError
from prestow.ingest.levels import Checking, Level

if TYPE_CHECKING:
    from prestow.ingest.landing import Landed

SHOWN = 5
LATER = ("PST-I040", "PST-I043")
"""What is missing of a landing may come yet: no error of who takes in while jobs run."""


@click.command(short_help="Take in raw files, other files, or the outputs of a run.")
@click.argument("words", metavar="[FILES... | FILES... K=V... | PLAN]", nargs=-1, type=click.Path())
@click.option("--raw", is_flag=True, help="Take in raw FILES (or directories of them) by their headers.")
@click.option("--instrument", metavar="NAME", help="With --raw: whose files they are.")
@click.option(
    "--transfer",
    type=click.Choice(["copy", "link", "in-place"]),
    default="copy",
    show_default=True,
    help="With --raw or --as: how.",
)
@click.option("--skip-bad", is_flag=True, help="With --raw: take the good files, name the others.")
@click.option(
    "--as", "type_", metavar="TYPE", help="Take in FILES as a dataset of this type, with data ID K=V..."
)
@click.option(
    "--format", "format_", metavar="FORMAT", help="With --as: of the file; by its name, if not given."
)
@click.option("--run", "run_", metavar="RUN", help="The outputs of this run, instead of the newest plan's.")
@click.option(
    "--level",
    metavar="LEVEL",
    default="receipt",
    show_default=True,
    shell_complete=lambda *_: ["receipt", "sample:5%", "full"],
    help="What is checked: sizes and stories against receipts, a sample:5% in full, or full: every byte.",
)
@click.option("--reverify", is_flag=True, help="Check also what was taken in before.")
@click.option(
    "--processes", type=click.IntRange(1), metavar="N", help="How many verify files; one for each processor."
)
@click.option("--shard", metavar="I/N", help="Only this of N parts, 0 to N-1: for several ingesters at once.")
@click.option("--follow", is_flag=True, help="Take in while the jobs run, until the run is over, or Ctrl-C.")
@click.option(
    "--until-idle",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="With --follow: end when nothing new came for so long.",
)
@click.option(
    "--adopt",
    is_flag=True,
    help="Give receipts to files that have only their stories: of a RUN, or in a DIR.",
)
@click.option(
    "--from", "--from-files", "from_", metavar="DIR", type=click.Path(), help="Adopt the files in DIR."
)
@click.option(
    "-n",
    "--dry-run",
    is_flag=True,
    help="With --adopt or --from: only list what would be adopted, and what not.",
)
@click.option(
    "--events",
    "events_",
    metavar="FILE",
    type=click.Path(),
    help="Then append a line for each new dataset to FILE.",
)
@shared_options
def ingest(
    words: tuple[str, ...],
    raw: bool,
    instrument: str | None,
    transfer: str,
    skip_bad: bool,
    type_: str | None,
    format_: str | None,
    run_: str | None,
    level: str,
    reverify: bool,
    processes: int | None,
    shard: str | None,
    follow: bool,
    until_idle: float | None,
    adopt: bool,
    from_: str | None,
    dry_run: bool,
    events_: str | None,
    output: Output,
    directory: Path,
) -> int:
    """Take in raw files, other files as a dataset, or the outputs of a plan (the newest, by default) or a run.

    Twice is once. Nothing is taken in when something is wrong with it.
    """
    if type_ and (raw or instrument):
        what = "--as is for files that are no raw frames"
        raise ProjectError(Problem("PST-G005", what, fix="leave out --as, or --raw and --instrument"))
    if type_:
        return _ingest_files(words, type_, format_, transfer, output, directory)
    if raw or instrument:
        if not words or not instrument:
            missing = "--instrument NAME" if words else "FILES"
            raise ProjectError(
                Problem(
                    "PST-G005", f"{missing} is missing", fix="prestow ingest --raw FILES --instrument NAME"
                )
            )
        return _ingest_raw(words, instrument, transfer, skip_bad, output, directory)
    if adopt or from_:
        link = transfer == "link"
        return ingest_adopted(
            words, run_, from_, link=link, dry_run=dry_run, events=events_, output=output, directory=directory
        )
    if dry_run:
        what = "-n is for --adopt and --from: taking a run in twice is once, and changes no file"
        raise ProjectError(Problem("PST-G005", what, fix="leave out -n"))
    if len(words) > 1 or (words and run_):
        raise ProjectError(
            Problem(
                "PST-G005",
                f"one plan or one run, not: {' '.join(words)}",
                fix="for raw files: prestow ingest --raw FILES --instrument NAME",
            )
        )
    if words and os.path.isfile(words[0]):
        what = f"a file, and not the plan whose outputs are taken in: {words[0]}"
        fix = "prestow ingest --as TYPE FILE k=v …, or of raw files prestow ingest --raw FILES --instrument NAME"
        raise ProjectError(Problem("PST-G005", what, words[0], fix))
    how: dict[str, Any] = {  # Any: options of `Project.ingest`
        "level": level, "reverify": reverify, "processes": processes, "shard": shard, "follow": follow,
        "until_idle": until_idle,
    }  # fmt: skip
    return _ingest_outputs(words[0] if words else None, run_, how, events_, output, directory)


def _ingest_raw(
    words: tuple[str, ...], instrument: str, transfer: str, skip_bad: bool, output: Output, directory: Path
) -> int:
    project = open_project(directory)

    def progress(done: int, total: int) -> None:
        sys.stderr.write(f"\r  {done:,} of {total:,} files" + ("\n" if done == total else ""))
        sys.stderr.flush()

    shown = progress if output.verbosity >= 0 and is_terminal(sys.stderr) else None
    report = project.ingest_raw(words, instrument, transfer=transfer, skip_bad=skip_bad, progress=shown)
    for problem in report.skipped:
        output.note(str(problem))
    text = f"ingested {count_text(report.added, 'raw file')} ({size_text(report.size)}) of {instrument}"
    if report.known:
        text += f", {report.known:,} were there already"
    if report.skipped:
        text += f", {len(report.skipped):,} skipped"
    for reason, number in Counter(file.reason for file in report.left_out).items():
        text += f"\n  left out {count_text(number, 'file')}: {reason}"
    if report.ignored:
        text += f"\n  ignored {count_text(len(report.ignored), 'file')} that {'is' if len(report.ignored) == 1 else 'are'} not FITS by name"
    for same in report.same_pixels[:SHOWN]:
        text += f"\n  note: {same}"
    if len(report.same_pixels) > SHOWN:
        text += f"\n  note: {len(report.same_pixels) - SHOWN:,} more files have the pixels of another (--json names them)"
    facts = {
        "instrument": instrument,
        "added": report.added,
        "known": report.known,
        "size": report.size,
        "skipped": [problem.as_dict() for problem in report.skipped],
        "left_out": [{"path": file.path, "reason": file.reason} for file in report.left_out],
        "ignored": list(report.ignored),
        "same_pixels": [{"dataset": same.name, "other": same.other} for same in report.same_pixels],
    }
    output.answer("ingest", facts, text, following="prestow plan")
    return Exit.INGEST if report.skipped else Exit.OK


def _ingest_files(
    words: tuple[str, ...], type_: str, format_: str | None, transfer: str, output: Output, directory: Path
) -> int:
    from prestow.results.naming_words import plain_data_id

    project = open_project(directory)
    pairs = [word for word in words if "=" in word and not os.path.exists(word)]
    values = plain_data_id(pairs, project.universe)
    report = project.ingest_files(
        [word for word in words if word not in pairs], type_, values, format=format_, transfer=transfer
    )
    dataset = report.dataset
    if report.deleted:
        text = f"{dataset} was deleted on purpose, and stays so"
    else:
        done = "ingested" if report.added else "there already:"
        text = f"{done} {dataset} ({report.type.format}) as {report.path}, in run {dataset.run}"
    facts = {
        "type": dataset.type,
        "dimensions": list(report.type.dimensions),
        "format": report.type.format,
        "data_id": dict(dataset.data_id),
        "id": dataset.id,
        "run": dataset.run,
        "path": report.path,
        "added": report.added,
        "known": report.known,
        "deleted": report.deleted,
        "size": report.size,
    }
    output.answer("ingest", facts, text, following="prestow plan")
    return Exit.OK


def landed_text(landed: Sequence[Landed]) -> str:
    """Say what was committed of what had landed."""
    text = ""
    for one in landed:
        text += f"\n  landed of submission {one.submission}: {count_text(one.committed, 'quantum', 'quanta')} committed"
        for number, what in (
            (one.elsewhere, "settled elsewhere before"),
            (one.differing, "of these with other bytes"),
        ):
            text += f", {number:,} {what}" if number else ""
        text += f", {len(one.findings):,} not committed" if one.findings else ""
    return text


def _ingest_outputs(
    plan: str | None,
    run: str | None,
    how: dict[str, Any],  # Any: options of `Project.ingest`
    events: str | None,
    output: Output,
    directory: Path,
) -> int:
    if how["until_idle"] is not None and not how["follow"]:
        fix = "add --follow, or leave --until-idle out"
        raise ProjectError(Problem("PST-G005", "--until-idle is for --follow", "--until-idle", fix))
    Checking.of(how["level"])
    project = open_project(directory)
    doing = Doing(sys.stderr if output.verbosity >= 0 and is_terminal(sys.stderr) else None)
    try:
        report = project.ingest(
            plan,
            run=run,
            progress=lambda done, total: doing.tell(f"  {done:,} of {total:,} receipts"),
            told=lambda look: output.detail(f"  {look.added:,} more files, {look.quanta:,} quanta"),
            **how,
        )
    finally:
        doing.end()
    landed = [problem for one in report.landed for problem in one.findings]
    runs = ", ".join(report.runs) or "(none: nothing has run yet)"
    text = f"ingested {count_text(report.added, 'file')} ({size_text(report.size)} looked at, {report.level}) into run {runs}"
    more = {
        "were there already": report.present,
        "promoted": report.promoted,
        "deleted on purpose": report.deleted,
    }
    text += "".join(f", {number:,} {what}" for what, number in more.items() if number)
    if report.level is Level.SAMPLE:
        full, rest = report.verified.get("full", 0), report.verified.get("receipt", 0)
        text += f"\n  verified: {full:,} in full, {rest:,} by receipt"
    if report.states:
        text += "\n  quanta: " + ", ".join(f"{number:,} {state}" for state, number in report.states.items())
        text += f"; {report.refused:,} of them refused" if report.refused else ""
    if report.unexpected:
        shown = report.unexpected[:SHOWN]
        text += f"\n  {count_text(len(report.unexpected), 'file')} that no receipt commits, kept: {' '.join(shown)}"
    text += landed_text(report.landed)
    text += looked_after(report)
    if events is not None:
        count, last = project.write_events(events)
        text += f"\n  {count_text(count, 'event')} appended to {events}, the last is {last}"
    facts = {
        "findings": report.findings, "mended": report.mended,
        "unprotected": [problem.as_dict() for problem in report.unprotected],
        "runs": list(report.runs), "level": str(report.level), "verified": report.verified, "added": report.added, "present": report.present,
        "deleted": report.deleted, "quanta": report.quanta, "promoted": report.promoted, "size": report.size,
        "states": report.states, "refused": report.refused, "unexpected": list(report.unexpected),
        "problems": [problem.as_dict() for problem in report.problems],
        "landed": [one.as_dict() for one in report.landed],
    }  # fmt: skip
    for problem in (*report.problems, *report.unprotected, *landed):
        output.note(str(problem))
    output.answer("ingest", facts, text, following="prestow status")
    for problem in (*report.problems, *(p for p in landed if p.code not in LATER)):
        return CODES[problem.code][1]
    return Exit.OK
