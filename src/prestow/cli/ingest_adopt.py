"""``prestow ingest --adopt`` and ``--from``: files that have their stories and no receipts."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from prestow.cli.group import open_project
from prestow.cli.output import Output, count_text, size_text
from prestow.errors import CODES, Exit, Problem, ProjectError

if TYPE_CHECKING:
    from prestow.ingest import IngestReport
    from prestow.ingest.adopting import Adoption
    from prestow.project import Project

SHOWN = 20


def ingest_adopted(
    words: tuple[str, ...],
    run: str | None,
    from_: str | None,
    *,
    link: bool,
    dry_run: bool,
    events: str | None = None,
    output: Output,
    directory: Path,
) -> int:
    """Adopt files, then take in what is adopted; exit 8 if something is refused."""
    project = open_project(directory)
    where, run = _where(project, words, run, from_)
    told = project.adopt(where, run=run, link=link, dry_run=dry_run)
    reports = [] if dry_run else [project.ingest(run=name, level="full") for name in told.runs]
    if events is not None and not dry_run:
        project.write_events(events)
    for problem in told.refused[: None if output.verbosity > 0 else SHOWN]:
        output.note(str(problem))
    facts = {**told.as_dict(), "dry_run": dry_run, "ingested": [_facts(report) for report in reports]}
    named = [*words] or ([run] if run else [])
    again = " ".join(["prestow ingest --adopt", *named, *(["--from", str(from_)] if from_ else [])])
    following = again if dry_run else "prestow status"
    output.answer("ingest", facts, _text(told, reports, dry_run=dry_run), following=following)
    wrong = [problem for report in reports for problem in report.problems]
    return Exit.INGEST if told.refused else CODES[wrong[0].code][1] if wrong else Exit.OK


def _where(
    project: Project, words: tuple[str, ...], run: str | None, from_: str | None
) -> tuple[Path | None, str | None]:
    """Give the directory and the run that are meant: a directory, a run, or a plan of it."""
    if len(words) > 1 or (words and run):
        what = f"one directory or one run, not: {' '.join((*words, run or ''))}"
        raise ProjectError(Problem("PST-G005", what, fix="prestow ingest --adopt RUN, or --from DIR"))
    where = None if from_ is None else Path(from_)
    for word in words:
        if where is None and Path(word).is_dir():
            where = Path(word)
        else:
            plans = project.plans_like(word)
            run = project.find_plan(plans[0]).run if len(plans) == 1 else word
    if where is None and run is None:
        what = "which files are to be adopted?"
        raise ProjectError(Problem("PST-G005", what, fix="prestow ingest --adopt RUN, or --adopt DIR"))
    return where, run


def _text(told: Adoption, reports: list[IngestReport], *, dry_run: bool) -> str:
    verb = "would adopt" if dry_run else "adopted"
    files = sum(len(one.files) for one in told.adopted)
    text = f"{verb} {count_text(len(told.adopted), 'quantum', 'quanta')} ({count_text(files, 'file')})"
    if told.runs:
        text += f" of run {', '.join(told.runs)}"
    if told.known:
        text += f", {told.known:,} had a receipt already"
    if dry_run:
        for one in told.adopted[:SHOWN]:
            text += "".join(f"\n  {source} as {path}" for path, source in one.files.items())
        if len(told.adopted) > SHOWN:
            text += f"\n  … and {len(told.adopted) - SHOWN:,} quanta more (--json has all)"
    if told.refused:
        text += f"\n  refused {len(told.refused):,}, each with its reason above"
    if told.passed_over:
        text += f"\n  {count_text(told.passed_over, 'file')} of prestow's own or hidden, not looked at"
    for report in reports:
        text += f"\n  ingested {count_text(report.added, 'file')} ({size_text(report.size)}) into run {', '.join(report.runs)}"
    return text


def looked_after(report: IngestReport) -> str:
    """Give lines on findings, modes and group, if there is anything to say."""
    text = ""
    found = ", ".join(f"{count:,} {kind}" for kind, count in report.findings.items() if count)
    if found:
        text += f"\n  findings for a person: {found}; look: prestow findings"
    if report.mended:
        text += f"\n  mended the mode or group of {count_text(report.mended, 'file')}"
    if report.unprotected:
        text += f"\n  could not set the mode or group of {count_text(len(report.unprotected), 'file')}"
    return text


def _facts(report: IngestReport) -> dict[str, object]:
    return {
        "runs": list(report.runs), "added": report.added, "present": report.present,
        "problems": [problem.as_dict() for problem in report.problems],
    }  # fmt: skip
