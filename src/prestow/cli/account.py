"""``prestow account``: every planned output in one state, every file found in one class; what was staged in vain."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from prestow.cli import completing
from prestow.cli.group import open_project, plan_word, shared_options
from prestow.cli.output import Output, count_text, size_text, table
from prestow.errors import Exit
from prestow.project import plans as plan_files
from prestow.project.configuration import UNEXPECTED

if TYPE_CHECKING:
    from prestow.project import Project
    from prestow.project.accounting import Accounted
    from prestow.results.account import Account
    from prestow.results.account_unread import Unread

SHOWN = 5
WORDS = (
    "missing",
    "unexpected",
    "misplaced",
    "faulty",
    "failed",
    "held",
    "preempted",
    "pending",
    "lost",
    "blocked",
    "contradictory",
)


@click.command(short_help="Hold what was planned and what is there against each other.")
@click.argument("plan", required=False, shell_complete=completing.plans)
@click.option(
    "--run", metavar="RUN", help="All that the receipts of a run say; its plan may be gone.",
    shell_complete=completing.runs,
)  # fmt: skip
@click.option(
    "--level", default="receipt", show_default=True, metavar="LEVEL",
    help="What is read of each file: its size and story (receipt); of a share all bytes, too (sample:5%); all (full).",
)  # fmt: skip
@click.option(
    "--only", "only", multiple=True, type=click.Choice(WORDS), help="List these, and all of them; may be repeated."
)  # fmt: skip
@click.option(
    "--unexpected", "policy", type=click.Choice(UNEXPECTED),
    help="What to do with unexpected files: name them (keep), put them into a tar, delete them (drop), or refuse (fail). "
    "By default what prestow.yaml says, else keep.",
)  # fmt: skip
@click.option("-n", "--dry-run", is_flag=True, help="With a tar or drop: only show what would be done.")
@click.option("--unread", is_flag=True, help="List inputs that were staged and never read.")
@click.option("--task", metavar="TASK", help="With --unread: of this task.", shell_complete=completing.tasks)
@shared_options
def account(
    plan: str | None,
    run: str | None,
    level: str,
    only: tuple[str, ...],
    policy: str | None,
    dry_run: bool,
    unread: bool,
    task: str | None,
    output: Output,
    directory: Path,
) -> int:
    """Account for PLAN (the newest, by default): every planned output in one state, every file found in one class.

    A file is expected, unexpected, misplaced or faulty, by its full path and what is in it; a product is missing
    where it was committed and is neither at its name nor aside. Exit 9 unless all files are expected and every
    output is made or declined; 10 if some were lost, as the pipeline tolerates.
    """
    if plan is not None and run is not None:
        raise click.UsageError("give a plan or --run, not both")
    if task is not None and not unread:
        raise click.UsageError("--task goes with --unread")
    project = open_project(directory)
    if unread:
        found = project.unread(plan, run=run, task=task)
        output.answer(
            "account",
            {"unread": found.as_dict()},
            _unread_text(found, task),
            following=_next(found, task, f" --run {run}" if run else f" {plan}" if plan else ""),
        )
        return Exit.OK
    done = project.account(plan, run=run, level=level, unexpected=policy, dry_run=dry_run)
    facts: dict[str, Any] = {
        **done.account.as_dict(only),
        "unexpected": done.unexpected.as_dict(),
    }  # Any: JSON
    facts["exit"] = int(done.exit)
    output.answer(
        "account", facts, _text(done, only, dry_run=dry_run), following=_following(project, done, run)
    )
    return done.exit


def _text(done: Accounted, only: tuple[str, ...], *, dry_run: bool) -> str:
    found = done.account
    head = f"plan {found.plan[:8]}  run {found.run}" if found.plan else f"run {found.run}"
    states = "  ".join(f"{state} {count:,}" for state, count in found.states.items() if count)
    # what is told is what sums: missing is no file
    classes = "  ".join(
        f"{kind} {count:,}"
        for kind, count in found.classes.items()
        if kind != "missing" and (count or kind == "expected")
    )
    lines = [
        f"{head}  level {found.level}",
        f"  outputs  {states or 'none'}  = {found.planned:,} planned" + _beside(found),
        f"  files    {classes}  = {found.found:,} found ({size_text(found.size)} expected)"
        + (f"   missing {found.classes['missing']:,}" if found.classes["missing"] else ""),
    ]
    lines += [f"  note: {remark}" for remark in found.remarks]
    lines += _put(done, dry_run=dry_run)
    shown = 10**9 if only else SHOWN
    for kind in ("missing", "unexpected", "misplaced", "faulty"):
        if not only or kind in only:
            lines += _few(
                [f"  {note.kind.upper()} {note.path}: {note.what}" for note in found.of(kind)], shown, kind
            )
    for state in ("contradictory", "failed", "lost", "blocked", "pending"):
        if not only or state in only:
            rows = found.outputs.filter(found.outputs["state"] == state)
            told = [
                f"  {state.upper()} {row[0]} ({row[1]})" for row in rows.select("path", "task").iter_rows()
            ]
            lines += _few(told, shown, state)
    if not only or "contradictory" in only:
        lines += _few(
            [f"  CONTRADICTORY {c.where}: {c.what}" for c in found.contradictions], shown, "contradictory"
        )
    if found.exit is Exit.LOSSES:
        lines.append("  the account closes, with losses that the pipeline tolerates")
    else:
        lines.append("  the account closes" if found.closes else "  the account does not close")
    return "\n".join(lines)


def _beside(found: Account) -> str:
    more = [f"{found.to_promote:,} of them to be promoted"] if found.to_promote else []
    more += [f"{found.deleted:,} deleted on purpose"] if found.deleted else []
    return f"   ({', '.join(more)})" if more else ""


def _put(done: Accounted, *, dry_run: bool) -> list[str]:
    put = done.unexpected
    if not put.taken:
        return []
    files = f"{count_text(len(put.taken), 'unexpected file')} ({size_text(put.size)})"
    would = "would be " if dry_run else ""
    if put.policy == "tar":
        place = f" in {put.tar}" if put.tar else " in a tar from before"
        return [f"  {would}kept{place}: {files}"]
    return [
        f"  {would}dropped: {files}",
        *_few([f"    {stray.path}" for stray in put.taken], SHOWN, "dropped"),
    ]


def _few(lines: list[str], shown: int, kind: str) -> list[str]:
    more = len(lines) - shown
    return lines if more <= 0 else [*lines[:shown], f"  … and {more:,} more: --only {kind}"]


def _following(project: Project, done: Accounted, run: str | None) -> str:
    found = done.account
    word = f" --run {run}" if run else plan_word(project, project.find_plan(found.plan)) if found.plan else ""
    states, classes = found.states, found.classes
    first = next((note for note in found.notes if note.kind in ("faulty", "missing")), None)
    if first is not None:
        return f"prestow why {first.path}"
    if found.contradictions or states["contradictory"]:
        return f"prestow account{word} --level full --only contradictory"
    if states["failed"] or states["pending"]:
        return f"prestow status{'' if run else word}"
    if found.to_promote:
        return f"prestow ingest{word}"
    if classes["misplaced"]:
        return f"prestow account{word} --only misplaced"
    if classes["unexpected"]:
        return f"prestow account{word} --unexpected tar"
    if not run:
        return f"prestow show{word} --files"
    newest = plan_files.newest_of(project.plans_directory, run)
    return f"prestow show {newest.name[:8]} --files" if newest else f"prestow find TYPE --run {run}"


def _unread_text(found: Unread, task: str | None) -> str:
    rows = [
        (one.task, f"{one.quanta:,}", f"{one.staged:,}", f"{one.unread:,}", size_text(one.size), f"{one.share:.1%}")
        for one in found.tasks
    ]  # fmt: skip
    text = f"run {found.run}: inputs that were staged and never read\n" + table(
        ("task", "quanta", "staged", "unread", "bytes", "in vain"), rows
    )
    text += "".join(f"\n  note: {remark}" for remark in found.remarks)
    for connection in found.connections:
        text += (
            f"\n  {connection.task}.{connection.name}: {connection.unread:,} of {connection.staged:,} never read "
            f"({size_text(connection.size)})"
        )
    if task is not None:
        shown = [f"  {one.quantum}: {one.input}" for one in found.rows[:SHOWN]]
        text += "".join(f"\n{line}" for line in shown)
        if len(found.rows) > SHOWN:
            text += f"\n  … and {len(found.rows) - SHOWN:,} more (--json names them)"
    return text


def _next(found: Unread, task: str | None, word: str) -> str:
    worst = max(found.tasks, key=lambda one: one.size, default=None)
    if worst is None or not worst.unread:
        return f"prestow account{word}"
    if task is not None:
        return f"prestow account{word} --unread"
    return f"prestow account{word} --unread --task {worst.task}"
