"""The sites that are shipped: read, as Pegasus's own interface would write them, emitted, and planned where its planner is."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from prestow.engines.pegasus.catalogues import (
    container_entries,
    properties,
    site_entries,
    transformation_entries,
)
from prestow.engines.pegasus.readme import output_directory, planner_words
from prestow.site import PEGASUS, Site, products_of, read_site

CONFIGS = sorted((Path(__file__).parents[2] / "site-configs").glob("pegasus-*.yaml"))
LANDING = "file:///home/survey/store"


@pytest.fixture(params=CONFIGS, ids=lambda path: path.stem)
def config(request: pytest.FixtureRequest) -> Path:
    path: Path = request.param
    return path


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory, inside: Any, small: Any) -> Path:
    root = tmp_path_factory.mktemp("configs") / "demo"
    inside("init", "demo", cwd=root.parent)
    small(root)
    inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=root)
    inside("plan", "--where", "band = 'g'", cwd=root)
    return root


def landing_of(site: Site) -> str | None:
    return LANDING if products_of(site) == "landing" else None


def test_there_is_a_site_of_each_kind() -> None:
    sites = {path.stem: read_site(path) for path in CONFIGS}
    kinds = {
        (s.pegasus.data, s.pegasus.node, products_of(s), s.pegasus.staging_url is not None)
        for s in sites.values()
        if s.pegasus is not None
    }
    assert kinds == {
        ("condorio", "installed", "store", False),
        ("condorio", "zipapp", "landing", False),
        ("sharedfs", "installed", "store", False),
        ("nonsharedfs", "container", "landing", True),
    }


def test_its_catalogues_are_what_the_interface_of_pegasus_writes(config: Path) -> None:
    """Each word is one that the interface knows, at its place and of its type; else it would write another document."""
    api = pytest.importorskip("Pegasus.api")
    site = read_site(config)
    sites = list(site_entries(site, landing_of(site)))
    theirs = api.SiteCatalog().add_sites(*(site_by_the_interface(api, entry) for entry in sites))
    assert plain(written(theirs)["sites"]) == plain(sites)
    programs, images = list(transformation_entries(site)), list(container_entries(site))
    catalogue = api.TransformationCatalog()
    for image in images:
        catalogue.add_containers(container_by_the_interface(api, image))
    for program in programs:
        catalogue.add_transformations(program_by_the_interface(api, program))
    told = written(catalogue)
    assert plain(told["transformations"]) == plain(programs)
    assert plain(told.get("containers", [])) == plain(images)


def site_by_the_interface(api: Any, entry: dict[str, Any]) -> Any:
    made = api.Site(entry["name"], arch=api.Arch(entry["arch"]), os_type=api.OS(entry["os.type"]))
    kinds = {"sharedScratch": api.Directory.SHARED_SCRATCH, "localStorage": api.Directory.LOCAL_STORAGE}
    for place in entry["directories"]:
        directory = api.Directory(kinds[place["type"]], place["path"], place["sharedFileSystem"])
        for server in place["fileServers"]:
            directory.add_file_servers(api.FileServer(server["url"], api.Operation(server["operation"])))
        made.add_directories(directory)
    return with_profiles(api, made, entry)


def container_by_the_interface(api: Any, entry: dict[str, Any]) -> Any:
    kind = {"docker": api.Container.DOCKER, "singularity": api.Container.SINGULARITY}[entry["type"]]
    return api.Container(
        entry["name"], kind, entry["image"], mounts=entry["mounts"], image_site=entry.get("image.site")
    )


def program_by_the_interface(api: Any, entry: dict[str, Any]) -> Any:
    (place,) = entry["sites"]
    made = api.Transformation(
        entry["name"], namespace=entry["namespace"], site=place["name"], pfn=place["pfn"],
        is_stageable=place["type"] == "stageable", arch=api.Arch(place["arch"]), os_type=api.OS(place["os.type"]),
        container=place.get("container"),
    )  # fmt: skip
    return with_profiles(api, made, entry)


def with_profiles(api: Any, made: Any, entry: dict[str, Any]) -> Any:
    for namespace, table in entry.get("profiles", {}).items():
        for key, value in table.items():
            made.add_profiles(api.Namespace(namespace), key=key, value=value)
    return made


def written(what: Any) -> Any:
    stream = io.StringIO()
    what.write(stream)
    return yaml.load(stream.getvalue(), yaml.CSafeLoader)


def plain(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Leave out what is empty: the interface writes some of that and leaves some out."""
    return sorted(
        ({k: v for k, v in e.items() if v not in ([], {})} for e in entries), key=lambda e: str(e["name"])
    )


def test_no_secret_and_no_place_of_this_machine_is_in_it(config: Path) -> None:
    site = read_site(config)
    text = json.dumps([*site_entries(site, landing_of(site)), *transformation_entries(site)]) + properties(
        site
    )
    for word in ("secret", "password", "access_key", os.getcwd(), str(Path.home() / "")):
        assert word not in text


def test_the_example_is_emitted_for_it(config: Path, planned: Path, inside: Any, tmp_path: Path) -> None:
    site = read_site(config)
    assert site.pegasus is not None
    into = tmp_path / "out"
    told = inside("emit", "pegasus", "--site", config, "--into", into, "--json", cwd=planned).json
    assert told["jobs"] == 5
    jobs = json.loads((into / "workflow.yml").read_text())["jobs"]
    for job in jobs:
        inputs = {use["lfn"] for use in job["uses"] if use["type"] == "input"}
        assert ("prestow-node.pyz" in inputs) == (site.pegasus.node == "zipapp")
        assert (job["arguments"][0] == "-m") == (site.pegasus.node != "zipapp")
        grows = "DAGNodeRetry" in str(job["profiles"].get("condor", {}).get("request_memory"))
        assert grows == (site.pegasus.memory_growth > 1)
    assert (into / "inputs/prestow-node.pyz").is_file() == (site.pegasus.node == "zipapp")
    page = (into / "README.md").read_text()
    assert f"--sites {site.name} " in page
    assert ("--staging-site" in page) == (site.pegasus.staging_url is not None)
    assert ("--output-dir" in page) == (products_of(site) == "landing")


def test_the_planner_of_pegasus_plans_it(config: Path, planned: Path, inside: Any, tmp_path: Path) -> None:
    if shutil.which("pegasus-plan") is None:
        pytest.skip("NOT TESTED: no pegasus-plan on the PATH, so no shipped site was planned for real")
    site, into = read_site(config), tmp_path / "out"
    inside("emit", "pegasus", "--site", config, "--into", into, cwd=planned)
    plan = json.loads((into / "workflow.yml").read_text())["metadata"]["plan"]
    landing = landing_of(site)
    words = planner_words(site, None if landing is None else output_directory(landing, plan, 1))
    secrets = tmp_path / "credentials.conf"  # the planner looks for it, and for nobody's own
    secrets.write_text(
        "[objects]\nendpoint = http://127.0.0.1:9\n\n[survey@objects]\naccess_key = a\nsecret_key = b\n"
    )
    secrets.chmod(0o600)
    environment = {**os.environ, "PEGASUS_METRICS": "false", "PEGASUS_CREDENTIALS": str(secrets)}
    environment["_CONDOR_MOUNT_UNDER_SCRATCH"] = (
        ""  # a pool that hides /tmp from jobs would not take the file from there
    )
    done = subprocess.run(
        ["pegasus-plan", *words, "--dir", "submit", "workflow.yml"],
        cwd=into, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert len(list((into / "submit").rglob("*.dag"))) == 1
    assert len(list((into / "submit").rglob("node_*.sub"))) == 5
    assert site.engine == PEGASUS
