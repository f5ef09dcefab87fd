"""Trying things: a sample of a campaign, one task of it, two runs compared, a run removed, a quick look."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

import prestow
from prestow.errors import Exit


@pytest.fixture
def project(tmp_path: Path, inside) -> Path:
    """Give a project with its raw files taken in: eight visits, four in each of g and r."""
    inside("init", "demo", cwd=tmp_path)
    root = tmp_path / "demo"
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    return root


def test_a_sample_runs_and_leaves_production_alone(project: Path, inside) -> None:
    answer = inside("plan", "--sample", 2, cwd=project)
    assert "sample: 2 of " in answer.out
    facts = inside("plan", "--sample", 2, "--json", cwd=project).json
    assert facts["run"].endswith(".sample2")
    assert len(facts["sample"]["chosen"]) == 2
    inside("run", "--engine", "local", cwd=project)
    assert inside("status", "--json", cwd=project).json["counts"]["pending"] == 0
    whole = inside("plan", "--json", cwd=project).json
    assert (whole["exist"], whole["sample"]) == (0, None)
    assert whole["run"] + ".sample2" == facts["run"]
    with prestow.open(project) as opened:
        assert opened.plan(sample=2).id == facts["plan"]


def test_each_version_of_the_code_has_a_sample_of_its_own_to_compare(project: Path, inside) -> None:
    inside("plan", "--sample", 2, cwd=project)
    inside("run", "--engine", "local", cwd=project)
    code = project / "tasks" / "isr.py"
    before = code.read_text()
    code.write_text(before.replace("gain: float = 2.0", "gain: float = 3.0"))
    assert inside("plan", "--sample", 2, "--json", cwd=project).json["run"] == "demo.sample2-2"
    done = inside("run", "--engine", "local", "--only", "isr", "--json", cwd=project).json
    assert (done["exit_code"], set(done["unasked"])) == (0, {"calibrate", "coadd"})
    found = inside("compare", "demo.sample2", "demo.sample2-2", "--type", "isr", "--json", cwd=project).json
    assert found["counts"]["different"] == done["counts"]["made"] > 0
    assert inside(
        "compare",
        "demo.sample2",
        "demo.sample2-2",
        "--type",
        "isr",
        "--tolerance",
        0.34,
        "--json",
        cwd=project,
    ).json["same"]
    code.write_text(before)
    assert inside("plan", "--sample", 2, "--json", cwd=project).json["run"] == "demo.sample2"
    inside("remove", "--run", "demo.sample2", "--yes", cwd=project)
    assert inside("plan", "--sample", 2, "--json", cwd=project).json["run"] == "demo.sample2-3"


def test_one_task_is_run_and_what_is_left_is_told(project: Path, inside) -> None:
    inside("plan", cwd=project)
    answer = inside("run", "--engine", "local", "--only", "isr", cwd=project)
    assert "left for later:" in answer.out
    assert "of calibrate" in answer.out
    assert "next: prestow run" in answer.out
    assert "nothing to do" in inside("run", "--engine", "local", "--only", "isr", cwd=project).out
    wrong = inside("run", "--only", "irs", "--json", cwd=project, ok=False)
    assert (wrong.codes, wrong.json["problems"][0]["fix"]) == (["PST-G005"], "did you mean 'isr'?")
    assert inside("run", "--engine", "local", "--only", "calibrate", "--only", "coadd", cwd=project).code == 0
    assert inside("status", "--json", cwd=project).json["counts"]["pending"] == 0


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory, inside, small) -> Path:
    """Give a project with a run that is taken in, one of other configuration that is only made, and a chain."""
    base = tmp_path_factory.mktemp("two")
    inside("init", "demo", cwd=base)
    root = small(base / "demo")
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    for words in ((), ("--run", "same"), ("--run", "other", "--set", "isr.bias_level=990.0")):
        inside("plan", *words, cwd=root)
        inside("run", "--engine", "local", cwd=root)
        if not words:
            inside("ingest", cwd=root)
    return root


def test_runs_of_one_recipe_are_equal_though_their_bytes_differ(two_runs: Path, inside) -> None:
    """One is taken in, the other is known by its receipts alone."""
    found = inside("compare", "demo", "same", "--strict", "--json", cwd=two_runs).json
    assert found["same"]
    assert found["counts"] == {
        "equal": 14,
        "close": 0,
        "different": 0,
        "unreadable": 0,
        "only_a": 0,
        "only_b": 0,
    }
    one, other = (two_runs / "store" / run / "coadd" for run in ("demo", "same"))
    assert [f.read_bytes() for f in sorted(one.iterdir())] != [
        f.read_bytes() for f in sorted(other.iterdir())
    ]


def test_another_bias_level_is_seen_in_planes_and_documents(two_runs: Path, inside) -> None:
    answer = inside("compare", "demo", "other", "--strict", "--json", cwd=two_runs, ok=False)
    assert answer.code == Exit.DIFFERENT
    # what subtracts the sky does not see the bias
    assert {d["type"] for d in answer.json["differences"]} == {"isr", "summary"}
    isr = next(d for d in answer.json["differences"] if d["type"] == "isr")
    plane = next(p for p in isr["parts"] if p["what"] == "plane")
    assert plane["numbers"]["max_abs"] == pytest.approx(20.0)  # ten counts at a gain of two
    text = inside("compare", "demo", "other", "--type", "isr", cwd=two_runs).out
    assert "max |a-b| 20" in text
    assert "next: prestow look demo/isr/" in text
    assert (
        inside("compare", "demo", "other", "--type", "isr", "--atol", 21, "--strict", cwd=two_runs).code == 0
    )


def test_plans_files_and_directories_are_compared_too(two_runs: Path, inside) -> None:
    plans = {run: json.loads(inside("plan", *words, "--json", cwd=two_runs).out)["plan"]
             for run, words in {"demo": (), "same": ("--run", "same")}.items()}  # fmt: skip
    assert inside("compare", plans["demo"], plans["same"][:8], "--json", cwd=two_runs).json["same"]
    assert (
        inside("compare", "store/demo/", "store/same/", "--json", cwd=two_runs).json["counts"]["equal"] == 14
    )
    assert inside("compare", "store/demo/", "same", "--json", cwd=two_runs).json["counts"]["equal"] == 14
    assert inside("compare", "demo.all", "same", "--json", cwd=two_runs).json["same"]


def test_a_comparison_of_what_shares_nothing_is_one_clear_error(two_runs: Path, inside) -> None:
    answer = inside("compare", "demo", "raw-simcam", cwd=two_runs, ok=False)
    assert answer.code == Exit.USAGE
    assert "PST-G021" in answer.err
    assert "run demo has" in answer.err
    assert "8 isr" in answer.err or "4 isr" in answer.err
    assert "raw-simcam has" in answer.err
    answer = inside("compare", "demo", "sane", "--json", cwd=two_runs, ok=False)
    assert (answer.codes, answer.json["problems"][0]["fix"]) == (["PST-G003"], "did you mean 'same'?")


def test_a_damaged_product_is_told_and_the_rest_compared(two_runs: Path, inside, tmp_path: Path) -> None:
    path = next((two_runs / "store" / "other" / "isr").rglob("*.fits"))
    whole = path.read_bytes()
    path.chmod(0o644)
    path.write_bytes(whole[:3000])
    try:
        found = inside("compare", "demo", "other", "--type", "isr", "--json", cwd=two_runs).json
    finally:
        path.write_bytes(whole)
    assert found["counts"]["unreadable"] == 1
    assert found["differences"][0]["problem"]
    assert found["counts"]["different"] == 3


def test_a_run_is_removed_only_when_told_and_then_for_ever(
    two_runs: Path, inside, tmp_path: Path, tree
) -> None:
    root = Path(shutil.copytree(two_runs, tmp_path / "copy"))
    before = tree(root)
    answer = inside("remove", "--run", "demo", cwd=root)
    assert "would go: 14 datasets" in answer.out
    assert "next: prestow remove --run demo --yes" in answer.out
    assert tree(root) == before
    found = inside("remove", "--run", "demo", "--yes", "--json", cwd=root).json
    assert (found["removed"], found["datasets"], found["receipts"], len(found["plans"])) == (True, 14, 10, 1)
    assert not (root / "store" / "demo").exists()
    assert inside("ingest", "--run", "demo", "--json", cwd=root).json["added"] == 0
    assert inside("status", found["plans"][0], cwd=root, ok=False).code == Exit.USAGE
    assert inside("plan", "--run", "demo", "--json", cwd=root, ok=False).codes == ["PST-G023"]
    assert inside("compare", "demo", "same", "--json", cwd=root, ok=False).codes == ["PST-G021"]
    assert "was begun before" in inside("remove", "--run", "demo", "--yes", cwd=root).out
    assert inside("remove", "--run", "raw-simcam", "--json", cwd=root, ok=False).codes == ["PST-G023"]
    assert {name for name in tree(root) if name.startswith("store/same/")} == {
        name for name in before if name.startswith("store/same/")
    }


def test_the_graph_is_shown_of_a_plan_and_of_the_pipeline_alone(two_runs: Path, inside) -> None:
    of_pipeline = inside("show", "--graph", "--pipeline", cwd=two_runs).out
    assert of_pipeline.startswith("flowchart TD\n")
    assert "quanta" not in of_pipeline
    of_plan = inside("show", "--graph", cwd=two_runs).out
    assert of_plan == inside("show", "--graph", "latest", cwd=two_runs).out
    assert of_plan == inside("show", "latest", "--graph", "mermaid", cwd=two_runs).out
    assert "4 quanta, 4 jobs" in of_plan
    assert inside("show", "--graph", "dot", cwd=two_runs).out.startswith("digraph prestow {")
    found = inside("show", "--graph", "--json", cwd=two_runs).json
    assert {n["name"] for n in found["nodes"] if n["external"]} == {"raw"}
    assert {e["connection"] for e in found["edges"] if e["target"] == "task:coadd"} == {"calexp"}
    assert inside("show", "x", "y", "--graph", "--json", cwd=two_runs, ok=False).codes == ["PST-G005"]


def test_a_quick_look_at_products(two_runs: Path, inside, tmp_path: Path) -> None:
    answer = inside(
        "look", "coadd", "band=g", "detector=0", "--run", "demo", "--into", tmp_path / "g.png", cwd=two_runs
    )
    assert "white" in answer.out
    assert f"picture: {tmp_path / 'g.png'}" in answer.out
    assert (tmp_path / "g.png").read_bytes().startswith(b"\x89PNG")
    path = next((two_runs / "store" / "demo" / "summary").rglob("*.json")).relative_to(two_runs)
    for word in (path, path.relative_to("store")):
        assert inside("look", word, "--json", cwd=two_runs).json["kind"] == "document"
    again = inside("look", path, "--into", tmp_path / "x.png", "--json", cwd=two_runs, ok=False)
    assert again.codes == ["PST-G024"]
    with prestow.open(two_runs) as project:
        assert (
            project.look("coadd{band=g,detector=0}", run="demo")._repr_png_()
            == (tmp_path / "g.png").read_bytes()
        )
