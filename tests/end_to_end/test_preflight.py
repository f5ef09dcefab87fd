"""Before anything runs: what would be left out, what a person waives, whole visits, hooks and their check."""

import shutil
from pathlib import Path

import pytest

NIGHT = """
  night:
    dimensions: [visit]
    command: "cp {inputs.summary} {outputs.night}"
    inputs: {summary: {type: summary, minimum: 0.4}}
    outputs: {night: {type: night, dimensions: [visit], format: json}}
"""
FLAT = """
  flatten:
    dimensions: [visit, detector]
    command: "cp {inputs.isr} {outputs.flattened}"
    inputs: {isr: isr, flat: {type: flat, dimensions: [physical_filter, detector], format: fits, prerequisite: true}}
    outputs: {flattened: {type: flattened, dimensions: [visit, detector], format: fits}}
"""
GOOD = """\
from prestow.tasks import Preflight, PreflightView


def hook(view: PreflightView) -> Preflight:
    told = view.describe(view.quanta, "visit.exposure_time")
    return Preflight(keep=(told["visit"] != 202611010003) & (told["visit.exposure_time"] > 0), code="cloudy")
"""


@pytest.fixture(scope="module")
def taken(tmp_path_factory, inside):
    """The example project with its raw frames taken in, and a task that gathers a visit."""
    root = tmp_path_factory.mktemp("preflight")
    inside("init", "toy", cwd=root)
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root / "toy")
    with (root / "toy" / "pipeline.yaml").open("a") as file:
        file.write(NIGHT)
    return root / "toy"


@pytest.fixture
def project(taken, tmp_path) -> Path:
    return Path(shutil.copytree(taken, tmp_path / "toy"))


def hooked(project: Path, text: str) -> None:
    path = project / "pipeline.yaml"
    if "preflight:" not in path.read_text():
        path.write_text(
            path.read_text().replace(
                "    inputs: {raw: raw}\n", "    inputs: {raw: raw}\n    preflight: tasks.checks:hook\n"
            )
        )
    (project / "tasks" / "checks.py").write_text(text)


def test_half_visits_are_refused_waived_or_made_whole(project, inside, tree):
    before = tree(project)
    answer = inside("plan", "--where", "detector = 0", "--json", cwd=project, ok=False)
    assert (answer.code, answer.codes) == (4, ["PST-P020"])
    (problem,) = answer.json["problems"]
    assert "10 quanta of night would gather, partial:summary" in problem["what"]
    assert "(1 of 2 summary)" in problem["what"]
    assert tree(project) == before

    whole = inside("plan", "--where", "detector = 0", "--whole", "--dry-run", "--json", cwd=project).json
    assert {t["task"]: t["quanta"] for t in whole["tasks"]}["night"] == 10
    assert {t["task"]: t["quanta"] for t in whole["tasks"]}["isr"] == 20
    waived = inside(
        "plan",
        "--where",
        "detector = 0",
        "--waive",
        "partial:summary@night",
        "--waive-because",
        "a look",
        "-n",
        cwd=project,
    )
    assert "warning: 10 quanta of night see only part of their summary" in waived.out
    following = waived.out.splitlines()[-1]
    assert following == (
        "next: prestow plan --where 'detector = 0' --waive partial:summary@night --waive-because 'a look'"
    )
    assert (
        inside("plan", "--where", "visit = 202611010001", "-n", "--json", cwd=project).json["warnings"] == []
    )


def test_missing_prerequisites_are_told_at_once_and_waived_on_record(project, inside, tree):
    with (project / "pipeline.yaml").open("a") as file:
        file.write(FLAT)
    hooked(project, GOOD)
    before = tree(project)
    answer = inside("plan", "--json", cwd=project, ok=False)
    (missing,) = (p for p in answer.json["problems"] if p["code"] == "PST-P020")
    assert answer.code == 4
    assert missing["what"].startswith("18 quanta of flatten would be left out, missing:flat")
    assert missing["fix"].endswith("--waive missing:flat@flatten")
    assert tree(project) == before

    made = inside(
        "plan", "--waive", "missing:flat@flatten", "--waive-because", "no flats yet", "--json", cwd=project
    )
    rows = {(r["task"], r["reason"]): (r["quanta"], r["waived"]) for r in made.json["left_out_rows"]}
    assert rows == {
        ("isr", "hook:cloudy"): (2, False),
        ("calibrate", "upstream:isr"): (2, False),
        ("night", "upstream:summary"): (1, False),
        ("flatten", "missing:flat"): (18, True),
        ("flatten", "upstream:isr"): (2, False),
    }
    shown = inside("show", cwd=project).out
    assert "missing:flat (waived)" in shown
    assert "hook:cloudy" in shown
    assert {r["reason"] for r in inside("show", "--json", cwd=project).json["left_out"]} == {
        r for _, r in rows
    }
    again = inside("plan", "--waive", "missing:*", "--json", cwd=project).json
    assert again["plan"] == made.json["plan"]
    assert not again["new"]


def test_what_a_person_got_wrong_in_a_waiver_is_said(project, inside):
    answer = inside("plan", "--waive", "missing:raw@irs", "--json", cwd=project, ok=False)
    assert answer.codes == ["PST-C071"]
    assert answer.json["problems"][0]["fix"] == "did you mean 'isr'?"
    assert (
        "the waiver 'missing:raw' waives nothing"
        in inside("plan", "-n", "--waive", "missing:raw", cwd=project).out
    )


def test_a_pure_hook_passes_the_strict_check(project, inside):
    hooked(project, GOOD)
    assert inside("check", "--strict", "--json", cwd=project).json["strict"] is True


def test_a_hook_that_looks_elsewhere_is_caught_with_its_lines(project, inside):
    hooked(
        project,
        "import time, random\n"
        "from datetime import datetime\n"
        "from pathlib import Path\n"
        "import polars as pl\n"
        "from prestow.tasks import Preflight\n"
        "\n"
        "def hook(view):\n"
        "    time.time()\n"
        "    datetime.now()\n"
        "    Path('weather.txt').exists()\n"
        "    try:\n"
        "        open('weather.txt')\n"
        "    except OSError:\n"
        "        pass\n"
        "    random.random()\n"
        "    pl.read_json(b'[]')\n"
        "    random.Random(3).random()\n"
        "    datetime(2026, 1, 1) < datetime(2027, 1, 1)\n"
        "    time.strftime('%Y', time.gmtime(0))\n"
        "    return Preflight()\n",
    )
    answer = inside("check", "--strict", "--json", cwd=project, ok=False)
    assert answer.code == 3
    assert {p["code"] for p in answer.json["problems"]} == {"PST-C070"}
    told = {
        p["where"]: p["what"].removeprefix("the pre-flight hook of isr ") for p in answer.json["problems"]
    }
    assert told == {
        "tasks/checks.py:8": "reads the clock",
        "tasks/checks.py:9": "reads the clock",
        "tasks/checks.py:10": "looks at files",
        "tasks/checks.py:12": "opens a file (weather.txt)",
        "tasks/checks.py:15": "takes random numbers",
        "tasks/checks.py:16": "reads a file (read_json)",
    }
    assert inside("check", cwd=project).code == 0  # what is not strict runs no hook


def test_a_hook_of_two_minds_is_caught(project, inside):
    hooked(
        project,
        "from prestow.tasks import Preflight\n\n\n"
        "def hook(view):\n"
        "    names = list({f'visit {v}' for v in view.quanta['visit']})\n"
        "    return Preflight(keep=[f'visit {v}' in names[:5] for v in view.quanta['visit']])\n",
    )
    (problem,) = inside("check", "--strict", "--json", cwd=project, ok=False).json["problems"]
    assert (problem["code"], problem["where"]) == ("PST-C070", "tasks/checks.py:4")
    assert "two answers to one view" in problem["what"]


def test_without_a_registry_a_hook_is_checked_on_made_up_data(inside, tmp_path):
    inside("init", "toy", cwd=tmp_path)
    hooked(tmp_path / "toy", GOOD)
    assert inside("check", "--strict", cwd=tmp_path / "toy").code == 0
    hooked(tmp_path / "toy", "def hook(view):\n    assert view.quanta.height\n    return open('x')\n")
    codes = inside("check", "--strict", "--json", cwd=tmp_path / "toy", ok=False).codes
    assert codes == ["PST-C070", "PST-P022"]


def test_a_hook_that_fails_refuses_the_plan_at_its_line(project, inside, tree):
    hooked(project, "def hook(view):\n    return view.quanta['nothing']\n")
    before = tree(project)
    answer = inside("plan", "--json", cwd=project, ok=False)
    assert (answer.code, answer.codes) == (4, ["PST-P022"])
    assert answer.json["problems"][0]["where"] == "tasks/checks.py:2"
    assert tree(project) == before
