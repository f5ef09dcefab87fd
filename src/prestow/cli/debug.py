"""``prestow debug``: one planned job here, sealed."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from prestow.cli import completing
from prestow.cli.group import open_project, plan_word, shared_options
from prestow.cli.output import Output, is_terminal, size_text
from prestow.errors import Exit, Problem, ProjectError


@click.command(short_help="Run one planned job here, sealed, under a debugger if asked.")
@click.argument("job", shell_complete=completing.jobs)
@click.option(
    "--plan",
    default="latest",
    show_default=True,
    shell_complete=completing.plans,
    help="The plan that the job is of.",
)
@click.option("--pdb", is_flag=True, help="Run the task under the debugger.")
@click.option("--keep", is_flag=True, help="Keep the job's directory: inputs, outputs, log.")
@shared_options
def debug(job: str, plan: str, pdb: bool, keep: bool, output: Output, directory: Path) -> int:
    """Run JOB of a plan in this process, just as it runs on a node, from its manifest.

    It runs whether it is settled or not, and commits nothing: its outputs go to a directory of
    their own. What it needs and nobody has made yet is made there first, if that is not much.
    """
    if pdb and not is_terminal(sys.stdin) and not sys.stdin.readable():
        raise ProjectError(
            Problem("PST-G005", "a debugger needs somebody to talk to", fix="leave --pdb away")
        )
    project = open_project(directory)
    opened = project.find_plan(plan)
    found = project.debug(opened, job, debugger=pdb, keep=keep)
    outcome = found.outcome
    failures = [failure.as_dict() for failure in outcome.failures]
    lines = [f"made first, here: {', '.join(found.first)}"] if found.first else []
    lines.append(f"job {found.job}: {', '.join(str(state) for state in outcome.states.values())}")
    for failure in outcome.failures:
        data_id = ",".join(f"{name}={value}" for name, value in failure.data_id.items())
        lines.append(f"  FAILED {failure.task} {data_id} [{failure.code}] {failure.message}")
        lines += [f"    {line}" for line in failure.log_tail]
    for receipt in outcome.receipts.values():
        lines += [
            f"  {name} = {value:.6g}" if isinstance(value, float) else f"  {name} = {value}"
            for name, value in receipt.measures.items()
        ]
        lines += [f"  {receipt.state}: {receipt.code}"] if receipt.code else []
        lines += [f"  -> {o.path}  {size_text(o.size)}" for o in receipt.outputs if o.size is not None]
    if found.directory:
        lines.append(f"kept: {found.directory}")
    else:
        lines.append("nothing was committed, and nothing is kept: --keep leaves its files for you to see")
    facts = {
        "job": found.job, "states": {k: str(v) for k, v in outcome.states.items()}, "failures": failures,
        "outputs": list(found.outputs), "directory": str(found.directory) if found.directory else None,
        "first": list(found.first),
        "measures": {k: dict(r.measures) for k, r in outcome.receipts.items()},
    }  # fmt: skip
    if outcome.failures:
        output.answer(
            "debug",
            facts,
            "\n".join(lines),
            following=f"prestow debug {found.job} --pdb{plan_word(project, opened, ' --plan ')}",
        )
        return Exit.FAILED
    output.answer("debug", facts, "\n".join(lines), following=f"prestow run{plan_word(project, opened)}")
    return Exit.OK
