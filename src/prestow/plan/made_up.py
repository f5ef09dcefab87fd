"""A made-up source of data for a pipeline: a few values of each dimension, and every dataset of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import product
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.model.instants import ALWAYS, FOREVER, timeless
from prestow.model.universe import Universe, ValueType
from prestow.naming import identity
from prestow.pipeline.definition import Pipeline
from prestow.plan.frames import column_type, columns_of

if TYPE_CHECKING:
    import pyarrow as pa

RUN = "made-up"
FEW = 3  # values of an integer dimension
SECOND = 1_000_000_000  # in nanoseconds


class MadeUp:
    """A source for the planner where there is no registry yet; the same is always made up.

    Parameters
    ----------
    pipeline, universe : Pipeline, Universe
        Whose external inputs there shall be.
    """

    def __init__(self, pipeline: Pipeline, universe: Universe) -> None:
        self._pipeline, self._universe = pipeline, universe
        required = {r for d in universe.dimensions.values() for r in d.requires}
        self._values: dict[str, list[Any]] = {  # Any: int or str
            d.name: list(range(1, FEW + 1))
            if d.type == "int"
            else ["a"]
            if d.name in required
            else ["a", "b"]
            for d in universe.dimensions.values()
        }

    def _crossed(self, dimensions: Iterable[str]) -> pl.DataFrame:
        closed = self._universe.close(dimensions)
        rows = list(product(*(self._values[d] for d in closed)))
        return pl.DataFrame(rows, schema=columns_of(closed, self._universe), orient="row")

    def datasets(
        self, types: Sequence[str], collections: Sequence[str], *, first: bool = True, **more: object
    ) -> pa.Table:
        """Give every dataset of these types."""
        del collections, first, more
        found = [self._datasets(name) for name in types]
        return pl.concat(found, how="diagonal").to_arrow()

    def _datasets(self, name: str) -> pl.DataFrame:
        kind = self._pipeline.dataset_types[name]
        frame = self._crossed(kind.dimensions)
        frame = frame.with_columns(identity.dataset_ids(name, RUN, kind.dimensions).alias("id"))
        content = pl.concat_str(pl.col("id").bin.encode("hex"), pl.col("id").bin.encode("hex"))
        return frame.with_columns(
            type=pl.lit(name), run=pl.lit(RUN), format=pl.lit(kind.format), sha256=content, content=content
        )

    def calibrations(self, types: Sequence[str], collections: Sequence[str], as_of: int | None) -> pa.Table:
        """Give every calibration of these types, valid always."""
        del collections, as_of
        frame = pl.concat([self._version(name) for name in types], how="diagonal")
        times = {"valid_begin": ALWAYS, "valid_end": FOREVER, "known_begin": ALWAYS, "known_end": FOREVER}
        return frame.with_columns(
            pl.lit(RUN).alias("collection"),
            pl.lit(0, pl.Int64).alias("rank"),
            *(pl.lit(value, pl.Int64).alias(name) for name, value in times.items()),
        ).to_arrow()

    def _version(self, name: str) -> pl.DataFrame:
        """Give one version of each calibration: those of several nights would overlap."""
        frame = self._datasets(name)
        names = timeless(self._universe, self._pipeline.dataset_types[name].dimensions)
        return frame.unique(names, keep="first", maintain_order=True) if names else frame.head(1)

    def dimension_records(self, element: str) -> pa.Table:
        """Give a record of each value, with metadata."""
        dimension = self._universe.dimensions[element]
        frame = self._crossed([element])
        number = pl.int_range(pl.len())
        kinds = columns_of(dimension.implies, self._universe)
        implied = [
            pl.lit(pl.Series(values := self._values[d], dtype=kinds[d])).gather(number % len(values)).alias(d)
            for d in dimension.implies
        ]
        told = [
            _measure(number, kind).cast(column_type(kind)).alias(m) for m, kind in dimension.metadata.items()
        ]
        return frame.with_columns(implied).with_columns(told).to_arrow()

    def relation(self, name: str, **more: object) -> pa.Table:
        """Give a few rows: the first value with the first, and so on."""
        del more
        relation = self._universe.relations[name]
        keys = self._universe.close(relation.dimensions)
        rows = [[self._values[d][i % len(self._values[d])] for d in keys] for i in range(FEW)]
        frame = pl.DataFrame(rows, schema=columns_of(keys, self._universe), orient="row")
        told = [pl.lit(0).cast(column_type(kind)).alias(m) for m, kind in relation.metadata.items()]
        return frame.with_columns(told).to_arrow()

    def quanta(self, run: str) -> pa.Table:
        """Give nothing: nothing is settled."""
        del run
        return pl.DataFrame(schema={"id": pl.Binary, "planned_recipe": pl.Binary}).to_arrow()

    def binding(self, run: str) -> Mapping[str, Any] | None:  # Any: facts of a record
        """Give nothing: nothing is bound."""
        del run
        return None


def _measure(number: pl.Expr, kind: ValueType) -> pl.Expr:
    match kind:
        case "float":
            return number / 2 + 0.5
        case "str":
            return pl.format("text {}", number)
        case "bool":
            return number % 2 == 0
        case "time":
            return number * SECOND
    return number
