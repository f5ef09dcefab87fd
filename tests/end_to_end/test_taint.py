"""A dataset that is known to be bad: what it touched, what is planned without it, and what of all that stays on record."""

from __future__ import annotations

import json
import shutil
import textwrap
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from prestow.project import Project

RAW = "raw{exposure=202611010003,detector=0}"
WHY = "a plane"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory, inside: Callable[..., Any]) -> Path:
    """Six visits of one detector, in g and r, reduced and taken in."""
    base = tmp_path_factory.mktemp("taint")
    inside("init", "demo", cwd=base)
    root = base / "demo"
    for path in (root / "raw").iterdir():
        number, detector = path.stem.split("-")[2:]
        if int(number) > 6 or detector != "0":
            path.unlink()
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", cwd=root)
    inside("run", "--engine", "local", cwd=root)
    inside("ingest", cwd=root)
    return root


@pytest.fixture
def survey(made: Path, tmp_path: Path) -> Path:
    """A copy, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "demo"))


def receipts(root: Path) -> list[dict[str, Any]]:
    return [json.loads(p.read_text()) for p in (root / "store" / "_receipts").rglob("*.json")]


def made_from(root: Path, start: str) -> set[str]:
    """Follow a dataset down by the receipts alone, one step after the other."""
    found, level, every = set[str](), {start}, receipts(root)
    while level:
        new = {
            o["id"] for one in every for o in one["outputs"]
            if o["state"] == "made" and level & {i["id"] for i in one["inputs"] if i["state"] == "made"}
        }  # fmt: skip
        level = new - found
        found |= new
    return found


def touched(answer: Any) -> set[str]:
    return {key for group in answer.json["touched"] for key in group["ids"]}


def dump(root: Path) -> dict[str, Any]:
    with Project.open(root) as project:
        return project.registry.dump()


def test_every_dataset_touches_what_the_receipts_say(made: Path, inside: Callable[..., Any]) -> None:
    before = dump(made)
    every = {o["id"] for one in receipts(made) for o in (*one["outputs"], *one["inputs"])}
    for key in sorted(every)[::4]:
        assert touched(inside("taint", key, "--list", "--json", cwd=made)) == made_from(made, key)
    listed = inside("taint", RAW, "--list", cwd=made)
    assert "not tainted" in listed.out
    assert inside("taint", RAW, "-n", "--because", WHY, cwd=made).out.startswith("raw{detector=0")
    assert dump(made) == before
    assert not (made / "store" / "_records" / "taint").exists()


def test_braces_with_colons_and_a_file_mean_the_same(made: Path, inside: Callable[..., Any]) -> None:
    by_words = inside("taint", RAW, "--list", "--json", cwd=made).json["datasets"]
    by_colons = inside("taint", "raw{visit:202611010003}", "--list", "--json", cwd=made).json["datasets"]
    file = made / "raw" / "simcam-20261101-0003-0.fits"
    by_file = inside("taint", file, "--list", "--json", cwd=made).json["datasets"]
    assert by_words == by_colons == by_file


def test_a_mark_is_a_record_and_a_row_and_can_be_lifted(survey: Path, inside: Callable[..., Any]) -> None:
    for words in (
        ("--because", WHY),
        ("--because", WHY),
        ("--because", "clouds"),
        ("--lift",),
        ("--because", WHY),
    ):
        inside("taint", RAW, *words, cwd=survey)
    records = [json.loads(p.read_text()) for p in (survey / "store" / "_records" / "taint").rglob("*.json")]
    facts = [r["facts"] for r in sorted(records, key=lambda r: int(r["key"].rpartition(".")[2]))]
    assert [(f["tainted"], f["because"]) for f in facts] == [
        (True, WHY),
        (True, "clouds"),
        (False, ""),
        (True, WHY),
    ]
    assert inside("taint", "--list", "--json", cwd=survey).json["datasets"][0]["because"] == WHY
    before = dump(survey)
    (survey / "registry.db").unlink()
    inside("rebuild", cwd=survey)
    assert dump(survey) == before
    assert len(before["tainted"]) == 1


def test_find_trace_and_why_say_it(survey: Path, inside: Callable[..., Any]) -> None:
    inside("taint", RAW, "--because", WHY, cwd=survey)
    found = inside("find", "coadd", "--json", cwd=survey).json["datasets"]
    assert {d["data_id"]["band"]: d.get("taint") for d in found} == {"g": "contaminated", "r": None}
    above = inside("trace", "coadd{band=g}", "--up", "--json", cwd=survey).json["up"]
    marks = {p["type"]: above["taints"][p["id"]] for p in above["points"] if p["id"] in above["taints"]}
    assert marks == {
        "raw": f"tainted: {WHY}", "isr": "contaminated", "calexp": "contaminated", "coadd": "contaminated",
    }  # fmt: skip
    assert "!! tainted: a plane" in inside("trace", "coadd{band=g}", "--up", cwd=survey).out
    assert inside("why", "coadd", "band=g", "--json", cwd=survey).json["taint"] == "contaminated"
    assert inside("why", RAW, "--json", cwd=survey).json["taint"] == f"tainted: {WHY}"
    assert "taint" not in inside("why", "coadd", "band=r", "--json", cwd=survey).json


def test_a_child_makes_exactly_what_was_touched_again(survey: Path, inside: Callable[..., Any]) -> None:
    raw = inside("taint", RAW, "--because", WHY, "--json", cwd=survey).json["datasets"][0]["id"]
    bad = made_from(survey, raw)
    old = {o["id"] for one in receipts(survey) for o in one["outputs"] if o["id"] not in bad}
    planned = inside("plan", "--replace-tainted", "--json", cwd=survey).json
    run = inside("run", "--engine", "local", "--json", cwd=survey).json
    # the coadd of g alone can be made without it; what only that frame led to is not planned
    assert run["counts"] == {"made": 1, "reused": 11}
    inside("ingest", cwd=survey)
    new = [one for one in receipts(survey) if one["run"] == planned["run"]]
    assert [(one["task"], len(one["inputs"])) for one in new] == [("coadd", 2)]
    assert not bad & {i["id"] for one in new for i in one["inputs"]}
    assert {i["id"] for one in new for i in one["inputs"]} <= old


def test_a_tainted_product_is_made_again_and_never_taken_over(
    survey: Path, inside: Callable[..., Any]
) -> None:
    """Its inputs are good, so it was the making that went wrong."""
    inside("taint", "isr{visit=202611010003}", "--because", "the node's memory", cwd=survey)
    assert (
        inside("plan", "--run", "other", "--reuse", "any", "-n", "--json", cwd=survey).json["reused"]
        == 14 - 3
    )
    inside("plan", "--replace-tainted", cwd=survey)
    run = inside("run", "--engine", "local", "--json", cwd=survey).json
    assert {t: c["made"] for t, c in run["tasks"].items() if c.get("made")} == {
        "isr": 1,
        "calibrate": 1,
        "coadd": 1,
    }


def test_plans_leave_it_out_unless_asked_to_take_it(survey: Path, inside: Callable[..., Any]) -> None:
    before = inside("plan", "--run", "other", "-n", "--json", cwd=survey).json
    inside("taint", RAW, "--because", WHY, cwd=survey)
    less = inside("plan", "--run", "other", "-n", "--json", cwd=survey).json
    taken = inside("plan", "--run", "other", "-n", "--with-tainted", "--json", cwd=survey).json
    assert less["plan"] != before["plan"] == taken["plan"]
    assert less["inputs"]["found"] == before["inputs"]["found"] - 1
    assert any("1 tainted inputs are taken" in text for text in taken["warnings"])
    far = inside("plan", "--run", "other", "--where", "visit = 202611010001", "-n", "--json", cwd=survey).json
    assert not [r for r in far["left_out_rows"] if r["reason"] == "tainted"]
    inside("plan", "--run", "other", "--with-tainted", cwd=survey)
    with Project.open(survey) as project:
        told = project.find_plan().document["request"]["tainted"]
    assert told["taken"] and told["tainted"] == 1 and told["first"][0]["because"] == WHY


def test_an_existing_product_that_was_made_from_it_is_no_input(
    survey: Path, inside: Callable[..., Any]
) -> None:
    inside("taint", RAW, "--because", WHY, cwd=survey)
    text = (survey / "pipeline.yaml").read_text()
    types, tail = (
        text.index("  raw: "),
        text.index("  coadd:\n    dimensions: [instrument, detector, band]\n    run"),
    )
    kinds = yaml.safe_load(text)["dataset_types"]
    del kinds["calexp"]["template"]
    read = yaml.safe_dump({name: kinds[name] for name in ("calexp", "coadd")}, default_flow_style=None)
    head = text[:types].replace("name: demo", "name: last")
    (survey / "last.yaml").write_text(head + textwrap.indent(read, "  ") + "tasks:\n" + text[tail:])
    config = (survey / "prestow.yaml").read_text()
    assert config.count("pipeline: pipeline.yaml") == 1
    (survey / "prestow.yaml").write_text(config.replace("pipeline: pipeline.yaml", "pipeline: last.yaml"))
    planned = inside("plan", "--input", "demo", "-n", "--json", cwd=survey).json
    assert [(r["task"], r["reason"], r["quanta"]) for r in planned["left_out_rows"]] == [
        ("coadd", "contaminated", 1)
    ]
    assert planned["inputs"]["found"] == 5


def test_what_is_released_is_only_told_of(survey: Path, inside: Callable[..., Any]) -> None:
    inside("freeze", "demo", cwd=survey)
    told = inside("taint", RAW, "--because", WHY, cwd=survey)
    assert "4 products made from it (4 released: cannot be changed, flagged only)" in told.out
    planned = inside("plan", "--replace-tainted", "--json", cwd=survey).json
    assert planned["run"] != "demo"
    assert inside("run", "--engine", "local", "--json", cwd=survey).json["counts"] == {
        "made": 1,
        "reused": 11,
    }


def test_what_was_made_from_what_is_gone_is_still_found(survey: Path, inside: Callable[..., Any]) -> None:
    """What lies between is deleted, with its row: recipes lead on."""
    raw = inside("taint", RAW, "--list", "--json", cwd=survey).json["datasets"][0]["id"]
    whole = made_from(survey, raw)
    with Project.open(survey) as project:
        gone = [bytes(i) for i, t in project.registry._db.rows(
            "SELECT d.id, t.name FROM dataset d JOIN dataset_type t ON t.id = d.type") if t in ("isr", "calexp")]  # fmt: skip
        project.registry.delete_datasets(gone)
    left = touched(inside("taint", RAW, "--list", "--json", cwd=survey))
    assert left < whole
    with Project.open(survey) as project:
        rows = project.registry.following.datasets([uuid.UUID(key).bytes for key in left]).to_pylist()
    types = {row["type"] for row in rows}
    assert types == {"summary", "coadd"}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), "PST-G005"),
        ((RAW,), "PST-T022"),
        (("raw", "--because", "x"), "PST-T021"),
        (("raw{exposure=7}", "--because", "x"), "PST-G012"),
        (("nothing{visit=1}", "--because", "x"), "PST-G007"),
        (("raw{exposure", "--because", "x"), "PST-G006"),
    ],
)
def test_bad_words_are_one_clear_error(
    made: Path, inside: Callable[..., Any], words: tuple[str, ...], code: str
) -> None:
    answer = inside("taint", *words, "--json", cwd=made, ok=False)
    assert answer.code == 2
    assert answer.codes == [code]


def test_what_cannot_be_replaced_is_refused(survey: Path, inside: Callable[..., Any]) -> None:
    assert inside("plan", "--replace-tainted", "--json", cwd=survey, ok=False).codes == ["PST-T023"]
    inside("taint", RAW, "--because", WHY, cwd=survey)
    both = inside("plan", "--replace-tainted", "--where", "visit > 1", "--json", cwd=survey, ok=False)
    assert both.codes == ["PST-G005"]
    inside("plan", "--run", "second", "--with-tainted", cwd=survey)
    inside("run", "--engine", "local", cwd=survey)
    inside("ingest", cwd=survey)
    assert inside("plan", "--replace-tainted", "--json", cwd=survey, ok=False).codes == ["PST-T024"]
    several = inside("taint", "coadd{band=g}", "--because", "x", "--json", cwd=survey, ok=False)
    assert several.codes == ["PST-G014"]
    assert (
        inside("plan", "--replace-tainted", "--child-of", "demo", "-n", "--json", cwd=survey).json["reused"]
        == 11
    )


def part_of(root: Path, into: Path, inside: Callable[..., Any], *types: str) -> Path:
    chosen = (word for name in types for word in ("--type", name))
    inside("subset", "--collection", "demo", "--collection", "raw-simcam", *chosen, "--into", into, cwd=root)
    return into


def test_in_a_part_without_what_lies_between_the_raw_data_of_receipts_tells(
    made: Path, tmp_path: Path, inside: Callable[..., Any]
) -> None:
    part = part_of(made, tmp_path / "part", inside, "raw", "coadd")
    here = {d["id"] for d in inside("find", "coadd", "--json", cwd=part).json["datasets"]}
    assert len(here) == 2
    for one in inside("find", "raw", "--json", cwd=part).json["datasets"]:
        answer = inside("taint", one["id"], "--list", "--json", cwd=part)
        assert touched(answer) == made_from(made, one["id"]) & here
        assert len(touched(answer)) == 1
        assert answer.json["unknown"]["products"] == 0
    told = inside("taint", RAW, "--because", WHY, cwd=part)
    assert "1 product made from it" in told.out
    assert "next: prestow plan --run demo-2" in told.out
    found = inside("find", "coadd", "--json", cwd=part).json["datasets"]
    assert {d["data_id"]["band"]: d.get("taint") for d in found} == {"g": "contaminated", "r": None}
    no = inside("taint", "coadd{band=g}", "--list", cwd=part).out
    assert "made from it, by the raw data that receipts name: what lies between is not all here" in no


def test_in_a_part_it_is_said_what_is_not_known(
    made: Path, tmp_path: Path, inside: Callable[..., Any]
) -> None:
    part = part_of(made, tmp_path / "part", inside, "raw", "isr", "coadd")
    told = inside("taint", "isr{visit=202611010003}", "--list", cwd=part)
    assert "nothing that is taken in" not in told.out
    assert "not known here whether 1 other product was made from it" in told.out
    assert "coadd{band=g" in told.out
    facts = inside("taint", "isr{visit=202611010003}", "--list", "--json", cwd=part).json
    assert (facts["contaminated"], facts["unknown"]["products"]) == (0, 1)
    assert "not known" not in inside("taint", "isr{visit=202611010003}", "--list", cwd=made).out


def test_the_next_command_is_not_refused_where_a_chain_is_frozen(
    survey: Path, inside: Callable[..., Any]
) -> None:
    def next_of(answer: Any) -> list[str]:
        return str(answer.out.rpartition("next: prestow ")[2]).split()

    assert next_of(inside("taint", RAW, "--because", WHY, cwd=survey)) == ["plan", "--replace-tainted"]
    inside("freeze", "demo.all", cwd=survey)
    words = next_of(inside("taint", "--list", cwd=survey))
    assert words == ["plan", "--run", "demo-2"]
    assert inside("plan", "--replace-tainted", "--json", cwd=survey, ok=False).codes == ["PST-I030"]
    planned = inside(*words, "--json", cwd=survey).json
    assert planned["run"] == "demo-2"


def run_of(root: Path, where: str, inside: Callable[..., Any]) -> None:
    inside("plan", "--run", "parts", "--where", where, cwd=root)
    inside("run", "--engine", "local", cwd=root)
    inside("ingest", cwd=root)


def test_a_run_says_what_was_tainted_since_it_was_planned(survey: Path, inside: Callable[..., Any]) -> None:
    inside("plan", "--run", "parts", "--where", "visit = 202611010003", cwd=survey)
    assert inside("run", "--engine", "local", "--only", "nothing", cwd=survey, ok=False).code == 2
    inside("taint", RAW, "--because", WHY, cwd=survey)
    answer = inside("run", "--engine", "local", "--only", "isr", cwd=survey)
    told = (
        "1 input of this plan is tainted, or made from what is (a plane), and 1 quantum is still to read it"
    )
    assert answer.err.count(f"warning: {told}; without it: prestow drop ") == 1
    assert answer.out.count(told) == 1
    # the raw frame was read, and what was made from it is known to be bad only when it is taken in
    assert inside("run", "--engine", "local", "--only", "isr", "--json", cwd=survey).json["notes"] == []
    inside("ingest", cwd=survey)
    answer = inside("run", "--engine", "local", cwd=survey)
    assert "1 input of this plan is tainted, or made from what is, and 1 quantum" in answer.err
    assert "afterwards make again what used it: prestow plan --replace-tainted" in answer.err
    assert inside("run", "--engine", "local", "--json", cwd=survey).json["notes"] == []


def test_what_was_taken_on_purpose_is_not_told_again(survey: Path, inside: Callable[..., Any]) -> None:
    inside("taint", RAW, "--because", WHY, cwd=survey)
    inside("plan", "--run", "parts", "--where", "visit = 202611010003", "--with-tainted", cwd=survey)
    assert inside("run", "--engine", "local", "--only", "isr", "--json", cwd=survey).json["notes"] == []


def test_what_is_replaced_is_looked_for_in_all_plans_of_the_run(
    survey: Path, inside: Callable[..., Any]
) -> None:
    run_of(survey, "visit in (202611010001, 202611010003, 202611010005)", inside)
    run_of(survey, "visit in (202611010002, 202611010004)", inside)  # of the other band, and the newest
    again = ("plan", "--replace-tainted", "--child-of", "parts", "-n")
    inside("taint", RAW, "--because", WHY, cwd=survey)
    one = inside(*again, cwd=survey)
    assert "1 quantum is made again in place of what used tainted data in run parts" in one.out
    assert "used none of it" not in one.out
    inside("taint", RAW, "--lift", cwd=survey)
    for visit in (1, 2):
        inside("taint", f"isr{{visit=20261101000{visit}}}", "--run", "parts", "--because", WHY, cwd=survey)
    both = inside(*again, cwd=survey)
    assert "6 quanta are made again" in both.out  # isr, calibrate and coadd of each
    assert "used none of it" not in both.out
