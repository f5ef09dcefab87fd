"""Which visits a sample takes, and why."""

from dataclasses import replace

import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import PlanRefusedError
from prestow.pipeline.definition import InputConnection, Pipeline
from prestow.plan import Request, build_plan, choose_sample
from prestow.plan.sampling import leading_dimension
from prestow.testing.surveys import UNIVERSE, Survey, dataset_type, exist, reduction, task


def request_of(pipeline=None, where=""):
    return Request("demo", pipeline or reduction(), UNIVERSE, ("raw",), where)


def visits(sample):
    return [int(text.rpartition("=")[2]) for text in sample.chosen]


def with_minimum(count):
    pipeline = reduction()
    tasks = [
        replace(t, inputs=(InputConnection("aligned", "aligned", count),)) if t.label == "coadd" else t
        for t in pipeline.tasks
    ]
    return replace(pipeline, tasks=tuple(tasks))


def test_visits_are_of_one_band_so_that_a_coadd_is_made():
    """Odd visits are in r, even ones in g; five of nine are in r."""
    sample = choose_sample(request_of(), Survey.make(visits=9, detectors=2), 3)
    assert visits(sample) == [1, 3, 5]
    assert sample.where == "visit in (1, 3, 5)"
    assert "coadd(" in sample.reason
    assert "band=r" in sample.text
    assert "3 of 9 visits" in sample.text


def test_the_sample_plans_and_keeps_what_is_no_visit():
    survey = Survey.make(visits=9, detectors=2)
    request = request_of(with_minimum(3))
    whole = build_plan(request, survey)
    plan = build_plan(replace(request, where=choose_sample(request, survey, 3).where), survey)
    assert {t: c["quanta"] for t, c in plan.counts.items()} == {
        "isr": 6,
        "align": 6,
        "coadd": 2,
        "measure": 6,
    }
    flats = pl.col("type") == "flat"
    used = plan.tables["datasets"].filter(flats)
    assert set(used["id"]) <= set(whole.tables["datasets"].filter(flats)["id"])


def test_a_gather_of_all_does_not_hide_the_bands():
    """A report over everything is the largest gather; the coadds below it still get their minimum."""
    pipeline = reduction()
    report = task("report", ["instrument"], [InputConnection("isr", "isr", 1)], ["report"])
    types = {**pipeline.dataset_types, "report": dataset_type("report", "instrument")}
    pipeline = replace(pipeline, tasks=(*pipeline.tasks, report), dataset_types=types)
    assert visits(choose_sample(request_of(pipeline), Survey.make(visits=9, detectors=1), 2)) == [1, 3]


def test_where_a_band_is_too_small_the_rest_comes_by_order():
    """Both bands have two visits: g is the first of them by data ID, and visit 1 fills the sample."""
    sample = choose_sample(request_of(), Survey.make(visits=4, detectors=1), 3)
    assert visits(sample) == [1, 2, 4]


def test_nights_and_bands_are_both_gathered():
    """Two nights of one visit in each band: the pair across the nights comes before the neighbour."""
    survey = Survey.make(visits=4, detectors=1)
    visit = survey.records["visit"].with_columns(day_obs=20260000 + (pl.col("visit") - 1) // 2)
    survey = replace(survey, records={**survey.records, "visit": visit})
    pipeline = reduction()
    night = task("night", ["day_obs"], [InputConnection("isr", "isr", 1)], ["night"])
    types = {**pipeline.dataset_types, "night": dataset_type("night", "day_obs")}
    pipeline = replace(pipeline, tasks=(*pipeline.tasks, night), dataset_types=types)
    assert len(visits(choose_sample(request_of(pipeline), survey, 2))) == 2
    plan = build_plan(
        replace(request_of(pipeline), where=choose_sample(request_of(pipeline), survey, 3).where), survey
    )
    assert plan.tables["inputs"].filter(pl.col("connection") == "aligned")["quantum"].n_unique() > 0


def test_fewer_visits_than_asked_for_are_all():
    sample = choose_sample(request_of(), Survey.make(visits=2, detectors=1), 5)
    assert visits(sample) == [1, 2]
    assert "fewer than the 5 asked for" in sample.text


def test_the_request_s_own_selection_holds_too():
    request = request_of(where="visit > 3 or band = 'g'")
    sample = choose_sample(request, Survey.make(visits=9, detectors=1), 2)
    assert sample.where == "(visit > 3 or band = 'g') and visit in (2, 4)"
    assert sample.total == 7


def test_a_visit_that_is_dropped_on_its_way_comes_last():
    survey = Survey.make(visits=4, detectors=1)
    pipeline = reduction()
    tasks = [replace(t, where="visit != 1") if t.label == "align" else t for t in pipeline.tasks]
    sample = choose_sample(request_of(replace(pipeline, tasks=tuple(tasks))), survey, 3)
    assert visits(sample) == [2, 3, 4]


def test_two_instruments_with_one_visit_number_are_told_apart():
    one, two = Survey.make(visits=3, detectors=1), Survey.make(visits=7, detectors=1, instrument="other")
    sample = choose_sample(request_of(), one.and_of(two), 2)
    assert sample.chosen == ("instrument=other,visit=1", "instrument=other,visit=3")
    assert sample.where == "instrument = 'other' and visit in (1, 3)"
    plan = build_plan(replace(request_of(), where=sample.where), one.and_of(two))
    assert set(plan.tables["quanta"].filter(pl.col("task") == "isr")["instrument"]) == {"other"}


def test_without_visits_exposures_are_sampled_and_calibrations_kept():
    types = (
        dataset_type("raw", "exposure", "detector", template=""),
        dataset_type("dark", "detector"),
        dataset_type("clean", "exposure", "detector"),
    )
    pipeline = Pipeline(
        "toy",
        "",
        (
            task("dark", ["detector"], [InputConnection("raw", "raw", where="observation_type = 'dark'")], ["dark"]),
            task(
                "clean", ["exposure", "detector"],
                [InputConnection("raw", "raw", where="observation_type = 'science'"), "dark"], ["clean"],
            ),
        ),
        {t.name: t for t in types},
    )  # fmt: skip
    survey = Survey.make(visits=5, detectors=1)
    sample = choose_sample(request_of(pipeline), survey, 2)
    assert sample.dimension == "exposure"
    assert sample.where == "exposure in (0, 1, 2)"
    plan = build_plan(replace(request_of(pipeline), where=sample.where), survey)
    assert {t: c["quanta"] for t, c in plan.counts.items()} == {"dark": 1, "clean": 2}


def test_visits_that_exist_are_sampled_though_no_task_goes_by_visit():
    """Only a coadd, of calibrated frames that were taken in."""
    types = (
        dataset_type("calexp", "visit", "detector", template=""),
        dataset_type("coadd", "band", "detector"),
    )
    stack = task("coadd", ["band", "detector"], ["calexp"], ["coadd"])
    pipeline = Pipeline("toy", "", (stack,), {t.name: t for t in types})
    survey = Survey.make(visits=7, detectors=2)
    visits_ = survey.records["visit"].select("instrument", "visit")
    calexp = visits_.join(survey.records["detector"].select("instrument", "detector"), on="instrument")
    survey = replace(survey, existing={"calexp": exist("calexp", calexp)})
    sample = choose_sample(request_of(pipeline), survey, 3)
    assert visits(sample) == [1, 3, 5]
    plan = build_plan(replace(request_of(pipeline), where=sample.where), survey)
    assert plan.counts["coadd"]["quanta"] == 2
    assert plan.tables["inputs"].height == 6


def test_nothing_to_sample_is_refused():
    types = (dataset_type("schema", template=""), dataset_type("all"))
    pipeline = Pipeline("toy", "", (task("all", [], ["schema"], ["all"]),), {t.name: t for t in types})
    with pytest.raises(PlanRefusedError, match="PST-G020"):
        leading_dimension(pipeline, UNIVERSE)
    with pytest.raises(PlanRefusedError, match="PST-G020"):
        choose_sample(request_of(), Survey.make(visits=2, detectors=1), 0)


def test_a_selection_that_takes_nothing_is_refused_as_by_planning():
    with pytest.raises(PlanRefusedError, match="PST-P001"):
        choose_sample(request_of(where="visit = 99"), Survey.make(visits=2, detectors=1), 2)


@settings(deadline=None, max_examples=25)
@given(visits=st.integers(1, 12), count=st.integers(1, 12), bands=st.integers(1, 3), seed=st.integers(0, 9))
def test_a_sample_is_as_large_as_it_can_be_and_its_gather_as_full(visits, count, bands, seed):
    survey = Survey.make(visits=visits, detectors=1, bands="gri"[:bands])
    sample = choose_sample(request_of(), survey, count)
    assert sample == choose_sample(request_of(), survey.shuffled(seed), count)
    assert len(sample.chosen) == min(visits, count)
    plan = build_plan(replace(request_of(), where=sample.where), survey)
    assert plan.counts["isr"]["quanta"] == min(visits, count)
    fullest = plan.tables["inputs"].join(plan.tables["quanta"].select("quantum", "task"), on="quantum")
    fullest = fullest.filter(pl.col("task") == "coadd")["quantum"].value_counts()["count"].max()
    assert fullest == min(count, -(-visits // bands))


def test_where_all_is_waivable_and_nothing_waived_the_refusal_says_what():
    pipeline = reduction()
    isr, *rest = pipeline.tasks
    inputs = tuple(replace(c, prerequisite=c.name == "flat") for c in isr.inputs)
    survey = Survey.make(2, 1).without("flat", pl.lit(value=True))
    request = request_of(replace(pipeline, tasks=(replace(isr, inputs=inputs), *rest)))
    with pytest.raises(PlanRefusedError) as error:
        choose_sample(request, survey, 1)
    assert [p.code for p in error.value.problems] == ["PST-P020"]
