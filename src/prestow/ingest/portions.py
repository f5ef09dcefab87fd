"""A portion of receipts read and judged at once: their rows together, as values that any process can hand on.

Where the store answers slowly, many receipts are in flight; where it is quick, one follows the other.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from prestow.errors import ObjectNotFoundError, Problem, StoreError
from prestow.ingest.judging import OTHER_NAMES, Judge, Judged, Row
from prestow.ingest.reading import typed
from prestow.packs import Packed
from prestow.stores import Store

MOST_THREADS: Final = 400
"""Receipts in flight in one process at most."""

_LOOKED_AT: Final = 6  # receipts by which it is seen how slow a store is
_SLOW: Final = 0.002  # seconds of waiting for one receipt from which on it pays not to wait
_WORK: Final = 1e-4  # seconds of work in this process for one receipt, once it is warm
_JSON: Final = len(".json")

NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})  # Any: of any kind

Told = tuple[str, str, str]
"""What is wrong, where, and what to do."""


class Portion(NamedTuple):
    """What a portion of receipts came to: rows as `prestow.ingest.rows` takes them, and what is wrong.

    Parameters
    ----------
    quanta, inputs, artifacts, metrics, elsewhere : list of tuple
        Rows.
    datasets : mapping of kind to rows
        A kind is type, dimensions and format.
    kinds : list of kind
        Also of what was planned and not made.
    paths : list of str
        What these receipts commit besides the artifacts.
    faulty, contradictory : list of (what, where, fix)
        What is wrong.
    states, counts : mapping
        How many quanta were settled how; and the counts of `Judged`, with ``refused``: those that have no rows.
    reads : list of (run, task, run of an input, type of an input)
        What is made from what.
    """

    quanta: list[Row]
    inputs: list[Row]
    artifacts: list[Row]
    metrics: list[Row]
    elsewhere: list[Row]
    datasets: dict[Row, list[Row]]
    kinds: list[Row]
    paths: list[str]
    faulty: list[Told]
    contradictory: list[Told]
    states: dict[str, int]
    counts: dict[str, int]
    reads: list[Row]


def quantum_of(name: str) -> str:
    """Give the quantum whose receipt has that name.

    Examples
    --------
    >>> quantum_of("_receipts/demo/isr/0f/0f3a.json")
    '0f3a'
    """
    return name[name.rindex("/") + 1 : -_JSON]


class Reader:
    """Reads and judges portions of receipts from one store, one portion at a time."""

    def __init__(self, store: Store, judge: Judge) -> None:
        self._store = store
        self._judge = judge
        self._packed: dict[str, Packed] = {}
        self._pack_lock = threading.Lock()
        self._threads: ThreadPoolExecutor | None = None
        self.in_flight = 1

    def close(self) -> None:
        """End its threads, when what they have begun is finished."""
        if self._threads is not None:
            self._threads.shutdown(wait=True, cancel_futures=True)

    def read(
        self, names: Sequence[str], waiting: Collection[str] | None, refused: Mapping[Row, str] = NOTHING
    ) -> Portion:
        """Give what these receipts come to.

        Parameters
        ----------
        names : sequence of str
            Names of receipts that were seen.
        waiting : collection of str, optional
            Of their quanta, those that have anything aside.
        refused : mapping of kind to str
            Dataset types that the registry does not take, and why; quanta that plan any have no rows.

        Raises
        ------
        StoreError
            If the store cannot be read, or a receipt vanished.
        """
        return self.several([(names, waiting)], refused)[0]

    def several(
        self,
        asked: Sequence[tuple[Sequence[str], Collection[str] | None]],
        refused: Mapping[Row, str] = NOTHING,
    ) -> list[Portion]:
        """Give what several portions come to, each of names and what waits of them, as `read`."""
        aside = {name: waiting for names, waiting in asked for name in names}
        everyone = list(aside)

        def one(name: str) -> tuple[bytes | None, Judged | None]:
            data = self._data(name)
            return data, None if data is None else self._judge.judge(name, data, aside[name])

        found = self._each(one, everyone)
        for place in self._packed_meanwhile(everyone, found):
            found[place] = one(everyone[place])
        for name, (data, _) in zip(everyone, found, strict=True):
            if data is None:  # it was there when names were listed, and none is ever deleted
                what = "a receipt vanished while it was read"
                raise StoreError(Problem("PST-R001", what, f"{self._store.uri}: {name}"))
        judged = iter([one for _, one in found if one is not None])
        return [_together(names, list(islice(judged, len(names))), refused) for names, _ in asked]

    def paths(self, names: Iterable[str]) -> set[str]:
        """Give the paths that these receipts commit, without a look at any file."""
        found: set[str] = set()
        for name in names:
            data = self._data(name)
            outputs = typed(data).outputs if data is not None else ()
            found.update(output.path for output in outputs if output.state == "made")
        return found

    def _each(
        self, one: Callable[[str], tuple[bytes | None, Judged | None]], names: Sequence[str]
    ) -> list[tuple[bytes | None, Judged | None]]:
        if self._threads is not None:
            return list(self._threads.map(one, names))
        found, walls, cpus = [], [], []
        for name in names[:_LOOKED_AT]:
            begin, used = time.perf_counter(), time.thread_time()
            found.append(one(name))
            walls.append(time.perf_counter() - begin)
            cpus.append(time.thread_time() - used)
        rest = names[_LOOKED_AT:]
        # The middle one: a busy machine holds up some, a slow store all.
        wall, cpu = sorted(walls)[len(walls) // 2], sorted(cpus)[len(cpus) // 2]
        if rest and wall > _SLOW and wall > 4 * cpu:
            self.in_flight = min(MOST_THREADS, max(2, round(wall / _WORK)))
            self._judge.share_memory(self.in_flight)
            self._threads = ThreadPoolExecutor(self.in_flight, "prestow-ingest")
            return [*found, *self._threads.map(one, rest)]
        found += [one(name) for name in rest]
        return found

    def _data(self, name: str) -> bytes | None:
        packed = self._packed.get(name.split("/", 2)[1])
        data = None
        if packed is not None:
            with self._pack_lock:
                data = packed.read(name)
        if data is not None:
            return data
        try:
            return self._store.read(name)
        except ObjectNotFoundError:
            return None

    def _packed_meanwhile(
        self, names: Sequence[str], found: Sequence[tuple[bytes | None, Judged | None]]
    ) -> list[int]:
        """Give the places of receipts that a pack says otherwise: a packed one counts before a single file."""
        runs = {name.split("/", 2)[1] for name in names} - self._packed.keys()
        new = {run: packed for run in sorted(runs) if (packed := Packed.of(self._store, run)) is not None}
        self._packed.update(new)
        if not new:
            return []
        return [
            place
            for place, name in enumerate(names)
            if name.split("/", 2)[1] in new and self._data(name) != found[place][0]
        ]


def _together(names: Sequence[str], judged: Iterable[Judged], refused: Mapping[Row, str]) -> Portion:
    """Give the rows of several receipts as those of a portion."""
    portion = Portion([], [], [], [], [], {}, [], [], [], [], {}, {}, [])
    states: Counter[str] = Counter()
    counts: dict[str, int] = {}
    kinds: set[Row] = set()
    reads: set[Row] = set()
    for name, one in zip(names, judged, strict=True):
        if refused and one.quantum:
            for kind in sorted(one.kinds & refused.keys()):
                where = f"{kind[0]} of task {one.quantum[2]}, run {one.quantum[1]}"
                one.contradictory.append((refused[kind], where, OTHER_NAMES))
            if one.contradictory:
                one.refuse()
        if one.quantum:
            portion.quanta.append(one.quantum)
        portion.inputs.extend(one.inputs)
        portion.artifacts.extend(one.artifacts)
        portion.metrics.extend(one.metrics)
        portion.elsewhere.extend(one.elsewhere)
        portion.faulty.extend(one.faulty)
        portion.contradictory.extend(one.contradictory)
        for kind, row in one.datasets:
            portion.datasets.setdefault(kind, []).append(row)
        if len(one.paths) != len(one.artifacts):
            portion.paths.extend(one.paths)
        if one.state:
            states[one.state] += 1
            if not one.quantum:
                counts["refused"] = counts.get("refused", 0) + 1
            run, task = name.split("/", 3)[1:3]
            for what in one.reads:
                reads.add((run, task, *what))
        for key, count in one.counts.items():
            counts[key] = counts.get(key, 0) + count
        kinds |= one.kinds
    return portion._replace(kinds=sorted(kinds), reads=sorted(reads), states=dict(states), counts=counts)
