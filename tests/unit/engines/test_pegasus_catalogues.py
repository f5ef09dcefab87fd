"""What Pegasus is told of a site, by how it is to move files."""

from __future__ import annotations

from pathlib import Path

import pytest

from prestow.engines.pegasus.catalogues import properties, site_entries, transformation_entries
from prestow.errors import ConfigurationError
from prestow.node.execute import FIXED
from prestow.site import PegasusSettings, Site, read_site


def site(name: str = "pool", **settings: object) -> Site:
    return Site(
        name, "pegasus", scratch=Path("/scratch"), pegasus=PegasusSettings("/env/python", "/work", **settings)
    )  # type: ignore[arg-type]


def profiles(place: Site) -> dict[str, dict[str, object]]:
    *_, compute = site_entries(place)
    result: dict[str, dict[str, object]] = compute["profiles"]
    return result


def lines(place: Site) -> dict[str, str]:
    return dict(line.split(" = ", 1) for line in properties(place).splitlines())


def test_a_failed_job_fails_and_is_not_held_for_its_outputs() -> None:
    assert profiles(site())["condor"]["when_to_transfer_output"] == "ON_SUCCESS"
    assert profiles(site())["condor"]["success_exit_code"] == "0"
    assert profiles(site())["condor"]["max_retries"] == "0"  # else HTCondor takes one try for three
    assert {profiles(site())["condor"][f"stream_{s}"] for s in ("output", "error")} == {
        "true"
    }  # else no log comes back
    other = profiles(site(data="nonsharedfs"))["condor"]
    assert "when_to_transfer_output" not in other
    assert lines(site(data="nonsharedfs"))["pegasus.transfer.lite.arguments"] == "-m 1"
    assert "pegasus.transfer.lite.arguments" not in lines(site())
    assert "JobStatus == 5" in str(other["periodic_remove"])


def test_nothing_is_downloaded_and_no_job_taken_for_done() -> None:
    found = lines(site())
    assert found["pegasus.transfer.worker.package.strict"] == "false"
    assert found["pegasus.transfer.worker.package.autodownload"] == "false"
    assert found["pegasus.data.reuse.scope"] == "none"
    assert profiles(site())["pegasus"]["auxillary.local"] == "true"


def test_what_lands_is_measured_and_not_verified_by_a_program_for_each_file() -> None:
    text = properties(site(), lands=True)
    assert "pegasus.integrity.checking = none\n" in text
    assert "pegasus.gridstart.kickstart.stat = true\n" in text
    assert lines(site())["pegasus.integrity.checking"] == "full"
    own = site(properties={"pegasus.integrity.checking": "full"})
    assert "pegasus.integrity.checking = full\n" in properties(own, lands=True)


def test_what_the_site_file_says_goes_above() -> None:
    own = site(
        profiles={"condor": {"universe": "docker", "+Project": "survey"}, "pegasus": {"style": "glite"}},
        properties={"pegasus.data.reuse.scope": "full", "a b:c": "x\\y"},
        home="/usr",
    )
    found = profiles(own)
    assert (found["condor"]["universe"], found["condor"]["+Project"]) == ("docker", "survey")
    assert (found["pegasus"]["style"], found["env"]["PEGASUS_HOME"]) == ("glite", "/usr")
    text = properties(own)
    assert "pegasus.data.reuse.scope = full\n" in text
    assert "a\\ b\\:c = x\\\\y\n" in text


def test_a_container_is_brought_its_part_of_pegasus_whatever_nodes_have() -> None:
    place = site(node="container", image="docker://survey/prestow:1", home="/usr")
    assert "env" not in profiles(place)


def test_the_submit_host_itself_is_one_entry() -> None:
    (entry,) = site_entries(site("local"))
    assert [d["type"] for d in entry["directories"]] == ["sharedScratch", "localStorage"]
    assert "condor" in entry["profiles"]
    assert [e["name"] for e in site_entries(site())] == ["local", "pool"]


def test_the_node_starts_in_its_environment() -> None:
    (entry,) = transformation_entries(site())
    assert entry["profiles"]["env"] == {**FIXED, "PRESTOW_SCRATCH": "/scratch"}
    assert entry["sites"] == [
        {"name": "pool", "pfn": "/env/python", "type": "installed", "arch": "x86_64", "os.type": "linux"}
    ]


@pytest.mark.parametrize(
    ("section", "place"),
    [
        ("python: bin/python, work: /w", "5:19"),
        ("python: /p, work: '/w $x'", "5:29"),
        ("python: /p, work: /w, data: rsync", "5:39"),
        ("python: /p, work: /w, data: sharedfs, home: /usr", "1:1"),
        ("python: /p, work: /w, cluster: 0", "5:42"),
        ("python: /p, work: /w, retries: yes", "5:42"),
        ("python: /p, work: /w, profiles: {condr: {a: b}}", "5:51"),
        ("python: /p, work: /w, properties: {a: [b]}", "5:49"),
        ("python: /p", "5:10"),
    ],
)
def test_faults_of_the_section_are_told_at_their_place(tmp_path: Path, section: str, place: str) -> None:
    path = tmp_path / "site.yaml"
    path.write_text(
        f"schema: prestow.site/1\nname: pool\nengine: pegasus\nstores: {{archive: file:///s}}\npegasus: {{{section}}}\n"
    )
    with pytest.raises(ConfigurationError) as caught:
        read_site(path)
    assert [p.where.rpartition("site.yaml:")[2] for p in caught.value.problems] == [place]


@pytest.mark.parametrize(
    "change", [("name: pool", "name: my pool"), ("file:///s", "/s"), ("engine: pegasus", "engine: local")]
)
def test_faults_of_the_site_are_told(tmp_path: Path, change: tuple[str, str]) -> None:
    path = tmp_path / "site.yaml"
    text = "schema: prestow.site/1\nname: pool\nengine: pegasus\nstores: {archive: file:///s}\npegasus: {python: /p, work: /w}\n"
    path.write_text(text)
    assert read_site(path).pegasus == PegasusSettings("/p", "/w")
    path.write_text(text.replace(*change))
    with pytest.raises(ConfigurationError) as caught:
        read_site(path)
    assert len(caught.value.problems) == 1
