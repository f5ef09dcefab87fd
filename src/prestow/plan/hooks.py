"""Pre-flight hooks: a task's own code looks at its candidates in columns, and takes some away.

The code comes from the bundle that travels to the jobs. It is imported on the submit side for this
alone, in a directory of its own, and forgotten again. A hook can only take away: it answers with masks over
what it was shown.
"""

from __future__ import annotations

import importlib
import io
import os
import re
import sys
import tempfile
import traceback
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext, redirect_stdout
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.errors import PlanRefusedError, Problem
from prestow.pipeline.definition import CodeBundle, TaskDefinition
from prestow.plan.frames import describe
from prestow.plan.keys import ROW
from prestow.plan.matching.dropping import Gone, Sieve
from prestow.plan.matching.sides import Side
from prestow.plan.state import State
from prestow.tasks import Preflight

if TYPE_CHECKING:
    from prestow.plan.watching import Watcher

_CODE = re.compile(r"[a-z][a-z0-9_]*")
_ABOUT = {"_row", "_dataset"}

WATCHER: Watcher | None = None
"""Who watches the hooks of this process, if somebody does."""

Hook = Callable[["View"], Preflight]
"""A pre-flight hook."""


class Inputs(Mapping[str, pl.DataFrame]):
    """What candidates would read, by connection; a frame is made when it is asked for."""

    def __init__(self, makers: Mapping[str, Callable[[], pl.DataFrame]]) -> None:
        self._makers = makers
        self._frames: dict[str, pl.DataFrame] = {}

    def __getitem__(self, name: str) -> pl.DataFrame:
        if name not in self._frames:
            self._frames[name] = self._makers[name]()
        return self._frames[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._makers)

    def __len__(self) -> int:
        return len(self._makers)


@dataclass(frozen=True)
class View:
    """What a hook sees; `prestow.tasks.PreflightView` says what a task author may use."""

    quanta: pl.DataFrame
    inputs: Mapping[str, pl.DataFrame]
    config: Mapping[str, Any]  # Any: plain values
    _state: State = field(repr=False)

    def describe(self, frame: pl.DataFrame, *names: str) -> pl.DataFrame:
        """Give a frame with metadata of its dimensions as more columns, such as ``visit.airmass``.

        Raises
        ------
        KeyError
            If a dimension of the frame has no such metadata.
        """
        wide = describe(frame, self._state.request.universe, self._state.records, names)
        lacking = [name for name in names if name not in wide.columns]
        if lacking:
            raise KeyError(f"no metadata {', '.join(lacking)} of {', '.join(frame.columns)}")
        return wide


@dataclass(frozen=True, slots=True)
class _Shown:
    """A view, and where its rows stand among the candidates and their pairs."""

    view: View
    quanta: pl.Series
    pairs: Mapping[str, pl.Series]


def apply_hook(sieve: Sieve, state: State, sides: Sequence[Side]) -> list[Problem]:
    """Ask a task's hook, and take away what it says; give what is wrong with it."""
    task, code = sieve.task, state.request.pipeline.code
    if code is None:
        what = f"{task.label} has the hook '{task.preflight}', and the pipeline has no code"
        return [Problem("PST-P022", what, f"task {task.label}", "list its files under 'code:'")]
    shown = show(sieve, state, sides)
    try:
        with open_hook(code, task) as hook:
            answer = call_hook(task, hook, shown.view)
            vetoes, masks = _understood(task, hook, shown, answer)
            if WATCHER is not None:
                WATCHER.answered(task, shown.view.quanta, vetoes, masks, place_of(hook))
    except PlanRefusedError as error:
        return list(error.problems)
    for word in vetoes.drop_nulls().unique().sort():
        rows = (vetoes == word).fill_null(value=False).arg_true()
        sieve.leave(Gone(f"hook:{word}", shown.quanta.gather(rows), pl.lit(f"by {task.preflight}")))
    for name, mask in masks.items():
        gone = shown.pairs[name].filter(~mask)
        if gone.len():
            pairs = sieve.inputs[name]
            kept = pl.repeat(value=True, n=pairs.height, eager=True, dtype=pl.Boolean)
            sieve.inputs[name] = pairs.filter(kept.scatter(gone, values=False))
    for side in sides:
        name = side.connection.name
        if side.required and name in masks:
            nothing = pl.lit(f"0 of at least 1, after {task.preflight}")
            sieve.leave(Gone(f"minimum:{name}", (sieve.count(name, side.real) == 0).arg_true(), nothing))
    return []


def show(sieve: Sieve, state: State, sides: Sequence[Side]) -> _Shown:
    """Give the view of those candidates that are still there, with what exists or will be made."""
    height = sieve.quanta.height
    rows = pl.int_range(height, dtype=ROW, eager=True) if sieve.kept is None else sieve.kept.arg_true()
    number = None if sieve.kept is None else (sieve.kept.cum_sum() - 1).cast(ROW)
    shown: dict[str, pl.Series] = {}
    makers: dict[str, Callable[[], pl.DataFrame]] = {}
    for side in sides:
        name, kind = side.connection.name, side.connection.type
        pairs = sieve.inputs[name]
        here = pairs["dataset"] < side.real
        if sieve.kept is not None:
            here &= sieve.kept.gather(pairs["quantum"])
        shown[name] = here.arg_true()
        makers[name] = _maker(state, kind, pairs, shown[name], number)
    quanta = sieve.quanta.select(c for c in sieve.quanta.columns if c not in _ABOUT)
    quanta = quanta if number is None else quanta.filter(sieve.kept)  # type: ignore[arg-type]  # not None
    return _Shown(View(quanta, Inputs(makers), dict(sieve.task.config), state), rows.cast(ROW), shown)


def _maker(
    state: State, kind: str, pairs: pl.DataFrame, rows: pl.Series, number: pl.Series | None
) -> Callable[[], pl.DataFrame]:
    def make() -> pl.DataFrame:
        own = pairs[rows]
        frame = state.frame(kind)
        dimensions = [c for c in frame.columns if c in state.request.universe.dimensions]
        quantum = own["quantum"] if number is None else number.gather(own["quantum"])
        return frame.select(dimensions)[own["dataset"]].insert_column(0, quantum.alias("quantum"))

    return make


@contextmanager
def open_hook(code: CodeBundle, task: TaskDefinition) -> Iterator[Hook]:
    """Import a task's hook from the workflow's code, and forget the code's modules afterwards.

    Raises
    ------
    PlanRefusedError
        PST-P022, if it cannot be imported.
    """
    module, _, name = task.preflight.partition(":")
    with tempfile.TemporaryDirectory(prefix="prestow-hook-") as directory:
        with zipfile.ZipFile(io.BytesIO(code.data)) as archive:
            archive.extractall(directory)
        with _alone(os.path.realpath(directory)):
            try:
                with _watched(task, directory), redirect_stdout(sys.stderr):
                    hook = getattr(importlib.import_module(module), name)
            except (Exception, SystemExit) as error:
                raise PlanRefusedError(_failure(task, error, directory)) from error
            yield hook


def _watched(task: TaskDefinition, directory: str) -> AbstractContextManager[None]:
    return nullcontext() if WATCHER is None else WATCHER.around(task, directory)


@contextmanager
def _alone(directory: str) -> Iterator[None]:
    """Let the modules of a directory, and no others of these names, be imported; forget them afterwards."""
    own = {entry.removesuffix(".py") for entry in os.listdir(directory)}
    aside = {
        name: module
        for name, module in sys.modules.items()
        if name.partition(".")[0] in own and name.partition(".")[0] != "prestow"
    }
    for name in aside:
        del sys.modules[name]
    bytecode, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    sys.path.insert(0, directory)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if directory in sys.path:
            sys.path.remove(directory)
        sys.path_importer_cache.pop(directory, None)
        sys.dont_write_bytecode = bytecode
        for name, module in list(sys.modules.items()):
            if str(getattr(module, "__file__", None) or "").startswith(directory + os.sep) or (
                name.partition(".")[0] in own and name.partition(".")[0] != "prestow"
            ):
                del sys.modules[name]
        sys.modules.update(aside)


def call_hook(task: TaskDefinition, hook: Hook, view: View) -> Preflight:
    """Call a hook; whatever goes wrong in it is one problem at its line.

    Raises
    ------
    PlanRefusedError
        PST-P022.
    """
    try:
        with _watched(task, _directory(hook)), redirect_stdout(sys.stderr):
            answer = hook(view)
    except (Exception, SystemExit) as error:
        raise PlanRefusedError(_failure(task, error, _directory(hook))) from error
    if not isinstance(answer, Preflight):
        raise _unfit(task, hook, f"it gave {type(answer).__name__}, and not a Preflight")
    return answer


def place_of(hook: Hook) -> str:
    """Give ``file:line`` of a hook, the file as it is named in the workflow's code."""
    code = getattr(hook, "__code__", None)
    if code is None:
        return str(hook)
    return f"{os.path.relpath(os.path.realpath(code.co_filename), _directory(hook))}:{code.co_firstlineno}"


def _directory(hook: Hook) -> str:
    """Give the directory that the code of a hook was unpacked in."""
    file = Path(os.path.realpath(getattr(getattr(hook, "__code__", None), "co_filename", ".")))
    depth = str(getattr(hook, "__module__", "")).count(".") + (file.name == "__init__.py")
    return str(file.parents[min(depth, len(file.parents) - 1)])


def _failure(task: TaskDefinition, error: BaseException, directory: str) -> Problem:
    base = os.path.realpath(directory)
    frames = [
        (os.path.relpath(os.path.realpath(frame.filename), base), frame.lineno)
        for frame in traceback.extract_tb(error.__traceback__)
        if os.path.realpath(frame.filename).startswith(base + os.sep)
    ]
    if isinstance(error, SyntaxError) and error.filename:
        frames.append((os.path.relpath(os.path.realpath(error.filename), base), error.lineno))
    where = f"{frames[-1][0]}:{frames[-1][1]}" if frames else f"task {task.label}"
    text = str(error).replace(base + os.sep, "").partition("\n")[0] or type(error).__name__
    what = f"the hook '{task.preflight}' of {task.label} failed: {type(error).__name__}: {text}"
    return Problem("PST-P022", what, where, "correct the hook, then: prestow check --strict")


def _unfit(task: TaskDefinition, hook: Hook, what: str) -> PlanRefusedError:
    said = f"the answer of the hook '{task.preflight}' of {task.label} cannot be used: {what}"
    return PlanRefusedError(Problem("PST-P022", said, place_of(hook), "see prestow.tasks.Preflight"))


def _understood(
    task: TaskDefinition, hook: Hook, shown: _Shown, answer: Preflight
) -> tuple[pl.Series, dict[str, pl.Series]]:
    """Give the code of each vetoed row (null: it stays), and the masks of what is read."""
    height = shown.view.quanta.height
    keep = _mask(task, hook, "keep", answer.keep, height)
    if isinstance(answer.code, str):
        codes = pl.repeat(answer.code, height, eager=True, dtype=pl.String)
    else:
        try:
            codes = pl.Series("code", answer.code).cast(pl.String)
        except Exception as error:
            raise _unfit(task, hook, "'code' is neither a word nor a column of words") from error
        if codes.len() != height:
            raise _unfit(task, hook, f"'code' has {codes.len()} rows, and there are {height} quanta")
    vetoes = pl.select(pl.when(~keep).then(codes.fill_null("vetoed"))).to_series()
    for word in vetoes.drop_nulls().unique():
        if not _CODE.fullmatch(word):
            raise _unfit(task, hook, f"the code {word!r} does not match [a-z][a-z0-9_]*")
    masks = {}
    for name, mask in dict(answer.inputs).items():
        if name not in shown.pairs:
            known = ", ".join(shown.pairs) or "none"
            raise _unfit(task, hook, f"there is no connection '{name}'; connections: {known}")
        masks[name] = _mask(task, hook, f"inputs[{name}]", mask, shown.pairs[name].len())
    return vetoes, masks


def _mask(task: TaskDefinition, hook: Hook, name: str, given: object, height: int) -> pl.Series:
    """Give a column of truth values; a null is false."""
    if given is None:
        return pl.repeat(value=True, n=height, eager=True, dtype=pl.Boolean)
    try:
        mask = given if isinstance(given, pl.Series) else pl.Series(name, given)  # type: ignore[arg-type]  # anything
    except Exception as error:
        raise _unfit(task, hook, f"'{name}' is no column: {error}") from error
    if mask.dtype == pl.Null and not mask.len():
        mask = mask.cast(pl.Boolean)
    if mask.dtype != pl.Boolean:
        raise _unfit(task, hook, f"'{name}' has values of type {mask.dtype}, and not truth values")
    if mask.len() != height:
        raise _unfit(
            task, hook, f"'{name}' has {mask.len()} rows, and there are {height}: it can only take away"
        )
    return mask.fill_null(value=False)
