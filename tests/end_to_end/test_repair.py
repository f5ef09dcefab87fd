"""Losses are listed with what went on without them, and made good in a child run: exactly what they touched, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import polars as pl
import pytest

import prestow as face
from prestow.errors import Exit
from prestow.formats import open_format
from prestow.testing.campaigns import Campaign

Inside = Callable[..., Any]

FAILING = """
    import os

    if os.path.exists({flag!r}) and quantum.data_id["visit"] % 100 == 1:
        raise RuntimeError(f"the shutter of detector {{quantum.data_id['detector']}} was closed")
"""


@pytest.fixture(scope="module")
def lossy(tmp_path_factory: pytest.TempPathFactory, inside: Inside) -> Path:
    """Five visits with both detectors: both detectors of the first are lost."""
    base = tmp_path_factory.mktemp("repair")
    inside("init", "demo", cwd=base)
    root = base / "demo"
    for path in (root / "raw").iterdir():
        if int(path.stem.split("-")[2]) > 5:
            path.unlink()
    flag = base / "flag"
    flag.touch()
    task = root / "tasks/calibrate.py"
    head = "    pixels = np.asarray(quantum.get("
    text = task.read_text()
    assert text.count(head) == 1
    task.write_text(text.replace(head, FAILING.format(flag=str(flag)).removeprefix("\n") + head))
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", cwd=root)
    run = inside("run", "--engine", "local", "--json", cwd=root, ok=False)
    assert (run.code, run.json["counts"]) == (Exit.LOSSES, {"made": 22, "lost": 2})
    flag.unlink()
    return root


def minimum(root: Path, plan: str) -> set[tuple[str, str]]:
    """What losses touched, by brute force: whatever is lost, and whoever reads of it, however far below."""
    directory = root / "plans" / plan
    quanta = pl.read_parquet(directory / "quanta.parquet").with_columns(pl.col("task").cast(pl.String))
    made_by = dict(pl.read_parquet(directory / "datasets.parquet").select("dataset", "producer").iter_rows())
    reads: dict[int, list[int]] = {}
    for quantum, dataset in (
        pl.read_parquet(directory / "inputs.parquet").select("quantum", "dataset").iter_rows()
    ):
        if made_by[dataset] is not None:
            reads.setdefault(quantum, []).append(made_by[dataset])
    names = {
        number: (task, data_id)
        for number, task, data_id in quanta.select("quantum", "task", "data_id").iter_rows()
    }
    lost = set()
    for path in (root / "store/_receipts" / "demo").rglob("*.json"):
        receipt = json.loads(path.read_bytes())
        if receipt["state"] == "lost":
            lost.add((receipt["task"], json.dumps(receipt["data_id"], sort_keys=True)))

    def touched(number: int) -> bool:
        task, data_id = names[number]
        if (task, json.dumps(json.loads(data_id), sort_keys=True)) in lost:
            return True
        return any(touched(other) for other in reads.get(number, ()))

    return {(task, data_id) for number, (task, data_id) in names.items() if touched(number)}


def test_two_lost_detectors_are_listed_repaired_and_nothing_else_is_made(lossy: Path, inside: Inside) -> None:
    early = inside("repair", "--json", cwd=lossy, ok=False)
    assert (early.code, early.codes) == (Exit.REFUSED, ["PST-E044"])
    assert "prestow ingest" in early.json["problems"][0]["fix"]
    parent = inside("ingest", "--json", cwd=lossy) and inside("status", "--json", cwd=lossy).json["plan"]

    listed = inside("status", "--losses", cwd=lossy)
    assert "8 of 10 calibrate, 2 lost" in listed.out
    assert "the shutter of detector 1 was closed" in listed.out
    facts = inside("status", "--losses", "--json", cwd=lossy).json
    assert (facts["schema"], facts["lost"], facts["blocked"]) == ("prestow.losses/1", 2, 0)
    assert [loss["job"] for loss in facts["losses"]] == [
        "calibrate-0-202611010001",
        "calibrate-1-202611010001",
    ]
    assert [(w["task"], w["planned"], w["used"], w["lost"]) for w in facts["without"]] == [
        ("coadd", 3, 2, 1)
    ] * 2
    for detector in (0, 1):
        story = open_format("fits").read_story(lossy / f"store/demo/coadd/coadd-simcam-g-0{detector}.fits")
        assert story is not None
        assert (story.planned, story.used) == (3, 2), "what is listed is what the product says itself"
    status = inside("status", cwd=lossy)
    assert "next: prestow repair " in status.out

    expected = minimum(lossy, parent)
    assert len(expected) == 4
    looked = inside("repair", "-n", "--json", cwd=lossy).json
    assert (looked["child"]["run"], looked["again"], looked["kept"]) == ("demo+1", 4, 20)
    assert looked["tasks"] == {"calibrate": {"lost": 2}, "coadd": {"without": 2}}
    assert len(list((lossy / "plans").glob("*/plan.yaml"))) == 1, "only looked at"
    made = inside("repair", "--json", cwd=lossy).json
    assert made["child"] == looked["child"]
    run = inside("run", "--engine", "local", "--json", cwd=lossy)
    assert run.json["counts"] == {"made": 4, "reused": 20}
    receipts = [json.loads(path.read_bytes()) for path in (lossy / "store/_receipts/demo+1").rglob("*.json")]
    assert {
        (r["task"], json.dumps(r["data_id"], separators=(",", ":"), sort_keys=True)) for r in receipts
    } == expected
    assert all(r["actual_recipe"] == r["planned_recipe"] for r in receipts)

    inside("ingest", cwd=lossy)
    diff = inside("diff", "demo", "demo+1", "--json", cwd=lossy).json
    assert {(one["task"], one["before"], one["after"]) for one in diff["superseded"]} == {
        ("calibrate", "lost", "made"), ("coadd", "without", "made"),
    }  # fmt: skip
    assert len(diff["superseded"]) == len(expected)
    assert "lost -> made" in inside("diff", "demo", "demo+1", cwd=lossy).out
    assert inside("diff", "demo+1", "demo", "--json", cwd=lossy).json["superseded"] == []
    with face.open(lossy) as project:
        rows = project.registry.datasets(["coadd"], ["demo.all"]).to_pylist()
    assert sorted((row["band"], row["run"]) for row in rows) == [
        ("g", "demo+1"), ("g", "demo+1"), ("r", "demo"), ("r", "demo"),
    ]  # fmt: skip

    again = inside("repair", parent[:8], "--json", cwd=lossy).json
    assert (again["child"], again["again"], again["done"]) == (made["child"], 0, 4)
    child = inside("repair", "--json", cwd=lossy).json
    assert (child["child"], child["again"]) == (None, 0)
    assert inside("status", "--losses", cwd=lossy).out.count("nothing is lost") == 1


def campaign_with(base: Path, inside: Inside, **do: Any) -> Campaign:
    campaign = Campaign(base / "c", visits=4, do={1: do}, double="tolerate", shift="tolerate", minimum=1)
    inside("plan", cwd=campaign.directory)
    inside("run", "--engine", "local", cwd=campaign.directory, ok=False)
    return campaign


def test_what_a_loss_blocks_is_told_and_repaired_and_lost_again_it_goes_to_the_next_child(
    tmp_path: Path, inside: Inside
) -> None:
    flag = tmp_path / "broken"
    flag.touch()
    root = campaign_with(tmp_path, inside, double={"what": "fail", "while": str(flag)}).directory
    inside("ingest", cwd=root)
    parent = inside("status", "--json", cwd=root).json["plan"]
    losses = inside("status", "--losses", "--json", cwd=root).json
    assert [(one["task"], one["state"], one["blocks"]) for one in losses["losses"]] == [
        ("double", "lost", 1), ("shift", "blocked", 0),
    ]  # fmt: skip
    assert [(w["planned"], w["used"], w["absent"]) for w in losses["without"]] == [
        (4, 3, ["instrument=toy,visit=1"])
    ]
    expected = {"double": {"lost": 1}, "shift": {"blocked": 1}, "gather": {"without": 1}}
    first = inside("repair", "--json", cwd=root).json
    assert (first["child"]["run"], first["tasks"]) == ("toy+1", expected)
    assert inside("run", "--engine", "local", cwd=root, ok=False).code == Exit.LOSSES
    inside("ingest", cwd=root)
    flag.unlink()
    second = inside("repair", "--json", cwd=root).json
    assert (second["child"]["run"], second["tasks"]) == ("toy+2", expected)
    assert inside("run", "--engine", "local", "--json", cwd=root).json["counts"] == {"made": 3, "reused": 6}
    inside("ingest", cwd=root)
    assert inside("repair", parent, "--json", cwd=root).json["done"] == 3


def test_what_is_not_settled_is_no_loss(tmp_path: Path, inside: Inside) -> None:
    campaign = Campaign(
        tmp_path / "c",
        do={1: {"double": {"what": "fail"}}, 2: {"shift": {"what": "fail"}}},
        double="tolerate",
        minimum=1,
    )
    inside("plan", cwd=campaign.directory)
    inside("run", "--engine", "local", cwd=campaign.directory, ok=False)
    answer = inside("repair", "--json", cwd=campaign.directory, ok=False)
    assert (answer.code, answer.codes) == (Exit.REFUSED, ["PST-E044"])
    assert "prestow retry" in answer.json["problems"][0]["fix"]


def test_a_repair_that_would_make_other_things_is_refused_and_nothing_is_written(
    tmp_path: Path, inside: Inside
) -> None:
    root = campaign_with(tmp_path, inside, double={"what": "fail"}).directory
    inside("ingest", cwd=root)
    code = root / "toytasks.py"
    code.write_text(code.read_text() + "\nSOMETHING = 1\n")
    answer = inside("repair", "--json", cwd=root, ok=False)
    assert (answer.code, answer.codes) == (Exit.REFUSED, ["PST-E045"])
    assert "9 quanta would be made otherwise" in answer.json["problems"][0]["what"]
    assert len(list((root / "plans").glob("*/plan.yaml"))) == 1


def test_a_plan_that_lost_nothing_needs_no_repair(tmp_path: Path, inside: Inside) -> None:
    root = Campaign(tmp_path / "c").directory
    inside("plan", cwd=root)
    inside("run", "--engine", "local", cwd=root)
    answer = inside("repair", cwd=root)
    assert "there is nothing to repair" in answer.out


def test_pegasus_is_told_what_jobs_were_put_back_with(
    tmp_path: Path, inside: Inside, site_file: Callable[..., Path]
) -> None:
    import yaml

    campaign = Campaign(tmp_path / "c", do={2: {"double": {"what": "fail"}}})
    root = campaign.directory
    inside("plan", cwd=root)
    inside("run", "--engine", "local", cwd=root, ok=False)
    site = site_file(root)
    retry = inside("retry", "--memory", "3GiB", "--avoid", "node7", "--tries", "4", "--site", site, cwd=root)
    assert f"next: prestow emit pegasus --site {site} --into DIR" in retry.out
    inside("emit", "pegasus", "--site", site, "--into", "submit", cwd=root)
    jobs = {
        job["nodeLabel"]: job for job in yaml.safe_load((root / "submit/workflow.yml").read_text())["jobs"]
    }
    told = jobs["double-2"]["profiles"]
    assert (told["pegasus"]["memory"], told["dagman"]["RETRY"]) == (3072, 3)
    assert told["condor"]["requirements"] == '(TARGET.Machine =!= "node7")'
    assert "condor" not in jobs["double-1"]["profiles"]
