"""Reuse that a person asks for: of any run, made again all the same, or left as it was lost."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, inside: Callable[..., Any]) -> Path:
    """The example, run and taken in."""
    base = tmp_path_factory.mktemp("reuse")
    inside("init", "demo", cwd=base)
    root = base / "demo"
    for path in (root / "raw").iterdir():
        number, detector = path.stem.split("-")[2:]
        if int(number) not in (1, 3, 5) or detector != "0":
            path.unlink()
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", cwd=root)
    (base / "first").write_text(next(p.name for p in (root / "plans").iterdir() if p.name != "latest"))
    inside("run", "--engine", "local", cwd=root)
    inside("ingest", cwd=root)
    return root


def local(call: Callable[..., Any], *words: str, cwd: Path, ok: bool = True) -> Any:
    return call("run", "--engine", "local", "--json", *words, cwd=cwd, ok=ok)


def test_a_run_of_no_family_takes_what_any_run_has(made: Path, inside: Callable[..., Any]) -> None:
    inside("plan", "--run", "stranger", cwd=made)
    done = local(inside, "--reuse", "any", cwd=made).json
    assert (done["jobs"], set(done["counts"])) == (0, {"reused"})
    # What was said holds for the plan: for the next command, and for those that only look.
    assert local(inside, cwd=made).json["jobs"] == 0
    status = inside("status", "--json", cwd=made).json
    assert all(set(filter(counts.get, counts)) == {"reused"} for counts in status["tasks"].values())


def test_a_job_says_what_it_needs_and_why(made: Path, inside: Callable[..., Any]) -> None:
    demo = (made.parent / "first").read_text()
    told = inside("show", demo, "coadd-g-0", "--json", cwd=made).json["needs"]
    assert told["cpu_seconds"] == {"value": 0.1, "from": "coadd: 0.1"}
    assert told["priority"]["value"] == 1
    text = inside("show", demo, "coadd-g-0", cwd=made).out
    assert "output_bytes  8,000  from coadd: 8000.0" in text


def test_what_is_forced_is_made_again_with_what_follows(made: Path, inside: Callable[..., Any]) -> None:
    plan = inside("plan", "--child-of", "demo", "--json", cwd=made).json
    run = local(inside, "--force", "calibrate", cwd=made).json
    tasks = {task: {state for state, n in counts.items() if n} for task, counts in run["tasks"].items()}
    assert tasks == {"isr": {"reused"}, "calibrate": {"made"}, "coadd": {"made"}}
    assert plan["run"] == "demo+1"
    both = [sorted((made / "store" / name / "coadd").rglob("*.fits")) for name in ("demo", "demo+1")]
    assert [len(found) for found in both] == [1, 1]


def test_in_one_run_settled_is_for_ever(made: Path, inside: Callable[..., Any]) -> None:
    demo = (made.parent / "first").read_text()
    said = local(inside, demo, "--force", "coadd", cwd=made, ok=False)
    assert said.codes == ["PST-P042"]
    assert "--child-of demo" in said.json["problems"][0]["fix"]


def test_every_wrong_name_is_said_at_once(made: Path, inside: Callable[..., Any]) -> None:
    words = ("--reuse", "stranga", "--force", "coad", "--keep", "nothing")
    said = local(inside, *words, cwd=made, ok=False)
    fixes = [p["fix"] for p in said.json["problems"] if p["code"] == "PST-P042"]
    assert "did you mean 'stranger'?" in fixes
    assert "did you mean 'coadd'?" in fixes
    assert len(fixes) == 3


def test_a_plan_tells_what_it_would_take_and_keeps_the_choice(made: Path, inside: Callable[..., Any]) -> None:
    looked = inside("plan", "--run", "told", "--reuse", "demo", "--dry-run", "--json", cwd=made).json
    assert (looked["reused"], looked["total"]["quanta"]) == (7, 7)
    look = inside("plan", "--run", "told", "--reuse", "demo", "--dry-run", cwd=made)
    assert "next: prestow plan --run told --reuse demo" in look.out
    said = inside("plan", "--run", "told", "--reuse", "demo", cwd=made)
    assert "of 7 quanta 7 are taken from run demo" in said.out
    assert inside("plan", "--run", "told", "--json", cwd=made).json["reused"] == 7
    done = local(inside, cwd=made).json
    assert (done["jobs"], set(done["counts"])) == (0, {"reused"})


def test_a_plan_that_would_take_from_no_run_is_not_written(made: Path, inside: Callable[..., Any]) -> None:
    before = sorted(p.name for p in (made / "plans").iterdir())
    said = inside("plan", "--run", "no_such", "--reuse", "dema", "--json", cwd=made, ok=False)
    assert said.codes == ["PST-P042"]
    assert "did you mean 'demo'?" in said.json["problems"][0]["fix"]
    assert sorted(p.name for p in (made / "plans").iterdir()) == before
