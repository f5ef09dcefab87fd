"""Calibrations in a plan: what is looked up by the moment of a quantum, and what is said where that fails."""

from dataclasses import replace

import polars as pl
import pytest

from prestow.errors import ConfigurationError, PlanRefusedError
from prestow.model.instants import ALWAYS, FOREVER, instant, instant_text
from prestow.pipeline import load_pipeline
from prestow.pipeline.definition import InputConnection
from prestow.plan.document import pipeline_from_plain, pipeline_to_plain
from prestow.testing.surveys import UNIVERSE, Request, Survey, build_plan, dataset_type, reduction, task

ID = {
    "collection": pl.String,
    **dict.fromkeys(("valid_begin", "valid_end", "known_begin", "known_end"), pl.Int64),
}


def survey(visits=6, detectors=2):
    """Make a survey whose exposure n begins at n nanoseconds."""
    made = Survey.make(visits, detectors)
    records = {
        name: made.records[name].with_columns(pl.col(name).cast(pl.Int64).alias("begin"))
        for name in ("exposure", "visit")
    }
    return replace(made, records={**made.records, **records})


def certify(made, kind, begin=ALWAYS, end=FOREVER, only=True, known=0, collection="calib"):
    """Certify existing datasets of a survey, besides what is certified."""
    rows = (
        made.existing[kind]
        .filter(only)
        .select(
            "id",
            collection=pl.lit(collection),
            valid_begin=begin,
            valid_end=end,
            known_begin=known,
            known_end=FOREVER,
        )
    )
    rows = rows.with_columns(pl.col(name).cast(t) for name, t in ID.items())
    before = made.certified.get(kind, rows.clear())
    return replace(made, certified={**made.certified, kind: pl.concat([before, rows])})


def pipeline(*calibrations, **certifies):
    made = reduction()
    kinds = {
        name: replace(kind, calibration=name in calibrations, certifies=certifies.get(name))
        for name, kind in made.dataset_types.items()
    }
    return replace(made, dataset_types=kinds)


def plan(source, definition, **more):
    return build_plan(Request("demo", definition, UNIVERSE, ("raw",), **more), source)


def test_a_pipeline_without_calibrations_has_the_plan_it_had():
    source = survey()
    assert plan(source, pipeline()).id == plan(certify(source, "flat"), reduction()).id
    assert "calibration" not in str(pipeline_to_plain(reduction()))


def test_the_end_of_a_validity_is_not_in_it():
    source = certify(certify(survey(), "bias", ALWAYS, 4), "bias", 4, FOREVER)
    # both are the same dataset: no overlap, and no gap at 4
    assert plan(source, pipeline("bias")).counts["isr"]["quanta"] == 12
    source = certify(survey(), "bias", ALWAYS, 4)
    with pytest.raises(PlanRefusedError) as error:
        plan(source, pipeline("bias"))
    [problem] = error.value.problems
    assert "6 quanta" in problem.what
    assert "calibration_gap:bias" in problem.what
    assert f"valid at {instant_text(4)}" in problem.what


def test_a_selection_of_visits_leaves_calibrations_alone_and_gaps_elsewhere_do_not_matter():
    source = certify(survey(), "bias", 2, 4)
    found = plan(source, pipeline("bias"), where="visit in (2, 3)")
    assert found.counts["isr"]["quanta"] == 4


def test_what_a_task_excludes_by_itself_is_no_gap():
    definition = pipeline("bias")
    tasks = tuple(replace(t, where="visit < 4") if t.label == "isr" else t for t in definition.tasks)
    source = certify(survey(), "bias", ALWAYS, 4)
    assert plan(source, replace(definition, tasks=tasks)).counts["isr"]["quanta"] == 6


def test_an_optional_calibration_may_lack_but_not_overlap():
    definition = pipeline("flat")
    [first, *rest] = definition.tasks
    inputs = tuple(replace(c, minimum=0) if c.name == "flat" else c for c in first.inputs)
    definition = replace(definition, tasks=(replace(first, inputs=inputs), *rest))
    source = certify(survey(), "flat", 2, 4)
    found = plan(source, definition)
    assert found.counts["isr"]["quanta"] == 12
    assert found.counts["isr"]["inputs"] == 12 + 12 + 4  # raw, bias, and flats of two visits


def test_a_minimum_counts_what_is_valid():
    kinds = {**pipeline("bias").dataset_types, "visit_sum": dataset_type("visit_sum", "visit")}
    gather = task(
        "total", ["visit"], [InputConnection("isr", "isr"), InputConnection("bias", "bias", 1)], ["visit_sum"]
    )
    definition = replace(pipeline("bias"), dataset_types=kinds, tasks=(*pipeline("bias").tasks[:1], gather))
    source = certify(certify(survey(), "bias"), "flat")
    assert plan(source, definition).counts["total"]["inputs"] == 6 * 2 + 6 * 2
    strict = replace(gather, inputs=(gather.inputs[0], InputConnection("bias", "bias")))
    source = certify(
        certify(survey(), "bias", only=pl.col("detector") == 0), "bias", 0, 4, pl.col("detector") == 1
    )
    with pytest.raises(PlanRefusedError) as error:
        plan(source, replace(definition, tasks=(definition.tasks[0], strict)))
    problems = {p.where: p.what for p in error.value.problems}
    assert set(problems) == {"task isr", "task total"}
    assert all(p.startswith("3 quanta") and "calibration_gap:bias" in p for p in problems.values())


def test_two_collections_that_say_the_same_do_not_overlap():
    both = certify(certify(survey(), "bias"), "bias", collection="other")
    assert plan(both, pipeline("bias")).counts["isr"]["quanta"] == 12


def test_what_the_plan_makes_is_taken_before_what_is_certified():
    nightly = dataset_type("nightly", "detector", "day_obs")
    kinds = {**pipeline().dataset_types, "nightly": replace(nightly, calibration=True)}
    make = task("make_nightly", ["detector", "day_obs"], [InputConnection("raw", "raw")], ["nightly"])
    use = task("use", ["visit", "detector"], ["raw", "nightly"], ["isr"])
    definition = replace(pipeline(), dataset_types=kinds, tasks=(make, use))
    source = survey()
    found = plan(source, definition)
    assert found.counts["make_nightly"]["quanta"] == 2  # one night
    assert found.counts["use"] | {"inputs": 24} == found.counts["use"]
    certifies = {**kinds, "nightly": replace(nightly, calibration=True, certifies=(ALWAYS, 4))}
    with pytest.raises(PlanRefusedError) as error:
        plan(source, replace(definition, dataset_types=certifies))
    [problem] = error.value.problems
    assert "6 quanta" in problem.what
    assert "calibration_gap:nightly" in problem.what
    again = pipeline_from_plain(pipeline_to_plain(replace(definition, dataset_types=certifies)))
    assert again.dataset_types == {**certifies}


def test_a_task_without_a_moment_is_told_so():
    kinds = {**pipeline("flat").dataset_types}
    gather = task("flats", ["physical_filter"], ["flat"], ["coadd"])
    kinds["coadd"] = dataset_type("coadd", "physical_filter")
    definition = replace(pipeline("flat"), dataset_types=kinds, tasks=(gather,))
    with pytest.raises(PlanRefusedError) as error:
        plan(certify(survey(), "flat"), definition)
    assert [p.code for p in error.value.problems] == ["PST-K007"]


def test_an_observation_whose_begin_is_not_known_is_a_gap():
    source = survey()
    blank = source.records["visit"].with_columns(begin=pl.when(pl.col("visit") > 1).then("begin"))
    source = certify(replace(source, records={**source.records, "visit": blank}), "bias")
    with pytest.raises(PlanRefusedError) as error:
        plan(source, pipeline("bias"))
    assert "for a moment that is not known" in error.value.problems[0].what


HEAD = """\
schema: prestow.pipeline/1
name: demo
dataset_types:
  raw: {dimensions: [exposure, detector], format: fits}
  flat: {dimensions: [detector], format: fits, MORE}
  isr: {dimensions: [visit, detector], format: fits}
tasks:
  isr: {dimensions: [visit, detector], command: "x {inputs.raw}", inputs: {raw: raw, flat: flat}, outputs: {isr: isr}}
"""


def load(tmp_path, more):
    path = tmp_path / "pipeline.yaml"
    path.write_text(HEAD.replace("MORE", more))
    return load_pipeline(path, UNIVERSE).dataset_types["flat"]


def test_a_pipeline_says_what_is_a_calibration_and_what_it_certifies(tmp_path):
    assert load(tmp_path, "calibration: true").calibration
    flat = load(tmp_path, "calibration: true, certifies: {begin: 2026-01-01, end: 2026-02-01T12:00:00}")
    assert flat.certifies == (instant("2026-01-01"), instant("2026-02-01T12:00:00"))
    assert load(tmp_path, "calibration: true, certifies: {begin: 2026-01-01}").certifies[1] == FOREVER


@pytest.mark.parametrize(
    ("more", "codes"),
    [
        ("calibration: maybe", ["PST-C011"]),
        ("certifies: {begin: 2026-01-01}", ["PST-K010"]),
        ("calibration: true, certifies: {begin: 2026-02-01, end: 2026-01-01}", ["PST-K010"]),
        ("calibration: true, certifies: {begin: soon}", ["PST-K010"]),
        ("calibration: true, certifies: {from: 2026-01-01}", ["PST-C010"]),
        ("calibration: true, certifies: {}", ["PST-K010"]),
        ("calibration: true, certifies: {begin: '2026-01-01T00:00:00+01:00'}", ["PST-K010"]),
    ],
)
def test_what_is_wrong_with_it_is_told_with_its_place(tmp_path, more, codes):
    with pytest.raises(ConfigurationError) as error:
        load(tmp_path, more)
    assert [p.code for p in error.value.problems] == codes
    assert all(":5:" in p.where for p in error.value.problems)
