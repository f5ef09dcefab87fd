"""``prestow doctor``: what this environment is, what a job's directory holds, what the exit codes mean."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from prestow import __version__
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output
from prestow.errors import CODES, Exit, PrestowError

if TYPE_CHECKING:
    from prestow.project import Project
    from prestow.results.environment import Line

_MEANING = {
    Exit.OK: "all done, or nothing to do",
    Exit.INTERNAL: "internal error: a bug, please report it",
    Exit.USAGE: "the command line cannot be understood",
    Exit.CONFIGURATION: "a file that a person wrote is invalid",
    Exit.REFUSED: "the plan is refused: missing inputs, colliding names",
    Exit.FAILED: "ended with failed or blocked jobs",
    Exit.STOPPED: "stopped by the user, or drained",
    Exit.ENVIRONMENT: "environment: disk, site, scheduler",
    Exit.INGEST: "ingest refused: checksum, duplicate",
    Exit.ACCOUNT: "the account does not close",
    Exit.LOSSES: "finished, with tolerated losses",
    Exit.DIFFERENT: "a comparison found differences (--strict)",
}


@click.command(short_help="Look at the environment, or at a job's directory.")
@click.argument("job_directory", metavar="[JOBDIR]", required=False, type=click.Path(path_type=Path))
@click.option(
    "--list-exit-codes",
    is_flag=True,
    help="Print what each exit code means, and the problems that lead to it.",
)
@shared_options
def doctor(job_directory: Path | None, list_exit_codes: bool, output: Output, directory: Path) -> int:
    """Look at the environment: one line a thing, ok, warn or fail, with what to do about it.

    With JOBDIR, a directory that a job worked in and that was kept: what is here, what should be by
    its manifest, and what to type next. Git, compilers and a database server are never needed.
    """
    if list_exit_codes:
        return _exit_codes(output)
    if job_directory is not None:
        return _job_directory(job_directory, output)
    from prestow.results.environment import environment

    checks = [*environment(directory), *_project(directory)]
    failed = [check for check in checks if check.state == "fail"]
    output.answer(
        "doctor",
        {"version": __version__, "checks": [check.as_dict() for check in checks]},
        "\n".join((f"prestow {__version__}", *(_line(check) for check in checks))),
        following=failed[0].fix if failed else "prestow check",
    )
    return Exit.ENVIRONMENT if failed else Exit.OK


def _job_directory(path: Path, output: Output) -> int:
    from prestow.results.job_directory import look

    found = look(path)
    lines = [f"job {found.job}  run {found.run}  plan {found.plan[:8]}  in {found.directory}"]
    lines += [_line(line) for line in found.lines]
    for name, log in found.logs.items():
        lines.append(f"  {name}: {'the end' if log else 'empty'}")
        lines += [f"    {line}" for line in log]
    output.answer("doctor", found.as_dict(), "\n".join(lines), following=found.following)
    return Exit.ENVIRONMENT if found.failed else Exit.OK


def _line(line: Line) -> str:
    return f"  {line.state:5} {line.name:20} {line.detail}" + (
        f"\n{'':29}= help: {line.fix}" if line.fix else ""
    )


def _exit_codes(output: Output) -> int:
    by_exit = {code: [name for name, (_, exit_code) in CODES.items() if exit_code is code] for code in Exit}
    text = "\n".join(f"{int(code):3d}  {_MEANING[code]}" for code in Exit)
    codes = "\n".join(
        f"  {name}  {int(exit_code):3d}  {meaning}" for name, (meaning, exit_code) in CODES.items()
    )
    facts = {
        "exit_codes": [
            {"exit_code": int(code), "meaning": _MEANING[code], "problems": by_exit[code]} for code in Exit
        ]
    }
    output.answer("doctor", facts, f"{text}\n\n{codes}", following="prestow --help")
    return Exit.OK


def _project(directory: Path) -> list[Line]:
    from prestow.results.environment import Line

    try:
        project = open_project(directory)
    except PrestowError as error:
        problem = error.problems[0]
        if problem.code == "PST-G001":
            return [Line("project", "none", "no project here")]
        return [Line("project", "fail", f"{problem.what} ({problem.where})", problem.fix)]
    lines = [Line("project", "ok", str(project.root))]
    try:
        project.store.probe()
        lines.append(Line("store", "ok", project.configuration.store))
    except PrestowError as error:
        problem = error.problems[0]
        lines.append(Line("store", "fail", problem.what, problem.fix))
    return [*lines, _registry(project)]


def _registry(project: Project) -> Line:
    from prestow.registry.standing import is_absent
    from prestow.results.environment import Line

    try:
        found = project.registry_standing()
    except PrestowError as error:
        problem = error.problems[0]
        state = "none" if is_absent(error) else "fail"
        return Line("registry", state, f"{problem.what} ({problem.where})", problem.fix)
    if found.problem is not None:
        return Line("registry", "fail", f"{found.problem.what} ({found.where})", found.problem.fix)
    return Line("registry", "ok", f"{found.name}, schema {found.schema}: {found.where}")
