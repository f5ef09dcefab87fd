"""From a bad coadd to the bad frame, and from a failure to its cause, as commands that people type."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from prestow.formats import StoryInput, open_format

BAD = "simcam-20261101-0005-0.fits"
SIDE = 32
STRANGE = StoryInput(
    "calexp",
    "calexp",
    '{"detector":0,"instrument":"simcam","visit":7}',
    "11111111-1111-1111-1111-111111111111",
)


def brighten(path: Path, counts: int) -> None:
    """Add a background to a raw frame, in its big-endian pixels."""
    data = bytearray(path.read_bytes())
    begin = (data.index(b"END" + b" " * 77) // 2880 + 1) * 2880
    for at in range(begin, begin + 2 * SIDE * SIDE, 2):
        data[at : at + 2] = (int.from_bytes(data[at : at + 2], "big", signed=True) + counts).to_bytes(
            2, "big", signed=True
        )
    path.write_bytes(data)


@pytest.fixture(scope="module")
def survey(tmp_path_factory: pytest.TempPathFactory, inside: Callable[..., Any]) -> Path:
    """One detector: five frames in g, of which one has a background nobody wanted, and one in r, too few for a coadd."""
    root = tmp_path_factory.mktemp("survey") / "demo"
    inside("init", root, cwd=root.parent)
    for path in (root / "raw").iterdir():
        number, detector = path.stem.split("-")[2:]
        if detector != "0" or int(number) in (4, 6, 8, 10):
            path.unlink()
    brighten(root / "raw" / BAD, 600)
    text = (root / "pipeline.yaml").read_text()
    assert text.count("    outputs: {isr: isr}\n") == 1
    (root / "pipeline.yaml").write_text(
        text.replace("    outputs: {isr: isr}\n", "    outputs: {isr: isr}\n    prototypes: [log, config]\n")
    )
    task = root / "tasks" / "calibrate.py"
    head = 'quantum.put("summary", {'
    assert task.read_text().count(head) == 1
    task.write_text(task.read_text().replace(head, head + '"metrics": {"faintest": float(pixels.min())}, '))
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", cwd=root)
    inside("run", "--engine", "local", cwd=root)
    inside("ingest", cwd=root)
    return root


def following(out: str) -> list[str]:
    """Give the words of the command that an answer ends with."""
    import shlex

    last = out.strip().splitlines()[-1]
    assert last.startswith("next: prestow ")
    return shlex.split(last.removeprefix("next: prestow "))


def test_three_commands_lead_from_the_coadd_to_the_frame(survey: Path, inside: Callable[..., Any]) -> None:
    coadd = inside("trace", "coadd", "band=g", "detector=0", cwd=survey)
    (marked,) = [line for line in coadd.out.splitlines() if "!!" in line and "─" in line]
    assert "calexp{detector=0,instrument=simcam,visit=202611010005}" in marked
    assert "!! sky" in marked
    second = following(coadd.out)
    assert second[0] == "why"
    why = inside(*second, cwd=survey)
    assert BAD in why.out
    assert not any(path.name in why.out for path in (survey / "raw").iterdir() if path.name != BAD)
    third = following(why.out)
    assert third == ["trace", "raw", "detector=0", "exposure=202611010005", "instrument=simcam", "--down"]
    down = inside(*third, cwd=survey)
    assert down.out.splitlines()[0].endswith(BAD)
    assert "coadd{band=g,detector=0,instrument=simcam}" in down.out


def test_only_the_bad_frame_stands_out(survey: Path, inside: Callable[..., Any]) -> None:
    up = inside("trace", "coadd{band=g}", "--json", cwd=survey).json["up"]
    (odd,) = up["stand_out"]
    assert {s["name"] for s in odd["standings"]} == {
        "sky",
        "faintest",
    }  # a measure, and a metric of what was made beside it
    assert [root["path"].rsplit("/", 1)[-1] for root in odd["roots"]] == [BAD]
    assert len(up["points"]) == 1 + 5 * 3


def test_it_is_found_without_the_plan_too(survey: Path, inside: Callable[..., Any], tmp_path: Path) -> None:
    root = tmp_path / "demo"
    shutil.copytree(survey, root)
    shutil.rmtree(root / "plans")
    answer = inside("trace", "coadd", "band=g", cwd=root)
    assert f"archive:raw/simcam/20261101/{BAD}" in [
        line.split("  ")[-1] for line in answer.out.splitlines() if "    from raw" in line
    ]
    assert "note: there is no plan here" in answer.out
    assert BAD in inside("why", *following(answer.out)[1:], cwd=root).out


def test_a_file_alone_tells_its_parents(survey: Path, inside: Callable[..., Any], tmp_path: Path) -> None:
    for name in ("coadd/coadd-simcam-g-00.fits", "summary/simcam/202611010001/summary-202611010001-00.json"):
        shutil.copy(survey / "store/demo" / name, tmp_path)
    coadd = inside("trace", "coadd-simcam-g-00.fits", cwd=tmp_path)
    assert coadd.out.count("─ calexp{") == 5
    assert coadd.out.count("goes back to raw{") == 5
    summary = inside("trace", "summary-202611010001-00.json", "--json", cwd=tmp_path).json
    assert [p["type"] for p in summary["up"]["points"]] == ["summary", "isr"]
    assert [r["data_id"]["exposure"] for r in summary["roots"]] == [202611010001]
    for path, code in ((survey / "raw" / BAD, "PST-G011"), (tmp_path / "none.fits", "PST-G001")):
        assert inside("trace", path, "--json", cwd=tmp_path, ok=False).codes == [code]


def restamp(source: Path, target: Path, change: Callable[[Any], Any]) -> None:
    format_ = open_format("fits")
    story = format_.read_story(source)
    assert story is not None
    with target.open("wb") as sink:
        format_.stamp(source, sink, change(story))


def test_an_input_that_only_the_file_names_is_an_error(
    survey: Path, inside: Callable[..., Any], tmp_path: Path
) -> None:
    source, target = survey / "store/demo/coadd/coadd-simcam-g-00.fits", tmp_path / "coadd.fits"
    restamp(source, target, lambda story: replace(story, inputs=(*story.inputs, STRANGE)))
    answer = inside("trace", target, cwd=survey, ok=False)
    assert answer.code == 9
    assert "error[PST-G010]" in answer.out
    assert "calexp{detector=0,instrument=simcam,visit=7}" in answer.out
    problems = inside("trace", target, "--json", cwd=survey, ok=False).json["problems"]
    assert len(problems) == 2  # and its bytes are not those that were committed
    assert inside("trace", source, "--json", cwd=survey).json["problems"] == []


def test_ingest_refuses_a_file_that_names_an_input_its_receipt_does_not(
    survey: Path, inside: Callable[..., Any], tmp_path: Path
) -> None:
    root = tmp_path / "demo"
    shutil.copytree(survey, root)
    file = root / "store/demo/coadd/coadd-simcam-g-00.fits"
    size = file.stat().st_size
    restamp(file, tmp_path / "other.fits", lambda story: replace(story, inputs=(STRANGE, *story.inputs[1:])))
    shutil.copyfile(tmp_path / "other.fits", file)
    assert file.stat().st_size == size
    answer = inside("ingest", "--reverify", cwd=root, ok=False)
    assert answer.code == 8
    assert "names an input that its receipt does not: calexp" in answer.err + answer.out


def test_a_planned_input_that_was_not_used_is_a_note(
    survey: Path, inside: Callable[..., Any], tmp_path: Path
) -> None:
    source, target = survey / "store/demo/coadd/coadd-simcam-g-00.fits", tmp_path / "coadd.fits"
    restamp(source, target, lambda story: replace(story, inputs=story.inputs[1:]))
    answer = inside("trace", target, "--json", cwd=survey, ok=False).json
    assert [note for note in answer["notes"] if note.startswith("planned, and not used: calexp{")]
    assert all("was never planned" not in problem["what"] for problem in answer["problems"])


def test_a_raw_file_outside_the_store_is_known_by_its_bytes(survey: Path, inside: Callable[..., Any]) -> None:
    answer = inside("why", f"raw/{BAD}", cwd=survey)
    assert "raw{detector=0,exposure=202611010005,instrument=simcam}  root" in answer.out
    assert "isr{detector=0,instrument=simcam,visit=202611010005} (made)" in answer.out


def test_what_was_left_out_says_why(survey: Path, inside: Callable[..., Any]) -> None:
    answer = inside("why", "coadd", "band=r", "detector=0", cwd=survey)
    assert "not planned: left out of plan" in answer.out
    assert inside("why", "coadd", "band=r", "--json", cwd=survey).json["state"] == "left_out"


def test_the_papers_of_a_job(survey: Path, inside: Callable[..., Any]) -> None:
    job = "isr-0-202611010001"
    log = inside("show", job, "--log", "--json", cwd=survey).json["log"]
    assert log[0]["source"].startswith("archive:demo/")
    config = inside("show", job, "--config", cwd=survey)
    assert "bias_level: 1000.0" in config.out
    assert "archive:demo/" in config.out
    environment = inside("show", job, "--environment", cwd=survey)
    assert "host " in environment.out
    assert "prestow" in environment.out
    assert "brightest_sky: 5000.0" in inside("show", "calibrate-0-202611010001", "--config", cwd=survey).out
    assert "no log was kept" in inside("show", "calibrate-0-202611010001", "--log", cwd=survey).out
    assert inside("show", "nothing", "--log", "--json", cwd=survey, ok=False).codes == ["PST-R004"]


@pytest.fixture
def kept(survey: Path, inside: Callable[..., Any]) -> Any:
    """A job's directory as ``debug --keep`` leaves it."""
    answer = inside("debug", "calibrate-0-202611010001", "--keep", "--json", cwd=survey).json
    directory = Path(answer["directory"])
    yield directory
    shutil.rmtree(directory)


def states(answer: Any) -> dict[str, str]:
    return {check["name"].split("{")[0]: check["state"] for check in answer.json["checks"]}


def test_doctor_tells_what_a_kept_directory_holds(
    kept: Path, inside: Callable[..., Any], tmp_path: Path
) -> None:
    whole = inside("doctor", kept, "--json", cwd=tmp_path)
    assert set(states(whole).values()) == {"ok"}
    repository = Path(whole.json["repository"])
    assert json.loads((repository / "manifest.json").read_text())["job"] == "calibrate-0-202611010001"
    assert inside("doctor", repository, "--json", cwd=tmp_path).json["job"] == "calibrate-0-202611010001"
    (given,) = [p for p in (repository / "inputs").rglob("*") if p.is_file()]
    given.chmod(0o644)
    given.write_bytes(given.read_bytes() + b" ")
    next(p for p in (repository / "outputs").rglob("*.json")).unlink()
    (repository / "outputs" / "stray.txt").write_text("mine")
    found = inside("doctor", kept, "--json", cwd=tmp_path, ok=False)
    assert found.code == 7
    assert states(found) == {
        "manifest": "ok", "repository": "ok", "input isr": "fail", "output calexp": "ok", "output summary": "warn",
        "unplanned": "fail", "quantum calibrate": "ok",
    }  # fmt: skip
    text = inside("doctor", kept, cwd=tmp_path, ok=False).out
    assert "CHANGED" in text
    assert following(text)[0] == "debug"


def test_doctor_refuses_what_is_no_jobs_directory(inside: Callable[..., Any], tmp_path: Path) -> None:
    (tmp_path / "pictures").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "manifest.json").write_text('{"schema": "prestow.manifest/1"')
    for name in ("pictures", "broken", "absent"):
        answer = inside("doctor", tmp_path / name, "--json", cwd=tmp_path, ok=False)
        assert (answer.code, answer.codes) == (2, ["PST-G013"])


def test_doctor_looks_at_the_environment(
    inside: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checks = {c["name"]: c for c in inside("doctor", "--json", cwd=tmp_path).json["checks"]}
    assert {
        "python",
        "polars",
        "extra dask",
        "extra fits",
        "disk",
        "scratch",
        "loopback",
        "project",
    } <= checks.keys()
    assert checks["loopback"]["state"] == "ok"
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("PRESTOW_SCRATCH", str(tmp_path / "file"))
    answer = inside("doctor", "--json", cwd=tmp_path, ok=False)
    assert answer.code == 7
    assert {c["name"]: c["state"] for c in answer.json["checks"]}["scratch"] == "fail"


def test_a_wrong_data_id_is_answered_with_near_ones(survey: Path, inside: Callable[..., Any]) -> None:
    answer = inside(
        "trace",
        "calexp",
        "visit=202611010011",
        "detector=0",
        "instrument=simcam",
        "--json",
        cwd=survey,
        ok=False,
    )
    (problem,) = answer.json["problems"]
    assert "calexp{detector=0,instrument=simcam,visit=2026110100" in problem["fix"]


def test_bad_words_are_refused(survey: Path, inside: Callable[..., Any]) -> None:
    for words, codes in (
        (("trace", "calexp"), ["PST-G014"]),
        (("trace", "calexp", "visit=1"), ["PST-G012"]),
        (("trace", "calexq", "visit=1"), ["PST-G007"]),
        (("trace", "calexp", "vizit=1"), ["PST-C023"]),
        (("why", "calibrate-77"), ["PST-G012"]),
        (("trace", "no/such.fits"), ["PST-G012"]),
        (("why", "coadd", "--plan", "abcd1234"), ["PST-P008"]),
    ):
        answer = inside(*words, "--json", cwd=survey, ok=False)
        assert (answer.codes, answer.code) == (codes, 3 if codes == ["PST-C023"] else 2), words


@pytest.fixture(scope="module")
def two_runs(tmp_path_factory: pytest.TempPathFactory, inside: Callable[..., Any], small: Any) -> Path:
    """Two runs of the same data IDs, in which one frame's task fails."""
    root = tmp_path_factory.mktemp("runs") / "demo"
    inside("init", root, cwd=root.parent)
    small(root)
    task = root / "tasks" / "calibrate.py"
    line = "    noise = 1.4826"
    assert task.read_text().count(line) == 1
    bad = '    if quantum.data_id["visit"] == 202611010002:\n        raise ValueError("no stars\\nat all")\n'
    task.write_text(task.read_text().replace(line, bad + line))
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    for run in ("demo", "strict"):
        inside("plan", "--run", run, cwd=root)
        inside("run", "--engine", "local", "-q", cwd=root, ok=False)
        inside("ingest", cwd=root)
    return root


def test_the_run_that_is_asked_for_is_the_one_that_answers(
    two_runs: Path, inside: Callable[..., Any]
) -> None:
    bad = ("calexp", "visit=202611010002", "detector=0")
    for words in (bad, ("calibrate-0-202611010002",)):
        for run in ("demo", "strict"):
            answer = inside("why", *words, "--run", run, "--json", cwd=two_runs).json
            assert (answer["state"], answer["point"]["run"]) == ("failed", run)
            assert answer["same_error"] == {"count": 1, "of": 4}  # not those of the other run
        assert inside("why", *words, "--json", cwd=two_runs).json["point"]["run"] == "strict"  # the newest


def test_a_next_command_stays_with_its_run_and_its_plan(two_runs: Path, inside: Callable[..., Any]) -> None:
    there = ("isr", "visit=202611010003", "detector=0")
    for command in ("trace", "why"):
        old = inside(command, *there, "--run", "demo", cwd=two_runs)
        again = following(old.out)
        assert again[again.index("--run") + 1] == "demo"
        assert "demo/isr" in inside(*again, "--json", cwd=two_runs).out
        assert "--run" not in following(inside(command, *there, cwd=two_runs).out)
    plan = {run: next(p.parent.name[:8] for p in (two_runs / "plans").glob("*/plan.yaml") if f"run: {run}\n" in p.read_text()) for run in ("demo", "strict")}  # fmt: skip
    job, then, of = "calibrate-0-202611010002", ("&&", "prestow"), ("--plan", plan["demo"])
    or_debug = ("or", "look", "into", "it:", "prestow", "debug", job)
    for words, said in (
        (
            ("status", plan["demo"]),
            [
                "retry",
                plan["demo"],
                "--failed",
                *then,
                "run",
                plan["demo"],
                "or",
                "why:",
                "prestow",
                "why",
                job,
                *of,
            ],
        ),
        (("show", plan["demo"]), ["show", plan["demo"], "coadd", "--files"]),
        (("show", plan["demo"], job), ["debug", job, *of]),
        (("show", plan["demo"], job, "--log"), ["why", job, *of]),
        (
            ("why", job, "--run", "demo"),
            ["retry", plan["demo"], job, *then, "run", plan["demo"], *or_debug, *of],
        ),
        (("why", job), ["retry", job, *then, "run", *or_debug]),
        (
            ("status", plan["strict"]),
            ["retry", "--failed", *then, "run", "or", "why:", "prestow", "why", job],
        ),
    ):
        assert following(inside(*words, cwd=two_runs).out) == said


def test_a_message_of_several_lines_stays_in_its_place(two_runs: Path, inside: Callable[..., Any]) -> None:
    lines = inside("why", "calibrate-0-202611010002", cwd=two_runs).out.splitlines()
    assert any(line.startswith("    at all") for line in lines)


def test_a_job_that_was_taken_in_is_not_told_to_be_taken_in(
    two_runs: Path, inside: Callable[..., Any]
) -> None:
    answer = inside("why", "isr-0-202611010003", cwd=two_runs)
    assert "not taken in" not in answer.out
    assert following(answer.out)[0] == "trace"


def test_a_line_that_is_cut_at_once_does_not_end_there(survey: Path, inside: Callable[..., Any]) -> None:
    text = inside("trace", "coadd", "band=g", "--depth", 0, cwd=survey).out
    assert "cut at 1 branch:" in text
    assert "where the line begins" not in text


def test_words_that_mean_nothing_in_a_plan_are_answered_with_near_ones(
    survey: Path, inside: Callable[..., Any]
) -> None:
    for words, says in (
        (("show", "coad"), "did you mean 'coadd'"),
        (("show", "isr-0-20261101000"), "did you mean 'isr-0-2026110100"),
        (
            ("trace", "coaddband=r", "coadddetector=0"),
            "quotes",
        ),  # what a shell makes of coadd{band=r,detector=0}
        (("find", "raw{detector=0}", "exposure=202611010001"), "into the braces"),
    ):
        answer = inside(*words, "--json", cwd=survey, ok=False)
        assert answer.code == 2
        assert says in answer.json["problems"][0]["fix"]


def test_show_takes_a_dataset_in_every_way(survey: Path, inside: Callable[..., Any]) -> None:
    name = inside("show", "coadd", "--files", cwd=survey).out.strip()
    expected = inside("show", name, "--json", cwd=survey).json
    assert len(expected["quanta"]) == 1
    for words in (("coadd", "band=g", "detector=0"), ("coadd{band=g,detector=0}",), (f"store/{name}",)):
        assert inside("show", *words, "--json", cwd=survey).json == expected
    assert inside("show", "coadd", "band=z", cwd=survey, ok=False).code == 2


def test_a_torn_product_is_known_by_its_place_and_how_it_comes_back_is_told(
    two_runs: Path, inside: Callable[..., Any]
) -> None:
    name = "demo/isr/simcam/202611010001/isr-202611010001-00.fits"
    file = two_runs / "store" / name
    whole = file.read_bytes()
    file.chmod(0o644)
    file.write_bytes(whole[: len(whole) // 2])
    plan = next(
        p.parent.name for p in (two_runs / "plans").glob("*/plan.yaml") if "run: demo\n" in p.read_text()
    )
    traced = inside("trace", file, "--json", cwd=two_runs, ok=False)
    assert (traced.code, [p["code"] for p in traced.json["problems"]]) == (9, ["PST-G010"])
    answer = inside("why", file, "--run", "demo", cwd=two_runs)
    assert "CHANGED" in answer.out
    ran = inside("run", plan, "--engine", "local", "--json", cwd=two_runs, ok=False).json
    assert [note for note in ran["notes"] if f"prestow why {name}" in note]
    command = answer.out.split("'prestow ")[1].split("'")[0].split()
    kept = Path(inside(*command, "--json", cwd=two_runs).json["directory"])
    file.unlink()
    file.write_bytes((kept / "outputs" / name).read_bytes())
    assert file.read_bytes() == whole
    assert not inside("run", plan, "--engine", "local", "--json", cwd=two_runs, ok=False).json["notes"]


def test_in_a_notebook_an_answer_reads_as_on_the_command_line(survey: Path) -> None:
    import prestow

    class Printer:
        def text(self, text: str) -> None:
            self.said = text

    with prestow.open(survey) as project:
        for answer in (project.trace("coadd", "band=g"), project.why("coadd", "band=g")):
            answer._repr_pretty_(printer := Printer(), cycle=False)
            assert printer.said == str(answer)
            assert "coadd{band=g" in repr(answer)
            assert len(repr(answer)) < 200
