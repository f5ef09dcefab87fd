"""A forecast before a run, how good it was afterwards, and what refuses a plan before anything is written."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

import prestow as face

RUN = ("run", "--engine", "local", "-q")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, prestow: Any, inside: Any, small: Any) -> dict[str, Any]:
    """A project whose first run is taken in, raw frames left where they are; and its answers."""
    base = tmp_path_factory.mktemp("forecast")
    inside("init", "demo", cwd=base)
    root = small(base / "demo")
    (root / "raw").rename(root / "nights")  # a store of its own
    inside("ingest", "--raw", "nights", "--instrument", "simcam", "--transfer", "in-place", cwd=root)
    first = inside("plan", "--json", cwd=root).json
    before = inside("show", "--forecast", "--json", cwd=root).json
    prestow(*RUN, cwd=root)
    inside("ingest", cwd=root)
    return {"root": root, "first": first, "before": before}


@pytest.fixture
def copy(done: dict[str, Any], tmp_path: Path, tree: Any) -> Path:
    root = tmp_path / "demo"
    shutil.copytree(done["root"], root, symlinks=True)
    with face.open(root) as project:  # the nights are the copy's own
        for name, (uri, _) in project.registry.stores().items():
            project.registry.move_store(name, uri.replace(str(done["root"]), str(root)))
    return root


def used(root: Path) -> int:
    return sum(p.stat().st_size for p in (root / "store/demo").rglob("*") if p.is_file())


def site(root: Path, **store: object) -> Path:
    path = root / "site.yaml"
    path.write_text(
        yaml.safe_dump(
            {"schema": "prestow.site/1", "name": "production", "workers": 4, "stores": {"archive": store}}
        )
    )
    return path


def test_without_a_past_run_hints_are_all_there_is(done: dict[str, Any]) -> None:
    before = done["before"]
    assert before["learnt_from"] == {"runs": [], "datasets": 0, "attempts": 0}
    assert {task["bytes_from"] for task in before["tasks"].values()} == {"hints"}
    assert before["out"]["archive"]["products"]["value"] == 4 * 8000 + 4 * 12000 + 2 * 8000
    assert before["files"]["products"] == done["first"]["total"]["outputs"] == 14
    assert before["files"]["inodes"] == {"value": 34, "low": 34, "high": 34}
    assert {**before, "recorded": None} == {
        **done["first"]["forecast"],
        "schema": "prestow.show/1",
        "recorded": None,
    }


def test_after_one_run_bytes_are_within_ten_percent(copy: Path, inside: Any, prestow: Any) -> None:
    dry = inside("plan", "--run", "two", "--dry-run", "--json", cwd=copy).json["forecast"]
    assert not [
        p
        for p in (copy / "plans").iterdir()
        if p.name != "latest" and (p / "plan.yaml").read_text().find("run: two") > 0
    ]
    made = inside("plan", "--run", "two", "--json", cwd=copy).json
    forecast = made["forecast"]
    assert forecast == dry
    assert forecast["learnt_from"]["runs"] == ["demo"]
    assert forecast["learnt_from"] == {"runs": ["demo"], "datasets": 14, "attempts": 10}
    on_disk = yaml.safe_load((copy / "plans" / made["plan"] / "forecast.yaml").read_text())
    assert on_disk == forecast
    assert "forecast from 1 past run: demo" in inside("plan", "--run", "two", cwd=copy).out
    raws = sum(p.stat().st_size for p in (copy / "nights").iterdir())
    assert forecast["in"]["existing"] == raws
    prestow(*RUN, cwd=copy)
    products = sum(p.stat().st_size for p in (copy / "store/two").rglob("*") if p.is_file())
    assert forecast["out"]["archive"]["products"]["value"] == pytest.approx(products, rel=0.1)
    inside("ingest", cwd=copy)
    after = inside("show", "--forecast", "--json", cwd=copy).json["recorded"]
    assert after["whole"]
    out = after["scores"]["out"]
    assert (out["recorded"], out["inside"]) == (products, True)
    assert out["ratio"] == pytest.approx(1, abs=0.1)
    assert after["scores"]["files"]["recorded"] == 34
    assert after["scores"]["cpu"]["recorded"] > 0
    assert after["scores"]["wall"]["recorded"] > 0
    status = inside("status", "--json", cwd=copy).json
    assert status["forecast"]["scores"]["out"] == out
    assert "recorded over forecast: bytes out 1.0" in inside("status", cwd=copy).out
    # What it learnt from is other runs: its own changes nothing.
    assert inside("plan", "--run", "two", "--json", cwd=copy).json["forecast"] == forecast


def test_people_read_it_and_a_quota_says_where_it_would_stop(copy: Path, inside: Any) -> None:
    inside("plan", "--run", "two", cwd=copy)
    text = inside("show", "--forecast", cwd=copy).out
    assert "stage-in" in text
    assert "scratch per job p50" in text
    assert "job coadd-" in text
    found = inside("show", "--forecast", "--site", site(copy, quota="1 GB"), "--json", cwd=copy).json
    assert found["time"]["workers"] == 4
    assert found["warnings"] == []
    tight = round(found["out"]["archive"]["bytes"]["value"] * 0.97)
    answer = inside("plan", "--run", "two", "--site", site(copy, quota=f"{used(copy) + tight} B"), cwd=copy)
    assert "warning: quota of 'archive' has" in answer.out
    assert "would stop near job 10 of 10" in answer.out
    assert answer.out.count("would stop near job") == 1
    little = round(found["out"]["archive"]["bytes"]["high"] * 0.99)
    answer = inside("show", "--forecast", "--site", site(copy, quota=used(copy) + little), cwd=copy)
    assert "it may not be enough" in answer.out


def test_an_impossible_quota_and_an_unreachable_store_are_refused_at_once(
    copy: Path, inside: Any, tree: Any
) -> None:
    (copy / "nights").rename(copy / "elsewhere")
    before = tree(copy)
    file = site(copy, quota=used(copy) + 50_000, inodes=20)
    before[file.name] = file.read_bytes()
    for words in ((), ("--dry-run",)):
        answer = inside("plan", "--run", "two", "--site", file, "--json", *words, cwd=copy, ok=False)
        assert (answer.code, sorted(answer.codes)) == (4, ["PST-F001", "PST-F002", "PST-F003"])
        by_code = {p["code"]: p for p in answer.json["problems"]}
        assert (
            "4 inputs in it, such as raw{detector=0,exposure=202611010001,instrument=simcam}"
            in by_code["PST-F003"]["what"]
        )
        assert str(copy / "nights") in by_code["PST-F003"]["where"]
        assert "quota of 'archive'" in by_code["PST-F001"]["what"]
        assert tree(copy) == before
    assert not (copy / "store/two").exists()


def test_an_input_that_is_gone_is_found_out_before(copy: Path, inside: Any) -> None:
    gone = min((copy / "nights").iterdir())
    gone.unlink()
    answer = inside("plan", "--run", "two", "--json", cwd=copy, ok=False)
    assert (answer.code, answer.codes) == (4, ["PST-F004"])
    assert gone.name in answer.json["problems"][0]["what"]
    assert inside("plan", "--run", "two", "--where", "exposure > 202611010001", cwd=copy).code == 0


def test_they_stand_with_what_the_planner_itself_refuses(copy: Path, inside: Any) -> None:
    knot = "\nclusters: {knot: {tasks: [isr, coadd], dimensions: [instrument, detector]}}\n"
    (copy / "pipeline.yaml").write_text((copy / "pipeline.yaml").read_text() + knot)
    (copy / "nights").rename(copy / "elsewhere")
    answer = inside("plan", "--run", "two", "--json", cwd=copy, ok=False)
    assert answer.code == 4
    assert sorted(answer.codes) == ["PST-F003", "PST-P009"]


def test_a_store_that_is_no_directory_cannot_be_written(copy: Path, inside: Any) -> None:
    shutil.rmtree(copy / "store")
    (copy / "store").write_text("a file")
    answer = inside("plan", "--run", "two", "--json", cwd=copy, ok=False)
    assert answer.code in {4, 7}
    assert "PST-F005" in answer.codes


def test_wrong_site_files_are_refused_at_their_place(copy: Path, inside: Any) -> None:
    file = site(copy, quota="lots", inodes=-1, quot=3)
    answer = inside("plan", "--run", "two", "--site", file, "--json", cwd=copy, ok=False)
    assert (answer.code, sorted(answer.codes)) == (3, ["PST-C010", "PST-C013", "PST-C013"])
