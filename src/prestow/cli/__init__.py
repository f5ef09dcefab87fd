"""The commands: parse, call one function of the project, show, and say by the exit code how it went.

Owns the command line and what is printed. Serves people and their scripts. Never does work of its
own: whatever a command does, a few lines of Python with `prestow.open` do too.

A command's module is imported when the command is used, and not before: ``prestow --help`` and
completion pay for click alone.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from prestow.errors import Exit


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line and give its exit code; never raises.

    Parameters
    ----------
    arguments : sequence of str, optional
        Instead of those of this process.
    """
    words = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdout, sys.stderr):
        # A file name that is not text in this locale must not end a command.
        errors = (
            "surrogateescape" if (stream.encoding or "").lower().startswith("utf") else "backslashreplace"
        )
        with contextlib.suppress(AttributeError):  # a test's stream
            stream.reconfigure(errors=errors)  # type: ignore[union-attr]  # a TextIO that is a TextIOWrapper
    from prestow.cli import failure
    from prestow.cli.group import prestow

    try:
        result = prestow.main(args=words, prog_name="prestow", standalone_mode=False)
    except BaseException as error:  # noqa: BLE001 - the one edge of the program: everything becomes an exit code
        return int(failure.report(error, words))
    return int(result) if isinstance(result, int) else int(Exit.OK)


def command() -> NoReturn:
    """Be the program ``prestow``: run the command line of this process, and end with its exit code.

    All that Python does for a program at its end is done: threads are joined, exit functions run,
    streams flushed. Only then the process ends, without taking the interpreter and the native
    libraries apart: their own threads (of Arrow, Polars, the database driver) run on meanwhile, and
    one that meets a library half gone aborts a command whose work was done and told.
    """
    code = main()
    with contextlib.suppress(Exception):
        threading._shutdown()  # type: ignore[attr-defined]  # noqa: SLF001 - what the interpreter calls first at its end
    with contextlib.suppress(Exception):
        atexit._run_exitfuncs()  # noqa: SLF001 - and next
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):  # nobody reads on, or the stream is closed
            code = code or int(Exit.ENVIRONMENT)
    os._exit(code)
