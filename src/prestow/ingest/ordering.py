"""In which order receipts are taken in: parents before children, by task."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from prestow.errors import StoreError
from prestow.ingest.reading import TypedReceipt, typed
from prestow.packs import RECEIPTS
from prestow.stores import Store, names_below

Task = tuple[str, str]
"""A run, and a task in it."""

Kind = tuple[str, str]
"""A run, and a dataset type in it."""


def task_of(name: str) -> Task:
    """Give run and task of the receipt of that name."""
    _, run, task, _ = name.split("/", 3)
    return run, task


class Order:
    """The order of some receipts, as far as one receipt of each task tells it, and what is learnt on the way.

    By task and not by quantum, so that nothing of a receipt need be kept until its turn.

    Parameters
    ----------
    store : Store
        One receipt of each task is read from it.
    names : iterable of str
        Of receipts.
    """

    def __init__(self, store: Store, names: Iterable[str]) -> None:
        self._groups: dict[Task, list[str]] = {}
        for name in names:
            self._groups.setdefault(task_of(name), []).append(name)
        self._makers: dict[Kind, set[Task]] = {}
        self._reads: dict[Task, set[Kind]] = {task: set() for task in self._groups}
        for task, members in self._groups.items():
            receipt = _first(store, members)
            for output in receipt.outputs if receipt else ():
                self._makers.setdefault((task[0], output.type), set()).add(task)
            self._reads[task].update((given.run, given.type) for given in (receipt.inputs if receipt else ()))
        self._left = Counter({task: len(members) for task, members in self._groups.items()})

    def names(self) -> Iterator[str]:
        """Give all names, each task after those whose products it reads."""
        waiting = {
            task: {maker for kind in kinds for maker in self._makers.get(kind, ())} - {task}
            for task, kinds in self._reads.items()
        }
        while waiting:
            ready = sorted(task for task, parents in waiting.items() if not parents & waiting.keys())
            for task in ready or sorted(
                waiting
            ):  # a cycle of tasks is no pipeline's; it is taken as it comes
                del waiting[task]
                yield from self._groups[task]

    def passed(self, names: Sequence[str]) -> None:
        """Note that these are taken in."""
        self._left.subtract(Counter(map(task_of, names)))

    def too_early(self, reads: Iterable[Sequence[str]], names: Sequence[str]) -> bool:
        """Say whether some quanta read what is made by quanta that are not yet taken in, and not among these.

        ``reads`` gives run and task of who reads, and run and type of what.
        """
        here: Mapping[Task, int] | None = None
        for run, task, *kind in reads:
            for maker in self._makers.get((kind[0], kind[1]), ()):
                if maker == (run, task) or not self._left[maker]:
                    continue
                here = Counter(map(task_of, names)) if here is None else here
                if self._left[maker] > here.get(maker, 0):
                    return True
        return False


def _first(store: Store, names: Sequence[str]) -> TypedReceipt | None:
    """Give the first receipt of a task that is one; what is none is told later."""
    for name in names[:3]:
        try:
            return typed(store.read(name))
        except (StoreError, ValueError):
            continue
    return None


def runs_of(store: Any) -> list[str]:  # Any: a store that can list
    """Give all runs that have receipts, sorted."""
    return sorted({name.split("/")[1] for name in names_below(store, RECEIPTS)})
