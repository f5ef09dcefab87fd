"""Run one quantum: a Python callable or a command line, its words captured."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TextIO

from prestow.errors import PrestowError, Problem, TaskError
from prestow.manifest import ManifestQuantum
from prestow.node.outcome import in_words, printable
from prestow.tasks import NothingToDo, Quantum, value_in_words

TAIL = 20
DECLINED = 66
"""The exit code by which a command declines."""

FIXED = {
    "PYTHONHASHSEED": "0", "TZ": "UTC", "LC_ALL": "C.UTF-8", "LANG": "C.UTF-8", "SOURCE_DATE_EPOCH": "0",
    "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "NUMEXPR_NUM_THREADS": "1",
    "POLARS_MAX_THREADS": "1",
}  # fmt: skip
"""The environment of commands and workers from their first instruction, so that the same recipe gives the same bytes anywhere."""

_FIELD = r"\{(?:(inputs|outputs|config|data_id)\.([A-Za-z_][A-Za-z0-9_]*)|(seed|code))\}"
_CONFESSION = "prestow-decline:"


def run_python(
    definition: ManifestQuantum,
    quantum: Quantum,
    *,
    code: str,
    work: str,
    temporary: str,
    log: str,
    debugger: bool,
) -> None:
    """Call the entry with the quantum and its configuration; what it says goes to the log.

    Raises
    ------
    NothingToDo
        As the task raised it.
    TaskError
        PST-N012 if it returns anything but nothing, or a mapping of connection to value.
    PrestowError
        Where the task did what it must not (its own code), or failed in any way (PST-N007).
    """
    with _place(work, temporary), _captured(log, debugger=debugger):
        try:
            function, config = _entry(definition)
            arguments = (quantum, config)[: _takes(function)]
            if debugger:
                import pdb  # noqa: T100 - asked for

                returned = pdb.Pdb().runcall(function, *arguments)
            else:
                returned = function(*arguments)
            _put_all(quantum, returned, function, code)
        except (NothingToDo, PrestowError) as error:
            if isinstance(error, PrestowError):
                _trace(error, code)
            raise
        except KeyboardInterrupt:
            raise
        except BaseException as error:
            _trace(error, code)
            if debugger:
                import pdb  # noqa: T100 - asked for

                pdb.post_mortem(error.__traceback__)
            raise _failed(error, code) from error


def _put_all(quantum: Quantum, returned: object, function: Any, code: str) -> None:
    """Put what a task returned; most return nothing."""
    if returned is None:
        return
    if isinstance(returned, Mapping) and all(isinstance(name, str) for name in returned):
        for name, value in returned.items():
            quantum.put(name, value)
        return
    place = getattr(function, "__code__", None)
    file = place.co_filename.removeprefix(f"{code}/") if place is not None else ""
    where = f" ({file}:{place.co_firstlineno})" if place is not None else ""
    name = getattr(function, "__name__", "the task")
    outputs = [n for n in quantum.outputs if not n.startswith("_")]
    raise TaskError(
        Problem(
            "PST-N012",
            f"{name}{where} returned {value_in_words(returned)}",
            in_words(quantum.task, quantum.data_id),
            f"return nothing and put each output, or return {{{', '.join(f'{n!r}: …' for n in outputs)}}}",
        )
    )


def run_command(
    definition: ManifestQuantum, quantum: Quantum, *, code: str, work: str, temporary: str, log: str
) -> None:
    """Run the command's words, never through a shell; what it says goes to the log.

    Raises
    ------
    NothingToDo
        If it exits with 66.
    TaskError
        If it cannot be started, or exits with anything but 0 (PST-N007).
    """
    import signal

    words = list(expand(definition, quantum, code))
    environment = {**os.environ, **FIXED, "TMPDIR": temporary, "PRESTOW_SEED": str(quantum.seed)}
    environment["PYTHONPATH"] = os.pathsep.join(p for p in (code, os.environ.get("PYTHONPATH", "")) if p)
    ignored = (signal.SIGPIPE, signal.SIGXFSZ)  # by Python; its child must not
    # `subprocess` would do, but costs more to import than all the rest of a job
    streams = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    with _place(work, temporary):
        try:
            pid = os.posix_spawnp(
                words[0], words, environment, file_actions=streams, setpgroup=0, setsigdef=ignored
            )
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            raise TaskError(
                Problem(
                    "PST-N007",
                    f"cannot start {words[0]!r}: {reason}",
                    in_words(quantum.task, quantum.data_id),
                )
            ) from error
    try:
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    except BaseException:
        os.killpg(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    if status == DECLINED:
        last = next(iter(tail(log)[-1:]), "")
        code_ = last.partition(_CONFESSION)[2].strip() if _CONFESSION in last else ""
        raise NothingToDo(code_ if re.fullmatch(r"[a-z][a-z0-9_]*", code_) else "declined")
    if status:
        how = (
            f"was killed by {signal.Signals(-status).name}"
            if status < 0
            else f"ended with exit code {status}"
        )
        raise TaskError(
            Problem(
                "PST-N007", f"{os.path.basename(words[0])} {how}", in_words(quantum.task, quantum.data_id)
            )
        )


def expand(definition: ManifestQuantum, quantum: Quantum, code: str) -> Iterator[str]:
    """Give the command's words with their fields filled in.

    A word that is exactly ``{inputs.x}`` or ``{outputs.y}`` becomes one word for each path.
    """
    config: Mapping[str, Any] = definition.config  # Any: JSON values
    for n, word in enumerate(definition.command or ()):
        if n == 0 and word in ("python", "python3"):
            yield sys.executable
            continue
        whole = re.fullmatch(_FIELD, word)
        if whole and whole[1] in ("inputs", "outputs"):
            yield from (str(path) for path in quantum.paths(whole[2]))
            continue

        def value(match: re.Match[str]) -> str:
            kind, name = match[1], match[2]
            if kind is None:
                return str(quantum.seed) if match[3] == "seed" else code
            if kind in ("inputs", "outputs"):
                paths = quantum.paths(name)
                if len(paths) != 1:
                    raise TaskError(
                        Problem(
                            "PST-N007",
                            f"{match[0]} inside a word must be one file, and is {len(paths)}",
                            in_words(quantum.task, quantum.data_id),
                            "let it stand alone",
                        )
                    )
                return str(paths[0])
            table = config if kind == "config" else quantum.data_id
            if name not in table:
                raise TaskError(
                    Problem(
                        "PST-N007",
                        f"{match[0]} in the command is unknown",
                        in_words(quantum.task, quantum.data_id),
                    )
                )
            found = table[name]
            if isinstance(found, str):
                return found
            from prestow.model.hashing import canonical_json

            return canonical_json(found)

        yield re.sub(_FIELD, value, word)


def tail(log: str, lines: int = TAIL) -> tuple[str, ...]:
    """Give the last lines of a log, of which it may have none."""
    try:
        with open(log, "rb") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(max(0, size - (1 << 16)))
            text = file.read().decode(errors="replace")
    except OSError:
        return ()
    return tuple(printable(line) for line in text.splitlines()[-lines:])


def all_lines(log: str) -> list[str]:
    """Give every line of a log."""
    try:
        with open(log, encoding="utf-8", errors="replace") as file:
            return file.read().splitlines()
    except OSError:
        return []


def _entry(definition: ManifestQuantum) -> tuple[Any, Any]:  # Any: the workflow's own objects
    import importlib

    module_name, _, name = str(definition.entry).partition(":")
    module = importlib.import_module(module_name)
    function: Any = module
    for part in name.split("."):
        function = getattr(function, part)
    if definition.config_class is None:
        return function, dict(definition.config)
    made = getattr(module, definition.config_class)
    fields = made.__dataclass_fields__
    return function, made(
        **{k: _fit(v, fields[k].type) if k in fields else v for k, v in definition.config.items()}
    )


def _takes(function: Any) -> int:
    code = getattr(function, "__code__", None)
    return 1 if code is not None and code.co_argcount == 1 and not code.co_flags & 0x04 else 2


def _fit(value: Any, annotation: object) -> Any:
    """Give JSON's lists back as the tuples that the configuration's annotations ask for."""
    text = annotation if isinstance(annotation, str) else getattr(annotation, "__name__", repr(annotation))
    if not isinstance(annotation, str) and hasattr(annotation, "__args__"):
        text = repr(annotation)  # tuple[float, ...] has a name of its own, without what is in it
    text = text.replace("typing.", "").strip().removeprefix("Optional[").lower()
    if isinstance(value, list):
        inner = text.partition("[")[2]
        items = [_fit(item, inner) for item in value]
        return tuple(items) if text.startswith("tuple") else items
    if text.startswith("float") and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return value


def _failed(error: BaseException, code: str) -> TaskError:
    place = _own_line(error, code)
    text = printable(str(error).strip())
    what = f"{type(error).__name__}: {text}" if text else type(error).__name__
    return TaskError(Problem("PST-N007", f"{what} ({place})" if place else what, place))


def _own_line(error: BaseException, code: str) -> str:
    """Give the last line of the traceback that is the workflow's own, else the last of all."""
    own = last = ""
    trace = error.__traceback__
    here = os.path.dirname(__file__)
    while trace is not None:
        name, line = trace.tb_frame.f_code.co_filename, trace.tb_lineno
        if code and name.startswith(f"{code}/"):
            own = f"{name[len(code) + 1 :]}:{line}"
        elif not name.startswith((here, "<frozen")):
            last = f"{name}:{line}"
        trace = trace.tb_next
    return own or last


def _trace(error: BaseException, code: str) -> None:
    """Print where the task failed: prestow's own frames would say nothing to its author."""
    import traceback

    if isinstance(error, PrestowError):
        for frame in traceback.extract_tb(error.__traceback__):
            if code and frame.filename.startswith(f"{code}/"):
                where = f"{frame.filename[len(code) + 1 :]}:{frame.lineno}"
                sys.stderr.write(f"{where}, in {frame.name}: {frame.line}\n")
        sys.stderr.write(f"{error}\n")
        return
    here, trace = os.path.dirname(__file__), error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename.startswith(here):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace, file=sys.stderr)


@contextmanager
def _place(work: str, temporary: str) -> Iterator[None]:
    """Be in the quantum's own directory, with its own place for temporary files."""
    try:
        before = os.getcwd()
    except FileNotFoundError:
        before = "/"
    old = os.environ.get("TMPDIR")
    module = sys.modules.get("tempfile")
    old_directory = getattr(module, "tempdir", None)
    os.environ["TMPDIR"] = temporary
    if module is not None:
        module.tempdir = temporary  # type: ignore[attr-defined]  # tempfile remembers its first answer
    os.chdir(work)
    try:
        yield
    finally:
        os.chdir(before if os.path.isdir(before) else "/")
        if old is None:
            os.environ.pop("TMPDIR", None)
        else:
            os.environ["TMPDIR"] = old
        module = sys.modules.get("tempfile")
        if module is not None:
            module.tempdir = old_directory  # type: ignore[attr-defined]


@contextmanager
def _captured(log: str, *, debugger: bool) -> Iterator[None]:
    """Let all that is written to the standard streams, and by logging and warnings, go to the log.

    Also what other processes and libraries that are not Python write: they know the descriptors alone.
    """
    if debugger:
        yield
        return
    kept = sys.stdout, sys.stderr
    with open(log, "a", encoding="utf-8", errors="backslashreplace", buffering=1) as sink:
        sys.stdout = sys.stderr = sink
        handler = _logging(sink)
        try:
            with _descriptors(sink.fileno(), kept):
                yield
        finally:
            sys.stdout, sys.stderr = kept
            if handler is not None:
                sys.modules["logging"].getLogger().removeHandler(handler)


@contextmanager
def _descriptors(log: int, streams: Sequence[TextIO]) -> Iterator[None]:
    """Let the descriptors of standard output and standard error be the log."""
    for stream in streams:
        with suppress(OSError, ValueError, AttributeError):  # what waits in it was said before
            stream.flush()
    kept: dict[int, int] = {}
    for number in (1, 2):
        with suppress(OSError):  # a process may have been started without it
            kept[number] = os.dup(number)
            os.dup2(log, number)
    try:
        yield
    finally:
        for number, before in kept.items():
            os.dup2(before, number)
            os.close(before)


def _logging(sink: TextIO) -> Any:
    """Send the root logger's records to the log, where somebody set up handlers of its own."""
    module = sys.modules.get("logging")
    if module is None or not module.root.handlers:
        return None  # then logging's last resort writes to sys.stderr, which is the log
    handler = module.StreamHandler(sink)
    module.root.addHandler(handler)
    return handler


def text_of(problems: Sequence[Problem]) -> str:
    """Give problems as one line for people."""
    return "; ".join(f"{p.what}" for p in problems)
