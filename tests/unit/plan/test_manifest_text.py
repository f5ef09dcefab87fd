"""Manifests as text are, byte by byte, what the same manifests say of themselves."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from prestow.engines.pegasus.files import Transport, carried_by
from prestow.engines.pegasus.manifests import for_carrying
from prestow.engines.pegasus.packing import packs_of, write_packs
from prestow.errors import PlanRefusedError
from prestow.manifest import CARRIED, Code, Manifest
from prestow.model.hashing import canonical_json
from prestow.node.packed import pack
from prestow.node.short import expanded, shortened
from prestow.pipeline.definition import Cluster, InputConnection, OnFailure, OutputConnection, Pipeline
from prestow.plan import Plan, Request, build_plan, open_plan, write_plan
from prestow.plan.batches import Batch, Batches
from prestow.plan.manifest_text import Frame, Packed, manifest_texts
from prestow.plan.manifests import manifests
from prestow.plan.retrying import Change, Retries
from prestow.testing.surveys import UNIVERSE, Survey, dataset_type, reduction, task

STORES = {"archive": "file:///archive", "output": "file:///output"}
SURVEY = Survey.make(visits=6, detectors=2)


def packs_in(jobs: int, most: int = 5) -> list[tuple[int, int]]:
    return [(start, min(start + most, jobs)) for start in range(0, jobs, most)]


def lines(texts: Packed, packs: list[tuple[int, int]]) -> list[str]:
    """Give the lines of all packs, one after the other."""
    own = texts.own.series().to_list()
    return [
        line
        for (start, end), shared in zip(packs, texts.shared, strict=True)
        for line in (shared, *own[start:end])
    ]


def texts_of(plan: Plan, *, jobs: list[int] | None = None, reuse: pl.DataFrame | None = None, layout: str = "tree",
             memory: Mapping[str, int] | None = None) -> list[str]:  # fmt: skip
    """Give the lines of packs of five jobs, as the nodes see the stores."""
    total = plan.document["totals"]["jobs"]
    numbers = np.array(range(total) if jobs is None else jobs)
    batch = Batches(plan, reuse).of(numbers)
    packs = packs_in(len(numbers))
    return lines(
        manifest_texts(batch, packs, plan.definition, frame_of(plan, layout), places_of(batch), memory), packs
    )


def frame_of(plan: Plan, layout: str = "tree") -> Frame:
    code = plan.code
    told = None if code is None else Code(code.sha256, "output", code.path, code.size)
    return Frame(plan.id, plan.run, "output", STORES, told, layout)


def places_of(batch: Batch) -> pl.DataFrame:
    """Say that each dataset is in its own store."""
    none = pl.lit(None, pl.String)
    return batch.datasets.select(pl.col("store").alias("in"), store=none, at=none)


def packed(manifests: Iterable[Manifest]) -> list[str]:
    """Give the lines of packs of these, without their indices; each says of itself what was put into it."""
    told = list(manifests)
    found = []
    for start, end in packs_in(len(told)):
        shared, own = shortened(told[start:end])
        assert [expanded(shared, one) for one in own] == told[start:end]
        found += [canonical_json(value) + "\n" for value in (shared, *own)]
    return found


def oracle(
    plan: Plan, jobs: list[int] | None = None, *, reuse: pl.DataFrame | None = None, layout: str = "tree"
) -> list[str]:
    made = manifests(plan, jobs, store="output", stores=STORES, reuse=reuse, layout=layout)
    return packed(replace(m, stores=STORES) for m in made)


def planned(pipeline: Pipeline, survey: Survey = SURVEY) -> Plan:
    return build_plan(Request("demo", pipeline, UNIVERSE, ("raw",)), survey)


DETECTOR, STACK = ("visit", "detector"), ("instrument", "band", "detector")


def odd() -> Pipeline:
    """Give tasks with all that a quantum may say: a command, prototypes, minima, a table's columns, optional outputs."""
    types = (
        dataset_type("raw", "exposure", "detector", template=""),
        dataset_type("bias", "detector", template=""),
        dataset_type("flat", "physical_filter", "detector", template=""),
        dataset_type("isr", *DETECTOR), dataset_type("mask", *DETECTOR), dataset_type("isr_log", *DETECTOR),
        replace(dataset_type("list", *STACK), columns=(("flux", "float64"), ("id", "int64"))),
    )  # fmt: skip
    tasks = (
        task("isr", DETECTOR, ["raw", InputConnection("zero", "bias", 0), "flat"],
             ["isr", OutputConnection("mask", "mask", optional=True)], entry=None, prototypes=("log",), ignore=("EXTNAME", "é"),
             command=("reduce", '"quoted"', "{inputs.raw}"), config={"z": 1, "a": {"π": [1.5, None, True]}}, tries=3,
             resources={"memory": 3_000_000_000, "walltime": 12.5}),
        task("gather", STACK, [InputConnection("masks", "mask", 0.5), InputConnection("isr", "isr", 1)], ["list"],
             on_failure=OnFailure.TOLERATE, hints={"output_bytes": 5e8}),
    )  # fmt: skip
    return Pipeline("odd", "", tasks, {t.name: t for t in types})


PLANS = {
    "one quantum a job": lambda: planned(reduction(gain=1.5)),
    "clusters": lambda: planned(reduction(clusters=[Cluster("both", ("isr", "align"), ("instrument", "visit"), 2)])),
    "all in one": lambda: planned(reduction(clusters=[Cluster("all", ("isr", "align"), ("instrument",), 0)])),
    "odd": lambda: planned(odd()),
    "odd and optional": lambda: planned(odd(), SURVEY.without("bias", pl.col("detector") == 1)),
    "in clusters, odd": lambda: planned(replace(odd(), clusters=(Cluster("c", ("isr",), ("instrument", "detector"), 1),))),
}  # fmt: skip


@pytest.mark.parametrize("kind", PLANS)
@pytest.mark.parametrize("layout", ["tree", "flat", "tar"])
def test_texts_are_what_manifests_say(kind: str, layout: str) -> None:
    plan = PLANS[kind]()
    wanted = oracle(plan, layout=layout)
    assert len(wanted) > 2 or kind == "all in one"
    assert texts_of(plan, layout=layout) == wanted


def test_a_plan_on_disk_gives_the_same_in_batches_of_any_size(tmp_path: Path) -> None:
    plan = open_plan(write_plan(PLANS["clusters"](), tmp_path))
    total = plan.document["totals"]["jobs"]
    wanted = [
        m
        for start, end in packs_in(total)
        for m in manifests(plan, range(start, end), store="output", stores=STORES)
    ]
    reader = Batches(plan)
    for size in (1, 3, total):
        found = []
        for start in range(0, total, size):
            rows = np.arange(start, min(start + size, total))
            batch = reader.of(rows)
            texts = manifest_texts(batch, [(0, len(rows))], plan.definition, frame_of(plan), places_of(batch))
            shared = json.loads(texts.shared[0])
            found += [expanded(shared, json.loads(one)) for one in texts.own.series()]
        assert found == [replace(m, stores=STORES) for m in wanted]


def test_two_stores_may_have_one_path_and_names_may_be_odd() -> None:
    bias = SURVEY.existing["bias"].with_columns(path=pl.lit('a "b" \\ c/é,=.fits'), store=pl.lit("output"))
    bias = bias.with_columns(
        store=pl.when(pl.col("detector") == 1).then(pl.lit("archive")).otherwise("store")
    )
    survey = replace(SURVEY, existing={**SURVEY.existing, "bias": bias})
    plan = planned(reduction(clusters=[Cluster("all", ("isr", "align"), ("instrument",), 0)]), survey)
    wanted = oracle(plan)
    inputs = [i for line in wanted for i in json.loads(line)["inputs"] if isinstance(i, dict)]
    assert any(i["path"].startswith(f"{i['id']}/") and "location" in i for i in inputs)
    for layout in ("tree", "flat"):
        assert texts_of(plan, layout=layout) == oracle(plan, layout=layout)


def test_what_is_taken_from_elsewhere_is_read_there(tmp_path: Path) -> None:
    plan = open_plan(write_plan(PLANS["one quantum a job"](), tmp_path))
    outputs = plan.tables["outputs"].filter(pl.col("quantum") < 10).select("quantum", "dataset")
    digest = sha256(b"").digest()
    made = pl.Series(np.arange(outputs.height) % 3 > 0)
    none = pl.lit(None)
    reuse = outputs.with_columns(
        id=plan.tables["datasets"]["id"].gather(outputs["dataset"]), run=pl.lit("before"),
        store=pl.when(made).then(pl.lit("archive")).otherwise(none), path=pl.when(made).then(pl.format("before/{}.fits", "dataset")),
        size=pl.when(made).then(pl.lit(12, pl.Int64)), sha256=pl.when(made).then(pl.lit(digest)), content=pl.when(made).then(pl.lit(digest)),
        receipt=pl.format("_receipts/before/isr/00/{}.json", "quantum"), producer=pl.lit("0"), state=pl.lit("made"),
    )  # fmt: skip
    left = plan.tables["quanta"].filter(pl.col("quantum") >= 10)["job"].unique().sort().to_list()
    wanted = oracle(plan, left, reuse=reuse)
    inputs = [i for line in wanted for i in json.loads(line)["inputs"] if isinstance(i, dict)]
    assert any(i["run"] == "before" and "sha256" not in i for i in inputs)
    assert texts_of(plan, jobs=left, reuse=reuse) == wanted


def test_more_memory_is_said_where_a_job_was_given_more() -> None:
    plan = PLANS["odd"]()
    name = plan.tables["jobs"]["name"][1]
    retries = Retries({name: Change(memory=7_000_000_000)})
    wanted = packed(
        replace(retries.applied(m), stores=STORES) for m in manifests(plan, store="output", stores=STORES)
    )
    assert texts_of(plan, memory={name: 7_000_000_000}) == wanted


def test_packs_are_those_of_manifests_that_are_carried(tmp_path: Path) -> None:
    plan = PLANS["one quantum a job"]()
    code = plan.code
    assert code is not None
    batch = Batches(plan).of(np.arange(plan.document["totals"]["jobs"]))
    carried = carried_by(batch, Transport("output"), plan.run)
    frame = Frame(
        plan.id,
        plan.run,
        "output",
        {"output": STORES["output"]},
        Code(code.sha256, CARRIED, code.path, code.size),
    )
    rows = packs_of(batch)
    texts = manifest_texts(batch, rows, plan.definition, frame, carried.places)
    assert rows == [(0, batch.jobs.height)]
    write_packs(texts, batch.jobs["name"], rows, [tmp_path / "00000.pack"])
    ready = [for_carrying(m)[0] for m in manifests(plan, store="output", stores=STORES)]
    assert (tmp_path / "00000.pack").read_bytes() == pack(ready)


def test_what_is_only_promised_refuses_the_plan() -> None:
    plan = PLANS["one quantum a job"]()
    places = plan.tables["locations"].with_columns(
        pl.when(pl.col("dataset") == 0).then(None).otherwise(pl.col("path")).alias("path")
    )
    plan.tables._frames["locations"] = places
    with pytest.raises(PlanRefusedError, match="only promised"):
        texts_of(plan)
