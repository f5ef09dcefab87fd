"""A registry fits the planner as it is: the plan is that of the same survey in memory."""

import polars as pl
import pyarrow as pa
import pytest

from prestow.errors import PlanRefusedError
from prestow.model import DatasetType
from prestow.plan import Request, build_plan
from prestow.registry import DatasetBatch, Registry
from prestow.testing.surveys import UNIVERSE, Survey, reduction


@pytest.fixture
def survey():
    return Survey.make(3, 2).without("flat", pl.col("physical_filter") == "g_sim", pl.col("detector") == 0)


@pytest.fixture
def registry(tmp_path, survey):
    with Registry.open(f"sqlite:///{tmp_path}/registry.db", UNIVERSE, create=True) as registry:
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
        registry.insert_raw(
            DatasetBatch(datasets, pa.Table.from_pylist(artifacts.to_dicts())),
            dimensions={element: frame.to_arrow() for element, frame in survey.records.items()},
            relations={name: frame.to_arrow() for name, frame in survey.relations.items()},
        )
        yield registry


@pytest.mark.parametrize(
    "where",
    [
        "exposure_time < 100",
        "visit in (1, 3)",
        "band = 'r'",
        "not detector = 1",
        "visit = 2 or exposure.object is null",
    ],
)
def test_the_plan_is_that_of_the_survey(registry, survey, where):
    request = Request("demo", reduction(), UNIVERSE, ("raw",), where=where)
    plan, other = build_plan(request, registry), build_plan(request, survey)
    assert plan.id == other.id
    assert all(plan.tables[name].equals(other.tables[name]) for name in plan.tables)


def test_the_plan_is_the_same_once_its_quanta_are_settled(registry):
    request = Request("demo", reduction(), UNIVERSE, ("raw",))
    plan = build_plan(request, registry)
    registry.register_run("demo")
    quanta = plan.tables["quanta"].select(
        "id", "task", "data_id", run=pl.lit("demo"), job=pl.lit("x"), state=pl.lit("declined"), planned_recipe="recipe",
        receipt=pl.lit("r"),
    )  # fmt: skip
    registry.insert_datasets(DatasetBatch({}, None, quanta.to_arrow()))
    assert pa.table(registry.quanta("demo")).num_rows == quanta.height
    assert build_plan(request, registry).id == plan.id
    with pytest.raises(PlanRefusedError) as error:
        build_plan(Request("demo", reduction(sigma=1.0), UNIVERSE, ("raw",)), registry)
    assert {problem.code for problem in error.value.problems} == {"PST-P005"}


def test_an_empty_registry_lacks_everything(tmp_path):
    with (
        Registry.open(f"sqlite:///{tmp_path}/r.db", UNIVERSE, create=True) as registry,
        pytest.raises(PlanRefusedError) as error,
    ):
        build_plan(Request("demo", reduction(), UNIVERSE, ()), registry)
    assert [problem.code for problem in error.value.problems] == ["PST-P002"] * 3
