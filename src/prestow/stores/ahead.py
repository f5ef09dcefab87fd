"""Many small reads of a store, some at once, in the order in which they were asked for."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Name = TypeVar("Name")
Found = TypeVar("Found")

THREADS = 16
"""Reads at the same time: they wait for the store, and not for each other."""

CHUNK = 32
"""Names that a thread takes at once."""


def ahead(
    read: Callable[[Name], Found], names: Iterable[Name], *, threads: int = THREADS, chunk: int = CHUNK
) -> Iterator[Found]:
    """Give what ``read`` says of each name, in order; a few chunks ahead of who takes it, and no more.

    Examples
    --------
    >>> list(ahead(len, ["a", "bb", ""]))
    [1, 2, 0]
    """

    def some(group: tuple[Name, ...]) -> list[Found]:
        return [read(name) for name in group]

    rest = iter(names)
    waiting: deque[Future[list[Found]]] = deque()
    with ThreadPoolExecutor(threads, thread_name_prefix="reading") as pool:
        try:
            while True:
                while len(waiting) < 2 * threads and (group := tuple(islice(rest, chunk))):
                    waiting.append(pool.submit(some, group))
                if not waiting:
                    return
                yield from waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
