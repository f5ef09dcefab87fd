"""``prestow.yaml``: found from below, checked with places."""

from pathlib import Path

import pytest

import prestow
from prestow.errors import ConfigurationError, ProjectError
from prestow.project.configuration import find_root, read_configuration

GOOD = "schema: prestow.project/1\nregistry: sqlite:///registry.db\nstore: store\npipeline: pipeline.yaml\n"


def write(root: Path, text: str) -> Path:
    root.mkdir(exist_ok=True)
    (root / "prestow.yaml").write_text(text)
    return root


def test_a_project_is_found_from_below(tmp_path: Path) -> None:
    root = write(tmp_path / "p", GOOD)
    (root / "a" / "b").mkdir(parents=True)
    assert find_root(root / "a" / "b") == root
    assert prestow.open(root / "a").root == root


def test_no_project_says_how_to_make_one(tmp_path: Path) -> None:
    with pytest.raises(ProjectError) as caught:
        prestow.open(tmp_path)
    (problem,) = caught.value.problems
    assert problem.code == "PST-G001"
    assert "prestow init" in problem.fix


def test_paths_are_relative_to_the_project_and_taken_as_they_stand(tmp_path: Path) -> None:
    root = write(tmp_path / "a b#c%20[d]'é?", GOOD)
    configuration = read_configuration(root)
    assert configuration.registry == f"sqlite:///{root}/registry.db"
    assert configuration.store == f"file://{root}/store"
    assert configuration.pipeline == root / "pipeline.yaml"
    assert (configuration.universe, configuration.instruments, configuration.workers) == (None, (), 2)


def test_absolute_places_and_uris_stay(tmp_path: Path) -> None:
    text = GOOD.replace("registry.db", "/x/r.db").replace("store: store", "store: memory://m")
    configuration = read_configuration(write(tmp_path / "p", text))
    assert (configuration.registry, configuration.store) == ("sqlite:////x/r.db", "memory://m")


def test_every_mistake_is_told_with_its_place(tmp_path: Path) -> None:
    text = "schema: prestow.project/2\nregistri: x\nstore: 3\nworkers: 0\npipeline: p\ninstruments: [a, 2]\n"
    with pytest.raises(ConfigurationError) as caught:
        read_configuration(write(tmp_path / "p", text))
    found = {(p.code, p.where) for p in caught.value.problems}
    assert found == {
        ("PST-C014", "prestow.yaml:1:9"),
        ("PST-C010", "prestow.yaml:2:1"),
        ("PST-C012", "prestow.yaml:1:1"),
        ("PST-C011", "prestow.yaml:3:8"),
        ("PST-C013", "prestow.yaml:4:10"),
        ("PST-C011", "prestow.yaml:6:18"),
    }
