"""Inputs that were staged and never taken, by task and connection: how much wider a plan is than its tasks.

A task takes an input where it asks for its path: by ``get``, ``path``, ``paths``, by ``{inputs.x}`` of a command, or from
``quantum.inputs``. Attempt reports say what was not taken; that of the attempt that won counts.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.commit import report_name
from prestow.model import DataId
from prestow.results.account_committed import read_committed

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.registry import Registry
    from prestow.stores import Store

SHOWN = 1000
"""Inputs that are told by name, unless one task is asked for."""


@dataclass(frozen=True, slots=True)
class UnreadOfTask:
    """What the quanta of a task left unread: inputs, and bytes staged in vain.

    Parameters
    ----------
    quanta : int
        Those whose reports say what was read.
    staged, unread : int
        Inputs; one that two quanta have counts twice.
    staged_size, size : int
        Bytes that were staged, and those of them that nobody read.
    """

    task: str
    quanta: int
    staged: int
    unread: int
    staged_size: int
    size: int

    @property
    def share(self) -> float:
        """The part of the staged bytes that nobody read."""
        return self.size / self.staged_size if self.staged_size else 0.0


@dataclass(frozen=True, slots=True)
class UnreadOfConnection:
    """The same of one connection of a task, where anything was left unread."""

    task: str
    name: str
    staged: int
    unread: int
    size: int


@dataclass(frozen=True, slots=True)
class UnreadInput:
    """One input that one quantum had and did not read."""

    task: str
    quantum: str
    connection: str
    input: str
    size: int


@dataclass(frozen=True, slots=True)
class Unread:
    """What a run staged in vain.

    Parameters
    ----------
    tasks, connections, rows : tuple
        Every task; connections with something unread; single inputs.
    remarks : tuple of str
        What reports do not say.
    """

    run: str
    tasks: tuple[UnreadOfTask, ...]
    connections: tuple[UnreadOfConnection, ...]
    rows: tuple[UnreadInput, ...]
    remarks: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:  # Any: JSON values
        """Give it as plain values."""
        return {
            "run": self.run, "tasks": [{**asdict(one), "share": round(one.share, 6)} for one in self.tasks],
            "connections": [asdict(one) for one in self.connections], "inputs": [asdict(one) for one in self.rows],
            "remarks": list(self.remarks),
        }  # fmt: skip


def unread(
    run: str,
    store: Store,
    registry: Registry | None = None,
    *,
    plan: Plan | None = None,
    task: str | None = None,
    store_name: str = "archive",
) -> Unread:
    """Say which inputs were staged and never read, by the reports of the attempts that won.

    Parameters
    ----------
    plan : Plan or None
        It gives the inputs their names; without it they are told by id.
    task : str, optional
        Only of this task, and then every single input.
    """
    quanta = read_committed(run, store, registry, store_name=store_name, every=registry is None).quanta
    quanta = quanta.filter(pl.col("attempt").is_not_null())
    if task is not None:
        quanta = quanta.filter(pl.col("task") == task)
    wanted = {uuid.UUID(bytes=key) for key in quanta["id"]}
    sums: dict[tuple[str, str], list[int]] = {}
    counts: dict[str, int] = dict.fromkeys(sorted(quanta["task"].unique()), 0)
    found: list[tuple[str, str, str, str, int]] = []
    silent = 0
    for entry in _entries(store, quanta):
        if entry is None:
            silent += 1
        elif uuid.UUID(entry["quantum"]) in wanted:
            label, reads = entry["task"], entry["reads"]
            counts[label] = counts.get(label, 0) + 1
            for connection, one in reads.items():
                total = sums.setdefault((label, connection), [0, 0, 0, 0])
                sizes = [size for _, size in one["unread"]]
                for i, more in enumerate((one["staged"], one["bytes"], len(sizes), sum(sizes))):
                    total[i] += more
                if task is not None or len(found) < SHOWN:
                    shown = f"{label}{{{DataId(entry['data_id'])}}}"
                    found += [(label, shown, connection, ident, size) for ident, size in one["unread"]]
    tasks = []
    for label, count in counts.items():
        rows = [total for (name, _), total in sums.items() if name == label]
        staged, staged_size, number, size = (
            (sum(column) for column in zip(*rows, strict=True)) if rows else (0,) * 4
        )
        tasks.append(UnreadOfTask(label, count, staged, number, staged_size, size))
    connections = [
        UnreadOfConnection(label, name, staged, number, size)
        for (label, name), (staged, _, number, size) in sorted(sums.items())
        if number
    ]
    names = _names(plan, [ident for *_, ident, _ in found])
    inputs = [
        UnreadInput(label, shown, connection, names.get(ident, ident), size)
        for label, shown, connection, ident, size in found
    ]
    remarks = [f"of {silent:,} attempts no report says what was read"] if silent else []
    return Unread(run, tuple(tasks), tuple(connections), tuple(inputs), tuple(remarks))


def _entries(store: Store, quanta: pl.DataFrame) -> Iterator[dict[str, Any] | None]:  # Any: JSON values
    """Give what reports say of the quanta that their attempts made; None for a report that says nothing.

    Each report is a file of its own, and read once.
    """
    attempts = quanta.select("job", "attempt").unique().sort("job", "attempt")
    for job, attempt in attempts.iter_rows():
        try:
            report = json.loads(store.read(report_name(job, attempt)))
            entries = [
                entry for entry in report["quanta"] if entry.get("state") in ("made", "declined") and entry.get("reads") is not None
            ]  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            entries = []
        if not entries:
            yield None
        yield from entries


def _names(plan: Plan | None, idents: list[str]) -> dict[str, str]:
    """Give type and data ID of datasets, by id, as far as a plan knows them."""
    if plan is None or not idents:
        return {}
    keys = pl.Series(sorted({uuid.UUID(ident).bytes for ident in idents}), dtype=pl.Binary)
    rows = plan.tables.scan("datasets").select("id", "type", "data_id").collect()
    rows = rows.with_columns(pl.col("id").cast(pl.Binary), pl.col("type", "data_id").cast(pl.String))
    few = rows.filter(pl.col("id").is_in(keys.implode()))
    return {
        str(uuid.UUID(bytes=key)): f"{kind}{{{DataId.from_json(values)}}}" for key, kind, values in few.iter_rows()
    }  # fmt: skip
