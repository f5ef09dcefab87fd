"""A plan: frozen, content-addressed, in memory or on disk, its tables read when asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from prestow.commit import code_name
from prestow.errors import Problem, ProjectError
from prestow.model import DataId
from prestow.model.universe import RawDataId, Universe
from prestow.pipeline.definition import CodeBundle, Pipeline
from prestow.plan.document import pipeline_from_plain, universe_from_plain
from prestow.plan.tables import TABLES

SCHEMA = "prestow.plan/2"


class Tables(Mapping[str, pl.DataFrame]):
    """The tables of a plan by name; those of a directory are read at the first use."""

    def __init__(
        self, frames: Mapping[str, pl.DataFrame], directory: Path | None = None, *, spool: Path | None = None
    ) -> None:
        self._frames = dict(frames)
        self._directory = directory or spool
        self._files: dict[str, Any] = {}  # Any: a library without types
        self.spool = spool

    def adopt(self, directory: Path) -> None:
        """Read from here from now on: the temporary directory was moved."""
        self._directory, self.spool = directory, None

    def __getitem__(self, name: str) -> pl.DataFrame:
        if name not in self._frames:
            if self._directory is None or name not in TABLES:
                raise KeyError(name)
            try:
                self._frames[name] = self.scan(name).collect()
            except (OSError, pl.exceptions.PolarsError) as error:
                raise self._damaged(self._directory / f"{name}.parquet", error) from error
        return self._frames[name]

    def __iter__(self) -> Iterator[str]:
        return iter(TABLES)

    def __len__(self) -> int:
        return len(TABLES)

    def file(self, name: str) -> Any:  # Any: a library without types
        """Give the open file of a table that is not in memory, or None."""
        if name in self._frames or self._directory is None:
            return None
        if name not in self._files:
            import pyarrow.parquet as pq

            path = self._directory / f"{name}.parquet"
            try:
                self._files[name] = pq.ParquetFile(path)
            except (OSError, ValueError) as error:
                raise self._damaged(path, error) from error
        return self._files[name]

    def columns(self, name: str) -> list[str]:
        """Give the names of a table's columns, without its rows."""
        file = self.file(name)
        return list(self[name].columns if file is None else file.schema_arrow.names)

    def _damaged(self, path: Path, error: Exception) -> ProjectError:
        fix = f"remove {path.parent}, then: prestow plan"
        return ProjectError(Problem("PST-P008", f"the plan is damaged: {error}", str(path), fix))

    def scan(self, name: str) -> pl.LazyFrame:
        """Give a table without reading it: a filter then reads only the row groups it needs."""
        if name in self._frames:
            return self._frames[name].lazy()
        if self._directory is None:
            raise KeyError(name)
        self.file(name)  # that it is a whole Parquet file is said here, not where it is read
        # glob=False: a directory's name may hold '[' or '*'
        return pl.scan_parquet(self._directory / f"{name}.parquet", glob=False)


@dataclass(frozen=True, slots=True)
class PlanCode:
    """The workflow's code as a deterministic zip; ``path`` is its name in the output store."""

    sha256: str
    size: int
    file: Path | None = None
    bundle: CodeBundle | None = field(default=None, repr=False)

    @property
    def path(self) -> str:
        """Its name in a store."""
        return code_name(self.sha256)

    @property
    def data(self) -> bytes:
        """Its bytes, read when asked for."""
        if self.bundle is not None:
            return self.bundle.data
        assert self.file is not None, "code is in memory or in a file"
        return self.file.read_bytes()


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a request comes to. What of it is done is state, and not in here.

    Parameters
    ----------
    id : str
        32 hexadecimal digits over the logical content.
    run : str
        Where the outputs go.
    document : mapping
        What ``plan.yaml`` holds, as plain values.
    tables : Tables
        ``datasets``, ``quanta``, ``inputs``, ``outputs``, ``jobs``, ``job_edges``, ``left_out`` and,
        outside the hash, ``locations``. Numbers in them are positions.
    definition, universe : Pipeline, Universe
        As planned; ``definition.code`` is None, see `code`.
    directory : Path or None
        Where the plan is written.
    """

    id: str
    run: str
    document: Mapping[str, Any]  # Any: plain values
    tables: Tables
    definition: Pipeline
    universe: Universe
    directory: Path | None = None
    bundle: CodeBundle | None = field(default=None, repr=False)
    extra: Mapping[str, pl.DataFrame] = field(default_factory=dict, repr=False)

    @classmethod
    def from_document(cls, document: Mapping[str, Any], tables: Tables, **more: Any) -> Plan:
        """Make a plan from what ``plan.yaml`` holds and its tables."""
        return cls(
            id=document["id"],
            run=document["run"],
            document=document,
            tables=tables,
            definition=pipeline_from_plain(document["pipeline"]),
            universe=universe_from_plain(document["universe"]),
            **more,
        )

    @property
    def pipeline_digest(self) -> str:
        """To this the run is bound."""
        return str(self.document["pipeline_digest"])

    @property
    def code(self) -> PlanCode | None:
        """The workflow's code, or None if there is none."""
        code = self.document["pipeline"]["code"]
        if code is None:
            return None
        file = None if self.directory is None else self.directory / "code.zip"
        return PlanCode(code["sha256"], code["size"], file, self.bundle)

    @property
    def counts(self) -> Mapping[str, Any]:  # Any: plain values
        """For each task: quanta, jobs, inputs, outputs, left_out by reason, forecasts."""
        counts: Mapping[str, Any] = self.document["counts"]
        return counts

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is allowed, and will hurt."""
        return tuple(self.document["warnings"])

    def files(self) -> pl.DataFrame:
        """Give every name that will be written: type, data_id, path, id, producer."""
        columns = ("dataset", "type", "data_id", "path", "id", "producer")
        return self.tables.scan("datasets").filter("planned").select(columns).collect()

    def path_of(self, dataset_type: str, /, **data_id: str | int) -> str:
        """Give the path of a planned output; names may be aliases.

        Raises
        ------
        ProjectError
            PST-G003, if the plan makes no such dataset.
        """
        kind = self.definition.dataset_types.get(dataset_type)
        shown = f"{dataset_type}{{{', '.join(f'{k}={v}' for k, v in data_id.items())}}}"
        if kind is None or not kind.template:
            known = ", ".join(name for name, t in self.definition.dataset_types.items() if t.template)
            raise ProjectError(
                Problem("PST-G003", f"this plan makes no {dataset_type}", shown, f"it makes {known}")
            )
        values = dict(data_id)
        if "instrument" in kind.dimensions and "instrument" not in values:
            # one instrument is the rule; naming it each time is a nuisance
            one = self.tables["datasets"]["instrument"].drop_nulls().unique()
            values |= {"instrument": one.item()} if one.len() == 1 else {}
        normal = self.universe.normalise(RawDataId(dict(values)), kind.dimensions)
        found = (
            self.tables.scan("datasets")
            .filter(
                pl.col("planned") & (pl.col("type") == dataset_type) & (pl.col("data_id") == normal.json())
            )
            .select("path")
            .collect()
        )
        if not found.height:
            raise ProjectError(
                Problem(
                    "PST-G003",
                    f"this plan does not make {dataset_type}{{{normal}}}",
                    shown,
                    "see `prestow plan --files`",
                )
            )
        return str(found.item())

    def find_job(self, text: str) -> int:
        """Give the number of the job that a text means: its name, its number, or ``label:k=v,…``.

        Raises
        ------
        ProjectError
            PST-R004, if none is meant, or several.
        """
        jobs = self.tables["jobs"]
        found = jobs.filter(pl.col("name") == text)
        if not found.height and text.isdigit() and int(text) < jobs.height:
            return int(text)
        label, colon, values = text.partition(":")
        if not found.height and colon:
            found = self._jobs_by_data_id(label, values)
        if not found.height:
            found = jobs.filter(pl.col("name").str.starts_with(text)) if text else jobs.clear()
        if found.height == 1:
            return int(found["job"].item())
        near = ", ".join(found["name"].head(5)) or ", ".join(jobs["name"].head(5))
        what = f"{found.height} jobs begin with '{text}'" if found.height else f"there is no job '{text}'"
        raise ProjectError(Problem("PST-R004", what, f"plan {self.id}", f"such as {near}"))

    def _jobs_by_data_id(self, label: str, values: str) -> pl.DataFrame:
        wanted = self.universe.normalise(RawDataId(dict(DataId.parse(values))))
        quanta = self.tables["quanta"]
        if not set(wanted) <= set(quanta.columns):
            return self.tables["jobs"].clear()
        rows = quanta.filter(*(pl.col(name) == value for name, value in wanted.items()))
        jobs = self.tables["jobs"].join(rows.select("job", "task").unique(), on="job", how="inner")
        return jobs.filter((pl.col("label") == label) | (pl.col("task") == label)).unique("job").sort("job")

    def explain(self, stage: str) -> str:
        """Give one table as plain text that a person can read, such as ``jobs`` or ``quanta``."""
        from prestow.plan.summary import explain

        return explain(self, stage)

    def __repr__(self) -> str:
        total = self.document["totals"]
        return (
            f"<Plan {self.id[:8]}, run {self.run}: {total['jobs']:,} jobs, {total['quanta']:,} quanta, "
            f"{total['outputs']:,} outputs>"
        )

    def _repr_html_(self) -> str:
        from prestow.plan.summary import summary_html

        return summary_html(self)
