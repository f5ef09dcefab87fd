"""Receipts as the columns that a registry takes."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Container, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from prestow.commit import receipt_name
from prestow.ingest.portions import Portion
from prestow.manifest import Receipt
from prestow.model.hashing import canonical_json
from prestow.registry import DatasetBatch

if TYPE_CHECKING:
    import pyarrow as pa


_QUANTUM = (
    "id", "run", "task", "data_id", "job", "state", "code", "planned_recipe", "actual_recipe", "attempt", "sealer", "version",
    "receipt",
)  # fmt: skip
_INPUT = ("quantum", "connection", "input", "state", "code", "sha256", "planned_recipe", "actual_recipe")
_ARTIFACT = ("dataset", "path", "size", "sha256", "content", "format")
_DATASET = ("id", "run", "recipe", "planned_recipe", "quantum")
_METRIC = ("dataset", "name", "value")
_ELSEWHERE = ("dataset", "sha256")
_BYTES = {
    "id": 16, "planned_recipe": 16, "actual_recipe": 16, "quantum": 16, "input": 16, "recipe": 16, "dataset": 16,
    "sha256": 32, "content": 32,
}  # fmt: skip
_NUMBERS = ("size",)


def batch_of_portions(portions: Sequence[Portion], store: str, numbers: Mapping[str, bool]) -> DatasetBatch:
    """Give the rows of some portions as columns.

    Parameters
    ----------
    portions : sequence of Portion
        In the order in which they are taken in.
    store : str
        The name of the store of their files.
    numbers : mapping of str to bool
        The dimensions of the universe, and whether their values are numbers.
    """
    import pyarrow as pa

    datasets: dict[str, list[tuple[tuple[str, ...], list[tuple[Any, ...]]]]] = {}  # Any: values of a row
    for portion in portions:
        for (name, dimensions, _), rows in portion.datasets.items():
            datasets.setdefault(name, []).append((dimensions, rows))
    tables = {
        name: _columns([row for _, rows in parts for row in rows], (*_DATASET, *parts[0][0]), numbers)
        for name, parts in datasets.items()
    }
    artifacts = _columns([row for p in portions for row in p.artifacts], _ARTIFACT, {})
    if artifacts.num_rows:
        artifacts = artifacts.append_column("store", pa.array([store] * artifacts.num_rows, pa.string()))
    return DatasetBatch(
        tables,
        artifacts,
        _columns([row for p in portions for row in p.quanta], _QUANTUM, {}),
        _columns([row for p in portions for row in p.inputs], _INPUT, {}),
        _columns([row for p in portions for row in p.metrics], _METRIC, {}),
        _columns([row for p in portions for row in p.elsewhere], _ELSEWHERE, {}),
    )


def _columns(
    rows: Sequence[Sequence[Any]], names: Sequence[str], numbers: Mapping[str, bool]
) -> pa.Table:  # Any: values of a row
    import pyarrow as pa

    if not rows:
        return pa.table({})

    def kind(name: str) -> pa.DataType:
        if name in numbers or name in _NUMBERS:
            return pa.int64() if numbers.get(name, True) else pa.string()
        if name == "value":
            return pa.float64()
        return pa.binary(_BYTES[name]) if name in _BYTES else pa.string()

    columns = zip(*rows, strict=True)
    return pa.table(
        [pa.array(column, kind(name)) for name, column in zip(names, columns, strict=True)], names
    )


def batch_of(
    receipts: Sequence[Receipt],
    store: str,
    deleted: Container[str],
    measured: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
) -> tuple[DatasetBatch, int]:
    """Give the rows of some receipts, and how many of their outputs are left out as deleted.

    ``measured`` gives the metrics of their outputs, by dataset id.
    """
    left_out = 0
    datasets: dict[str, list[tuple[dict[str, Any], Receipt]]] = defaultdict(list)  # Any: values of a row
    artifacts: list[dict[str, Any]] = []  # Any: values of a row
    for receipt in receipts:
        for output in receipt.outputs if receipt.state == "made" else ():
            if output.state != "made":
                continue
            if output.id in deleted:
                left_out += 1
                continue
            datasets[output.type].append(({"id": _id(output.id), **output.data_id}, receipt))
            artifacts.append(
                {
                    "dataset": _id(output.id), "store": store, "path": output.path, "size": output.size,
                    "sha256": _id(output.sha256), "content": _id(output.content), "format": output.format,
                }
            )  # fmt: skip
    quanta = [
        {
            "id": _id(r.quantum), "run": r.run, "task": r.task, "data_id": canonical_json(dict(r.data_id)), "job": r.job,
            "state": r.state, "code": r.code, "planned_recipe": _id(r.planned_recipe),
            "actual_recipe": _id(r.actual_recipe), "attempt": r.attempt, "sealer": r.sealer, "version": r.version,
            "receipt": receipt_name(r.run, r.task, r.quantum),
        }
        for r in receipts
    ]  # fmt: skip
    inputs = [
        {
            "quantum": _id(r.quantum), "connection": i.connection, "input": _id(i.id), "state": i.state, "code": i.code,
            "sha256": _id(i.sha256), "planned_recipe": _id(i.planned_recipe), "actual_recipe": _id(i.actual_recipe),
        }
        for r in receipts
        for i in r.inputs
    ]  # fmt: skip
    metrics = [
        {"dataset": _id(dataset), "name": name, "value": value}
        for dataset, numbers in measured.items()
        for name, value in numbers.items()
    ]
    tables = {name: _datasets(rows) for name, rows in datasets.items()}
    batch = DatasetBatch(
        tables,
        _table(artifacts, ("dataset", "sha256", "content")),
        _table(quanta, ("id", "planned_recipe", "actual_recipe")),
        _table(inputs, ("quantum", "input", "sha256", "planned_recipe", "actual_recipe")),
        _table(metrics, ("dataset",)),
    )
    return batch, left_out


def _id(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text.replace("-", ""))


def _datasets(rows: list[tuple[dict[str, Any], Receipt]]) -> pa.Table:  # Any: values of a row
    full = [
        {
            **row, "run": r.run, "recipe": _id(r.actual_recipe), "planned_recipe": _id(r.planned_recipe),
            "quantum": _id(r.quantum),
        }
        for row, r in rows
    ]  # fmt: skip
    return _table(full, ("id", "recipe", "planned_recipe", "quantum"))


def _table(rows: list[dict[str, Any]], binary: tuple[str, ...]) -> pa.Table:  # Any: values of a row
    import pyarrow as pa

    if not rows:
        return pa.table({})
    return pa.table(
        {
            name: pa.array([row[name] for row in rows], pa.binary() if name in binary else None)
            for name in rows[0]
        }
    )
