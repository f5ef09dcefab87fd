"""``prestow run``: run a plan, or go on with it."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow.cli import completing
from prestow.cli.group import open_project, plan_word, shared_options
from prestow.cli.output import Output, duration_text
from prestow.errors import Exit

if TYPE_CHECKING:
    from prestow.engines.running import RunResult

SHOWN = 5  # failures printed after the end; all of them were printed as they came


@click.command(short_help="Run a plan; the same command again goes on where it was.")
@click.argument("plan", required=False, shell_complete=completing.plans)
@click.option("--engine", metavar="NAME", help="dask (the default), or local: in this process, in order.")
@click.option("--site", type=click.Path(), metavar="FILE", help="A site file: where jobs run.")
@click.option(
    "--workers", type=click.IntRange(1), metavar="N", help="Processes; default: as prestow.yaml says."
)
@click.option(
    "--only",
    shell_complete=completing.tasks,
    multiple=True,
    metavar="TASK",
    help="Only the quanta of this task, and what they need; repeatable.",
)
@click.option(
    "--reuse",
    multiple=True,
    metavar="RUN|any",
    help="Take what this run has under the wanted recipe, besides the parents; repeatable.",
)
@click.option(
    "--force",
    shell_complete=completing.tasks,
    multiple=True,
    metavar="TASK",
    help="Make this task again, and all that follows; in a child run. Repeatable.",
)
@click.option(
    "--keep",
    shell_complete=completing.tasks,
    multiple=True,
    metavar="TASK",
    help="What a parent lost of this task stays lost; in a child run. Repeatable.",
)
@click.option(
    "--breaker",
    metavar="SHARE|off",
    help="Begin no more jobs of a task when one cause fails more than this share of them; default 20%.",
)
@shared_options
def run(
    plan: str | None,
    engine: str | None,
    site: str | None,
    workers: int | None,
    only: tuple[str, ...],
    reuse: tuple[str, ...],
    force: tuple[str, ...],
    keep: tuple[str, ...],
    breaker: str | None,
    output: Output,
    directory: Path,
) -> int:
    """Run what is left of PLAN (the newest, by default).

    Ctrl-C once lets running jobs end, twice stops them. Then, or after any failure, the same
    command goes on where it was. What is said by --reuse, --force and --keep holds for this plan
    until one of them is said again.
    """
    from prestow.engines.progress import show_progress

    project = open_project(directory)
    found = project.find_plan(plan or "latest")
    output.note(f"plan {found.id[:8]}  run {found.run}")
    spoiled = project.spoiled(found)
    if spoiled:
        output.note(f"warning: {spoiled}")
    result = project.run(
        found,
        engine=engine,
        site=site,
        workers=workers,
        only=only,
        reuse=reuse,
        force=force,
        keep=keep,
        breaker=breaker,
        on_event=show_progress(sys.stderr) if output.verbosity >= 0 else None,
    )
    counts = result.counts
    text = f"done in {duration_text(result.seconds)}: " + (
        ", ".join(f"{n:,} {state}" for state, n in counts.items() if n) or "nothing to do"
    )
    if not result.jobs and result.complete:
        text = "nothing to do: " + text.partition(": ")[2]
    if result.unasked:
        text += "; left for later: " + ", ".join(f"{n:,} of {task}" for task, n in result.unasked.items())
    code = result.exit_code
    if code is not Exit.OK:
        text += f"     exit {int(code)}"
    text += "".join(f"\n  {note}" for note in result.notes)
    text += "".join(f"\n  {tripped}" for tripped in result.tripped)
    if result.avoided:
        text += f"\n  no more was given to {', '.join(result.avoided)}, where nearly all failed"
    for failure in result.failures[:SHOWN]:
        text += "\n  " + str(failure).replace("\n", "\n  ")
    if len(result.failures) > SHOWN:
        text += f"\n  and {len(result.failures) - SHOWN:,} more failures: prestow status"
    facts = {
        "plan": result.plan, "run": result.run, "tasks": {t: dict(c) for t, c in result.tasks.items()}, "counts": counts,
        "jobs": result.jobs, "seconds": round(result.seconds, 3), "stopped": result.stopped, "unasked": dict(result.unasked), "exit_code": int(code),
        "notes": list(result.notes), "awaited": result.awaited, "tripped": [one.as_dict() for one in result.tripped],
        "avoided": list(result.avoided),
        "failures": [failure.as_dict() for failure in result.failures],
    }  # fmt: skip
    output.answer(
        "run",
        facts,
        text,
        following=_following(result, plan_word(project, found), plan_word(project, found, " --plan ")),
    )
    return code


def _following(result: RunResult, plan: str, option: str) -> str:
    if result.tripped and not result.failures:
        return f"prestow retry{plan} --failed && prestow run{plan}          or why: prestow why {result.tripped[0].job}{option}"
    if result.failures:
        return f"prestow retry{plan} --failed && prestow run{plan}          or why: prestow why {result.failures[0].job}{option}"
    if result.awaited and result.exit_code is Exit.STOPPED and not result.stopped:
        return f"prestow ingest{plan}          then, when what is promised is there: prestow plan --promised"
    if not result.settled:
        return f"prestow run{plan}"
    if result.losses:
        return f"prestow ingest{plan}          then make good what was lost: prestow repair{plan}"
    return f"prestow ingest{plan}"
