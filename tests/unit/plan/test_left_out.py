"""What is left out: each candidate counted once, under its reason; what refuses a plan, and what waives it."""

from dataclasses import replace

import polars as pl
import pytest

from prestow.errors import PlanRefusedError
from prestow.pipeline.definition import InputConnection, Pipeline
from prestow.plan import Request, build_plan, open_plan, summary, write_plan
from prestow.testing.surveys import UNIVERSE, Survey, dataset_type, reduction, task

TYPES = (
    dataset_type("raw", "exposure", "detector", template=""),
    dataset_type("bias", "detector", template=""),
    dataset_type("flat", "physical_filter", "detector", template=""),
    dataset_type("isr", "visit", "detector"),
    dataset_type("night", "visit"),
    dataset_type("coadd", "instrument", "band", "detector"),
    dataset_type("all"),
)
G1 = (pl.col("physical_filter") == "g_sim", pl.col("detector") == 1)


def pipeline(*tasks):
    used = {c.type for t in tasks for c in (*t.inputs, *t.outputs)}
    return Pipeline("toy", "", tasks, {t.name: t for t in TYPES if t.name in used})


def isr(**flat):
    inputs = ["raw", InputConnection("flat", "flat", **{"prerequisite": True, **flat})]
    return task("isr", ["visit", "detector"], inputs, ["isr"])


def night(minimum="all"):
    return task("night", ["visit"], [InputConnection("isr", "isr", minimum)], ["night"])


def plan_of(survey, *tasks, **more):
    return build_plan(Request("demo", pipeline(*tasks), UNIVERSE, ("raw",), **more), survey)


def left_out(plan):
    return {task: count["left_out"] for task, count in plan.counts.items() if count["left_out"]}


def refused(survey, *tasks, **more):
    with pytest.raises(PlanRefusedError) as error:
        plan_of(survey, *tasks, **more)
    return error.value.problems


def test_a_missing_prerequisite_refuses_the_plan_and_names_its_waiver():
    (problem,) = refused(Survey.make(4, 2).without("flat", *G1), isr())
    assert problem.code == "PST-P020"
    assert problem.where == "task isr"
    assert problem.what.startswith(
        "2 quanta of isr would be left out, missing:flat: detector=1,instrument=sim,visit=2"
    )
    assert "no flat with detector=1,instrument=sim,physical_filter=g_sim" in problem.what
    assert problem.fix.endswith("--waive missing:flat@isr")


def test_a_waiver_leaves_them_out_and_stays_on_record(tmp_path):
    survey = Survey.make(4, 2).without("flat", *G1)
    plan = plan_of(survey, isr(), night(1), waive=("missing:flat@isr",), waive_because="cloudy")
    assert plan.counts["isr"]["quanta"] == 6
    assert left_out(plan) == {"isr": {"missing:flat": 2}}
    again = open_plan(write_plan(plan, tmp_path))
    assert again.document["request"]["waived"] == [
        {"reason": "missing:flat", "task": "isr", "because": "cloudy", "count": 2}
    ]
    assert [row.waived for row in summary(again).left_out_rows] == [True]


def test_the_plan_id_covers_what_was_waived_and_not_why():
    survey = Survey.make(4, 2).without("flat", *G1)
    ids = {
        plan_of(survey, isr(), waive=waive, waive_because=why).id
        for waive, why in ((("missing:flat",), "a"), (("missing:*@isr",), "b"))
    }
    assert len(ids) == 1
    optional = plan_of(survey, isr(prerequisite=False))
    assert ids.isdisjoint({optional.id})


def test_a_waiver_that_waives_nothing_changes_nothing_and_says_so():
    survey = Survey.make(2, 2)
    plain, waived = plan_of(survey, isr()), plan_of(survey, isr(), waive=("missing:flat",))
    assert waived.id == plain.id
    assert waived.warnings == ("the waiver 'missing:flat' waives nothing",)
    assert "waived" not in waived.document["request"]


def test_what_is_noted_needs_no_waiver_and_takes_none():
    survey = Survey.make(4, 2).without("flat", *G1)
    plan = plan_of(survey, isr(prerequisite=False), waive=("missing:flat",))
    assert left_out(plan) == {"isr": {"missing:flat": 2}}
    assert plan.warnings == ("the waiver 'missing:flat' waives nothing",)


@pytest.mark.parametrize("text", ["", "@isr", "missing:flat@", "missing flat", "missing:flat@irs"])
def test_a_waiver_that_cannot_be_understood_is_refused(text):
    (problem,) = refused(Survey.make(2, 1), isr(), waive=(text,))
    assert problem.code == "PST-C071"
    assert problem.fix


def test_all_tasks_and_causes_are_refused_at_once():
    survey = Survey.make(4, 2).without("flat", *G1).without("bias", pl.col("detector") == 0)
    other = task(
        "other",
        ["visit", "detector"],
        ["raw", InputConnection("bias", "bias", prerequisite=True)],
        ["night2"],
    )
    types = {
        **pipeline(isr()).dataset_types,
        "bias": TYPES[1],
        "night2": dataset_type("night2", "visit", "detector"),
    }
    request = Request("demo", Pipeline("toy", "", (isr(), other), types), UNIVERSE, ("raw",))
    with pytest.raises(PlanRefusedError) as error:
        build_plan(request, survey)
    told = [(p.code, p.where, p.fix.rpartition(" ")[2]) for p in error.value.problems]
    assert told == [
        ("PST-P020", "task isr", "missing:flat@isr"),
        ("PST-P020", "task other", "missing:bias@other"),
    ]


def test_at_most_five_data_ids_are_named():
    (problem,) = refused(Survey.make(8, 2).without("flat", pl.lit(value=True)), isr())
    assert problem.what.startswith("16 quanta of isr")
    assert problem.what.count("visit=") == 5
    assert problem.what.endswith("and 11 more")


def test_nothing_left_but_what_was_waived_is_refused():
    (problem,) = refused(Survey.make(2, 1).without("flat", pl.lit(value=True)), isr(), waive=("missing:*",))
    assert (problem.code, problem.what) == ("PST-P001", "nothing remains but what was waived")


def test_a_prerequisite_does_not_say_which_quanta_there_are():
    lonely = task(
        "night", ["visit", "detector"], [InputConnection("flat", "flat", prerequisite=True)], ["isr"]
    )
    plan = plan_of(Survey.make(3, 2), lonely)
    assert plan.counts["night"]["quanta"] == 6  # visits and detectors of the records


def test_what_lacks_only_what_was_left_out_before_is_a_consequence():
    survey = Survey.make(4, 2).without("flat", pl.col("physical_filter") == "g_sim")
    coadd = task("coadd", ["instrument", "band", "detector"], [InputConnection("isr", "isr", 1)], ["coadd"])
    plan = plan_of(survey, isr(), night(), coadd, waive=("missing:flat",))
    assert left_out(plan) == {
        "isr": {"missing:flat": 4},
        "night": {"upstream:isr": 2},
        "coadd": {"upstream:isr": 2},
    }
    details = plan.tables["left_out"].filter(pl.col("task") == "night")["detail"].to_list()
    assert details == ["2 isr left out before"] * 2


def test_an_upstream_loss_of_a_prerequisite_is_no_second_refusal():
    survey = Survey.make(2, 1).without("flat", pl.col("physical_filter") == "g_sim")
    last = task("night", ["visit"], ["raw", InputConnection("isr", "isr", prerequisite=True)], ["night"])
    (problem,) = refused(survey, isr(), last)
    assert problem.where == "task isr"


@pytest.mark.parametrize(("minimum", "kept"), [(0.5, 2), (0.51, 0), (0.25, 2)])
def test_a_fraction_is_of_what_would_be_had_nothing_been_left_out(minimum, kept):
    survey = Survey.make(2, 4).without("flat", pl.col("detector") < 2)
    tasks = isr(), night(minimum)
    plan = plan_of(survey, *tasks, waive=("missing:flat",))
    assert plan.counts["night"]["quanta"] == kept
    if not kept:
        assert left_out(plan)["night"] == {"minimum:isr": 2}
        details = plan.tables["left_out"].filter(pl.col("task") == "night")["detail"].to_list()
        assert details == ["2 of at least 3, of 4 planned"] * 2


def test_a_fraction_does_not_count_what_a_person_asked_to_leave_out():
    chosen = replace(isr(), where="detector >= 2")
    plan = plan_of(Survey.make(2, 4), chosen, night(0.9))
    assert plan.counts["night"]["quanta"] == 2
    assert left_out(plan) == {"isr": {"where": 4}}


def test_a_fraction_rounds_as_people_do():
    survey = Survey.make(1, 30).without("flat", pl.col("detector") >= 3)
    plan = plan_of(survey, isr(), night(0.1), waive=("missing:flat",))
    assert plan.counts["night"]["quanta"] == 1


def test_a_minimum_above_what_can_be_blocks_and_says_so():
    (problem,) = refused(Survey.make(2, 3), isr(), night(4))
    assert problem.code == "PST-P021"
    assert "2 quanta of night can never be made, minimum:isr" in problem.what
    assert "(3 of at least 4, and there can be at most 3)" in problem.what
    assert problem.fix == "correct the minimum of isr"


def test_one_of_a_kind_cannot_be_two():
    (problem,) = refused(
        Survey.make(2, 1),
        replace(isr(), inputs=(InputConnection("raw", "raw"), InputConnection("flat", "flat", 2))),
    )
    assert problem.code == "PST-P021"
    assert "there can be at most 1" in problem.what


def test_nothing_waives_what_blocks():
    (problem,) = refused(Survey.make(2, 3), isr(), night(4), waive=("*",))
    assert problem.code == "PST-P021"


def test_a_minimum_that_only_this_selection_misses_is_noted():
    plan = plan_of(
        Survey.make(4, 2),
        isr(),
        task("all", [], [InputConnection("isr", "isr", 1)], ["all"]),
        where="visit = 2",
    )
    assert plan.counts["all"]["inputs"] == 2
    coadd = task("coadd", ["instrument", "band", "detector"], [InputConnection("isr", "isr", 2)], ["coadd"])
    plan = plan_of(Survey.make(4, 2), isr(), coadd, where="visit = 2")
    assert left_out(plan) == {"coadd": {"minimum:isr": 2}}


def test_the_whole_reduction_counts_what_follows():
    plan = build_plan(
        Request("demo", reduction(), UNIVERSE, ("raw",)), Survey.make(4, 2).without("flat", *G1)
    )
    assert left_out(plan) == {
        "isr": {"missing:flat": 2}, "align": {"upstream:isr": 2}, "coadd": {"upstream:aligned": 1},
        "measure": {"upstream:aligned": 2},
    }  # fmt: skip


def test_a_join_that_nothing_can_meet_is_refused():
    types = {t.name: t for t in (*TYPES[:3], TYPES[3], dataset_type("master", "physical_filter", "detector"))}
    master = task("master", ["physical_filter", "detector"], ["flat"], ["master"])
    made = task("isr", ["visit", "detector"], ["raw", "master"], ["isr"])
    types = {name: types[name] for name in ("raw", "flat", "isr", "master")}
    survey = Survey.make(3, 2).without("flat", pl.col("physical_filter") == "g_sim")
    request = Request("demo", Pipeline("toy", "", (master, made), types), UNIVERSE, ("raw",))
    assert build_plan(request, survey).counts["isr"]["quanta"] == 4  # visits in r
    with pytest.raises(PlanRefusedError) as error:
        build_plan(request, survey.without("raw", pl.col("exposure") != 2))
    (problem,) = error.value.problems
    assert problem.code == "PST-P002"
    assert problem.what.startswith(
        "no master that the plan makes agrees with any of the 2 quanta of isr: no master with"
    )
