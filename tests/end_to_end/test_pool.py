"""A real pool of HTCondor under a real Pegasus: what comes of a plan there is what the engine ``local`` makes of it.

It runs where ``PRESTOW_TEST_CONDOR`` says how: a command before the command, such as ``env`` on a machine of a pool, or what
enters the root that a pool is in. Words of Pegasus and HTCondor must be on the path there. ``PRESTOW_TEST_CONDOR_SHARE`` is a
directory that both sides see by one name, and ``PRESTOW_TEST_CONDOR_PYTHON`` an interpreter there that has prestow and numpy.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

INTO = os.environ.get("PRESTOW_TEST_CONDOR")
SHARE = os.environ.get("PRESTOW_TEST_CONDOR_SHARE")
PYTHON = os.environ.get("PRESTOW_TEST_CONDOR_PYTHON", sys.executable)
PATIENCE = 1800
FEW = "band = 'r' and detector = 0 and visit <= 202611010006"

pytestmark = pytest.mark.skipif(
    not INTO or not SHARE,
    reason="NOT TESTED on a pool: PRESTOW_TEST_CONDOR and PRESTOW_TEST_CONDOR_SHARE do not say where there is one",
)

MODES: dict[str, dict[str, Any]] = {
    "condorio": {"pegasus": {"data": "condorio"}},
    "nonsharedfs": {"pegasus": {"data": "nonsharedfs"}},
    "sharedfs": {"pegasus": {"data": "sharedfs"}},
    "flat": {"layout": "flat", "pegasus": {"data": "condorio"}},
    "tar": {"layout": "tar", "pegasus": {"data": "condorio"}},
    "fetched-by-the-node": {"pegasus": {"data": "condorio", "staging": "prestow"}},
    "landing": {"stores": None, "pegasus": {"data": "condorio", "products": "landing"}},
    "landing-flat": {
        "stores": None,
        "layout": "flat",
        "pegasus": {"data": "condorio", "products": "landing"},
    },
    "landing-one-file": {
        "stores": None,
        "pegasus": {"data": "condorio", "products": "landing", "node": "zipapp"},
    },
    "workflows-of-workflows": {"pegasus": {"data": "condorio", "workflow_jobs": 4}},
}


class Pool:
    """Commands inside the pool, in directories that it sees."""

    def __init__(self, top: Path) -> None:
        self.top = top

    def call(self, *words: object, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
        there = f"cd {shlex.quote(str(cwd or self.top))} && exec {shlex.join(map(str, words))}"
        return subprocess.run(
            [*shlex.split(INTO or ""), "sh", "-c", there], capture_output=True, text=True, check=False
        )

    def prestow(self, root: Path, *words: object, fine: tuple[int, ...] = (0,)) -> Any:  # Any: JSON values
        done = self.call(PYTHON, "-m", "prestow", *words, "--json", cwd=root)
        assert done.returncode in fine, f"{words}\n{done.stdout}\n{done.stderr}"
        return json.loads(done.stdout)

    def home(self) -> str:
        """Give where Pegasus is: jobs that run in a shared directory are told."""
        program = self.call("sh", "-c", "readlink -f $(command -v pegasus-plan)").stdout.strip()
        return str(Path(program).parent.parent)

    def handed_over(self, root: Path, *, ends: str = "0") -> Path:
        """Submit what remains and wait until it is over; give Pegasus's directory."""
        submit = Path(self.prestow(root, "submit", "--site", "pool.yaml")["submit"])
        log = submit / "jobstate.log"
        until = time.monotonic() + PATIENCE
        while "MONITORD_FINISHED" not in (said := log.read_text() if log.exists() else ""):
            assert time.monotonic() < until, said[-2000:]
            time.sleep(2)
        assert f"DAGMAN_FINISHED {ends} " in said, self.call("pegasus-analyzer", submit).stdout
        assert "JOB_HELD" not in said
        return submit


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    top = Path(SHARE or "") / f"test-pool-{os.getpid()}"
    top.mkdir(mode=0o777)
    top.chmod(0o777)
    yield Pool(top)
    shutil.rmtree(top, ignore_errors=True)


@pytest.fixture(scope="module")
def planned(pool: Pool) -> Path:
    """The example with three exposures: seven jobs, planned and not run."""
    assert pool.call(PYTHON, "-m", "prestow", "init", "base").returncode == 0
    base = pool.top / "base"
    pool.prestow(base, "ingest", "--raw", "raw", "--instrument", "simcam")
    pool.prestow(base, "plan", "--where", FEW)
    return base


@pytest.fixture(scope="module")
def expected(pool: Pool, planned: Path) -> dict[str, str]:
    root = copy(pool, planned, "local")
    pool.prestow(root, "run", "--engine", "local")
    return digests(root)


def copy(pool: Pool, base: Path, name: str) -> Path:
    root = pool.top / name
    done = pool.call("cp", "-a", base, root)
    assert done.returncode == 0, done.stderr
    return root


def digests(root: Path) -> dict[str, str]:
    store = root / "store"
    files = [p for p in sorted(store.rglob("*")) if p.is_file() and p.relative_to(store).parts[0][0] != "_"]
    return {str(p.relative_to(store)): hashlib.sha256(p.read_bytes()).hexdigest() for p in files}


def put(path: Path, text: str) -> None:
    """Write a file as the pool's user, whose directories these are."""
    command = [*shlex.split(INTO or ""), "tee", str(path)]
    done = subprocess.run(command, input=text, text=True, check=False, capture_output=True)
    assert done.returncode == 0, done.stderr


def write_site(root: Path, more: dict[str, Any]) -> None:
    site: dict[str, Any] = {
        "schema": "prestow.site/1", "name": "pool", "engine": "pegasus", "scratch": "/tmp/prestow-test-pool",
        "stores": {"archive": f"file://{root}/store"}, "pegasus": {"python": PYTHON, "work": f"{root}/work"},
    }  # fmt: skip
    for key, value in more.items():
        site[key] = {**site[key], **value} if isinstance(value, dict) else value
    put(root / "pool.yaml", yaml.safe_dump({k: v for k, v in site.items() if v is not None}, sort_keys=False))


def with_home(pool: Pool, more: dict[str, Any]) -> dict[str, Any]:
    """Say where Pegasus is, if nothing brings its programs to the jobs."""
    shared = more["pegasus"]["data"] == "sharedfs"
    return {**more, "pegasus": {**more["pegasus"], "home": pool.home()}} if shared else more


def tasks_of(pool: Pool, submit: Path) -> list[int]:
    """What Pegasus itself counts of the tasks: succeeded, failed, incomplete, in all, retries, in all with those."""
    said = pool.call("pegasus-statistics", "-i", "-s", "summary", submit).stdout
    (line,) = [line for line in said.splitlines() if line.startswith("Tasks")]
    return [int(word) for word in line.split()[1:]]


@pytest.mark.parametrize("mode", MODES)
def test_what_a_pool_makes_is_what_is_made_here(
    mode: str, pool: Pool, planned: Path, expected: dict[str, str]
) -> None:
    root = copy(pool, planned, mode)
    write_site(root, with_home(pool, MODES[mode]))
    submit = pool.handed_over(root)
    pool.prestow(root, "ingest")
    assert digests(root) == expected
    counts = pool.prestow(root, "status")["counts"]
    jobs = counts["made"] + counts["declined"]
    assert jobs == sum(counts.values())
    assert tasks_of(pool, submit) == [jobs, 0, 0, jobs, 0, jobs]
    assert pool.prestow(root, "account")["closes"] is True
    assert pool.prestow(root, "submit", "--site", "pool.yaml")["jobs"] == 0


BREAKS = """
import os

from prestow.tasks import Quantum


def run(quantum: Quantum) -> None:
    print("looking for the bad column")
    if quantum.data_id["visit"] == {visit} and not os.path.exists({mended!r}):
        raise ValueError("column 17 is hot")
    quantum.put("isr", quantum.get("raw", "array"))
"""


def test_what_failed_is_told_and_only_what_remains_is_handed_over_again(pool: Pool, planned: Path) -> None:
    root = copy(pool, planned, "failing")
    visit = pool.prestow(root, "show", "isr")["quanta"][0]["job"].rsplit("-", 1)[1]
    put(root / "tasks" / "isr.py", BREAKS.format(visit=visit, mended=str(root / "mended")))
    pipeline = (root / "pipeline.yaml").read_text()
    put(root / "pipeline.yaml", pipeline.replace("    config: {bias_level: 1000.0}\n", ""))
    pool.prestow(root, "plan", "--where", FEW, "--run", "failing")
    write_site(root, {"pegasus": {"data": "condorio", "retries": 0}})
    pool.handed_over(root, ends="1")
    counts = pool.prestow(root, "status")["counts"]
    assert (counts["failed"], counts["pending"]) == (1, 2), counts
    why = json.dumps(pool.prestow(root, "why", f"isr-0-{visit}", fine=(0, 5)))
    assert "column 17 is hot" in why
    assert "looking for the bad column" in why
    before = digests(root)
    put(root / "mended", "")
    again = pool.prestow(root, "submit", "--site", "pool.yaml", "--dry-run")
    assert (again["quanta"], again["settled"]) == (3, sum(counts.values()) - 3)
    pool.handed_over(root)
    pool.prestow(root, "ingest")
    counts = pool.prestow(root, "status")["counts"]
    assert counts["made"] == sum(counts.values())
    assert before.items() <= digests(root).items()
