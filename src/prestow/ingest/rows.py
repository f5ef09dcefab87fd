"""Receipts as the columns that a registry takes."""

from __future__ import annotations

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

    from prestow.model.universe import Universe

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
    numbers: Mapping[str, bool],
    measured: Mapping[str, Mapping[str, float]] = MappingProxyType({}),
) -> DatasetBatch:
    """Give the rows of receipts that are taken for true, without their outputs that are deleted.

    Parameters
    ----------
    receipts : sequence of Receipt
        Of settled quanta.
    store : str
        The name of the store of their files.
    deleted : container of str
        Ids of datasets that have no row.
    numbers : mapping of str to bool
        As for `batch_of_portions`.
    measured : mapping, optional
        The metrics of their outputs, by dataset id.
    """
    rows = Portion([], [], [], [], [], {}, [], [], [], [], {}, {}, [])
    for r in receipts:
        quantum, planned, actual = _id(r.quantum), _id(r.planned_recipe), _id(r.actual_recipe)
        rows.quanta.append(
            (
                quantum, r.run, r.task, canonical_json(dict(r.data_id)), r.job, r.state, r.code, planned, actual, r.attempt,
                r.sealer, r.version, receipt_name(r.run, r.task, r.quantum),
            )
        )  # fmt: skip
        rows.inputs.extend(
            (
                quantum, i.connection, _id(i.id), i.state, i.code, _id(i.sha256), _id(i.planned_recipe),
                _id(i.actual_recipe),
            )
            for i in r.inputs
        )  # fmt: skip
        for output in r.outputs if r.state == "made" else ():
            if output.state != "made" or output.id in deleted:
                continue
            dimensions = tuple(sorted(output.data_id))
            ident, values = _id(output.id), [output.data_id[name] for name in dimensions]
            of_kind = rows.datasets.setdefault((output.type, dimensions, output.format), [])
            of_kind.append((ident, r.run, actual, planned, quantum, *values))
            rows.artifacts.append(
                (ident, output.path, output.size, _id(output.sha256), _id(output.content), output.format)
            )
    rows.metrics.extend(
        (_id(dataset), name, value) for dataset, found in measured.items() for name, value in found.items()
    )
    return batch_of_portions([rows], store, numbers)


def _id(text: str | None) -> bytes | None:
    return None if text is None else bytes.fromhex(text.replace("-", ""))


def numbers_of(universe: Universe) -> dict[str, bool]:
    """Give the dimensions of a universe, and whether their values are numbers."""
    return {name: dimension.type == "int" for name, dimension in universe.dimensions.items()}
