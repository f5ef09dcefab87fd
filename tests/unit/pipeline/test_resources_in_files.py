"""Resources, hints and clusters as a person writes them: read, and each mistake at its own column."""

from pathlib import Path

import pytest

from prestow.errors import PrestowError
from prestow.naming.universe import load_universe
from prestow.pipeline import load_pipeline

TEXT = """schema: prestow.pipeline/1
name: toy
dataset_types:
  raw: {{dimensions: [exposure, detector], format: fits}}
  a: {{dimensions: [visit, detector], format: json}}
  b: {{dimensions: [visit, detector], format: json}}
tasks:
  first:
    dimensions: [visit, detector]
    command: [make, "{{outputs.a}}"]
    inputs: {{raw: raw}}
    outputs: {{a: a}}
    resources: {resources}
  second:
    dimensions: [visit, detector]
    command: [make, "{{outputs.b}}"]
    inputs: {{a: a}}
    outputs: {{b: b}}
clusters:
  chain: {cluster}
"""


def load(place: Path, resources="{}", cluster="{tasks: [first, second]}"):
    file = place / "pipeline.yaml"
    file.write_text(TEXT.format(resources=resources, cluster=cluster))
    return load_pipeline(file, load_universe())


def test_numbers_stay_numbers_and_the_rest_is_kept_as_it_was_said(tmp_path):
    task = load(
        tmp_path, "{memory: 2 GB, cores: n_raw, walltime: 10 min, disk: 1.5 * input_bytes + visit}"
    ).task("first")
    assert task.resources == {"memory": 2_000_000_000, "walltime": 600.0}
    assert task.expressions == {"cores": "n_raw", "disk": "1.5 * input_bytes + visit"}


def test_a_chain_needs_no_dimensions(tmp_path):
    (cluster,) = load(tmp_path).clusters
    assert (cluster.dimensions, cluster.maximum, cluster.limits) == (
        ("detector", "instrument", "visit"),
        1,
        {},
    )


def test_a_maximum_may_say_how_much(tmp_path):
    said = "{tasks: [first, second], maximum: {cpu: 2 h, bytes: 10 GB, inputs: 500, groups: 7}}"
    (cluster,) = load(tmp_path, cluster=said).clusters
    assert cluster.maximum == 7
    assert cluster.limits == {"cpu_seconds": 7200.0, "bytes": 1e10, "inputs": 500.0}


@pytest.mark.parametrize(
    ("resources", "character", "code", "says"),
    [
        ("{memory: 2 GB + 60 MB * n_imputs}", "n_imputs", "PST-C075", "did you mean 'n_inputs'?"),
        ("{memory: '2 GB + band'}", "band", "PST-C075", "known here: n_inputs"),
        ("{walltime: 10 min + 2 GB}", "GB", "PST-C075", "units here: ms, s, min, h, d"),
        ("{memory: 2 XB}", "2 XB", "PST-C011", "kB"),
        ("{memry: 2 GB}", "memry", "PST-C010", "did you mean 'memory'?"),
    ],
)
def test_a_mistake_is_pointed_at(tmp_path, resources, character, code, says):
    with pytest.raises(PrestowError) as caught:
        load(tmp_path, resources)
    (problem,) = caught.value.problems
    line = next(
        i
        for i, text in enumerate((tmp_path / "pipeline.yaml").read_text().splitlines())
        if "resources" in text
    )
    column = len("    resources: ") + resources.index(character) + 1
    assert problem.code == code
    assert problem.where.endswith(f"pipeline.yaml:{line + 1}:{column}")
    assert says in problem.fix


@pytest.mark.parametrize(
    ("maximum", "code"),
    [("{}", "PST-C076"), ("{cpu: 0}", "PST-C076"), ("{cpus: 1 h}", "PST-C010"), ("{quanta: 0}", "PST-C013")],
)
def test_a_maximum_that_says_nothing_is_refused(tmp_path, maximum, code):
    with pytest.raises(PrestowError) as caught:
        load(tmp_path, cluster=f"{{tasks: [first], maximum: {maximum}}}")
    assert code in [problem.code for problem in caught.value.problems]
