"""Site files for Pegasus: each fault at its place, and what a plan asks beyond the file."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest

from prestow.errors import CODES, ConfigurationError, Exit
from prestow.site import PegasusSettings, Site, plan_problems, products_of, read_site

HEAD = "schema: prestow.site/1\nname: pool\nengine: pegasus\n"
STORES = "stores: {archive: file:///s}\n"


def read(directory: Path, text: str) -> Site:
    path = directory / "site.yaml"
    path.write_text(text)
    return read_site(path)


def test_what_is_not_said_is_as_it_always_was(tmp_path: Path) -> None:
    site = read(tmp_path, HEAD + STORES + "pegasus: {python: /p, work: /w}\n")
    assert site.pegasus == PegasusSettings("/p", "/w")
    settings = site.pegasus
    assert (settings.node, settings.staging, settings.memory_growth, settings.workflow_jobs) == (
        "installed",
        "pegasus",
        1.0,
        10_000,
    )
    assert (site.layout, products_of(site), products_of(site, "elsewhere")) == ("tree", "store", "landing")
    assert pickle.loads(pickle.dumps(site)) == site  # noqa: S301 - our own


def test_everything_that_can_be_said_is_read(tmp_path: Path) -> None:
    site = read(
        tmp_path,
        HEAD
        + "scratch: /s\nlayout: flat\npegasus: {python: /p, work: /w, node: container, image: 'docker://a/b:1',"
        " container: docker, data: nonsharedfs, staging_url: 's3://me@there/bucket/x', products: landing,"
        " landing: 'file:///home/store', workflow_jobs: 500, throttle: {isr: 20}, memory_growth: 2}\n",
    )
    assert site.layout == "flat"
    assert site.pegasus == PegasusSettings(
        "/p",
        "/w",
        data="nonsharedfs",
        node="container",
        image="docker://a/b:1",
        container="docker",
        staging_url="s3://me@there/bucket/x",
        products="landing",
        landing="file:///home/store",
        workflow_jobs=500,
        throttle={"isr": 20},
        memory_growth=2,
    )


@pytest.mark.parametrize(
    ("section", "at", "says"),
    [
        ("node: pip", "pip", "known: installed, zipapp, container"),
        ("staging: rsync", "rsync", "known: pegasus, prestow"),
        ("products: home", "home", "known: store, landing"),
        ("node: container", "container", "a container needs an image"),
        ("image: /a.sif", "/a.sif", "nothing uses it: node is 'installed'"),
        ("container: docker", "docker", "nothing uses it: node is 'installed'"),
        ("container: podman, node: container, image: /a.sif", "podman", "known: apptainer, singularity, docker"),
        ("image: a b, node: container", "a b", "write a URL such as docker://"),
        ("memory_growth: 0.5", "0.5", "would get less memory"),
        ("memory_growth: twice", "twice", "a number"),
        ("memory_growth: 2, profiles: {pegasus: {style: glite}}", "2,", "told a number once"),
        ("throttle: {isr: 0}", "0}", "no job of it would ever run"),
        ("throttle: {isr: many}", "many", "an integer"),
        ("throttle: 5", "5}", "a mapping"),
        ("workflow_jobs: 0", "0}", "at least 1"),
        ("products: landing, landing: /home/store", "/home", "not a URI"),
        ("products: landing, landing: file://hilda/store", "file://hilda", "this one names 'hilda'"),
        ("staging_url: s3://me@there/bucket", "s3:", "only nonsharedfs has a staging site"),
        ("data: nonsharedfs, staging_url: s3://me:secret@there/bucket", "s3:", "a password stands in it"),
    ],
)  # fmt: skip
def test_each_fault_is_told_at_its_place(tmp_path: Path, section: str, at: str, says: str) -> None:
    line = f"pegasus: {{python: /p, work: /w, {section}}}\n"
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, HEAD + "scratch: /s\n" + line)
    (problem,) = caught.value.problems
    assert problem.where.rpartition("site.yaml:")[2] == f"5:{line.index(at) + 1}"
    assert says in str(problem)
    assert "secret" not in f"{problem.what} {problem.fix}"
    assert CODES[problem.code][1] is Exit.CONFIGURATION


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("stores: {archive: 'file://hilda/s'}\npegasus: {python: /p, work: /w}\n", {"4:19": "a file URI has no host"}),
        ("stores: {archive: file:///s}\npegasus: {python: /p, work: /w, products: store, landing: 'file:///s'}\n", {"5:59": "nothing lands"}),
        ("layout: zip\n" + "pegasus: {python: /p, work: /w}\n", {"4:9": "known: tree, flat, tar"}),
        ("pegasus: {python: /p, work: /w, products: store}\n", {"4:43": "nodes see no store to commit in"}),
        ("pegasus: {python: /p, work: /w, staging: prestow}\n", {"4:42": "nodes see no store to fetch", "1:1": "'scratch' is missing"}),
        ("pegasus: {python: /p, work: /w, data: sharedfs, home: /usr}\n", {"1:1": "'scratch' is missing: sharedfs"}),
        ("pegasus: {python: /p, work: /w, node: container, image: /a.sif}\n", {"1:1": "'scratch' is missing: a container"}),
    ],
)  # fmt: skip
def test_what_must_go_together_is_told(tmp_path: Path, text: str, places: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError) as caught:
        read(tmp_path, HEAD + text)
    found = {p.where.rpartition("site.yaml:")[2]: str(p) for p in caught.value.problems}
    assert set(found) == set(places)
    assert all(says in found[place] for place, says in places.items())


def test_what_a_plan_asks_of_a_site_is_told_at_its_place(tmp_path: Path) -> None:
    text = (
        HEAD
        + "stores: {raws: file:///r}\npegasus: {python: /p, work: /w, products: store, throttle: {irs: 5}}\n"
    )
    site = read(tmp_path, text)
    problems = plan_problems(site, store="archive", used=["raws", "nights"], tasks=["isr", "coadd"])
    told = {p.where.rpartition("site.yaml:")[2]: p.what for p in problems}
    assert {p.code for p in problems} == {"PST-C080"}
    assert told == {
        "5:43": "pegasus.products: it does not say where nodes see the output store 'archive'",
        "4:9": "stores: it does not say where the store 'nights' is, which has inputs of this plan",
        "5:66": "pegasus.throttle.irs: the plan has no task 'irs'",
    }


def test_a_landing_needs_no_store_of_the_nodes_and_staging_by_prestow_needs_all(tmp_path: Path) -> None:
    lands = read(tmp_path, HEAD + "pegasus: {python: /p, work: /w}\n")
    assert not plan_problems(lands, store="archive", used=["archive"], tasks=[])
    fetches = read(
        tmp_path,
        HEAD + "scratch: /s\nstores: {raws: file:///r}\npegasus: {python: /p, work: /w, staging: prestow}\n",
    )
    (problem,) = plan_problems(fetches, store="archive", used=["raws", "archive"], tasks=[])
    assert "'archive' is, which has inputs" in problem.what
