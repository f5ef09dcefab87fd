"""A plan for Pegasus: the command, and jobs that really run, from what it wrote alone."""

import json
import shutil
import sqlite3
from pathlib import Path
from typing import Any

import pytest

from prestow.testing.pegasus_shim import Shim

FILES = {
    "README.md",
    "pegasus.properties",
    "replicas.yml",
    "sites.yml",
    "submission.json",
    "transformations.yml",
    "workflow.yml",
}


def tree_of(directory: Path) -> dict[str, bytes]:
    return {
        str(p.relative_to(directory)): p.read_bytes() for p in sorted(directory.rglob("*")) if p.is_file()
    }


# ------------------------------------------------------------ the jobs really run


@pytest.fixture(scope="module")
def both(
    tmp_path_factory: pytest.TempPathFactory, prestow: Any, inside: Any, small: Any, site_file: Any
) -> tuple[Path, Path, Shim]:
    """One small campaign run by the engine local, and by a shim of Pegasus from the emission alone."""
    base = tmp_path_factory.mktemp("both")
    prestow("init", "here", cwd=base)
    small(base / "here")
    shutil.copytree(base / "here", base / "there")
    for name in ("here", "there"):
        inside("ingest", "--raw", "raw", "--instrument", "simcam", cwd=base / name)
        inside("plan", "--where", "band = 'g'", cwd=base / name)
    inside("run", "--engine", "local", cwd=base / "here")
    site = site_file(base / "there")
    prestow("emit", "pegasus", "--site", site, "--into", base / "out", cwd=base / "there")
    shutil.rmtree(base / "there" / "plans")  # what follows knows the emission and the store
    shim = Shim(base / "out", base / "work")
    assert shim.run(), {name: shim.logs[name] for name in shim.failed}
    for name in ("here", "there"):
        inside("ingest", "--run", "demo", cwd=base / name)
    return base / "here", base / "there", shim


def test_products_are_those_of_the_engine_local(both: tuple[Path, Path, Shim]) -> None:
    products = [tree_of(root / "store" / "demo") for root in both[:2]]
    assert len(products[0]) == 7
    assert products[0] == products[1]


def test_the_registry_is_that_of_the_engine_local(both: tuple[Path, Path, Shim]) -> None:
    tables = []
    for root in both[:2]:
        with sqlite3.connect(root / "registry.db") as database:
            names = [n for (n,) in database.execute("SELECT name FROM sqlite_master WHERE type = 'table'")]
            tables.append({name: rows(database, name) for name in names})
        database.close()
    assert len(tables[0]["quantum"]) == 5
    assert tables[0] == tables[1]


def rows(database: sqlite3.Connection, table: str) -> list[str]:
    """Give the rows of a table, but for what differs by execution or place."""
    own = {"quantum": {"attempt"}, "store": {"uri"}}.get(table, set())
    columns = [c[1] for c in database.execute(f"PRAGMA table_info({table})") if c[1] not in own]
    return sorted(map(repr, database.execute(f"SELECT {', '.join(columns)} FROM {table}")))


def test_a_job_has_what_it_declares_and_leaves_what_it_declares(both: tuple[Path, Path, Shim]) -> None:
    _, there, shim = both
    jobs = json.loads((shim.emission / "workflow.yml").read_text())["jobs"]
    assert len(jobs) == 5
    for job in jobs:
        found = set(tree_of(shim.work / "jobs" / f"{job['id']}-0"))
        assert found == {use["lfn"] for use in job["uses"]}
        for use in job["uses"]:
            if use["type"] == "output":
                assert (shim.work / "made" / use["lfn"]).read_bytes() == (
                    there / "store" / use["lfn"]
                ).read_bytes()


def test_what_is_committed_is_not_done_again(both: tuple[Path, Path, Shim], tmp_path: Path) -> None:
    _, there, shim = both
    before = {p: p.stat().st_mtime_ns for p in (there / "store" / "demo").rglob("*") if p.is_file()}
    workflow = json.loads((shim.emission / "workflow.yml").read_text())
    jobs = {"jobs": workflow["jobs"][:1], "jobDependencies": []}
    alone = tmp_path / "alone"
    shutil.copytree(shim.emission, alone)
    (alone / "workflow.yml").write_text(json.dumps(jobs))
    assert Shim(alone, tmp_path).run()
    assert {p: p.stat().st_mtime_ns for p in (there / "store" / "demo").rglob("*") if p.is_file()} == before


# ------------------------------------------------------------ the command, and what it refuses


def test_the_command_tells_what_it_wrote_and_writes_it_once(
    planned: Path, inside: Any, site_file: Any, tmp_path: Path
) -> None:
    site, into = site_file(planned), tmp_path / "new" / "out"
    first = inside("emit", "pegasus", "--site", site, "--into", into, "--json", cwd=planned).json
    assert first["schema"] == "prestow.emit/1"
    assert {k: first[k] for k in ("jobs", "edges", "inputs", "receipts", "packs", "new")} == {
        "jobs": 10, "edges": 8, "inputs": 5, "receipts": 10, "packs": 1, "new": True,
    }  # fmt: skip
    assert set(tree_of(into)) == {*FILES, "inputs/manifests/00000.pack"}
    (into / "submit").mkdir()  # what the planner leaves beside it
    before = {p: p.stat().st_mtime_ns for p in into.rglob("*")}
    again = inside("emit", "pegasus", "--site", site, "--into", into, cwd=planned)
    assert "the very same as before" in again.out
    assert again.out.splitlines()[-1].startswith("next: cd ")
    assert {p: p.stat().st_mtime_ns for p in into.rglob("*")} == before
    assert [p.name for p in into.parent.iterdir()] == ["out"]


def test_what_is_there_is_never_overwritten(
    planned: Path, inside: Any, site_file: Any, tmp_path: Path
) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    answer = inside(
        "emit", "pegasus", "--site", site_file(planned), "--into", tmp_path, "--json", cwd=planned, ok=False
    )
    assert (answer.code, answer.codes) == (7, ["PST-E001"])
    assert tree_of(tmp_path) == {"thesis.txt": b"mine"}
    file = tmp_path / "thesis.txt"
    answer = inside(
        "emit", "pegasus", "--site", site_file(planned), "--into", file, "--json", cwd=planned, ok=False
    )
    assert (answer.code, answer.codes) == (7, ["PST-E001"])


def test_an_empty_directory_is_taken(planned: Path, inside: Any, site_file: Any, tmp_path: Path) -> None:
    inside("emit", "pegasus", "--site", site_file(planned), "--into", tmp_path, cwd=planned)
    assert set(tree_of(tmp_path)) >= FILES


@pytest.mark.parametrize(
    ("system", "old", "new", "code", "says"),
    [
        ("dask", "", "", "PST-E003", "known: pegasus"),
        ("pegasus", "/store", "/st'ore", "PST-E004", "/st'ore"),
        ("pegasus", "engine: pegasus", "engine: local", "PST-C013", "go together"),
        ("pegasus", "work: /shared/pegasus", "work: pegasus", "PST-C013", "absolute path"),
        ("pegasus", "work:", "werk:", "PST-C010", "work"),
    ],
)
def test_what_cannot_be_handed_over_is_refused(
    planned: Path,
    inside: Any,
    site_file: Any,
    tmp_path: Path,
    system: str,
    old: str,
    new: str,
    code: str,
    says: str,
) -> None:
    site = tmp_path / "site.yaml"
    site.write_text(site_file(planned).read_text().replace(old, new))
    answer = inside(
        "emit", system, "--site", site, "--into", tmp_path / "out", "--json", cwd=planned, ok=False
    )
    assert code in answer.codes
    assert says in answer.out
    assert [p.name for p in tmp_path.iterdir()] == ["site.yaml"]


def test_a_site_of_pegasus_does_not_run_jobs_from_here(planned: Path, inside: Any, site_file: Any) -> None:
    answer = inside("run", "--site", site_file(planned), "--json", cwd=planned, ok=False)
    assert (answer.code, answer.codes) == (2, ["PST-R006"])
    assert "prestow emit pegasus" in answer.out
