"""Laws of the planner, against an oracle that does it one quantum at a time, in plain Python."""

import hashlib
import json
import os
import subprocess
import sys
import uuid
from functools import cache

import polars as pl
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prestow.errors import PlanRefusedError
from prestow.model.hashing import canonical_json, dataset_id, input_term, planned_recipe, quantum_id
from prestow.naming.templates import compile_template
from prestow.pipeline import task_digests
from prestow.plan import Request, build_plan, manifests, open_plan, write_plan
from prestow.testing.surveys import UNIVERSE, Survey, reduction

FEW = settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@st.composite
def surveys(draw):
    """A small survey from which some existing datasets are missing."""
    survey = Survey.make(
        draw(st.integers(1, 5)), draw(st.integers(1, 3)), bands=draw(st.sampled_from(["g", "gr", "gri"]))
    )
    if draw(st.booleans()):
        survey = survey.and_of(Survey.make(draw(st.integers(1, 2)), 2, instrument="other camera"))
    for kind, few in (("raw", 6), ("bias", 2), ("flat", 3)):
        rows = survey.existing[kind].height
        gone = draw(st.sets(st.integers(0, rows - 1), max_size=few))
        ids = survey.existing[kind]["id"].gather(sorted(gone)).implode()
        survey = survey.without(kind, pl.col("id").is_in(ids))
    return survey


class Oracle:
    """The plan of `reduction`, worked out by hand."""

    def __init__(self, survey, pipeline, run):
        self.pipeline, self.run, self.digests = pipeline, run, task_digests(pipeline)
        self.quanta, self.files = {}, {}
        facts = {kind: list(frame.iter_rows(named=True)) for kind, frame in survey.existing.items()}
        visits = {(v["instrument"], v["visit"]): v for v in survey.records["visit"].iter_rows(named=True)}
        bands = {
            (p["instrument"], p["physical_filter"]): p["band"]
            for p in survey.records["physical_filter"].iter_rows(named=True)
        }
        visit_of = {
            (r["instrument"], r["exposure"]): r["visit"]
            for r in survey.relations["visit_definition"].iter_rows(named=True)
        }
        gathers = {}
        for raw in facts["raw"]:
            visit = visit_of.get((raw["instrument"], raw["exposure"]))
            if visit is None:
                continue
            where = {"instrument": raw["instrument"], "detector": raw["detector"]}
            physical = visits[raw["instrument"], visit]["physical_filter"]
            bias = [b for b in facts["bias"] if where.items() <= b.items()]
            flat = [f for f in facts["flat"] if {**where, "physical_filter": physical}.items() <= f.items()]
            if not bias or not flat:
                continue
            data_id = {**where, "visit": visit}
            terms = [
                self.existing("raw", raw, ("instrument", "exposure", "detector")),
                self.existing("bias", bias[0], ("instrument", "detector")),
                self.existing("flat", flat[0], ("instrument", "physical_filter", "detector")),
            ]
            isr = self.quantum("isr", "isr", data_id, terms)
            aligned = self.quantum("align", "aligned", data_id, [self.planned("isr", data_id, isr)])
            band = bands[raw["instrument"], physical]
            gathers.setdefault((band, raw["detector"], raw["instrument"]), []).append((data_id, aligned))
        for (band, detector, instrument), members in gathers.items():
            coadd_id = {"band": band, "detector": detector, "instrument": instrument}
            coadd = self.quantum(
                "coadd", "coadd", coadd_id, [self.planned("aligned", d, r) for d, r in members]
            )
            for data_id, aligned in members:
                terms = [self.planned("aligned", data_id, aligned), self.planned("coadd", coadd_id, coadd)]
                self.quantum("measure", "sources", data_id, terms)

    def existing(self, kind, facts, dimensions):
        return input_term(
            kind, kind, canonical_json({d: facts[d] for d in dimensions}), facts["content"][:32]
        )

    def planned(self, kind, data_id, recipe):
        return input_term(kind, kind, canonical_json(data_id), recipe)

    def quantum(self, label, output, data_id, terms):
        recipe = planned_recipe(self.digests[label], canonical_json(data_id), terms)
        self.quanta[quantum_id(label, self.run, data_id)] = (label, canonical_json(data_id), recipe)
        kind = self.pipeline.dataset_types[output]
        template = compile_template(kind.template, kind.dimensions, UNIVERSE, dataset_type=output)
        self.files[dataset_id(output, self.run, data_id)] = template.path(self.run, data_id)
        return recipe


@FEW
@given(surveys())
def test_columns_say_what_one_quantum_at_a_time_says(survey):
    oracle = Oracle(survey, reduction(), "demo")
    try:
        plan = build_plan(Request("demo", reduction(), UNIVERSE, ("raw",)), survey)
    except PlanRefusedError:
        assert not oracle.quanta
        return
    quanta = plan.tables["quanta"].select("id", "task", "data_id", "recipe").iter_rows()
    assert {
        str(uuid.UUID(bytes=i)): (task, data_id, recipe.hex()) for i, task, data_id, recipe in quanta
    } == oracle.quanta
    files = plan.files().select("id", "path").iter_rows()
    assert {str(uuid.UUID(bytes=i)): path for i, path in files} == oracle.files
    counts = plan.counts["isr"]
    linked = survey.existing["raw"].filter(pl.col("exposure") != 0).height
    assert counts["quanta"] + sum(counts["left_out"].values()) == linked


@FEW
@given(surveys(), st.integers(0, 1000))
def test_the_order_of_rows_does_not_matter(survey, seed):
    request = Request("demo", reduction(), UNIVERSE, ("raw",))
    try:
        plan = build_plan(request, survey)
    except PlanRefusedError as error:
        try:
            build_plan(request, survey.shuffled(seed))
        except PlanRefusedError as other:
            assert other.problems == error.problems  # noqa: PT017 - two errors are compared
            return
        raise
    again = build_plan(request, survey.shuffled(seed))
    assert again.id == plan.id
    assert again.document == plan.document
    assert all(again.tables[name].equals(plan.tables[name]) for name in plan.tables)


@FEW
@given(surveys(), st.booleans())
def test_what_jobs_are_told_is_what_the_plan_says(survey, clustered):
    from prestow.pipeline.definition import Cluster

    clusters = [Cluster("fast", ("isr", "align"), UNIVERSE.close(["visit", "detector"]))] if clustered else []
    try:
        plan = build_plan(Request("demo", reduction(clusters=clusters), UNIVERSE, ("raw",)), survey)
    except PlanRefusedError:
        return
    told = list(manifests(plan, store="output", stores={"output": "file:///o", "archive": "file:///a"}))
    paths = [output.path for manifest in told for output in manifest.outputs]
    assert sorted(paths) == sorted(plan.files()["path"])
    assert len({path.lower() for path in paths}) == len(paths)
    job_of = {quantum.id: number for number, manifest in enumerate(told) for quantum in manifest.quanta}
    assert len(job_of) == plan.tables["quanta"].height
    edges, order = set(), {}
    for number, manifest in enumerate(told):
        for quantum in manifest.quanta:
            order[quantum.id] = len(order)
            for connection in quantum.inputs.values():
                for item in (manifest.inputs[i] for i in connection.datasets):
                    if item.producer is not None:
                        assert order[item.producer] < order[quantum.id]
                        edges.add((job_of[item.producer], number))
        assert len({item.local for item in (*manifest.inputs, *manifest.outputs)}) == len(
            manifest.inputs
        ) + len(manifest.outputs)
    assert {pair for pair in edges if pair[0] != pair[1]} == set(
        plan.tables["job_edges"].select("parent", "child").iter_rows()
    )


@cache
def script():
    return (
        "import sys, hashlib\n"
        "from pathlib import Path\n"
        "from prestow.plan import *\n"
        "from prestow.testing.surveys import UNIVERSE, Survey, reduction\n"
        "survey = Survey.make(60, 40).without('flat', __import__('polars').col('detector') == 3).shuffled(int(sys.argv[2]))\n"
        "plan = build_plan(Request('demo', reduction(), UNIVERSE, ('raw',), where='visit < 55'), survey)\n"
        "path = write_plan(plan, Path(sys.argv[1]))\n"
        "print(plan.id)\n"
    )


def test_threads_and_processes_give_the_same_bytes(tmp_path):
    digests = set()
    for threads in (1, 2, 3):
        where = tmp_path / str(threads)
        done = subprocess.run(
            [sys.executable, "-c", script(), str(where), str(threads)],
            env={**os.environ, "POLARS_MAX_THREADS": str(threads), "PYTHONHASHSEED": str(threads)},
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        path = where / done.stdout.strip()
        files = sorted(p for p in path.iterdir())
        digests.add(json.dumps({p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in files}))
    assert len(digests) == 1


def test_a_written_plan_is_the_plan(tmp_path):
    plan = build_plan(Request("demo", reduction(), UNIVERSE, ("raw",)), Survey.make(3, 2))
    again = open_plan(write_plan(plan, tmp_path))
    site = {"store": "output", "stores": {"output": "file:///o", "archive": "file:///a"}}
    assert [m.to_json() for m in manifests(again, **site)] == [m.to_json() for m in manifests(plan, **site)]
