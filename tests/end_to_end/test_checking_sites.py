"""``prestow check --site``: a site file held against the pipeline and this machine."""

from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, inside: Any) -> Path:
    root = tmp_path_factory.mktemp("sites") / "demo"
    inside("init", "demo", cwd=root.parent)
    return root


def test_a_site_in_order_says_what_it_comes_to(project: Path, inside: Any, tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    site = tmp_path / "pool.yaml"
    site.write_text(
        f"schema: prestow.site/1\nname: pool\nengine: pegasus\nstores: {{archive: 'file://{tmp_path}/store', far: 's3://a@b/c'}}\n"
        "pegasus: {python: /p, work: /w, node: zipapp, throttle: {isr: 5}}\n"
    )
    answer = inside("check", "--site", site, cwd=project)
    assert f"archive: file://{tmp_path}/store (seen)" in answer.out
    assert "far: s3://a@b/c (not asked)" in answer.out
    assert "prestow is brought to each job, and run by /p" in answer.out
    (told,) = inside("check", "--site", site, "--json", cwd=project).json["sites"]
    assert (told["name"], [s["state"] for s in told["stores"]]) == ("pool", ["seen", "not asked"])


def test_every_store_that_cannot_be_reached_is_named(project: Path, inside: Any, tmp_path: Path) -> None:
    sites = []
    for name, entry in (("one", "file:///nowhere/one"), ("two", "{uri: 'file:///nowhere/two', inodes: 5}")):
        sites.append(tmp_path / f"{name}.yaml")
        sites[-1].write_text(f"schema: prestow.site/1\nname: {name}\nstores:\n  archive: {entry}\n")
    answer = inside("check", "--site", sites[0], "--site", sites[1], cwd=project, ok=False)
    assert answer.code == 7
    assert answer.err.count("PST-C081") == 2
    assert "one.yaml:4:12" in answer.err
    assert "two.yaml:4:18" in answer.err
    assert "there is no directory /nowhere/two on this machine" in answer.err


def test_what_is_wrong_and_what_is_not_there_are_told_together(
    project: Path, inside: Any, tmp_path: Path
) -> None:
    wrong, away = tmp_path / "wrong.yaml", tmp_path / "away.yaml"
    wrong.write_text(
        "schema: prestow.site/1\nname: wrong\nengine: pegasus\npegasus: {python: /p, work: /w, node: pip}\n"
    )
    away.write_text(
        "schema: prestow.site/1\nname: away\nengine: pegasus\nstores: {archive: 'file:///nowhere'}\n"
        "pegasus: {python: /p, work: /w, throttle: {irs: 5}}\n"
    )
    answer = inside("check", "--site", wrong, "--site", away, "--json", cwd=project, ok=False)
    assert answer.code == 3
    assert sorted(answer.codes) == ["PST-C013", "PST-C080", "PST-C081"]
