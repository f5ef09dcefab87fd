"""What a plan is refused for: every problem at once, each naming both sides."""

from dataclasses import replace

import polars as pl
import pytest

from prestow.errors import Exit, PlanRefusedError
from prestow.pipeline.definition import Cluster, Pipeline
from prestow.plan import Request, build_plan
from prestow.plan.document import pipeline_digest
from prestow.plan.passes.prove import _crowded, _with_those_above
from prestow.testing.surveys import UNIVERSE, Survey, dataset_type, exist, reduction, task


def plan_of(survey, pipeline=None, **more):
    return build_plan(Request("demo", pipeline or reduction(), UNIVERSE, ("raw",), **more), survey)


def refusal(survey, pipeline=None, **more):
    with pytest.raises(PlanRefusedError) as error:
        plan_of(survey, pipeline, **more)
    return error.value.problems


def with_type(pipeline, *types):
    return replace(pipeline, dataset_types={**pipeline.dataset_types, **{t.name: t for t in types}})


def test_two_types_with_one_name_are_refused_and_both_named():
    shared = "{run}/{instrument}-{visit}-{detector}.fits"
    pipeline = with_type(
        reduction(),
        dataset_type("isr", "visit", "detector", template=shared),
        dataset_type("aligned", "visit", "detector", template=shared),
    )
    with pytest.raises(PlanRefusedError) as error:
        plan_of(Survey.make(2, 2), pipeline)
    assert error.value.exit_code is Exit.REFUSED
    (problem,) = error.value.problems
    assert problem.code == "PST-P004"
    assert (
        "isr{detector=0,instrument=sim,visit=1} and aligned{detector=0,instrument=sim,visit=1}"
        in problem.what
    )
    assert "and 3 more such names" in problem.what
    assert "{type}" in problem.fix


def test_a_template_without_a_dimension_is_refused_with_the_missing_field():
    pipeline = with_type(
        reduction(), dataset_type("isr", "visit", "detector", template="{run}/isr-{instrument}-{visit}.fits")
    )
    (problem,) = refusal(Survey.make(2, 2), pipeline)
    assert problem.code == "PST-C030"
    assert "{detector} is missing" in problem.what


def test_names_that_differ_only_in_case_are_refused():
    survey = Survey.make(1, 1, bands=("g", "G"))
    types = [
        dataset_type("flat", "physical_filter", "detector", template=""),
        dataset_type("x", "physical_filter", "detector"),
    ]
    pipeline = Pipeline(
        "toy", "", (task("t", ["physical_filter", "detector"], ["flat"], ["x"]),), {t.name: t for t in types}
    )
    (problem,) = refusal(survey, pipeline)
    assert problem.code == "PST-P004"
    assert "names that differ only in case" in problem.what
    assert "G_sim" in problem.what
    assert "g_sim" in problem.what


def test_two_quanta_that_would_make_one_dataset_are_refused():
    pipeline = with_type(
        reduction(), dataset_type("isr", "visit", template="{run}/isr/{instrument}-{visit}.fits")
    )
    problems = refusal(Survey.make(1, 2), pipeline)
    assert [p.code for p in problems] == ["PST-P004"]
    assert "two quanta would make isr{instrument=sim,visit=1}" in problems[0].what


def test_a_name_that_cannot_be_read_back_is_refused():
    survey = Survey.make(1, 1, instrument="a-b")
    flat = exist("flat", pl.DataFrame({"instrument": ["a"], "physical_filter": ["b-c"], "detector": [0]}))
    other = exist("flat", pl.DataFrame({"instrument": ["a-b"], "physical_filter": ["c"], "detector": [0]}))
    survey = replace(survey, existing={**survey.existing, "flat": pl.concat([flat, other])})
    types = [
        dataset_type("flat", "physical_filter", "detector", template=""),
        dataset_type(
            "x",
            "physical_filter",
            "detector",
            template="{run}/{instrument}-{physical_filter}/{detector}.fits",
        ),
    ]
    pipeline = Pipeline(
        "toy", "", (task("t", ["physical_filter", "detector"], ["flat"], ["x"]),), {t.name: t for t in types}
    )
    problems = refusal(survey, pipeline)
    assert {p.code for p in problems} == {"PST-P004"}
    assert any("cannot be read back" in p.what for p in problems)


def test_a_value_too_long_for_a_name_is_refused():
    survey = Survey.make(1, 1, instrument="i" * 300)
    problems = refusal(survey)
    assert {p.code for p in problems} == {"PST-P003"}
    assert len(problems) >= 4


def test_odd_values_are_encoded():
    plan = plan_of(Survey.make(1, 1, instrument="my camera/2"))
    assert plan.path_of("isr", visit=1, detector=0) == "demo/isr/000001/isr-my%20camera%2F2-000001-000.fits"
    assert plan.tables["jobs"]["name"].to_list()[0] == "isr-0-1"


def test_a_name_that_is_a_directory_of_others_is_refused():
    pipeline = with_type(
        reduction(),
        dataset_type("isr", "visit", "detector", template="{run}/{instrument}/{visit}/{detector}"),
        dataset_type("aligned", "visit", "detector", template="{run}/{instrument}/{visit}/{detector}/a.fits"),
    )
    problems = refusal(Survey.make(1, 2), pipeline)
    assert {p.code for p in problems} == {"PST-P004"}
    assert "also a directory" in problems[0].what


def test_entries_of_directories_are_counted_once():
    files = pl.DataFrame({"directory": ["r/a", "r/a/b", "r/c", "r/a"], "entries": [1, 1, 1, 1]})
    found = _with_those_above(files.with_columns(pl.col("entries").cast(pl.UInt32)))
    assert dict(found.iter_rows()) == {"r/a": 3, "r": 2, "": 1, "r/a/b": 1, "r/c": 1}


def test_a_directory_with_too_many_entries_is_refused():
    files = pl.DataFrame({"directory": ["run/all"], "entries": pl.Series([100_001], dtype=pl.UInt32)})
    (problem,) = _crowded(_with_those_above(files))
    assert problem.code == "PST-P007"
    assert problem.where == "run/all"


def test_a_full_directory_is_a_warning():
    plan = plan_of(Survey.make(101, 100), Pipeline(
        "toy", "", (task("t", ["exposure", "detector"], ["raw"], ["x"]),),
        {t.name: t for t in (dataset_type("raw", "exposure", "detector", template=""), dataset_type("x", "exposure", "detector"))},
    ))  # fmt: skip
    assert plan.warnings == ("10200 entries in directory demo/x",)


def settled_like(plan, recipe=None):
    quanta = plan.tables["quanta"].select("id", planned_recipe="recipe")
    return quanta if recipe is None else quanta.with_columns(planned_recipe=pl.lit(recipe))


def test_settled_under_the_same_recipe_is_fine_and_changes_nothing():
    survey = Survey.make(2, 1)
    plan = plan_of(survey)
    assert plan_of(replace(survey, settled=settled_like(plan))).id == plan.id


def test_settled_under_another_recipe_is_refused_and_both_named():
    survey = Survey.make(2, 1)
    settled = settled_like(plan_of(survey))
    problems = refusal(replace(survey, settled=settled), reduction(sigma=4.0))
    assert {p.code for p in problems} == {"PST-P005"}
    assert len(problems) == 4  # one a task
    assert settled["planned_recipe"][0].hex() in problems[0].what


def test_a_run_bound_to_another_pipeline_is_refused_unless_mixed():
    survey = replace(Survey.make(1, 1), bound={"pipeline": "f" * 64})
    (problem,) = refusal(survey)
    assert problem.code == "PST-P006"
    assert pipeline_digest(reduction()) in problem.what
    assert plan_of(survey, mixed=True).run == "demo"


def test_a_run_bound_to_this_pipeline_is_fine_also_with_more_memory():
    pipeline = reduction()
    bound = replace(Survey.make(1, 1), bound={"pipeline": pipeline_digest(pipeline)})
    richer = replace(
        pipeline, tasks=tuple(replace(t, resources={"memory": 1 << 31}, tries=3) for t in pipeline.tasks)
    )
    assert plan_of(bound, richer).id != plan_of(bound).id


def test_a_name_that_the_store_has_for_another_dataset_is_refused():
    survey = Survey.make(1, 1)
    path = plan_of(survey).path_of("coadd", band="r", detector=0)
    stranger = exist(
        "coadd", pl.DataFrame({"band": ["r"], "detector": [7], "instrument": ["sim"]}), run="demo"
    )
    stranger = stranger.with_columns(path=pl.lit(path), store=pl.lit("output"))
    (problem,) = refusal(replace(survey, existing={**survey.existing, "coadd": stranger}))
    assert problem.code == "PST-P004"
    assert path in problem.what
    assert (
        plan_of(replace(survey, existing={**survey.existing, "coadd": stranger}), store="elsewhere").run
        == "demo"
    )


def test_a_selection_with_an_unknown_word_is_refused_with_all_others():
    pipeline = reduction()
    isr, *rest = pipeline.tasks
    pipeline = replace(pipeline, tasks=(replace(isr, where="viist = 1"), *rest))
    problems = refusal(Survey.make(1, 1), pipeline, where="bnad = 'g'")
    assert [(p.code, p.where) for p in problems] == [
        ("PST-C027", "selection:1"),
        ("PST-C027", "selection of task isr:1"),
    ]


def test_a_run_that_is_no_name_is_refused():
    with pytest.raises(PlanRefusedError) as error:
        build_plan(Request("../x", reduction(), UNIVERSE, ("raw",)), Survey.make(1, 1))
    assert [p.code for p in error.value.problems] == ["PST-P003"]


# ---- jobs


def cluster(*tasks, by=("visit", "detector")):
    return Cluster("fast", tasks, UNIVERSE.close(by))


def test_a_cluster_runs_the_tasks_of_equal_data_ids_in_order():
    plan = plan_of(Survey.make(2, 2), reduction(clusters=[cluster("isr", "align")]))
    jobs = plan.tables["jobs"].filter(pl.col("label") == "fast")
    assert jobs["name"].to_list() == ["fast-0-1", "fast-0-2", "fast-1-1", "fast-1-2"]
    assert jobs["count"].to_list() == [2] * 4
    assert plan.tables["quanta"]["task"].to_list()[:4] == ["isr", "align", "isr", "align"]
    assert plan.tables["jobs"]["depth"].to_list() == [0] * 4 + [1] * 4 + [2] * 4


def test_a_cluster_by_an_implied_dimension_gathers_its_visits():
    plan = plan_of(
        Survey.make(4, 1),
        reduction(clusters=[cluster("isr", "align", "coadd", by=("band", "detector", "instrument"))]),
    )
    assert plan.tables["jobs"].filter(pl.col("label") == "fast")["count"].to_list() == [5, 5]
    assert plan.tables["job_edges"].height == 4


def test_jobs_that_wait_for_each_other_are_refused():
    (problem,) = refusal(Survey.make(2, 2), reduction(clusters=[cluster("isr", "align", "measure")]))
    assert problem.code == "PST-P009"
    assert "fast-0-1" in problem.what


def test_one_job_for_all_is_no_cycle():
    plan = plan_of(
        Survey.make(2, 2),
        reduction(clusters=[cluster("isr", "align", "coadd", "measure", by=("instrument",))]),
    )
    assert plan.tables["jobs"].height == 1
    assert plan.tables["job_edges"].height == 0
    tasks = plan.tables["quanta"]["task"].to_list()
    assert tasks == sorted(tasks, key=["isr", "align", "coadd", "measure"].index)


def test_an_edge_is_soft_where_the_child_can_do_without():
    plan = plan_of(Survey.make(2, 1))
    jobs = plan.tables["jobs"].select("job", "label")
    edges = plan.tables["job_edges"].join(jobs, left_on="child", right_on="job")
    assert set(edges.filter(pl.col("label") == "coadd")["soft"]) == {True}
    assert set(edges.filter(pl.col("label") != "coadd")["soft"]) == {False}


def test_job_names_are_unique_and_safe():
    both = Survey.make(1, 1, instrument="a").and_of(Survey.make(1, 1, instrument="b"))
    names = plan_of(both).tables["jobs"].filter(pl.col("label") == "isr")["name"].to_list()
    assert len(set(names)) == 2
    assert all(name.startswith("isr-0-1-") and len(name) == len("isr-0-1-") + 8 for name in names)
    odd = plan_of(Survey.make(1, 1, bands=("g/é",)))
    (name,) = odd.tables["jobs"].filter(pl.col("label") == "coadd")["name"]
    assert name.startswith("coadd-g__-0-")
