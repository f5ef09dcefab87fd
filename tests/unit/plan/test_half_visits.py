"""A selection that takes part of what a task gathers of an observation: refused, waived, or taken whole."""

import json
from dataclasses import replace

import polars as pl
import pytest

from prestow.errors import PlanRefusedError
from prestow.pipeline.definition import InputConnection, Pipeline
from prestow.plan import Request, build_plan
from prestow.testing.surveys import UNIVERSE, Survey, dataset_type, reduction, task

TYPES = (
    dataset_type("raw", "exposure", "detector", template=""),
    dataset_type("flat", "physical_filter", "detector", template=""),
    dataset_type("isr", "visit", "detector"),
    dataset_type("night", "visit"),
    dataset_type("coadd", "instrument", "band"),
)
ISR = task("isr", ["visit", "detector"], ["raw", "flat"], ["isr"])
NIGHT = task("night", ["visit"], [InputConnection("isr", "isr", 1)], ["night"])
COADD = task("coadd", ["instrument", "band"], [InputConnection("isr", "isr", 1), "night"], ["coadd"])
TOY = Pipeline("toy", "", (ISR, NIGHT, COADD), {t.name: t for t in TYPES})
SIX = Survey.make(4, 6)


def plan_of(where, survey=SIX, pipeline=TOY, **more):
    return build_plan(Request("demo", pipeline, UNIVERSE, ("raw",), where, **more), survey)


def refused(where, survey=SIX, pipeline=TOY, **more):
    with pytest.raises(PlanRefusedError) as error:
        plan_of(where, survey, pipeline, **more)
    return error.value.problems


def detectors(plan, label="isr"):
    ids = plan.tables["quanta"].filter(pl.col("task") == label)["data_id"]
    return {(d["visit"], d["detector"]) for d in map(json.loads, ids)}


def test_part_of_every_visit_is_refused_with_both_ways_out():
    (problem,) = refused("detector < 2")
    assert (problem.code, problem.where) == ("PST-P020", "task night")
    assert problem.what.startswith(
        "the selection takes only part of what 4 quanta of night would gather, partial:isr"
    )
    assert "instrument=sim,visit=1 (2 of 6 isr)" in problem.what
    assert problem.fix == "take it whole with --whole, or go on with the part: --waive partial:isr@night"


@pytest.mark.parametrize(
    "where",
    ["visit in (1, 2)", "band = 'r'", "visit.exposure_time > 15", "visit = 1 or band = 'g'", "day_obs > 1"],
)
def test_whole_visits_are_no_part(where):
    plan = plan_of(where)
    assert plan.counts["night"]["quanta"] > 0
    assert plan.counts["isr"]["quanta"] == 6 * plan.counts["night"]["quanta"]


def test_a_gather_over_visits_may_see_some_of_them():
    plan = plan_of("visit in (1, 2, 3)")
    assert plan.counts["coadd"]["quanta"] == 2


def test_a_pipeline_without_such_a_gather_takes_any_part():
    plan = plan_of("detector < 2", pipeline=reduction(), survey=SIX.without("bias", pl.lit(value=False)))
    assert plan.counts["isr"]["quanta"] == 8


def test_a_waived_part_is_made():
    plan = plan_of("detector < 2", waive=("partial:*",), waive_because="a look")
    assert plan.counts["night"]["quanta"] == 4
    assert plan.counts["night"]["left_out"] == {}
    assert plan.warnings == ("4 quanta of night see only part of their isr",)
    assert plan.document["request"]["waived"] == [
        {"reason": "partial:isr", "task": "night", "because": "a look", "count": 4}
    ]


def test_whole_takes_the_siblings_and_what_they_need():
    plan = plan_of("detector < 2 and visit in (1, 4)", whole=True)
    assert detectors(plan) == {(visit, detector) for visit in (1, 4) for detector in range(6)}
    assert plan.counts["night"]["inputs"] == 12
    flats = plan.tables["datasets"].filter(pl.col("type") == "flat")
    assert flats.height == 12  # also of detectors that the selection does not take


def test_whole_of_what_is_whole_is_the_same_plan():
    assert plan_of("visit = 1", whole=True).id == plan_of("visit = 1").id


def test_only_what_the_selection_removed_is_missed():
    survey = SIX.without("raw", pl.col("exposure") == 1, pl.col("detector") > 1)
    (problem,) = refused("detector < 2", survey)
    assert "3 quanta of night" in problem.what
    plan = plan_of("detector < 2 and visit = 1", survey)
    assert plan.counts["night"]["inputs"] == 2


def test_half_of_the_exposures_of_a_visit_is_a_part():
    survey = replace(
        Survey.make(2, 1),
        relations={
            "visit_definition": pl.DataFrame({"instrument": ["sim"] * 2, "visit": [1, 1], "exposure": [1, 2]})
        },
    )
    types = (
        dataset_type("raw", "exposure", "detector", template=""),
        dataset_type("isr", "visit", "detector"),
    )
    pipeline = Pipeline(
        "toy", "", (task("isr", ["visit", "detector"], ["raw"], ["isr"]),), {t.name: t for t in types}
    )
    (problem,) = refused("exposure = 1", survey, pipeline)
    assert (
        "1 quantum of isr would gather, partial:raw: detector=0,instrument=sim,visit=1 (1 of 2 raw)"
        in problem.what
    )
    assert plan_of("exposure = 1", survey, pipeline, whole=True).counts["isr"]["inputs"] == 2
    assert plan_of("exposure > 0", survey, pipeline).counts["isr"]["inputs"] == 2


def test_the_order_of_rows_does_not_matter():
    for seed in range(3):
        assert refused("detector < 2", SIX.shuffled(seed)) == refused("detector < 2")
        assert (
            plan_of("detector < 2", SIX.shuffled(seed), whole=True).id
            == plan_of("detector < 2", whole=True).id
        )
