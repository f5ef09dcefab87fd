"""Finding datasets from the command line and in a notebook: planned, committed, made."""

import json
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

import prestow as face

PUT = 'quantum.put("summary", {'


@pytest.fixture(scope="module")
def stages(tmp_path_factory, inside, small):
    """Answers of ``find summary --json`` as the campaign goes on, and the project at its end."""
    base = tmp_path_factory.mktemp("finding of mine")
    inside("init", "demo", cwd=base)
    root = small(base / "demo")
    task = root / "tasks" / "calibrate.py"
    task.write_text(task.read_text().replace(PUT, PUT + '"metrics": {"noise": noise, "sky": sky}, '))
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    told = [inside("find", "raw", "--json", cwd=root).json]
    inside("plan", cwd=root)
    told.append(inside("find", "summary", "--json", cwd=root).json)
    inside("run", "--engine", "local", "-q", cwd=root)
    told.append(inside("find", "summary", "--json", cwd=root).json)
    waiting = inside("find", "summary", "--where", "state = 'committed'", "--json", cwd=root).json
    assert waiting == told[-1]
    inside("ingest", cwd=root)
    told.append(inside("find", "summary", "--json", cwd=root).json)
    return told, root


@pytest.fixture(scope="module")
def root(stages) -> Path:
    return stages[1]


def test_a_dataset_is_planned_then_committed_then_made(stages) -> None:
    raw, planned, committed, made = stages[0]
    assert {d["state"] for d in raw["datasets"]} == {"made"}
    assert raw["count"] == len(raw["datasets"]) == 4
    for answer, state in ((planned, "planned"), (committed, "committed"), (made, "made")):
        assert answer["schema"] == "prestow.find/1"
        assert [d["state"] for d in answer["datasets"]] == [state] * 4
    ids = [[(d["id"], d["name"], d["url"]) for d in a["datasets"]] for a in (planned, committed, made)]
    assert ids[0] == ids[1] == ids[2]  # known before the first job ran


def test_json_lines_paths_and_urls_agree(root: Path, inside) -> None:
    lines = [json.loads(line) for line in inside("find", "isr", "--jsonl", cwd=root).out.splitlines()]
    paths = inside("find", "isr", "--paths", cwd=root).out.splitlines()
    urls = inside("find", "isr", "--urls", cwd=root).out.splitlines()
    assert [line["name"] for line in lines] == paths
    assert [line["url"] for line in lines] == urls
    assert list(lines[0]) == ["type", "data_id", "id", "run", "state", "name", "url", "size"]
    for line in lines:
        file = Path(unquote(urlsplit(line["url"]).path))
        assert file == root / "store" / line["name"]
        assert file.stat().st_size == line["size"]


def test_partial_data_ids_from_the_command_line(root: Path, inside) -> None:
    for words, count in (
        (["raw", "visit=202611010003"], 1),
        (["isr", "band=r", "ccd=0"], 2),
        (["isr{visit=202611010003}"], 1),
        (["coadd"], 2),
        (["isr", "--where", "exposure_time > 1 and visit > 202611010002"], 2),
        (["isr", "--run", "raw-simcam"], 0),
        (["isr", "--made"], 4),
        (["isr", "--planned"], 0),
    ):
        assert inside("find", *words, "--json", cwd=root).json["count"] == count, words


def test_metrics_are_found_by_their_values(root: Path, inside) -> None:
    every = inside("find", "summary", "--where", "noise is not null", "--json", cwd=root).json["datasets"]
    values = {
        d["id"]: json.loads(Path(unquote(urlsplit(d["url"]).path)).read_text())["metrics"]["noise"]
        for d in every
    }
    middle = sorted(values.values())[1]
    found = inside("find", "summary", "--where", f"noise <= {middle!r}", "--json", cwd=root).json["datasets"]
    assert {d["id"] for d in found} == {key for key, value in values.items() if value <= middle}
    assert "noise" in inside("find", "summary", "--where", "noise > 0", cwd=root).out.splitlines()[1]


def test_the_table_says_how_many_more_there_are(root: Path, inside) -> None:
    text = inside("find", "isr", "--limit", 1, cwd=root).out
    assert "and 3 more" in text
    assert text.splitlines()[-1] == "next: prestow find isr --paths"
    text = inside("find", "isr", "--where", "visit > 1", "--made", "--limit", 1, cwd=root).out
    assert text.splitlines()[-1] == "next: prestow find isr --where 'visit > 1' --made --paths"
    text = inside("find", "isr", "--made", cwd=root).out
    assert text.splitlines()[-1] == "next: prestow find isr --made --urls"
    nothing = inside("find", "isr", "visit=1", cwd=root)
    assert "no isr has visit=1" in nothing.out
    assert nothing.code == 0


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["isr", "vist=1"], "PST-C023", "did you mean 'visit'"),
        (["irs"], "PST-G007", "did you mean 'isr'"),
        (["isr", "visit=one"], "PST-C026", "must be an integer"),
        (["isr", "band=r", "filter=g"], "PST-G008", "contradict"),
        (["isr", "visit=202611010003", "band=r"], "PST-G008", "its band is g"),
        (["isr", "visit"], "PST-G006", "not of the form k=v"),
        (["isr", "--where", "nois < 3"], "PST-C027", "unknown name 'nois'"),
        (["isr", "--where", "seeing < 3"], "PST-C027", "no isr with metrics was taken in: prestow ingest"),
        (["summary", "--where", "nois < 3"], "PST-C027", "did you mean noise?"),
        (["summary", "--where", "fwhm < 3"], "PST-C027", "metrics here: noise, sky"),
        (["isr", "--run", "dmeo"], "PST-G003", "did you mean 'demo'"),
        (["isr", "--plan", "ffff"], "PST-P008", "no plan"),
        (["isr", "--made", "--planned"], "PST-G005", "do not go together"),
        (["isr", "--jsonl", "--json"], "PST-G005", "do not go together"),
    ],
)
def test_a_bad_question_has_one_answer(root: Path, inside, words, code, says) -> None:
    text = inside("find", *words, cwd=root, ok=False)
    assert text.code in (2, 3)
    assert text.out.startswith("{") or not text.out  # with --json among the words
    answer = inside("find", *words, *([] if "--json" in words else ["--json"]), cwd=root, ok=False)
    assert answer.codes == [code]
    assert says in f"{answer.json['problems'][0]['what']} {answer.json['problems'][0]['fix']}"


def test_the_normal_form_of_what_was_typed(root: Path, inside) -> None:
    answer = inside("id", "visit=202611010003", "ccd=00", "--type", "isr", "--json", cwd=root).json
    assert answer["schema"] == "prestow.id/1"
    assert answer["data_id"] == {"detector": 0, "instrument": "simcam", "visit": 202611010003}
    assert {v["name"]: v["origin"] for v in answer["values"]} == {
        "detector": "alias", "instrument": "constant", "visit": "given",
        "band": "looked up", "day_obs": "looked up", "physical_filter": "looked up",
    }  # fmt: skip
    words = [f"{name}={value}" for name, value in answer["data_id"].items()]
    again = inside("id", *words, "--type", "isr", "--json", cwd=root).json
    assert again["data_id"] == answer["data_id"]
    text = inside("id", "visit=202611010003", "ccd=00", "--explain", cwd=root).out
    assert "2. type: detector is an integer, so '00' is 0" in text
    assert "alias: ccd means detector" in text
    assert inside("id", "visit=202611010003", "band=r", "--json", cwd=root, ok=False).codes == ["PST-G008"]


def test_a_reader_who_has_enough_is_no_failure(root: Path) -> None:
    command = f'"{sys.executable}" -m prestow find isr --paths | head -1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", command], cwd=root, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr, len(done.stdout.splitlines())) == (0, "", 1)


class Reader(HTMLParser):
    """Reads HTML and remembers tags, what is left open, and the text of cells."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.open.append(tag)
        assert {name for name, _ in attrs} <= {"style"}
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("td", "th"):
            self.rows[-1][-1] += data


PLAIN = {"table", "caption", "thead", "tbody", "tr", "th", "td", "div"}


def test_a_notebook_shows_each_answer_as_a_small_table(root: Path) -> None:
    with face.open(root) as project:
        plan = project.find_plan()
        shown = {
            "plan": plan, "status": project.status(plan), "run": project.run(plan, engine="local"),
            "ingest": project.ingest(plan), "find": project.find("isr", filter="r"),
        }  # fmt: skip
    for value in shown.values():
        assert Reader(value._repr_html_()).tags <= PLAIN
        assert len(repr(value)) < 120
        assert repr(value).startswith(f"<{type(value).__name__}")
    rows = Reader(shown["plan"]._repr_html_()).rows
    assert [row[0] for row in rows] == ["task", "isr", "calibrate", "coadd", "total"]
    assert rows[-1][1] == "10"
    assert Reader(shown["status"]._repr_html_()).rows == [
        ["task", "made", "sum"],
        ["isr", "4", "4"],
        ["calibrate", "4", "4"],
        ["coadd", "2", "2"],
        ["total", "10", "10"],
    ]
    assert Reader(shown["find"]._repr_html_()).rows[0] == [
        "detector",
        "instrument",
        "visit",
        "run",
        "state",
        "path",
    ]
    assert [ref.data_id["visit"] for ref in shown["find"]] == [202611010002, 202611010004]


def test_what_a_task_said_cannot_become_markup() -> None:
    from prestow.engines.running import RunFailure, RunResult

    message = "</table><script>alert(1)</script>"
    failure = RunFailure("q", "<b>", "visit=1", "j", "a", 1, "PST-N007", message)
    result = RunResult("0" * 32, "a&b", {"<b>": {"failed": 1}}, tuple([failure] * 12))
    text = result._repr_html_()
    assert Reader(text).tags <= PLAIN
    assert "and 2 more failures" in text
    assert Reader(text).rows[1][0] == "<b>"


def test_the_python_of_it(root: Path) -> None:
    with face.open(root) as project:
        ids = project.expand("isr", ccd=0)
        assert next(ids)["visit"] == 202611010001
        assert [d["visit"] for d in ids] == [202611010002, 202611010003, 202611010004]
        assert project.find("raw", visit=202611010003).frame["state"].to_list() == ["made"]
        assert project.find("isr", "exposure_time > 0", limit=1).total == 4
        assert str(project.identify({"ccd": "0"}, "isr")) == "isr{detector=0,instrument=simcam}"
