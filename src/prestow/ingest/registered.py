"""What was registered, as rows: datasets that nothing here made, from the facts of their records.

The facts are those of a record ``registered``: of a raw file also what its header said of the exposure. So
the rows follow from the record alone, when the file is taken in and when the registry is made again.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from prestow.model import DatasetType
from prestow.registry import DatasetBatch, Registry, put_record
from prestow.registry.batches import Inserted
from prestow.registry.columns import uuid_bytes
from prestow.registry.records import read_record
from prestow.stores import Put, Store

if TYPE_CHECKING:
    import pyarrow as pa

Facts = Mapping[str, Any]  # Any: JSON values

_ARTIFACT = ("store", "path", "size", "sha256", "content", "format")


def load_registered(registry: Registry, facts: Sequence[Facts]) -> Inserted:
    """Add datasets by what their records say, with dimension records and footprints; in one transaction.

    Dataset types, runs and stores must be known.

    Raises
    ------
    IngestError
        PST-I002 or PST-I006 where the registry says something else; nothing is added then.
    """
    import pyarrow as pa

    kinds: dict[str, list[Facts]] = defaultdict(list)
    for one in facts:
        kinds[one["type"]].append(one)
    artifacts = pa.table(
        {
            "dataset": uuid_bytes(one["id"] for one in facts),
            **{name: [one[name] for one in facts] for name in _ARTIFACT},
        }
    )
    datasets = {name: _datasets(rows) for name, rows in sorted(kinds.items())}
    raws = [one for one in facts if "exposure" in one]
    dimensions, relations, gathered = _observations(raws)
    return registry.insert_raw(
        DatasetBatch(datasets, artifacts), dimensions=dimensions, relations=relations,
        footprints=_footprints(raws), gathered=gathered,
    )  # fmt: skip


def learn_type(registry: Registry, store: Store, kind: DatasetType) -> None:
    """Make a dataset type known, with a record of it; known with other dimensions is PST-G004.

    The format in which it was seen first stands in the record, so it does not depend on who asks.
    """
    facts = {"name": kind.name, "dimensions": list(kind.dimensions), "format": kind.format}
    if (
        registry.known_type(kind.name) is None
        and put_record(store, "dataset-type", kind.name, facts) is not Put.YES
    ):
        standing = read_record(store, "dataset-type", kind.name)
        if standing["dimensions"] == facts["dimensions"]:
            kind = replace(kind, format=standing["format"])
    registry.register_dataset_type(kind)


def even(rows: Iterable[Facts]) -> list[dict[str, Any]]:  # Any: values of a record
    """Give all rows the keys that any of them has: Arrow looks at the first row alone."""
    rows = list(rows)
    names = dict.fromkeys(name for row in rows for name in row)
    return [{name: row.get(name) for name in names} for row in rows]


def _datasets(rows: Sequence[Facts]) -> pa.Table:
    import pyarrow as pa

    return pa.table(
        {
            "id": uuid_bytes(one["id"] for one in rows),
            "run": [one["run"] for one in rows],
            "recipe": pa.array([bytes.fromhex(one["content"][:32]) for one in rows], pa.binary(16)),
            **{name: [one["data_id"][name] for one in rows] for name in rows[0]["data_id"]},
        }
    )


def _observations(raws: Sequence[Facts]) -> tuple[dict[str, pa.Table], dict[str, pa.Table], bool]:
    """Give dimension records and relation rows of raw files, and whether visits follow from exposures."""
    import pyarrow as pa

    if not raws:
        return {}, {}, False
    exposures = {(one["exposure"]["instrument"], one["exposure"]["exposure"]): one for one in raws}
    records = [one["exposure"] for one in exposures.values()]
    days = sorted({(record["instrument"], record["day_obs"]) for record in records})
    dimensions = {
        "day_obs": pa.table({"instrument": [i for i, _ in days], "day_obs": [day for _, day in days]}),
        "exposure": pa.Table.from_pylist(even(records)),
    }
    visits = [one for one in exposures.values() if one["visit"] is not None]
    if not visits:
        return dimensions, {}, False
    grouped = bool(visits[0].get("grouped"))
    if not grouped:
        rows = (
            {**{k: v for k, v in one["exposure"].items() if k != "exposure"}, "visit": one["visit"]}
            for one in visits
        )
        dimensions["visit"] = pa.Table.from_pylist(even(rows))
    definition = pa.table(
        {
            "instrument": [one["exposure"]["instrument"] for one in visits],
            "visit": [one["visit"] for one in visits],
            "exposure": [one["exposure"]["exposure"] for one in visits],
        }
    )
    return dimensions, {"visit_definition": definition}, grouped


def _footprints(raws: Sequence[Facts]) -> pa.Table | None:
    import pyarrow as pa

    rows = []
    for one in raws:
        if "footprint" in one:
            corners = enumerate(one["footprint"]["corners"])
            rows.append(
                {
                    **{name: one["data_id"][name] for name in ("instrument", "exposure", "detector")},
                    **{f"{axis}{n}": value for n, corner in corners for axis, value in zip(("ra", "dec"), corner, strict=True)},
                    "origin": one["footprint"]["origin"],
                }
            )  # fmt: skip
    return pa.Table.from_pylist(rows) if rows else None
