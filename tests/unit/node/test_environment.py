"""The environment of a quantum as a product: equal where environments are, and no obstacle to a repair."""

import json
import os
import subprocess
import sys

import pytest

from prestow import __version__
from prestow.commit import receipt_name
from prestow.node import environment as room
from prestow.node import run_manifest
from prestow.testing.jobs import Jobs

CODE = """
import os
import shutil

def double(quantum):
    if "RIVAL" in os.environ:  # somebody else settles meanwhile
        shutil.copy(*os.environ["RIVAL"].split(" to "))
    quantum.put("y", {"v": 2 * quantum.get("x")["v"]})

def two(quantum):
    quantum.put("a", {"v": os.environ["FLIP"]})
    quantum.put("b", {"v": 1})
"""


@pytest.fixture
def jobs(tmp_path):
    found = Jobs(tmp_path)
    found.code(tasks=CODE)
    return found


@pytest.fixture
def made(jobs):
    raw = jobs.existing("raw", {"visit": 1}, {"v": 1})
    return jobs.quantum(
        "t", {"visit": 1}, entry="tasks:double", inputs={"x": [raw]},
        outputs={"y": "json", "_environment": "json"}, prototypes=("environment",),
    )  # fmt: skip


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """Install a package that was not there before; what this process knew is forgotten, now and afterwards."""

    def change():
        place = tmp_path / "site"
        info = place / "newcomer-1.5.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: New_Comer\nVersion: 1.5\n")
        monkeypatch.syspath_prepend(str(place))
        room._packages.cache_clear()

    room._packages.cache_clear()
    yield change
    room._packages.cache_clear()


def run(jobs):
    return run_manifest(jobs.manifest(), scratch=jobs.scratch)


def test_it_says_python_prestow_packages_and_code_and_nothing_of_the_place(jobs, made):
    run(jobs)
    found = jobs.read(made["_environment"])
    code = jobs.manifest().code.sha256
    assert set(found) == {"python", "implementation", "prestow_version", "packages", "code"}
    assert found["python"] == ".".join(map(str, sys.version_info[:3]))
    assert (found["implementation"], found["prestow_version"], found["code"]) == (
        "cpython",
        __version__,
        code,
    )
    assert {"numpy", "pyyaml", "polars"} <= set(found["packages"])
    text = json.dumps(found)
    assert not {sys.prefix, os.getcwd(), os.uname().nodename} & set(text.split('"'))
    assert "/" not in text


def test_another_process_in_another_directory_says_the_same(tmp_path):
    code = (
        "import json; from prestow.node.environment import environment; print(json.dumps(environment('x')))"
    )
    here, there = (
        subprocess.run([sys.executable, "-c", code], cwd=d, check=True, capture_output=True, text=True).stdout
        for d in (os.getcwd(), tmp_path)
    )
    assert here == there
    assert json.loads(here) == room.environment("x")


def test_a_node_that_is_not_asked_reads_no_packages(jobs):
    raw = jobs.existing("raw", {"visit": 1}, {"v": 1})
    jobs.quantum("t", {"visit": 1}, entry="tasks:double", inputs={"x": [raw]}, outputs={"y": "json"})
    manifest = jobs.directory / "manifest.json"
    manifest.write_text(jobs.manifest().to_json())
    code = (
        "import sys; from prestow.node import run_manifest_json; "
        f"run_manifest_json(open({str(manifest)!r}).read(), [], False, {str(jobs.scratch)!r}); print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-S", "-c", f"import sys; sys.path[:0] = {sys.path!r}; {code}"],
        check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert "prestow.node.making" in done.stdout.split()
    assert "prestow.node.environment" not in done.stdout.split()
    assert "importlib.metadata" not in done.stdout.split()


def test_what_was_lost_comes_back_in_another_environment(jobs, made, elsewhere):
    first = run(jobs)
    before = jobs.store.read(made["y"].path), jobs.store.read(made["_environment"].path)
    jobs.store.delete(made["y"].path)
    elsewhere()
    second = run(jobs)
    assert (second.receipts, second.failures) == (first.receipts, ())
    assert (jobs.store.read(made["y"].path), jobs.store.read(made["_environment"].path)) == before


def test_an_environment_that_was_lost_with_it_stays_lost_and_fails_nothing(jobs, made, elsewhere):
    first = run(jobs)
    before = jobs.store.read(made["y"].path)
    for name in ("y", "_environment"):
        jobs.store.delete(made[name].path)
    elsewhere()
    second = run(jobs)
    assert (second.receipts, second.failures) == (first.receipts, ())
    assert jobs.store.read(made["y"].path) == before
    assert jobs.store.size(made["_environment"].path) is None
    (finding,) = second.report["findings"]
    assert "the environment is another one now" in finding
    assert [name for name, _ in jobs.store.walk("_aside")] == []


def test_in_the_same_environment_it_comes_back(jobs, made, elsewhere):
    run(jobs)
    before = jobs.store.read(made["_environment"].path)
    jobs.store.delete(made["_environment"].path)
    assert run(jobs).failures == ()
    assert jobs.store.read(made["_environment"].path) == before


def test_a_product_with_other_bytes_fails_still_and_the_others_come_back(jobs, monkeypatch):
    monkeypatch.setenv("FLIP", "1")
    raw = jobs.existing("raw", {"visit": 1}, {"v": 1})
    made = jobs.quantum(
        "t", {"visit": 1}, entry="tasks:two", inputs={"x": [raw]}, outputs={"a": "json", "b": "json"}
    )
    run(jobs)
    before = jobs.store.read(made["b"].path)
    for name in ("a", "b"):
        jobs.store.delete(made[name].path)
    monkeypatch.setenv("FLIP", "2")
    second = run(jobs)
    assert [f.code for f in second.failures] == ["PST-N010"]
    assert made["a"].path in second.failures[0].message
    assert jobs.store.read(made["b"].path) == before
    assert jobs.store.size(made["a"].path) is None


def test_two_attempts_in_two_environments_are_no_finding(jobs, made, elsewhere, tmp_path, monkeypatch):
    first = run(jobs)
    [receipt] = first.receipts.values()
    name = jobs.store.local_path(receipt_name(receipt.run, receipt.task, receipt.quantum))
    kept = tmp_path / "receipt.json"
    name.rename(kept)
    elsewhere()
    monkeypatch.setenv("RIVAL", f"{kept} to {name}")
    second = run(jobs)
    assert list(second.receipts.values()) == [receipt]
    assert second.attempt != receipt.attempt
    assert (second.failures, second.report["findings"]) == ((), [])
    assert room.environment(receipt.version) != jobs.read(made["_environment"])
