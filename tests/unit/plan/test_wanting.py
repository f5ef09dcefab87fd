"""What is wanted: how it is read, what is said of what cannot be had, and which troubles matter then."""

import json
from dataclasses import replace

import polars as pl
import pytest

from prestow.errors import PlanRefusedError
from prestow.pipeline.definition import InputConnection
from prestow.plan import Request, build_plan
from prestow.plan.stages import at_stage, last_stage
from prestow.testing.surveys import UNIVERSE, Survey, dataset_type, reduction, task


def plan_of(survey, *want, pipeline=None, where="", **more):
    return build_plan(
        Request("demo", pipeline or reduction(), UNIVERSE, ("raw",), where, want=want, **more), survey
    )


def refused(survey, *want, **more):
    with pytest.raises(PlanRefusedError) as error:
        plan_of(survey, *want, **more)
    return error.value.problems


def quanta(plan):
    return {label: count["quanta"] for label, count in plan.counts.items()}


def left_out(plan):
    return {
        (task, reason): n for task, count in plan.counts.items() for reason, n in count["left_out"].items()
    }


def strict_about_flats():
    """Give the reduction with flats that must be there."""
    pipeline = reduction()
    isr, *rest = pipeline.tasks
    inputs = tuple(replace(c, prerequisite=c.name == "flat") for c in isr.inputs)
    return replace(pipeline, tasks=(replace(isr, inputs=inputs), *rest))


def test_a_coadd_needs_what_it_gathers_and_no_sources():
    plan = plan_of(Survey.make(4, 2), "coadd{band=r,detector=1}")
    assert quanta(plan) == {"isr": 2, "align": 2, "coadd": 1, "measure": 0}
    assert left_out(plan) == {
        ("isr", "not_wanted"): 6,
        ("align", "not_wanted"): 6,
        ("coadd", "not_wanted"): 3,
    }
    assert plan.document["request"]["want"] == ["coadd{band = 'r' and detector = 1}"]


def test_the_three_ways_to_ask():
    survey = Survey.make(4, 2)
    from_inputs = plan_of(survey, where="visit in (1, 3)")
    from_outputs = plan_of(survey, "isr{visit=3}", "isr{visit=4}")
    both = plan_of(survey, "isr{visit=3}", "isr{visit=4}", "coadd", where="visit in (1, 3, 4)")
    assert quanta(from_inputs) == {"isr": 4, "align": 4, "coadd": 2, "measure": 4}
    assert quanta(from_outputs) == {"isr": 4, "align": 0, "coadd": 0, "measure": 0}
    assert quanta(both) == {"isr": 6, "align": 6, "coadd": 4, "measure": 0}


def test_what_is_wanted_may_be_written_in_many_ways_and_is_one_plan():
    survey = Survey.make(4, 2)
    one = plan_of(survey, "coadd{band=g}", "isr{ccd=1,visit=3}")
    other = plan_of(survey, "isr{detector = 1 and visit = 3}", "coadd{band == 'g'}", "coadd{ band = g }")
    assert one.id == other.id
    assert one.id != plan_of(survey, "coadd{band=g}").id


def test_optional_inputs_come_along():
    base = reduction()
    isr, align, coadd, measure = base.tasks
    mosaic = task("mosaic", ("visit",), ["isr"], ["mosaic"])
    inputs = (*measure.inputs, InputConnection("mosaic", "mosaic", 0))
    pipeline = replace(
        base,
        tasks=(isr, align, mosaic, coadd, replace(measure, inputs=inputs)),
        dataset_types={**base.dataset_types, "mosaic": dataset_type("mosaic", "visit")},
    )
    survey = Survey.make(4, 2)
    plan = plan_of(survey, "sources{visit=2,detector=0}", pipeline=pipeline)
    assert quanta(plan) == {"isr": 3, "align": 2, "mosaic": 1, "coadd": 1, "measure": 1}
    whole = plan_of(survey, pipeline=pipeline).tables["quanta"]
    recipes = dict(whole.select("id", "recipe").iter_rows())
    assert all(
        recipes[one] == recipe for one, recipe in plan.tables["quanta"].select("id", "recipe").iter_rows()
    )


@pytest.mark.parametrize(
    ("want", "code", "says"),
    [
        ("cadd", "PST-P050", "did you mean 'coadd'?"),
        ("raw", "PST-P050", "no task of reduction writes 'raw'"),
        ("coadd band=r", "PST-P050", "write TYPE, TYPE{k=v,…} or TYPE{SELECTION}"),
        ("coadd{bnad=r}", "PST-C027", "did you mean band?"),
        ("coadd{visit=3}", "PST-C027", "'visit' does not belong to this data"),
        ("isr{visit='a'}", "PST-C027", "visit"),
        ("coadd{band=q}", "PST-P051", "0 left of 4 coadd (band here: g, r)"),
    ],
)
def test_what_cannot_be_wanted_is_refused_with_the_way_out(want, code, says):
    problems = refused(Survey.make(4, 2), want, "isr")
    assert [problem.code for problem in problems] == [code]
    assert says in str(problems[0])


def test_what_would_be_left_out_is_refused_with_its_first_cause():
    survey = Survey.make(4, 2).without("flat", pl.col("physical_filter") == "g_sim", pl.col("detector") == 1)
    (problem,) = refused(survey, "coadd{band=g,detector=1}", "coadd{band=r}")
    assert problem.code == "PST-P051"
    assert "2 of isr (missing:flat" in problem.what
    assert "no flat with detector=1,instrument=sim,physical_filter=g_sim" in problem.what
    assert "upstream" not in problem.what


def test_a_trouble_of_what_nobody_wants_refuses_nothing():
    survey = Survey.make(4, 2).without("flat", pl.col("physical_filter") == "g_sim", pl.col("detector") == 1)
    pipeline = strict_about_flats()
    assert [p.code for p in refused(survey, pipeline=pipeline)] == ["PST-P020"]
    plan = plan_of(survey, "coadd{band=r}", "isr{detector=0}", pipeline=pipeline)
    assert {reason for _, reason in left_out(plan)} == {"not_wanted"}
    (problem,) = refused(survey, "coadd{band=g,detector=1}", "coadd{band=r}", pipeline=pipeline)
    assert problem.code == "PST-P020" and problem.what.startswith("2 quanta of isr")
    (problem,) = refused(survey, "isr{visit=2}", pipeline=pipeline)
    assert problem.what.startswith("1 quantum of isr")
    assert "visit=2" in problem.what and "visit=4" not in problem.what


def test_what_is_waived_is_counted_for_what_is_wanted_alone():
    survey = Survey.make(6, 2).without("flat", pl.col("physical_filter") == "g_sim", pl.col("detector") == 1)
    waive = ("missing:flat@isr",)
    plan = plan_of(survey, "isr{visit in (2, 3)}", pipeline=strict_about_flats(), waive=waive)
    assert quanta(plan)["isr"] == 3
    assert left_out(plan) == {("isr", "missing:flat"): 1, ("isr", "not_wanted"): 6}
    shown = plan.tables["left_out"].filter(pl.col("reason") == "missing:flat")["data_id"]
    assert [json.loads(text)["visit"] for text in shown] == [2]


def test_a_task_that_nothing_wanted_needs_refuses_nothing():
    base = reduction()
    none = dataset_type("dark", "exposure", template="")
    extra = task("extra", ("visit",), ["dark"], ["extra"])
    types = {**base.dataset_types, "dark": none, "extra": dataset_type("extra", "visit")}
    pipeline = replace(base, tasks=(*base.tasks, extra), dataset_types=types)
    survey = Survey.make(3, 1)
    assert [p.code for p in refused(survey, pipeline=pipeline)] == ["PST-P002"]
    assert quanta(plan_of(survey, "coadd", pipeline=pipeline))["coadd"] == 2
    assert "PST-P002" in [p.code for p in refused(survey, "extra", pipeline=pipeline)]


@pytest.mark.parametrize(
    ("part", "says"), [("0/2", "write K/N"), ("3/2", "write K/N"), ("x", "write K/N"), ("1/9", "into parts")]
)
def test_a_part_that_there_is_not_is_refused(part, says):
    (problem,) = refused(Survey.make(4, 2), part=part)
    assert problem.code == "PST-P052"
    assert says in str(problem) or "falls into 4 parts" in str(problem)


def test_parts_are_of_much_the_same_size():
    plans = [plan_of(Survey.make(8, 4), part=f"{k}/3") for k in (1, 2, 3)]
    sizes = [sum(quanta(plan).values()) for plan in plans]
    assert sorted(sizes) == [26, 39, 39]  # eight components of 13 quanta
    assert len({plan.id for plan in plans}) == 3
    assert plans[1].document["request"]["part"] == "2/3"
    assert left_out(plans[0])["isr", "other_part"] == 32 - quanta(plans[0])["isr"]


def test_before_a_barrier_the_types_are_wanted_that_what_is_wanted_will_read():
    base = reduction()
    *before, coadd, measure = base.tasks
    pipeline = replace(base, tasks=(*before, replace(coadd, barrier=True), measure))
    asked = ("coadd{band=r}", "isr{visit=1}")
    request = Request("demo", pipeline, UNIVERSE, ("raw",), want=asked)
    assert at_stage(request, 1).want == ("isr{visit=1}", "aligned")
    assert at_stage(request, 2).want == ("coadd{band=r}",)
    assert last_stage(request) == 2
    assert last_stage(replace(request, want=asked[1:])) == 1
    plan = build_plan(at_stage(replace(request, want=asked[:1]), 1), Survey.make(2, 1))
    assert quanta(plan) == {"isr": 2, "align": 2}
