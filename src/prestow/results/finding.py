"""Finding datasets by part of their data ID, whether they are made or planned."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

import polars as pl

from prestow.errors import ConfigurationError, Problem, ProjectError, raise_all
from prestow.model import DataId, DatasetType
from prestow.model.universe import Universe, ValueType
from prestow.naming import identity
from prestow.notebook import counted, html_table
from prestow.plan.frames import column_type, columns_of, describe, imply
from prestow.query import Selection, parse_selection
from prestow.results import datasets
from prestow.results.datasets import Sources
from prestow.results.identifying import identify, not_of
from prestow.results.naming_words import merge
from prestow.results.taints import marks

if TYPE_CHECKING:
    from prestow.registry import Registry
    from prestow.stores import Store

SHOWN = 40
"""Rows that a table for people has."""

FEW = 3
"""Values that are named where one is not there."""

FACTS: dict[str, ValueType] = {"state": "str", "run": "str", "path": "str", "size": "int"}
"""Further names that a selection may have, where no dimension has them."""

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z_][A-Za-z0-9_]*)?")
_QUOTED = re.compile(r"'(?:[^']|'')*'|\"[^\"]*\"")


class Only(StrEnum):
    """Which datasets are looked for."""

    ALL = "all"
    MADE = "made"  # taken in
    PLANNED = "planned"  # named by a plan, and not taken in


@dataclass(frozen=True, slots=True)
class Ref:
    """One dataset that was found.

    Parameters
    ----------
    type : str
        The dataset type.
    data_id : DataId
        Its data ID.
    id : str
        Its UUID.
    run : str
        Where it is made, or will be.
    state : str
        See `prestow.results.datasets.collect`; ``committed`` is made and not taken in yet.
    name : str
        Its name in the store.
    url : str
        Where the bytes are, or will be.
    size : int or None
        In bytes, if it is known.
    taint : str or None
        ``tainted: WHY`` or ``contaminated``, if it is.
    """

    type: str
    data_id: DataId
    id: str
    run: str
    state: str
    name: str
    url: str
    size: int | None
    taint: str | None = None

    def as_dict(self) -> dict[str, object]:
        """Give it as plain values."""
        return {
            "type": self.type, "data_id": dict(self.data_id), "id": self.id, "run": self.run, "state": self.state,
            "name": self.name, "url": self.url, "size": self.size, **({"taint": self.taint} if self.taint else {}),
        }  # fmt: skip

    def __str__(self) -> str:
        return f"{self.type}{{{self.data_id}}}"


@dataclass(frozen=True, slots=True, repr=False)
class Found:
    """What was found, in the order of data ID, then run.

    Parameters
    ----------
    type : DatasetType
        Of all of them.
    frame : DataFrame
        ``type``, ``data_id`` (canonical JSON), each dimension, ``id`` (UUID), ``run``, ``state``,
        ``store``, ``path``, ``url``, ``size``; then the metrics that were asked for by name.
    total : int
        How many there are; ``frame`` may be limited to fewer.
    states : mapping of state to int
        Of those in ``frame``.
    notes : tuple of str
        What is worth to know about the answer.
    """

    type: DatasetType
    frame: pl.DataFrame
    total: int
    notes: tuple[str, ...] = ()

    @property
    def states(self) -> dict[str, int]:
        """How many of those in ``frame`` are in which state."""
        return dict(self.frame.group_by("state").len().sort("state").iter_rows())

    def __len__(self) -> int:
        return self.frame.height

    def __iter__(self) -> Iterator[Ref]:
        columns = ["type", "data_id", "id", "run", "state", "path", "url", "size"]
        columns += ["taint"] if "taint" in self.frame.columns else []
        for kind, data_id, *facts in self.frame.select(columns).iter_rows():
            yield Ref(kind, DataId(json.loads(data_id)), *facts)

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that a table for people has."""
        more = self.frame.columns[self.frame.columns.index("size") + 1 :]
        return (*self.type.dimensions, *more, "run", "state", "path")

    def rows(self, limit: int = SHOWN) -> list[tuple[object, ...]]:
        """Give the first rows of a table for people."""
        return list(self.frame.head(limit).select(self.columns).iter_rows())

    def __repr__(self) -> str:
        return f"<Found {self.total:,} {self.type.name}: {counted(self.states)}>"

    def _repr_html_(self) -> str:
        caption = f"{self.total:,} {self.type.name}"
        return html_table(self.columns, self.rows(), caption=caption, more=self.total - min(SHOWN, len(self)))


def find(
    sources: Sources,
    dataset_type: str,
    where: str = "",
    data_id: Iterable[tuple[str, object]] = (),
    *,
    runs: Sequence[str] | None = None,
    first: bool = False,
    only: Only = Only.ALL,
    limit: int | None = None,
    store: Store | None = None,
) -> Found:
    """Find the datasets of a type that have these values.

    Parameters
    ----------
    where : str
        A selection over the type's dimensions, what they imply, their metadata, dimensions joined
        by a relation, metrics, and ``state``, ``run``, ``path`` and ``size``. What is unknown is
        not found.
    data_id : iterable of (name, value)
        As typed. A name may be an alias; it may be implied by a dimension of the type (a visit's
        band), or joined with one by a relation (a raw exposure's visit).
    runs : sequence of str, optional
        Runs or collections; all, if not given.
    first : bool
        Of one data ID made in several of them only the first.
    limit : int, optional
        Give no more than so many.
    store : Store, optional
        Where to read the receipts of what is planned.

    Raises
    ------
    ProjectError
        PST-G007, an unknown type; PST-G008, values that contradict each other or do not fit.
    ConfigurationError
        With everything else that is wrong with data ID and selection.
    """
    kind = sources.type_of(dataset_type)
    _check_runs(sources, runs or ())
    pairs = list(data_id)
    values = _values(pairs, kind, sources)
    around = _Around(sources, kind, runs)
    selection = around.parse(where)
    made, planned = only is not Only.PLANNED, only is not Only.MADE
    notes: tuple[str, ...] = ()
    implied = {d: v for d, v in values.items() if d not in kind.dimensions}
    if limit is not None and not (first or implied or selection.tree is not None):
        frame, total = datasets.collect_first(
            sources, kind.name, values, limit=limit, runs=runs, made=made, planned=planned
        )
    else:
        frame = datasets.collect(
            sources, kind.name, values, runs=runs, first=first, made=made, planned=planned,
            where=selection, besides=around.besides(selection),
        )  # fmt: skip
        if store is not None and "state" in selection.columns:
            frame, notes = datasets.look(frame, sources, store)
        frame = around.choose(frame, implied, selection)
        total = frame.height
    if not total:
        notes += tuple(_why_nothing(sources, pairs, values, kind))
    if limit is not None:
        frame = frame.head(limit)
    if store is not None and "state" not in selection.columns:
        frame, odd = datasets.look(frame, sources, store)
        notes += odd
    frame, bad = _marked(frame, sources.registry)
    return Found(
        kind, frame.with_columns(identity.uuid_text(pl.col("id")).alias("id")), total, (*notes, *bad)
    )


def _marked(frame: pl.DataFrame, registry: Registry | None) -> tuple[pl.DataFrame, list[str]]:
    """Add a column for what is tainted or contaminated, and a note, if any of it is."""
    known = marks(registry)
    if not known.height or not frame.height:
        return frame, []
    wide = frame.join(
        known.with_columns(pl.col("id").cast(frame.schema["id"])), on="id", how="left", maintain_order="left"
    )
    number = wide["taint"].count()
    if not number:
        return frame, []
    return wide, [f"{number:,} of them tainted or made from what is: prestow taint --list"]


def expand(
    sources: Sources, dataset_type: str, partial: Mapping[str, object] | None = None
) -> Iterator[DataId]:
    """Give every data ID of a type, made or planned, that has these values; each once, in order.

    Nothing is read before the first one is asked for. The order is that of the values, dimension
    by dimension in the order of their names.
    """
    found = find(sources, dataset_type, data_id=(partial or {}).items())
    for text in found.frame["data_id"].unique(maintain_order=True):
        yield DataId(json.loads(text))


def _values(pairs: Sequence[tuple[str, object]], kind: DatasetType, sources: Sources) -> dict[str, str | int]:
    """Give the values by dimension; every problem at once."""
    universe = sources.universe
    found, problems = merge(pairs, universe)
    problems = [_metadata_meant(problem, pairs, universe) for problem in problems]
    possible = _related(kind, universe)
    near = {*universe.expand(kind.dimensions), *_with_rows(possible, sources.registry)}
    problems += [not_of(name, kind, near, possible.get(name)) for name in found if name not in near]
    raise_all(problems, ProjectError if all(p.code == "PST-G008" for p in problems) else ConfigurationError)
    return {name: value for name, (_, value) in found.items()}


def _check_runs(sources: Sources, runs: Sequence[str]) -> None:
    known = {plan.run for plan in sources.plans}
    if sources.registry is not None:
        known.update(sources.registry.collections())
    problems = []
    for name in runs:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            fix = f"did you mean '{near[0]}'?" if near else f"known: {', '.join(sorted(known)) or 'none'}"
            problems.append(
                Problem("PST-G003", f"there is no run or collection '{name}'", sources.shown, fix)
            )
    raise_all(problems, ProjectError)


def _metadata_meant(problem: Problem, pairs: Sequence[tuple[str, object]], universe: Universe) -> Problem:
    """Say how to ask for metadata, where an unknown dimension is that."""
    if problem.code != "PST-C023":
        return problem
    for name, value in pairs:
        owners = [d.name for d in universe.dimensions.values() if name in d.metadata]
        if f"'{name}'" in problem.what and owners:
            what = f"{name} is not a dimension, but metadata of {' and '.join(owners)}"
            return Problem(problem.code, what, problem.where, f"write --where \"{name} = '{value}'\"")
    return problem


def _related(kind: DatasetType, universe: Universe) -> dict[str, str]:
    """Give dimensions that a relation joins with those of a type, each with the relation."""
    found: dict[str, str] = {}
    for relation in universe.relations.values():
        for here, there in (relation.between, relation.between[::-1]):
            if set(here) <= set(kind.dimensions):
                for name in universe.close(there):
                    if name not in universe.expand(kind.dimensions):
                        found.setdefault(name, relation.name)
    return found


def _with_rows(related: Mapping[str, str], registry: Registry | None) -> dict[str, str]:
    """Keep what is related by relations that have rows: an empty one relates nothing."""
    if registry is None:
        return {}
    known = {relation for relation in set(related.values()) if registry.relates(relation)}
    return {name: relation for name, relation in related.items() if relation in known}


class _Records(dict[str, pl.DataFrame]):
    """Dimension records, each table read when it is asked for."""

    def __init__(self, registry: Registry | None, universe: Universe) -> None:
        super().__init__()
        self.registry = registry
        self.universe = universe

    def __contains__(self, element: object) -> bool:
        return element in self.universe.dimensions

    def __missing__(self, element: str) -> pl.DataFrame:
        if self.registry is None:
            dimension = self.universe.dimensions[element]
            names = (*self.universe.close([element]), *dimension.implies)
            facts = {name: column_type(kind) for name, kind in dimension.metadata.items()}
            frame = pl.DataFrame(schema={**columns_of(names, self.universe), **facts})
        else:
            table = pl.from_arrow(self.registry.dimension_records(element))
            assert isinstance(table, pl.DataFrame)
            frame = table
        self[element] = frame
        return frame


class _Around:
    """What is known of datasets besides their own dimensions: implied values, metadata, relations, metrics."""

    def __init__(self, sources: Sources, kind: DatasetType, runs: Sequence[str] | None) -> None:
        self.sources = sources
        self.kind = kind
        self.universe = sources.universe
        self.runs = runs
        self.records = _Records(sources.registry, self.universe)
        self.related = _with_rows(_related(kind, self.universe), sources.registry)
        self.metrics = pl.DataFrame(schema={"id": pl.Binary, "name": pl.String, "value": pl.Float64})
        self.further: frozenset[str] = frozenset()

    def parse(self, where: str) -> Selection:
        """Parse a selection; its names may also be those of metrics and of related dimensions."""
        names = set(_NAME.findall(_QUOTED.sub("", where)))
        columns: dict[str, ValueType] = {
            d: self.universe.dimensions[d].type for d in self.related if d in names
        }
        own = self._own_names()
        columns |= {name: kind for name, kind in FACTS.items() if name in names - own}
        own |= set(FACTS)
        asked = {name for name in names if name.lower() not in own and not self._qualified(name)}
        if asked:
            self.metrics = self._metrics(asked)
        known = ""
        if asked - set(columns) - self._metadata() - set(self.metrics["name"].unique()):
            self.metrics = self._metrics(None)  # for the error: what there is instead
            measured = sorted(self.metrics["name"].unique())
            few = f"metrics here: {', '.join(measured[:10])}{', …' if len(measured) > 10 else ''}"  # noqa: PLR2004 - one line
            known = few if measured else f"no {self.kind.name} with metrics was taken in: prestow ingest"
        columns |= dict.fromkeys(sorted(set(self.metrics["name"].unique()) - own), "float")
        self.further = frozenset(columns)
        return parse_selection(
            where,
            self.universe,
            columns=columns,
            dimensions=self.kind.dimensions,
            place="--where",
            known=known,
        )

    def besides(self, selection: Selection) -> frozenset[str]:
        """Give the names in a selection that do not come from dimensions, their records and relations."""
        return self.further.intersection(selection.columns).difference(self.related)

    def _metadata(self) -> set[str]:
        dimensions = self.universe.expand(self.kind.dimensions)
        return {name for d in dimensions for name in self.universe.dimensions[d].metadata}

    def _qualified(self, name: str) -> bool:
        """Say whether a name is that of a dimension here and of one of its columns."""
        owner, dot, column = name.lower().partition(".")
        dimension = self.universe.canonical(owner) if dot else None
        if dimension is None or dimension not in self.universe.expand(self.kind.dimensions):
            return False
        return column in self.universe.dimensions[dimension].metadata

    def _own_names(self) -> set[str]:
        dimensions = self.universe.expand(self.kind.dimensions)
        return {
            *dimensions,
            *(a for d in dimensions for a in self.universe.dimensions[d].aliases),
            *("and", "or", "not", "in", "like", "is", "null", "true", "false"),
        }

    def _metrics(self, names: Collection[str] | None) -> pl.DataFrame:
        """Give the metrics of these names, or all of them."""
        registry = self.sources.registry
        if registry is None:
            return self.metrics
        runs = self.runs
        if runs is None:
            runs = [name for name, kind in registry.collections().items() if kind == "run"]
        table = pl.from_arrow(registry.metrics([self.kind.name], runs, names))
        assert isinstance(table, pl.DataFrame)
        return table.select(pl.col("id").cast(pl.Binary), "name", "value")

    def choose(
        self, frame: pl.DataFrame, implied: Mapping[str, str | int], selection: Selection
    ) -> pl.DataFrame:
        """Give the rows that have these values, and that the selection surely takes."""
        if not implied and selection.tree is None:
            return frame
        columns = frame.columns
        named = {*implied, *selection.columns}
        wide = frame
        for dimension in self.related:
            if dimension in named:
                wide = self._relate(wide, dimension)
        measured = set(self.metrics["name"])
        asked = [name for name in selection.columns if name in measured and name not in wide.columns]
        for name in asked:
            rows = self.metrics.filter(pl.col("name") == name).select("id", pl.col("value").alias(name))
            wide = wide.join(rows, on="id", how="left", maintain_order="left")
        if named - set(wide.columns):
            wide = imply(wide, self.universe, self.records)
            wide = describe(wide, self.universe, self.records, selection.columns)
        for dimension, value in implied.items():
            wide = wide.filter(
                pl.col(dimension) == value if dimension in wide.columns else pl.lit(value=False)
            )
        wide = wide.filter(selection.expression(wide.columns))
        return wide.unique("id", keep="first", maintain_order=True).select(*columns, *asked)

    def _relate(self, frame: pl.DataFrame, dimension: str) -> pl.DataFrame:
        """Add a dimension by its relation: a row for each value; `choose` takes each dataset once."""
        if self.sources.registry is None or dimension in frame.columns:
            return frame
        pairs = pl.from_arrow(self.sources.registry.relation(self.related[dimension]))
        assert isinstance(pairs, pl.DataFrame)
        pairs = pairs.select(name for name in pairs.columns if name in self.universe.dimensions)
        keys = [name for name in pairs.columns if name in frame.columns]
        return frame.join(pairs, on=keys, how="left", maintain_order="left")


def _why_nothing(
    sources: Sources, pairs: Sequence[tuple[str, object]], values: Mapping[str, str | int], kind: DatasetType
) -> Iterator[str]:
    """Say why nothing was found, where that is plain; values that contradict a record are an error."""
    if sources.registry is not None and values:
        identify(pairs, sources.universe, sources.registry)
    records = _Records(sources.registry, sources.universe)
    for name, value in values.items():
        if (
            name not in kind.dimensions
            or datasets.collect_first(sources, kind.name, {name: value}, limit=1)[1]
        ):
            continue
        there = [str(v) for v in records[name][name].unique().drop_nulls().sort()]
        near = difflib.get_close_matches(str(value), there, FEW) or there[:FEW]
        such = (
            f"; {name} is known as {', '.join(near)}{' …' if len(there) > len(near) else ''}" if near else ""
        )
        if str(value) in there:
            such = f", though this {name} is known: for planned ones of another plan say --plan or --run"
        yield f"no {kind.name} has {name}={value}{such}"
