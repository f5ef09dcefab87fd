"""The edge of the program: every exception becomes problems on the screen and an exit code."""

from __future__ import annotations

import errno
import os
import sys
import tempfile
import traceback
from collections.abc import Iterator, Sequence

import click

from prestow.cli.output import Output, colour_wanted, silence, write
from prestow.errors import CODES, Exit, PrestowError, Problem

_FULL = {errno.ENOSPC, errno.EDQUOT}
_REFUSED = {
    errno.EACCES,
    errno.EPERM,
    errno.EROFS,
    errno.ENOTDIR,
    errno.EISDIR,
    errno.ENOENT,
    errno.ENAMETOOLONG,
    errno.EEXIST,
    errno.EMFILE,
    errno.ENFILE,
    errno.EIO,
    errno.ELOOP,
    errno.ESTALE,
    errno.ENOTCONN,
}


def report(error: BaseException, words: Sequence[str]) -> Exit:
    """Print what went wrong, and give the exit code.

    Parameters
    ----------
    error : BaseException
        Whatever left the command.
    words : sequence of str
        The command line: the error may be that it cannot be parsed.
    """
    output = Output(
        json="--json" in words,
        verbosity=1 if {"-v", "--verbose", "-vv"} & set(words) else 0,
        color=colour_wanted("--no-color" not in words),
    )
    if isinstance(error, SystemExit):
        return Exit(error.code) if isinstance(error.code, int) else Exit.INTERNAL
    if isinstance(error, click.exceptions.Exit):
        return Exit(error.exit_code)
    if isinstance(error, KeyboardInterrupt | click.Abort):
        write(sys.stderr, "stopped; the same command goes on where it was")
        return Exit.STOPPED
    if isinstance(error, BrokenPipeError):
        silence(sys.stdout)
        return Exit.OK
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        write(sys.stderr, error.format_message())
        return Exit.USAGE
    problems = problems_of(error)
    if not problems:
        return _internal(error, words, output)
    output.problems(problems)
    if output.verbosity > 0:
        write(sys.stderr, _trace(error))
    return CODES[problems[0].code][1]


def problems_of(error: BaseException) -> tuple[Problem, ...]:
    """Give the problems that an exception stands for; none for a bug."""
    full = next((cause for cause in _causes(error) if _is_full(cause)), None)
    if full is not None:
        place = str(getattr(full, "filename", None) or getattr(full, "filename2", None) or "")
        fix = "make room, then give the same command again: what was committed stays"
        return (Problem("PST-R002", "the disk is full; nothing was half-written", place, fix),)
    if isinstance(error, PrestowError):
        return error.problems
    if isinstance(error, click.UsageError):
        path = error.ctx.command_path if error.ctx else "prestow"
        return (Problem("PST-G005", error.format_message(), fix=f"{path} --help"),)
    if isinstance(error, click.ClickException):
        return (Problem("PST-G005", error.format_message()),)
    if isinstance(error, OSError) and error.errno in _REFUSED and error.filename is not None:
        reason = (error.strerror or "refused").lower()
        fix = "check the path, its permissions and the file system"
        return (Problem("PST-R009", f"the system refuses: {reason}", os.fsdecode(error.filename), fix),)
    return ()


def _causes(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and current not in seen:
        seen.append(current)
        yield current
        current = current.__cause__ or current.__context__


def _is_full(error: BaseException) -> bool:
    if isinstance(error, OSError) and error.errno in _FULL:
        return True
    # SQLite and Arrow say it in words alone.
    text = str(error).lower()
    return "database or disk is full" in text or "no space left on device" in text


def _trace(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def _internal(error: BaseException, words: Sequence[str], output: Output) -> Exit:
    what = f"internal error: {type(error).__name__}: {error}".splitlines()[0]
    place = ""
    try:
        with tempfile.NamedTemporaryFile(
            "w", prefix="prestow-error-", suffix=".txt", delete=False, encoding="utf-8", errors="replace"
        ) as file:
            file.write(f"prestow {' '.join(words)}\n\n{_trace(error)}")
            place = file.name
    except OSError:
        output.detail("the traceback could not be written to a file")
    if output.json:
        output.problems([Problem("PST-X001", what, place, "this is a bug: please report it with that file")])
    else:
        write(sys.stderr, f"error[PST-X001]: {what}")
        if place:
            write(sys.stderr, f"  --> {place}")
        write(sys.stderr, "  = help: this is a bug in prestow: please report it with that file")
    output.detail(_trace(error))
    return Exit.INTERNAL
