"""Asking for outputs, and cutting a campaign: as people do it, to the last file."""

import json
from pathlib import Path

import pytest

FIRST = 202611010001


@pytest.fixture(scope="module")
def root(tmp_path_factory, inside, small) -> Path:
    base = tmp_path_factory.mktemp("asking")
    inside("init", "demo", cwd=base)
    root = small(base / "demo")
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    return root


def quanta(answer) -> dict[str, int]:
    return {row["task"]: row["quanta"] for row in answer["tasks"]}


def test_what_is_wanted_is_planned_shown_and_asked_for_again(root: Path, inside) -> None:
    words = ("--want", f"calexp{{visit={FIRST + 1}}}", "--want", f"isr{{visit={FIRST}}}")
    answer = inside("plan", *words, "--run", "wanted", "--json", cwd=root).json
    whole = inside("plan", "--run", "wanted", "-n", "--json", cwd=root).json
    assert sum(quanta(answer).values()) < sum(quanta(whole).values())
    assert answer["want"] == [f"calexp{{visit = {FIRST + 1}}}", f"isr{{visit = {FIRST}}}"]
    line = f"wanted: calexp{{visit = {FIRST + 1}}}, isr{{visit = {FIRST}}}"
    dry = inside("plan", *words, "--run", "wanted", "-n", cwd=root).out
    assert line in dry and line in inside("show", answer["plan"], cwd=root).out
    assert f"--want 'calexp{{visit={FIRST + 1}}}'" in dry.splitlines()[-1]
    assert inside("verify", answer["plan"], cwd=root).code == 0


def test_parts_are_planned_run_and_taken_in_apart(root: Path, inside) -> None:
    found = inside("plan", "--components", "--run", "apart", "--json", cwd=root).json
    assert found["schema"] == "prestow.plan-components/1"
    assert found["components"] == sum(row["components"] for row in found["histogram"]) > 1
    whole = inside("plan", "--run", "apart", "-n", "--json", cwd=root).json
    parts = [inside("plan", "--run", "apart", "--part", f"{k}/2", "--json", cwd=root).json for k in (1, 2)]
    assert [part["part"] for part in parts] == ["1/2", "2/2"]
    assert {t: sum(quanta(part)[t] for part in parts) for t in quanta(whole)} == quanta(whole)
    for part in parts:
        assert inside("verify", part["plan"], cwd=root).code == 0
        inside("run", part["plan"], "--engine", "local", cwd=root)
    inside("ingest", "--run", "apart", cwd=root)
    made = inside("find", "isr", "--run", "apart", "--json", cwd=root).json
    assert len(made["datasets"]) == quanta(whole)["isr"]


def test_parts_and_wants_before_a_barrier(root: Path, inside) -> None:
    path = root / "pipeline.yaml"
    text = path.read_text()
    task = "    inputs: {calexp: {type: calexp, minimum: 2}}"
    assert task in text
    path.write_text(text.replace(task, f"{task}\n    barrier: true"))
    try:
        ask = ("plan", "--run", "staged", "--json")
        wanted = inside(*ask, "-n", "--want", "coadd{band=r}", cwd=root).json
        assert wanted["want"] == ["calexp"]
        before = inside(*ask, "--components", cwd=root).json
        assert before["components"] == quanta(inside(*ask, "-n", cwd=root).json)["isr"]
        for k in (1, 2):
            part = inside(*ask, "--part", f"{k}/2", cwd=root).json
            assert set(quanta(part)) == {"isr", "calibrate"}
            inside("run", part["plan"], "--engine", "local", cwd=root)
            inside("ingest", "--run", "staged", cwd=root)
        after = inside(*ask, "--part", "1/2", cwd=root).json
        assert set(quanta(after)) == {"coadd"}
        assert 2 * quanta(after)["coadd"] == inside(*ask, "--components", cwd=root).json["components"]
        assert inside(*ask, "-n", "--want", "coadd{band=r}", cwd=root).json["want"] == ["coadd{band = 'r'}"]
    finally:
        path.write_text(text)


@pytest.mark.parametrize(
    ("words", "codes", "says"),
    [
        (["--want", "isrr"], ["PST-P050"], "did you mean 'isr'?"),
        (["--want", "raw", "--want", "isr{vist=3}"], ["PST-P050", "PST-C027"], "did you mean visit?"),
        (["--want", "isr{visit=3}"], ["PST-P051"], "0 left of 4 isr (visit here:"),
        (["--part", "3/2"], ["PST-P052"], "write K/N"),
        (["--part", "1/500"], ["PST-P052"], "prestow plan --components"),
    ],
)
def test_bad_input_has_one_answer_and_nothing_is_written(root: Path, inside, words, codes, says) -> None:
    plans = sorted(root.glob("plans/*"))
    answer = inside("plan", "--run", "another", *words, "--json", cwd=root, ok=False)
    assert (answer.code, answer.codes) == (4, codes)
    assert says in json.dumps(answer.json["problems"], ensure_ascii=False).replace('\\"', '"')
    assert sorted(root.glob("plans/*")) == plans
