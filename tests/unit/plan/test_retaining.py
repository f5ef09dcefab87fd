"""Intermediates that are not retained: which need not run, by brute force; how they are said; what they leave alone."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from prestow.errors import ConfigurationError
from prestow.naming.universe import load_universe
from prestow.pipeline import load_pipeline
from prestow.pipeline.definition import Cluster
from prestow.plan import Request, build_plan, open_plan, write_plan
from prestow.plan.document import pipeline_from_plain, pipeline_to_plain
from prestow.plan.retaining import is_passing, not_needed
from prestow.testing.surveys import UNIVERSE, Survey, reduction
from prestow.verify import rules, verify

ALL = ("isr", "align", "coadd", "measure")
CLUSTERS = {
    "none": (),
    "chain": (Cluster("chain", ("isr", "align"), UNIVERSE.close(["visit", "detector"])),),
    "wide": (Cluster("wide", ("isr", "align"), UNIVERSE.close(["visit"])),),
}


def pipeline_of(passing, clusters=(), prototypes=()):
    made = reduction(clusters=clusters)
    tasks = tuple(
        replace(
            t,
            prototypes=prototypes,
            outputs=tuple(replace(o, retained=t.label not in passing) for o in t.outputs),
        )
        for t in made.tasks
    )
    return replace(made, tasks=tasks)


def plan_of(passing, clusters=()):
    return build_plan(Request("demo", pipeline_of(passing, clusters), UNIVERSE, ("raw",)), Survey.make(4, 2))


@settings(deadline=None, max_examples=30)
@given(st.sets(st.sampled_from(ALL)), st.sampled_from(sorted(CLUSTERS)), st.data())
def test_what_nobody_needs_is_what_a_search_from_each_quantum_finds(passing, clusters, data):
    plan = plan_of(passing, CLUSTERS[clusters])
    rows = range(plan.tables["quanta"].height)
    done = data.draw(st.sets(st.sampled_from(rows)))
    labels = plan.tables["quanta"]["task"].to_list()
    # Whole tasks settled: else something is nearly always needed.
    done |= {row for row in rows if labels[row] in data.draw(st.sets(st.sampled_from(ALL)))}
    job = plan.tables["quanta"]["job"].to_list()
    maker = plan.tables["datasets"]["producer"].to_list()
    readers: dict[int, set[int]] = {row: set() for row in rows}
    for quantum, dataset in plan.tables["inputs"].select("quantum", "dataset").iter_rows():
        if maker[dataset] is not None:
            readers[maker[dataset]].add(quantum)
    left = set(rows) - done
    needed = {row for row in left if labels[row] not in passing or not readers[row]}
    while True:
        more = {row for row in left if readers[row] & needed or any(job[row] == job[n] for n in needed)}
        if more <= needed:
            break
        needed |= more
    mask = np.array([row in left for row in rows], np.bool_)
    assert set(np.flatnonzero(not_needed(plan, mask)).tolist()) == left - needed


def test_prototypes_do_not_make_a_task_worth_running():
    isr, align, *_ = pipeline_of({"isr"}, prototypes=("log",)).tasks
    assert (is_passing(isr), is_passing(align)) == (True, False)


def test_it_is_policy_for_the_run_and_the_verifier_agrees(tmp_path):
    plain, other = plan_of(()), plan_of({"isr"})
    assert other.pipeline_digest == plain.pipeline_digest
    assert other.tables["quanta"]["recipe"].equals(plain.tables["quanta"]["recipe"])
    assert other.id != plain.id  # else the plan would stand as it was written before
    assert other.document["pipeline"]["tasks"][0]["unretained"] == ["isr"]
    assert all("unretained" not in task for task in plain.document["pipeline"]["tasks"])
    assert rules.pipeline_digest(other.document["pipeline"]) == other.pipeline_digest
    path = write_plan(other, tmp_path)
    assert verify(path).findings == ()
    assert [o.retained for t in open_plan(path).definition.tasks for o in t.outputs] == [
        False,
        True,
        True,
        True,
    ]


TOP = """\
schema: prestow.pipeline/1
name: toy
code: [tasks]
dataset_types:
  raw: {dimensions: [exposure, detector], format: json}
tasks:
"""
ISR = """\
  isr:
    dimensions: [visit, detector]
    run: tasks.isr:run
    inputs: {raw: raw}
    outputs: {isr: {type: isr, dimensions: [visit, detector], format: json, retained: false}}
"""
BESIDE = (
    "from prestow.tasks import task\n\n"
    "@task(dimensions=['visit', 'detector'], inputs={'raw': 'raw'}, outputs={'isr': {'type': 'isr',\n"
    "      'dimensions': ['visit', 'detector'], 'format': 'json', 'retained': False}})\ndef run(quantum): ...\n"
)


def load(place, text, code="def run(quantum): ...\n"):
    (place / "tasks").mkdir(exist_ok=True)
    (place / "tasks" / "isr.py").write_text(code)
    (place / "pipeline.yaml").write_text(TOP + text)
    return load_pipeline(place / "pipeline.yaml", load_universe())


def test_it_is_said_in_the_file_or_beside_the_code(tmp_path):
    here, beside = load(tmp_path, ISR), load(tmp_path, "  isr: tasks.isr:run\n", BESIDE)
    assert [o.retained for o in here.tasks[0].outputs] == [False]
    assert here.tasks[0].outputs == beside.tasks[0].outputs
    assert pipeline_from_plain(pipeline_to_plain(here)).tasks[0].outputs == here.tasks[0].outputs


def test_what_is_neither_true_nor_false_is_refused(tmp_path):
    with pytest.raises(ConfigurationError) as caught:
        load(tmp_path, ISR.replace("retained: false", "retained: maybe"))
    (problem,) = caught.value.problems
    assert (problem.code, "true or false" in problem.what) == ("PST-C011", True)
    assert ":11:" in problem.where
