"""Some jobs of a plan with all that they are told, in columns: what manifests and workflows are written from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from prestow.errors import PlanRefusedError, Problem
from prestow.naming import identity, octets
from prestow.packs import RECEIPTS
from prestow.plan.pieces import codes_of
from prestow.plan.ranges import distinct, numbers_of, once, places_of
from prestow.plan.slices import groups_of

if TYPE_CHECKING:
    import numpy.typing as npt

    from prestow.plan.plan import Plan, Tables

    Numbers = npt.NDArray[np.int64]

NEAR = 2
"""So many row groups of a table are kept for the next batch, and the first of those that were read."""

_DATASET = ("dataset", "type", "data_id", "id", "run", "format", "recipe")


@dataclass(frozen=True, slots=True)
class Batch:
    """Some jobs; all frames stand in the order of the plan, and rows are known by their positions.

    Parameters
    ----------
    jobs : DataFrame
        ``job``, ``name``, ``label``, ``depth``, ``first``, ``count`` and what the job needs.
    quanta : DataFrame
        ``quantum``, ``job`` (row of ``jobs``), ``task`` (place among `tasks`), ``data_id``, ``id``, ``recipe``,
        ``receipt``.
    items : DataFrame
        What each job reads, each dataset once: ``job``, ``dataset`` (row of ``datasets``).
    reads, writes : DataFrame
        ``quantum`` (row), ``connection``, ``dataset`` (row), ``place`` (among the inputs or outputs of the job);
        ``writes`` also ``job`` (row) and ``optional``.
    datasets : DataFrame
        ``dataset``, ``type``, ``data_id``, ``id``, ``run``, ``format``, ``recipe``, ``path`` (below its type in the
        local repository), ``producer`` and ``receipt``, ``size``, ``sha256``, ``content``, ``store`` and ``place`` where it
        exists, ``maker`` (quantum of this plan that makes it) and whether it ``exists``.
    tasks : tuple of str
        All tasks of the pipeline.
    """

    jobs: pl.DataFrame
    quanta: pl.DataFrame
    items: pl.DataFrame
    reads: pl.DataFrame
    writes: pl.DataFrame
    datasets: pl.DataFrame
    tasks: tuple[str, ...]


class Batches:
    """Reads jobs batch by batch, in the order of the plan: what one of them read, the next need not read again.

    Parameters
    ----------
    plan : Plan
        Of it.
    reuse : DataFrame, optional
        Outputs taken from elsewhere, see `prestow.plan.manifests.manifests`. Their quanta are left out, who reads them
        finds them there.
    """

    def __init__(self, plan: Plan, reuse: pl.DataFrame | None = None) -> None:
        self._plan = plan
        self._rows = RowGroups(plan.tables)
        self._labels = tuple(task.label for task in plan.definition.tasks)
        self._taken = None if reuse is None or not reuse.height else _as_texts(reuse)

    def of(self, jobs: Numbers) -> Batch:
        """Read some jobs.

        Parameters
        ----------
        jobs : array of int64
            Numbers of jobs, sorted, each once.

        Raises
        ------
        PlanRefusedError
            If something that they read was only promised, and is not there (PST-P056).
        """
        chosen = self._rows.at("jobs", jobs, self._plan.tables.columns("jobs"))
        own = numbers_of(chosen["first"].to_numpy(), chosen["count"].to_numpy())
        owner = np.repeat(np.arange(len(jobs)), chosen["count"].to_numpy())
        if self._taken is not None:
            left = ~np.isin(own, self._taken["quantum"].to_numpy())
            own, owner = own[left], owner[left]
        reads = self._rows.of_quanta("inputs", own, ("quantum", "connection", "dataset"))
        writes = self._rows.of_quanta("outputs", own, ("quantum", "connection", "dataset", "optional"))
        read, written = (frame["dataset"].to_numpy().astype(np.int64) for frame in (reads, writes))
        numbers = once(np.concatenate([read, written]))
        datasets, quanta, makers = self._facts(numbers, read, own)
        mine = quanta[np.searchsorted(makers, own)]
        mine = mine.with_columns(job=owner, task=codes_of(mine["task"], self._labels).astype(np.int64))
        by_read, by_write = (np.searchsorted(own, frame["quantum"].to_numpy()) for frame in (reads, writes))
        row, made_by = np.searchsorted(numbers, read), owner[by_write]
        place, items = _items(owner[by_read], row)
        starts = np.searchsorted(made_by, np.arange(len(jobs)))
        return Batch(
            jobs=chosen,
            quanta=mine,
            items=items,
            reads=pl.DataFrame({
                "quantum": by_read, "connection": reads["connection"], "place": place, "dataset": row,
            }),
            writes=pl.DataFrame({
                "quantum": by_write, "connection": writes["connection"], "optional": writes["optional"],
                "place": np.arange(len(made_by)) - starts[made_by], "job": made_by,
                "dataset": np.searchsorted(numbers, written),
            }),
            datasets=datasets,
            tasks=self._labels,
        )  # fmt: skip

    def _facts(
        self, numbers: Numbers, read: Numbers, own: Numbers
    ) -> tuple[pl.DataFrame, pl.DataFrame, Numbers]:
        """Give the facts of datasets, and of quanta: those of these jobs, and who makes what they read."""
        plan = self._plan
        there = plan.document["totals"]["locations"]
        old, new = numbers[numbers < there], numbers[numbers >= there]
        planned = self._rows.at("datasets", new, (*_DATASET, "path", "producer"))
        maker = planned["producer"].to_numpy().astype(np.int64)
        needed = np.isin(new, read[read >= there])
        makers = once(np.concatenate([own, maker[needed]]))
        quanta = self._rows.at("quanta", makers, ("quantum", "task", "data_id", "id", "recipe"))
        quanta = quanta.with_columns(_uuids(quanta["id"]), _hex(quanta["recipe"])).with_columns(
            receipt=pl.concat_str(
                pl.lit(f"{RECEIPTS}/{plan.run}/"), "task", pl.lit("/"), pl.col("id").str.slice(0, 2), pl.lit("/"), "id",
                pl.lit(".json"),
            )
        )  # fmt: skip
        at = pl.Series(np.searchsorted(makers, maker)).set(
            pl.Series(~needed), None
        )  # of others it is not asked
        planned = planned.drop("producer").with_columns(
            producer=quanta["id"].gather(at), receipt=quanta["receipt"].gather(at), maker=pl.Series(maker, dtype=pl.Int64),
            exists=pl.lit(value=False), size=pl.lit(None, pl.Int64),
            **{name: pl.lit(None, pl.String) for name in ("sha256", "content", "store", "place")},
        )  # fmt: skip
        datasets = pl.concat([self._existing(old, planned.columns), planned])
        datasets = datasets.with_columns(_uuids(datasets["id"]), _hex(datasets["recipe"]))
        if self._taken is not None:
            datasets = _with_taken(datasets, self._taken)
        lacking = datasets.filter(pl.col("maker").is_null() & ~pl.col("exists"))
        if lacking.height:
            row = lacking.row(0, named=True)
            what = f"{row['type']} {row['data_id']} is only promised: it is not there yet"
            fix = "take it in, then plan again: prestow plan"
            raise PlanRefusedError(Problem("PST-P056", what, f"plan {plan.id[:8]}", fix))
        return datasets, quanta, makers

    def _existing(self, numbers: Numbers, columns: Sequence[str]) -> pl.DataFrame:
        facts = self._rows.at("datasets", numbers, _DATASET)
        names = ("store", "path", "size", "sha256", "content", "receipt")
        places = self._rows.at("locations", numbers, names).rename({"path": "place"})
        return pl.concat([facts, places], how="horizontal").with_columns(
            path=pl.col("place"), producer=pl.lit(None, pl.String), maker=pl.lit(None, pl.Int64),
            exists=pl.col("place").is_not_null(),
        ).select(columns)  # fmt: skip


class RowGroups:
    """Rows of a plan's tables by number; few row groups of one call are kept until the next for the same columns."""

    def __init__(self, tables: Tables) -> None:
        self._tables = tables
        self._kept: dict[tuple[str, tuple[str, ...]], dict[int, pl.DataFrame]] = {}
        self._bounds: dict[str, Numbers] = {}

    def at(self, name: str, numbers: Numbers, columns: Sequence[str]) -> pl.DataFrame:
        """Give rows of a table in which each stands at its number; numbers are sorted, each once."""
        file = self._tables.file(name)
        if file is None:
            return self._tables[name].select(columns)[numbers]
        if not len(numbers):
            return _read(file, 0, tuple(columns)).clear()
        bounds = self._begin(name)
        group = np.searchsorted(bounds, numbers, "right") - 1
        groups = group[np.flatnonzero(np.diff(group, prepend=-1))]
        starts = np.searchsorted(group, groups).tolist()
        kept = self._kept.pop((name, tuple(columns)), {})
        kept = {number: kept[number] for number in groups.tolist() if number in kept}
        near = {*groups[:1].tolist(), *groups[-NEAR:].tolist()}
        now: dict[int, pl.DataFrame] = {}
        found: list[pl.DataFrame] = []
        for number, start, end in zip(groups.tolist(), starts, [*starts[1:], len(numbers)], strict=True):
            frame = kept.pop(number) if number in kept else _read(file, number, tuple(columns))
            rows = frame[numbers[start:end] - bounds[number]]
            if number in near:
                now[number] = frame
            found.append(rows if number in near else compact(rows))
        self._kept[name, tuple(columns)] = now
        return pl.concat(found)

    def whole(self, name: str, columns: Sequence[str]) -> pl.DataFrame:
        """Give some columns of all rows of a table."""
        file = self._tables.file(name)
        if file is None:
            return self._tables[name].select(columns)
        groups = [_read(file, group, tuple(columns)) for group in range(file.num_row_groups)]
        return pl.concat(groups, rechunk=True) if groups else _read(file, 0, tuple(columns)).clear()

    def of_quanta(self, name: str, quanta: Numbers, columns: Sequence[str]) -> pl.DataFrame:
        """Give the rows of a table that belong to some quanta; it stands by ``quantum``, which is the first column."""
        if self._tables.file(name) is None:
            frame = self._tables[name].select(columns)
        else:
            frame = self._groups(name, groups_of(self._tables, name, quanta), tuple(columns))
        return frame[places_of(frame["quantum"].to_numpy(), quanta)]

    def _begin(self, name: str) -> Numbers:
        if name not in self._bounds:
            meta = self._tables.file(name).metadata
            self._bounds[name] = np.cumsum(
                [0, *(meta.row_group(i).num_rows for i in range(meta.num_row_groups))]
            )
        return self._bounds[name]

    def _groups(self, name: str, groups: Sequence[int], columns: tuple[str, ...]) -> pl.DataFrame:
        kept = self._kept.get((name, columns), {})
        file = self._tables.file(name)
        kept = {g: kept[g] if g in kept else _read(file, g, columns) for g in groups}
        self._kept[name, columns] = kept
        return pl.concat(kept.values()) if kept else _read(file, 0, columns).clear()


def compact(frame: pl.DataFrame) -> pl.DataFrame:
    """Give the same with no more in memory than its own texts: not those of the columns that they were taken from."""
    found = pl.from_arrow(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
    assert isinstance(found, pl.DataFrame)
    return found


def _read(file: Any, group: int, columns: Sequence[str]) -> pl.DataFrame:  # Any: a library without types
    frame = pl.from_arrow(file.read_row_group(group, columns=list(columns), use_threads=False))
    assert isinstance(frame, pl.DataFrame)
    return frame.select(columns)


def _items(job: Numbers, dataset: Numbers) -> tuple[Numbers, pl.DataFrame]:
    """Give the place of each row among what its job reads, and that: each dataset of a job once, as first met."""
    keys = (job << 32) | dataset
    rows: Numbers = np.arange(len(keys), dtype=np.int64)
    at: Numbers = rows
    if pl.Series(keys).n_unique() < len(keys):
        _, firsts, which = np.unique(keys, return_index=True, return_inverse=True)
        rows, found = distinct(firsts.astype(np.int64), len(keys))
        at = found[which]
    job_of: Numbers = job[rows]
    starts = np.searchsorted(job_of, np.arange(job_of[-1] + 1 if len(job_of) else 0))
    return at - starts[job] if len(at) else at, pl.DataFrame({"job": job_of, "dataset": dataset[rows]})


def _as_texts(reuse: pl.DataFrame) -> pl.DataFrame:
    """Give what is taken from elsewhere with ids and digests as text."""
    for name in ("sha256", "content"):
        if reuse.schema[name] == pl.Binary:
            reuse = reuse.with_columns(pl.col(name).bin.encode("hex"))
    if reuse.schema["id"] != pl.String:
        reuse = reuse.with_columns(identity.uuid_text(pl.col("id").cast(pl.Binary)))
    return reuse.unique("dataset", keep="last", maintain_order=True)


def _with_taken(datasets: pl.DataFrame, taken: pl.DataFrame) -> pl.DataFrame:
    """Put what stands in the place of datasets; what was rightfully not made there has a receipt that says so."""
    other = taken.select(
        "dataset",
        *(
            pl.col(name).alias(f"_{name}")
            for name in ("id", "run", "store", "path", "size", "sha256", "content", "receipt")
        ),
    )
    found = datasets.join(other, on="dataset", how="left", maintain_order="left")
    here, made = pl.col("_id").is_not_null(), pl.col("_sha256").is_not_null()
    named = pl.col("_receipt").str.extract(r"([^/]+?)(?:\.json)?$")

    def instead(name: str, value: pl.Expr) -> pl.Expr:
        return pl.when(here).then(value).otherwise(pl.col(name)).alias(name)

    empty = (pl.col("_path") == "").fill_null(value=True)
    return found.with_columns(
        *(
            instead(name, pl.col(f"_{name}"))
            for name in ("id", "run", "size", "sha256", "content", "receipt")
        ),
        instead("store", pl.when(made).then("_store")),
        instead("path", pl.when(empty).then("path").otherwise("_path")),
        instead("place", pl.when(made).then(pl.when(empty).then("path").otherwise("_path"))),
        instead("producer", pl.when(~made).then(named)),
        instead("maker", pl.lit(None, pl.Int64)),
        exists=pl.when(here).then(pl.lit(value=True)).otherwise("exists"),
    ).select(datasets.columns)


def _uuids(ids: pl.Series) -> pl.Series:
    return octets.to_uuid_text(octets.from_binary(ids)).alias(ids.name)


def _hex(values: pl.Series) -> pl.Series:
    return octets.to_hex(octets.from_binary(values)).alias(values.name)
