"""Watching pre-flight hooks: whether one reads a file, the clock, the network or random numbers.

This changes modules of the running process, and an audit hook stays for good: it is for a process of its own
(`prestow check --strict`).
"""

from __future__ import annotations

import datetime as dt
import os
import random
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import polars as pl

from prestow.model.hashing import canonical_json, sha256_hex
from prestow.pipeline.definition import TaskDefinition

_CLOCKS = (
    "time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns", "process_time",
    "process_time_ns", "localtime", "gmtime", "ctime", "asctime", "strftime",
)  # fmt: skip
_WITHOUT = {"localtime": 0, "gmtime": 0, "ctime": 0, "asctime": 0, "strftime": 1}
"""Functions that read the clock only if they are given no more than so many arguments."""
_DICE = (
    "random", "uniform", "randint", "randrange", "choice", "choices", "shuffle", "sample", "gauss",
    "normalvariate", "getrandbits", "randbytes", "triangular", "betavariate", "expovariate", "lognormvariate",
)  # fmt: skip
_NUMPY_DICE = ("random", "rand", "randn", "randint", "normal", "uniform", "choice", "permutation", "shuffle")
_LOOKS = ("stat", "lstat", "getcwd", "access", "readlink")
_EVENTS = {
    "open": "opens a file", "os.listdir": "lists a directory", "os.scandir": "lists a directory",
    "sqlite3.connect": "opens a database", "subprocess.Popen": "starts a program", "os.system": "starts a program",
    "os.posix_spawn": "starts a program", "os.exec": "starts a program", "os.fork": "starts a process",
    "socket.__new__": "opens a socket", "socket.connect": "opens a connection",
    "socket.getaddrinfo": "looks up a host", "os.mkdir": "makes a directory", "os.remove": "removes a file",
    "os.rename": "renames a file",
}  # fmt: skip
_ABOUT_FILES = {"open", "os.listdir", "os.scandir"}


@dataclass
class Watcher:
    """Notes what hooks do that they must not, and digests of what they saw and answered.

    Parameters
    ----------
    shift : float
        Seconds by which the clocks are wrong.
    """

    shift: float = 0.0
    noted: dict[str, dict[str, str]] = field(default_factory=dict)  # by task and place what is done there
    seen: dict[str, tuple[str, str, str]] = field(default_factory=dict)  # view, answer, place
    _task: str = ""
    _directory: str = ""
    _quiet: bool = False

    def __post_init__(self) -> None:
        sys.addaudithook(self._audit)

    @contextmanager
    def around(self, task: TaskDefinition, directory: str) -> Iterator[None]:
        """Watch what the code of a directory does."""
        self._task, self._directory = task.label, os.path.realpath(directory) + os.sep
        changed = list(self._change())
        try:
            yield
        finally:
            self._task = ""
            for module, name, original in reversed(changed):
                setattr(module, name, original)

    def answered(
        self,
        task: TaskDefinition,
        view: pl.DataFrame,
        vetoes: pl.Series,
        masks: dict[str, pl.Series],
        place: str,
    ) -> None:
        """Keep what a hook saw and answered."""
        answer = [vetoes.to_list(), {name: mask.to_list() for name, mask in sorted(masks.items())}]
        self.seen[task.label] = (_digest(view.write_csv()), _digest(answer), place)

    def note(self, what: str) -> None:
        """Note something, if the code under watch does it and not Python for its imports."""
        if not self._task or self._quiet:
            return
        frame = sys._getframe(1)  # noqa: SLF001 - the way to the caller
        while frame is not None:
            file = frame.f_code.co_filename
            if "importlib" in file and file.startswith("<frozen"):
                return
            if file.startswith(self._directory):
                place = f"{file[len(self._directory) :]}:{frame.f_lineno}"
                self.noted.setdefault(self._task, {}).setdefault(place, what)
                return
            frame = frame.f_back  # type: ignore[assignment]  # None at the end

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:  # Any: as Python gives them
        if not self._task or event not in _EVENTS:
            return
        text = _EVENTS[event]
        if event in _ABOUT_FILES:
            path = arguments[0] if arguments else None
            if not isinstance(path, str | bytes | os.PathLike):
                return
            file = os.fsdecode(path)
            if file.startswith(self._directory):
                return
            text = f"{text} ({os.path.basename(file) or file})"
        self.note(text)

    def _change(self) -> Iterator[tuple[Any, str, Any]]:
        """Put functions that note their use in the place of others, and give what was there."""
        for name in _CLOCKS:
            yield self._put(time, name, self._clock(getattr(time, name), name))
        for name in ("datetime", "date"):
            yield self._put(dt, name, self._calendar(getattr(dt, name)))
        for name in _LOOKS:
            yield self._put(os, name, self._told(getattr(os, name), "looks at files"))
        yield self._put(os, "urandom", self._told(os.urandom, "takes random numbers"))
        for name in _DICE:
            if hasattr(random, name):
                yield self._put(random, name, self._told(getattr(random, name), "takes random numbers"))
        yield self._put(random, "Random", self._unseeded(random.Random))
        modules = [sys.modules.get(name) for name in ("polars", "pyarrow.parquet", "pyarrow.csv", "pandas")]
        for module in filter(None, modules):
            for name in dir(module):
                if name.startswith(("read_", "scan_")) and callable(getattr(module, name)):
                    yield self._put(module, name, self._told(getattr(module, name), f"reads a file ({name})"))
        numpy = sys.modules.get("numpy.random")
        if numpy is not None:
            for name in _NUMPY_DICE:
                yield self._put(numpy, name, self._told(getattr(numpy, name), "takes random numbers"))
            yield self._put(numpy, "default_rng", self._unseeded(numpy.default_rng))

    def _put(self, module: Any, name: str, made: Any) -> tuple[Any, str, Any]:  # Any: modules and functions
        original = getattr(module, name)
        setattr(module, name, made)
        return module, name, original

    def _told(self, function: Callable[..., Any], what: str) -> Callable[..., Any]:
        def told(*arguments: Any, **more: Any) -> Any:  # Any: passed on
            self.note(what)
            return function(*arguments, **more)

        return told

    def _unseeded(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def told(seed: Any = None, *arguments: Any) -> Any:  # Any: passed on
            if seed is None:
                self.note("takes random numbers without a seed")
            return function(seed, *arguments)

        return told

    def _clock(self, function: Callable[..., Any], name: str) -> Callable[..., Any]:
        shift = self.shift * 1e9 if name.endswith("_ns") else self.shift

        def told(*arguments: Any) -> Any:  # Any: passed on
            if name in _WITHOUT and len(arguments) > _WITHOUT[name]:
                return function(*arguments)
            self.note("reads the clock")
            value = function(*arguments)
            return type(value)(value + shift) if isinstance(value, int | float) else value

        return told

    def _calendar(self, kind: type) -> type:
        watcher, wrong = self, dt.timedelta(seconds=self.shift)

        def reading(name: str) -> Any:  # Any: a class method
            def told(cls: type, *arguments: Any, **more: Any) -> Any:  # Any: passed on
                del cls
                watcher.note("reads the clock")
                return getattr(kind, name)(*arguments, **more) + wrong

            return classmethod(told)

        names = [name for name in ("now", "utcnow", "today") if hasattr(kind, name)]

        class Same(type(kind)):  # type: ignore[misc]  # of whatever metaclass
            def __instancecheck__(cls, value: object) -> bool:
                return isinstance(value, kind)

            def __subclasscheck__(cls, other: type) -> bool:
                return issubclass(other, kind)

        return Same(kind.__name__, (kind,), {name: reading(name) for name in names})


def _digest(value: object) -> str:
    return sha256_hex(canonical_json(value).encode())
