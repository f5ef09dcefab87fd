"""One manifest on the node: what is made, declined, refused, and said about it."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from types import SimpleNamespace

import pytest

from prestow.commit import receipt_name, settle
from prestow.errors import NotInManifestError, PrestowError
from prestow.formats import open_format
from prestow.manifest import Manifest, Receipt
from prestow.model import State
from prestow.model.hashing import actual_recipe
from prestow.node import run_manifest, run_manifest_json
from prestow.node.execute import _fit
from prestow.testing.jobs import Jobs

CODE = """
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from prestow.tasks import NothingToDo, Quantum

@dataclass
class Config:
    factor: float = 1.0
    bands: tuple[str, ...] = ()

def scale(quantum: Quantum, config: Config) -> None:
    assert isinstance(config.factor, float) and isinstance(config.bands, tuple)
    print("scaling", quantum.data_id["visit"])
    quantum.measure("factor", config.factor)
    quantum.put("y", {"v": quantum.get("x")["v"] * config.factor, "bands": list(config.bands)})

def total(quantum):
    used = [i.data_id["visit"] for i in quantum.inputs["x"]]
    gone = [[a.data_id["visit"], a.state, a.code] for a in quantum.absent["x"]]
    quantum.put("y", {"sum": sum(quantum.get("x", visit=v)["v"] for v in used), "absent": gone})

def undeclared(quantum):
    quantum.get("flat")

def unplanned(quantum):
    quantum.put("z", {})

def nothing(quantum):
    pass

def stray(quantum):
    quantum.put("y", {})
    Path("scratch.tmp").write_text("x")
    quantum.path("y").with_suffix(".bak").write_text("x")

def append(quantum):
    with open(quantum.path("x"), "a") as file:
        file.write(" ")
    quantum.put("y", {})

def cloudy(quantum):
    raise NothingToDo("cloudy", "seen by node-canary-7")

def leave(quantum):
    sys.exit(0)

def broken(quantum):
    print("one", file=sys.stderr)
    print("two")
    return 1 / 0

def twice(quantum):
    quantum.put("y", {})
    quantum.put("y", {})

def child(quantum):
    print("before")
    subprocess.run(["sh", "-c", "echo said; echo complained >&2"], check=True)
    os.write(1, b"by descriptor\\n")
    print("after")
    return 1 / 0

def coloured(quantum):
    print("\\x1b[1mbold\\x1b[0m")
    raise ValueError("\\x1b[31mred\\x1b[0m, then\\x1b]0;a title\\x07")

def closes(quantum):
    os.close(1)
    os.close(2)
    quantum.put("y", {})

def full(quantum):
    raise OSError(28, "No space left on device")

def garbled(quantum):
    quantum.path("y").write_text("not json")

def absent(quantum):
    quantum.get("x", visit=2)
"""


@pytest.fixture
def jobs(tmp_path):
    found = Jobs(tmp_path)
    found.code(tasks=CODE)
    return found


@pytest.fixture
def raw(jobs):
    return [jobs.existing("raw", {"visit": v}, {"v": v}) for v in (1, 2, 3)]


def run(jobs, *tasks, **more):
    return run_manifest(jobs.manifest(*tasks), scratch=jobs.scratch, **more)


def files(jobs, top="store"):
    root = jobs.directory / top
    return sorted(str(p.relative_to(root)) for p in root.rglob("*") if p.is_file())


def products(jobs):
    return [name for name in files(jobs) if not name.startswith("_")]


def one(jobs, raw, entry, **more):
    jobs.quantum(
        "t", {"visit": 1}, entry=f"tasks:{entry}", inputs={"x": [raw[0]]}, outputs={"y": "json"}, **more
    )
    return run(jobs)


# -- what is made ---------------------------------------------------------------------------------


def test_a_product_stands_at_its_planned_name_with_its_story(jobs, raw):
    made = jobs.quantum(
        "t", {"visit": 1}, entry="tasks:scale", config_class="Config", config={"factor": 3, "bands": ["r"]},
        inputs={"x": [raw[0]]}, outputs={"y": "json"},
    )  # fmt: skip
    outcome = run(jobs)
    [receipt] = outcome.receipts.values()
    story = open_format("json").read_story(jobs.directory / "store" / made["y"].path)

    assert list(outcome.states.values()) == [State.MADE]
    assert jobs.read(made["y"]) == {"v": 3.0, "bands": ["r"]}
    assert products(jobs) == [made["y"].path]
    assert receipt.actual_recipe == receipt.planned_recipe == story.recipe
    assert receipt.measures == {"factor": 3.0}
    assert [(r.type, r.id) for r in receipt.roots] == [("raw", raw[0].id)]
    assert (story.planned, story.used, story.inputs[0].sha256) == (1, 1, raw[0].sha256)
    assert story.version == jobs.bundle.sha256


def test_the_same_manifest_again_runs_nothing(jobs, raw):
    first = one(jobs, raw, "scale", config_class="Config")
    before = files(jobs)
    second = run(jobs)

    assert second.receipts == first.receipts
    assert files(jobs) == before


def test_a_chain_in_one_job_reads_what_was_committed(jobs, raw):
    a = jobs.quantum("a", {"visit": 2}, entry="tasks:scale", config_class="Config", config={"factor": 2},
                     inputs={"x": [raw[1]]}, outputs={"y": "json"})  # fmt: skip
    b = jobs.quantum("b", {"visit": 2}, entry="tasks:scale", config_class="Config", config={"factor": 5},
                     inputs={"x": [a["y"]]}, outputs={"y": "json"})  # fmt: skip
    outcome = run(jobs)
    first, second = outcome.receipts.values()

    assert jobs.read(b["y"])["v"] == 20
    assert second.inputs[0].sha256 == first.outputs[0].sha256
    assert second.roots == first.roots


def test_the_local_repository_is_removed_and_kept_when_asked(jobs, raw):
    jobs.quantum(
        "t",
        {"visit": 1},
        entry="tasks:scale",
        config_class="Config",
        inputs={"x": [raw[0]]},
        outputs={"y": "json"},
    )
    outcome = run(jobs, keep=True)
    kept = f"job-{outcome.attempt[:8]}"

    assert sorted(os.listdir(jobs.scratch)) == ["code", kept]
    found = sorted(os.listdir(jobs.scratch / kept))
    assert found == ["inputs", "log-0", "manifest.json", "outputs", "tmp", "work"]
    assert Manifest.from_json((jobs.scratch / kept / "manifest.json").read_text()).job == "job"


def test_config_measures_and_log_can_be_products_of_their_own(jobs, raw):
    made = jobs.quantum(
        "t", {"visit": 1}, entry="tasks:scale", config_class="Config", config={"factor": 3.0}, inputs={"x": [raw[0]]},
        outputs={"y": "json", "_config": "json", "_metadata": "json", "_log": "json"}, prototypes=("config", "metadata", "log"),
    )  # fmt: skip
    run(jobs)

    assert jobs.read(made["_config"]) == {"factor": 3.0}
    assert jobs.read(made["_metadata"]) == {"factor": 3.0}
    assert jobs.read(made["_log"]) == {"lines": ["scaling 1"]}


def test_an_optional_output_may_be_left_out_and_its_reader_is_told(jobs, raw):
    a = jobs.quantum(
        "a",
        {"visit": 1},
        entry="tasks:nothing",
        inputs={"x": [raw[0]]},
        outputs={"y": "json"},
        optional=["y"],
    )
    b = jobs.quantum("b", {}, entry="tasks:total", inputs={"x": ([a["y"]], 0)}, outputs={"y": "json"})
    outcome = run(jobs)

    assert [str(s) for s in outcome.states.values()] == ["made", "made"]
    assert jobs.read(b["y"]) == {"sum": 0, "absent": [[1, "declined", "not_made"]]}


def test_engines_may_carry_manifest_and_receipts_as_json(jobs, raw):
    a = jobs.quantum(
        "a",
        {"visit": 1},
        entry="tasks:scale",
        config_class="Config",
        inputs={"x": [raw[0]]},
        outputs={"y": "json"},
    )
    jobs.quantum(
        "b",
        {"visit": 1},
        entry="tasks:scale",
        config_class="Config",
        inputs={"x": [a["y"]]},
        outputs={"y": "json"},
    )
    first = run_manifest_json(jobs.manifest("a").to_json(), [], False, str(jobs.scratch))
    second = run_manifest_json(jobs.manifest("b").to_json(), [first["receipts"]], False, str(jobs.scratch))

    assert json.loads(json.dumps(second)) == second
    assert list(second["states"].values()) == ["made"]
    assert [Receipt.from_json(t).task for t in second["receipts"]] == ["b"]
    assert (second["failures"], second["not_yet"]) == ([], [])
    assert second["peak_memory"] > 0


def test_another_code_in_the_same_process_is_the_one_that_runs(jobs, raw):
    one(jobs, raw, "scale", config_class="Config")
    jobs.quanta.clear()
    jobs.code(tasks="def scale(quantum):\n    quantum.put('y', {'v': 'new'})\n")
    made = jobs.quantum("u", {"visit": 1}, entry="tasks:scale", inputs={"x": [raw[0]]}, outputs={"y": "json"})
    run(jobs)

    assert jobs.read(made["y"]) == {"v": "new"}


# -- five errors and a decline --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("entry", "code", "said"),
    [
        ("undeclared", "PST-N001", "flat is not in the plan"),
        ("unplanned", "PST-N002", "z was not planned"),
        ("nothing", "PST-N003", "'y' was not made"),
        ("stray", "PST-N004", "scratch.tmp"),
        ("append", "PST-N005", "inputs/raw/raw/raw-1 was changed"),
        ("leave", "PST-N007", "SystemExit: 0"),
        ("twice", "PST-N002", "put already"),
        ("full", "PST-R002", "no space left"),
        ("garbled", "PST-N008", "not valid JSON"),
        ("no_such", "PST-N007", "no_such"),
    ],
)
def test_what_a_task_must_not_do_fails_its_quantum_clearly(jobs, raw, entry, code, said):
    outcome = one(jobs, raw, entry)
    [failure] = outcome.failures

    assert (failure.code, list(outcome.states.values())) == (code, [State.FAILED])
    assert said in failure.message
    assert products(jobs) == []
    assert not [name for name in files(jobs) if name.startswith(("_aside", "_receipts"))]
    assert json.loads((jobs.directory / "archive/raw/raw-1").read_text()) == {"v": 1}


def test_a_decline_is_settled_with_its_code_and_its_free_text_stays_in_the_receipt(jobs, raw):
    outcome = one(jobs, raw, "cloudy")
    [receipt] = outcome.receipts.values()

    assert (receipt.state, receipt.code, receipt.reason) == ("declined", "cloudy", "seen by node-canary-7")
    assert outcome.failures == ()
    assert products(jobs) == []


def test_a_stray_file_may_be_declared(jobs, raw):
    outcome = one(jobs, raw, "stray", ignore=("*.tmp", "outputs/*.bak"))

    assert list(outcome.states.values()) == [State.MADE]


def test_a_failure_names_type_message_and_line_and_quotes_the_log(jobs, raw):
    outcome = one(jobs, raw, "broken")
    [failure] = outcome.failures
    line = CODE.splitlines().index("    return 1 / 0") + 1

    assert failure.message == f"ZeroDivisionError: division by zero (tasks.py:{line})"
    assert failure.log_tail[:2] == ("one", "two")
    assert failure.log_tail[-1] == "ZeroDivisionError: division by zero"
    [report] = [name for name in files(jobs) if name.startswith("_attempts/job/")]
    told = json.loads((jobs.directory / "store" / report).read_text())
    assert told["quanta"][0]["failures"][0]["code"] == "PST-N007"
    assert told["versions"]["python"]


def test_what_other_processes_and_libraries_say_is_in_the_log_and_nowhere_else(jobs, raw, capfd):
    [failure] = one(jobs, raw, "child").failures

    assert failure.log_tail[:5] == ("before", "said", "complained", "by descriptor", "after")
    assert capfd.readouterr() == ("", "")


def test_what_a_task_said_gives_the_terminal_no_orders(jobs, raw):
    [failure] = one(jobs, raw, "coloured").failures

    assert "ValueError: red, then\\x1b]0;a title\\x07" in failure.message
    assert failure.log_tail[0] == "bold"
    assert not [line for line in (*failure.log_tail, failure.message) if not line.isprintable()]


def test_a_task_may_close_its_standard_streams(jobs, raw, capfd):
    assert not one(jobs, raw, "closes").failures

    os.write(1, b"still here")
    assert capfd.readouterr().out == "still here"


def test_a_failed_quantum_does_not_stop_those_that_do_not_need_it(jobs, raw):
    bad = jobs.quantum(
        "bad", {"visit": 1}, entry="tasks:broken", inputs={"x": [raw[0]]}, outputs={"y": "json"}
    )
    jobs.quantum("needs", {"visit": 1}, entry="tasks:total", inputs={"x": [bad["y"]]}, outputs={"y": "json"})
    jobs.quantum(
        "other",
        {"visit": 2},
        entry="tasks:scale",
        config_class="Config",
        inputs={"x": [raw[1]]},
        outputs={"y": "json"},
    )
    outcome = run(jobs)

    assert [str(s) for s in outcome.states.values()] == ["failed", "pending", "made"]


def test_what_a_failed_quantum_left_behind_is_not_the_next_ones_stray(jobs, raw):
    jobs.quantum("bad", {"visit": 1}, entry="tasks:stray", inputs={"x": [raw[0]]}, outputs={"y": "json"})
    jobs.quantum(
        "good",
        {"visit": 1},
        entry="tasks:scale",
        config_class="Config",
        inputs={"x": [raw[0]]},
        outputs={"y": "json"},
    )
    outcome = run(jobs)

    assert [str(s) for s in outcome.states.values()] == ["failed", "made"]


def test_an_input_that_one_quantum_changed_is_whole_for_the_next(jobs, raw):
    jobs.quantum("bad", {"visit": 1}, entry="tasks:append", inputs={"x": [raw[0]]}, outputs={"y": "json"})
    jobs.quantum(
        "good",
        {"visit": 1},
        entry="tasks:scale",
        config_class="Config",
        inputs={"x": [raw[0]]},
        outputs={"y": "json"},
    )
    outcome = run(jobs)

    assert [str(s) for s in outcome.states.values()] == ["failed", "made"]


# -- absence --------------------------------------------------------------------------------------


def chain(jobs, raw, minimum, *, entries=("scale", "scale", "scale"), tolerate=False):
    parts = [
        jobs.quantum(
            "part", {"visit": v}, entry=f"tasks:{entry}", config_class="Config" if entry == "scale" else None,
            inputs={"x": [raw[v - 1]]}, outputs={"y": "json"}, tolerate=tolerate,
        )["y"]
        for v, entry in enumerate(entries, 1)
    ]  # fmt: skip
    return jobs.quantum(
        "total", {}, entry="tasks:total", inputs={"x": (parts, minimum)}, outputs={"y": "json"}
    )["y"]


def lost(jobs, visit):
    [definition] = [q for q, _, _ in jobs.quanta if q.task == "part" and q.data_id == {"visit": visit}]
    receipt = Receipt(
        definition.id, "part", jobs.run, {"visit": visit}, "part", "lost", definition.recipe, None, sealer="engine",
        code="failed", reason="node-canary-7 burnt",
    )  # fmt: skip
    return settle(jobs.store, receipt)[0]


def test_a_decline_changes_no_recipe(jobs, raw):
    total = chain(jobs, raw, 1, entries=("scale", "cloudy", "scale"))
    outcome = run(jobs)
    receipt = list(outcome.receipts.values())[-1]
    story = open_format("json").read_story(jobs.directory / "store" / total.path)

    assert jobs.read(total) == {"sum": 4.0, "absent": [[2, "declined", "cloudy"]]}
    assert receipt.actual_recipe == receipt.planned_recipe
    assert (story.planned, story.used) == (3, 2)
    assert [(i.state, i.code) for i in story.inputs] == [("made", ""), ("declined", "cloudy"), ("made", "")]


def test_a_loss_changes_the_actual_recipe_and_the_file_says_so(jobs, raw):
    total = chain(jobs, raw, 0.5)
    lost(jobs, 2)
    outcome = run(jobs)
    receipt = list(outcome.receipts.values())[-1]
    story = open_format("json").read_story(jobs.directory / "store" / total.path)

    assert receipt.actual_recipe == actual_recipe(receipt.planned_recipe, [("x", '{"visit":2}', "lost", "")])
    assert (story.recipe, story.planned_recipe) == (receipt.actual_recipe, receipt.planned_recipe)
    assert (story.planned, story.used) == (3, 2)


def test_a_tolerated_failure_of_the_last_try_is_sealed_here(jobs, raw):
    total = chain(jobs, raw, 1, entries=("scale", "broken", "scale"), tolerate=True)
    first = run(jobs)
    second = run(jobs, final=True)

    assert [str(s) for s in first.states.values()] == ["made", "failed", "made", "pending"]
    assert [str(s) for s in second.states.values()] == ["made", "lost", "made", "made"]
    assert jobs.read(total)["absent"] == [[2, "lost", ""]]


@pytest.mark.parametrize(
    ("entries", "sealed", "ends"),
    [
        (("scale", "cloudy", "scale"), 0, ("declined", "cloudy")),
        (("scale", "cloudy", "scale"), 1, ("blocked", None)),
        (("scale", "scale", "scale"), 1, ("blocked", None)),
    ],
)
def test_too_few_inputs_decline_or_block(jobs, raw, entries, sealed, ends):
    chain(jobs, raw, "all", entries=entries)
    if sealed:
        lost(jobs, sealed)
    receipt = list(run(jobs).receipts.values())[-1]

    assert (receipt.state, receipt.code) == ends


def test_the_child_of_a_lossy_product_deviates_too(jobs, raw):
    total = chain(jobs, raw, 2)
    jobs.quantum(
        "after", {}, entry="tasks:nothing", inputs={"x": [total]}, outputs={"y": "json"}, optional=["y"]
    )
    lost(jobs, 1)
    receipt = list(run(jobs).receipts.values())[-1]

    assert receipt.actual_recipe != receipt.planned_recipe
    assert receipt.inputs[0].actual_recipe != receipt.inputs[0].planned_recipe


def test_an_absent_input_is_told_apart_from_one_that_was_never_planned(jobs, raw):
    parts = [
        jobs.quantum(
            "part", {"visit": v}, entry="tasks:cloudy", inputs={"x": [raw[0]]}, outputs={"y": "json"}
        )["y"]
        for v in (1, 2)
    ]
    jobs.quantum("u", {}, entry="tasks:absent", inputs={"x": (parts, 0)}, outputs={"y": "json"})
    [failure] = run(jobs).failures

    assert failure.code == "PST-N001"
    assert "absent: declined:cloudy" in failure.message


def test_with_an_unsettled_input_nothing_runs(jobs, raw):
    a = jobs.quantum(
        "a",
        {"visit": 1},
        entry="tasks:scale",
        config_class="Config",
        inputs={"x": [raw[0]]},
        outputs={"y": "json"},
    )
    jobs.quantum("b", {"visit": 1}, entry="tasks:total", inputs={"x": [a["y"]]}, outputs={"y": "json"})
    outcome = run(jobs, "b")

    assert outcome.not_yet == (a["y"].producer,)
    assert [str(s) for s in outcome.states.values()] == ["pending"]
    assert files(jobs) == []
    assert not jobs.scratch.exists()


# -- recipes and bytes that do not agree ----------------------------------------------------------


def test_a_name_settled_under_another_recipe_is_refused_and_both_are_named(jobs, raw):
    one(jobs, raw, "scale", config_class="Config")
    [old] = [q.recipe for q, _, _ in jobs.quanta]
    jobs.quanta.clear()
    outcome = one(jobs, raw, "scale", config_class="Config", config={"factor": 7})
    [new] = [q.recipe for q, _, _ in jobs.quanta]
    [failure] = outcome.failures

    assert failure.code == "PST-P005"
    assert old in failure.message
    assert new in failure.message
    assert outcome.receipts == {}


def test_a_corrupted_input_is_named(jobs, raw):
    path = jobs.directory / "archive" / raw[0].path
    path.chmod(0o644)
    path.write_text('{"v":2}')
    outcome = one(jobs, raw, "scale", config_class="Config")
    [failure] = outcome.failures

    assert failure.code == "PST-N006"
    assert "raw{visit=1}" in failure.message


def test_a_corrupted_input_is_never_a_loss(jobs, raw):
    path = jobs.directory / "archive" / raw[0].path
    path.chmod(0o644)
    path.write_text('{"v":2}')
    jobs.quantum(
        "t", {"visit": 1}, entry="tasks:scale", config_class="Config", inputs={"x": [raw[0]]}, outputs={"y": "json"},
        tolerate=True,
    )  # fmt: skip
    outcome = run_manifest(jobs.manifest(), scratch=jobs.scratch, final=True)
    assert [f.code for f in outcome.failures] == ["PST-N006"]
    assert outcome.receipts == {}


def test_a_committed_product_that_vanished_is_made_again_from_equal_bytes(jobs, raw):
    made = jobs.quantum(
        "t",
        {"visit": 1},
        entry="tasks:scale",
        config_class="Config",
        inputs={"x": [raw[0]]},
        outputs={"y": "json"},
    )
    first = run(jobs)
    before = jobs.store.read(made["y"].path)
    jobs.store.delete(made["y"].path)
    second = run(jobs)

    assert jobs.store.read(made["y"].path) == before
    assert (second.receipts, second.failures) == (first.receipts, ())
    assert not [name for name in files(jobs) if name.startswith("_aside")]


def test_a_vanished_product_that_cannot_be_made_again_alike_needs_a_person(jobs, raw):
    jobs.code(tasks="import os\ndef noise(quantum):\n    quantum.put('y', {'v': os.urandom(8).hex()})\n")
    made = jobs.quantum("t", {"visit": 1}, entry="tasks:noise", inputs={"x": [raw[0]]}, outputs={"y": "json"})
    run(jobs)
    jobs.store.delete(made["y"].path)
    outcome = run(jobs)

    assert [f.code for f in outcome.failures] == ["PST-N010"]
    assert jobs.store.size(made["y"].path) is None


def test_no_input_is_changed_by_a_run(jobs, raw):
    path = jobs.directory / "archive" / raw[0].path
    before = path.stat()
    one(jobs, raw, "append")
    after = path.stat()

    assert (before.st_ino, before.st_size, before.st_mtime_ns, before.st_mode) == (
        after.st_ino, after.st_size, after.st_mtime_ns, after.st_mode,
    )  # fmt: skip


# -- commands -------------------------------------------------------------------------------------


def command(jobs, raw, *words, **more):
    made = jobs.quantum("c", {"visit": 1}, command=words, inputs={"x": raw}, outputs={"y": "json"}, **more)
    return run(jobs), made["y"]


def test_a_command_gets_its_words_without_a_shell(jobs, raw):
    script = "import json, sys; json.dump({'words': [w.split('/')[-1] for w in sys.argv[2:]]}, open(sys.argv[1], 'x'))"
    outcome, y = command(
        jobs, raw, "python", "-c", script, "{outputs.y}", "{inputs.x}", "k={config.k}", "{data_id.visit}", "$HOME; *", "s={seed}",
        config={"k": [1, 2]},
    )  # fmt: skip

    assert outcome.failures == ()
    words = jobs.read(y)["words"]
    assert words[:-1] == ["raw-1", "raw-2", "raw-3", "k=[1,2]", "1", "$HOME; *"]
    assert words[-1].startswith("s=")


def test_a_command_finds_the_workflows_code_and_a_settled_environment(jobs, raw):
    script = (
        "import json, os, sys, tasks; json.dump({k: os.environ[k] for k in"
        " ('TZ', 'PYTHONHASHSEED', 'SOURCE_DATE_EPOCH')}, open(sys.argv[1], 'x'))"
    )
    outcome, y = command(jobs, raw, "python", "-c", script, "{outputs.y}")

    assert outcome.failures == ()
    assert jobs.read(y) == {"TZ": "UTC", "PYTHONHASHSEED": "0", "SOURCE_DATE_EPOCH": "0"}


@pytest.mark.parametrize(
    ("script", "code"),
    [("print('prestow-decline: too_short'); exit(66)", "too_short"), ("exit(66)", "declined")],
)
def test_a_command_declines_with_66(jobs, raw, script, code):
    outcome, _ = command(jobs, raw, "python", "-c", f"from sys import exit; {script}")

    assert [(r.state, r.code) for r in outcome.receipts.values()] == [("declined", code)]


def test_a_failing_command_is_quoted(jobs, raw):
    outcome, _ = command(jobs, raw, "python", "-c", "print('no luck'); raise SystemExit(3)")
    [failure] = outcome.failures

    assert failure.code == "PST-N007"
    assert "exit code 3" in failure.message
    assert failure.log_tail == ("no luck",)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("no-such-program",), "no-such-program"),
        (("python", "{config.gone}"), "config.gone"),
        (("python", "in={inputs.x}"), "must be one file"),
    ],
)
def test_a_command_that_cannot_be_started_says_why(jobs, raw, words, said):
    outcome, _ = command(jobs, raw, *words)

    assert outcome.failures[0].code == "PST-N007"
    assert said in outcome.failures[0].message


# -- the paper and the process --------------------------------------------------------------------


@pytest.mark.parametrize("text", ["", "{}", "[]", "null", '{"schema":"prestow.manifest/1"}'])
def test_what_is_no_manifest_is_one_clear_error(text):
    with pytest.raises(PrestowError) as caught:
        run_manifest_json(text)

    assert [p.code for p in caught.value.problems] == ["PST-N009"]


@pytest.mark.parametrize("name", ["/etc/passwd", "outputs/../../x", "inputs/x"])
def test_a_manifest_that_names_a_place_outside_is_refused(jobs, raw, name):
    jobs.quantum("t", {"visit": 1}, entry="tasks:nothing", inputs={"x": [raw[0]]}, outputs={"y": "json"})
    manifest = jobs.manifest()
    manifest = replace(manifest, outputs=(replace(manifest.outputs[0], local=name),))

    with pytest.raises(PrestowError, match="PST-N009"):
        run_manifest(manifest, scratch=jobs.scratch)


def node(jobs, *words, **more):
    manifest = jobs.directory / "manifest.json"
    manifest.write_text(jobs.manifest(*more.pop("tasks", ())).to_json())
    return subprocess.run(
        [sys.executable, *more.pop("python", ("-m", "prestow.node")), str(manifest), "--scratch", str(jobs.scratch), *words],
        capture_output=True, text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}, check=False, **more,
    )  # fmt: skip


def test_the_command_line_tells_how_it_went_by_its_exit_code(jobs, raw):
    a = jobs.quantum(
        "a",
        {"visit": 1},
        entry="tasks:scale",
        config_class="Config",
        inputs={"x": [raw[0]]},
        outputs={"y": "json"},
    )
    jobs.quantum("b", {"visit": 1}, entry="tasks:broken", inputs={"x": [a["y"]]}, outputs={"y": "json"})
    codes = [
        node(jobs, tasks=("b",)).returncode,
        node(jobs, tasks=("a",)).returncode,
        node(jobs, tasks=("b",)).returncode,
    ]
    failed = node(jobs)
    misused = node(jobs, "--frobnicate")

    assert codes == [75, 0, 1]
    assert failed.returncode == 1
    assert "error[PST-N007]" in failed.stderr
    assert "Traceback" not in failed.stderr.split("  | ")[0]
    assert misused.returncode == 2
    assert "unknown option --frobnicate" in misused.stderr


def test_a_debugger_stops_in_the_task_and_the_local_repository_stays(jobs, raw):
    jobs.quantum("t", {"visit": 1}, entry="tasks:broken", inputs={"x": [raw[0]]}, outputs={"y": "json"})
    done = node(jobs, "--debug", input="p quantum.task\nc\np quantum.data_id\nq\n")

    assert "'t'" in done.stdout
    assert "{'visit': 1}" in done.stdout
    assert "the local repository is kept: " in done.stderr
    assert [name for name in os.listdir(jobs.scratch) if name.startswith("job-")]


def test_the_wall_holds_also_for_a_fits_product_of_a_command(jobs, raw):
    script = (
        "import sys; cards = ['SIMPLE  =                    T', 'BITPIX  =                    8', 'NAXIS   =                    1',"
        " 'NAXIS1  =                   10', 'END']; file = open(sys.argv[1], 'xb');"
        " file.write(''.join(c.ljust(80) for c in cards).ljust(2880).encode() + bytes(2880))"
    )
    made = jobs.quantum(
        "c",
        {"visit": 1},
        command=["python", "-c", script, "{outputs.y}"],
        inputs={"x": [raw[0]]},
        outputs={"y": "fits"},
    )
    spy = jobs.directory / "spy.py"
    spy.write_text(
        "import json, sys\nfrom prestow.node.__main__ import main\ncode = main(sys.argv[1:])\n"
        "print(json.dumps(sorted(sys.modules)), file=sys.stderr)\nsys.exit(code)\n"
    )
    done = node(jobs, python=(str(spy),))
    loaded = set(json.loads(done.stderr.splitlines()[-1]))

    assert done.returncode == 0, done.stderr
    assert open_format("fits").read_story(jobs.directory / "store" / made["y"].path).task == "c"
    heavy = {
        "astropy", "numpy", "polars", "pyarrow", "dask", "distributed", "sqlalchemy", "yaml", "prestow.plan",
        "prestow.registry", "prestow.naming", "prestow.pipeline", "subprocess", "zipfile", "shutil", "tempfile", "logging",
    }  # fmt: skip
    assert loaded & heavy == set()


def test_no_host_attempt_plan_or_free_text_stands_in_a_product(jobs, raw, monkeypatch):
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(nodename="canary-host"))
    total = chain(jobs, raw, 1, entries=("scale", "cloudy", "scale"))
    lost(jobs, 3)
    manifest = replace(jobs.manifest(), plan="canary-plan")
    outcome = run_manifest(manifest, scratch=jobs.scratch)
    product = jobs.store.read(total.path).decode()
    receipt = list(outcome.receipts.values())[1]

    assert receipt.reason == "seen by node-canary-7"
    assert outcome.report["host"] == "canary-host"
    for secret in (outcome.attempt, "canary", str(jobs.directory)):
        assert secret not in product


def test_the_same_recipe_gives_the_same_bytes_elsewhere(tmp_path):
    found = []
    for name in ("one", "two with a blank, # and é"):
        jobs = Jobs(tmp_path / name)
        jobs.code(tasks=CODE)
        raw = [jobs.existing("raw", {"visit": v}, {"v": v}) for v in (1, 2, 3)]
        total = chain(jobs, raw, 1, entries=("scale", "cloudy", "scale"))
        run(jobs)
        found.append(jobs.store.read(total.path))

    assert found[0] == found[1]


def test_receipts_are_named_by_the_quantum_alone(jobs, raw):
    one(jobs, raw, "scale", config_class="Config")
    [definition] = [q for q, _, _ in jobs.quanta]

    assert receipt_name("demo", "t", definition.id) in files(jobs)


def test_a_quantum_refuses_a_measure_that_is_no_plain_value(jobs, raw):
    jobs.code(tasks="def run(quantum):\n    quantum.measure('m', float('nan'))\n")
    outcome = one(jobs, raw, "run")

    assert "finite" in outcome.failures[0].message


def test_manifests_of_jobs_come_back_from_json(jobs, raw):
    chain(jobs, raw, 0.5)

    assert Manifest.from_json(jobs.manifest().to_json()) == jobs.manifest()
    assert issubclass(NotInManifestError, LookupError)


@pytest.mark.parametrize(
    ("annotation", "value", "wanted"),
    [
        ("tuple[float, ...]", [1, 2], (1.0, 2.0)),
        ("tuple[tuple[int, int], ...]", [[1, 2]], ((1, 2),)),
        ("list[tuple[int, int]]", [[1, 2]], [(1, 2)]),
        (tuple[int, ...], [1], (1,)),
        (float, 1, 1.0),
        ("float | None", None, None),
        ("int", 1, 1),
    ],
)
def test_configuration_values_get_the_types_of_their_annotations(annotation, value, wanted):
    found = _fit(value, annotation)

    assert (found, type(found)) == (wanted, type(wanted))


def test_an_interrupt_goes_through_after_cleaning_up(jobs, raw):
    jobs.code(tasks="def run(quantum):\n    quantum.put('y', {})\n    raise KeyboardInterrupt\n")
    here = os.getcwd(), sys.stdout, sys.stderr

    with pytest.raises(KeyboardInterrupt):
        one(jobs, raw, "run")
    assert (os.getcwd(), sys.stdout, sys.stderr) == here
    assert files(jobs) == []
    assert os.listdir(jobs.scratch) == ["code"]


def test_a_receipt_that_cannot_be_read_fails_its_quantum_and_raises_nothing(jobs, raw):
    jobs.quantum("t", {"visit": 1}, entry="tasks:nothing", inputs={"x": [raw[0]]}, outputs={"y": "json"})
    jobs.quantum(
        "u",
        {"visit": 1},
        entry="tasks:scale",
        config_class="Config",
        inputs={"x": [raw[0]]},
        outputs={"y": "json"},
    )
    jobs.store.put_if_absent(jobs.quanta[0][0].receipt, b"torn")
    outcome = run(jobs)

    assert [str(s) for s in outcome.states.values()] == ["failed", "made"]
    assert outcome.failures[0].code == "PST-R001"


def test_a_consumer_finishes_the_promotion_that_a_killed_producer_left(jobs, raw):
    a = jobs.quantum(
        "a",
        {"visit": 1},
        entry="tasks:scale",
        config_class="Config",
        inputs={"x": [raw[0]]},
        outputs={"y": "json"},
    )
    jobs.quantum(
        "b",
        {"visit": 1},
        entry="tasks:scale",
        config_class="Config",
        inputs={"x": [a["y"]]},
        outputs={"y": "json"},
    )
    receipt = next(iter(run(jobs, "a").receipts.values()))
    jobs.store.move(receipt.outputs[0].path, receipt.outputs[0].aside)
    outcome = run(jobs, "b")

    assert [str(s) for s in outcome.states.values()] == ["made"]
    assert jobs.store.size(a["y"].path) == receipt.outputs[0].size


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write every file, so nothing is linked")
def test_a_file_that_cannot_be_written_is_linked(jobs, raw):
    jobs.code(tasks="def run(quantum):\n    quantum.put('y', {'link': quantum.path('x').is_symlink()})\n")
    made = jobs.quantum("t", {"visit": 1}, entry="tasks:run", inputs={"x": [raw[0]]}, outputs={"y": "json"})
    run(jobs)

    assert jobs.read(made["y"]) == {"link": True}


def test_a_worker_keeps_only_empty_directories_between_jobs(jobs, raw):
    jobs.code(
        tasks="from pathlib import Path\ndef run(quantum):\n"
        "    assert not list(Path().iterdir()) and not quantum.path('y').exists()\n"
        "    Path('deep').mkdir()\n    Path('deep/x.tmp').touch()\n    quantum.put('y', {})\n"
    )
    states = []
    for v in (1, 2, 3):
        jobs.quantum(
            "t",
            {"visit": v},
            entry="tasks:run",
            inputs={"x": [raw[v - 1]]},
            outputs={"y": "json"},
            ignore=("*.tmp",),
        )
        done = run_manifest_json(jobs.manifest().to_json(), [], False, str(jobs.scratch))
        states.append(list(done["states"].values()))

    assert states == [["made"], ["made"] * 2, ["made"] * 3]
    left = [name for name in files(jobs, "scratch") if "/__pycache__/" not in name]
    assert left == [f"code/{jobs.bundle.sha256}/tasks.py"]
