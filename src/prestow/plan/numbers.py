"""Numbers of quanta and datasets in the plan's order, from their rows in the frames of the passes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from prestow.plan.state import Grouping, State, outputs_of

if TYPE_CHECKING:
    import numpy.typing as npt

    Numbers = npt.NDArray[np.uint32]

CHUNK = 1 << 16  # quanta whose rows are made at a time
_WEIGHT = 8  # of a quantum, where an input weighs 1: a wide gather fills a chunk alone
NONE = np.uint32(0xFFFFFFFF)


@dataclass(frozen=True, slots=True)
class Numbering:
    """Where each row of a pass's frame stands in the plan.

    Parameters
    ----------
    task, row, job : array
        Of each quantum in the plan's order: which task, which row of it, which job.
    quanta : mapping of task to array
        The number of each of its rows.
    first_output : array
        Of each quantum the number of its first output; the others follow.
    existing : mapping of dataset type to array
        The number of each existing dataset, `NONE` where nothing reads it.
    order : array of uint32, shape (existing that are read, 2)
        Of each existing dataset in the plan's order: which type (by name), which row of it.
    """

    task: npt.NDArray[np.uint16]
    row: Numbers
    job: Numbers
    quanta: dict[str, Numbers]
    first_output: Numbers
    existing: dict[str, Numbers]
    order: Numbers

    def datasets(self, state: State, dataset_type: str) -> Numbers:
        """Give the number of each row of a type, planned or existing."""
        if dataset_type in self.existing:
            return self.existing[dataset_type]
        for task in state.request.pipeline.tasks:
            for i, output in enumerate(outputs_of(task)):
                if output.type == dataset_type:
                    return self.first_output[self.quanta[task.label]] + np.uint32(i)
        raise KeyError(dataset_type)


def number(state: State, grouping: Grouping) -> Numbering:
    """Give numbers: to quanta by job, to outputs by quantum, to existing datasets by who reads them first."""
    tasks = state.request.pipeline.tasks
    task, row, job = (grouping.quanta[c].to_numpy() for c in ("task", "row", "job"))
    quanta: dict[str, Numbers] = {}
    for i, definition in enumerate(tasks):
        mine = np.flatnonzero(task == i).astype(np.uint32)
        numbers = np.empty(len(mine), np.uint32)
        numbers[row[mine]] = mine
        quanta[definition.label] = numbers
    existing, order = _number_existing(state, quanta)
    makes = np.array([len(outputs_of(t)) for t in tasks] or [0], np.uint32)[task]
    first = np.cumsum(makes, dtype=np.uint32)
    first -= makes
    first += np.uint32(len(order))
    return Numbering(task, row, job, quanta, first, existing, order)


def _number_existing(state: State, quanta: dict[str, Numbers]) -> tuple[dict[str, Numbers], Numbers]:
    """Give numbers to existing datasets that are read: by their first reader, its connection, and id."""
    names = sorted(state.existing)
    best = {name: np.full(state.existing[name].height, np.iinfo(np.uint64).max, np.uint64) for name in names}
    for task in state.request.pipeline.tasks:
        for position, connection in enumerate(task.inputs):
            if connection.type not in best:
                continue
            pairs = state.parts[task.label].inputs[connection.name]
            dataset = pairs["dataset"].to_numpy()
            key = quanta[task.label][pairs["quantum"].to_numpy()].astype(np.uint64) << np.uint64(16)
            key += np.uint64(position)
            if len(key) > 1 and not (key[1:] >= key[:-1]).all():
                order = np.argsort(key, kind="stable")
                key, dataset = key[order], dataset[order]
            first = np.full(len(best[connection.type]), np.iinfo(np.uint64).max, np.uint64)
            first[dataset[::-1]] = key[::-1]  # of several the last that is written stays: the lowest
            np.minimum(best[connection.type], first, out=best[connection.type])
    parts = []
    for i, name in enumerate(names):
        rows = np.flatnonzero(best[name] != np.iinfo(np.uint64).max)
        parts.append((best[name][rows], np.full(len(rows), i, np.uint32), rows.astype(np.uint32)))
    if not parts:
        return {}, np.zeros((0, 2), np.uint32)
    key, kind, row = (np.concatenate([part[i] for part in parts]) for i in range(3))
    order = np.argsort(key, kind="stable")
    key, kind, row = key[order], kind[order], row[order]
    if len(key) > 1 and (key[1:] == key[:-1]).any():
        order = _by_id(state, names, key, kind, row)
        kind, row = kind[order], row[order]
    numbers = {}
    for i, name in enumerate(names):
        numbers[name] = np.full(state.existing[name].height, NONE, np.uint32)
        mine = np.flatnonzero(kind == i)
        numbers[name][row[mine]] = mine
    return numbers, np.stack([kind, row], axis=1)


def _by_id(
    state: State,
    names: list[str],
    key: npt.NDArray[np.uint64],
    kind: Numbers,
    row: Numbers,
) -> npt.NDArray[np.intp]:
    """Give the order by key and, where one connection reads several, by id."""
    from prestow.naming import octets

    ids = np.zeros((len(key), 2), np.uint64)
    for i, name in enumerate(names):
        mine = np.flatnonzero(kind == i)
        if len(mine):
            found = octets.from_binary(state.existing[name]["_id"].gather(row[mine]))
            ids[mine] = found.view(">u8").astype(np.uint64)
    return np.lexsort((ids[:, 1], ids[:, 0], key))


def chunks(state: State, numbering: Numbering) -> Iterator[tuple[int, int]]:
    """Cut the plan's quanta where rows and inputs together come to about as much each time."""
    weight = np.full(len(numbering.task), _WEIGHT, np.uint32)
    for task in state.request.pipeline.tasks:
        part = state.parts[task.label]
        for pairs in part.inputs.values():
            counts = np.bincount(pairs["quantum"].to_numpy(), minlength=part.quanta.height)
            weight[numbering.quanta[task.label]] += counts.astype(np.uint32)
    total = np.cumsum(weight, dtype=np.int64)
    if not len(total):
        return
    cuts = np.searchsorted(total, np.arange(_WEIGHT * CHUNK, total[-1], _WEIGHT * CHUNK))
    bounds = np.unique(np.concatenate([[0], cuts, [len(total)]]))
    yield from zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
