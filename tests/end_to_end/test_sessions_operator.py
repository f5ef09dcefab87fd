"""Eight sessions of a production operator, typed line by line: from what will exist to what is tried again."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prestow.testing.campaigns import Campaign
from prestow.testing.pegasus_shim import Shim

Sit = Callable[[Path], Callable[..., Any]]

PRODUCTION = """
schema: prestow.site/1
name: production
engine: local
workers: 4
stores: {{archive: {{quota: {quota}}}}}
"""


@pytest.fixture(scope="module")
def last_week(tmp_path_factory: pytest.TempPathFactory, sit: Sit, small: Any) -> Path:
    """Run w30 of three visits is made and taken in; a fourth visit has come since."""
    base = tmp_path_factory.mktemp("operator")
    sit(base)("prestow init demo")
    root: Path = small(base / "demo")
    at = sit(root)
    at("prestow ingest --raw raw --instrument simcam")
    at("prestow plan --run w30 --where 'visit < 202611010004'")
    at("prestow run -q --engine local")
    at("prestow ingest")
    return root


@pytest.fixture
def root(last_week: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(last_week, tmp_path / "demo", symlinks=True))


def production(root: Path, quota: str) -> None:
    (root / "production.yaml").write_text(PRODUCTION.format(quota=quota))


def products(root: Path, run: str) -> list[str]:
    store = root / "store"
    return sorted(p.relative_to(store).as_posix() for p in (store / run).rglob("*") if p.is_file())


def test_1_what_will_exist_is_told_before_anything_runs(root: Path, sit: Sit) -> None:
    at = sit(root)
    production(root, "1 GB")
    planned = at("prestow plan --where \"band in ('g', 'r')\" --site production.yaml --run w31 --json").json
    assert [(t["task"], t["jobs"], t["outputs"]) for t in planned["tasks"]] == [
        ("isr", 4, 4), ("calibrate", 4, 8), ("coadd", 2, 2),
    ]  # fmt: skip
    assert (planned["total"]["jobs"], planned["total"]["outputs"]) == (10, 14)
    assert (planned["inputs"], planned["exist"]) == ({"found": 4, "missing": 0}, 0)
    assert at("prestow verify").out.startswith(f"plan {planned['plan'][:8]}  run w31  10 jobs")
    names = sorted(at("prestow show --files").out.split())
    assert (len(set(names)), products(root, "w31")) == (14, [])
    at("prestow run -q --site production.yaml")
    assert products(root, "w31") == names


def test_2_a_clash_is_refused_with_the_reason(root: Path, sit: Sit, tree: Any) -> None:
    at = sit(root)
    before = tree(root)
    line = "prestow plan --set types.calexp.template='{run}/calexp/{instrument}/{visit}.fits' --run x"
    told = at(line, exits=4)
    assert "calexp{detector=0,instrument=a,visit=0} and calexp{detector=1,instrument=a,visit=0}" in told.err
    assert "{detector} is missing" in told.err
    assert tree(root) == before
    line = "prestow plan --set types.calexp.template='{run}/{instrument}/{visit}/{detector}.fits' --run x --set types.isr.template='{run}/{instrument}/{visit}/{detector}.fits'"
    told = at(line, exits=4)
    assert "isr" in told.err
    assert "calexp" in told.err
    assert tree(root) == before


def test_3_the_cost_is_told_before_running(root: Path, sit: Sit) -> None:
    at = sit(root)
    at("prestow plan --run w31")
    told = at("prestow show --forecast --json").json
    assert told["learnt_from"]["runs"] == ["w30"]
    assert told["in"]["staged"]["value"] >= told["in"]["unique"]["value"] > 0
    assert told["out"]["archive"]["bytes"]["low"] < told["out"]["archive"]["bytes"]["high"]
    text = at("prestow show --forecast").out
    assert "stage-in" in text
    assert "scratch per job p50" in text
    held = sum((root / "store" / name).stat().st_size for name in products(root, "w30"))
    production(root, f"{held + round(told['out']['archive']['bytes']['value'] * 0.97)} B")
    told = at("prestow show --forecast --site production.yaml")
    assert re.search(r"would stop near job \d+ of 10", told.out)


def test_4_what_changed_since_last_week(root: Path, sit: Sit) -> None:
    at = sit(root)
    at("prestow plan --run w31 --set coadd.clip=3")
    told = at("prestow diff w30 w31 --json").json
    counts = {t["task"]: (t["same"], t["changed"], t["added"], t["removed"]) for t in told["tasks"]}
    assert counts == {"isr": (3, 0, 1, 0), "calibrate": (3, 0, 1, 0), "coadd": (0, 1, 1, 0)}
    assert told["shared_otherwise"] == 0
    text = at("prestow diff w30 w31").out
    assert "added isr: detector=0,instrument=simcam,visit=202611010004" in text
    assert "config coadd.clip: 4.0 -> 3.0 (--set)" in text
    assert "0 output names in common with different lineage" in text


def test_5_either_engine_makes_the_same_outputs(tmp_path: Path, sit: Sit, site_file: Any) -> None:
    here, there = (Campaign(tmp_path / name / "c", visits=2).directory for name in ("here", "there"))
    at, pool = sit(here), sit(there)
    planned = [typed("prestow plan --json").json["plan"] for typed in (at, pool)]
    assert planned[0] == planned[1]
    at("prestow run -q --engine local")
    emit = f"prestow emit pegasus --site {site_file(there)} --into submit"
    first = pool(f"{emit} --json").json
    assert (first["jobs"], first["plan"]) == (5, planned[0])
    assert "the very same as before" in pool(emit).out  # so workflow and plan agree
    shim = Shim(there / "submit", tmp_path / "work")
    assert shim.run(), shim.logs
    assert products(here, "toy") == products(there, "toy") != []
    for name in products(here, "toy"):
        assert (here / "store" / name).read_bytes() == (there / "store" / name).read_bytes()
    workflow = there / "submit" / "workflow.yml"
    workflow.write_text(workflow.read_text() + "# mine\n")
    assert "PST-E001" in pool(emit, exits=7).err
    assert "dask" in pool("prestow emit dask --site pool.yaml --into graph", exits=2).err


def test_6_one_job_is_staged_and_looked_at_and_nothing_is_recalled(root: Path, sit: Sit) -> None:
    at = sit(root)
    at("prestow plan --run w31")
    kept = at("prestow debug coadd-g-0 --keep --json").json
    directory = Path(kept["directory"])
    try:
        assert kept["outputs"] == ["w31/coadd/coadd-simcam-g-00.fits"]
        looked = at(f"prestow doctor '{directory}'").out
        assert looked.count(" 14400 bytes, as committed") == 2
        assert "ok    output coadd{band=g,detector=0,instrument=simcam} made" in looked
        assert looked.splitlines()[-1].startswith("next: ")
    finally:
        shutil.rmtree(directory)
    assert products(root, "w31") == []
    told = at("prestow recall w31", exits=2).err
    assert "recall" in told
    raw = next((root / "store/raw").rglob("*0004-0.fits"))
    raw.unlink()
    gone = at("prestow plan --run w32", exits=4)
    assert raw.name in gone.err


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory, sit: Sit) -> Path:
    """Of four visits one fails, one is declined; the flag beside the project lets it fail."""
    base = tmp_path_factory.mktemp("night")
    flag = base / "broken"
    do = {2: {"double": {"what": "fail", "while": str(flag)}}, 3: {"double": {"decline": "cloudy"}}}
    flag.touch()
    root = Campaign(base / "c", visits=4, do=do).directory
    at = sit(root)
    at("prestow plan")
    at("prestow run -q --engine local", exits=5)
    return root


def test_7_in_the_morning_the_account_sums(night: Path, tmp_path: Path, sit: Sit) -> None:
    root = Path(shutil.copytree(night, tmp_path / "c"))
    at = sit(root)
    for name in ("core.123", "deep/notes.txt"):
        path = root / "store/toy" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text("not planned")
    (receipt,) = (
        p for p in (root / "store/_receipts/toy/shift").rglob("*.json") if '"visit":4' in p.read_text()
    )
    receipt.chmod(0o644)
    receipt.write_text("torn")
    told = at("prestow account --unexpected tar --json", exits=9).json
    states = {state: n for state, n in told["states"].items() if n}
    assert states == {"made": 3, "declined": 2, "failed": 1, "pending": 2, "contradictory": 1}
    assert sum(told["states"].values()) == told["planned"] == 9
    assert sum(told["classes"].values()) == told["found"]
    assert [one["path"] for one in told["unexpected"]["taken"]] == ["toy/core.123", "toy/deep/notes.txt"]
    assert (root / "store" / told["unexpected"]["tar"]).stat().st_size > 0
    text = at("prestow account", exits=9).out
    assert "made 3  declined 2  failed 1  pending 2  contradictory 1  = 9 planned" in text
    assert "toy/core.123" not in text


def test_8_only_what_is_needed_runs_again_and_nothing_is_written_twice(
    night: Path, tmp_path: Path, sit: Sit
) -> None:
    root = Path(shutil.copytree(night, tmp_path / "c"))
    at = sit(root)
    before = {n: (root / "store" / n).stat().st_mtime_ns for n in products(root, "toy")}
    (night.parent / "broken").unlink()
    at("prestow ingest")
    told = at("prestow retry --failed --memory 16GB --json").json
    assert (told["failed"], told["downstream"], told["committed"]) == (1, 2, 4)
    assert (told["written_again"], told["memory"]) == (0, [16 * 10**9] * 2)
    ran = at("prestow run --engine local --json").json
    assert (ran["jobs"], ran["counts"]) == (3, {"made": 6, "declined": 3})
    at("prestow ingest")
    after = {n: (root / "store" / n).stat().st_mtime_ns for n in products(root, "toy")}
    assert {n: after[n] for n in before} == before
    assert at("prestow account --json").json["closes"]
