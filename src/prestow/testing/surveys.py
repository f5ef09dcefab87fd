"""Made-up surveys to plan: existing datasets, dimension records and relations, all in memory.

Examples
--------
>>> survey = Survey.make(visits=4, detectors=2)
>>> plan = build_plan(Request("demo", reduction(), UNIVERSE, ("raw",)), survey)
>>> {task: count["quanta"] for task, count in plan.counts.items()}
{'isr': 8, 'align': 8, 'coadd': 4, 'measure': 8}
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.model import DatasetType
from prestow.model.instants import FOREVER
from prestow.naming import identity
from prestow.naming.templates import default_template
from prestow.naming.universe import load_universe
from prestow.pipeline.definition import (
    Cluster,
    CodeBundle,
    InputConnection,
    OnFailure,
    OutputConnection,
    Pipeline,
    TaskDefinition,
)
from prestow.plan import Request, build_plan
from prestow.plan.frames import column_type, columns_of

if TYPE_CHECKING:
    import pyarrow as pa

    from prestow.query import Selection
    from prestow.registry import Registry

UNIVERSE = load_universe()
BANDS = ("g", "r")
CERTIFIED = {
    "collection": pl.String, "rank": pl.Int64, "valid_begin": pl.Int64, "valid_end": pl.Int64, "known_begin": pl.Int64,
    "known_end": pl.Int64,
}  # fmt: skip
SETTLED = {"id": pl.Binary, "planned_recipe": pl.Binary}

__all__ = ["UNIVERSE", "Request", "Survey", "build_plan", "reduction"]


@dataclass(frozen=True)
class Survey:
    """What a registry would say; it serves as the planner's source.

    Parameters
    ----------
    existing : mapping of dataset type to DataFrame
        Dimensions and facts, as `Registry.datasets` gives them; all in the run ``raw``.
    records, relations : mapping of name to DataFrame
        Metadata that is not there is null.
    settled : DataFrame
        What `quanta` gives for every run.
    bound : mapping or None
        What `binding` gives for every run.
    certified : mapping of dataset type to DataFrame
        Validities of existing datasets: ``id``, ``collection``, ``valid_begin``, ``valid_end``,
        ``known_begin``, ``known_end``.
    """

    existing: Mapping[str, pl.DataFrame]
    records: Mapping[str, pl.DataFrame]
    relations: Mapping[str, pl.DataFrame]
    settled: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema=SETTLED))
    bound: Mapping[str, Any] | None = None  # Any: facts of a record
    certified: Mapping[str, pl.DataFrame] = field(default_factory=dict)

    @classmethod
    def make(
        cls, visits: int, detectors: int, *, bands: Sequence[str] = BANDS, instrument: str = "sim"
    ) -> Survey:
        """Make raws of some visits in turn through the bands, with biases and flats.

        Exposure 0 is a dark one without filter and visit.
        """
        filters = [f"{band}_{instrument}" for band in bands]
        number = pl.int_range(1, visits + 1, eager=True)
        visit = pl.DataFrame(
            {"visit": number, "physical_filter": pl.Series(filters).gather(number % len(filters))}
        )
        visit = visit.with_columns(
            pl.lit(instrument).alias("instrument"),
            (20260000 + number // 1000).alias("day_obs"),
            pl.lit("science").alias("observation_type"),
            (10.0 * number).alias("exposure_time"),
        )
        dark = {
            "exposure": 0, "physical_filter": None, "instrument": instrument, "day_obs": 20260000,
            "observation_type": "dark", "exposure_time": 0.0,
        }  # fmt: skip
        exposure = visit.rename({"visit": "exposure"})
        exposure = pl.concat([exposure, pl.DataFrame([dark], schema=exposure.schema)])
        here = pl.DataFrame({"instrument": [instrument]})
        detector = here.join(pl.DataFrame({"detector": range(detectors)}), how="cross")
        physical = here.join(pl.DataFrame({"physical_filter": filters, "band": list(bands)}), how="cross")
        flat = physical.drop("band").join(detector, on="instrument")
        raw = exposure.select("instrument", "exposure").join(detector, on="instrument")
        return cls(
            existing={"raw": exist("raw", raw), "bias": exist("bias", detector), "flat": exist("flat", flat)},
            records={"visit": visit, "exposure": exposure, "detector": detector, "physical_filter": physical},
            relations={"visit_definition": visit.select("instrument", "visit", exposure="visit")},
        )

    def without(self, dataset_type: str, *gone: pl.Expr | bool) -> Survey:
        """Give a survey that lacks the datasets of a type for which all these hold."""
        frame = self.existing[dataset_type].filter(~pl.all_horizontal(*gone))
        return replace(self, existing={**self.existing, dataset_type: frame})

    def and_of(self, other: Survey) -> Survey:
        """Give both surveys as one."""

        def both(a: Mapping[str, pl.DataFrame], b: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
            return {name: pl.concat([a[name], b[name]], how="diagonal") for name in a}

        return replace(
            self,
            existing=both(self.existing, other.existing),
            records=both(self.records, other.records),
            relations=both(self.relations, other.relations),
        )

    def shuffled(self, seed: int) -> Survey:
        """Give the same survey with every row in another place."""

        def mix(frames: Mapping[str, pl.DataFrame]) -> dict[str, pl.DataFrame]:
            return {
                name: frame.sample(fraction=1.0, shuffle=True, seed=seed) for name, frame in frames.items()
            }

        return replace(
            self, existing=mix(self.existing), records=mix(self.records), relations=mix(self.relations)
        )

    # --- what the planner asks

    def datasets(
        self,
        types: Sequence[str],
        collections: Sequence[str],
        *,
        first: bool = True,
        coded: bool = False,
        where: Selection | None = None,
        unknown: bool = False,
    ) -> pa.Table:
        """Give existing datasets, selected or not; those of a run that is not asked for are not there."""
        del first, coded, where, unknown  # one run holds each dataset once
        found = [self.existing[name] for name in types if name in self.existing]
        if not found:
            return pl.DataFrame(schema={"type": pl.String, "run": pl.String}).to_arrow()
        return pl.concat(found, how="diagonal").filter(pl.col("run").is_in(list(collections))).to_arrow()

    def calibrations(self, types: Sequence[str], collections: Sequence[str], as_of: int | None) -> pa.Table:
        """Give the validities that are known, each with its dataset; of no or named collections."""
        rank = {name: i for i, name in enumerate(collections)}
        known = pl.col("known_end") == FOREVER
        if as_of is not None:
            known = (pl.col("known_begin") <= as_of) & (pl.col("known_end") > as_of)
        found = [
            self.existing[name].join(self.certified[name].filter(known), on="id", how="inner")
            for name in types
            if name in self.certified
        ]
        if not found:
            return pl.DataFrame(schema={"type": pl.String, "id": pl.Binary, **CERTIFIED}).to_arrow()
        frame = pl.concat(found, how="diagonal")
        if rank:
            frame = frame.filter(pl.col("collection").is_in(list(rank)))
        place = pl.col("collection").replace_strict(rank, default=0, return_dtype=pl.Int64)
        return frame.with_columns(place.alias("rank")).to_arrow()

    def dimension_records(self, element: str) -> pa.Table:
        """Give the records of a dimension with all their columns."""
        dimension = UNIVERSE.dimensions[element]
        kinds = columns_of((*UNIVERSE.close([element]), *dimension.implies), UNIVERSE)
        kinds |= {name: column_type(kind) for name, kind in dimension.metadata.items()}
        empty = pl.DataFrame(schema=kinds)
        frame = self.records.get(element, empty)
        return pl.concat([empty, frame], how="diagonal_relaxed").to_arrow()

    def relation(self, name: str, *, coded: bool = False) -> pa.Table:
        """Give the rows of a relation, with its metadata; of one that is not made up there are none."""
        del coded
        relation = UNIVERSE.relations[name]
        kinds = columns_of(UNIVERSE.close(relation.dimensions), UNIVERSE)
        kinds |= {column: column_type(kind) for column, kind in relation.metadata.items()}
        return self.relations.get(name, pl.DataFrame(schema=kinds)).to_arrow()

    def quanta(self, run: str) -> pa.Table:
        """Give what is settled."""
        del run
        return self.settled.to_arrow()

    def binding(self, run: str) -> Mapping[str, Any] | None:  # Any: facts of a record
        """Give what every run is bound to."""
        del run
        return self.bound


def exist(dataset_type: str, data_ids: pl.DataFrame, *, run: str = "raw") -> pl.DataFrame:
    """Give roots of these data IDs with their facts; each has a content of its own."""
    ids = identity.dataset_ids(dataset_type, run, data_ids.columns)
    digest = identity.digest128("content/1", pl.lit(dataset_type), identity.data_id_text(data_ids.columns))
    frame = data_ids.with_columns(ids.alias("id"), pl.concat_str(digest, digest).alias("sha256"))
    return frame.with_columns(
        pl.lit(dataset_type).alias("type"),
        pl.lit(run).alias("run"),
        pl.lit("archive").alias("store"),
        pl.format("{}/{}.fits", pl.lit(dataset_type), pl.col("id").bin.encode("hex")).alias("path"),
        pl.lit(1 << 20).alias("size"),
        pl.col("sha256").alias("content"),
        *(pl.lit(None, pl.Binary).alias(name) for name in ("quantum", "recipe", "planned_recipe")),
        pl.lit(None, pl.String).alias("receipt"),
    )


def fill(registry: Registry, survey: Survey) -> None:
    """Put all of a survey into a registry, as taking raw files in would."""
    import pyarrow as pa

    from prestow.registry import DatasetBatch

    registry.register_run("raw")
    registry.register_store("archive", "file:///archive")
    datasets = {}
    for name, frame in survey.existing.items():
        dimensions = [d for d in UNIVERSE.dimensions if d in frame.columns]
        registry.register_dataset_type(DatasetType(name, UNIVERSE.close(dimensions), "fits"))
        datasets[name] = frame.select(*dimensions, "id", "run", "recipe").to_arrow()
    artifacts = pl.concat(
        frame.select("store", "path", "size", "sha256", "content", dataset="id", format=pl.lit("fits"))
        for frame in survey.existing.values()
    )
    filters = survey.records["physical_filter"]
    records = {
        "instrument": filters.select("instrument").unique(),
        "band": filters.select("band").unique(),
        **survey.records,
    }
    registry.insert_raw(
        DatasetBatch(datasets, pa.Table.from_pylist(artifacts.to_dicts())),
        dimensions={element: frame.to_arrow() for element, frame in records.items()},
        relations={name: frame.to_arrow() for name, frame in survey.relations.items()},
    )


def dataset_type(name: str, *dimensions: str, template: str | None = None) -> DatasetType:
    """Give a dataset type of FITS files; ``template`` empty for what exists, None for the default."""
    closed = UNIVERSE.close(dimensions)
    return DatasetType(
        name, closed, "fits", default_template(name, closed, ".fits") if template is None else template
    )


def task(
    label: str,
    dimensions: Sequence[str],
    inputs: Sequence[str | InputConnection],
    outputs: Sequence[str | OutputConnection],
    **more: Any,
) -> TaskDefinition:
    """Give a task whose connections have the names of their types, unless they say otherwise."""
    return TaskDefinition(
        label,
        UNIVERSE.close(dimensions),
        tuple(InputConnection(i, i) if isinstance(i, str) else i for i in inputs),
        tuple(OutputConnection(o, o) if isinstance(o, str) else o for o in outputs),
        **{"entry": f"tasks.{label}:run", **more},
    )


def reduction(*, clusters: Sequence[Cluster] = (), code: bytes = b"code", **config: Any) -> Pipeline:
    """Give a reduction from raw to coadd and sources; ``config`` is that of its first task."""
    detector = ("visit", "detector")
    stack = ("instrument", "band", "detector")
    shape = "{{run}}/{0}/{{visit:06d}}/{0}-{{instrument}}-{{visit:06d}}-{{detector:03d}}.fits"
    types = (
        dataset_type("raw", "exposure", "detector", template=""),
        dataset_type("bias", "detector", template=""),
        dataset_type("flat", "physical_filter", "detector", template=""),
        *(
            dataset_type(name, *detector, template=shape.format(name))
            for name in ("isr", "aligned", "sources")
        ),
        dataset_type("coadd", *stack),
    )
    tasks = (
        task("isr", detector, ["raw", "bias", "flat"], ["isr"], config=config, on_failure=OnFailure.TOLERATE),
        task("align", detector, ["isr"], ["aligned"], on_failure=OnFailure.TOLERATE),
        task(
            "coadd", stack, [InputConnection("aligned", "aligned", 1)], ["coadd"], hints={"cpu_seconds": 2.0}
        ),
        task("measure", detector, ["aligned", "coadd"], ["sources"]),
    )
    bundle = CodeBundle(code, hashlib.sha256(code).hexdigest())
    return Pipeline("reduction", "", tasks, {t.name: t for t in types}, tuple(clusters), bundle)
