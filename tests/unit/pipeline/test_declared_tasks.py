"""Tasks declared beside their code, and dataset types defined where they are used."""

import importlib.util
import textwrap

import pytest

from prestow.errors import ConfigurationError
from prestow.naming.universe import load_universe
from prestow.pipeline import OnFailure, load_pipeline, task_digests
from prestow.plan.document import pipeline_digest, pipeline_from_plain, pipeline_to_plain
from prestow.query import check_selection

UNIVERSE = load_universe()

TOP = """\
schema: prestow.pipeline/1
name: toy
code: [tasks]
dataset_types:
  raw: {dimensions: [exposure, detector], format: json}
  calexp: {dimensions: [visit, detector], format: json}
tasks:
  isr: {dimensions: [visit, detector], run: "tasks.isr:run", inputs: {raw: raw}, outputs: {calexp: calexp}}
"""

ISR = "def run(quantum): ...\n"

SHARP = '''
from dataclasses import dataclass
from prestow.tasks import Quantum, task

@dataclass
class Config:
    width: float = 3

@task(
    dimensions=("visit", "detector"),
    inputs={"calexp": {"type": "calexp", "where": "detector < 4", "minimum": 1}},
    outputs={
        "sharp": {"type": "sharp", "dimensions": ["visit", "detector"], "format": "yaml"},
        "table": {"type": "table", "dimensions": ["visit", "detector"], "format": "parquet", "optional": True,
                  "columns": {"x": "float64", "id": "int64"}, "template": "{run}/t/{instrument}-{visit}-{detector}.parquet"},
    },
    on_failure="tolerate", tries=2, hints={"cpu_seconds": -0 + 1} if False else {"cpu_seconds": 3},
)
def run(quantum: Quantum, config: Config):
    """Measure."""
'''.replace('{"cpu_seconds": -0 + 1} if False else ', "")

LINE = "  sharp: tasks.sharp:run\n"


@pytest.fixture
def place(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "isr.py").write_text(ISR)
    return tmp_path


def load(place, text=TOP + LINE, sharp=SHARP, **options):
    (place / "tasks" / "sharp.py").write_text(textwrap.dedent(sharp))
    (place / "pipeline.yaml").write_text(text)
    return load_pipeline(place / "pipeline.yaml", UNIVERSE, check_where=check_selection, **options)


def problems(place, text=TOP + LINE, sharp=SHARP):
    with pytest.raises(ConfigurationError) as caught:
        load(place, text, sharp)
    return caught.value.problems


def places(found, place):
    return [(p.code, p.where.removeprefix(f"{place}/")) for p in found]


def spot(text, needle):
    """Give line and column of where a piece of text begins, the last of them."""
    before = text[: text.rindex(needle)]
    return f"{before.count(chr(10)) + 1}:{len(before) - before.rfind(chr(10))}"


def test_one_line_of_the_pipeline_is_enough(place):
    pipeline = load(place)
    task = pipeline.task("sharp")
    assert task.dimensions == ("detector", "instrument", "visit")
    assert (task.entry, task.config_class, task.config) == ("tasks.sharp:run", "Config", {"width": 3.0})
    assert (task.on_failure, task.tries, task.hints) == (OnFailure.TOLERATE, 2, {"cpu_seconds": 3.0})
    assert (task.inputs[0].where, task.inputs[0].minimum) == ("detector < 4", 1)
    assert [(o.name, o.type, o.optional) for o in task.outputs] == [
        ("sharp", "sharp", False), ("table", "table", True),
    ]  # fmt: skip
    sharp, table = pipeline.dataset_types["sharp"], pipeline.dataset_types["table"]
    assert (sharp.format, sharp.template, sharp.columns) == (
        "yaml", "{run}/sharp/sharp-{detector}-{instrument}-{visit}.yaml", (),
    )  # fmt: skip
    assert table.columns == (("x", "float64"), ("id", "int64"))
    assert table.template == "{run}/t/{instrument}-{visit}-{detector}.parquet"


def test_it_is_the_same_task_as_the_one_written_in_the_pipeline(place):
    text = TOP.replace("tasks:\n", "  sharp: {dimensions: [visit, detector], format: yaml}\ntasks:\n") + (
        "  sharp: {dimensions: [visit, detector], run: 'tasks.sharp:run', inputs: {calexp: calexp}, outputs: {sharp: sharp}}\n"
    )
    bare = "@task(dimensions=['visit', 'detector'], inputs={'calexp': 'calexp'}, outputs={'sharp': SHARP})\n"
    inline = "{'type': 'sharp', 'dimensions': ['visit', 'detector'], 'format': 'yaml'}"
    head, run = "from prestow.tasks import task\n", "def run(quantum): ...\n"
    beside = load(place, sharp=head + bare.replace("SHARP", inline) + run)
    both = load(place, text, sharp=head + bare.replace("SHARP", "'sharp'") + run)
    written = load(place, text, sharp=head + "\n" + run)
    plain = pipeline_to_plain(written) | {"code": None}
    assert pipeline_to_plain(beside) | {"code": None} == plain
    assert pipeline_to_plain(both) | {"code": None} == plain


def test_the_decorator_does_nothing_when_it_runs(place):
    load(place)
    found = importlib.util.spec_from_file_location("a_task_of_its_own", place / "tasks" / "sharp.py")
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    assert module.run.__doc__ == "Measure."
    assert module.run(None, None) is None


def test_policies_of_the_pipeline_win_and_it_is_known_where_each_value_stands(place):
    text = TOP + "  sharp: {run: 'tasks.sharp:run', tries: 5, config: {width: 7}, ignore: ['*.tmp']}\n"
    task = load(place, text).task("sharp")
    assert (task.tries, task.on_failure, task.config) == (5, OnFailure.TOLERATE, {"width": 7.0})
    beside, here = f"{place}/tasks/sharp.py", f"{place}/pipeline.yaml:9"
    assert task.origin == {
        "dimensions": f"{beside}:10", "inputs": f"{beside}:11", "outputs": f"{beside}:12", "tries": here,
        "on_failure": f"{beside}:17", "hints": f"{beside}:17", "ignore": here, "run": here,
    }  # fmt: skip
    assert task.config_origin == {"width": here}
    assert load(place).task("sharp").origin["run"] == here


def test_what_is_made_must_agree_where_two_places_say_it(place):
    text = TOP + "  sharp: {run: 'tasks.sharp:run', dimensions: [visit, detector], outputs: {other: sharp}}\n"
    (problem,) = problems(place, text)
    assert places([problem], place) == [("PST-C031", f"pipeline.yaml:{spot(text, 'outputs: {other')}")]
    assert f"{place}/tasks/sharp.py:12:13" in problem.what


@pytest.mark.parametrize(
    "head",
    ["from prestow.tasks import task as declare", "import prestow.tasks as declare", "from prestow import tasks as declare"],
)  # fmt: skip
def test_the_decorator_is_known_by_any_name(place, head):
    name = "declare" if head.endswith("task as declare") else "declare.task"
    made = SHARP.replace("from prestow.tasks import Quantum, task", head).replace("@task(", f"@{name}(")
    assert load(place, sharp=made.replace("quantum: Quantum", "quantum")).task("sharp").tries == 2


def test_another_decorator_of_that_name_says_nothing(place):
    made = SHARP.replace("from prestow.tasks import Quantum, task", "from elsewhere import task")
    (problem,) = problems(place, sharp=made)
    assert places([problem], place) == [("PST-C012", "pipeline.yaml:9:10")]
    assert "@task(dimensions=[…], outputs={…})" in problem.fix


@pytest.mark.parametrize(
    ("old", "new", "code", "at", "said"),
    [
        ('"yaml"', "FORMAT", "PST-C032", "FORMAT", "not a literal: FORMAT"),
        ('"yaml"', 'f"{x}"', "PST-C032", 'f"{x}"', "not a literal"),
        ("tries=2", "tries=1 + 1", "PST-C032", "1 + 1", "1 + 1"),
        ("tries=2", "**more", "PST-C032", "**more", "**more"),
        ("tries=2", "triess=2", "PST-C010", "triess=2", "did you mean 'tries'?"),
        ("tries=2", "tries=0", "PST-C013", "0, hints", "at least 1"),
        ("tries=2", "config={}", "PST-C010", "config={}", "takes no 'config'"),
        ('"detector < 4"', '"detectr < 4"', "PST-C027", '"detectr < 4"', "detectr"),
        ('("visit", "detector")', '("visit", "detektor")', "PST-C023", '"detektor"', "detektor"),
        ('"float64"', '"double"', "PST-C033", '"double"', "unknown column type 'double'"),
        ('"parquet"', '"yaml"', "PST-C033", '"columns"', "the format 'yaml' has no columns"),
        ('"type": "sharp", ', "", "PST-C012", '{"dimensions": ["visit", "detector"], "format": "yaml"', "'type' is missing"),
        ('"format": "yaml"', '"template": "{run}/x"', "PST-C012", '{"type": "sharp"', "'format' is missing"),
        ("{run}/t/{instrument}-", "{run}/t/", "PST-C030", '"{run}/t/', "{instrument} is missing"),
        ("from prestow.tasks import Quantum, task", "", "PST-C032", "task(", "from prestow.tasks import task"),
        ('    dimensions=("visit", "detector"),\n', "", "PST-C012", "task(", "'dimensions' is missing"),
    ],
)  # fmt: skip
def test_a_fault_is_named_once_in_the_module(place, old, new, code, at, said):
    assert SHARP.count(old) == 1
    sharp = SHARP.replace(old, new)
    (problem,) = problems(place, sharp=sharp)
    assert places([problem], place) == [(code, f"tasks/sharp.py:{spot(sharp, at)}")]
    assert said in f"{problem.what} {problem.fix}"


def test_everything_wrong_is_said_at_once(place):
    bad = (
        SHARP.replace('"yaml"', "FORMAT")
        .replace("tries=2", "triess=2")
        .replace('"visit", "detector")', '"visit", here())')
    )
    found = problems(place, TOP.replace("raw: raw", "raw: rar") + LINE, bad)
    assert [p.code for p in found] == ["PST-C032", "PST-C032", "PST-C010"]
    assert "here()" in found[0].what


def test_a_bare_decorator_and_values_without_names_are_refused(place):
    head, run = "from prestow.tasks import task\n", "def run(quantum): ...\n"
    for decorator in ("@task", '@task(["visit"])', "@task()\n@task()"):
        codes = [p.code for p in problems(place, sharp=f"{head}{decorator}\n{run}")]
        assert "PST-C032" in codes


def test_two_places_that_define_one_type_differently_are_both_named(place):
    text = TOP.replace("tasks:\n", "  sharp: {dimensions: [visit], format: json}\ntasks:\n") + LINE
    (problem,) = problems(place, text)
    assert places([problem], place) == [("PST-C031", "tasks/sharp.py:13:18")]
    assert f"{place}/pipeline.yaml:{spot(text, '{dimensions: [visit], format')}" in problem.what
    assert "[instrument, visit] there, [detector, instrument, visit] here" in problem.what
    assert "'json' there, 'yaml' here" in problem.what


def test_two_tasks_that_define_one_type_differently_are_both_named(place):
    text = TOP.replace(
        "outputs: {calexp: calexp}",
        "outputs: {calexp: {type: calexp, dimensions: [visit, detector], format: fits}}",
    )
    text = text.replace("  calexp: {dimensions: [visit, detector], format: json}\n", "")
    calexp = '{"type": "calexp", "dimensions": ["visit", "detector"], "format": "json", "where"'
    (problem,) = problems(place, text + LINE, SHARP.replace('{"type": "calexp", "where"', calexp))
    assert (problem.code, problem.where) == ("PST-C031", f"{place}/tasks/sharp.py:11:23")
    assert f"{place}/pipeline.yaml:{spot(text, '{type: calexp')}" in problem.what


def test_a_type_may_be_defined_equally_in_two_places_and_completed(place):
    text = TOP.replace(
        "tasks:\n",
        '  sharp: {dimensions: [detector, visit], format: yaml, template: "{run}/s/{instrument}-{visit}-{detector}"}\ntasks:\n',
    )
    assert (
        load(place, text + LINE).dataset_types["sharp"].template == "{run}/s/{instrument}-{visit}-{detector}"
    )


def test_an_external_type_may_be_defined_at_its_input(place):
    raw = "raw: {type: raw, dimensions: [exposure, detector], format: json, where: 'detector = 1'}"
    text = TOP.replace("  raw: {dimensions: [exposure, detector], format: json}\n", "").replace(
        "raw: raw", raw
    )
    pipeline = load(place, text + LINE)
    assert (pipeline.dataset_types["raw"].format, pipeline.dataset_types["raw"].template) == ("json", "")
    named = text.replace("format: json, where", 'format: json, template: "{run}/x", where')
    (problem,) = problems(place, named + LINE)
    assert (problem.code, "no task writes 'raw'" in problem.what) == ("PST-C013", True)


def test_a_pipeline_needs_no_section_of_dataset_types(place):
    text = TOP[: TOP.index("dataset_types:")] + "tasks:\n" + LINE
    calexp = '{"type": "calexp", "dimensions": ["visit", "detector"], "format": "json", "where"'
    assert set(load(place, text, SHARP.replace('{"type": "calexp", "where"', calexp)).dataset_types) == {
        "calexp", "sharp", "table",
    }  # fmt: skip


# ---- columns

TABLES = """\
schema: prestow.pipeline/1
name: toy
code: [tasks]
dataset_types:
  raw: {dimensions: [exposure, detector], format: json}
  sources: {dimensions: [exposure, detector], format: parquet, columns: {x: float64, id: int64}}
tasks:
  find: {dimensions: [exposure, detector], run: "tasks.isr:run", inputs: {raw: raw}, outputs: {sources: sources}}
"""


def test_other_columns_are_another_product_and_none_are_as_before(place):
    with_columns, without = (
        load(place, TABLES),
        load(place, TABLES.replace(", columns: {x: float64, id: int64}", "")),
    )
    other = load(place, TABLES.replace("x: float64", "x: float32"))
    for of in (pipeline_digest, lambda p: task_digests(p)["find"]):
        assert len({of(with_columns), of(without), of(other)}) == 3
    assert "columns" not in str(pipeline_to_plain(without))
    again = pipeline_from_plain(pipeline_to_plain(with_columns))
    assert again.dataset_types == with_columns.dataset_types


@pytest.mark.parametrize(
    ("old", "new", "code", "at", "said"),
    [
        ("format: parquet", "format: json", "PST-C033", "columns", "formats with columns: "),
        ("x: float64", "x: flaot64", "PST-C033", "flaot64", "did you mean 'float64'?"),
        ("x: float64", "3: float64", "PST-C011", "3: float64", "3 is not the name of a column"),
        ("{x: float64, id: int64}", "{}", "PST-C013", "{}}", "no column is named"),
        ("{x: float64, id: int64}", "[x]", "PST-C011", "[x]", "must be a mapping"),
    ],
)
def test_wrong_columns_are_named_at_their_place(place, old, new, code, at, said):
    text = TABLES.replace(old, new)
    (problem,) = problems(place, text)
    assert places([problem], place) == [(code, f"pipeline.yaml:{spot(text, at)}")]
    assert said in f"{problem.what} {problem.fix}"


@pytest.mark.parametrize(("maximum", "code"), [("0", "PST-C013"), ("-3", "PST-C013"), ("many", "PST-C011")])
def test_a_cluster_holds_at_least_one_group(place, maximum, code):
    cluster = f"clusters: {{many: {{tasks: [find], dimensions: [exposure], maximum: {maximum}}}}}\n"
    text = TABLES + cluster
    assert places(problems(place, text), place) == [(code, f"pipeline.yaml:{spot(text, f'{maximum}}}}}')}")]
