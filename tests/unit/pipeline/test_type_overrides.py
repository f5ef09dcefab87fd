"""The format and the template of a dataset type, chosen in the request."""

import pytest

from prestow.errors import ConfigurationError
from prestow.naming.universe import load_universe
from prestow.pipeline import load_pipeline, task_digests
from prestow.plan.document import pipeline_digest

UNIVERSE = load_universe()

TEXT = """\
schema: prestow.pipeline/1
name: toy
dataset_types:
  raw: {dimensions: [exposure, detector], format: fits}
  cat: {dimensions: [exposure, detector], format: fits, columns: {id: int64}, template: "{run}/{instrument}/{exposure}/c{detector}.fits"}
  odd: {dimensions: [exposure, detector], format: fits, template: "{run}/o/{instrument}/{exposure}-{detector}.cat"}
  plain: {dimensions: [exposure, detector], format: fits}
tasks:
  find:
    dimensions: [exposure, detector]
    command: find {inputs.raw} {outputs.cat} {outputs.odd} {outputs.plain}
    inputs: {raw: raw}
    outputs: {cat: cat, odd: odd, plain: plain}
    prototypes: [log]
"""


@pytest.fixture
def load(tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(TEXT)
    return lambda *overrides: load_pipeline(path, UNIVERSE, overrides=overrides)


def test_the_planned_name_gets_the_suffix_of_the_chosen_format(load):
    types = load(
        "types.cat.format=parquet", "types.odd.format=parquet", "types.plain.format=parquet"
    ).dataset_types
    assert {types[name].format for name in ("cat", "odd", "plain")} == {"parquet"}
    assert types["cat"].template == "{run}/{instrument}/{exposure}/c{detector}.parquet"
    assert types["odd"].template == "{run}/o/{instrument}/{exposure}-{detector}.cat"
    assert types["plain"].template == "{run}/plain/plain-{detector}-{exposure}-{instrument}.parquet"
    assert types["cat"].columns == (("id", "int64"),)


@pytest.mark.parametrize("quote", ["", "'", '"'])
def test_a_template_of_the_request_stands_as_it_is(load, quote):
    text = "{run}/t/{instrument}/{exposure}/{detector}.fits"
    for order in (1, -1):
        given = ["types.cat.format=parquet", f"types.cat.template={quote}{text}{quote}"][::order]
        assert load(*given).dataset_types["cat"].template == text


def test_another_format_is_another_recipe_and_another_pipeline(load):
    before, same, after = load(), load("types.cat.format=fits"), load("types.cat.format=parquet")
    assert pipeline_digest(before) == pipeline_digest(same) != pipeline_digest(after)
    assert task_digests(before) == task_digests(same) != task_digests(after)
    moved = load("types.cat.template={run}/t/{instrument}/{exposure}/{detector}.fits")
    assert task_digests(moved) == task_digests(before)
    assert pipeline_digest(moved) != pipeline_digest(before)


@pytest.mark.parametrize(
    ("line", "code", "fix"),
    [
        ("types.cot.format=parquet", "PST-C020", "did you mean 'cat'?"),
        ("types.cat.formt=parquet", "PST-C010", "did you mean 'format'?"),
        ("types.cat.columns={}", "PST-C010", "known: format, template"),
        ("types.cat.format=parqet", "PST-C024", "did you mean 'parquet'?"),
        ("types.cat.format=json", "PST-C033", "formats with columns: fits, parquet"),
        ("types.raw.format=parquet", "PST-C036", "prestow convert"),
        ("types.find_log.format=yaml", "PST-C036", "leave it out"),
        ("types.cat.template=", "PST-C013", "leave it out"),
        ("types.cat.template={run}/{instrument}/{exposure}.fits", "PST-C030", ""),
        ("types.cat.template={run}/o/{instrument}/{exposure}-{detector}.cat", "PST-C030", "{type}"),
        ("types.cat=parquet", "PST-C010", "types.NAME.format"),
    ],
)
def test_what_cannot_be_chosen_is_refused_where_it_was_typed(load, line, code, fix):
    with pytest.raises(ConfigurationError) as caught:
        load(line)
    (problem,) = caught.value.problems
    assert (problem.code, problem.where) == (code, f"--set {line}")
    assert fix in problem.fix


def test_all_that_is_wrong_is_told_at_once(load):
    with pytest.raises(ConfigurationError) as caught:
        load("types.cot.format=parquet", "types.odd.format=hdf5", "find.x.y=[", "nobody.k=1")
    assert {p.code for p in caught.value.problems} == {"PST-C020", "PST-C024", "PST-C011", "PST-C010"}


def test_a_task_may_be_called_types(tmp_path):
    path = tmp_path / "pipeline.yaml"
    path.write_text(
        TEXT.replace("  find:", "  types:").replace("command: find", "config: {deep: 1}\n    command: find")
    )
    pipeline = load_pipeline(path, UNIVERSE, overrides=["types.deep=2"])
    assert pipeline.task("types").config == {"deep": 2}
