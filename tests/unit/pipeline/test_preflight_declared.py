"""Prerequisites and pre-flight hooks, in a pipeline's file and beside the code."""

import pytest

from prestow.errors import ConfigurationError
from prestow.naming.universe import load_universe
from prestow.pipeline import load_pipeline
from prestow.plan.document import definition_digest, pipeline_from_plain, pipeline_to_plain

UNIVERSE = load_universe()
TOP = """\
schema: prestow.pipeline/1
name: toy
code: [tasks]
dataset_types:
  raw: {dimensions: [exposure, detector], format: json}
  flat: {dimensions: [physical_filter, detector], format: json}
  isr: {dimensions: [visit, detector], format: json}
tasks:
"""
ISR = """\
  isr:
    dimensions: [visit, detector]
    run: tasks.isr:run
    inputs: {raw: raw, flat: {type: flat, prerequisite: true}}
    outputs: {isr: isr}
    preflight: tasks.isr:hook
"""
CODE = "def run(quantum): ...\n\ndef hook(view): ...\n\ndef two(view, more): ...\n"


def load(place, text, code=CODE):
    (place / "tasks").mkdir(exist_ok=True)
    (place / "tasks" / "isr.py").write_text(code)
    (place / "pipeline.yaml").write_text(TOP + text)
    return load_pipeline(place / "pipeline.yaml", UNIVERSE)


def test_both_are_read_and_come_back_from_a_plan(tmp_path):
    pipeline = load(tmp_path, ISR)
    (isr,) = pipeline.tasks
    assert [c.prerequisite for c in isr.inputs] == [False, True]
    assert isr.preflight == "tasks.isr:hook"
    assert isr.origin["preflight"].endswith("pipeline.yaml:14")
    again = pipeline_from_plain(pipeline_to_plain(pipeline))
    assert (again.tasks[0].inputs, again.tasks[0].preflight) == (isr.inputs, isr.preflight)


def test_what_is_not_said_leaves_a_plan_as_it_was(tmp_path):
    plain = pipeline_to_plain(
        load(tmp_path, ISR.replace(", prerequisite: true", "").replace("    preflight: tasks.isr:hook\n", ""))
    )
    assert "preflight" not in plain["tasks"][0]
    assert all("prerequisite" not in c for c in plain["tasks"][0]["inputs"])
    assert definition_digest(load(tmp_path, ISR)) != definition_digest(
        load(tmp_path, ISR.replace(", prerequisite: true", ""))
    )


def test_the_decorator_says_the_same(tmp_path):
    code = (
        "from prestow.tasks import task\n\ndef hook(view): ...\n\n"
        "@task(dimensions=['visit', 'detector'], inputs={'raw': 'raw', 'flat': {'type': 'flat', 'prerequisite': True}},\n"
        "      outputs={'isr': 'isr'}, preflight='tasks.isr:hook')\ndef run(quantum): ...\n"
    )
    beside, here = load(tmp_path, "  isr: tasks.isr:run\n", code), load(tmp_path, ISR)
    assert (beside.tasks[0].inputs, beside.tasks[0].preflight) == (
        here.tasks[0].inputs,
        here.tasks[0].preflight,
    )


@pytest.mark.parametrize(
    ("old", "new", "code", "told"),
    [
        ("tasks.isr:hook", "tasks.isr:hock", "PST-C072", "there is no function 'hock'"),
        ("tasks.isr:hook", "tasks.irs:hook", "PST-C072", "there is no module 'tasks.irs'"),
        ("tasks.isr:hook", "hook", "PST-C072", "'hook' is not a hook"),
        ("tasks.isr:hook", "tasks.isr:two", "PST-C072", "takes one view"),
        ("tasks.isr:hook", "3", "PST-C011", "must be text"),
        ("prerequisite: true", "prerequisite: yes please", "PST-C011", "must be true or false"),
        (
            "prerequisite: true",
            "prerequisite: true, minimum: 0",
            "PST-C013",
            "an optional input is no prerequisite",
        ),
        ("preflight:", "prefligth:", "PST-C010", "unknown key 'prefligth'"),
    ],
)
def test_what_is_wrong_is_said_at_its_place(tmp_path, old, new, code, told):
    with pytest.raises(ConfigurationError) as error:
        load(tmp_path, ISR.replace(old, new))
    (problem,) = error.value.problems
    assert (problem.code, told in problem.what) == (code, True), problem
    assert "pipeline.yaml:1" in problem.where
