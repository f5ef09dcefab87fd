"""Which quanta there are, what each reads, and what is left out."""

import json
from dataclasses import replace

import polars as pl
import pytest

from prestow.errors import PlanRefusedError
from prestow.pipeline.definition import InputConnection, Pipeline
from prestow.plan import Request, build_plan
from prestow.plan.frames import join_keys, restrict
from prestow.plan.state import State
from prestow.query import parse_selection
from prestow.testing.surveys import UNIVERSE, Survey, dataset_type, reduction, task


def plan_of(survey, pipeline=None, where="", **more):
    return build_plan(Request("demo", pipeline or reduction(), UNIVERSE, ("raw",), where, **more), survey)


def pipeline_of(*tasks, types):
    return Pipeline("toy", "", tuple(tasks), {t.name: t for t in types})


def data_ids(plan, label):
    rows = plan.tables["quanta"].filter(pl.col("task") == label)["data_id"]
    return [json.loads(text) for text in rows]


def reads(plan, label, connection):
    """{data ID of the quantum: [data IDs of what it reads]}, values joined in order of names."""
    quanta = plan.tables["quanta"].filter(pl.col("task") == label).select("quantum", mine="data_id")
    edges = plan.tables["inputs"].filter(pl.col("connection") == connection).join(quanta, on="quantum")
    found = edges.join(
        plan.tables["datasets"].select("dataset", "data_id"), on="dataset", maintain_order="left"
    )
    result = {}
    for mine, other in found.select("mine", "data_id").iter_rows():
        result.setdefault(_short(mine), []).append(_short(other))
    return result


def _short(text):
    return "/".join(str(value) for value in json.loads(text).values())


def codes(error):
    return [problem.code for problem in error.value.problems]


def test_a_visit_reads_the_raw_of_its_exposure():
    plan = plan_of(Survey.make(visits=3, detectors=2))
    assert reads(plan, "isr", "raw")["1/sim/3"] == ["1/3/sim"]
    assert all(len(found) == 1 for found in reads(plan, "isr", "raw").values())


def test_a_flat_is_that_of_the_visits_filter():
    plan = plan_of(Survey.make(visits=2, detectors=1))
    assert reads(plan, "isr", "flat") == {"0/sim/1": ["0/sim/r_sim"], "0/sim/2": ["0/sim/g_sim"]}


def test_a_bias_needs_no_filter():
    assert reads(plan_of(Survey.make(1, 2)), "isr", "bias") == {"0/sim/1": ["0/sim"], "1/sim/1": ["1/sim"]}


def test_a_coadd_gathers_its_band():
    plan = plan_of(Survey.make(visits=4, detectors=1))
    assert reads(plan, "coadd", "aligned") == {
        "g/0/sim": ["0/sim/2", "0/sim/4"],
        "r/0/sim": ["0/sim/1", "0/sim/3"],
    }


def test_a_scatter_reads_one_product_many_times():
    plan = plan_of(Survey.make(visits=4, detectors=1))
    assert reads(plan, "measure", "coadd")["0/sim/3"] == ["r/0/sim"]


def test_an_exposure_without_visit_is_no_science():
    plan = plan_of(Survey.make(2, 1))
    assert {d["visit"] for d in data_ids(plan, "isr")} == {1, 2}


def test_two_instruments_do_not_mix():
    plan = plan_of(Survey.make(2, 1).and_of(Survey.make(3, 1, instrument="other")))
    assert len(data_ids(plan, "isr")) == 5
    assert reads(plan, "isr", "bias")["0/other/3"] == ["0/other"]


def test_a_quantum_without_its_flat_is_left_out_and_counted():
    survey = Survey.make(4, 2).without("flat", pl.col("physical_filter") == "g_sim", pl.col("detector") == 1)
    plan = plan_of(survey)
    assert plan.counts["isr"]["quanta"] == 6
    assert plan.counts["isr"]["left_out"] == {"missing:flat": 2}
    row = plan.tables["left_out"].row(0, named=True)
    assert row["detail"] == "no flat with detector=1,instrument=sim,physical_filter=g_sim"
    assert json.loads(row["data_id"]) == {"detector": 1, "instrument": "sim", "visit": 2}
    assert plan.counts["coadd"]["quanta"] == 3


def test_all_that_is_missing_is_named_when_a_task_has_nothing_left():
    survey = Survey.make(3, 1).without("flat", pl.lit(value=True)).without("bias", pl.lit(value=True))
    with pytest.raises(PlanRefusedError) as error:
        plan_of(survey)
    assert codes(error) == ["PST-P002", "PST-P002"]
    assert "no bias at all in collections raw" in str(error.value)
    assert "no flat at all" in str(error.value)


def test_missing_inputs_are_named_with_their_data_ids():
    with pytest.raises(PlanRefusedError) as error:
        plan_of(Survey.make(1, 2).without("flat", pl.col("physical_filter") == "r_sim"))
    assert codes(error) == ["PST-P002"]
    assert "no flat with detector=0,instrument=sim,physical_filter=r_sim; no flat with detector=1" in str(
        error.value
    )


def test_a_selection_that_takes_nothing_is_refused():
    with pytest.raises(PlanRefusedError) as error:
        plan_of(Survey.make(2, 1), where="visit = 77")
    assert codes(error) == ["PST-P001"]


def test_a_collection_that_is_not_searched_holds_nothing():
    with pytest.raises(PlanRefusedError) as error:
        build_plan(Request("demo", reduction(), UNIVERSE, ("elsewhere",)), Survey.make(1, 1))
    assert set(codes(error)) == {"PST-P002"}


def test_a_selection_by_visit_keeps_what_has_no_visit():
    plan = plan_of(Survey.make(4, 2), where="visit in (2, 3) and detector < 1")
    assert [d["visit"] for d in data_ids(plan, "isr")] == [2, 3]
    assert plan.counts["coadd"]["inputs"] == 2


def test_a_selection_by_metadata_reaches_the_raws():
    plan = plan_of(Survey.make(4, 1), where="exposure_time > 25")
    assert [d["visit"] for d in data_ids(plan, "isr")] == [3, 4]


def test_a_selection_by_band_selects_flats_too():
    plan = plan_of(Survey.make(4, 1), where="band = 'r'")
    assert [d["visit"] for d in data_ids(plan, "isr")] == [1, 3]
    assert plan.counts["isr"]["left_out"] == {}


def test_a_connection_selects_for_itself():
    pipeline = reduction()
    isr, *rest = pipeline.tasks
    raw, *others = isr.inputs
    isr = replace(isr, inputs=(replace(raw, where="exposure.exposure_time <= 20"), *others))
    plan = plan_of(Survey.make(4, 1), replace(pipeline, tasks=(isr, *rest)))
    assert [d["visit"] for d in data_ids(plan, "isr")] == [1, 2]


def test_a_task_selects_its_quanta_and_says_so():
    pipeline = reduction()
    *rest, measure = pipeline.tasks
    pipeline = replace(pipeline, tasks=(*rest, replace(measure, where="band = 'g'")))
    plan = plan_of(Survey.make(4, 1), pipeline)
    assert [d["visit"] for d in data_ids(plan, "measure")] == [2, 4]
    assert plan.counts["measure"]["left_out"] == {"where": 2}


def test_a_minimum_counts_what_is_planned():
    pipeline = reduction()
    isr, align, coadd, measure = pipeline.tasks
    coadd = replace(coadd, inputs=(InputConnection("aligned", "aligned", 2),))
    plan = plan_of(Survey.make(3, 1), replace(pipeline, tasks=(isr, align, coadd, measure)))
    assert [d["band"] for d in data_ids(plan, "coadd")] == ["r"]
    assert plan.counts["coadd"]["left_out"] == {"minimum:aligned": 1}
    assert plan.tables["left_out"].filter(pl.col("task") == "coadd")["detail"].to_list() == [
        "1 of at least 2"
    ]
    assert plan.counts["measure"]["left_out"] == {"upstream:coadd": 1}


def test_an_optional_input_is_read_where_it_is():
    pipeline = reduction()
    isr, *rest = pipeline.tasks
    inputs = tuple(replace(c, minimum=0) if c.name == "flat" else c for c in isr.inputs)
    survey = Survey.make(2, 1).without("flat", pl.col("physical_filter") == "r_sim")
    plan = plan_of(survey, replace(pipeline, tasks=(replace(isr, inputs=inputs), *rest)))
    assert plan.counts["isr"]["quanta"] == 2
    assert list(reads(plan, "isr", "flat")) == ["0/sim/2"]


def test_an_exposure_without_filter_keeps_its_visit():
    survey = Survey.make(2, 1)
    blank = pl.when(pl.col("exposure") == 1).then(None).otherwise("physical_filter").alias("physical_filter")
    nowhere = pl.when(pl.col("visit") == 1).then(None).otherwise("physical_filter").alias("physical_filter")
    records = {
        **survey.records,
        "exposure": survey.records["exposure"].with_columns(blank),
        "visit": survey.records["visit"].with_columns(nowhere),
    }
    types = [dataset_type("raw", "exposure", "detector", template=""), dataset_type("x", "visit", "detector")]
    plan = plan_of(
        replace(survey, records=records),
        pipeline_of(task("t", ["visit", "detector"], ["raw"], ["x"]), types=types),
    )
    assert [d["visit"] for d in data_ids(plan, "t")] == [1, 2]


def test_null_matches_nothing():
    survey = Survey.make(1, 1)
    types = [
        dataset_type("raw", "exposure", "detector", template=""),
        dataset_type("flat", "physical_filter", "detector", template=""),
        dataset_type("x", "exposure", "detector"),
    ]
    plan = plan_of(
        survey, pipeline_of(task("t", ["exposure", "detector"], ["raw", "flat"], ["x"]), types=types)
    )
    assert [d["exposure"] for d in data_ids(plan, "t")] == [1]
    assert plan.tables["left_out"]["detail"].to_list() == [
        "no flat with detector=0,instrument=sim,physical_filter=none"
    ]


def test_dimensions_that_no_input_has_come_from_their_records():
    types = [dataset_type("bias", "detector", template=""), dataset_type("x", "visit", "detector")]
    plan = plan_of(
        Survey.make(3, 2),
        pipeline_of(task("t", ["visit", "detector"], ["bias"], ["x"]), types=types),
        where="visit < 3",
    )
    assert len(data_ids(plan, "t")) == 4


def test_a_task_without_dimensions_reads_all():
    types = [dataset_type("bias", "detector", template=""), dataset_type("x")]
    plan = plan_of(Survey.make(1, 3), pipeline_of(task("t", [], ["bias"], ["x"]), types=types))
    assert data_ids(plan, "t") == [{}]
    assert plan.tables["inputs"].height == 3
    assert plan.path_of("x") == "demo/x/x.fits"
    assert plan.tables["jobs"]["name"].to_list() == ["t"]


def test_a_task_without_inputs_makes_what_its_records_say():
    types = [dataset_type("x", "visit")]
    plan = plan_of(Survey.make(2, 1), pipeline_of(task("t", ["visit"], [], ["x"]), types=types))
    assert len(data_ids(plan, "t")) == 2


def test_an_output_with_dimensions_that_its_task_lacks_is_refused():
    types = [dataset_type("bias", "detector", template=""), dataset_type("x", "visit", "detector")]
    with pytest.raises(PlanRefusedError) as error:
        plan_of(Survey.make(1, 1), pipeline_of(task("t", ["detector"], ["bias"], ["x"]), types=types))
    assert codes(error) == ["PST-P003"]
    assert "visit" in str(error.value)


def test_join_keys_leave_out_what_another_key_implies():
    raw = UNIVERSE.expand(["exposure", "detector"])
    assert join_keys(UNIVERSE, UNIVERSE.close(["visit", "detector"]), (*raw, "visit"), ["exposure", "detector", "instrument"]) == (
        "detector", "instrument", "visit",
    )  # fmt: skip
    flat = UNIVERSE.expand(["physical_filter", "detector"])
    assert join_keys(UNIVERSE, UNIVERSE.close(["visit", "detector"]), flat, ["physical_filter", "detector", "instrument"]) == (
        "detector", "instrument", "physical_filter",
    )  # fmt: skip


def test_a_selection_that_says_nothing_of_a_large_frame_keeps_it():
    request = Request("demo", reduction(), UNIVERSE, ("raw",))
    frame = pl.DataFrame({"detector": pl.int_range(1_000_188, eager=True)})
    selection = parse_selection("visit < 3000", UNIVERSE)
    state = State(request, Survey.make(1, 1))
    assert restrict(frame, selection, state, keep_unknown=True).height == frame.height
    assert restrict(frame, selection, state, keep_unknown=False).height == 0
