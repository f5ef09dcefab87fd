"""One campaign as one plan or as three: the same recipes; and declines are facts, not failures."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import prestow as face

TYPES = {
    "raw": "raw: {dimensions: [exposure, detector], format: fits}",
    "isr": "isr: {dimensions: [visit, detector], format: fits}",
    "calexp": "calexp: {dimensions: [visit, detector], format: fits}",
    "summary": "summary: {dimensions: [visit, detector], format: json}",
    "coadd": "coadd: {dimensions: [instrument, detector, band], format: fits}",
}
TASKS = {
    "isr": "isr: {dimensions: [visit, detector], run: 'tasks.isr:run', inputs: {raw: raw}, outputs: {isr: isr}}",
    "calibrate": (
        "calibrate: {dimensions: [visit, detector], run: 'tasks.calibrate:run', inputs: {isr: isr},"
        " outputs: {calexp: calexp, summary: summary}, config: {brightest_sky: 5000.0}}"
    ),
    "coadd": (
        "coadd: {dimensions: [instrument, detector, band], run: 'tasks.coadd:run',"
        " inputs: {calexp: {type: calexp, minimum: 1}}, outputs: {coadd: coadd}}"
    ),
}


def pipeline(name: str, tasks: list[str], types: list[str]) -> str:
    lines = ["schema: prestow.pipeline/1", f"name: {name}", "code: [tasks]", "dataset_types:"]
    lines += [f"  {TYPES[t]}" for t in types]
    lines += ["tasks:", *(f"  {TASKS[t]}" for t in tasks)]
    return "\n".join(lines) + "\n"


@pytest.fixture
def root(tmp_path: Path, inside: Any, small: Callable[[Path], Path]) -> Path:
    inside("init", "demo", cwd=tmp_path)
    root = small(tmp_path / "demo")
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    return root


def recipes(root: Path, run: str) -> dict[tuple[str, str], bytes]:
    with face.open(root) as project:
        return {
            (row["task"], row["data_id"]): row["planned_recipe"]
            for row in project.registry.quanta(run).to_pylist()
        }


def test_one_plan_or_three_give_equal_recipes_and_content(root: Path, inside: Any) -> None:
    (root / "pipeline.yaml").write_text(pipeline("whole", ["isr", "calibrate", "coadd"], list(TYPES)))
    for words in (("plan",), ("run", "--engine", "local"), ("ingest",)):
        inside(*words, cwd=root)
    cuts = [
        ("first", ["isr"], ["raw", "isr"], []),
        ("second", ["calibrate"], ["isr", "calexp", "summary"], ["--input", "first"]),
        ("third", ["coadd"], ["calexp", "coadd"], ["--input", "second"]),
    ]
    for name, tasks, types, inputs in cuts:
        (root / "pipeline.yaml").write_text(pipeline(name, tasks, types))
        inside("plan", *inputs, cwd=root)
        inside("run", "--engine", "local", cwd=root)
        inside("ingest", cwd=root)
    cut = {key: value for name, *_ in cuts for key, value in recipes(root, name).items()}
    assert cut == recipes(root, "whole")
    with face.open(root) as project:
        content = [
            {
                (r["band"], r["detector"]): r["content"]
                for r in project.registry.datasets(["coadd"], [run]).to_pylist()
            }
            for run in ("whole", "third")
        ]
    assert content[0] == content[1]
    assert len(content[0]) == 2


def test_an_unknown_collection_is_told_and_nothing_is_written(root: Path, inside: Any) -> None:
    answer = inside("plan", "--input", "nowhere", "--json", cwd=root, ok=False)
    assert (answer.code, answer.codes) == (4, ["PST-P001"])
    assert not (root / "plans").exists()


def test_a_decline_is_not_tried_again_and_a_child_run_takes_it_over(root: Path, inside: Any) -> None:
    text = pipeline("declining", ["isr", "calibrate", "coadd"], list(TYPES))
    (root / "pipeline.yaml").write_text(text.replace("5000.0", "0.0"))  # every sky is too bright
    inside("plan", cwd=root)
    first = inside("run", "--engine", "local", "--json", cwd=root).json
    assert first["counts"] == {"made": 4, "declined": 6}
    assert inside("run", "--engine", "local", "--json", cwd=root).json["jobs"] == 0
    inside("ingest", cwd=root)
    inside("plan", "--child-of", "declining", cwd=root)
    child = inside("run", "--engine", "local", "--json", cwd=root).json
    assert (child["jobs"], child["counts"]) == (0, {"reused": 10})
