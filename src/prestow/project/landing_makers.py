"""Who makes what, by the tables of a plan: for landings, whose claims do not say who made what they read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import polars as pl

from prestow.commit import receipt_name
from prestow.naming.octets import from_binary, to_uuid_text

if TYPE_CHECKING:
    from prestow.plan import Plan


class Makers:
    """Gives the receipts of those who make datasets; the plan is read when somebody asks for the first time."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    @cached_property
    def _plan(self) -> Plan:
        from prestow.plan import open_plan

        return open_plan(self._directory)

    @cached_property
    def _makers(self) -> pl.DataFrame:
        """Quantum and task of each planned dataset; of others that the run made before, the receipt."""
        tables = self._plan.tables
        quanta = tables["quanta"].select("id", "task").with_row_index("producer")
        datasets = (
            tables["datasets"].select("id", pl.col("producer").cast(pl.UInt32)).with_row_index("dataset")
        )
        there = tables["locations"].select(pl.col("dataset").cast(pl.UInt32), "receipt")
        return (
            datasets.join(quanta.rename({"id": "quantum"}), on="producer", how="left")
            .join(there, on="dataset", how="left")
            .select(pl.col("id").cast(pl.Binary), pl.col("quantum").cast(pl.Binary), "task", "receipt")
        )

    def __call__(self, datasets: Collection[str]) -> Mapping[str, str]:
        """Give the names of receipts by dataset id; see `prestow.ingest.landing_parents.Producers`."""
        wanted = pl.DataFrame({"id": _octets(datasets)}, schema={"id": pl.Binary})
        rows = self._makers.join(wanted, on="id", how="semi")
        ids = to_uuid_text(from_binary(rows["id"])).to_list()
        quanta = to_uuid_text(from_binary(rows["quantum"])).to_list()
        names = {}
        for dataset, quantum, task, receipt in zip(ids, quanta, rows["task"], rows["receipt"], strict=True):
            name = receipt_name(self._plan.run, task, quantum) if task is not None else receipt
            if name is not None:
                names[dataset] = name
        return names


def _octets(ids: Iterable[str]) -> list[bytes]:
    return [bytes.fromhex(text) for name in ids if len(text := name.replace("-", "")) == 32]  # noqa: PLR2004 - a UUID
