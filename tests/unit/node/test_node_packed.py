"""Packs of manifests, and a job whose files an engine carries: as a process, as Pegasus starts it."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from prestow.errors import TaskError
from prestow.manifest import CARRIED, Location, Manifest
from prestow.node.packed import pack, packed_jobs, read_packed
from prestow.testing.jobs import Jobs

DOUBLE = "def run(quantum):\n    quantum.put('y', {'flux': 2 * quantum.get('x')['flux']})\n"
FAILS = "def run(quantum):\n    raise ValueError('no stars')\n"
THIRD = """
import os
from pathlib import Path

def run(quantum, config):
    count = Path(config["count"])
    count.write_text(count.read_text() + "x" if count.exists() else "x")
    if len(count.read_text()) < 3:
        raise ValueError("not yet")
    quantum.put('y', {'flux': 0})
"""


def call(*words: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "prestow.node", *map(str, words)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def jobs(tmp_path: Path) -> Jobs:
    return Jobs(tmp_path)


def two(jobs: Jobs) -> list[Manifest]:
    """Give two jobs, the second of which reads what the first makes."""
    raw = jobs.existing("raw", {"visit": 1}, {"flux": 2})
    jobs.code(double=DOUBLE)
    made = jobs.quantum("one", {"visit": 1}, entry="double:run", inputs={"x": [raw]}, outputs={"y": "json"})
    jobs.quantum("two", {"visit": 1}, entry="double:run", inputs={"x": [made["y"]]}, outputs={"y": "json"})
    return [jobs.manifest("one", job="first"), jobs.manifest("two", job="second")]


def test_a_pack_gives_back_each_manifest(jobs: Jobs, tmp_path: Path) -> None:
    manifests = two(jobs)
    path = tmp_path / "some.pack"
    path.write_bytes(pack(manifests))
    assert list(packed_jobs(path)) == manifests
    assert read_packed(path, "second") == manifests[1]
    index = json.loads(path.read_bytes().partition(b"\n")[0])
    assert index["schema"] == "prestow.pack/2"
    assert pack(manifests) == path.read_bytes()


def test_what_is_no_pack_or_has_no_such_job_is_told(jobs: Jobs, tmp_path: Path) -> None:
    path = tmp_path / "some.pack"
    path.write_bytes(pack(two(jobs)))
    with pytest.raises(TaskError, match="it has no job 'third'"):
        read_packed(path, "third")
    path.write_bytes(path.read_bytes().replace(b'"flux"', b'"fluX"').replace(b"double:run", b"doubLe:run"))
    with pytest.raises(TaskError, match="it is damaged"):
        read_packed(path, "first")
    for text in ("", "{}", "[1]", '{"schema":"prestow.pack/1","jobs":{},"sha256":""}', "\x00"):
        path.write_text(text)
        with pytest.raises(TaskError, match="not a pack of schema prestow.pack/2"):
            read_packed(path, "first")
    done = call(tmp_path / "none.pack", "--job", "first", cwd=tmp_path)
    assert done.returncode == 2
    assert "No such file" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_job_of_a_pack_runs_in_a_directory_that_holds_what_it_declares(jobs: Jobs, tmp_path: Path) -> None:
    first, second = two(jobs)
    (item,) = first.inputs
    place = first.locations[item.id]
    carried = replace(
        first,
        locations={item.id: Location(CARRIED, "raw/night/1.json")},
        stores={first.store: first.stores[first.store], first.code.store: first.stores[first.code.store]},
    )
    here = tmp_path / "here"
    (here / "raw/night").mkdir(parents=True)
    source = Path(first.stores[place.store].removeprefix("file://"), place.path)
    shutil.move(source, here / "raw/night/1.json")  # the job can only find it here
    (here / "jobs.pack").write_bytes(pack([carried, second]))
    done = call("jobs.pack", "--job", "first", "--carry", ".", cwd=here)
    assert done.returncode == 0, done.stderr
    receipt = first.quanta[0].receipt
    assert (here / receipt).read_bytes() == jobs.store.read(receipt)
    assert not [p for p in here.rglob(".*")]
    there = tmp_path / "there"
    (there / receipt).parent.mkdir(parents=True)
    shutil.copy(here / "jobs.pack", there)
    shutil.copy(here / receipt, there / receipt)
    done = call(
        "jobs.pack", "--job", "second", "--carry", there, "--scratch", tmp_path / "scratch", cwd=there
    )
    assert done.returncode == 0, done.stderr
    assert json.loads((there / second.quanta[0].receipt).read_text())["state"] == "made"


def test_without_its_parents_receipt_a_job_is_not_run_yet(jobs: Jobs, tmp_path: Path) -> None:
    (tmp_path / "jobs.pack").write_bytes(pack(two(jobs)))
    done = call("jobs.pack", "--job", "second", "--carry", ".", cwd=tmp_path)
    assert done.returncode == 75
    assert not (tmp_path / "_receipts").exists()


def test_a_carried_receipt_that_is_none_is_told(jobs: Jobs, tmp_path: Path) -> None:
    first, second = two(jobs)
    (tmp_path / "jobs.pack").write_bytes(pack([second]))
    receipt = tmp_path / first.quanta[0].receipt
    receipt.parent.mkdir(parents=True)
    receipt.write_text("torn")
    done = call("jobs.pack", "--job", "second", "--carry", ".", cwd=tmp_path)
    assert done.returncode == 2
    assert "a carried receipt cannot be read" in done.stderr


@pytest.mark.parametrize(("tries", "code", "state"), [(2, 1, None), (3, 0, "made"), (5, 0, "made")])
def test_tries_are_made_here(jobs: Jobs, tmp_path: Path, tries: int, code: int, state: str | None) -> None:
    count = tmp_path / "count"
    jobs.code(third=THIRD)
    jobs.quantum(
        "third",
        {"visit": 1},
        entry="third:run",
        outputs={"y": "json"},
        config={"count": str(count)},
        tolerate=True,
    )
    (tmp_path / "jobs.pack").write_bytes(pack([jobs.manifest()]))
    done = call("jobs.pack", "--job", "job", "--carry", ".", "--tries", tries, cwd=tmp_path)
    assert done.returncode == code, done.stderr
    assert count.read_text() == "x" * min(tries, 3)
    receipts = [json.loads(p.read_text())["state"] for p in (tmp_path / "_receipts").rglob("*.json")]
    assert receipts == ([state] if state else [])


def test_the_last_try_of_a_tolerated_failure_is_a_loss_and_no_failure_of_the_job(
    jobs: Jobs, tmp_path: Path
) -> None:
    jobs.code(fails=FAILS)
    jobs.quantum("fails", {"visit": 1}, entry="fails:run", outputs={"y": "json"}, tolerate=True)
    (tmp_path / "jobs.pack").write_bytes(pack([jobs.manifest()]))
    done = call("jobs.pack", "--job", "job", "--carry", ".", "--tries", 2, "--final", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("no stars") >= 2
    (receipt,) = (tmp_path / "_receipts").rglob("*.json")
    assert json.loads(receipt.read_text())["state"] == "lost"


@pytest.mark.parametrize("words", [["--job"], ["--tries", "none"], ["--tries", "0"], ["--carry"]])
def test_misuse_is_told(tmp_path: Path, words: list[str]) -> None:
    done = call("jobs.pack", *words, cwd=tmp_path)
    assert done.returncode == 2
    assert "usage:" in done.stderr
