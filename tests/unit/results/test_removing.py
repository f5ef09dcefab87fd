"""What goes with a run, what still depends on it, and what is refused."""

import fcntl
from pathlib import Path

import pytest

from prestow.engines import open_engine
from prestow.errors import PlanRefusedError, PrestowError, ProjectError
from prestow.ingest import ingest_outputs
from prestow.project import Project
from prestow.registry.records import is_removed
from prestow.stores import open_store
from prestow.testing.campaigns import Campaign

AFTER = """
schema: prestow.pipeline/1
name: after
code: [toytasks.py]
dataset_types:
  shifted: {dimensions: [visit], format: json}
  total: {dimensions: [instrument], format: json}
tasks:
  gather: {dimensions: [instrument], run: "toytasks:gather", inputs: {shifted: shifted}, outputs: {total: total}}
"""


def take_in(campaign: Campaign, run: str) -> None:
    with campaign.registry() as registry:
        ingest_outputs(registry, open_store(campaign.stores["archive"]), runs=[run])


@pytest.fixture
def made(tmp_path: Path) -> Campaign:
    """Give a run that is made and taken in."""
    campaign = Campaign(tmp_path, visits=2)
    campaign.run(open_engine("local"))
    take_in(campaign, "toy")
    return campaign


@pytest.fixture
def reading(made: Campaign) -> Project:
    """Give the project with a second run, planned, that reads the first one's products."""
    (made.directory / "pipeline.yaml").write_text(AFTER)
    project = Project.open(made.directory)
    project.plan(run="after", inputs=["toy"])
    return project


def files(root: Path) -> dict[Path, bytes]:
    return {
        p: p.read_bytes()
        for p in sorted(root.rglob("*"))
        if p.is_file() and not p.name.startswith("registry.db")
    }


def test_looking_changes_nothing_and_tells_all(made: Campaign) -> None:
    before = files(made.directory)
    with Project.open(made.directory) as project:
        found = project.removal("toy")
        assert project.removal("toy") == found
    assert files(made.directory) == before
    assert (found.types, found.receipts, found.removed) == (
        {"doubled": 2, "shifted": 2, "total": 1},
        5,
        False,
    )
    assert found.size == sum(len(data) for data in made.products().values()) - sum(
        len(data) for name, data in made.products().items() if name.startswith("raw/")
    )
    assert (len(found.plans), found.dependents.lines, found.unexpected) == (1, (), ())


def test_a_plan_that_will_read_it_holds_it_back(reading: Project) -> None:
    found = reading.removal("toy")
    assert [(run, count) for _, run, count in found.dependents.plans] == [("after", 2)]
    assert found.dependents.readers == ()
    with pytest.raises(ProjectError, match="PST-G022"):
        reading.remove("toy")
    assert not is_removed(reading.store, "toy")


def test_quanta_that_read_it_hold_it_back_until_their_run_is_gone(reading: Project) -> None:
    reading.run(engine="local")
    reading.ingest(run="after")
    assert reading.removal("toy").dependents.readers == (("after", "gather", 1),)
    assert reading.remove("after").datasets == 1
    assert reading.removal("toy").dependents.lines == ()
    assert reading.remove("toy").datasets == 5


def test_even_so_it_goes_and_provenance_stays(reading: Project) -> None:
    reading.run(engine="local")
    reading.ingest(run="after")
    assert reading.remove("toy", even_so=True).removed
    assert reading.registry.datasets(["shifted"], ["toy"]).num_rows == 0
    assert reading.registry.datasets(["total"], ["after"]).num_rows == 1
    assert reading.registry.quantum_inputs("after").num_rows == 2
    assert {q["task"] for q in reading.registry.quanta("toy").to_pylist()} == {"double", "shift", "gather"}


def test_a_child_run_and_a_chain_hold_it_back(made: Campaign) -> None:
    with made.registry() as registry:
        registry.register_run("toy+1")
        registry.add_parent("toy+1", "toy")
        registry.register_chain("toy.all", ["toy+1", "toy"])
        registry.register_chain("best", ["toy"])
    with Project.open(made.directory) as project:
        found = project.removal("toy")
        assert (found.dependents.children, found.dependents.chains) == (("toy+1",), ("best",))
        assert found.chains == ("best", "toy.all")
        project.remove("toy", even_so=True)
        assert project.registry.chain_members("toy.all") == ("toy+1",)
        assert project.registry.chain_members("best") == ()


def test_what_is_deleted_is_never_brought_back(made: Campaign) -> None:
    with Project.open(made.directory) as project:
        project.remove("toy")
        report = project.ingest(run="toy")
        assert (report.added, report.deleted, report.faulty, report.contradictory) == (0, 5, (), ())
        with pytest.raises(PlanRefusedError, match="PST-G023"):
            project.plan(run="toy")
        with pytest.raises(PlanRefusedError, match="PST-G023"):
            project.plan(child_of="toy")
        again = project.remove("toy")
        assert (again.datasets, again.begun, again.removed) == (0, True, True)


def test_an_attempt_that_slept_brings_nothing_back(tmp_path: Path) -> None:
    """What was only planned is deleted, too: a late commit finds its record."""
    campaign = Campaign(tmp_path, visits=2)
    engine, plan = open_engine("local"), campaign.plan()
    aside = tmp_path / "elsewhere"
    plan.directory.rename(aside)
    campaign.plan()
    with Project.open(tmp_path) as project:
        project.registry.register_run("toy")
        project.remove("toy")
        campaign.run(engine, project.find_plan(f"{aside}/"))
        report = project.ingest(run="toy")
        assert (report.added, report.deleted) == (0, 5)
        assert project.remove("toy").begun
        assert not [name for name in campaign.products() if name.startswith("toy/")]


def test_files_that_nobody_committed_stay(made: Campaign) -> None:
    stranger = made.directory / "store" / "toy" / "notes.txt"
    stranger.write_text("mine")
    with Project.open(made.directory) as project:
        assert project.remove("toy").unexpected == ("toy/notes.txt",)
    assert stranger.read_text() == "mine"


def test_raw_runs_chains_and_unknown_runs_are_refused(made: Campaign) -> None:
    with Project.open(made.directory) as project:
        project.registry.register_chain("toy.all", ["toy"])
        for run, code in {
            "raw-toy": "PST-G023",
            "external-x": "PST-G023",
            "toy.all": "PST-G023",
            "tyo": "PST-G003",
        }.items():
            with pytest.raises(ProjectError) as error:
                project.remove(run)
            assert error.value.problems[0].code == code
        assert error.value.problems[0].fix == "did you mean 'toy'?"


def test_a_run_under_way_is_refused(made: Campaign) -> None:
    with (
        Project.open(made.directory) as project,
        (project.find_plan().directory / "run.lock").open("ab") as file,
    ):
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(PrestowError, match="PST-R005"):
            project.remove("toy")
        assert project.removal("toy").datasets == 5
