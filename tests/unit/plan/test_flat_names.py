"""Where the layout is flat: base names that clash are refused with both files, and templates tell where they may."""

from dataclasses import replace

import polars as pl
import pytest

from prestow.errors import PlanRefusedError
from prestow.pipeline.definition import Cluster
from prestow.plan import Request, build_plan, write_plan
from prestow.plan.flat_names import flat_doubts
from prestow.testing.surveys import UNIVERSE, Survey, reduction
from prestow.verify import verify

SURVEY = Survey.make(visits=4, detectors=2)


def pipeline(clusters=(), **templates):
    made = reduction(clusters=clusters)
    kinds = {n: replace(k, template=templates.get(n, k.template)) for n, k in made.dataset_types.items()}
    return replace(made, dataset_types=kinds)


def plan(made, survey=SURVEY, *, flat=True):
    return build_plan(Request("demo", made, UNIVERSE, ("raw",), flat=flat), survey)


def refusal(made, survey=SURVEY):
    with pytest.raises(PlanRefusedError) as caught:
        plan(made, survey)
    assert {p.code for p in caught.value.problems} == {"PST-P030"}
    return caught.value.problems


def test_names_whose_last_parts_differ_pass_and_it_stays_on_record(tmp_path):
    made = plan(pipeline())
    assert made.document["request"]["flat"] is True
    assert made.id == plan(pipeline(), flat=False).id
    assert verify(write_plan(made, tmp_path)).findings == ()


def test_a_template_that_clashes_only_where_it_is_flat_is_refused_with_both_names():
    short = pipeline(isr="{run}/isr/{visit}/{instrument}-{detector}.fits")
    plan(short, flat=False)
    (problem,) = refusal(short)
    assert "isr{detector=0,instrument=sim,visit=1} and isr{detector=0,instrument=sim,visit=2}" in problem.what
    assert "sim-0.fits (and 1 more such names)" in problem.what


def test_two_types_of_one_base_name_are_refused():
    same = "{{run}}/{0}/{{instrument}}-{{visit}}-{{detector}}.fits"
    (problem,) = refusal(
        pipeline(isr=same.format("isr"), aligned=same.format("ALIGNED").replace("fits", "FITS"))
    )
    assert "isr{detector=0,instrument=sim,visit=1}" in problem.what
    assert "aligned{detector=0,instrument=sim,visit=1}" in problem.what
    assert "(and 7 more such names)" in problem.what


def test_an_input_counts_only_in_the_jobs_that_have_it():
    raw = SURVEY.existing["raw"].with_columns(
        path=pl.format(
            "raw/night/isr-sim-{}-{}.fits",
            pl.col("exposure").cast(pl.String).str.zfill(6),
            pl.col("detector").cast(pl.String).str.zfill(3),
        )
    )
    survey = replace(SURVEY, existing={**SURVEY.existing, "raw": raw})
    (problem,) = refusal(pipeline(), survey)  # each isr would lie beside its own raw
    assert "in one job" in problem.what
    assert "isr-sim-000001-000.fits (and 7 more such names)" in problem.what
    shifted = replace(
        survey,
        existing={**survey.existing, "raw": raw.with_columns(pl.col("path").str.replace("sim-", "sim-9"))},
    )
    plan(pipeline(), shifted)


def test_raws_of_one_base_name_clash_only_in_a_job_that_has_both():
    raw = SURVEY.existing["raw"].with_columns(
        path=pl.format("raw/{}/frame-{}.fits", pl.col("exposure"), pl.col("detector"))
    )
    survey = replace(SURVEY, existing={**SURVEY.existing, "raw": raw})
    plan(pipeline(), survey)
    together = [Cluster("front", ("isr",), ("instrument", "detector"))]
    (problem,) = refusal(pipeline(clusters=together), survey)
    assert (
        "raw{detector=0,exposure=1,instrument=sim} and raw{detector=0,exposure=2,instrument=sim}"
        in problem.what
    )


def test_a_template_gives_its_counterexample_without_a_plan():
    doubts = flat_doubts(pipeline(isr="{run}/isr/{visit}/{instrument}-{detector}.fits"), UNIVERSE)
    (text,) = [d.text for d in doubts]
    assert text.startswith(
        "isr{detector=0,instrument=a,visit=0} and isr{detector=0,instrument=a,visit=1} would both be a-0.fits"
    )
    same = "{{run}}/{0}/{{instrument}}-{{visit}}-{{detector}}.fits"
    (one,) = flat_doubts(pipeline(isr=same.format("isr"), sources=same.format("sources")), UNIVERSE)
    assert (one.first, one.second, one.base) == ("isr", "sources", "{instrument}-{visit}-{detector}.fits")
    assert flat_doubts(pipeline(), UNIVERSE) == ()
