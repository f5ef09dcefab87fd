"""Datasets in one frame: those that are made, from the registry, and those that a plan names."""

from __future__ import annotations

import difflib
import os
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import quote

import polars as pl

from prestow.errors import PlanRefusedError, Problem, ProjectError
from prestow.model import DatasetType
from prestow.model.universe import Universe
from prestow.naming import identity
from prestow.plan.frames import columns_of

if TYPE_CHECKING:
    from prestow.plan import Plan
    from prestow.query import Selection
    from prestow.registry import Registry
    from prestow.stores import Store

FACTS = ("id", "run", "state", "store", "path", "url", "size")
"""Columns that follow type, data ID and dimensions; ``job`` is the last, where it is asked for."""

READ_AT_ONCE = 20_000
"""Made datasets that are read even if only the first are wanted: so few cost nothing."""

READ_AT_MOST = 10_000
"""Receipts that `look` reads; of more datasets the registry alone tells the state."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where datasets are known: a registry, and plans.

    Parameters
    ----------
    universe : Universe
        The dimensions.
    registry : Registry or None
        What is made.
    plans : tuple of Plan
        What is planned; of two that name one dataset, the first.
    store : str
        Name of the store that outputs of plans go to.
    stores : mapping of name to URI
        Every store.
    """

    universe: Universe
    registry: Registry | None
    plans: tuple[Plan, ...] = ()
    store: str = "archive"
    stores: Mapping[str, str] = field(default_factory=dict)

    def types(self) -> dict[str, DatasetType]:
        """Give every dataset type, made or planned, by name."""
        found = dict(self.registry.dataset_types()) if self.registry is not None else {}
        for plan in self.plans:
            for name, kind in plan.definition.dataset_types.items():
                found.setdefault(name, kind)
        return dict(sorted(found.items()))

    @property
    def shown(self) -> str:
        """What it is, in words for an error."""
        return ", ".join(["the registry", *(f"plan {plan.id[:8]}" for plan in self.plans)])

    def type_of(self, name: str) -> DatasetType:
        """Give a dataset type.

        Raises
        ------
        ProjectError
            PST-G007 with the nearest name, if nothing knows it.
        """
        types = self.types()
        if name not in types:
            near = difflib.get_close_matches(name, types, 1)
            known = f"known: {', '.join(types)}" if types else "take raw files in, or plan: prestow plan"
            fix = f"did you mean '{near[0]}'?" if near else known
            raise ProjectError(Problem("PST-G007", f"unknown dataset type '{name}'", self.shown, fix))
        return types[name]


def collect(
    sources: Sources,
    dataset_type: str,
    equal: Mapping[str, str | int] | None = None,
    *,
    runs: Sequence[str] | None = None,
    first: bool = False,
    made: bool = True,
    planned: bool = True,
    jobs: bool = False,
    where: Selection | None = None,
    besides: Collection[str] = (),
) -> pl.DataFrame:
    """Give the datasets of one type, a row each, in the order of data ID, then run.

    Columns: ``type``, ``data_id`` (canonical JSON), each dimension of the type, ``id`` (16 bytes),
    ``run``, ``state``, ``store``, ``path``, ``url``, ``size`` (bytes, null where not known), and
    with ``jobs`` also ``job``, the name of the job that makes it. ``state`` is ``made`` (taken in),
    ``planned``, or how a quantum that made nothing was settled: ``declined``, ``lost``,
    ``blocked``; ``deleted`` was made and taken out on purpose; ``reused`` says that a parent run
    has it.

    Parameters
    ----------
    equal : mapping of dimension to value, optional
        Only these values, where the type has the dimension.
    runs : sequence of str, optional
        Only these runs or collections; all runs, if not given.
    first : bool
        Of one data ID in several collections, only that of the first of ``runs``; what is made
        goes before what is planned.
    made, planned : bool
        Whether to give what is made, and what is not.
    where : Selection, optional
        What it does not take, as far as dimensions and their records tell, may be absent.
    besides : collection of str
        Names in it that are not those of dimensions and their metadata.

    Raises
    ------
    ProjectError
        PST-G007 if nothing knows the type.
    """
    kind = sources.type_of(dataset_type)
    wanted = {d: v for d, v in (equal or {}).items() if d in kind.dimensions}
    schema = _schema(kind, sources.universe)
    # What is planned and not made is known only where one knows what is made.
    there = _made(sources, kind, wanted, runs, schema, first=first, where=where, besides=besides)
    frames = [there] if made else []
    if planned:
        names = None if runs is None else set(members(sources.registry, runs))
        seen = there.select("id")
        for plan in sources.plans:
            if names is not None and plan.run not in names:
                continue
            new = _planned(sources, plan, kind, wanted, schema, where).join(seen, on="id", how="anti")
            frames.append(_settled(sources, plan, new).select(list(schema)))
            seen = pl.concat([seen, new.select("id")])
    frame = pl.concat([pl.DataFrame(schema=schema), *frames])
    if first:
        frame = frame.unique("data_id", keep="first", maintain_order=True)  # what is made stands first
    frame = frame.with_columns(_url(frame, sources)).sort(*kind.dimensions, "run", "id")
    if jobs:
        frame = with_jobs(frame, sources)
    columns = ["type", "data_id", *kind.dimensions, *FACTS, *(["job"] if jobs else [])]
    return frame.select(columns)


def collect_first(
    sources: Sources,
    dataset_type: str,
    equal: Mapping[str, str | int] | None = None,
    *,
    limit: int,
    runs: Sequence[str] | None = None,
    made: bool = True,
    planned: bool = True,
) -> tuple[pl.DataFrame, int]:
    """Give the first rows of what `collect` gives, and how many it would give.

    Of many datasets that are made only the first are read.
    """
    kind = sources.type_of(dataset_type)
    wanted = {d: v for d, v in (equal or {}).items() if d in kind.dimensions}
    registry = sources.registry
    names = members(registry, _run_names(registry) if runs is None else runs)
    count = 0 if registry is None else registry.listing.count(kind, names, wanted)
    if count <= READ_AT_ONCE or registry is None:
        frame = collect(sources, dataset_type, equal, runs=runs, made=made, planned=planned)
        return frame.head(limit), frame.height
    schema = _schema(kind, sources.universe)
    frames = []
    total = 0
    if made:
        table = pl.from_arrow(registry.listing.first(kind, names, wanted, limit))
        assert isinstance(table, pl.DataFrame)
        frames.append(_as_made(sources, kind, table).select(list(schema)))
        total = count
    if planned:
        seen = pl.DataFrame(schema={"id": pl.Binary})
        for plan in sources.plans:
            if runs is not None and plan.run not in names:
                continue
            ids = pl.from_arrow(registry.listing.ids(kind, [plan.run], wanted))
            assert isinstance(ids, pl.DataFrame)
            seen = pl.concat([seen, ids.select(pl.col("id").cast(pl.Binary))])
            new = _planned(sources, plan, kind, wanted, schema).join(seen, on="id", how="anti")
            total += new.height
            seen = pl.concat([seen, new.select("id")])
            first = new.sort(*kind.dimensions, "run", "id").head(limit)
            frames.append(_settled(sources, plan, first).select(list(schema)))
    frame = pl.concat([pl.DataFrame(schema=schema), *frames])
    frame = frame.with_columns(_url(frame, sources)).sort(*kind.dimensions, "run", "id").head(limit)
    return frame.select("type", "data_id", *kind.dimensions, *FACTS), total


def _run_names(registry: Registry | None) -> list[str]:
    return [] if registry is None else [n for n, k in registry.collections().items() if k == "run"]


def members(registry: Registry | None, names: Sequence[str]) -> tuple[str, ...]:
    """Give the runs of some runs and collections, in order; what the registry does not know is a run."""
    known = {} if registry is None else registry.collections()
    several = (
        (name,) if registry is None or name not in known else registry.chain_members(name) for name in names
    )
    return tuple(dict.fromkeys(run for runs in several for run in runs))


def with_jobs(frame: pl.DataFrame, sources: Sources) -> pl.DataFrame:
    """Add to datasets (``id``, ``run``) the name of the job that makes each, null for roots."""
    parts = [pl.DataFrame(schema={"id": pl.Binary, "job": pl.String})]
    for plan in sources.plans:
        rows = _outputs(plan).join(frame.lazy().select("id"), on="id", how="semi")
        quanta = plan.tables.scan("quanta").select(producer="quantum", number="job")
        names = plan.tables.scan("jobs").select(number="job", job="name")
        joined = rows.join(quanta, on="producer").join(names, on="number").select("id", "job")
        parts.append(joined.collect())
    known = pl.concat(parts).unique("id", keep="first", maintain_order=True)
    return frame.join(known, on="id", how="left", maintain_order="left")


def look(frame: pl.DataFrame, sources: Sources, store: Store) -> tuple[pl.DataFrame, tuple[str, ...]]:
    """Give planned datasets the state that receipts tell, and what was odd about it.

    One whose receipt says it is made is ``committed``: its file is there, and waits for
    ``prestow ingest``. Reads one receipt for each quantum; of more than `READ_AT_MOST` none.
    """
    from prestow.model import State
    from prestow.plan.settled import read_settled

    waiting = frame.filter(pl.col("state") == "planned").select("id")
    if not waiting.height:
        return frame, ()
    if waiting.height > READ_AT_MOST:
        return frame, (f"receipts of {waiting.height:,} planned datasets were not read",)
    notes: list[str] = []
    told: dict[bytes, str] = {}
    for plan in sources.plans:
        rows = _outputs(plan).join(waiting.lazy(), on="id", how="semi").collect()
        try:
            settled = read_settled(plan, store, rows=rows["producer"].unique().to_list())
        except PlanRefusedError as error:
            notes += [problem.what for problem in error.problems]
            continue
        absent = {bytes.fromhex(text.replace("-", "")) for text in settled.absent}
        for row, raw in rows.select("producer", "id").iter_rows():  # READ_AT_MOST rows
            state = settled.states.get(row)
            if state is not None and raw not in told:
                lacks = state is State.MADE and raw in absent
                told[raw] = "declined" if lacks else "committed" if state is State.MADE else str(state)
    known = pl.DataFrame(
        {"id": list(told), "_told": list(told.values())}, {"id": pl.Binary, "_told": pl.String}
    )
    frame = frame.join(known, on="id", how="left", maintain_order="left")
    return frame.with_columns(pl.coalesce("_told", "state").alias("state")).drop("_told"), tuple(notes)


def _schema(kind: DatasetType, universe: Universe) -> dict[str, type[pl.DataType]]:
    return {
        "type": pl.String,
        "data_id": pl.String,
        **columns_of(kind.dimensions, universe),
        "id": pl.Binary,
        "run": pl.String,
        "state": pl.String,
        "store": pl.String,
        "path": pl.String,
        "size": pl.Int64,
    }


def _made(
    sources: Sources,
    kind: DatasetType,
    equal: Mapping[str, str | int],
    runs: Sequence[str] | None,
    schema: Mapping[str, type[pl.DataType]],
    *,
    first: bool,
    where: Selection | None = None,
    besides: Collection[str] = (),
) -> pl.DataFrame:
    if sources.registry is None:
        return pl.DataFrame(schema=schema)
    names = _run_names(sources.registry) if runs is None else runs
    table = sources.registry.datasets(
        [kind.name], names, first=first, equal=equal, facts=("store", "path", "member", "size"),
        where=where, unknown=bool(besides), besides=besides,
    )  # fmt: skip
    frame = pl.from_arrow(table)
    assert isinstance(frame, pl.DataFrame)
    if not set(kind.dimensions) <= set(frame.columns):  # the registry never heard of it
        return pl.DataFrame(schema=schema)
    return _as_made(sources, kind, frame)


def _as_made(sources: Sources, kind: DatasetType, frame: pl.DataFrame) -> pl.DataFrame:
    """Give rows of a registry as rows of what is made."""
    typed = columns_of(kind.dimensions, sources.universe)
    frame = frame.with_columns(pl.col(d).cast(t) for d, t in typed.items())
    place = pl.when(pl.col("member").is_null()).then("path").otherwise(pl.format("{}#{}", "path", "member"))
    return frame.select(
        pl.lit(kind.name).alias("type"),
        identity.data_id_json(kind.dimensions, frame.schema),
        *kind.dimensions,
        pl.col("id").cast(pl.Binary),
        "run",
        pl.lit("made").alias("state"),
        "store",
        place.alias("path"),
        pl.col("size").cast(pl.Int64),
    )


def _outputs(plan: Plan) -> pl.LazyFrame:
    """Give ids and producers of what a plan names, lazily."""
    return plan.tables.scan("datasets").filter("planned").select("id", "producer")


def _planned(
    sources: Sources,
    plan: Plan,
    kind: DatasetType,
    equal: Mapping[str, str | int],
    schema: Mapping[str, type[pl.DataType]],
    where: Selection | None = None,
) -> pl.DataFrame:
    """Give what a plan names of a type, with the producers' rows; a file's other rows are not read."""
    rows = plan.tables.scan("datasets")
    if not set(kind.dimensions) <= set(rows.collect_schema().names()):
        return pl.DataFrame(schema={**schema, "producer": pl.UInt32, "dataset": pl.UInt32})
    conditions = [pl.col(d) == value for d, value in equal.items()]
    if where is not None and where.tree is not None:
        conditions.append(where.expression(kind.dimensions).fill_null(value=True))
    rows = rows.filter(pl.col("planned") & (pl.col("type") == kind.name), *conditions)
    columns = [
        *(pl.col(name) for name in ("type", "data_id", *kind.dimensions, "id", "run")),
        pl.lit("planned").alias("state"),
        pl.lit(sources.store).alias("store"),
        pl.col("path"),
        pl.lit(None, pl.Int64).alias("size"),
        pl.col("producer"),
        pl.col("dataset"),
    ]
    return rows.select(columns).collect()


def _settled(sources: Sources, plan: Plan, rows: pl.DataFrame) -> pl.DataFrame:
    """Say of what is not made how its quantum was settled, as far as the registry knows."""
    if not rows.height or sources.registry is None:
        return rows
    from prestow.plan.reuse import reusable

    wanted = rows.lazy().select("producer").unique()
    quanta = plan.tables.scan("quanta").select(producer="quantum", _quantum="id")
    ids = quanta.join(wanted, on="producer", how="semi").collect()
    states = sources.registry.quantum_states(ids["_quantum"])
    if states:
        # A quantum that is made, and an output that is not: left out as optional, or deleted since.
        told = ["declined" if state == "made" else state for state in states.values()]
        known = pl.DataFrame(
            {"_quantum": list(states), "_told": told}, {"_quantum": pl.Binary, "_told": pl.String}
        )
        rows = rows.join(ids.join(known, on="_quantum"), on="producer", how="left", maintain_order="left")
        rows = rows.with_columns(pl.coalesce("_told", "state").alias("state"))
        gone = pl.Series([uuid.UUID(text).bytes for text in sources.registry.deleted()], dtype=pl.Binary)
        deleted = pl.when(pl.col("id").is_in(gone.implode())).then(pl.lit("deleted"))
        rows = rows.with_columns(deleted.otherwise("state").alias("state"))
    taken = reusable(plan, sources.registry)
    if taken is not None and taken.height:
        here = pl.col("dataset").is_in(taken["dataset"].implode()) & (pl.col("state") == "planned")
        rows = rows.with_columns(pl.when(here).then(pl.lit("reused")).otherwise("state").alias("state"))
    return rows


def _url(frame: pl.DataFrame, sources: Sources) -> pl.Expr:
    """Give the URL of each file: the store's, then the name, each with odd characters as ``%XX``."""
    paths = frame["path"]
    odd = paths.filter(paths.str.contains(r"[^A-Za-z0-9._~/+-]")).unique()
    # One Python call for each odd name; planned names hold none but '%'.
    shown = {name: quote(name, safe="/+~#") for name in odd.to_list()}
    names = pl.col("path").replace(shown) if shown else pl.col("path")
    roots = {name: _root(uri) for name, uri in sources.stores.items()}
    root = pl.col("store").replace_strict(roots, default=None, return_dtype=pl.String)
    return pl.concat_str([root, pl.lit("/"), names]).alias("url")


def _root(uri: str) -> str:
    scheme, separator, rest = uri.partition("://")
    if not separator:
        scheme, rest = "file", os.path.abspath(uri)
    return f"{scheme}://{quote(rest.rstrip('/'), safe='/+~:@')}"


def the_one(frame: pl.DataFrame, named: str, run: str | None = None) -> pl.DataFrame:
    """Give the one row that is meant.

    Parameters
    ----------
    named : str
        What was asked for, for the error.
    run : str, optional
        Of several runs, this one.

    Raises
    ------
    ProjectError
        PST-G003 if there is none, or more than one.
    """
    found = frame if run is None else frame.filter(pl.col("run") == run)
    if found.height == 1:
        return found
    if not found.height:
        raise ProjectError(Problem("PST-G003", f"no dataset {named}", fix="see: prestow find TYPE"))
    such = ", ".join(f"{r} {d}" for r, d in found.select("run", "data_id").head(3).iter_rows())
    what = f"{found.height:,} datasets are {named}"
    raise ProjectError(Problem("PST-G003", what, f"such as {such}", "give more values, or --run NAME"))
