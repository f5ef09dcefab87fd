"""What a project's plans and pipeline know of files that are to be adopted."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import polars as pl

from prestow.errors import PrestowError, Problem, ProjectError
from prestow.formats import Story
from prestow.ingest.adopting import Adoption, Expected, Found, Plans, adopt
from prestow.manifest import ReceiptOutput
from prestow.naming import identity
from prestow.naming.templates import compile_template
from prestow.project import plans as plan_files
from prestow.project.sandbox_marks import refuse_sandbox, refuse_sandbox_files
from prestow.registry.records import is_removed, record_name
from prestow.stores import Linkable

if TYPE_CHECKING:
    from prestow.pipeline.definition import Pipeline
    from prestow.plan import Plan
    from prestow.project.archiving import ProjectWithArchive


def adopt_files(
    project: ProjectWithArchive,
    where: Path | None,
    *,
    run: str | None = None,
    link: bool = False,
    dry_run: bool = False,
) -> Adoption:
    """Adopt the files of a directory, or of a run's own directory in the store.

    Raises
    ------
    ProjectError
        PST-G003 if there is no such directory or run; PST-I030 if the run is frozen.
    IngestError
        PST-T005 if the files, or the store, are somebody else's sandbox.
    """
    store = project.store
    refuse_sandbox(store, project.root)
    if where is None:
        if run is None or not isinstance(store, Linkable):
            raise ProjectError(
                Problem("PST-G005", "which files?", fix="prestow ingest --adopt RUN, or --from DIR")
            )
        where = store.local_path(run)
    if not where.is_dir():
        fix = "give a directory (--from DIR), or a run whose files are in the store (--adopt RUN)"
        raise ProjectError(Problem("PST-G003", "there is no such directory", str(where), fix))
    refuse_sandbox_files(where, project.root)
    if run is not None:
        project.registry.frozen.refuse([run], "nothing is adopted into it")
    pipeline = _pipeline(project)
    return adopt(
        store,
        where,
        run=run,
        lookup=lambda found: known_by_plans(project, found),
        named=lambda story: _named(pipeline, project, story),
        optional=_outputs(pipeline),
        runs=tuple(project.registry.collections()),
        refuse_run=lambda name: _refused(project, name),
        link=link,
        dry_run=dry_run,
    )


def _refused(project: ProjectWithArchive, run: str) -> str:
    if project.registry.frozen.among([run]):
        return f"its run '{run}' is frozen: nothing is adopted into it"
    if is_removed(project.store, run):
        return f"its run '{run}' was removed; what is deleted stays so"
    if project.store.size(record_name("closed", run)) is not None:
        return f"its run '{run}' is closed: nothing is added to it"
    return ""


def _pipeline(project: ProjectWithArchive) -> Pipeline | None:
    """Give the pipeline, if it can be read: files can be adopted without."""
    try:
        return project.load_pipeline()
    except PrestowError:
        return None


def _outputs(pipeline: Pipeline | None) -> dict[tuple[str, str], bool]:
    """Give the outputs of each task, and whether each is optional."""
    tasks = pipeline.tasks if pipeline else ()
    return {(task.label, o.type): o.optional for task in tasks for o in task.outputs}


def _named(pipeline: Pipeline | None, project: ProjectWithArchive, story: Story) -> str | None:
    """Give the name of a product by the template of its type; None where that needs more than its data ID."""
    kind = pipeline.dataset_types.get(story.type) if pipeline else None
    if kind is None:
        return None
    try:
        template = compile_template(kind.template, kind.dimensions, project.universe, dataset_type=kind.name)
        return template.path(story.run, json.loads(story.data_id))
    except PrestowError:
        return None


def known_by_plans(project: ProjectWithArchive, found: Sequence[Found]) -> Plans:
    """Give what the plans of the files' runs say of them."""
    from prestow.plan import open_plan

    runs = {one.story.run for one in found}
    quanta: dict[str, Expected] = {}
    paths: dict[str, str] = {}
    for directory in plan_files.plan_directories(project.plans_directory):
        if plan_files.run_of(directory) in runs:
            plan = open_plan(directory)
            _expected(plan, [one for one in found if one.story.run == plan.run], quanta)
            _paths(plan, found, paths)
    return Plans(quanta, paths)


def _paths(plan: Plan, found: Sequence[Found], into: dict[str, str]) -> None:
    names = {one.name for one in found} | {f"{one.story.run}/{one.name}" for one in found}
    rows = plan.tables.scan("datasets").filter("planned").select("path", "id").collect()
    rows = rows.filter(pl.col("path").is_in(pl.Series(sorted(names), dtype=pl.String).implode()))
    into.update(rows.select("path", identity.uuid_text(pl.col("id"))).iter_rows())


def _expected(plan: Plan, found: Sequence[Found], into: dict[str, Expected]) -> None:
    """Put in the quanta that make these datasets: joins in columns, then a row for each output that is there."""
    ids = pl.Series("id", [bytes.fromhex(one.story.id.replace("-", "")) for one in found], pl.Binary)
    tables = plan.tables
    datasets = tables.scan("datasets").with_columns(pl.col("id").cast(pl.Binary))
    made = datasets.filter("planned").join(ids.to_frame().lazy(), on="id", how="semi")
    numbers = made.select(pl.col("producer").alias("quantum")).unique().collect()
    if not numbers.height:
        return
    names = tables.scan("jobs").select("job", pl.col("name").alias("job_name"))
    quanta = (
        tables.scan("quanta").join(numbers.lazy(), on="quantum", how="semi").join(names, on="job", how="left")
    )
    texts = identity.uuid_text(pl.col("id")), identity.recipe_text(pl.col("recipe"))
    columns = ("type", "data_id", "format", "path", "run")
    outputs: dict[int, list[tuple[ReceiptOutput, bool]]] = defaultdict(list)
    for row in _edges(tables, "outputs", numbers, datasets.select("dataset", *texts, *columns)):
        output = ReceiptOutput(
            row["id"], row["type"], json.loads(row["data_id"]), row["format"], row["path"], "declined"
        )
        outputs[row["quantum"]].append((output, row["optional"]))
    inputs: dict[int, dict[tuple[str, str], tuple[str, str]]] = defaultdict(dict)
    for row in _edges(tables, "inputs", numbers, datasets.select("dataset", *texts, *columns)):
        inputs[row["quantum"]][row["connection"], row["id"]] = row["run"], row["recipe"]
    rows = quanta.select("quantum", "task", "data_id", "job_name", *texts).sort("quantum").collect()
    for row in rows.iter_rows(named=True):
        number = row["quantum"]
        expected = Expected(
            row["id"], row["task"], plan.run, row["job_name"], row["recipe"], json.loads(row["data_id"]),
            tuple(outputs[number]), inputs[number],
        )  # fmt: skip
        for output, _ in expected.outputs:
            into[output.id] = expected


def _edges(
    tables: Any,
    name: str,
    numbers: pl.DataFrame,
    datasets: pl.LazyFrame,  # Any: the tables of a plan
) -> Sequence[dict[str, Any]]:  # Any: a row
    edges = (
        tables.scan(name)
        .join(numbers.lazy(), on="quantum", how="semi")
        .join(datasets, on="dataset", how="inner")
    )
    rows: list[dict[str, Any]] = (
        edges.sort("quantum", "connection", "dataset").collect().to_dicts()
    )  # Any: a row
    return rows
