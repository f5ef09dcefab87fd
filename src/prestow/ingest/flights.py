"""Many calls at once of one that mostly waits: a store that answers slowly."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import Any, Final, TypeVar

T = TypeVar("T")
R = TypeVar("R")

_STACK: Final = 1 << 19  # bytes: there may be hundreds


class Flights:
    """Threads that call a function for one item after the other; a call costs some microseconds.

    Parameters
    ----------
    count : int
        How many calls are under way at most.
    """

    def __init__(self, count: int) -> None:
        self._todo: SimpleQueue[tuple[Any, Any, int, SimpleQueue[Any]] | None] = (
            SimpleQueue()
        )  # Any: of its caller
        before = threading.stack_size(_STACK)
        try:
            self._threads = [threading.Thread(target=self._fly, daemon=True) for _ in range(count)]
            for thread in self._threads:
                thread.start()
        finally:
            threading.stack_size(before)

    def each(self, function: Callable[[T], R], items: Sequence[T]) -> list[R]:
        """Give what the function gives for each item, in their order; raise the first error, when all are back."""
        back: SimpleQueue[Any] = SimpleQueue()
        for number, item in enumerate(items):
            self._todo.put((function, item, number, back))
        found: list[Any] = [None] * len(items)
        wrong: list[tuple[int, BaseException]] = []
        for _ in items:
            number, good, value = back.get()
            found[number] = value
            if not good:
                wrong.append((number, value))
        if wrong:
            raise min(wrong, key=lambda one: one[0])[1]
        return found

    def close(self) -> None:
        """End the threads, when what they have begun is finished."""
        for _ in self._threads:
            self._todo.put(None)
        for thread in self._threads:
            thread.join()

    def _fly(self) -> None:
        while (given := self._todo.get()) is not None:
            function, item, number, back = given
            try:
                back.put((number, True, function(item)))
            except BaseException as error:  # noqa: BLE001 - raised where it was asked for
                back.put((number, False, error))
