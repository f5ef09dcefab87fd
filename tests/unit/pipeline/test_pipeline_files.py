import shutil

import pytest

from prestow.errors import ConfigurationError, Exit
from prestow.naming.universe import load_universe
from prestow.pipeline import OnFailure, compile_templates, load_pipeline, task_digests
from prestow.plan.document import definition_digest, pipeline_digest
from prestow.query import check_selection

UNIVERSE = load_universe()

TASK = """
from dataclasses import dataclass

@dataclass
class Config:
    sigma: float = 3
    name: str = "x"

def run(quantum, config: Config): ...
def simple(quantum): ...
"""

GOOD = """\
schema: prestow.pipeline/1
name: toy
code: [tasks]
dataset_types:
  raw: {dimensions: [exposure, detector], format: json}
  isr: {dimensions: [exposure, ccd], format: json, template: "{run}/isr/{instrument}-{exposure:06d}-{detector}.json"}
  total: {dimensions: [exposure], format: json}
tasks:
  sum:
    dimensions: [exposure]
    command: python -m tasks.sum {inputs.isr} "{outputs.total}" k={config.k} {data_id.exposure} {seed}
    config: {k: 3, deep: [1, {a: 2}]}
    inputs: {isr: {type: isr, minimum: 0.5, where: "detector != 3"}}
    outputs: {total: total}
    resources: {memory: 2GB, cores: 1}
    hints: {cpu_seconds: 3, output_bytes: 8e6}
    prototypes: [log]
  isr:
    dimensions: [exposure, detector]
    run: tasks.isr:run
    config: {sigma: 4}
    where: exposure_time > 10
    inputs: {raw: raw}
    outputs: {isr: {type: isr, optional: true}}
    on_failure: tolerate
    tries: 2
    ignore: ["*.tmp"]
clusters:
  both: {tasks: [isr], dimensions: [exposure]}
"""


@pytest.fixture
def place(tmp_path):
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks" / "isr.py").write_text(TASK)
    return tmp_path


def load(place, text=GOOD, **options):
    (place / "pipeline.yaml").write_text(text)
    return load_pipeline(place / "pipeline.yaml", UNIVERSE, check_where=check_selection, **options)


def problems(place, text, **options):
    with pytest.raises(ConfigurationError) as caught:
        load(place, text, **options)
    return [(p.code, p.where.removeprefix(f"{place}/pipeline.yaml:")) for p in caught.value.problems]


def test_a_good_pipeline_is_read_whole(place):
    pipeline = load(place)
    isr, total = pipeline.tasks
    assert (isr.label, total.label) == ("isr", "sum")
    assert isr.dimensions == ("detector", "exposure", "instrument")
    assert (isr.entry, isr.config_class, isr.on_failure, isr.tries) == (
        "tasks.isr:run", "Config", OnFailure.TOLERATE, 2,
    )  # fmt: skip
    assert isr.config == {"sigma": 4.0, "name": "x"}
    assert isr.config_origin == {"sigma": f"{place}/pipeline.yaml:21", "name": "default"}
    assert isr.outputs[0].optional
    assert total.command[:4] == ("python", "-m", "tasks.sum", "{inputs.isr}")
    assert total.inputs[0].minimum == 0.5
    assert total.resources == {"memory": 2_000_000_000, "cores": 1}
    assert total.hints == {"cpu_seconds": 3.0, "output_bytes": 8e6}
    assert [(o.name, o.type) for o in total.outputs] == [("total", "total"), ("_log", "sum_log")]
    assert pipeline.dataset_types["raw"].template == ""
    assert pipeline.dataset_types["total"].template == "{run}/total/total-{exposure}-{instrument}.json"
    assert pipeline.dataset_types["sum_log"].dimensions == ("exposure", "instrument")
    assert set(compile_templates(pipeline, UNIVERSE)) == {"isr", "total", "sum_log"}
    assert pipeline.clusters[0].dimensions == ("exposure", "instrument")


def test_the_digest_of_a_pipeline_does_not_depend_on_where_it_lies(place, tmp_path):
    digest = pipeline_digest(load(place))
    other = tmp_path / "o' #"
    other.mkdir()
    shutil.copytree(place / "tasks", other / "tasks")
    assert pipeline_digest(load(other)) == digest


def test_a_run_is_bound_to_what_is_made_and_not_to_how(place):
    digest = pipeline_digest(load(place))
    for old, new in [("2GB", "3GB"), ("cpu_seconds: 3", "cpu_seconds: 4"), ("tolerate", "stop")]:
        assert pipeline_digest(load(place, GOOD.replace(old, new))) == digest
    for old, new in [("sigma: 4", "sigma: 5"), ("0.5", "0.6"), ("{exposure:06d}", "{exposure:05d}")]:
        assert pipeline_digest(load(place, GOOD.replace(old, new))) != digest
    assert definition_digest(load(place, GOOD.replace("tolerate", "stop"))) != definition_digest(load(place))


def test_a_whole_number_and_its_float_are_one_configuration(place):
    texts = {
        pipeline_digest(load(place, GOOD.replace("sigma: 4", f"sigma: {v}"))) for v in ("4", "4.0", "4e0")
    }
    assert len(texts) == 1


def test_the_digest_of_a_task_follows_what_it_makes_and_not_how_it_is_run(place):
    digests = task_digests(load(place))
    for old, new in [("tries: 2", "tries: 3"), ("tolerate", "stop"), ("{exposure:06d}", "{exposure:05d}")]:
        assert task_digests(load(place, GOOD.replace(old, new))) == digests
    changed = task_digests(load(place, GOOD, overrides=["isr.sigma=9"]))
    assert (changed["sum"], changed["isr"] == digests["isr"]) == (digests["sum"], False)
    (place / "tasks" / "isr.py").write_text(TASK + "# more\n")
    assert not set(task_digests(load(place)).values()) & set(digests.values())


def test_values_of_the_command_line_win_and_say_so(place):
    pipeline = load(place, overrides=["isr.sigma=1e-2", "isr.name=a b", "sum.k=[1, 2]"])
    assert pipeline.task("isr").config == {"sigma": 0.01, "name": "a b"}
    assert pipeline.task("isr").config_origin == {"sigma": "--set", "name": "--set"}
    assert pipeline.task("sum").config["k"] == [1, 2]
    assert load(place, overrides={"isr.sigma": "0.01"}).task("isr").config["sigma"] == 0.01


def test_values_of_the_command_line_are_checked(place):
    found = problems(
        place, GOOD, overrides=["isr.sigma=x", "isr.sgma=1", "iser.x=1", "what", "isr.name=[", "a.b"]
    )
    assert sorted(found) == [
        ("PST-C010", "--set iser.x=1"),
        ("PST-C010", "--set isr.sgma=1"),
        ("PST-C011", "--set isr.name=["),
        ("PST-C011", "--set isr.sigma=x"),
        ("PST-G005", "--set a.b"),
        ("PST-G005", "--set what"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "code", "where"),
    [
        ("name: toy", "name: toy\ncolour: red", "PST-C010", "3:1"),
        ("name: toy", "name: 3", "PST-C011", "2:7"),
        ("pipeline/1", "pipeline/2", "PST-C014", "1:9"),
        ("code: [tasks]", "code: [tasks, nothing]", "PST-C025", "3:15"),
        ("code: [tasks]", "code: [tasks, ./tasks]", "PST-C013", "3:15"),
        ("command:", "commandx:", "PST-C010", "11:5"),
        ("[exposure, ccd]", "[exposre, ccd]", "PST-C023", "6:22"),
        ("raw: {dimensions: [exposure, detector], format: json}", "raw: {dimensions: [exposure, detector], format: fts}", "PST-C024", "5:51"),
        ("inputs: {raw: raw}", "inputs: {raw: rar}", "PST-C020", "23:19"),
        ("minimum: 0.5", "minimum: 1.5", "PST-C013", "13:40"),
        ("minimum: 0.5", "minimum: -1", "PST-C013", "13:40"),
        ("minimum: 0.5", "minimum: most", "PST-C011", "13:40"),
        ("{inputs.isr}", "{inputs.isrr}", "PST-C013", "11:14"),
        ("{config.k}", "{config.kk}", "PST-C013", "11:14"),
        ('"{outputs.total}"', '"{outputs.total}', "PST-C013", "11:14"),
        ("command: python", "run: tasks.isr:run\n    command: python", "PST-C013", "12:5"),
        ("tasks.isr:run", "tasks.isr:rum", "PST-C025", "20:10"),
        ("tasks.isr:run", "tasks.irs:run", "PST-C025", "20:10"),
        ("{sigma: 4}", "{sigma: [4]}", "PST-C011", "21:21"),
        ("{sigma: 4}", "{sgma: 4}", "PST-C010", "21:14"),
        ("tasks.isr:run", "tasks.isr:simple", "PST-C010", "21:14"),
        ("exposure_time > 10", "exposure_tim > 10", "PST-C027", "22:12"),
        ('"detector != 3"', '"visit != 3"', "PST-C027", "13:52"),
        ("tolerate", "tolerant", "PST-C013", "25:17"),
        ("tries: 2", "tries: 0", "PST-C013", "26:12"),
        ("tries: 2", "tries: true", "PST-C011", "26:12"),
        ('"*.tmp"', '"../*.tmp"', "PST-C013", "27:14"),
        ("memory: 2GB", "memory: 2 apples", "PST-C011", "15:25"),
        ("cores: 1", "cores: 0", "PST-C013", "15:37"),
        ("cpu_seconds: 3", "cpu_seconds: -3", "PST-C011", "16:26"),
        ("prototypes: [log]", "prototypes: [lag]", "PST-C013", "17:18"),
        ("outputs: {total: total}", "outputs: {isr: total}", "PST-C013", "14:15"),
        ("optional: true", "optional: 1", "PST-C011", "24:42"),
        ("both: {tasks: [isr]", "both: {tasks: [isr, x]", "PST-C013", "29:23"),
        ("tasks: [isr], dimensions: [exposure]", "tasks: [isr], dimensions: [tract]", "PST-C013", "29:36"),
        ("format: json}\n  isr", 'format: json, template: "{run}/x"}\n  isr', "PST-C013", "5:67"),
        ("tasks:\n  sum", "  spare: {dimensions: [], format: json}\ntasks:\n  sum", "PST-C013", "8:3"),
        ("total: {dimensions: [exposure]", "total: {dimensions: [instrument]", "PST-C013", "14:22"),
        ("total: {dimensions: [exposure]", "total: {dimensions: [exposure, tract]", "PST-C013", "14:22"),
    ],
)  # fmt: skip
def test_a_fault_is_named_at_its_place(place, old, new, code, where):
    assert GOOD.count(old) == 1
    assert (code, where) in problems(place, GOOD.replace(old, new))


def test_a_template_without_the_detector_is_refused_and_both_datasets_named(place):
    with pytest.raises(ConfigurationError) as caught:
        load(place, GOOD.replace("-{detector}.json", ".json"))
    (problem,) = caught.value.problems
    assert caught.value.exit_code == Exit.REFUSED == 4
    assert problem.where == f"{place}/pipeline.yaml:6:62"
    assert (
        "isr{detector=0,exposure=0,instrument=a} and isr{detector=1,exposure=0,instrument=a}" in problem.what
    )
    assert "{detector} is missing" in problem.what
    assert "{run}/isr/{instrument}-{exposure:06d}-{detector}.json" in problem.fix


def test_two_types_of_one_template_are_refused(place):
    text = GOOD.replace(
        "total: {dimensions: [exposure], format: json}",
        'total: {dimensions: [exposure], format: json, template: "{run}/{exposure}-{instrument}"}\n  more: {dimensions: [exposure], format: json, template: "{run}/{exposure}-{instrument}"}',
    )
    text = text.replace("outputs: {total: total}", "outputs: {total: total, more: more}")
    assert problems(place, text) == [("PST-C030", "8:58")]


def test_two_writers_of_one_type_are_refused(place):
    found = problems(place, GOOD.replace("outputs: {total: total}", "outputs: {total: total, isr2: isr}"))
    assert ("PST-C021", "24:27") in found


def test_a_cycle_is_named_with_its_tasks(place):
    text = GOOD.replace("inputs: {raw: raw}", "inputs: {raw: raw, back: total}")
    with pytest.raises(ConfigurationError) as caught:
        load(place, text)
    (problem,) = caught.value.problems
    assert problem.code == "PST-C022"
    assert "isr -> sum -> isr" in problem.what


def test_a_task_that_reads_what_it_writes_is_a_cycle(place):
    assert ("PST-C022", "18:3") in problems(
        place, GOOD.replace("inputs: {raw: raw}", "inputs: {raw: raw, own: isr}")
    )


def test_a_field_without_a_default_must_be_given(place):
    (place / "tasks" / "isr.py").write_text(
        TASK.replace("sigma: float = 3", "sigma: float\n    gain: float = 2 * pi")
    )
    assert problems(place, GOOD) == [("PST-C012", "19:5")]
    with pytest.raises(ConfigurationError, match=r"default at .*isr.py:7:19 is not a literal"):
        load(place, GOOD)
    assert load(place, GOOD, overrides=["isr.gain=1"]).task("isr").config["gain"] == 1.0


def test_a_fault_of_the_source_is_named_in_the_source(place):
    (place / "tasks" / "isr.py").write_text(TASK.replace("sigma: float = 3", "sigma: float = '3'"))
    with pytest.raises(ConfigurationError) as caught:
        load(place, GOOD)
    assert [p.where for p in caught.value.problems] == [f"{place}/tasks/isr.py:6:20"]


def test_everything_wrong_is_said_at_once(place):
    text = GOOD
    for old, new in [
        ("name: toy", "naame: toy"),
        ("tries: 2", "tries: x"),
        ("raw: raw", "raw: rar"),
        ("2GB", "lots"),
    ]:
        text = text.replace(old, new)
    codes = [code for code, _ in problems(place, text)]
    assert sorted(codes) == sorted(["PST-C010", "PST-C012", "PST-C011", "PST-C020", "PST-C013", "PST-C011"])


@pytest.mark.parametrize(
    "text",
    [
        "",
        "3",
        "[]",
        "tasks: 3\ndataset_types: []\n",
        "tasks: {isr: 3, x: {inputs: []}}",
        "code: 3\ntasks: {isr: {run: 3, outputs: 3, dimensions: x}}",
    ],
)
def test_no_nonsense_is_a_crash(place, text):
    assert all(code.startswith("PST-C0") for code, _ in problems(place, text))
