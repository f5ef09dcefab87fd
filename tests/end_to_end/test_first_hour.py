"""A task author's first hour, typed: one new file, one line of the pipeline, and what comes out of it."""

import re
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest

import prestow as face
from prestow.cli.group import COMMANDS

TASK = '''"""How sharp each frame is."""

import numpy as np

from prestow.tasks import Quantum, task


@task(
    dimensions=["visit", "detector"],
    inputs={"calexp": "calexp"},
    outputs={
        "sharpness": {
            "type": "sharpness",
            "dimensions": ["visit", "detector"],
            "format": "parquet",
            "columns": {"row": "int64", "contrast": "float64"},
        },
        "quality": {"type": "quality", "dimensions": ["visit", "detector"], "format": "yaml"},
    },
)
def run(quantum: Quantum) -> dict:
    """Give the mean step from pixel to pixel, row by row."""
    pixels = np.asarray(quantum.get("calexp", "array"), dtype=np.float64)
    contrast = np.abs(np.diff(pixels, axis=1)).mean(axis=1)
    quantum.measure("contrast", contrast.mean())
    return {
        "sharpness": {"row": np.arange(len(contrast)), "contrast": contrast},
        "quality": {"metrics": {"contrast": float(contrast.mean())}},
    }
'''

LINE = "  sharpness: tasks.sharpness:run\n"
VISITS = 3


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, inside: Any) -> Path:
    """Give a project as the tutorial leaves it: one detector, planned and run."""
    base = tmp_path_factory.mktemp("first-hour")
    inside("init", "demo", cwd=base)
    root = base / "demo"
    for path in (root / "raw").glob("*-1.fits"):
        path.unlink()
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", cwd=root)
    inside("run", "--engine", "local", cwd=root)
    return root


def next_commands(out: str) -> list[str]:
    """Give the commands that an answer ends with; each must be there."""
    last = out.splitlines()[-1]
    assert last.startswith("next: prestow ")
    found = re.findall(r"prestow ([a-z]+(?: [^ ]+)*)", last)
    assert all(command.split()[0] in COMMANDS for command in found)
    return found


def test_a_new_task_in_one_file_and_one_line(root: Path, prestow: Any) -> None:
    (root / "tasks" / "sharpness.py").write_text(TASK)
    with (root / "pipeline.yaml").open("a") as pipeline:
        pipeline.write(LINE)

    checked = prestow("check", cwd=root).out
    assert "4 tasks, 7 dataset types" in checked
    assert next_commands(checked)[0].startswith("plan")

    planned = prestow("plan", "--sample", str(VISITS), cwd=root).out
    assert "run demo.sample3" in planned
    assert re.search(rf"sharpness +{VISITS} +{VISITS} +{2 * VISITS} ", planned)
    run, debug = next_commands(planned)
    assert run.startswith("run")
    job = debug.split()[1]
    assert re.fullmatch(r"debug sharpness-0-20261101\d{4}", debug)

    debugged = prestow("debug", job, cwd=root).out
    assert f"job {job}: made" in debugged
    assert re.search(r"^  contrast = \d+\.\d+$", debugged, re.MULTILINE)
    assert re.search(r"^  -> demo\.sample3/sharpness/\S+\.parquet  \d\.\d kB$", debugged, re.MULTILINE)
    assert "made first, here: isr-0-" in debugged  # nothing of the sample has run
    assert next_commands(debugged) == ["run"]
    assert not (root / "store" / "demo.sample3").exists()

    ran = prestow("run", cwd=root).out
    assert "done in" in ran
    with face.open(root) as project:
        plan = project.find_plan("latest")
        files = plan.files().filter(type="sharpness")["path"].to_list()
    assert len(files) == VISITS
    for name in files:
        table = pyarrow.parquet.read_table(root / "store" / name)
        assert table.schema.names == ["row", "contrast"]
        assert table.num_rows == 32

    compared = prestow("compare", "demo", "demo.sample3", cwd=root).out
    assert re.search(rf"calexp +{VISITS} ", compared)  # nothing that was there has changed
    assert re.search(rf"sharpness( +\.){{5}} +{VISITS}$", compared, re.MULTILINE)
    assert next_commands(compared)


def test_each_slip_of_the_first_hour_has_one_clear_answer(root: Path, inside: Any) -> None:
    file = root / "tasks" / "sharpness.py"
    pipeline = root / "pipeline.yaml"
    file.write_text(TASK)
    text = pipeline.read_text().removesuffix(LINE) + LINE
    pipeline.write_text(text)

    def check(old: str, new: str) -> tuple[list[str], str]:
        assert TASK.count(old) == 1
        file.write_text(TASK.replace(old, new))
        answer = inside("check", cwd=root, ok=False)
        assert answer.code == 3
        return re.findall(r"error\[(PST-\w+)\]", answer.err), answer.err

    codes, said = check('"format": "parquet"', '"format": FORMAT')
    assert codes == ["PST-C032"]
    assert "tasks/sharpness.py:15:23" in said
    assert '"format": FORMAT,' in said  # the line itself, with a caret below

    codes, said = check("inputs={", "input={")
    assert codes == ["PST-C010"]
    assert "did you mean 'inputs'?" in said

    codes, said = check('"contrast": "float64"', '"contrast": "double"')
    assert codes == ["PST-C033"]
    codes, said = check('"format": "yaml"', '"format": "yaml", "columns": {"x": "int64"}')
    assert codes == ["PST-C033"]
    assert "parquet" in said

    file.write_text(TASK)
    pipeline.write_text(text.replace("  raw: ", "  quality: {dimensions: [visit], format: json}\n  raw: "))
    answer = inside("check", cwd=root, ok=False)
    pipeline.write_text(text)
    assert re.findall(r"error\[(PST-\w+)\]", answer.err) == ["PST-C031"]
    assert "pipeline.yaml:7:12" in answer.err  # both places
    assert "tasks/sharpness.py:18:20" in answer.err


@pytest.mark.parametrize(
    ("old", "new", "code", "said"),
    [
        ("np.arange(len(contrast)), ", "np.arange(len(contrast), dtype='int32'), ", "PST-N008",
         "column 'row' is int32, declared as int64"),
        ('"quality": {"metrics": {"contrast": float(contrast.mean())}},', '"quality": contrast.mean(),', "PST-N012",
         "the output quality (yaml) cannot be a numpy.float64"),
        ("    return {", "    return [contrast]\n    return {", "PST-N012", "run (tasks/sharpness.py:8) returned a list of 1"),
    ],
)  # fmt: skip
def test_what_comes_out_wrong_is_told_by_debug(
    root: Path, inside: Any, old: str, new: str, code: str, said: str
) -> None:
    assert TASK.count(old) == 1
    (root / "tasks" / "sharpness.py").write_text(TASK.replace(old, new))
    text = (root / "pipeline.yaml").read_text().removesuffix(LINE)
    (root / "pipeline.yaml").write_text(text + LINE)
    planned = inside("plan", "--sample", "1", cwd=root).out
    job = next_commands(planned)[1].split()[1]
    answer = inside("debug", job, cwd=root, ok=False)
    assert answer.code == 5
    assert f"[{code}]" in answer.out
    assert said in answer.out
    assert "= help: " in answer.out
    assert next_commands(answer.out) == [f"debug {job} --pdb"]
    assert not [path for path in (root / "store").rglob("*.parquet") if "sample1" in str(path)]


def test_debug_makes_first_what_is_not_much_and_else_says_what_to_run(tmp_path: Path, inside: Any) -> None:
    inside("init", "demo", cwd=tmp_path)
    root = tmp_path / "demo"
    text = (root / "pipeline.yaml").read_text()
    (root / "pipeline.yaml").write_text(
        text.replace("[instrument, detector, band]", "[instrument, detector]").replace("-{band}", "")
    )
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", cwd=root)
    enough = inside("debug", "coadd-0", "--json", cwd=root).json
    assert len(enough["first"]) == 20
    assert list(enough["states"].values()) == ["made"]
    assert not (root / "store" / "demo").exists()
    (root / "pipeline.yaml").write_text(
        text.replace("[instrument, detector, band]", "[instrument]").replace("-{band}-{detector:02d}", "")
    )
    inside("plan", "--run", "all", cwd=root)
    refused = inside("debug", "coadd", cwd=root, ok=False)
    assert refused.code == 4
    assert "this job needs what nobody has made yet, 20 of calibrate" in refused.err
    assert "prestow run --only calibrate" in refused.err


def test_a_job_that_is_needed_first_and_fails_is_told_as_itself(root: Path, inside: Any) -> None:
    (root / "tasks" / "sharpness.py").write_text(TASK)
    text = (root / "pipeline.yaml").read_text().removesuffix(LINE)
    (root / "pipeline.yaml").write_text(text + LINE)
    calibrate = root / "tasks" / "calibrate.py"
    source = calibrate.read_text()
    calibrate.write_text(source.replace("    pixels = ", "    raise ValueError('no sky')\n    pixels = "))
    planned = inside("plan", "--sample", "1", cwd=root).out
    job = next_commands(planned)[1].split()[1]
    answer = inside("debug", job, cwd=root, ok=False)
    calibrate.write_text(source)
    assert answer.code == 5
    assert re.search(r"^job calibrate-0-\d+: failed$", answer.out, re.MULTILINE)
    assert "no sky" in answer.out
    assert next_commands(answer.out)[0].startswith("debug calibrate-0-")
