"""`prestow submit`: emitted, planned, run, taken in; again for what remains; and what stands against it."""

from __future__ import annotations

import importlib.util
import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prestow.engines import open_engine
from prestow.engines.pegasus.jobstates import read_jobs, standing
from prestow.engines.pegasus.readme import planner_words
from prestow.engines.pegasus.tools import find_tools, plan_workflow
from prestow.model.flat import flat_name, flat_path
from prestow.site import read_site
from prestow.testing.campaigns import Campaign

spec = importlib.util.spec_from_file_location(
    "pegasus_stand_in", Path(__file__).parents[1] / "pegasus_stand_in.py"
)
assert spec is not None
assert spec.loader is not None
stand_in = importlib.util.module_from_spec(spec)
spec.loader.exec_module(stand_in)

Submit = Callable[..., Any]


@pytest.fixture
def submit(tmp_path: Path, inside: Any, site_file: Any, monkeypatch: pytest.MonkeyPatch) -> Submit:
    """Type ``prestow submit`` in the directory of a campaign, with Pegasus's stand-in on the path."""
    monkeypatch.delenv("PEGASUS_HOME", raising=False)

    def call(campaign: Campaign, *words: object, ok: bool = True, bin: str = "bin", **facts: Any) -> Any:  # noqa: A002
        programs = stand_in.install(tmp_path / bin, **facts)
        monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
        site = campaign.directory / "pool.yaml"
        if not site.exists():
            site_file(campaign.directory)
            site.write_text(site.read_text() + "  retries: 0\n")
        return inside("submit", "--site", site, *words, cwd=campaign.directory, ok=ok)

    return call


def record(campaign: Campaign, number: int) -> dict[str, Any]:
    (path,) = (campaign.directory / "plans").glob(f"*/submissions/{number}.json")
    return json.loads(path.read_text())


def counts(inside: Any, campaign: Campaign) -> dict[str, int]:
    found = inside("status", "--json", cwd=campaign.directory).json["counts"]
    return {state: count for state, count in found.items() if count}


def test_a_failed_job_is_told_and_what_remains_is_handed_over_again(
    tmp_path: Path, inside: Any, submit: Submit
) -> None:
    flag = tmp_path / "clouds"
    flag.touch()
    campaign = Campaign(tmp_path / "c", do={2: {"double": {"what": "fail", "while": str(flag)}}})
    campaign.plan()
    first = submit(campaign, "--json").json
    assert (first["number"], first["jobs"], first["settled"]) == (1, 7, 0)
    assert record(campaign, 1)["step"] == "submitted"
    assert record(campaign, 1)["versions"]["pegasus"] == "5.0.9"

    assert counts(inside, campaign) == {"made": 4, "failed": 1, "pending": 2}
    shown = inside("status", cwd=campaign.directory).out
    assert "submission 1 ended: jobs 2 unready, 1 failed, 4 done" in shown
    assert "next: prestow submit --site pool.yaml" in shown
    told = inside("why", "double-2", cwd=campaign.directory).out
    assert "[PST-N007] ValueError: no stars above 5 sigma" in told
    assert "looking for stars" in told
    assert "\nnext: prestow submit --site pool.yaml          or look into it: prestow debug double-2" in told
    told = inside("why", "shift-2", cwd=campaign.directory).out
    assert "retry" not in told
    page = inside("report", "--json", cwd=campaign.directory, ok=False).json
    assert page["causes"][0]["commands"][-1] == "prestow submit --site pool.yaml"

    flag.unlink()
    foreseen = submit(campaign, "--dry-run", "--json").json
    assert (foreseen["number"], foreseen["jobs"], foreseen["settled"]) == (None, 3, 4)
    second = submit(campaign, "--json").json
    assert (second["number"], second["jobs"], second["quanta"], second["settled"]) == (2, 3, 3, 4)
    workflow = json.loads((Path(second["directory"]) / "workflow.yml").read_text())
    assert sorted(job["nodeLabel"] for job in workflow["jobs"]) == ["double-2", "gather", "shift-2"]
    inside("verify", Path(second["directory"]).parents[1], second["directory"], cwd=campaign.directory)
    assert counts(inside, campaign) == {"made": 7}
    third = submit(campaign)
    assert "nothing remains; 7 settled before" in third.out
    assert not list((campaign.directory / "plans").glob("*/submissions/3*"))

    answer = inside("ingest", "--json", cwd=campaign.directory).json
    assert answer["findings"] == {"irreproducible": 0, "contradictory": 0}
    assert inside("account", "--json", cwd=campaign.directory).json["closes"]
    local = Campaign(tmp_path / "local")
    local.run(open_engine("local"))
    own = {name: data for name, data in campaign.products().items() if name.startswith("toy/")}
    assert len(own) == 7
    assert [json.loads(data)["flux"] for name, data in sorted(own.items())] == [
        json.loads(local.products()[name])["flux"] for name in sorted(own)
    ]


def test_what_was_killed_and_is_tolerated_is_lost_between_two_submissions(
    tmp_path: Path, inside: Any, submit: Submit
) -> None:
    campaign = Campaign(tmp_path / "c", do={2: {"double": {"what": "kill"}}}, double="tolerate", minimum=2)
    campaign.plan()
    submit(campaign)
    assert counts(inside, campaign) == {"made": 4, "failed": 1, "pending": 2}
    told = inside("why", "double-2", cwd=campaign.directory).out
    assert "[PST-E073] killed by signal 9, as where memory runs out" in told
    reports = list((campaign.directory / "store/_attempts/double-2").iterdir())
    inside("status", cwd=campaign.directory)
    assert list((campaign.directory / "store/_attempts/double-2").iterdir()) == reports

    foreseen = submit(campaign, "--dry-run", "--json").json
    assert foreseen["sealed"] == [
        "double(instrument=toy,visit=2): killed by signal 9, as where memory runs out"
    ]
    assert counts(inside, campaign)["failed"] == 1
    second = submit(campaign, "--json").json
    assert second["sealed"] == foreseen["sealed"]
    assert second["jobs"] == 2
    assert counts(inside, campaign) == {"made": 5, "lost": 1, "blocked": 1}
    assert campaign.product("total")["visits"] == [1, 3]


LANDING = """
schema: prestow.site/1
name: pool
engine: pegasus
pegasus: {{python: {python}, work: /work, retries: 0}}
"""


def test_what_landed_is_committed_before_what_remains_is_handed_over(
    tmp_path: Path, inside: Any, submit: Submit
) -> None:
    flag = tmp_path / "clouds"
    flag.touch()
    campaign = Campaign(tmp_path / "c", visits=2, do={2: {"shift": {"what": "fail", "while": str(flag)}}})
    campaign.plan()
    (campaign.directory / "pool.yaml").write_text(LANDING.format(python=json.dumps(sys.executable)))
    submit(campaign)
    assert record(campaign, 1)["products"] == "landing"
    assert not (campaign.directory / "store/_receipts").exists()
    assert counts(inside, campaign) == {"failed": 1, "pending": 4}  # nothing is committed yet
    told = inside("why", "shift-2", cwd=campaign.directory).out
    assert "[PST-N007] ValueError: no stars above 5 sigma" in told
    flag.unlink()
    second = submit(campaign, "--json").json
    assert (second["number"], second["jobs"], second["settled"]) == (2, 2, 3)
    told = inside("status", cwd=campaign.directory).out
    assert "\n  what they made has landed, and is not committed yet\n" in told
    assert "\nnext: prestow ingest\n" in told
    assert submit(campaign, "--json").json["jobs"] == 0
    assert counts(inside, campaign) == {"made": 5}
    assert campaign.product("total")["visits"] == [1, 2]
    names = {name for name in campaign.products() if name.startswith("toy/")}
    assert len(names) == 5


def test_while_an_earlier_one_runs_nothing_is_handed_over_unless_somebody_says_so(
    tmp_path: Path, inside: Any, submit: Submit
) -> None:
    campaign = Campaign(tmp_path / "c", visits=1, do={1: {"double": {"what": "fail"}}})
    campaign.plan()
    submit(campaign, breaks_off=True)
    refused = submit(campaign, "--json", ok=False)
    assert (refused.code, refused.codes) == (7, ["PST-E072"])
    assert "1 failed" in refused.json["problems"][0]["what"]
    assert "under way" in inside("status", cwd=campaign.directory).out
    (log,) = campaign.directory.glob("plans/*/submissions/1.submit/*/*/jobstate.log")
    with log.open("a") as stream:
        stream.writelines(
            f"{at} node_double-1 {event} 900.0 pool - 9\n"
            for at, event in ((1_790_000_100, "SUBMIT"), (1_790_000_101, "JOB_HELD"))
        )
    (log.parent / "w-0.dag.nodes.log").write_text(
        "012 (900.000.000) 2026-01-01 00:00:00 Job was held.\n\tno room for its outputs\n\tCode 12 Subcode 2\n...\n"
    )
    assert counts(inside, campaign) == {"held": 1, "pending": 2}
    assert "HELD double-1: no room for its outputs" in inside("status", cwd=campaign.directory).out
    assert "its job is held: no room for its outputs" in inside("why", "double-1", cwd=campaign.directory).out
    accounted = inside("account", "--json", cwd=campaign.directory, ok=False).json
    assert (accounted["states"]["held"], accounted["states"]["failed"], accounted["closes"]) == (1, 0, False)
    page = inside("report", "--json", cwd=campaign.directory, ok=False).json
    assert (page["counts"]["held"], page["counts"]["failed"]) == (1, 0)

    again = submit(campaign, "--again", "--json").json
    assert again["number"] == 2
    assert "submission 1 still runs" in again["notes"]


def recorded_otherwise(inside: Any, campaign: Campaign) -> list[dict[str, Any]]:
    """Give the findings about what Pegasus recorded."""
    found = inside("findings", "--json", cwd=campaign.directory, ok=False).json["findings"]
    return [one for one in found if "Pegasus" in one["facts"]["what"]]


@pytest.mark.parametrize(
    ("layout", "products", "kind"),
    [
        ("tree", "store", "_receipts/toy/shift/"),
        ("flat", "store", "_receipts/toy/shift/"),
        ("flat", "landing", "toy/shifted/"),
    ],
)
def test_other_bytes_than_were_committed_are_a_finding(
    layout: str, products: str, kind: str, tmp_path: Path, inside: Any, submit: Submit
) -> None:
    campaign = Campaign(tmp_path / "c", visits=1)
    campaign.plan()
    site = LANDING.format(python=json.dumps(sys.executable)) + f"layout: {layout}\n"
    seen = f"stores: {json.dumps(campaign.stores)}\n" if products == "store" else ""
    (campaign.directory / "pool.yaml").write_text(site + seen)
    submit(campaign)
    (meta,) = campaign.directory.glob("plans/*/submissions/1.submit/*/*/*.cache.meta")
    lines = meta.read_text().splitlines()
    started = flat_name(kind) if layout == "flat" else kind
    wrong = next(line for line in lines if line.startswith(started))
    digest = wrong.split('checksum.value="')[1][:64]
    meta.write_text("\n".join([*lines, ""]).replace(digest, digest[::-1]))
    inside("ingest", cwd=campaign.directory, ok=False)
    (found,) = recorded_otherwise(inside, campaign)
    recorded = wrong.split(" ")[0]
    assert found["facts"]["path"] == (flat_path(recorded) if layout == "flat" else recorded)
    assert found["facts"]["recorded"]["sha256"] == digest[::-1]
    assert found["facts"]["committed"]["sha256"] == digest
    inside("ingest", cwd=campaign.directory, ok=False)
    assert recorded_otherwise(inside, campaign) == [found]


# ---------------------------------------------------------------- what stands against it


@pytest.fixture
def copied(planned_campaign: Path, tmp_path: Path) -> Campaign:
    shutil.copytree(planned_campaign, tmp_path / "c")
    return Campaign(tmp_path / "c", visits=1)


def refused(answer: Any, code: str, exit_code: int) -> str:
    assert (answer.code, answer.codes) == (exit_code, [code])
    return answer.json["problems"][0]["what"]


def test_without_pegasus_it_says_so_and_a_dry_run_still_tells(
    copied: Campaign, inside: Any, submit: Submit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    submit(copied, "--dry-run")
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    words = ("submit", "--site", "pool.yaml", "--json")
    assert "no pegasus-plan" in refused(inside(*words, cwd=copied.directory, ok=False), "PST-E070", 7)
    assert not list(copied.directory.glob("plans/*/submissions"))
    foreseen = inside(*words, "-n", cwd=copied.directory).json
    assert foreseen["jobs"] == 3
    assert "there is no pegasus-plan" in foreseen["notes"][0]
    monkeypatch.setenv("PEGASUS_HOME", str(tmp_path))
    assert inside(*words, "-n", cwd=copied.directory).json["notes"] == []


def test_an_old_pegasus_and_one_that_refuses(copied: Campaign, submit: Submit) -> None:
    old = submit(copied, "--json", ok=False, bin="old", version="4.9.3")
    assert refused(old, "PST-E070", 7) == "this is Pegasus 4.9.3"
    says = "2026.01.01 00:00:00.000 UTC: [FATAL ERROR]\n [1] java.lang.RuntimeException: no site pool at a.b.C(D.java:1)"
    no = submit(copied, "--json", ok=False, bin="no", says=says)
    assert refused(no, "PST-E071", 7) == "pegasus-plan ended with 1: java.lang.RuntimeException: no site pool"
    assert record(copied, 1)["step"] == "given up"
    (log,) = copied.directory.glob("plans/*/submissions/1.log")
    assert "no site pool" in log.read_text()
    assert submit(copied, "--json").json["number"] == 2


def test_a_store_that_is_not_where_the_site_says(copied: Campaign, submit: Submit, site_file: Any) -> None:
    site_file(copied.directory, archive=f"file://{copied.directory}/elsewhere")
    assert "'archive' is not there" in refused(submit(copied, "--json", ok=False), "PST-E076", 7)
    (copied.directory / "elsewhere").mkdir()
    assert "this is another" in refused(submit(copied, "--json", ok=False), "PST-E076", 7)
    assert not list(copied.directory.glob("plans/*/submissions/*"))


def test_a_plan_that_is_older_than_its_inputs(copied: Campaign, submit: Submit) -> None:
    raw = copied.directory / "store/raw/toy/raw-1.json"
    before = raw.read_bytes()
    raw.unlink()
    assert "not there any more" in refused(submit(copied, "--json", ok=False), "PST-E078", 7)
    raw.write_bytes(before + b" ")
    assert "bytes, and had" in refused(submit(copied, "--json", ok=False), "PST-E078", 7)
    raw.write_bytes(before.replace(b"1", b"7"))
    assert "others than when it was planned" in refused(submit(copied, "--json", ok=False), "PST-E078", 7)
    raw.write_bytes(before)
    assert "with the same bytes" in submit(copied, "--dry-run", "--json").json["notes"][0]


def test_a_site_for_another_engine_and_a_record_that_is_damaged(
    copied: Campaign, submit: Submit, inside: Any
) -> None:
    (copied.directory / "here.yaml").write_text("schema: prestow.site/1\nname: here\n")
    other = inside("submit", "--site", "here.yaml", "--json", cwd=copied.directory, ok=False)
    assert refused(other, "PST-E002", 3) == "engine: this is a site for 'dask', and not for 'pegasus'"
    (plan,) = copied.directory.glob("plans/*/plan.yaml")
    (plan.parent / "submissions").mkdir()
    (plan.parent / "submissions/1.json").write_text("{}")
    assert "not what 'prestow submit' wrote" in refused(submit(copied, "--json", ok=False), "PST-E079", 7)


@pytest.mark.skipif(
    shutil.which("pegasus-plan") is None or shutil.which("condor_version") is None,
    reason="NOT TESTED with the real planner: pegasus-plan and HTCondor are not on the PATH",
)
def test_the_real_planner_plans_what_is_emitted(
    copied: Campaign, inside: Any, site_file: Any, tmp_path: Path
) -> None:
    site = site_file(copied.directory)
    inside("emit", "pegasus", "--site", site, "--into", tmp_path / "out", cwd=copied.directory)
    submit = plan_workflow(
        find_tools(),
        tmp_path / "out",
        planner_words(read_site(site)),
        base=tmp_path / "base",
        relative="toy/0001",
        log=tmp_path / "log",
    )
    assert submit == tmp_path / "base/toy/0001"
    jobs = read_jobs(submit)
    assert sorted(jobs["task"].drop_nulls()) == ["double-1", "gather", "shift-1"]
    assert set(jobs["state"]) == {"unready"}
    assert not standing(submit).over
