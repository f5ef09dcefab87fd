"""One campaign in two formats: chosen in the request, compared by their data, converted one by one."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from prestow.formats import CONVERTED, open_format

TYPE = """\
  stars: {dimensions: [visit, detector], format: fits, columns: {place: int64, flux: float64},
          template: "{run}/stars/{instrument}/{visit}/stars-{visit}-{detector:02d}.fits"}
"""
PUT = """
    from astropy.table import Table
    quantum.put("stars", Table({"place": np.arange(5), "flux": np.asarray(pixels, float).ravel()[:5]}))
"""
READER = """\
schema: prestow.pipeline/1
name: reading
code: [tasks]
dataset_types:
  stars: {dimensions: [visit, detector], format: FORMAT}
  count: {dimensions: [visit, detector], format: json}
tasks:
  count:
    dimensions: [visit, detector]
    run: tasks.count:run
    inputs: {stars: stars}
    outputs: {count: count}
"""
COUNT = """
def run(quantum):
    (found,) = quantum.inputs["stars"]
    as_ = {"fits": "table", "parquet": "astropy"}[found.format]
    quantum.put("count", {"format": found.format, "rows": len(quantum.get("stars", as_))})
"""


@pytest.fixture(scope="module")
def campaign(
    tmp_path_factory: pytest.TempPathFactory, inside: Callable[..., Any], small: Callable[..., Any]
) -> Path:
    """Give a project with a table of stars for each frame, once as FITS and once as Parquet."""
    base = tmp_path_factory.mktemp("formats")
    inside("init", "demo", cwd=base)
    root = small(base / "demo")
    pipeline, task = root / "pipeline.yaml", root / "tasks" / "calibrate.py"
    text = pipeline.read_text()
    text = text.replace("  summary: {dim", f"{TYPE}  summary: {{dim").replace(
        "{calexp: calexp, summary: summary}", "{calexp: calexp, summary: summary, stars: stars}"
    )
    pipeline.write_text(text)
    task.write_text(task.read_text().rstrip() + "\n" + PUT)
    (root / "tasks" / "count.py").write_text(COUNT)
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    for words in ((), ("--run", "columnar", "--set", "types.stars.format=parquet")):
        inside("plan", *words, cwd=root)
        inside("run", "--engine", "local", cwd=root)
        inside("ingest", cwd=root)
    return root


def stars(root: Path, run: str) -> list[Path]:
    return sorted((root / "store" / run / "stars").rglob("stars-*"))


def test_names_formats_and_recipes_are_those_that_were_chosen(campaign, inside) -> None:
    one, other = stars(campaign, "demo"), stars(campaign, "columnar")
    assert {p.suffix for p in one} == {".fits"}
    assert [p.name for p in other] == [p.with_suffix(".parquet").name for p in one]
    first, second = open_format("fits").read_story(one[0]), open_format("parquet").read_story(other[0])
    assert first.recipe != second.recipe
    again = inside(
        "plan", "--run", "columnar", "--set", "types.stars.format=parquet", "--json", cwd=campaign
    ).json
    assert (again["new"], again["exist"]) == (False, 14 + 4)


def test_a_run_stays_with_the_format_it_began_with(campaign, inside) -> None:
    for words in (("--set", "types.stars.format=parquet"), ("--run", "columnar")):
        refused = inside("plan", *words, "--json", cwd=campaign, ok=False)
        assert refused.codes == ["PST-P006"]
    wrong = inside("plan", "--set", "types.stars.format=parqet", "--json", cwd=campaign, ok=False)
    assert (wrong.codes, wrong.json["problems"][0]["fix"]) == (["PST-C024"], "did you mean 'parquet'?")


def test_both_runs_are_equal_in_data(campaign, inside) -> None:
    found = inside("compare", "demo", "columnar", "--strict", "--json", cwd=campaign).json
    assert (found["same"], found["formats"]) == (True, {"stars": ["fits", "parquet"]})
    assert found["types"]["stars"]["equal"] == len(stars(campaign, "demo")) == 4
    assert "stars: fits in A, parquet in B" in inside("compare", "demo", "columnar", cwd=campaign).out


@pytest.mark.parametrize(("run", "form"), [("demo", "fits"), ("columnar", "parquet")])
def test_what_is_read_has_the_format_that_it_has(campaign, inside, run, form) -> None:
    """The registry saw the type as FITS first; a run that has it as Parquet is read as Parquet."""
    (campaign / "pipeline.yaml").rename(campaign / "first.yaml")
    try:
        (campaign / "pipeline.yaml").write_text(READER.replace("FORMAT", form))
        inside("plan", "--input", run, "--run", f"reading-{form}", cwd=campaign)
        inside("run", "--engine", "local", cwd=campaign)
        made = sorted((campaign / "store" / f"reading-{form}" / "count").rglob("*.json"))
        assert len(made) == 4
        assert {json.loads(p.read_text())["format"] for p in made} == {form}
        other = {"fits": "parquet", "parquet": "fits"}[form]
        (campaign / "pipeline.yaml").write_text(READER.replace("FORMAT", other))
        refused = inside("plan", "--input", run, "--run", "x", "--json", cwd=campaign, ok=False)
        assert refused.codes == ["PST-C035"]
        assert refused.json["problems"][0]["fix"] == f"write 'format: {form}'"
    finally:
        (campaign / "first.yaml").rename(campaign / "pipeline.yaml")


def test_one_dataset_is_converted_with_its_story_and_not_taken_for_the_product(
    campaign, inside, tmp_path
) -> None:
    source = stars(campaign, "demo")[0]
    inside("plan", cwd=campaign)
    done = inside("convert", source, "--to", "parquet", "--into", tmp_path, cwd=campaign)
    copy = tmp_path / source.with_suffix(".parquet").name
    assert "equal in data" in done.out
    assert done.out.splitlines()[-1].startswith("next: prestow compare ")
    assert inside("compare", source, copy, "--strict", cwd=campaign).code == 0
    told, product = open_format("parquet").read_story(copy), open_format("fits").read_story(source)
    assert (told.id, told.inputs, told.roots) == (product.id, product.inputs, product.roots)
    assert told.task == f"calibrate{CONVERTED}"
    trace = inside("trace", copy, "--json", cwd=campaign).json
    assert any("converted copy" in note for note in trace["notes"])
    assert "copy of it in another format" in inside("why", copy, cwd=campaign).out


def test_a_dataset_by_its_name_and_a_place_in_the_store(campaign, inside, tmp_path) -> None:
    words = ("summary", "visit=202611010001", "detector=0", "--run", "demo", "--to", "yaml")
    into = tmp_path / "summary.yaml"
    facts = inside("convert", *words, "--into", into, "--json", cwd=campaign).json
    assert (facts["formats"], facts["into"], facts["story"]) == (["json", "yaml"], str(into), True)
    again = inside("convert", *words, "--into", into, "--json", cwd=campaign, ok=False)
    assert again.codes == ["PST-G004"]
    inner = inside(
        "convert", *words, "--into", campaign / "store" / "demo" / "x.yaml", "--json", cwd=campaign, ok=False
    )
    assert inner.codes == ["PST-G032"]
    wrong = inside(
        "convert", *words[:-1], "yml", "--into", tmp_path / "y.yaml", "--json", cwd=campaign, ok=False
    )
    assert wrong.codes == ["PST-G030"]
    assert "fits, parquet; json, yaml" in wrong.json["problems"][0]["fix"]
