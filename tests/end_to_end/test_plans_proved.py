"""Plans as plans, from the command line: proved again, compared, listed, dropped; names reserved between operators."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from prestow.testing.campaigns import Campaign


@pytest.fixture
def root(tmp_path: Path) -> Path:
    Campaign(tmp_path / "one", visits=3)
    return tmp_path / "one"


def reservations(root: Path) -> list[str]:
    return sorted(p.name for p in (root / "store" / "_reservations").rglob("*") if p.is_file())


def test_a_plan_is_proved_and_a_damaged_one_is_refused(root: Path, inside: Any) -> None:
    inside("plan", cwd=root)
    good = inside("verify", cwd=root)
    assert good.out.splitlines()[-2].endswith("7 jobs, 7 quanta, 7 outputs: proved")
    assert inside("verify", "--json", cwd=root).json["proved"] is True
    (plan,) = (root / "plans").glob("?" * 32)
    text = (plan / "plan.yaml").read_text()
    (plan / "plan.yaml").write_text(text.replace("run: toy\n", "run: other\n", 1))
    bad = inside("verify", "--json", cwd=root, ok=False)
    assert bad.code == 4
    assert [f["code"] for f in bad.json["findings"]] == ["PST-V004"]
    (plan / "plan.yaml").write_text(text)
    (plan / "inputs.parquet").unlink()
    bad = inside("verify", plan.name[:8], cwd=root, ok=False)
    assert (bad.code, bad.out.count("error[PST-V001]")) == (4, 1)
    assert "inputs.parquet" in bad.out


def test_a_second_operator_is_refused_until_the_first_gives_up(root: Path, inside: Any) -> None:
    other = Path(shutil.copytree(root, root.parent / "two"))
    config = (other / "prestow.yaml").read_text()
    (other / "prestow.yaml").write_text(config.replace("store: store", f"store: {root}/store"))
    first = inside("plan", "--where", "visit < 3", "--json", cwd=root).json
    dry = inside("plan", "--dry-run", "--json", cwd=other, ok=False)
    second = inside("plan", "--json", cwd=other, ok=False)
    for answer in (dry, second):
        assert (answer.code, answer.codes) == (4, ["PST-P031"])
    (problem,) = second.json["problems"]
    assert first["plan"][:8] in problem["what"]
    assert "toy/total/total-toy.json" in problem["what"]
    assert not list((other / "plans").glob("?" * 32))
    assert len(reservations(root)) == 2
    listed = inside("plan", "--list", "--json", cwd=other).json["plans"]
    assert [(row["plan"], row["here"], row["reserved"]) for row in listed] == [(first["plan"], False, True)]
    dropped = inside("drop", first["plan"][:8], "--json", cwd=root).json
    assert (dropped["forgotten"], dropped["freed"], dropped["settled"]) == (True, True, 0)
    assert reservations(root) == []
    inside("plan", cwd=other)
    assert "its names are reserved" in inside("show", cwd=other).out
    assert "reserved, newest" in inside("plan", "--list", cwd=other).out


def test_names_are_free_again_once_all_is_taken_in(root: Path, inside: Any) -> None:
    inside("plan", cwd=root)
    inside("run", "--engine", "local", cwd=root)
    assert len(reservations(root)) == 2
    inside("ingest", cwd=root)
    assert reservations(root) == []
    inside("run", "--engine", "local", cwd=root)  # nothing is left to do, and nothing to reserve
    assert reservations(root) == []
    kept = inside("drop", "latest", "--json", cwd=root).json
    assert (kept["forgotten"], kept["settled"], kept["quanta"]) == (False, 7, 7)
    assert inside("plan", "--list", "--json", cwd=root).json["plans"][0]["here"] is True


def test_dropping_what_is_not_there_is_refused_and_so_is_what_runs(root: Path, inside: Any) -> None:
    from prestow.engines.journal import run_lock

    assert inside("drop", "nobody", "--json", cwd=root, ok=False).codes == ["PST-P008"]
    inside("plan", cwd=root)
    (plan,) = (root / "plans").glob("?" * 32)
    with run_lock(plan):
        busy = inside("drop", "latest", "--json", cwd=root, ok=False)
    assert busy.codes == ["PST-R005"]
    assert plan.is_dir()
    assert len(reservations(root)) == 2


def test_two_plans_are_compared_with_reasons(root: Path, inside: Any) -> None:
    inside("plan", cwd=root)
    inside("plan", "--run", "less", "--where", "visit != 2", cwd=root)
    text = inside("diff", "toy", "less", cwd=root).out
    assert "request run: toy -> less" in text
    assert "removed double: instrument=toy,visit=2" in text
    assert "downstream: 1 quantum of gather, shifted: upstream removed" in text
    assert "0 output names in common with different lineage" in text
    facts = inside("diff", "toy", "less", "--strict", "--json", cwd=root, ok=False)
    assert facts.code == 11
    assert facts.json["tasks"][0] == {
        "task": "double", "same": 2, "changed": 0, "downstream": 0, "added": 0, "removed": 1,
    }  # fmt: skip
    assert inside("diff", "latest", "less", "--strict", cwd=root).code == 0
    assert json.loads(inside("diff", "toy", "toy", "--json", cwd=root).out)["equal"] is True
    assert inside("diff", "toy", "nobody", "--json", cwd=root, ok=False).codes == ["PST-P008"]
