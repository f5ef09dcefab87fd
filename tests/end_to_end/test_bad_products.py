"""Products that are not what they should be: one clear error each, typed as a user types it; nothing half-written."""

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import prestow as face
from prestow.errors import CODES
from prestow.formats import open_format

TASK = '''
import subprocess

import numpy as np

from prestow.tasks import Quantum, task


@task(
    dimensions=["visit", "detector"],
    inputs={"raw": "raw"},
    outputs={
        "stars": {
            "type": "stars",
            "dimensions": ["visit", "detector"],
            "format": "parquet",
            "columns": {"id": "int64", "flux": "float64"},
        },
        "plot": {"type": "plot", "dimensions": ["visit", "detector"], "format": "png"},
        "quality": {"type": "quality", "dimensions": ["visit", "detector"], "format": "yaml"},
    },
)
def run(quantum: Quantum) -> dict:
    """Behave by the number of the visit."""
    good = {
        "stars": {"id": [1, 2], "flux": [0.5, 1.5]},
        "plot": np.zeros((4, 4), np.uint8),
        "quality": {"metrics": {"seeing": 2.5}},
    }
    subprocess.run(["sh", "-c", "echo the child said so"], check=True)
    number = quantum.data_id["visit"] % 100
    if number == 1:
        return {**good, "stars": {"id": [1, 2], "flx": [0.5, 1.5]}}
    if number == 2:
        return {**good, "quality": {"metrics": [2.5]}}
    if number == 3:
        return good["stars"]["id"]
    if number == 4:
        quantum.path("plot").write_bytes(b"no picture")
        del good["plot"]
    if number == 5:
        return {**good, "quality": {"metrics": {"seeing": float("nan")}}}
    if number == 6:
        return {**good, "plot": np.zeros((4, 4))}
    return good
'''

PIPELINE = """\
schema: prestow.pipeline/1
name: bad
code: [tasks]
dataset_types:
  raw: {dimensions: [exposure, detector], format: fits}
tasks:
  many: tasks.many:run
"""

FAILURES = {
    1: ("PST-N008", "the output 'stars'", "'flux' (float64) is missing", "'flx' (float64) is not declared"),
    2: ("PST-N011", "the output 'quality'", "must be a mapping of names to numbers, not a list"),
    3: ("PST-N012", "run (tasks/many.py:", "returned a list of 2"),
    4: ("PST-N008", "the output 'plot'", "not a PNG file"),
    5: ("PST-N012", "the output quality (yaml)", "'metrics.seeing' is nan"),
    6: ("PST-N012", "the output plot (png)", "an array of float64 cannot be written as PNG"),
}


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory, inside: Any) -> Path:
    """Give a project whose task was run on seven visits, six of them badly."""
    base = tmp_path_factory.mktemp("products")
    inside("init", "demo", cwd=base)
    root = base / "demo"
    for path in (root / "raw").iterdir():
        number, detector = path.stem.split("-")[2:]
        if int(number) > 7 or detector != "0":
            path.unlink()
    (root / "tasks" / "many.py").write_text(TASK)
    (root / "pipeline.yaml").write_text(PIPELINE)
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    return root


@pytest.fixture(scope="module")
def ran(root: Path, inside: Any) -> Any:
    inside("plan", cwd=root)
    return inside("run", "--engine", "local", "--json", cwd=root, ok=False)


@pytest.fixture
def refused(inside: Any, tree: Any) -> Callable[..., dict[str, str]]:
    """Run a command that must be refused for one reason and change nothing; give the reason."""

    def call(*words: object, root: Path) -> dict[str, str]:
        before = tree(root)
        answer = inside(*words, "--json", cwd=root, ok=False)
        (problem,) = answer.json["problems"]
        text = inside(*words, cwd=root, ok=False)
        assert text.out == ""
        assert text.err.count("error[PST-") == 1
        assert answer.code == text.code == CODES[problem["code"]][1] != 0
        assert tree(root) == before
        assert problem["what"]
        assert problem["where"]
        assert problem["fix"]
        return problem

    return call


def test_each_wrong_product_fails_its_quantum_alone_and_says_why(ran: Any) -> None:
    assert ran.code == 5
    assert ran.json["counts"] == {"made": 1, "failed": len(FAILURES)}
    found = {int(f["data_id"].rpartition("visit=")[2]) % 100: f for f in ran.json["failures"]}
    assert set(found) == set(FAILURES)
    for number, (code, *words) in FAILURES.items():
        assert found[number]["code"] == code
        assert all(word in found[number]["message"] for word in words), found[number]["message"]


def test_why_tells_what_to_do_with_what_other_processes_said(ran: Any, root: Path, inside: Any) -> None:
    assert not ran.out.startswith("the child")
    assert not [line for line in ran.err.splitlines() if line.startswith("the child")]
    said = inside("why", "many-0-202611010002", cwd=root).out
    assert "PST-N011" in said
    assert "metrics: {name: number" in said
    assert "the child said so" in said


def test_nothing_is_left_of_what_failed(ran: Any, root: Path, inside: Any) -> None:
    made = sorted(path.name for path in (root / "store" / "bad").rglob("*") if path.is_file())
    assert len(made) == 3
    assert all("202611010007" in name for name in made)
    assert not [path for path in (root / "store").glob("_aside/**/*") if path.is_file()]
    assert inside("ingest", "--json", cwd=root).json["added"] == 3
    assert [
        row["data_id"]["visit"] % 100
        for row in rows(inside, root, "find", "quality", "--where", "seeing > 2")
    ] == [7]


def rows(inside: Any, root: Path, *words: object) -> list[dict[str, Any]]:
    return inside(*words, "--json", cwd=root).json["datasets"]


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """Give a PNG that knows nothing of itself."""
    path = tmp_path / "plain.png"
    open_format("png").write(path, np.arange(16, dtype=np.uint8).reshape(4, 4))
    return path


def test_a_picture_without_a_story_is_followed_only_once_it_is_taken_in(
    root: Path, tmp_path: Path, picture: Path, refused: Any, inside: Any
) -> None:
    project = Path(shutil.copytree(root, tmp_path / "project"))
    trace = refused("trace", picture, root=project)
    assert (trace["code"], trace["where"]) == ("PST-G011", str(picture))
    why = refused("why", picture, root=project)
    assert why["code"] == "PST-G012"
    assert "prestow ingest --as TYPE" in why["fix"]
    bare = refused("ingest", picture, root=project)
    assert bare["code"] == "PST-G005"
    assert "--as TYPE" in bare["fix"]
    assert (
        refused("ingest", "--as", "chart", picture, "visit=202611010001", root=project)["code"] == "PST-C026"
    )
    torn = picture.with_name("torn.png")
    torn.write_bytes(picture.read_bytes()[:40])
    problem = refused("ingest", "--as", "chart", torn, "instrument=simcam", root=project)
    assert (problem["code"], str(torn) in problem["where"]) == ("PST-I004", True)

    inside("ingest", "--as", "chart", picture, "instrument=simcam", cwd=project)
    assert "archive:external/chart/plain.png" in inside("trace", "chart{instrument=simcam}", cwd=project).out


def test_pictures_without_a_story_are_compared_by_their_pixels(
    root: Path, picture: Path, refused: Any, inside: Any
) -> None:
    other = picture.with_name("other.png")
    open_format("png").write(other, np.arange(1, 17, dtype=np.uint8).reshape(4, 4))
    assert inside("compare", picture, picture, "--strict", cwd=root).code == 0
    answer = inside("compare", picture, other, "--strict", "--json", cwd=root, ok=False)
    assert (answer.code, answer.json["counts"]["different"]) == (11, 1)
    torn = picture.with_name("torn.png")
    torn.write_bytes(picture.read_bytes()[:40])
    assert refused("compare", picture, torn, root=root)["where"] == str(torn)


def test_a_foreign_table_with_another_schema_is_refused_when_it_is_taken_in(
    root: Path, tmp_path: Path, refused: Any
) -> None:
    path = tmp_path / "stars.parquet"
    pq.write_table(pa.table({"id": pa.array([1], pa.int32()), "mag": [1.5]}), path)
    problem = refused(
        "ingest", "--as", "stars", path, "instrument=simcam", "visit=202611010006", "detector=0", root=root
    )
    assert problem["code"] == "PST-I008"
    assert problem["where"] == str(path)
    assert "'id' is int32, declared as int64" in problem["what"]
    assert "'flux' (float64) is missing" in problem["what"]


def test_foreign_metrics_that_are_no_mapping_are_refused_when_they_are_taken_in(
    root: Path, tmp_path: Path, refused: Any
) -> None:
    path = tmp_path / "quality.yaml"
    path.write_text("metrics: [1.5, 2.5]\n")
    problem = refused(
        "ingest", "--as", "quality", path, "instrument=simcam", "visit=202611010006", "detector=0", root=root
    )
    assert (problem["code"], problem["where"]) == ("PST-I004", str(path))
    assert "must be a mapping of names to numbers, not a list" in problem["what"]


def test_two_tasks_that_define_one_type_differently_are_both_named(
    root: Path, tmp_path: Path, refused: Any
) -> None:
    project = Path(shutil.copytree(root, tmp_path / "project"))
    (project / "tasks" / "other.py").write_text(
        "from prestow.tasks import task\n\n\n"
        "@task(\n"
        '    dimensions=["visit"],\n'
        '    inputs={"quality": {"type": "quality", "dimensions": ["visit"], "format": "yaml"}},\n'
        '    outputs={"note": {"type": "note", "dimensions": ["visit"], "format": "json"}},\n'
        ")\n"
        "def run(quantum):\n"
        "    return {'note': {}}\n"
    )
    with (project / "pipeline.yaml").open("a") as pipeline:
        pipeline.write("  other: tasks.other:run\n")
    for command in ("check", "plan"):
        problem = refused(command, root=project)
        assert problem["code"] == "PST-C031"
        told = " ".join(problem.values())
        assert f"tasks{os.sep}many.py:" in told
        assert f"tasks{os.sep}other.py:6:" in told
        assert "quality" in problem["what"]


def test_a_registry_tells_of_nothing_that_was_refused(ran: Any, root: Path, inside: Any) -> None:
    inside("ingest", cwd=root)
    with face.open(root) as project:
        taken = project.registry.datasets(["stars", "plot", "quality"], ["bad"]).to_pylist()
    assert sorted((row["type"], row["visit"] % 100) for row in taken) == [
        ("plot", 7), ("quality", 7), ("stars", 7)
    ]  # fmt: skip
