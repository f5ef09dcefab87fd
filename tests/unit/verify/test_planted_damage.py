"""The checker of plans: real plans pass, and every kind of planted damage is found for what it is."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from prestow.documents import read_document
from prestow.engines import open_engine
from prestow.errors import CODES, Exit
from prestow.pipeline import load_pipeline
from prestow.pipeline.definition import Cluster
from prestow.plan import Request, build_plan, write_plan
from prestow.testing.campaigns import Campaign
from prestow.testing.surveys import UNIVERSE, Survey, reduction
from prestow.verify import KINDS, rules, verify
from prestow.verify.findings import Findings
from prestow.verify.paper import open_paper

GOLDEN = Path(__file__).parents[2] / "golden"
BY_VISIT = Cluster("front", ("isr", "align"), ("instrument", "visit"))
PACKED = Cluster("front", ("isr", "align"), ("instrument", "visit"), 3)


def planned(directory, *clusters, where=""):
    survey = Survey.make(visits=4, detectors=2)
    request = Request("demo", reduction(clusters=clusters), UNIVERSE, ("raw",), where=where)
    return write_plan(build_plan(request, survey), directory)


def child_of_a_loss(directory):
    campaign = Campaign(
        directory, visits=3, do={2: {"double": {"what": "fail"}}}, double="tolerate", minimum=1
    )
    campaign.run(open_engine("local"))
    return campaign.plan("toy+1", child_of="toy").directory


@pytest.fixture(scope="module")
def plans(tmp_path_factory):
    place = tmp_path_factory.mktemp("plans")
    return {
        "plain": planned(place),
        "clusters": planned(place, BY_VISIT),
        "packed": planned(place, PACKED),
        "child": child_of_a_loss(tmp_path_factory.mktemp("campaign")),
    }


@pytest.mark.parametrize("which", ["plain", "clusters", "packed", "child"])
def test_a_plan_of_the_planner_is_proved(plans, which):
    report = verify(plans[which])
    assert report.findings == ()
    assert report.totals["quanta"] > 0


@pytest.mark.parametrize("case", sorted(path.parent.name for path in GOLDEN.glob("*/request.yaml")))
def test_golden_plans_are_proved(case, tmp_path):
    asked = read_document(GOLDEN / case / "request.yaml").data
    survey = Survey.make(asked["visits"], asked["detectors"])
    pipeline = load_pipeline(GOLDEN / case / "pipeline.yaml", UNIVERSE)
    request = Request(asked["run"], pipeline, UNIVERSE, ("raw",), where=asked["where"])
    assert verify(write_plan(build_plan(request, survey), tmp_path)).findings == ()


def test_codes_mean_the_same_in_both_tables():
    assert {code: CODES[code][0] for code in KINDS} == KINDS
    assert {CODES[code][1] for code in KINDS} == {Exit.REFUSED}
    assert {code for code in CODES if code.startswith("PST-V")} == set(KINDS)


# --- damage


def table(directory, name, change):
    path = directory / f"{name}.parquet"
    pq.write_table(change(pq.read_table(path)), path)


def put(directory, name, column, row, value):
    def change(found):
        values = found[column].to_pylist()
        values[row] = value(values[row]) if callable(value) else value
        return found.set_column(
            found.column_names.index(column), column, pa.array(values, found.schema.field(column).type)
        )

    table(directory, name, change)


def without(directory, name, row):
    table(
        directory,
        name,
        lambda t: pa.concat_tables([t.slice(0, row % t.num_rows), t.slice(row % t.num_rows + 1)]),
    )


def twice(directory, name, row):
    table(directory, name, lambda t: pa.concat_tables([t.slice(0, row + 1), t.slice(row)]))


def more(directory, name, /, **values):
    def change(found):
        row = {column: None for column in found.column_names} | values
        return pa.concat_tables([found, pa.Table.from_pylist([row], found.schema)])

    table(directory, name, change)


def swapped(directory, name, a, b):
    def change(found):
        order = list(range(found.num_rows))
        order[a], order[b] = order[b], order[a]
        return found.take(order)

    table(directory, name, change)


def document(directory, change):
    path = directory / "proof.json"
    value = json.loads(path.read_text())
    change(value)
    path.write_text(rules.canonical(value))


def task(value, label):
    return next(t for t in value["pipeline"]["tasks"] if t["label"] == label)


def first_planned(directory):
    return pq.read_metadata(directory / "locations.parquet").num_rows


def planned_path(offset, path):
    def damage(d):
        put(d, "datasets", "path", first_planned(d) + offset, path)

    return damage


def same_path(fold):
    def damage(d):
        first = first_planned(d)
        paths = pq.read_table(d / "datasets.parquet")["path"].to_pylist()
        put(d, "datasets", "path", first + 1, fold(paths[first]))

    return damage


def shadow(d):
    first = first_planned(d)
    paths = pq.read_table(d / "datasets.parquet")["path"].to_pylist()
    put(d, "datasets", "path", first + 1, paths[first].rpartition("/")[0])


def cycle(d):
    edges = pq.read_table(d / "job_edges.parquet").to_pylist()
    one = edges[0]
    more(d, "job_edges", parent=one["child"], child=one["parent"], soft=False)
    table(d, "job_edges", lambda t: t.sort_by([("parent", "ascending"), ("child", "ascending")]))


def read_later(d):
    """Let the first quantum of isr read, as its raw, what a later quantum makes."""
    inputs = pq.read_table(d / "inputs.parquet").to_pylist()
    put(d, "inputs", "dataset", 0, pq.read_metadata(d / "datasets.parquet").num_rows - 1)
    assert inputs[0]["quantum"] == 0


def flip(value):
    return bytes([value[0] ^ 1]) + value[1:]


def last(d, name):
    return pq.read_metadata(d / f"{name}.parquet").num_rows - 1


def flat_clash(d):
    document(d, lambda v: v["request"].update(flat=True))
    same = (
        "demo/else/"
        + pq.read_table(d / "datasets.parquet")["path"].to_pylist()[first_planned(d)].rpartition("/")[2]
    )
    planned_path(1, same)(d)


DAMAGE = {
    "a table is gone": ("PST-V001", lambda d: (d / "inputs.parquet").unlink()),
    "a table is cut": (
        "PST-V001",
        lambda d: (d / "quanta.parquet").write_bytes((d / "quanta.parquet").read_bytes()[:-40]),
    ),
    "bytes of a table are turned": (
        "PST-V001",
        lambda d: (d / "datasets.parquet").write_bytes(
            (b := (d / "datasets.parquet").read_bytes())[:40] + b"\xff" * 80 + b[120:]
        ),
    ),
    "the document is no JSON": ("PST-V001", lambda d: (d / "proof.json").write_text("{")),
    "the document is gone": ("PST-V001", lambda d: (d / "proof.json").unlink()),
    "the code is gone": ("PST-V001", lambda d: (d / "code.zip").unlink()),
    "another schema": ("PST-V002", lambda d: document(d, lambda v: v.update(schema="prestow.plan/9"))),
    "the document lacks a key": ("PST-V002", lambda d: document(d, lambda v: v.pop("counts"))),
    "a column is gone": ("PST-V002", lambda d: table(d, "inputs", lambda t: t.drop_columns("connection"))),
    "a column has another type": (
        "PST-V002",
        lambda d: table(
            d, "jobs", lambda t: t.set_column(5, "count", pa.array([str(c) for c in t["count"].to_pylist()]))
        ),
    ),
    "numbers of datasets have a gap": ("PST-V005", lambda d: put(d, "datasets", "dataset", 3, 77)),
    "numbers of quanta stand twice": ("PST-V005", lambda d: put(d, "quanta", "quantum", 3, 2)),
    "a job's number is null": ("PST-V005", lambda d: put(d, "jobs", "job", 1, None)),
    "inputs are not in order": ("PST-V006", lambda d: swapped(d, "inputs", 0, last(d, "inputs"))),
    "inputs of one quantum are not in order": ("PST-V006", lambda d: swapped(d, "inputs", 0, 1)),
    "outputs are not in order": ("PST-V006", lambda d: swapped(d, "outputs", 0, 1)),
    "an edge stands twice": ("PST-V006", lambda d: twice(d, "job_edges", 0)),
    "a job says more quanta": ("PST-V007", lambda d: put(d, "jobs", "count", 0, lambda v: v + 1)),
    "a job begins elsewhere": ("PST-V007", lambda d: put(d, "jobs", "first", 1, lambda v: v + 1)),
    "a job without quanta": (
        "PST-V007",
        lambda d: more(
            d, "jobs", job=last(d, "jobs") + 1, name="x", label="measure", depth=9, first=0, count=0
        ),
    ),
    "two jobs of one name": ("PST-V008", lambda d: put(d, "jobs", "name", 1, "ISR-0-1")),
    "a job's name with a blank": ("PST-V008", lambda d: put(d, "jobs", "name", 1, "is r")),
    "a job of no task": ("PST-V008", lambda d: put(d, "jobs", "label", 1, "nobody")),
    "jobs in a circle": ("PST-V009", cycle),
    "an input of later": ("PST-V010", read_later),
    "a job no deeper than its parent": (
        "PST-V011",
        lambda d: put(d, "jobs", "depth", last(d, "jobs"), 0),
    ),
    "an edge is gone": ("PST-V012", lambda d: without(d, "job_edges", 0)),
    "an edge too many": (
        "PST-V013",
        lambda d: more(d, "job_edges", parent=last(d, "jobs") - 1, child=last(d, "jobs"), soft=False),
    ),
    "an edge is soft": ("PST-V014", lambda d: put(d, "job_edges", "soft", 0, lambda v: not v)),
    "two outputs of one name": ("PST-V015", same_path(lambda p: p)),
    "an output under the name of an input": (
        "PST-V015",
        lambda d: planned_path(0, pq.read_table(d / "locations.parquet")["path"].to_pylist()[0])(d),
    ),
    "names that differ in case": ("PST-V016", same_path(str.swapcase)),
    "base names that clash where it is flat": ("PST-V017", flat_clash),
    "a name that is a directory": ("PST-V018", shadow),
    "a name that climbs": ("PST-V019", planned_path(0, "demo/../else.fits")),
    "an absolute name": ("PST-V019", planned_path(0, "/demo/else.fits")),
    "a name with a blank": ("PST-V019", planned_path(0, "demo/el se.fits")),
    "a name that is missing": ("PST-V019", planned_path(0, None)),
    "a name like an option": ("PST-V019", planned_path(0, "demo/-rf")),
    "a name of the store's own": ("PST-V019", planned_path(0, "_receipts/demo/x.json")),
    "a component too long": ("PST-V019", planned_path(0, f"demo/{'x' * 256}")),
    "a name not of its template": ("PST-V021", planned_path(0, "demo/else.fits")),
    "the name of another data ID": ("PST-V021", same_path(lambda p: p.replace("000", "001"))),
    "a template without a dimension": (
        "PST-V022",
        lambda d: document(
            d, lambda v: v["pipeline"]["dataset_types"]["coadd"].update(template="{run}/coadd/{band}.fits")
        ),
    ),
    "the id of a planned dataset": ("PST-V023", lambda d: put(d, "datasets", "id", first_planned(d), flip)),
    "the id of an existing dataset": ("PST-V023", lambda d: put(d, "datasets", "id", 0, flip)),
    "the id of a quantum": ("PST-V024", lambda d: put(d, "quanta", "id", 0, flip)),
    "a data ID in another order": (
        "PST-V025",
        lambda d: put(d, "quanta", "data_id", 0, lambda v: json.dumps(dict(reversed(json.loads(v).items())))),
    ),
    "a column that contradicts a data ID": ("PST-V025", lambda d: put(d, "datasets", "detector", 0, 9)),
    "a column of a dimension that is not its own": (
        "PST-V025",
        lambda d: put(d, "datasets", "band", 0, "g"),
    ),
    "a recipe of a quantum": ("PST-V026", lambda d: put(d, "quanta", "recipe", 0, flip)),
    "configuration changed afterwards": (
        "PST-V026",
        lambda d: document(d, lambda v: task(v, "align")["config"].update(order=3)),
    ),
    "code changed afterwards": (
        "PST-V026",
        lambda d: document(d, lambda v: v["pipeline"]["code"].update(sha256="0" * 64)),
    ),
    "an input of another recipe": ("PST-V026", lambda d: put(d, "datasets", "recipe", 0, flip)),
    "another input": (
        "PST-V026",
        lambda d: put(d, "inputs", "dataset", 0, lambda v: _another_raw(d, v)),
    ),
    "a product's recipe": ("PST-V027", lambda d: put(d, "datasets", "recipe", first_planned(d), flip)),
    "a root's recipe": ("PST-V028", lambda d: put(d, "datasets", "recipe", 0, flip)),
    "a root's content": (
        "PST-V028",
        lambda d: put(d, "locations", "content", 0, lambda v: "0" * 64),
    ),
    "an input of nothing": ("PST-V029", lambda d: put(d, "inputs", "dataset", 1, 4_000_000)),
    "an input of no quantum": ("PST-V029", lambda d: put(d, "inputs", "quantum", last(d, "inputs"), None)),
    "an output of nothing": (
        "PST-V029",
        lambda d: put(d, "outputs", "dataset", last(d, "outputs"), 4_000_000),
    ),
    "an edge to nothing": (
        "PST-V029",
        lambda d: put(d, "job_edges", "child", last(d, "job_edges"), 4_000_000),
    ),
    "a quantum in no job": ("PST-V029", lambda d: put(d, "quanta", "job", last(d, "quanta"), 4_000_000)),
    "an output row is gone": ("PST-V030", lambda d: without(d, "outputs", 2)),
    "an output row twice": ("PST-V030", lambda d: twice(d, "outputs", 2)),
    "a dataset without a producer": (
        "PST-V030",
        lambda d: put(d, "datasets", "producer", first_planned(d), None),
    ),
    "a raw with a producer": ("PST-V030", lambda d: put(d, "datasets", "producer", 0, 0)),
    "two say who makes it": (
        "PST-V031",
        lambda d: put(d, "datasets", "producer", first_planned(d), lambda v: v + 1),
    ),
    "a place is gone": ("PST-V032", lambda d: without(d, "locations", 0)),
    "something planned exists": ("PST-V032", lambda d: put(d, "datasets", "planned", 0, True)),
    "a place without a digest": ("PST-V033", lambda d: put(d, "locations", "sha256", 0, None)),
    "a place without a size": ("PST-V033", lambda d: put(d, "locations", "size", 0, -1)),
    "a place without a store": ("PST-V033", lambda d: put(d, "locations", "store", 0, "")),
    "an unknown connection": ("PST-V034", lambda d: put(d, "inputs", "connection", 0, "sky")),
    "a flat read as raw": (
        "PST-V034",
        lambda d: put(d, "inputs", "connection", 1, "raw"),
    ),
    "an input twice": ("PST-V035", lambda d: twice(d, "inputs", 0)),
    "an input is gone": ("PST-V036", lambda d: without(d, "inputs", 0)),
    "an output under another connection": ("PST-V037", lambda d: put(d, "outputs", "connection", 0, "sky")),
    "an output that may fail": ("PST-V037", lambda d: put(d, "outputs", "optional", 0, True)),
    "an output more is declared": (
        "PST-V037",
        lambda d: document(
            d, lambda v: task(v, "isr")["outputs"].append({"name": "b", "type": "aligned", "optional": False})
        ),
    ),
    "a type without a template": (
        "PST-V038",
        lambda d: document(d, lambda v: v["pipeline"]["dataset_types"]["isr"].update(template="")),
    ),
    "a type that nobody knows": (
        "PST-V038",
        lambda d: put(d, "datasets", "type", first_planned(d), "mystery"),
    ),
    "another format": ("PST-V038", lambda d: put(d, "datasets", "format", first_planned(d), "json")),
    "two quanta of one id": (
        "PST-V039",
        lambda d: put(d, "quanta", "id", 1, lambda _: pq.read_table(d / "quanta.parquet")["id"][0].as_py()),
    ),
    "a total": ("PST-V040", lambda d: document(d, lambda v: v["totals"].update(inputs=1))),
    "a count": ("PST-V041", lambda d: document(d, lambda v: v["counts"]["isr"].update(quanta=1))),
    "a count of nobody": ("PST-V041", lambda d: document(d, lambda v: v["counts"].update(nobody={}))),
    "left out and not counted": (
        "PST-V042",
        lambda d: more(d, "left_out", task="isr", data_id="{}", reason="missing:flat", detail=""),
    ),
    "counted and not named": (
        "PST-V042",
        lambda d: document(d, lambda v: v["counts"]["isr"]["left_out"].update({"missing:flat": 3})),
    ),
    "something blocking is left out": (
        "PST-V043",
        lambda d: document(
            d, lambda v: v["counts"]["isr"]["left_out"].update({"calibration_overlap:flat": 3})
        ),
    ),
    "something grave is left out": (
        "PST-V043",
        lambda d: document(d, lambda v: v["counts"]["isr"]["left_out"].update({"calibration_gap:flat": 3})),
    ),
    "a waiver that the id does not cover": (
        "PST-V043",
        lambda d: document(
            d, lambda v: v["request"].update(waived=[{"task": "isr", "reason": "missing:flat", "count": 1}])
        ),
    ),
    "an existing dataset of no use": (
        "PST-V044",
        lambda d: table(
            d,
            "inputs",
            lambda t: t.filter(pa.compute.not_equal(t["dataset"].cast(pa.int64()), 0)),
        ),
    ),
    "other code": ("PST-V045", lambda d: (d / "code.zip").write_bytes(b"evil")),
    "an output of another run": ("PST-V046", lambda d: put(d, "datasets", "run", first_planned(d), "else")),
    "a quantum of no task": ("PST-V047", lambda d: put(d, "quanta", "task", 0, "nobody")),
    "the digest of the pipeline": (
        "PST-V048",
        lambda d: document(d, lambda v: v.update(pipeline_digest="0")),
    ),
    "a dataset twice": (
        "PST-V049",
        lambda d: put(
            d, "datasets", "id", 1, lambda _: pq.read_table(d / "datasets.parquet")["id"][0].as_py()
        ),
    ),
}


def _another_raw(d, number):
    types = pq.read_table(d / "datasets.parquet")["type"].to_pylist()
    return next(i for i, kind in enumerate(types) if kind == "raw" and i != number)


def damaged(plans, which, name, place):
    directory = place / "damaged"
    shutil.copytree(plans[which], directory)
    code, damage = DAMAGE[name]
    damage(directory)
    return directory, code


@pytest.mark.parametrize("name", DAMAGE)
def test_damage_is_found_for_what_it_is_without_a_look_at_the_id(plans, name, tmp_path):
    directory, code = damaged(plans, "plain", name, tmp_path)
    report = verify(directory, plan_id=False)
    found = {f.code for f in report.findings}
    assert code in found, [str(f) for f in report.findings]
    assert "PST-V003" not in found
    one = next(f for f in report.findings if f.code == code)
    assert one.count >= len(one.examples) >= 1


HASHED = [
    "configuration changed afterwards",
    "an edge is gone",
    "a recipe of a quantum",
    "two outputs of one name",
]


@pytest.mark.parametrize("name", HASHED)
def test_what_the_id_covers_changes_it(plans, name, tmp_path):
    directory, code = damaged(plans, "clusters", name, tmp_path)
    assert {code, "PST-V003"} <= {f.code for f in verify(directory).findings}


@pytest.mark.parametrize("name", HASHED)
def test_damage_that_was_hashed_anew_is_found(plans, name, tmp_path):
    directory, code = damaged(plans, "packed", name, tmp_path)
    paper = open_paper(directory, Findings())
    fresh = rules.plan_id(paper)
    paper.close()
    document(directory, lambda v: v.update(id=fresh))
    found = {f.code for f in verify(directory).findings}
    assert code in found
    assert "PST-V003" not in found


def test_a_plan_under_another_id_is_found(plans, tmp_path):
    shutil.copytree(plans["plain"], tmp_path / ("0" * 32))
    assert [f.code for f in verify(tmp_path / ("0" * 32)).findings] == ["PST-V004"]


def test_a_directory_with_too_many_entries_is_found(plans, monkeypatch):
    monkeypatch.setattr("prestow.verify.names.OVERCROWDED", 3)
    assert [f.code for f in verify(plans["plain"]).findings] == ["PST-V020"]


def test_many_of_a_kind_are_counted_and_the_first_are_named(plans, tmp_path):
    directory = tmp_path / "damaged"
    shutil.copytree(plans["plain"], directory)
    for row in range(9):
        put(directory, "quanta", "id", row, flip)
    (one,) = verify(directory).findings
    assert (one.code, one.count, len(one.examples)) == ("PST-V024", 9, 5)
    assert "… and 4 more" in str(one)


BLOCKER = """
import sys
class Blocker:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        own = name == "prestow" or name.startswith("prestow.verify")
        if top in ("polars", "yaml", "click", "sqlalchemy", "polars_hash", "dask") or (top == "prestow" and not own):
            raise ImportError("blocked: " + name)
sys.meta_path.insert(0, Blocker())
import runpy
sys.argv = ["verify", *sys.argv[1:]]
runpy.run_module("prestow.verify", run_name="__main__", alter_sys=False)
"""


def run_alone(*words):
    return subprocess.run(
        [sys.executable, "-c", BLOCKER, *map(str, words)], capture_output=True, text=True, timeout=120
    )


def test_the_checker_runs_where_nothing_else_of_prestow_can_be_imported(plans, tmp_path):
    good = run_alone(plans["clusters"])
    assert (good.returncode, good.stderr) == (0, "")
    assert good.stdout.endswith("28 outputs: proved\n")
    directory, _ = damaged(plans, "clusters", "an edge is gone", tmp_path)
    bad = run_alone(directory, "--json")
    assert bad.returncode == 4
    facts = json.loads(bad.stdout)
    assert facts["schema"] == "prestow.verify/1"
    assert [f["code"] for f in facts["findings"]] == ["PST-V003", "PST-V012", "PST-V040"]
    assert run_alone().returncode == 2
