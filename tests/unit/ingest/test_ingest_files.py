"""Foreign files as datasets: `prestow ingest --as`, and planning that reads them."""

import json
import shutil
from pathlib import Path

import pytest

from prestow.errors import ConfigurationError, IngestError, PlanRefusedError, ProjectError
from prestow.model.dataset import EXTERNAL_RUN
from prestow.project import Project, create_example
from prestow.registry.records import read_records

STARS = {"stars": [{"ra": 1.0, "dec": 2.0}]}
TASK = """
def run(quantum):
    stars, gains = quantum.get("stars"), quantum.get("gains")
    quantum.put("looked", {"stars": len(stars["stars"]), "gain": gains["gain"]})
"""
PIPELINE = """
schema: prestow.pipeline/1
name: looking
code: [looking.py]
dataset_types:
  raw:    {dimensions: [exposure, detector], format: fits}
  stars:  {dimensions: [], format: json}
  gains:  {dimensions: [DIMENSIONS], format: yaml}
  looked: {dimensions: [visit, detector], format: json, template: "{run}/looked/{instrument}-{visit}-{detector}.json"}
  patchy: {dimensions: [band], format: json, template: "{run}/patchy/{band}.json"}
tasks:
  look:
    dimensions: [visit, detector]
    run: looking:run
    inputs: {raw: raw, stars: stars, gains: gains}
    outputs: {looked: looked}
  by_band:
    dimensions: [band]
    run: looking:by_band
    inputs: {looked: looked, gains: gains, stars: stars}
    outputs: {patchy: patchy}
"""
BY_BAND = """

def by_band(quantum):
    gain = quantum.get("gains", instrument="simcam")["gain"]
    quantum.put("patchy", {"looked": len(quantum.inputs["looked"]), "gain": gain})
"""


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """An example with two exposures of one detector, taken in."""
    root = tmp_path_factory.mktemp("files") / "demo"
    create_example(root)
    for path in (root / "raw").iterdir():
        number, detector = path.stem.split("-")[2:]
        if int(number) > 2 or detector != "0":
            path.unlink()
    with Project.open(root) as project:
        project.ingest_raw([root / "raw"], "simcam")
    return root


@pytest.fixture
def project(example, tmp_path):
    root = tmp_path / "demo"
    shutil.copytree(example, root)
    (root / "stars.json").write_text(json.dumps(STARS))
    (root / "gains.yaml").write_text("gain: 2.5\n")
    with Project.open(root) as project:
        yield project


def write(project, dimensions="instrument"):
    (project.root / "pipeline.yaml").write_text(PIPELINE.replace("DIMENSIONS", dimensions))
    (project.root / "looking.py").write_text(TASK + BY_BAND)


def codes(caught):
    return [problem.code for problem in caught.value.problems]


def test_a_file_becomes_a_dataset_of_its_type(project):
    report = project.ingest_files([project.root / "stars.json"], "stars")
    assert (report.added, report.known, report.type.dimensions, report.type.format) == (1, 0, (), "json")
    assert report.path == "external/stars/stars.json"
    row = project.registry.datasets(["stars"], [f"{EXTERNAL_RUN}stars"]).to_pylist()[0]
    assert project.store.read(row["path"]) == (project.root / "stars.json").read_bytes()
    assert row["recipe"].hex() == row["content"][:32]
    assert row["quantum"] is None
    record = {key: facts for key, facts in read_records(project.store, "registered")}[report.dataset.id]
    assert (record["type"], record["data_id"], record["sha256"]) == ("stars", {}, row["sha256"])


def test_twice_is_once_and_other_bytes_are_refused(project):
    project.ingest_files([project.root / "stars.json"], "stars")
    again = project.ingest_files([project.root / "stars.json"], "stars")
    assert (again.added, again.known, again.path) == (0, 1, "external/stars/stars.json")
    (project.root / "stars.json").write_text(json.dumps({"stars": []}))
    with pytest.raises(IngestError) as caught:
        project.ingest_files([project.root / "stars.json"], "stars")
    assert codes(caught) == ["PST-I009"]
    assert "external/stars/stars.json" in caught.value.problems[0].what
    assert project.registry.datasets(["stars"], [f"{EXTERNAL_RUN}stars"]).num_rows == 1


def test_one_type_holds_several_data_ids_under_normal_names(project):
    first = project.ingest_files(
        [project.root / "gains.yaml"], "gains", {"ccd": "003", "instrument": "simcam"}
    )
    assert str(first.dataset) == "gains{detector=3,instrument=simcam}"
    (project.root / "gains.yaml").write_text("gain: 3.0\n")
    second = project.ingest_files(
        [project.root / "gains.yaml"], "gains", {"detector": 4, "instrument": "simcam"}
    )
    assert second.path != first.path  # one name, other bytes: none replaces the other
    assert {
        row["detector"] for row in project.registry.datasets(["gains"], ["external-gains"]).to_pylist()
    } == {3, 4}


@pytest.mark.parametrize("transfer", ["link", "in-place"])
def test_bytes_may_be_linked_or_stay(project, transfer):
    (project.root / "stars.json").chmod(0o444)
    report = project.ingest_files([project.root / "stars.json"], "stars", transfer=transfer)
    row = project.registry.datasets(["stars"], ["external-stars"]).to_pylist()[0]
    uri = project.stores()[row["store"]]
    there = Path(uri.removeprefix("file://")) / row["path"]
    assert there.samefile(project.root / "stars.json")
    assert report.added == 1


@pytest.mark.parametrize(
    ("type_", "files", "data_id", "how", "expected"),
    [
        ("stars", ["stars.json"], {"instr": "simcam"}, {}, ["PST-C023"]),
        ("stars", ["stars.json"], {"ccd": 3}, {}, ["PST-C026"]),
        ("stars", ["stars.json"], {"ccd": "x", "nihgt": 1}, {}, ["PST-C026", "PST-C023"]),
        ("stars", ["stars.json", "gains.yaml"], {}, {}, ["PST-I008"]),
        ("stars", ["stars.json", "copy.json"], {}, {}, ["PST-I008"]),
        ("stars", ["notes.csv"], {}, {}, ["PST-I008"]),
        ("stars", ["stars.json"], {}, {"format": "jsn"}, ["PST-C024"]),
        ("stars", ["broken.json", "absent.json", "dir.json"], {}, {}, ["PST-I004", "PST-I005", "PST-I005"]),
        ("stars", ["stars.json"], {}, {"format": "fits"}, ["PST-I004"]),
        ("stars", [], {}, {}, ["PST-I008"]),
        ("raw", ["stars.json"], {}, {}, ["PST-I008"]),
        ("isr", ["stars.json"], {}, {}, ["PST-C035", "PST-C035"]),
    ],
)
def test_what_cannot_be_taken_in_leaves_nothing_behind(project, type_, files, data_id, how, expected):
    (project.root / "copy.json").write_text("{}")
    (project.root / "broken.json").write_text("{")
    (project.root / "notes.csv").write_text("1,2")
    (project.root / "dir.json").mkdir()
    before = project.registry.counts(), sorted(project.store.walk())
    with pytest.raises((ConfigurationError, ProjectError, IngestError)) as caught:
        project.ingest_files([project.root / name for name in files], type_, data_id, **how)
    assert codes(caught) == expected
    assert (project.registry.counts(), sorted(project.store.walk())) == before


def test_a_near_name_is_suggested(project):
    with pytest.raises(ConfigurationError) as caught:
        project.ingest_files([project.root / "stars.json"], "stars", {"instrumnt": "simcam"})
    assert caught.value.problems[0].fix == "did you mean 'instrument'?"


def test_the_pipelines_dimensions_are_said_with_what_to_add(project):
    write(project)
    with pytest.raises(ProjectError) as caught:
        project.ingest_files([project.root / "gains.yaml"], "gains", {"band": "g"})
    problem = caught.value.problems[0]
    assert problem.code == "PST-C035"
    assert "dimensions instrument" in problem.what
    assert "dimensions band" in problem.what
    assert problem.fix.startswith("add instrument=… and leave out band")


@pytest.mark.parametrize("where", ["", "exposure.exposure_time > 0"])
def test_every_quantum_reads_what_has_no_dimensions(project, where):
    write(project)
    project.ingest_files([project.root / "stars.json"], "stars")
    project.ingest_files([project.root / "gains.yaml"], "gains", {"instrument": "simcam"})
    plan = project.plan(where)
    assert plan.tables["quanta"].height == 2 + 2  # two visits, each of a band of its own
    result = project.run(plan, engine="local")
    assert result.counts == {"made": 4}
    made = [json.loads(project.store.read(name)) for name, _ in project.store.walk("looking/looked")]
    assert [(one["stars"], one["gain"]) for one in made] == [(1, 2.5)] * 2
    roots = {root["type"] for one in made for root in one["prestow"]["roots"]}
    assert roots == {"raw", "stars", "gains"}
    patchy = [json.loads(project.store.read(name)) for name, _ in project.store.walk("looking/patchy")]
    assert [(one["looked"], one["gain"]) for one in patchy] == [(1, 2.5)] * 2


def test_another_instruments_file_is_not_read(project):
    write(project)
    project.ingest_files([project.root / "stars.json"], "stars")
    project.ingest_files([project.root / "gains.yaml"], "gains", {"instrument": "cafos"})
    with pytest.raises(PlanRefusedError) as caught:
        project.plan()
    assert codes(caught) == ["PST-P002"]
    assert "gains with instrument=simcam" in caught.value.problems[0].what


def test_a_pipeline_that_changed_its_mind_is_refused(project):
    write(project, "")
    project.ingest_files([project.root / "stars.json"], "stars")
    project.ingest_files([project.root / "gains.yaml"], "gains")
    write(project, "instrument")
    with pytest.raises(PlanRefusedError) as caught:
        project.plan()
    assert codes(caught) == ["PST-C035"]
    assert caught.value.problems[0].where == "dataset type gains"


def test_nothing_is_planned_into_a_run_of_foreign_files(project):
    with pytest.raises(PlanRefusedError) as caught:
        project.plan(run="external-stars")
    assert codes(caught) == ["PST-P003"]
