"""From "it failed" to "resubmitted" by the command that is printed; what is asked for holds, and nothing settled is touched."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prestow.engines.journal import read_journal
from prestow.errors import Exit
from prestow.plan.retrying import read_retries
from prestow.testing.campaigns import Campaign

Inside = Callable[..., Any]

WITH_MEMORY = """
schema: prestow.pipeline/1
name: toy
code: [toytasks.py]
dataset_types:
  raw: {dimensions: [visit], format: json}
  doubled: {dimensions: [visit], format: json}
  shifted: {dimensions: [visit], format: json}
  total: {dimensions: [instrument], format: json}
tasks:
  double: {dimensions: [visit], run: "toytasks:double", inputs: {raw: raw}, outputs: {doubled: doubled}, resources: {memory: 2 GB}, tries: 1}
  shift: {dimensions: [visit], run: "toytasks:shift", inputs: {doubled: doubled}, outputs: {shifted: shifted}, tries: 1}
  gather:
    dimensions: [instrument]
    run: toytasks:gather
    inputs: {shifted: {type: shifted, minimum: all}}
    outputs: {total: total}
"""


def failing(
    base: Path, visits: range, task: str = "double", of: int = 6, **options: Any
) -> tuple[Campaign, Path]:
    flag = base / "broken"
    flag.touch()
    do = {visit: {task: {"what": "fail", "while": str(flag)}} for visit in visits}
    return Campaign(base / "c", visits=of, do=do, **options), flag


def files(campaign: Campaign) -> dict[str, tuple[str, int]]:
    """Everything that is committed, by content and by when it was written."""
    return {
        name: (hashlib.sha256(data).hexdigest(), (campaign.directory / "store" / name).stat().st_mtime_ns)
        for name, data in campaign.products().items()
    }


def printed(answer: Any) -> list[str]:
    """The commands of the line ``next:``, as somebody would paste them."""
    (line,) = [line for line in answer.out.splitlines() if line.startswith("next: ")]
    words = re.split(r"\s{4,}", line.removeprefix("next: "))[0]
    return [command.removeprefix("prestow ") for command in words.split(" && ")]


def test_what_is_printed_is_two_commands_and_what_is_committed_stays(tmp_path: Path, inside: Inside) -> None:
    campaign, flag = failing(tmp_path, range(2, 4), pipeline=WITH_MEMORY)
    root = campaign.directory
    inside("plan", cwd=root)
    run = inside("run", "--engine", "local", cwd=root, ok=False)
    assert run.code == Exit.FAILED
    before, texts = (
        files(campaign),
        {p: p.read_bytes() for p in root.glob("*.*") if p.suffix in (".yaml", ".py")},
    )
    status = inside("status", cwd=root)
    assert "2 failures of 1 cause:" in status.out
    assert "2  ValueError: no stars above <n> sigma" in status.out
    assert "instrument=toy,visit=2; instrument=toy,visit=3" in status.out
    assert printed(status) == printed(run) == ["retry --failed", "run"]

    flag.unlink()
    first, second = printed(status)
    put_back = inside(*first.split(), cwd=root)
    assert (
        "put back: 2 failed + 3 downstream = 5 jobs; 8 committed files stay; 0 committed names written again"
        in put_back.out
    )
    again = inside(*second.split(), "--engine", "local", "--json", cwd=root)
    assert (again.json["counts"], again.json["jobs"]) == ({"made": 13}, 5)
    after = files(campaign)
    assert {name: after[name] for name in before} == before, "nothing committed was written again"
    assert {p: p.read_bytes() for p in texts} == texts, "no file was edited"
    assert "2 jobs put back: 0 failed, 2 went on" in inside("status", cwd=root).out


def test_memory_is_a_factor_of_what_was_asked_last_and_survives(tmp_path: Path, inside: Inside) -> None:
    campaign, flag = failing(tmp_path, range(2, 4), pipeline=WITH_MEMORY)
    root = campaign.directory
    plan = inside("plan", "--json", cwd=root).json["plan"]
    inside("run", "--engine", "local", cwd=root, ok=False)
    directory = root / "plans" / plan
    untouched = {
        p.name: p.read_bytes() for p in directory.iterdir() if p.name not in ("journal.jsonl", "run.lock")
    }

    looked = inside("retry", "--memory", "x2", "-n", "--json", cwd=root).json
    assert (looked["failed"], looked["memory"], looked["dry_run"]) == (2, [4_000_000_000] * 2, True)
    assert not (directory / "retry.json").exists()
    inside("retry", "--failed", "--memory", "x2", cwd=root)
    inside("run", "--engine", "local", cwd=root, ok=False)
    twice = inside("retry", plan[:8], "double-2", "--memory", "x1.5", "--tries", "3", "--json", cwd=root).json
    assert (twice["jobs"], twice["memory"], twice["tries"]) == (["double-2"], [6_000_000_000] * 2, 3)
    changes = read_retries(directory).jobs
    assert {name: (c.times, c.memory, c.tries) for name, c in changes.items()} == {
        "double-2": (2, 6_000_000_000, 3), "double-3": (1, 4_000_000_000, None),
    }  # fmt: skip
    assert {p: (directory / p).read_bytes() for p in untouched} == untouched, (
        "it stands outside the plan's id"
    )

    run = inside("run", "--engine", "local", "--json", cwd=root, ok=False).json
    assert {f["job"]: f["tries"] for f in run["failures"]} == {"double-2": 3, "double-3": 1}
    assert any("memory is recorded only" in note for note in run["notes"])
    status = inside("status", "--json", cwd=root).json
    assert status["put_back"] == {"jobs": 2, "times": 3, "failed": 2}
    events = [line for line in read_journal(directory / "journal.jsonl") if line["event"] == "retry"]
    assert [(e["jobs"], e["memory"]) for e in events] == [
        (["double-2", "double-3"], [4_000_000_000] * 2), (["double-2"], [6_000_000_000] * 2),
    ]  # fmt: skip
    flag.unlink()
    assert inside("run", "--engine", "local", "--json", cwd=root).json["counts"] == {"made": 13}
    nothing = inside("retry", cwd=root)
    assert "no job failed" in nothing.out


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory, inside: Inside) -> Path:
    """One visit is lost, one failed for good, the others are made."""
    base = tmp_path_factory.mktemp("lossy")
    flag = base / "broken"
    flag.touch()
    do: dict[int, Any] = {1: {"double": {"what": "fail"}}, 2: {"shift": {"what": "fail", "while": str(flag)}}}
    campaign = Campaign(base / "c", visits=3, do=do, double="tolerate", minimum=1)
    inside("plan", cwd=campaign.directory)
    inside("run", "--engine", "local", cwd=campaign.directory, ok=False)
    flag.unlink()
    inside("run", "--engine", "local", cwd=campaign.directory, ok=False)
    return campaign.directory


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["double-1"], "PST-E040", "prestow repair"),
        (["shift-1"], "PST-E040", "it is blocked"),
        (["--lost"], "PST-E040", "prestow repair"),
        (["double-2"], "PST-E041", "it is made"),
        (["dubble-2"], "PST-R004", "did you mean 'double-2'?"),
        (["--memory", "lots"], "PST-E042", "--memory 16GB"),
        (["--memory", "12 apples"], "PST-E042", "is not a size"),
        (["--tries", "0"], "PST-E042", "0 tries"),
        (["double-2", "--failed"], "PST-G005", "leave out --failed"),
        (["--site", "nowhere.yaml"], "PST-C001", "nowhere.yaml"),
    ],
)
def test_what_cannot_be_put_back_is_one_clear_error(
    lossy: Path, inside: Inside, words: list[str], code: str, says: str
) -> None:
    answer = inside("retry", *words, cwd=lossy, ok=False)
    assert f"error[{code}]" in answer.err
    assert says in answer.err
    assert answer.code != 0
    assert not list(lossy.glob("plans/*/retry.json"))


def test_all_wrong_jobs_are_told_at_once(lossy: Path, inside: Inside) -> None:
    answer = inside("retry", "double-1", "double-2", "nothing-7", "--json", cwd=lossy, ok=False)
    assert answer.codes == ["PST-E040", "PST-E041", "PST-R004"]


def test_a_factor_of_nothing_and_a_damaged_file_are_told(tmp_path: Path, inside: Inside) -> None:
    campaign, _ = failing(tmp_path, range(2, 3), of=3)
    root = campaign.directory
    plan = inside("plan", "--json", cwd=root).json["plan"]
    inside("run", "--engine", "local", cwd=root, ok=False)
    assert inside("retry", "--memory", "x2", "--json", cwd=root, ok=False).codes == ["PST-E043"]
    (root / "plans" / plan / "retry.json").write_text('{"schema": "something else"}')
    answer = inside("run", "--engine", "local", cwd=root, ok=False)
    assert (answer.code, "error[PST-E046]" in answer.err) == (Exit.CONFIGURATION, True)


def test_a_site_that_was_named_is_where_the_next_run_goes(tmp_path: Path, inside: Inside) -> None:
    campaign, flag = failing(tmp_path, range(2, 3), of=3)
    root = campaign.directory
    inside("plan", cwd=root)
    inside("run", "--engine", "local", cwd=root, ok=False)
    flag.unlink()
    (root / "here.yaml").write_text("schema: prestow.site/1\nname: here\nengine: local\nbreaker: off\n")
    assert inside("retry", "--site", "here.yaml", "--json", cwd=root).json["site"] == str(root / "here.yaml")
    assert inside("run", "--json", cwd=root).json["counts"] == {"made": 7}


def test_the_breaker_stops_a_task_until_somebody_acts(tmp_path: Path, inside: Inside) -> None:
    campaign, flag = failing(tmp_path, range(1, 41), of=40)
    root = campaign.directory
    (root / "prestow.yaml").write_text((root / "prestow.yaml").read_text() + "breaker: 30%\n")
    inside("plan", cwd=root)
    first = inside("run", "--engine", "local", "--json", cwd=root, ok=False)
    assert (first.code, first.json["counts"]) == (Exit.FAILED, {"failed": 20, "pending": 61})
    (tripped,) = first.json["tripped"]
    assert (tripped["label"], tripped["cause"], tripped["failed"]) == (
        "double",
        "ValueError: no stars above <n> sigma",
        20,
    )
    status = inside("status", cwd=root)
    assert (
        "20 of 20 double jobs failed alike, no more are begun: ValueError: no stars above <n> sigma"
        in status.out
    )
    again = inside("run", "--engine", "local", "--json", cwd=root, ok=False)
    assert (again.code, again.json["jobs"]) == (Exit.FAILED, 0)
    flag.unlink()
    retry, run = printed(status)
    inside(*retry.split(), cwd=root)
    assert inside(*run.split(), "--engine", "local", "--json", cwd=root).json["counts"] == {"made": 81}


def test_the_breaker_can_be_off_and_bad_shares_are_refused(tmp_path: Path, inside: Inside) -> None:
    campaign, flag = failing(tmp_path, range(1, 25), of=24)
    root = campaign.directory
    inside("plan", cwd=root)
    off = inside("run", "--engine", "local", "--breaker", "off", "--json", cwd=root, ok=False).json
    assert (off["counts"], off["tripped"]) == ({"failed": 24, "pending": 25}, [])
    assert inside("run", "--breaker", "lots", "--json", cwd=root, ok=False).codes == ["PST-E042"]
    good = (root / "prestow.yaml").read_text()
    (root / "prestow.yaml").write_text(good + "breaker: 120%\n")
    wrong = inside("run", cwd=root, ok=False)
    assert (
        wrong.code,
        "prestow.yaml:6:10" in wrong.err,
        "write a share such as 20%, or off" in wrong.err,
    ) == (3, True, True)
    (root / "prestow.yaml").write_text(good + "breaker: off\n")
    flag.unlink()
    assert inside("run", "--engine", "local", "--json", cwd=root).json["counts"] == {"made": 49}


def test_why_of_any_job_says_what_else_failed_alike_and_what_to_type(tmp_path: Path, inside: Inside) -> None:
    campaign, _ = failing(tmp_path, range(2, 4), task="shift", of=4)
    root = campaign.directory
    inside("plan", cwd=root)
    inside("run", "--engine", "local", cwd=root, ok=False)
    why = inside("why", "shift-2", cwd=root)
    assert printed(why) == ["retry shift-2", "run"]
    assert "ValueError: no stars above <n> sigma: also shift-3; on " in why.out
    assert "blocks gather (and nothing else)" in why.out
    assert "looking for stars" in why.out
    stray = root / "store/toy/doubled/stray.json"
    stray.write_text(json.dumps({"flux": 1}))
    found = inside("why", str(stray), "--json", cwd=root).json
    assert (found["state"], found["file"]["class"]) == ("debris", "unexpected")


def test_a_plan_with_jobs_put_back_is_proved_as_before(tmp_path: Path, inside: Inside) -> None:
    campaign, _ = failing(tmp_path, range(2, 3), of=3)
    inside("plan", cwd=campaign.directory)
    inside("run", "--engine", "local", cwd=campaign.directory, ok=False)
    inside("retry", "--memory", "1GB", cwd=campaign.directory)
    inside("verify", cwd=campaign.directory)
