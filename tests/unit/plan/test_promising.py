"""Promised inputs: they take part as existing ones do, what reads them waits, and a plan with them is proved."""

import json
import shutil

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prestow.errors import PlanRefusedError
from prestow.model.hashing import dataset_id
from prestow.pipeline import Cluster
from prestow.plan import Request, build_plan, open_plan, write_plan
from prestow.plan.awaited import awaited
from prestow.plan.promising import Promised
from prestow.plan.reserving import claim_of
from prestow.testing.surveys import UNIVERSE, Survey, reduction
from prestow.verify.checker import verify

LATER, NOW = 2_000, 1_000


def promised(survey, *visits, by=LATER, **more):
    """Promise the raws of visits that a survey has, and give the survey without them."""
    gone = pl.col("exposure").is_in(visits)
    raws = survey.existing["raw"].filter(gone).select("instrument", "exposure", "detector")
    told = survey.records["visit"].select(
        "instrument", "visit", "physical_filter", "day_obs", exposure="visit"
    )
    frame = raws.join(told, on=["instrument", "exposure"]).join(
        survey.records["physical_filter"], on=["instrument", "physical_filter"]
    )
    frame = frame.with_columns(by=pl.lit(by, pl.Int64), **{k: pl.lit(v, pl.Int64) for k, v in more.items()})
    return survey.without("raw", gone), Promised({"raw": frame}, NOW)


def unknown(survey, *visits):
    """Take away what is known of visits: as if nobody had heard of them."""
    records = {
        **survey.records,
        "visit": survey.records["visit"].filter(~pl.col("visit").is_in(visits)),
        "exposure": survey.records["exposure"].filter(~pl.col("exposure").is_in(visits)),
    }
    links = survey.relations["visit_definition"].filter(~pl.col("visit").is_in(visits))
    return Survey(survey.existing, records, {**survey.relations, "visit_definition": links})


def plan_of(survey, promise=None, *, clusters=(), **more):
    pipeline = reduction(clusters=clusters)
    return build_plan(Request("run", pipeline, UNIVERSE, chain=("raw",), promised=promise, **more), survey)


def test_names_are_those_that_it_will_have_also_where_nobody_knows_the_exposure_yet():
    whole = Survey.make(6, 2)
    survey, promise = promised(whole, 3, 4)
    plan, real = plan_of(unknown(survey, 3, 4), promise), plan_of(whole)
    assert plan.files()["path"].sort().to_list() == real.files()["path"].sort().to_list()
    assert plan.id != real.id
    assert plan_of(whole, promise).id == real.id  # they came: nothing is promised any more
    told = plan.extra["promised"]
    assert told.select("type", "run", "by").unique().rows() == [("raw", "raw-sim", LATER)]
    first = told.row(0, named=True)
    assert str(pa.scalar(first["id"], pa.binary()).as_py().hex()) == dataset_id(
        "raw", "raw-sim", json.loads(first["data_id"])
    ).replace("-", "")


def test_what_does_not_read_them_has_the_recipe_that_it_will_have():
    whole = Survey.make(6, 2)
    survey, promise = promised(whole, 3)
    plan, real = plan_of(survey, promise), plan_of(whole)
    waits = awaited(plan)
    both = plan.tables["quanta"].select("id", "recipe", waits=pl.Series(waits))
    both = both.join(real.tables["quanta"].select("id", real="recipe"), on="id")
    assert both.height == real.tables["quanta"].height
    assert (both["recipe"] != both["real"]).to_list() == both["waits"].to_list()
    assert 0 < both["waits"].sum() < both.height


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sets(st.integers(1, 6), min_size=1, max_size=3), st.integers(1, 4))
def test_who_waits_is_who_follows_from_a_promised_input_with_its_job(visits, size):
    survey, promise = promised(Survey.make(6, 2), *visits)
    plan = plan_of(
        survey, promise, clusters=[Cluster("both", ("isr", "align"), ("instrument", "visit"), size)]
    )
    quanta, inputs = plan.tables["quanta"], plan.tables["inputs"]
    absent = set(plan.tables["locations"].filter(pl.col("path").is_null())["dataset"].to_list())
    waits: set[int] = set()
    made = dict(plan.tables["outputs"].select("dataset", "quantum").iter_rows())
    job = quanta["job"].to_list()
    while True:
        more = {q for q, _, d in inputs.iter_rows() if d in absent or made.get(d) in waits} | waits
        jobs = {job[q] for q in more}
        more = {q for q in range(len(job)) if job[q] in jobs}
        if more == waits:
            break
        waits = more
    assert set(pl.Series(awaited(plan)).arg_true().to_list()) == waits
    claim = pq.read_table(pa.BufferReader(claim_of(plan)))
    outputs = plan.tables["outputs"]
    assert claim.num_rows == outputs.filter(~pl.col("quantum").is_in(list(waits))).height


def test_a_plan_without_promises_is_not_touched():
    survey = Survey.make(3, 1)
    plan = plan_of(survey)
    assert plan_of(survey, Promised({}, NOW)).id == plan.id
    assert awaited(plan) is None
    assert "promised" not in plan.document["request"]


def test_overdue_ones_are_left_out_and_only_those_that_were_asked_for_matter():
    survey, promise = promised(Survey.make(4, 1), 3, by=NOW - 1)
    with pytest.raises(PlanRefusedError) as refused:
        plan_of(survey, promise)
    assert [p.code for p in refused.value.problems] == ["PST-P020"]
    assert "promised_late:raw" in refused.value.problems[0].what
    assert plan_of(survey, promise, where="visit in (1, 2)").id == plan_of(survey, where="visit in (1, 2)").id
    waived = plan_of(survey, promise, waive=("promised_late:raw",))
    assert waived.files()["path"].to_list() == plan_of(survey).files()["path"].to_list()


def test_when_they_will_be_observed_chooses_their_calibrations():
    whole = Survey.make(4, 1)
    survey, promise = promised(whole, 3, begin=500, end=600)
    pipeline = reduction()
    kinds = dict(pipeline.dataset_types)
    kinds["bias"] = type(kinds["bias"])("bias", kinds["bias"].dimensions, "fits", "", (), True)
    pipeline = type(pipeline)(pipeline.name, "", pipeline.tasks, kinds, code=pipeline.code)
    times = {"valid_begin": 450, "valid_end": 550, "known_begin": 0, "known_end": 2**63 - 1}
    ids = survey.existing["bias"].select("id", collection=pl.lit("calib"))
    survey = Survey(
        survey.existing,
        unknown(survey, 3).records,
        unknown(survey, 3).relations,
        certified={"bias": ids.with_columns(**{k: pl.lit(v, pl.Int64) for k, v in times.items()})},
    )
    plan = build_plan(
        Request("run", pipeline, UNIVERSE, chain=("raw",), promised=promise, where="visit = 3"), survey
    )
    assert plan.counts["isr"]["quanta"] == 1
    early = Promised({"raw": promise.frames["raw"].with_columns(begin=pl.lit(1, pl.Int64))}, NOW)
    with pytest.raises(PlanRefusedError) as refused:
        build_plan(
            Request("run", pipeline, UNIVERSE, chain=("raw",), promised=early, where="visit = 3"), survey
        )
    assert "calibration_gap:bias" in str(refused.value)


class TestProved:
    @pytest.fixture
    def written(self, tmp_path):
        survey, promise = promised(Survey.make(4, 1), 2)
        return write_plan(plan_of(survey, promise), tmp_path / "plans")

    def test_it_is(self, written):
        assert verify(written).proved
        assert "promised" in open_plan(written).document["request"]

    def test_a_place_that_was_taken_away_is_not_a_promise(self, written, tmp_path):
        copy = shutil.copytree(written, tmp_path / "copy")
        table = pl.read_parquet(copy / "locations.parquet")
        row = table["path"].is_not_null().arg_true()[0]
        empty = [
            pl.when(pl.int_range(pl.len()) == row).then(None).otherwise(pl.col(c)).alias(c)
            for c in table.columns
            if c != "dataset"
        ]
        table.with_columns(empty).write_parquet(copy / "locations.parquet")
        found = {finding.code for finding in verify(copy, plan_id=False).findings}
        assert {"PST-V033", "PST-V028"} <= found

    def test_the_document_says_how_many(self, written, tmp_path):
        copy = shutil.copytree(written, tmp_path / "copy")
        document = json.loads((copy / "proof.json").read_text())
        document["request"]["promised"]["datasets"] += 1
        (copy / "proof.json").write_text(json.dumps(document))
        assert [f.code for f in verify(copy, plan_id=False).findings] == ["PST-V033"]
        del document["request"]["promised"]
        (copy / "proof.json").write_text(json.dumps(document))
        assert {f.code for f in verify(copy, plan_id=False).findings} == {"PST-V028", "PST-V033"}
