"""Portions of receipts judged by several processes, in order; or in this one, where there are few.

A worker is a fresh interpreter at the other end of two pipes. It ends when its pipe does, so none
outlives the command that started it, however that ended.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import marshal
import os
import queue
import select
import signal
import struct
import subprocess
import sys
import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import IO, Any, Final, NamedTuple, Self

from prestow import errors
from prestow.errors import PrestowError, Problem, StoreError
from prestow.ingest.judging import Judge
from prestow.ingest.levels import Checking, Level
from prestow.ingest.portions import Portion, Reader, quantum_of
from prestow.stores import Store

AHEAD: Final = 3
"""Portions that a worker has at most: what it does, and what is next."""

_SWITCH: Final = 0.05
"""Seconds after which a thread may be interrupted: each that waits for its turn wakes up so often."""

MOST_AT_ONCE: Final = 3
"""Portions whose receipts are in flight together where the store is slow."""

_START: Final = """
import marshal, os, struct, sys

def read(size):
    data = b""
    while len(data) < size:
        part = os.read(0, size - len(data))
        if not part:
            sys.exit()
        data += part
    return data

sys.path[:] = marshal.loads(read(struct.unpack("<Q", read(8))[0]))
from prestow.ingest.workers import main
main()
"""
_LENGTH: Final = struct.Struct("<Q")


class Work(NamedTuple):
    """What every worker must know: the store, how closely to look, what is deleted, the dimensions."""

    store: Store
    checking: Checking
    deleted: frozenset[str]
    numbers: Mapping[str, bool]

    def reader(self) -> Reader:
        """Give what reads and judges, in this process."""
        return Reader(self.store, Judge(self.store, self.checking, self.deleted, self.numbers))

    def told(self) -> bytes:
        """Give it as plain values for another process."""
        kind = type(self.store)
        return marshal.dumps(
            (kind.__module__, kind.__name__, self.store.uri, str(self.checking.level), self.checking.share,
             list(self.deleted), dict(self.numbers))
        )  # fmt: skip

    @classmethod
    def heard(cls, data: bytes) -> Self:
        """Open the same store in this process."""
        module, kind, uri, level, share, deleted, numbers = marshal.loads(data)  # noqa: S302 - of our own process
        store = getattr(importlib.import_module(module), kind)(uri)
        return cls(store, Checking(Level(level), share), frozenset(deleted), numbers)


class Pool:
    """Several processes that judge portions; a context.

    Parameters
    ----------
    work : Work
        Its store must be one that `can_travel`.
    processes : int
        How many.
    """

    def __init__(self, work: Work, processes: int) -> None:
        self._answers: queue.SimpleQueue[tuple[int, int, Any]] = queue.SimpleQueue()  # Any: unpacked values
        first = marshal.dumps([path for path in sys.path if isinstance(path, str)])
        told = work.told()
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, bufsize=0
            )
            for _ in range(processes)
        ]
        self._ends: list[threading.Thread] = []
        for number, process in enumerate(self._processes):
            for message in (first, told):
                with contextlib.suppress(BrokenPipeError):  # it is told when its answers are read
                    _send(process.stdin, message)
            thread = threading.Thread(target=self._listen, args=(number, process.stdout), daemon=True)
            thread.start()
            self._ends.append(thread)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            with contextlib.suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()
        for process in self._processes:
            process.terminate()
            process.wait()
        for thread in self._ends:
            thread.join()
        for process in self._processes:
            assert process.stdout is not None
            process.stdout.close()

    def judged(
        self, portions: Iterator[Sequence[str]], waiting: Collection[str]
    ) -> Iterator[tuple[Sequence[str], Portion]]:
        """Give names and outcome of each portion, in order, with some being worked on ahead."""
        load = [0] * len(self._processes)
        names: dict[int, Sequence[str]] = {}
        done: dict[int, Portion] = {}
        next_out = sent = 0
        more = True
        while more or names:
            while more and min(load) < AHEAD and sent - next_out < 2 * AHEAD * len(load):
                portion = next(portions, None)
                if portion is None:
                    more = False
                    break
                worker = load.index(min(load))
                aside = [q for name in portion if (q := quantum_of(name)) in waiting] if waiting else []
                try:
                    _send(self._processes[worker].stdin, marshal.dumps((sent, list(portion), aside)))
                except BrokenPipeError:
                    self._ended(worker)
                names[sent] = portion
                load[worker] += 1
                sent += 1
            if next_out in done:
                yield names.pop(next_out), done.pop(next_out)
                next_out += 1
                continue
            if not names:
                break
            worker, number, answer = self._answers.get()
            if number < 0:
                if isinstance(answer, BaseException):
                    raise answer
                self._ended(worker)
            load[worker] -= 1
            done[number] = Portion(*answer)

    def _listen(self, worker: int, pipe: IO[bytes] | None) -> None:
        """Hand on what a worker answers, until it ends."""
        while True:
            data = _receive(pipe)
            if data is None:
                self._answers.put((worker, -1, None))
                return
            if data[:1] == b"!":
                self._answers.put((worker, -1, _error(data[1:])))
            else:
                number, answer = marshal.loads(data[1:])  # noqa: S302 - of our own process
                self._answers.put((worker, number, answer))

    def _ended(self, worker: int) -> None:
        code = self._processes[worker].wait()
        how = f"by signal {-code}" if code < 0 else f"with exit code {code}"
        what = f"a process that verifies files ended {how}"
        fix = "was there enough memory? The same command goes on where it was; --processes 1 uses no other"
        raise StoreError(Problem("PST-I020", what, f"process {self._processes[worker].pid}", fix))


def can_travel(store: Store) -> bool:
    """Say whether another process can open the same store: one that its class opens by its URI alone."""
    kind = type(store)
    if kind.__module__ == "__main__" or kind.__qualname__ != kind.__name__ or store.uri.startswith("memory:"):
        return False
    try:
        fresh = kind(store.uri)  # type: ignore[call-arg]  # tried
    except (TypeError, PrestowError):
        return False
    return fresh.uri == store.uri and vars(fresh).keys() == vars(store).keys()


def main() -> None:
    """Be a worker: judge portions until the pipe ends."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # who started it is told, and ends it
    inward = os.fdopen(os.dup(0), "rb", buffering=0)
    outward = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)  # what anything prints is no answer
    told = _receive(inward)
    if told is None:
        return
    gc.disable()  # rows have no cycles, and there are very many
    sys.setswitchinterval(_SWITCH)
    reader = Work.heard(told).reader()
    while True:
        messages = _waiting(inward, MOST_AT_ONCE if reader.in_flight > 1 else 1)
        if not messages:
            reader.close()
            return
        try:
            _answer(outward, reader, [marshal.loads(message) for message in messages])  # noqa: S302 - of our own process
        except BrokenPipeError:
            os._exit(0)


def _answer(outward: IO[bytes], reader: Reader, asked: Sequence[tuple[int, list[str], list[str]]]) -> None:
    """Judge some portions, all their receipts in flight together."""
    try:
        read = reader.several([(names, frozenset(waiting)) for _, names, waiting in asked])
    except BaseException as error:  # noqa: BLE001 - told at the other end
        _send(outward, b"!" + _told(error))
        return
    for (number, _, _), portion in zip(asked, read, strict=True):
        _send(outward, b"." + marshal.dumps((number, tuple(portion))))


def _waiting(inward: IO[bytes], most: int) -> list[bytes]:
    """Give the next message, and those that wait behind it; none at the end."""
    messages: list[bytes] = []
    while len(messages) < most and (not messages or select.select([inward], [], [], 0)[0]):
        message = _receive(inward)
        if message is None:
            break
        messages.append(message)
    return messages


def _told(error: BaseException) -> bytes:
    """Give an error as plain values."""
    problems = [Problem("PST-R001", f"{type(error).__name__}: {error}", "a process that verifies files")]
    if isinstance(error, PrestowError) and type(error).__module__ == errors.__name__:
        return marshal.dumps(
            (type(error).__name__, [(p.code, p.what, p.where, p.fix) for p in error.problems])
        )
    return marshal.dumps((StoreError.__name__, [(p.code, p.what, p.where, p.fix) for p in problems]))


def _error(data: bytes) -> PrestowError:
    name, problems = marshal.loads(data)  # noqa: S302 - of our own process
    error: PrestowError = getattr(errors, name)(*(Problem(*given) for given in problems))
    return error


def _send(pipe: IO[bytes] | None, data: bytes) -> None:
    assert pipe is not None
    view = memoryview(_LENGTH.pack(len(data)) + data)
    while view:
        view = view[pipe.write(view) :]


def _receive(pipe: IO[bytes] | None) -> bytes | None:
    assert pipe is not None
    head = _exactly(pipe, _LENGTH.size)
    return None if head is None else _exactly(pipe, _LENGTH.unpack(head)[0])


def _exactly(pipe: IO[bytes], size: int) -> bytes | None:
    parts = []
    while size:
        try:
            part = pipe.read(min(size, 1 << 20))
        except (OSError, ValueError):
            return None
        if not part:
            return None
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
