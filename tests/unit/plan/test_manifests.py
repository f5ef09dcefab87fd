"""What each job is told, from the plan alone."""

from dataclasses import replace
from pathlib import Path

import polars as pl
import pytest

from prestow.commit import receipt_name
from prestow.manifest import Location, Manifest
from prestow.pipeline.definition import Cluster, Pipeline
from prestow.plan import Request, build_plan, manifests, open_plan, write_plan
from prestow.testing.surveys import UNIVERSE, Survey, dataset_type, reduction, task

STORES = {"output": "file:///out", "archive": "file:///archive", "unused": "file:///unused"}
SITE = {"store": "output", "stores": STORES}


def plan_of(**more):
    return build_plan(Request("demo", reduction(**more), UNIVERSE, ("raw",)), Survey.make(4, 2))


@pytest.fixture(scope="module", params=["memory", "disk"])
def plan(request, tmp_path_factory):
    made = plan_of(sigma=3.0)
    return (
        made if request.param == "memory" else open_plan(write_plan(made, tmp_path_factory.mktemp("plans")))
    )


def one(plan, name):
    return next(manifests(plan, [plan.find_job(name)], **SITE))


def test_a_manifest_survives_its_json(plan):
    for manifest in manifests(plan, **SITE):
        again = Manifest.from_json(manifest.to_json())
        assert again.to_json() == manifest.to_json()
        assert (again.job, again.inputs, again.outputs) == (manifest.job, manifest.inputs, manifest.outputs)


def test_all_jobs_come_in_order_by_default(plan):
    assert [m.job for m in manifests(plan, **SITE)] == plan.tables["jobs"]["name"].to_list()


def test_jobs_come_in_the_order_asked_for(plan):
    assert [m.job for m in manifests(plan, [9, 0, 27], **SITE)] == [
        plan.tables["jobs"]["name"][j] for j in (9, 0, 27)
    ]
    assert list(manifests(plan, [], **SITE)) == []


def test_an_existing_input_comes_with_its_place_and_digests(plan):
    manifest = one(plan, "isr-1-3")
    (quantum,) = manifest.quanta
    raw = manifest.inputs[quantum.inputs["raw"].datasets[0]]
    assert (raw.type, raw.data_id, raw.run) == (
        "raw",
        {"detector": 1, "exposure": 3, "instrument": "sim"},
        "raw",
    )
    assert raw.recipe == raw.content[:32]
    assert (raw.producer, raw.receipt) == (None, None)
    place = manifest.locations[raw.id]
    assert place.store == "archive"
    assert raw.local == f"inputs/raw/{place.path}"


def test_a_planned_input_comes_with_its_producers_receipt(plan):
    manifest = one(plan, "align-1-3")
    (item,) = manifest.inputs
    isr = one(plan, "isr-1-3")
    assert item.producer == isr.quanta[0].id
    assert item.receipt == isr.quanta[0].receipt == receipt_name("demo", "isr", isr.quanta[0].id)
    assert (item.id, item.recipe, item.sha256) == (isr.outputs[0].id, isr.quanta[0].recipe, None)
    assert manifest.locations == {}


def test_only_needed_stores_are_in_it(plan):
    assert set(one(plan, "isr-0-1").stores) == {"output", "archive"}
    assert set(one(plan, "coadd-g-0").stores) == {"output"}


def test_policy_and_code_are_in_it(plan):
    manifest = one(plan, "isr-0-1")
    (quantum,) = manifest.quanta
    assert (quantum.entry, dict(quantum.config), quantum.tolerate) == ("tasks.isr:run", {"sigma": 3.0}, True)
    assert one(plan, "coadd-g-0").quanta[0].inputs["aligned"].minimum == 1
    assert manifest.code.path == f"_code/{manifest.code.sha256}.zip"
    assert manifest.outputs[0].local == f"outputs/{manifest.outputs[0].path}"


def test_a_clusters_manifest_holds_its_chain():
    plan = plan_of(clusters=[Cluster("fast", ("isr", "align"), UNIVERSE.close(["visit", "detector"]))])
    manifest = one(plan, "fast-0-2")
    isr, align = manifest.quanta
    inner = manifest.inputs[align.inputs["isr"].datasets[0]]
    assert inner.producer == isr.id
    assert inner.id == manifest.outputs[isr.outputs["isr"].datasets[0]].id


def reuse_of(plan, label, **facts):
    quanta = plan.tables["quanta"].filter(pl.col("task") == label).select("quantum")
    outputs = plan.tables["outputs"].select("quantum", "dataset").join(quanta, on="quantum")
    columns = {
        "id": "0" * 8 + "-0000-5000-8000-000000000001", "run": "parent", "store": "output", "path": "parent/x.fits",
        "size": 7, "sha256": "a" * 64, "content": "b" * 64, "receipt": "_receipts/parent/isr/ab/abc.json", **facts,
    }  # fmt: skip
    return outputs.with_columns(**{name: pl.lit(value) for name, value in columns.items()})


def test_what_is_taken_from_elsewhere_is_an_existing_input():
    plan = plan_of()
    (manifest,) = manifests(plan, [plan.find_job("align-0-1")], **SITE, reuse=reuse_of(plan, "isr"))
    (item,) = manifest.inputs
    assert (item.run, item.sha256, item.size, item.producer) == ("parent", "a" * 64, 7, None)
    assert item.recipe == one(plan, "align-0-1").inputs[0].recipe
    assert manifest.locations == {item.id: Location("output", "parent/x.fits")}
    assert manifest.quanta[0].recipe == one(plan, "align-0-1").quanta[0].recipe


def test_what_was_rightfully_not_made_elsewhere_is_told_by_its_receipt():
    plan = plan_of()
    reuse = reuse_of(plan, "isr", sha256=None, content=None, size=None)
    (manifest,) = manifests(plan, [plan.find_job("align-0-1")], **SITE, reuse=reuse)
    (item,) = manifest.inputs
    assert (item.producer, item.receipt, item.sha256) == ("abc", "_receipts/parent/isr/ab/abc.json", None)
    assert manifest.locations == {}


def test_quanta_taken_from_elsewhere_leave_their_jobs():
    plan = plan_of(clusters=[Cluster("fast", ("isr", "align"), UNIVERSE.close(["visit", "detector"]))])
    (manifest,) = manifests(plan, [0], **SITE, reuse=reuse_of(plan, "isr"))
    assert [q.task for q in manifest.quanta] == ["align"]
    assert len(manifest.outputs) == 1


def test_two_stores_may_have_one_path():
    survey = Survey.make(1, 1)
    same = {n: f.with_columns(path=pl.lit("same.fits"), store=pl.lit(n)) for n, f in survey.existing.items()}
    pair = pl.concat(
        [
            same["bias"],
            same["bias"].with_columns(pl.col("detector") + 1, id=pl.lit(b"x" * 16), store=pl.lit("b")),
        ]
    )
    types = [dataset_type("bias", "detector", template=""), dataset_type("x")]
    pipeline = Pipeline("toy", "", (task("t", [], ["bias"], ["x"]),), {t.name: t for t in types})
    plan = build_plan(
        Request("demo", pipeline, UNIVERSE, ("raw",)), replace(survey, existing={**same, "bias": pair})
    )
    (manifest,) = manifests(
        plan, store="output", stores={"output": "file:///o", "bias": "file:///1", "b": "file:///2"}
    )
    assert len({item.local for item in manifest.inputs}) == 2
    assert all(Path(item.local).name == "same.fits" for item in manifest.inputs)
    assert manifest.code is None


def test_a_job_needs_the_most_that_one_of_its_quanta_needs():
    pipeline = reduction(clusters=[Cluster("fast", ("isr", "align"), UNIVERSE.close(["visit", "detector"]))])
    sizes = iter((1, 5, 2, 2))
    tasks = tuple(replace(t, resources={"memory": next(sizes), "cores": 1}) for t in pipeline.tasks)
    plan = build_plan(Request("demo", replace(pipeline, tasks=tasks), UNIVERSE, ("raw",)), Survey.make(1, 1))
    assert one(plan, "fast-0-1").resources == {"memory": 5, "cores": 1}


def test_an_output_carries_the_columns_of_its_type(tmp_path):
    plain = reduction()
    columns = (("x", "float64"), ("id", "int64"))
    kinds = {**plain.dataset_types, "sources": replace(plain.dataset_types["sources"], columns=columns)}
    survey = Survey.make(2, 1)
    request = Request("demo", replace(plain, dataset_types=kinds), UNIVERSE, ("raw",))
    made = build_plan(request, survey)
    without = build_plan(replace(request, pipeline=plain), survey)
    for plan in (made, open_plan(write_plan(made, tmp_path))):
        outputs = {o.type: o.columns for m in manifests(plan, **SITE) for o in m.outputs}
        assert outputs == {"isr": (), "aligned": (), "coadd": (), "sources": columns}
    recipes = [dict(p.tables["quanta"].group_by("task").agg("recipe").iter_rows()) for p in (made, without)]
    assert {task for task in recipes[0] if recipes[0][task] != recipes[1][task]} == {"measure"}
    assert made.id != without.id
