"""What is made once per run: outputs without dimensions, a task's configuration and environment; and where values of configuration are from."""

import json
from dataclasses import replace

import polars as pl
import pytest

from prestow.engines.submission import Submission
from prestow.pipeline import InputConnection
from prestow.plan import Request, build_plan, manifests, open_plan, write_plan
from prestow.plan.settled import Settled
from prestow.plan.states import States
from prestow.project import Project
from prestow.testing.surveys import UNIVERSE, Survey, dataset_type, reduction, task
from prestow.verify.checker import verify

BEGIN = """
from prestow.tasks import Quantum


def run(quantum: Quantum) -> None:
    quantum.put("schema", {"columns": ["flux"]})
"""


@pytest.fixture
def night(tmp_path, inside, small):
    inside("init", tmp_path / "demo", cwd=tmp_path)
    root = small(tmp_path / "demo")
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    return root


def change(root, *pairs):
    path = root / "pipeline.yaml"
    text = path.read_text()
    for old, new in pairs:
        assert old in text
        text = text.replace(old, new, 1)
    path.write_text(text)


class TestOnce:
    def test_a_schema_and_prototypes_are_made_once_and_read_by_all(self, night, inside):
        change(
            night,
            ("dataset_types:\n", "dataset_types:\n  schema: {dimensions: [], format: json}\n"),
            (
                "tasks:\n",
                "tasks:\n  begin: {dimensions: [], run: 'tasks.begin:run', outputs: {schema: schema}}\n",
            ),
            (
                "    inputs: {raw: raw}\n",
                "    inputs: {raw: raw, schema: schema}\n    prototypes: {config: once, environment: once, log: each}\n",
            ),
        )
        (night / "tasks" / "begin.py").write_text(BEGIN)
        inside("plan", cwd=night)
        inside("verify", cwd=night)
        with Project.open(night) as project:
            plan = project.find_plan()
            files = plan.files()
            assert files.filter(pl.col("type").str.starts_with("isr_"))["type"].value_counts().sort(
                "type"
            ).rows() == [("isr_config", 1), ("isr_environment", 1), ("isr_log", 4)]
            edges = plan.tables["job_edges"].filter(pl.col("parent") == 0)
            assert edges.height == 4  # each quantum of isr waits for the schema
        ran = inside("run", "--engine", "local", "--json", "-q", cwd=night).json
        assert ran["tasks"]["isr_once"] == {"made": 1}
        assert json.loads((night / "store/demo/schema/schema.json").read_text())["columns"] == ["flux"]
        config = json.loads((night / "store/demo/isr_config/isr_config.json").read_text())
        assert (config["bias_level"], config["gain"]) == (1000.0, 2.0)
        inside("ingest", cwd=night)

    @pytest.mark.parametrize(
        ("said", "word"),
        [
            ("{log: once}", "a log of its own"),
            ("{config: never}", "never"),
            ("{confg: once}", "confg"),
        ],
    )
    def test_what_cannot_be_made_once_is_refused_where_it_stands(self, night, inside, said, word):
        change(night, ("    inputs: {raw: raw}\n", f"    inputs: {{raw: raw}}\n    prototypes: {said}\n"))
        answer = inside("check", "--json", cwd=night, ok=False)
        assert answer.code == 3
        assert answer.codes == ["PST-C013"]
        assert word in answer.out

    def test_a_parent_of_all_jobs_of_a_large_plan(self, tmp_path):
        small = reduction()
        begin = task("begin", (), [], ["schema"])
        read = InputConnection("schema", "schema")
        tasks = (begin, *(replace(t, inputs=(*t.inputs, read)) for t in small.tasks))
        types = {**small.dataset_types, "schema": dataset_type("schema")}
        pipeline = replace(small, tasks=tasks, dataset_types=types)
        survey = Survey.make(200, 10)
        plan = build_plan(Request("run", pipeline, UNIVERSE, chain=("raw",)), survey)
        plan = open_plan(write_plan(plan, tmp_path))
        quanta = plan.document["totals"]["quanta"]
        assert plan.tables["job_edges"].filter(pl.col("parent") == 0).height == quanta - 1
        submission = Submission.of(plan, Settled(States(quanta)))
        assert len(submission.consumers(0)) == quanta - 1
        assert submission.queue[0] == 0
        last = next(manifests(plan, [quanta - 1], store="archive", stores={"archive": "file:///archive"}))
        assert [item.type for item in last.inputs].count("schema") == 1
        assert verify(plan.directory).proved


class TestConfiguration:
    def test_the_command_line_wins_over_the_file_and_that_over_the_pipeline(self, night, inside):
        (night / "mine.yaml").write_text("isr:\n  bias_level: 998.5\n  gain: 3\ncoadd: {clip: 1e-3}\n")
        values = inside(
            "check", "--config", "mine.yaml", "--set", "isr.gain=4", "--values", "--json", cwd=night
        ).json["values"]
        told = {f"{v['task']}.{v['key']}": (v["value"], v["origin"]) for v in values}
        assert told["isr.bias_level"] == (998.5, "mine.yaml:2")
        assert told["isr.gain"] == (4.0, "--set")
        assert told["coadd.clip"] == (0.001, "mine.yaml:4")
        assert told["calibrate.brightest_sky"] == (5000.0, "default")
        plain = {
            v["key"]: v["origin"] for v in inside("check", "--values", "--json", cwd=night).json["values"]
        }
        assert plain["bias_level"].startswith("pipeline.yaml:")

    def test_a_plan_says_which_values_were_given_for_it(self, night, inside):
        (night / "mine.yaml").write_text("isr: {bias_level: 998.5}\n")
        words = ("plan", "--config", "mine.yaml", "--set", "isr.gain=4")
        made = inside(*words, "--json", cwd=night).json
        assert made["config"] == {"isr.bias_level": "mine.yaml:1", "isr.gain": "--set"}
        assert "isr.bias_level from mine.yaml:1" in inside(*words, cwd=night).out
        by_set = inside(
            "plan", "--set", "isr.bias_level=998.5", "--set", "isr.gain=4", "--json", cwd=night
        ).json
        assert by_set["plan"] == made["plan"]  # where a value is from is not in the plan's id

    @pytest.mark.parametrize(
        ("text", "code", "place"),
        [
            ("isr:\n  bias_levl: 3\n", "PST-C010", "mine.yaml:2:14"),
            ("irs:\n  bias_level: 3\n", "PST-C010", "mine.yaml:2:15"),
            ("isr:\n  bias_level: high\n", "PST-C011", "mine.yaml:2:15"),
            ("isr: 3\n", "PST-C011", "mine.yaml:1:6"),
            ("- isr\n", "PST-C011", "mine.yaml:1:1"),
            ("isr: {bias_level: 2026-01-01}\n", "PST-C011", "mine.yaml:1:19"),
        ],
    )
    def test_what_is_wrong_in_the_file_is_told_at_its_place(self, night, inside, text, code, place):
        (night / "mine.yaml").write_text(text)
        for command in ("plan", "check"):
            answer = inside(command, "--config", "mine.yaml", "--json", cwd=night, ok=False)
            assert (answer.code, answer.codes) == (3, [code])
            assert answer.json["problems"][0]["where"] == place
        assert not (night / "plans").exists()
