"""``prestow doctor``: what this environment is, and what the exit codes mean."""

from __future__ import annotations

import platform
import shutil
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import click

from prestow import __version__
from prestow.cli.group import open_project, shared_options
from prestow.cli.output import Output, size_text
from prestow.errors import CODES, Exit, PrestowError

_LIBRARIES = (
    "polars",
    "pyarrow",
    "SQLAlchemy",
    "adbc-driver-sqlite",
    "astropy",
    "numpy",
    "dask",
    "distributed",
    "PyYAML",
    "click",
)

_LITTLE = 1_000_000_000
"""Bytes free below which a disk is not fit for a campaign."""

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


@click.command(short_help="Look at the environment, or list the exit codes.")
@click.option(
    "--list-exit-codes",
    is_flag=True,
    help="Print what each exit code means, and the problems that lead to it.",
)
@shared_options
def doctor(list_exit_codes: bool, output: Output, directory: Path) -> int:
    """Look at the environment: one line a thing, ok or fail, with what to do about it."""
    if list_exit_codes:
        return _exit_codes(output)
    checks = [_python(), *(_library(name) for name in _LIBRARIES), _disk(directory), *_project(directory)]
    failed = [check for check in checks if check[1] == "fail"]
    output.answer(
        "doctor",
        {
            "version": __version__,
            "checks": [dict(zip(("name", "state", "detail", "fix"), c, strict=True)) for c in checks],
        },
        "\n".join((f"prestow {__version__}", *(_line(*check) for check in checks))),
        following=failed[0][3] if failed else "prestow check",
    )
    return Exit.ENVIRONMENT if failed else Exit.OK


def _line(name: str, state: str, detail: str, fix: str) -> str:
    return f"  {state:5} {name:20} {detail}" + (f"\n{'':29}= help: {fix}" if fix else "")


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


def _python() -> tuple[str, str, str, str]:
    return ("python", "ok", f"{platform.python_version()} ({sys.executable})", "")


def _library(name: str) -> tuple[str, str, str, str]:
    try:
        return (name, "ok", version(name), "")
    except PackageNotFoundError:
        return (name, "fail", "not installed", "install prestow again, with its dependencies")


def _disk(directory: Path) -> tuple[str, str, str, str]:
    free = shutil.disk_usage(directory).free
    small = free < _LITTLE
    return ("disk", "fail" if small else "ok", f"{size_text(free)} free", "make room" if small else "")


def _project(directory: Path) -> list[tuple[str, str, str, str]]:
    try:
        project = open_project(directory)
    except PrestowError as error:
        problem = error.problems[0]
        if problem.code == "PST-G001":
            return [("project", "none", "no project here", "")]
        return [("project", "fail", f"{problem.what} ({problem.where})", problem.fix)]
    try:
        project.store.probe()
    except PrestowError as error:
        problem = error.problems[0]
        return [("project", "ok", str(project.root), ""), ("store", "fail", problem.what, problem.fix)]
    return [("project", "ok", str(project.root), ""), ("store", "ok", project.configuration.store, "")]
